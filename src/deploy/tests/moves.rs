//! Single moves, beside those of the simulation: checks, servers that do not answer, and waits that are stopped.

use std::cell::RefCell;

use super::*;
use crate::deploy::single_move::{MoveError, MoveEvent, MoveRun, Moved, Unfinished};
use crate::observation::{Checker, Checking};
use crate::plan::Policy;
use crate::plan::single_move::{MoveGoal, build};
use crate::site::observe;
use crate::topology;
use crate::topology::traffic::Balance;

fn app1() -> ServerId {
    ServerId::new("mobile", "app1")
}

/// Returns the goal to give the first server this state, without a floor.
fn goal(state: AdminState) -> MoveGoal {
    let policy = Policy { floor: 0, drain_timeout: Duration::from_secs(30), ..World::pair().policy };
    MoveGoal::new(BTreeMap::from([(app1(), 100)]), state, policy)
}

/// Plans and makes a move. Returns how it ended, and what the operator was told.
async fn make(stage: &Stage, goal: &MoveGoal) -> (Result<Moved, MoveError>, Vec<MoveEvent>) {
    let World { configuration, .. } = World::pair();
    let load_balancers = &stage.world.load_balancers;
    let before = observe::load_balancer_states(load_balancers, LbQuorum::All).await.unwrap();
    let balance = Balance::written(configuration.backend("mobile").unwrap());
    let plan = build(goal, &[balance], topology::probes(&configuration, &before[0]), &before).unwrap();
    let [asked, now] = stage.memory.site().stops.clone();
    let events: RefCell<Vec<MoveEvent>> = RefCell::default();
    let tell = |event| events.borrow_mut().push(event);
    let stop = StopRequest { asked, now };
    let run = MoveRun::new(&plan, &before, load_balancers, &stage.world.prober, stop, &tell);
    let moved = run.run().await;
    (moved, events.into_inner())
}

/// Returns the changes that `HAProxy` was asked for since the last time.
fn asked_for(stage: &Stage) -> Vec<&'static str> {
    let mut site = stage.memory.site();
    let calls: Vec<_> = site.calls.drain(..).map(|(_, call)| call).collect();
    calls.into_iter().filter(|call| call.starts_with("set ")).collect()
}

fn checks(moved: &Moved) -> Checking {
    moved.after[0].server(&app1()).unwrap().checks.health
}

#[tokio::test(start_paused = true)]
async fn a_check_is_turned_off_before_its_server_leaves_and_on_after_it_is_back() {
    let stage = Stage::pair().await;
    asked_for(&stage);
    let off = MoveGoal { checks: vec![(Checker::Health, false)], ..goal(AdminState::Maint) };
    let moved = make(&stage, &off).await.0.unwrap();
    assert_eq!((checks(&moved), asked_for(&stage)), (Checking::Off, vec!["set checking", "set state"]));
    let on = MoveGoal { checks: vec![(Checker::Health, true)], ..goal(AdminState::Ready) };
    let moved = make(&stage, &on).await.0.unwrap();
    assert_eq!((checks(&moved), asked_for(&stage)), (Checking::On, vec!["set state", "set checking"]));
}

#[tokio::test(start_paused = true)]
async fn a_move_whose_second_change_is_refused_takes_back_the_first() {
    let stage = Stage::pair().await;
    stage.suffers("set state", 0, Fault::Refused);
    let off = MoveGoal { checks: vec![(Checker::Health, false)], ..goal(AdminState::Maint) };
    let (moved, _) = make(&stage, &off).await;
    assert!(matches!(moved, Err(MoveError::LoadBalancer(LoadBalancerError::Refused { .. }))), "{moved:?}");
    let site = stage.memory.site();
    let line = &site.haproxies[0].worker.as_ref().unwrap().lines[0];
    assert_eq!((line.admin.state(), line.checking), (AdminState::Ready, true));
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_own_check_decides_gets_no_request_before_that_has_risen() {
    let stage = Stage::pair().await;
    make(&stage, &goal(AdminState::Maint)).await.0.unwrap();
    asked_for(&stage);
    let ready = MoveGoal { wait: true, own_checked: [app1()].into(), ..goal(AdminState::Ready) };
    let moved = make(&stage, &ready).await.0.unwrap();
    assert_eq!(asked_for(&stage), ["set unproven"]);
    assert!(moved.after[0].server(&app1()).unwrap().operational.is_up());
}

/// Stops the first server's container, and sets the server to maint.
async fn silent() -> Stage {
    let stage = Stage::pair().await;
    make(&stage, &goal(AdminState::Maint)).await.0.unwrap();
    stage.memory.site().engine.containers[0].container.state = ContainerState::Stopped;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_comes_back_with_a_note_or_not_at_all() {
    let stage = silent().await;
    let waits = MoveGoal { wait: true, ..goal(AdminState::Ready) };
    let (moved, _) = make(&stage, &waits).await;
    let Err(MoveError::TimedOut { what: Unfinished::Silent { .. }, state, .. }) = moved else {
        panic!("{moved:?}")
    };
    assert_eq!(state, AdminState::Maint, "it stays out");
    let (moved, told) = make(&stage, &goal(AdminState::Ready)).await;
    assert_eq!(moved.unwrap().after[0].server(&app1()).unwrap().admin.state(), AdminState::Ready);
    assert!(matches!(&told[0], MoveEvent::Silent { server, .. } if *server == app1()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_an_answer_that_is_stopped_leaves_the_server_out() {
    let stage = silent().await;
    stage.suffers("probe", 1, Fault::Stop);
    let waits = MoveGoal { wait: true, ..goal(AdminState::Ready) };
    let (moved, _) = make(&stage, &waits).await;
    assert_eq!(moved.unwrap_err(), MoveError::Stopped { server: app1(), state: AdminState::Maint });
    let site = stage.memory.site();
    let line = &site.haproxies[0].worker.as_ref().unwrap().lines[0];
    assert_eq!(line.admin.state(), AdminState::Maint);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_cannot_be_listed_leave_the_end_of_a_move_uncertain() {
    let stage = Stage::pair().await;
    let cuts = MoveGoal { shutdown_sessions: true, ..goal(AdminState::Maint) };
    stage.suffers("sessions", 0, Fault::Refused);
    let (moved, _) = make(&stage, &cuts).await;
    assert!(matches!(moved, Err(MoveError::Uncertain { .. })), "{moved:?}");
}
