//! Complete deploys on a site in memory, on a paused clock, with a fault at every call of a port.
//!
//! `DRAINSWAP_SIMULATE=pair/1/17=Reload` replays one case and prints its story. `DRAINSWAP_SWEEP=wide` tries more
//! seeds and more pairs of faults, or a random part of them if `DRAINSWAP_SWEEP_MINUTES` limits the time.
#![expect(clippy::print_stdout, reason = "prints the number of cases and the story of a case")]

mod case;
mod judge;
mod moves;
mod person;
mod planted;
mod scenario;
mod stories;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use drainswap::adapters::memory::{Fault, Part, When};

use case::{Case, Verdict};
use scenario::{ALL, Scenario, sites};

/// The number of failures after which a sweep stops.
const ENOUGH: usize = 20;

/// Plays cases on all cores, prints their number, and fails with the violations.
fn sweep(what: &str, cases: &[Case]) {
    sweep_until(ENOUGH, what, cases);
}

/// Returns the time limit of a sweep, if there is one.
fn limit() -> Option<Duration> {
    let minutes = std::env::var("DRAINSWAP_SWEEP_MINUTES").ok()?;
    Some(Duration::from_secs(60 * minutes.parse::<u64>().expect("DRAINSWAP_SWEEP_MINUTES is a number")))
}

/// Plays cases like [`sweep`] until a number of them have failed.
fn sweep_until(enough: usize, what: &str, cases: &[Case]) {
    let deadline = limit().map(|limit| Instant::now() + limit);
    // With a time limit, the skipped cases are random and not always the last ones.
    let mut cases: Vec<&Case> = cases.iter().collect();
    if deadline.is_some() {
        fastrand::Rng::with_seed(7).shuffle(&mut cases);
    }
    let (cases, played) = (&cases, AtomicUsize::new(0));
    let next = AtomicUsize::new(0);
    let (runs, simulated) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed: Mutex<Vec<(String, Verdict)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // A few failures are enough.
                let is_enough = || {
                    failed.lock().expect("failures").len() >= enough
                        || deadline.is_some_and(|deadline| Instant::now() >= deadline)
                };
                while let Some(case) =
                    cases.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !is_enough())
                {
                    let verdict = case.play(false);
                    played.fetch_add(1, Ordering::Relaxed);
                    runs.fetch_add(verdict.runs, Ordering::Relaxed);
                    simulated
                        .fetch_add(usize::try_from(verdict.simulated / 1000).unwrap_or(0), Ordering::Relaxed);
                    if !verdict.violations.is_empty() {
                        failed.lock().expect("failures").push((case.to_string(), verdict));
                    }
                }
            });
        }
    });
    let played = played.into_inner();
    let faults: usize = cases.iter().map(|case| case.faults.len()).sum();
    println!(
        "{what}: {played} of {} cases with {faults} faults, {} deploys and resumes, {} simulated seconds",
        cases.len(),
        runs.into_inner(),
        simulated.into_inner()
    );
    if played < cases.len() {
        println!(
            "skipped: {} of {} cases of {what}: there was no time for them",
            cases.len() - played,
            cases.len()
        );
    }
    let mut failed = failed.into_inner().expect("failures");
    failed.sort_by(|(a, _), (b, _)| a.cmp(b));
    let list: Vec<String> = failed
        .iter()
        .map(|(case, verdict)| {
            format!("DRAINSWAP_SIMULATE='{case}'\n    {}", verdict.violations.join("\n    "))
        })
        .collect();
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), list.join("\n"));
}

/// Replays one case and prints its story.
#[test]
fn a_case_that_is_replayed_tells_its_story() {
    let asked = std::env::var("DRAINSWAP_SIMULATE").unwrap_or_else(|_| "pair/1/40=Reload".to_owned());
    let verdict = asked.parse::<Case>().expect("a case").play(true);
    println!("{}", verdict.story.join("\n"));
    assert_eq!(verdict.violations, Vec::<String>::new(), "{asked}");
}

#[test]
fn without_faults_every_site_comes_to_its_end() {
    let each = |scenario| (0..5).map(move |seed| Case { scenario, seed, faults: Vec::new() });
    let cases: Vec<Case> = sites().into_iter().flat_map(each).collect();
    sweep("no fault", &cases);
}

/// Returns the calls of a deploy without a fault.
fn calls(scenario: Scenario, seed: u64) -> Vec<(Part, &'static str)> {
    Case { scenario, seed, faults: Vec::new() }.play(false).calls
}

