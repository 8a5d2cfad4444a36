//! Servers whose agent or own check decides whether they serve.

use super::*;
use crate::topology::own_check::OwnCheck;

/// Two servers with `HAProxy` checks.
const CHECKED: &str = "
backend mobile
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check
";

/// Deploys to two servers whose agents report `says`, with a floor of 0.
async fn with_agents_that_say(says: AdminState, change: impl FnOnce(&mut Stage)) -> Outcome {
    let config = "
backend mobile
    default-server inter 200ms agent-check agent-port 9000
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
";
    let mut described = World::of(config);
    described.policy.floor = 0;
    let mut stage = Stage::of(described).await;
    change(&mut stage);
    for haproxy in &mut stage.memory.site().haproxies {
        let lines = haproxy.worker.iter_mut().flat_map(|worker| &mut worker.lines);
        lines.filter_map(|line| line.agent.as_mut()).for_each(|agent| agent.says = says);
    }
    stage.run().run().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn servers_kept_out_by_agents_are_named_and_not_rolled_back() {
    for state in [AdminState::Drain, AdminState::Maint] {
        let outcome = with_agents_that_say(state, |_| {}).await;
        let Outcome::Deployed { replaced: 2, rest, .. } = outcome else { panic!("{outcome:?}") };
        let out: Vec<_> =
            rest.out_of_service.iter().map(|it| (it.server.server.as_str(), it.state)).collect();
        assert_eq!(out, [("app1", state), ("app1b", state)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_does_not_excuse_what_only_a_check_can_prove() {
    let own_checked = |stage: &mut Stage| {
        for line in stage.plan.lanes.iter_mut().flat_map(|lane| &mut lane.servers) {
            let within = Duration::from_secs(1);
            line.own_check = Some(OwnCheck { why: "option redis-check".to_owned(), within, tracks: None });
        }
    };
    let outcome = with_agents_that_say(AdminState::Maint, own_checked).await;
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
}

/// Returns how the wait for a server that only `HAProxy`'s check can bring up fails after `limit` milliseconds.
async fn confirmed_never(limit: u64, change: impl FnOnce(&mut Stage)) -> StepError {
    let mut stage = Stage::of(World::of(CHECKED)).await;
    stage.plan.goal.policy.ready_timeout = Duration::from_millis(limit);
    let line = &mut stage.plan.lanes[0].servers[0];
    line.own_check =
        Some(OwnCheck { why: "option redis-check".to_owned(), within: Duration::ZERO, tracks: None });
    change(&mut stage);
    let run = stage.run();
    run.set(0, &[(ServerId::new("mobile", "app1"), AdminState::Maint)]).await.unwrap();
    run.confirm(0).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_poll_cut_off_by_the_limit_keeps_the_last_result() {
    let cut = async |limit, fault| confirmed_never(limit, |stage| stage.suffers("look", 4, fault)).await;
    let slow = cut(1_000, Fault::Slow).await;
    assert!(matches!(slow, StepError::CheckNeverPassed { .. }), "{slow:?}");
    let silent = cut(8_000, Fault::Away(60_000)).await;
    assert!(matches!(silent, StepError::StateUnknown { .. }), "{silent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_agent_cannot_be_turned_off_is_put_back() {
    let outcome = with_agents_that_say(AdminState::Ready, |stage| {
        stage.suffers("set checking", 0, Fault::Refused);
    });
    let outcome = outcome.await;
    assert!(matches!(&outcome, Outcome::RolledBack { kept, .. } if kept.is_empty()), "{outcome:?}");
}

/// A reload has removed it.
#[tokio::test(start_paused = true)]
async fn a_backend_that_is_gone_has_no_agent_to_turn_off() {
    let stage = Stage::pair().await;
    for worker in stage.memory.site().haproxies.iter_mut().filter_map(|it| it.worker.as_mut()) {
        worker.lines.clear();
    }
    let lane = &stage.plan.lanes[0];
    let load_balancer = &stage.world.load_balancers[0];
    assert_eq!(agents::set_agents(load_balancer, lane, &lane.ids(), false).await, Ok(()));
    assert!(stage.memory.site().calls.iter().all(|(_, call)| *call != "set checking"));
}

/// Returns a site whose servers have agents, and the first of which is still being asked.
async fn with_a_pending_agent() -> Stage {
    let config = "
backend mobile
    default-server agent-check agent-port 9000
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
";
    let mut stage = Stage::of(World::of(config)).await;
    let memory = stage.memory.clone();
    stage.run().agents_off(0, AdminState::Ready).await.unwrap();
    let mut site = memory.site();
    site.haproxies[0].worker.as_mut().unwrap().lines[0].agent.as_mut().unwrap().is_asked = true;
    drop(site);
    stage
}

#[tokio::test(start_paused = true)]
async fn a_drain_fails_while_an_agent_may_still_end_it() {
    let mut stage = with_a_pending_agent().await;
    let off = stage.run().agents_off(0, AdminState::Drain).await;
    assert!(
        matches!(&off, Err(StepError::AgentStillPending { server, .. }) if server.server == "app1"),
        "{off:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_undo_goes_on_beside_an_agent_that_hangs() {
    let mut stage = with_a_pending_agent().await;
    let run = stage.run();
    run.at(0).direction.set(Direction::Undo { needs_all: false });
    assert_eq!(run.agents_off(0, AdminState::Maint).await, Ok(()));
    let told = stage.heard.warnings();
    assert!(told[0].starts_with("the agent of mobile/app1 is still being queried"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_an_agent_can_be_stopped() {
    let mut stage = with_a_pending_agent().await;
    stage.suffers("look", 1, Fault::Stop);
    assert_eq!(stage.run().agents_off(0, AdminState::Drain).await, Err(StepError::Stopped));
}
