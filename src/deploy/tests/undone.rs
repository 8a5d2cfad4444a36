//! Lanes that are undone: their containers come back, and their servers into service.

use super::*;
use crate::adapters::memory::ServerLine;
use crate::plan::before::Before;
use crate::plan::recover::{Finished, NewFound, Towards, after_failure};
use crate::plan::undo::UndoMode;

/// Undoes the first lane.
async fn undo_first(run: &Run<'_>, care: UndoMode) -> Result<LaneUndo, StepError> {
    let begun = run.ledger.progress().begun.clone();
    let recovery = after_failure(run.plan, &begun, &[(0, care)], Finished::Stay);
    run.undo_lane(&recovery.lanes[0]).await
}

#[tokio::test(start_paused = true)]
async fn sessions_on_a_failed_container_do_not_keep_it() {
    let mut stage = Stage::pair().await;
    stage.plan.goal.policy.drain_timeout = Duration::from_millis(1);
    let run = stage.run();
    replace_first(&run).await;
    assert!(matches!(undo_first(&run, UndoMode::Immediate).await, Ok(LaneUndo::Undone)));
    assert_eq!(stage.running(), ["mobile-app1", "mobile-app1b"]);
    assert_eq!(stage.heard.0.last(), Some(&EventKind::Undone { servers: stage.plan.lanes[0].ids() }));
}

/// Undoes the first lane after it was replaced, while an HAProxy without a master socket is reloaded.
async fn undone_in_a_reload(stage: &mut Stage, care: UndoMode) -> Result<LaneUndo, StepError> {
    stage.memory.site().haproxies[0].has_master = false;
    let memory = stage.memory.clone();
    let run = stage.run();
    replace_first(&run).await;
    memory.site().plan_faults(&[(When::Nth("look".to_owned(), 3), Fault::Reload)]);
    undo_first(&run, care).await
}

/// Without a master socket, sessions in the old process cannot be counted; those of a failed container are lost either
/// way.
#[tokio::test(start_paused = true)]
async fn a_failed_container_is_undone_in_whatever_process_answers() {
    let mut stage = Stage::pair().await;
    let undone = undone_in_a_reload(&mut stage, UndoMode::Immediate).await;
    assert!(matches!(undone, Ok(LaneUndo::Undone)));
    assert_eq!(stage.running(), ["mobile-app1", "mobile-app1b"]);
    let site = stage.memory.site();
    assert!(site.haproxies[0].worker.as_ref().unwrap().lines.iter().all(ServerLine::is_usable));
}

/// There is no server to put back, but its container is restored.
#[tokio::test(start_paused = true)]
async fn a_server_removed_by_a_reload_does_not_leave_the_run_stuck() {
    for left in ["app1b", "nothing"] {
        let mut stage = Stage::pair().await;
        let memory = stage.memory.clone();
        let run = stage.run();
        replace_first(&run).await;
        memory.site().reload(0);
        memory.site().haproxies[0].worker.as_mut().unwrap().lines.retain(|line| line.id.server == left);
        let vanished = run.until_idle(0, AdminState::Drain, Duration::ZERO, Duration::from_secs(1)).await;
        assert!(vanished.is_err(), "{vanished:?}");
        for care in [UndoMode::Immediate, UndoMode::Graceful] {
            let taken = undo_first(&run, care).await;
            assert!(matches!(taken, Ok(LaneUndo::Undone)), "{left} {care:?}");
        }
        assert_eq!(stage.running(), ["mobile-app1", "mobile-app1b"]);
    }
}

/// Without a master socket, the sessions that the old process still sends to a serving container are unknown.
#[tokio::test(start_paused = true)]
async fn a_serving_container_stays_after_a_reload_without_a_master() {
    let mut stage = Stage::pair().await;
    let undone = undone_in_a_reload(&mut stage, UndoMode::Graceful).await;
    assert!(matches!(undone, Err(StepError::Reloaded { .. })));
    assert!(stage.running().contains(&"mobile-app1".to_owned()));
    assert_eq!(stage.memory.site().engine.containers.len(), 4, "both are there");
}

/// If the other servers go down while a server drains for an undo, it stays: it still serves.
#[tokio::test(start_paused = true)]
async fn a_drain_of_an_undo_ends_where_no_other_server_serves() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    has_begun(&run, 0, &[Step::Start]);
    let drained = drained_into_an_outage(&run, &memory).await;
    assert!(
        matches!(&drained, Err(StepError::Unserved { backend, .. }) if backend == "mobile"),
        "{drained:?}"
    );
    let taken = run.keep_serving(0, drained.unwrap_err()).await;
    assert!(matches!(taken, Ok(LaneUndo::KeptNew(StepError::Unserved { .. }))));
    let told = |fact: &&EventKind| matches!(fact, EventKind::OutageBegan { after_ms: 2_000..2_100, .. });
    assert_eq!(stage.heard.0.iter().filter(told).count(), 1);
}

