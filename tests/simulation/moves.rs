//! Single moves on a site in memory, with a fault at every call of a port.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use drainswap::adapters::memory::{Fault, Memory, Part, When};
use drainswap::deploy::single_move::{MoveError, MoveEvent, MoveRun, Moved};
use drainswap::deploy::{StopRequest, Tracked};
use drainswap::model::ids::ServerId;
use drainswap::model::weight::Weight;
use drainswap::observation::AdminState;
use drainswap::plan::LbQuorum;
use drainswap::plan::single_move::{MoveGoal, build};
use drainswap::site::observe;
use drainswap::topology::traffic::Balance;
use drainswap::topology::{self};

use crate::case::pass;
use crate::is_in_a_row;
use crate::scenario::Scenario;

/// The faults of load balancers, of the process under test, and of people. A move touches no container.
const FAULTS: [Fault; 16] = [
    Fault::Unheard,
    Fault::ReplyLost,
    Fault::Refused,
    Fault::Hangs,
    Fault::LateEffect,
    Fault::Slow,
    Fault::DiesBefore,
    Fault::DiesAfter,
    Fault::Away(5_000),
    Fault::Away(25_000),
    Fault::Away(40_000),
    Fault::Reload,
    Fault::HaproxyRestart,
    Fault::Person(AdminState::Ready),
    Fault::OtherRemoved,
    Fault::Stop,
];

/// What a story asks of `mobile/app1`.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Drain,
    DrainFirst,
    /// Drain, maint and then ready again.
    Back,
    Weight,
}

/// The end of a move.
enum End {
    Moved(Moved),
    Failed(MoveError),
    Died,
}

fn server() -> ServerId {
    ServerId::new("mobile", "app1")
}

/// The state and the weight of the server at every load balancer.
fn states(memory: &Memory) -> Vec<(AdminState, u32)> {
    let site = memory.site();
    let workers = site.haproxies.iter().filter_map(|it| it.worker.as_ref());
    workers
        .filter_map(|worker| worker.line(&server()).map(|line| (line.admin.state(), line.weight)))
        .collect()
}

fn goal(scenario: Scenario, state: AdminState, asked: Asked) -> MoveGoal {
    MoveGoal {
        weight: matches!(asked, Asked::Weight).then_some(Weight::Absolute(7)),
        drain_first: matches!(asked, Asked::DrainFirst),
        wait: true,
        ..MoveGoal::new(BTreeMap::from([(server(), 100)]), state, scenario.policy())
    }
}

/// Plans and makes a move, or dies. Returns `None` if the move is refused.
async fn make(
    scenario: Scenario,
    memory: &Memory,
    goal: &MoveGoal,
    events: &RefCell<Vec<MoveEvent>>,
) -> Option<End> {
    tokio::select! {
        biased;
        () = memory.death() => Some(End::Died),
        end = Box::pin(plan_and_run(scenario, memory, goal, events)) => end,
    }
}

async fn plan_and_run(
    scenario: Scenario,
    memory: &Memory,
    goal: &MoveGoal,
    events: &RefCell<Vec<MoveEvent>>,
) -> Option<End> {
    let load_balancers: Vec<_> = memory.load_balancers().into_iter().map(Tracked::new).collect();
    let before = observe::load_balancer_states(&load_balancers, LbQuorum::All).await.ok()?;
    let configuration = scenario.configuration();
    let balance = Balance::written(configuration.backend("mobile").expect("a backend"));
    let probes = topology::probes(&configuration, &before[0]);
    let plan = build(goal, &[balance], probes, &before).ok()?;
    let [asked, now] = memory.site().stops.clone();
    let (stop, asks) = (StopRequest { asked, now }, memory.prober());
    let tell = |event| events.borrow_mut().push(event);
    let run = MoveRun::new(&plan, &before, &load_balancers, &asks, stop, &tell);
    run.check_takeover().await.ok()?;
    Some(Box::pin(run.run()).await.map_or_else(End::Failed, End::Moved))
}

/// Returns the states that the server must have after a move with this end; `None` if several are right.
fn states_after(
    end: Option<&End>,
    faults: &[(When, Fault)],
    goal: &MoveGoal,
    before: &[(AdminState, u32)],
    now: &[(AdminState, u32)],
) -> Option<Vec<(AdminState, u32)>> {
    match end {
        // A process that was restarted before the first look has forgotten the states.
        None => (!faults.iter().any(|(_, fault)| *fault == Fault::HaproxyRestart)).then(|| before.to_vec()),
        Some(End::Moved(_)) => {
            let weight = goal.weight.map_or(before[0].1, |weight| weight.of(100));
            Some(vec![(goal.state, weight); before.len()])
        }
        // Nothing was touched, or everything was restored.
        Some(End::Failed(MoveError::LoadBalancer(_))) => Some(before.to_vec()),
        Some(End::Failed(MoveError::Stopped { state, .. })) => {
            (now != before).then(|| vec![(*state, now[0].1); before.len()])
        }
        Some(End::Failed(_) | End::Died) => None,
    }
}

