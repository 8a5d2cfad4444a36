//! Servers that leave rotation and come back: reloads, outages, checks, and silent load balancers.

use super::*;
use crate::adapters::memory::ServerLine;
use crate::plan::OnDrainTimeout;
use crate::plan::refusal::Refusal;
use crate::site::late;

/// Otherwise its sessions would be counted as zero.
#[tokio::test(start_paused = true)]
async fn a_server_that_no_longer_exists_in_haproxy_is_not_idle() {
    let mut stage = Stage::pair().await;
    let run = stage.run();
    let mut seen = run.refresh(0).await.unwrap();
    assert!(run.sessions(0, &seen).is_err(), "the server is in ready");
    seen.all[0].servers.retain(|server| server.id.server != "app1");
    let vanished = StepError::Vanished { server: ServerId::new("mobile", "app1") };
    assert_eq!(run.sessions(0, &seen), Err(vanished.clone()));
    assert_eq!(run.take_out_again(0, &seen, AdminState::Drain).await, Err(vanished));
    let BalancerStates { all, is_new } = seen;
    assert!(!is_new && all.len() == 1);
}

/// Changes the lines of this server in the process that answers.
fn set_line(stage: &Stage, server: &str, change: impl Fn(&mut ServerLine)) {
    let mut site = stage.memory.site();
    let worker = site.haproxies[0].worker.as_mut().unwrap();
    worker.lines.iter_mut().filter(|line| line.id.server == server).for_each(change);
}