/// A run that was killed after it had begun to stop the first lane's container.
fn killed(stage: &Stage) -> journal::Run {
    let begun = BTreeMap::from([(0, vec![Step::Create, Step::Stop])]);
    let mut run = journal::Run::opened(stage.plan.clone(), journal::VERSION, None, 1);
    run.progress.begun = begun;
    run
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_cannot_be_undone_leaves_the_run_stuck() {
    let mut stage = Stage::pair().await;
    let unfinished = killed(&stage);
    stage.suffers("rename", 0, Fault::Away(40_000));
    assert!(matches!(stage.run().recover(&unfinished, Towards::Undo).await, Outcome::Stuck { .. }));
    let mut stage = Stage::pair().await;
    stage.suffers("rename", 0, Fault::Away(40_000));
    let run = stage.run();
    run.ledger.continue_from(unfinished.progress);
    assert!(matches!(run.handle_failure(vec![(0, StepError::Stopped)]).await, Outcome::Stuck { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_silent_engine_does_not_count_as_done() {
    let mut stage = Stage::pair().await;
    let unfinished = killed(&stage);
    stage.suffers("list", 0, Fault::Away(40_000));
    let run = stage.run();
    run.ledger.continue_from(unfinished.progress);
    assert!(run.find_lanes().await.is_empty());
    assert_eq!(run.find_lanes().await[&0].new, NewFound::Gone);
}

/// Makes the first server one that drainswap cannot probe, and that a check had up or down.
fn unanswered(stage: &mut Stage, up: bool) {
    let server = &mut stage.plan.lanes[0].servers[0];
    (server.served, server.before) = (false, Some(Before { up, answered: false }));
}

/// Undoes the first lane after it was replaced.
async fn put_back(stage: &mut Stage) -> Result<(), StepError> {
    let run = stage.run();
    has_begun(&run, 0, &[Step::Maint, Step::Stop, Step::Start]);
    run.maint(0).await.unwrap();
    run.restore_states(0).await
}

#[tokio::test(start_paused = true)]
async fn a_checked_server_is_up_again_when_its_check_passes() {
    let mut stage = Stage::pair().await;
    unanswered(&mut stage, true);
    let begun = Instant::now();
    assert_eq!(put_back(&mut stage).await, Ok(()));
    assert!(begun.elapsed() > Duration::from_millis(500), "the check has not said so yet");
    let site = stage.memory.site();
    assert!(site.haproxies[0].worker.as_ref().unwrap().lines[0].is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_its_check_keeps_down_is_not_restored() {
    let mut stage = Stage::pair().await;
    unanswered(&mut stage, true);
    let old = stage.memory.site().engine.containers[0].container.id.clone();
    stage.world.engines.named("").unwrap().stop(&old).await.unwrap();
    assert!(matches!(put_back(&mut stage).await, Err(StepError::ServerNotUp { .. })));
}

/// If set to ready, it would be up at once and get requests that no container answers.
#[tokio::test(start_paused = true)]
async fn a_server_that_was_down_gets_its_state_back_and_stays_down() {
    let mut stage = Stage::pair().await;
    unanswered(&mut stage, false);
    assert_eq!(put_back(&mut stage).await, Ok(()));
    let site = stage.memory.site();
    let line = &site.haproxies[0].worker.as_ref().unwrap().lines[0];
    assert_eq!((line.admin.state(), line.up), (AdminState::Ready, false));
}

/// The engine may still carry out the call.
#[tokio::test(start_paused = true)]
async fn a_run_whose_unanswered_call_cannot_be_asked_about_is_stuck_and_touches_nothing() {
    let mut stage = Stage::pair().await;
    let mut unfinished = killed(&stage);
    let container = unfinished.plan.lanes[0].replacement.as_ref().unwrap().like.id.clone();
    let call = crate::run::engine_call::EngineCall::Stop { container };
    unfinished.progress.unanswered.push(("ssh://gone".to_owned(), call));
    stage.memory.site().calls.clear();
    let outcome = stage.run().recover(&unfinished, Towards::Undo).await;
    let Outcome::Stuck { servers, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(servers[0].server, ServerId::new("mobile", "app1"));
    let touches = |call: &str| ["set state", "stop", "start", "rename", "remove"].contains(&call);
    let site = stage.memory.site();
    assert!(site.calls.iter().all(|(_, call)| !touches(call)), "{:?}", site.calls);
}

#[tokio::test(start_paused = true)]
async fn a_lane_without_a_container_has_none_to_be_found() {
    let mut stage = Stage::pair().await;
    stage.plan.lanes[0].replacement = None;
    let run = stage.run();
    has_begun(&run, 0, &[Step::Maint]);
    has_begun(&run, 1, &[Step::Create, Step::Drain]);
    let found: Vec<usize> = run.find_lanes().await.into_keys().collect();
    assert_eq!(found, [1]);
}