/// Returns whether a call is in the middle of identical polls. Records of the journal are never identical.
fn is_in_a_row(calls: &[(Part, &'static str)], call: usize) -> bool {
    let is_like = |other: Option<usize>| other.and_then(|it| calls.get(it)) == Some(&calls[call]);
    calls[call].0 != Part::Journal
        && (1..=3).any(|round| {
            is_like(call.checked_sub(2 * round))
                && is_like(call.checked_sub(round))
                && is_like(Some(call + round))
        })
}

#[test]
fn every_fault_at_every_call() {
    let seeds = if is_wide() { 2 } else { 1 };
    let mut cases = Vec::new();
    for scenario in sites() {
        for seed in 0..seeds {
            let calls = calls(scenario, seed);
            let is_tried = |call: &usize| is_wide() || !is_in_a_row(&calls, *call);
            for call in (0..calls.len()).filter(is_tried) {
                let tried = Fault::ALL.iter().enumerate();
                let tried = tried.filter(|(at, _)| is_wide() || (call + at) % scenario.stride() == 0);
                cases.extend(tried.map(|(_, fault)| Case {
                    scenario,
                    seed,
                    faults: vec![(When::Call(call), *fault)],
                }));
            }
        }
    }
    sweep("every fault at every call", &cases);
}

/// Cases that a wider sweep found and that are fixed.
#[test]
fn fixed_cases_stay_fixed() {
    let cases = [
        // A full disk prevented the record of a rollback, and the resumed run reported an unchanged server as replaced.
        "crowded/275/166=Away(40000)/183=DiskFull(3600000)",
        // The old container never stopped and was left without its restart policy.
        "crowded/109/50=DiesAfter/41=NewRemoved",
        // A restart of HAProxy during an undo was noticed too late.
        "tied/302/91=EngineRestart { live_restore: true }/136=HaproxyRestart",
        // The old container was restored but reported as the new one, because the engine did not answer.
        "undone/999/141=Hangs/84=Away(5000)",
        // The printed commands waited for a server that had no container before the run either.
        "described/924/22=Away(40000)/159=EngineRestart { live_restore: false }",
        // A cancelled run left a server in maint that did not answer before, but reported that all serve.
        "crowded/505/4=Away(5000)/68=Stop",
        "slow-boot/340/271=Stop/4=Away(5000)",
        // The printed commands left a server in maint that did not answer before.
        "forgotten/1/24=OldRemoved",
        // A container that was still stopping after two deaths counted as restored.
        "undone/0/stop.0=DiesBefore/stop.1=DiesBefore",
        "undone/0/stop.0=DiesBefore/stop.1=LateEffect",
        // Another process answered at the old container's address and was left in service.
        "crash-loop/168/103=StrangerAnswers/45=OldRemoved",
        // The old container, restarted by a supervisor, answered instead of the new one, which could not start.
        "crash-loop/672/59=Refused/3=Supervised",
        // The printed commands left the agent off if the old container no longer existed.
        "agents/1/25=OldRemoved",
        // An operator disabled or enabled a server during its undo.
        "own-check-never-rises/9/291=Person(Maint)",
        "own-check-never-rises/37/251=Person(Ready)",
        // A call of an undo that the engine carried out right after its time limit made the run stuck.
        "crash-loop/1/85=LateEffect",
        "crash-loop/1/89=LateEffect",
        "crash-loop/19/85=LateEffect/92=DiskFull(300)",
        "never-ready/1/188=LateEffect",
        "own-check-never-rises/1/260=LateEffect",
        // An operator set a server from maint to drain, and its cookies brought sessions back right before the stop.
        "shut-down/0/189=Person(Drain)",
        "shut-down/0/191=Person(Drain)",
        // A replaced server stayed, and its old container was removed, although its new one had exited.
        "stop-on-failure/0/79=Slow",
        "stop-on-failure/1/80=Slow",
        // The judge took the restored container of a server in maint, which had the new image, for the new one.
        "left-in-maint/0/4=Away(25000)",
        "left-in-maint/0/4=Away(40000)",
        // The judge refused the state from before the run for a server that a late command had changed after its undo.
        "left-in-maint/0/18=LateEffect",
    ];
    let cases: Vec<Case> = cases.iter().map(|case| case.parse().expect("a case")).collect();
    sweep("wrong once", &cases);
}

/// Two faults at random calls: the second may occur during the recovery from the first.
#[test]
fn random_pairs_of_faults() {
    pairs("random pairs of faults", if is_wide() { 20_000 } else { 600 }, &Fault::ALL);
}

/// A process that dies, and dies again during its resume.
#[test]
fn a_process_that_dies_twice_is_resumed_twice() {
    let deaths = [Fault::DiesBefore, Fault::DiesAfter];
    pairs("two deaths", if is_wide() { 5_000 } else { 200 }, &deaths);
}

fn pairs(what: &str, count: usize, faults: &[Fault]) {
    let mut rng = fastrand::Rng::with_seed(7);
    let lengths: Vec<usize> = ALL.iter().map(|scenario| calls(*scenario, 0).len()).collect();
    let cases: Vec<Case> = (0..count)
        .map(|_| {
            let at = rng.usize(..ALL.len());
            let mut fault = |within| (When::Call(rng.usize(..within)), faults[rng.usize(..faults.len())]);
            // After the first fault, there may be more calls than without it.
            let faults = vec![fault(lengths[at]), fault(2 * lengths[at])];
            Case { scenario: ALL[at], seed: rng.u64(..1_000), faults }
        })
        .collect();
    sweep(what, &cases);
}

/// A quick random selection of all faults, or more faults on the scenario in `DRAINSWAP_SCENARIO`.
#[test]
fn a_few_faults_of_every_kind() {
    let only = std::env::var("DRAINSWAP_SCENARIO").ok().filter(|name| !name.is_empty());
    let scenarios = only.map_or_else(|| ALL.to_vec(), |name| vec![Scenario::named(&name)]);
    let each = 56 / scenarios.len();
    let mut rng = fastrand::Rng::with_seed(11);
    let mut cases = Vec::new();
    for scenario in scenarios {
        let calls = calls(scenario, 3).len();
        for fault in Fault::ALL.iter().flat_map(|fault| std::iter::repeat_n(*fault, each)) {
            cases.push(Case {
                scenario,
                seed: rng.u64(..99),
                faults: vec![(When::Call(rng.usize(..calls)), fault)],
            });
        }
    }
    rng.shuffle(&mut cases);
    // One failure is enough.
    sweep_until(1, "a few faults", &cases);
}

fn is_wide() -> bool {
    std::env::var("DRAINSWAP_SWEEP").is_ok_and(|sweep| sweep == "wide")
}