/// Plays a move with these faults. Returns the calls and the violated rules.
async fn play(
    scenario: Scenario,
    asked: Asked,
    faults: &[(When, Fault)],
) -> (Vec<(Part, &'static str)>, Vec<String>) {
    let memory = scenario.site(&scenario.configuration(), 1);
    let events = RefCell::default();
    pass(Duration::from_millis(300)).await;
    if matches!(asked, Asked::Back) {
        let maint = goal(scenario, AdminState::Maint, Asked::DrainFirst);
        make(scenario, &memory, &maint, &events).await.expect("nothing is wrong yet");
    }
    let wanted = match asked {
        Asked::Drain => AdminState::Drain,
        Asked::DrainFirst => AdminState::Maint,
        Asked::Back | Asked::Weight => AdminState::Ready,
    };
    let (goal, before) = (goal(scenario, wanted, asked), states(&memory));
    memory.site().plan_faults(faults);
    let end = make(scenario, &memory, &goal, &events).await;
    let calls = memory.site().calls.clone();
    let mut wrong = Vec::new();
    if !memory.site().journal.is_empty() {
        wrong.push("it left a journal".to_owned());
    }
    // A person or a reload sets the server too.
    if memory.site().external_change_at.is_some() {
        return (calls, wrong);
    }
    let now = states(&memory);
    if let Some(End::Moved(moved)) = &end {
        let told = moved.after.iter().filter_map(|seen| seen.server(&server()));
        if told.map(|it| (it.admin.state(), it.weight)).ne(now.iter().copied()) {
            wrong.push(format!("it says {:?}, but HAProxy has {now:?}", moved.after));
        }
    }
    if let Some(expected) = states_after(end.as_ref(), faults, &goal, &before, &now) {
        pass(Duration::from_secs(60)).await;
        for (when, states) in [("at its end", now), ("later", self::states(&memory))] {
            if states != expected {
                let how = match &end {
                    Some(End::Failed(error)) => error.to_string(),
                    Some(End::Moved(_)) => "done".to_owned(),
                    Some(End::Died) | None => "refused".to_owned(),
                };
                wrong.push(format!("{how}: {when} the servers are {states:?}, not {expected:?}"));
            }
        }
    }
    (calls, wrong)
}

fn on_a_paused_clock<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(work)
}

/// Plays a move with every fault at every call.
fn with_each_fault(scenario: Scenario, asked: Asked) -> (usize, Vec<String>) {
    let (calls, violations) = on_a_paused_clock(play(scenario, asked, &[]));
    assert_eq!(violations, Vec::<String>::new(), "{} {asked:?} without a fault", scenario.name);
    let tried = (0..calls.len()).filter(|call| !is_in_a_row(&calls, *call));
    let (mut played, mut wrong) = (0, Vec::new());
    for (call, fault) in tried.flat_map(|call| FAULTS.map(|fault| (call, fault))) {
        let (_, violations) = on_a_paused_clock(play(scenario, asked, &[(When::Call(call), fault)]));
        let case = |it| format!("{} {asked:?} {call}={fault:?}: {it}", scenario.name);
        wrong.extend(violations.into_iter().map(case));
        played += 1;
    }
    (played, wrong)
}

/// What a move says is true, and stays true; a move that fails before it is done has changed nothing.
#[test]
fn a_move_is_made_everywhere_or_nowhere_whatever_fails() {
    let scenarios = ["pair", "no-master", "two-balancers"].map(Scenario::named);
    let (played, wrong): (Vec<usize>, Vec<Vec<String>>) = std::thread::scope(|scope| {
        let asked = [Asked::Drain, Asked::DrainFirst, Asked::Back, Asked::Weight];
        let all = scenarios.into_iter().flat_map(|scenario| asked.map(|asked| (scenario, asked)));
        let threads: Vec<_> =
            all.map(|(scenario, asked)| scope.spawn(move || with_each_fault(scenario, asked))).collect();
        threads.into_iter().map(|it| it.join().expect("no panic")).unzip()
    });
    let (played, wrong): (usize, Vec<String>) = (played.iter().sum(), wrong.concat());
    println!("{played} moves with a fault");
    assert!(
        wrong.is_empty(),
        "{} of {played} moves:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

/// A reload forgets what a move has set, so the move sets it again, where it can still count the sessions.
#[test]
fn a_move_sets_again_what_a_reload_forgets() {
    for (name, is_followed) in [("pair", true), ("no-master", false)] {
        let scenario = Scenario::named(name);
        let states = on_a_paused_clock(async {
            let memory = scenario.site(&scenario.configuration(), 1);
            pass(Duration::from_millis(300)).await;
            let (goal, events) = (goal(scenario, AdminState::Drain, Asked::Weight), RefCell::default());
            // The reload comes with the first look after the drain and the weight were set.
            memory.site().plan_faults(&[(When::Nth("set weight".to_owned(), 0), Fault::Reload)]);
            let end = make(scenario, &memory, &goal, &events).await.expect("a move");
            let is_reload = |event: &MoveEvent| matches!(event, MoveEvent::HaproxyReloaded { .. });
            assert_eq!(events.borrow().iter().any(is_reload), is_followed, "{name}");
            assert_eq!(matches!(end, End::Moved(_)), is_followed, "{name}");
            assert!(matches!(end, End::Moved(_) | End::Failed(MoveError::Reverted { .. })), "{name}");
            states(&memory)
        });
        assert_eq!(states == [(AdminState::Drain, 7)], is_followed, "{name}: {states:?}");
    }
}