#[tokio::test(start_paused = true)]
async fn no_server_leaves_in_a_new_process_that_cannot_spare_it() {
    let mut stage = Stage::pair().await;
    stage.memory.site().reload(0);
    set_line(&stage, "app1b", |line| line.admin = AdminState::Maint.bits());
    let run = stage.run();
    assert!(matches!(run.drain(0).await, Err(StepError::Refused(Refusal::Floor { .. }))));
    let seen = run.refresh(0).await.unwrap();
    let again = run.take_out_again(0, &seen, AdminState::Drain).await;
    assert!(matches!(again, Err(StepError::Refused(Refusal::Floor { .. }))));
    let site = stage.memory.site();
    assert!(site.haproxies[0].worker.as_ref().unwrap().lines[0].is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_cannot_be_repaired_ends_the_wait() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    run.drain(0).await.unwrap();
    memory.site().reload(0);
    memory.site().plan_faults(&[(When::Nth("set state".to_owned(), 0), Fault::Refused)]);
    assert!(is_refusal(&run.await_idle(0).await));
}

#[tokio::test(start_paused = true)]
async fn a_forced_drain_restores_maint_after_a_reload() {
    let mut stage = Stage::pair().await;
    stage.plan.goal.policy.on_drain_timeout = OnDrainTimeout::Force;
    let memory = stage.memory.clone();
    let app1 = || {
        let site = memory.site();
        site.haproxies[0].worker.as_ref().unwrap().lines[0].admin.state()
    };
    let run = stage.run();
    run.maint(0).await.unwrap();
    assert_eq!((run.recheck_idle(0).await, app1()), (Ok(()), AdminState::Maint));
    memory.site().reload(0);
    assert_eq!(app1(), AdminState::Ready);
    assert_eq!((run.recheck_idle(0).await, app1()), (Ok(()), AdminState::Maint));
    memory.site().plan_faults(&[(When::Nth("look".to_owned(), 0), Fault::Refused)]);
    assert!(is_refusal(&run.recheck_idle(0).await));
}

/// `HAProxy` answers other connections while a command waits.
#[tokio::test(start_paused = true)]
async fn an_outage_is_reported_while_a_command_waits_for_its_answer() {
    let mut stage = Stage::pair().await;
    stage.suffers("set state", 1, Fault::Slow);
    let memory = stage.memory.clone();
    let run = stage.run();
    run.drain(0).await.unwrap();
    backup_goes_down(&memory);
    let maint = run.apply(0, Step::Maint).await;
    assert!(maint.is_ok(), "{maint:?}");
    let told = |fact: &&EventKind| matches!(fact, EventKind::OutageBegan { after_ms: 2_000..2_300, .. });
    assert_eq!(stage.heard.0.iter().filter(told).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_container_is_stopped_or_started_if_the_lane_has_to_go_back() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    assert!(drained_into_an_outage(&run, &memory).await.is_err());
    memory.site().calls.clear();
    for step in [Step::Maint, Step::Settle, Step::Stop, Step::Start] {
        assert!(matches!(run.run_hook_and_step(0, step).await, Err(StepError::Unserved { .. })), "{step:?}");
    }
    assert_eq!(memory.site().calls, []);
    // Steps that bring a server back are still allowed.
    for step in [Step::Prove, Step::Ready, Step::Return, Step::PutBack] {
        assert_eq!(run.check_may_begin(0, step), Ok(()), "{step:?}");
    }
}

/// A check that hung reports a server down although its new container serves.
#[tokio::test(start_paused = true)]
async fn a_wrong_check_is_overruled_once() {
    let mut stage = Stage::pair().await;
    let (memory, servers) = (stage.memory.clone(), vec![ServerId::new("mobile", "app1b")]);
    let has_it_down = || {
        let mut site = memory.site();
        let worker = site.haproxies[0].worker.as_mut().unwrap();
        (worker.lines[1].up, worker.lines[1].health) = (false, 0);
    };
    let suffers = |fault| memory.site().plan_faults(&[(When::Nth("set healthy".to_owned(), 0), fault)]);
    let run = stage.run();
    has_begun(&run, 1, &[Step::Confirm]);
    has_it_down();
    suffers(Fault::Refused);
    let seen = run.refresh(0).await.unwrap();
    let mut healed = BTreeSet::new();
    // The server tracks another one, which is checked separately.
    assert_eq!(run.override_stale_check(0, &seen, &mut healed).await, Ok(false));
    assert_eq!(run.override_stale_check(0, &seen, &mut healed).await, Ok(false), "it was tried");
    assert_eq!(memory.site().calls.iter().filter(|(_, call)| *call == "set healthy").count(), 1);
    for wait in [Step::Verify, Step::AwaitIdle] {
        run.set(0, &[(ServerId::new("mobile", "app1"), AdminState::Drain)]).await.unwrap();
        has_it_down();
        suffers(Fault::ReplyLost);
        assert!(matches!(run.apply_unguarded(0, wait).await, Err(StepError::LoadBalancer { .. })), "{wait}");
        has_it_down();
        assert_eq!(run.apply_unguarded(0, wait).await, Ok(()), "{wait}");
    }
    let overruled =
        |fact: &&EventKind| matches!(fact, EventKind::CheckOverruled { server } if *server == servers[0]);
    assert_eq!(stage.heard.0.iter().filter(overruled).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_was_silent_is_not_waited_for() {
    let mut stage = Stage::pair().await;
    stage.suffers("glance", 0, Fault::Hangs);
    let run = stage.run();
    run.fleet.mark_stale(&run.site.load_balancers[0].name());
    let begun = Instant::now();
    let error = run.lane_states(0).await.unwrap_err().to_string();
    assert!(error.contains("it did not answer before and still does not"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_caught_up_is_queried_once_more() {
    let mut stage = Stage::pair().await;
    stage.suffers("look", 1, Fault::Refused);
    let (name, memory) = (stage.world.load_balancers[0].name(), stage.memory.clone());
    let run = stage.run();
    has_begun(&run, 1, &[Step::Confirm]);
    run.fleet.mark_stale(&name);
    assert!(is_refusal(&run.refresh(0).await.map(drop)));
    assert!(run.fleet.stale().is_empty());
    run.fleet.mark_stale(&name);
    assert!(run.refresh(0).await.is_ok());
    assert_eq!(memory.site().calls.iter().filter(|(_, call)| *call == "look").count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_guard_retries_a_lost_command() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    run.create_all().await.unwrap();
    run.maint(0).await.unwrap();
    memory.site().reload(0);
    memory.site().plan_faults(&[(When::Nth("set state".to_owned(), 0), Fault::Unheard)]);
    assert_eq!(run.apply(0, Step::Stop).await, Ok(()));
    let server = ServerId::new("mobile", "app1");
    let message = format!("{server} was put into rotation during the run; it is in maint again");
    assert!(stage.heard.0.contains(&EventKind::Warned { message }));
}

#[tokio::test(start_paused = true)]
async fn a_drain_fails_if_its_timeout_action_fails() {
    for choice in [OnDrainTimeout::Maint, OnDrainTimeout::Shutdown] {
        for (call, before) in [("set state", 0), ("look", 1)] {
            let mut stage = Stage::pair().await;
            stage.plan.goal.policy.on_drain_timeout = choice;
            stage.plan.goal.policy.drain_timeout = Duration::from_millis(1);
            let memory = stage.memory.clone();
            let run = stage.run();
            run.drain(0).await.unwrap();
            memory.site().plan_faults(&[(When::Nth(call.to_owned(), before), Fault::Refused)]);
            assert!(is_refusal(&run.await_idle(0).await), "{choice:?} {call}");
        }
    }
}

/// A server without an address cannot be probed.
#[tokio::test(start_paused = true)]
async fn a_server_without_a_probe_may_take_over() {
    let mut stage = Stage::pair().await;
    stage.plan.probes.clear();
    stage.memory.site().calls.clear();
    assert_eq!(stage.run().verify(0).await, Ok(()));
    let carriers = vec![ServerId::new("mobile", "app1b")];
    assert!(stage.heard.0.contains(&EventKind::Verified { carriers }));
    assert!(stage.memory.site().calls.iter().all(|(part, _)| *part != Part::Server));
}

#[tokio::test(start_paused = true)]
async fn the_last_check_names_what_is_wrong_with_a_server() {
    let mut stage = Stage::pair().await;
    {
        let mut site = stage.memory.site();
        let worker = site.haproxies[0].worker.as_mut().unwrap();
        (worker.lines[0].up, worker.lines[0].checking) = (false, false);
    }
    let run = stage.run();
    let (lane, failure) = run.final_check(&[1, 0]).await.unwrap_err();
    let server = run.lane_of(0).name().clone();
    assert_eq!((lane, failure), (0, StepError::ServerNotUp { server, status: "DOWN".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn every_server_of_an_unanswered_command_is_watched() {
    let mut stage = Stage::pair().await;
    stage.suffers("set state", 0, Fault::LateEffect);
    let both = ["app1", "app1b"].map(|name| ServerId::new("mobile", name));
    let all = |state| both.clone().map(|server| (server, state));
    let unanswered = stage.world.load_balancers[0].set_admin_states(&all(AdminState::Drain)).await;
    assert!(matches!(unanswered, Err(LoadBalancerError::Unanswered { .. })));
    stage.run().set(0, &all(AdminState::Ready)).await.unwrap();
    let watched = &stage.world.load_balancers[0];
    assert_eq!(watched.unsettled(), both);
    let mut set_again = Vec::new();
    late::wait_until_settled(&[watched], |again| set_again.push(again.server)).await.unwrap();
    assert_eq!((watched.unsettled(), set_again), (Vec::new(), both.to_vec()));
    let site = stage.memory.site();
    assert!(site.haproxies[0].worker.as_ref().unwrap().lines.iter().all(ServerLine::is_usable));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_an_undo_stands_if_haproxy_knows_every_server() {
    let stage = Stage::pair().await;
    let load_balancer = &stage.world.load_balancers[0];
    let maint = [(ServerId::new("mobile", "app1"), AdminState::Maint)];
    let set = async || balancers::set_known_states(load_balancer, &maint, true).await;
    stage.suffers("set state", 0, Fault::Refused);
    assert!(matches!(set().await, Err(LoadBalancerError::Refused { .. })));
    let nth = |call: &str, fault| (When::Nth(call.to_owned(), 0), fault);
    let faults = [nth("set state", Fault::Refused), nth("glance", Fault::Unheard)];
    stage.memory.site().plan_faults(&faults);
    let unseen = set().await;
    assert!(matches!(unseen, Err(LoadBalancerError::Unreachable { .. })), "{unseen:?}");
    assert_eq!(set().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_a_look_cannot_explain_is_reported_as_it_is() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let (command, reply) = ("set server".to_owned(), "Permission denied".to_owned());
    let failure = StepError::LoadBalancer { error: LoadBalancerError::Refused { command, reply } };
    let run = stage.run();
    memory.site().plan_faults(&[(When::Nth("glance".to_owned(), 0), Fault::Refused)]);
    assert_eq!(run.explain_failure(0, failure.clone()).await, failure);
    memory.site().haproxies[0].worker.as_mut().unwrap().lines.remove(0);
    let vanished = StepError::Vanished { server: ServerId::new("mobile", "app1") };
    assert_eq!(run.explain_failure(0, failure).await, vanished);
}

/// `HAProxy` would send it the traffic of those that leave.
#[tokio::test(start_paused = true)]
async fn a_server_without_a_container_goes_back_to_maint_before_another_one_leaves() {
    let mut stage = Stage::of(World::pair().floor(0)).await;
    let memory = stage.memory.clone();
    let run = stage.run();
    run.at(1).mark(Mark::Out);
    let seen = run.refresh(0).await.unwrap();
    assert_eq!(run.take_out_again(0, &seen, AdminState::Drain).await, Ok(()));
    let site = memory.site();
    let lines = &site.haproxies[0].worker.as_ref().unwrap().lines;
    let states: Vec<AdminState> = lines.iter().map(|line| line.admin.state()).collect();
    assert_eq!(states, [AdminState::Drain, AdminState::Maint]);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_not_cancelled_as_in_service_if_a_replaced_server_is_gone() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    replace_first(&run).await;
    memory.site().haproxies[0].worker.as_mut().unwrap().lines.remove(0);
    let outcome = run.cancel().await;
    assert!(matches!(outcome, Outcome::RolledBack { .. } | Outcome::Stuck { .. }), "{outcome:?}");
}
