//! The history of a site's runs: what earlier runs left, and so what a rollback returns to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::ids::{RunId, ServerId};
use crate::model::image::Image;
use crate::observation::{AdminState, Container};
use crate::plan::{RollbackTarget, RunKind, Step};
use crate::run::journal::Run;
use crate::run::outcome::Outcome;

/// The state of a backend's servers before a deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The deploy that created this state; `None` if it existed before the first known deploy.
    pub deployed_by: Option<RunId>,
    /// When that deploy was planned.
    pub at: Option<Timestamp>,
    /// The deploys that a rollback to this state undoes, the last one first.
    pub takes_back: Vec<RunId>,
    /// What each server ran that was replaced since then.
    pub servers: BTreeMap<ServerId, RollbackTarget>,
}

impl Revision {
    /// Returns whether an argument names this state: by the run that created it, or by the first digits of the one
    /// digest that all its servers ran.
    #[must_use]
    pub fn matches(&self, by: &str) -> bool {
        let digits = by.strip_prefix("sha256:").unwrap_or(by);
        let begins = |image: &Image| {
            image.pinned().rsplit_once("sha256:").is_some_and(|(_, hex)| hex.starts_with(digits))
        };
        self.deployed_by.as_ref().is_some_and(|run| run.0 == by)
            || digits.len() >= LEAST_DIGITS && self.servers.values().all(|server| begins(&server.image))
    }
}

/// The minimum number of digits that identify a digest: as many as Docker shows.
const LEAST_DIGITS: usize = 7;

/// Returns the states that a rollback can return to, the latest first.
///
/// Deploys form a stack: a deploy that replaced anything is pushed onto it, however it ended, and a rollback that
/// succeeds pops the deploys that it undid. A server whose container was gone goes back to what its sibling ran.
#[must_use]
pub fn revisions<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Vec<Revision> {
    let mut deploys: Vec<&Run> = Vec::new();
    for run in runs {
        let Some(outcome) = &run.progress.outcome else { continue };
        match run.plan.goal.purpose {
            RunKind::Deploy if replaced(run).next().is_some() => {
                deploys.push(run);
            }
            RunKind::Rollback if matches!(outcome, Outcome::Deployed { .. }) => {
                // Older journals do not name them: pop one.
                let count = run.plan.goal.takes_back.len().max(1);
                deploys.truncate(deploys.len().saturating_sub(count));
            }
            RunKind::Deploy | RunKind::Rollback => {}
        }
    }
    let mut revisions = Vec::new();
    let (mut servers, mut takes_back) = (BTreeMap::new(), Vec::new());
    for (index, deploy) in deploys.iter().enumerate().rev() {
        takes_back.push(deploy.plan.run.clone());
        // The earliest of these deploys decides what a server ran before.
        servers.extend(replaced(deploy));
        // Two runs of the same deploy are rolled back together.
        let before = index.checked_sub(1).map(|before| deploys[before]);
        if before.is_some_and(|before| before.plan.first_run() == deploy.plan.first_run()) {
            continue;
        }
        revisions.push(Revision {
            deployed_by: before.map(|run| run.plan.run.clone()),
            at: before.map(|run| run.plan.at),
            takes_back: takes_back.clone(),
            servers: servers.clone(),
        });
    }
    revisions
}

/// Returns the servers that runs took out of service and left there, given all runs of a site, the oldest first. A
/// server that was out before the first of them was taken out by an operator or by haproxy.cfg.
#[must_use]
pub fn left_out<'a>(runs: impl IntoIterator<Item = &'a Run>) -> BTreeSet<ServerId> {
    let mut out = BTreeSet::new();
    for run in runs {
        let lanes = run.plan.lanes.iter().enumerate();
        for (lane, server) in lanes.flat_map(|(index, lane)| lane.servers.iter().map(move |it| (index, it))) {
            let was_ready = server.was == AdminState::Ready;
            if !was_ready && !out.contains(&server.id) {
                continue;
            }
            let begun = run.progress.begun.get(&lane).map(Vec::as_slice).unwrap_or_default();
            if is_left_out(run, begun, &server.id) {
                out.insert(server.id.clone());
            } else if was_ready || begun.contains(&Step::Ready) {
                out.remove(&server.id);
            }
        }
    }
    out
}

/// Returns whether a run left a server out of service, given the steps of its lane that the run has begun and not
/// undone.
fn is_left_out(run: &Run, begun: &[Step], server: &ServerId) -> bool {
    match &run.progress.outcome {
        Some(Outcome::RolledBack { left_out, .. } | Outcome::Cancelled { left_out, .. }) => {
            left_out.contains(server)
        }
        Some(Outcome::Stuck { servers, .. }) => servers.iter().any(|stranded| stranded.server == *server),
        Some(
            Outcome::Unchanged { .. } | Outcome::Deployed { .. } | Outcome::Skipped | Outcome::Refused { .. },
        ) => false,
        // The run was killed.
        None => begun.iter().any(|step| step.takes_out()) && !begun.contains(&Step::Ready),
    }
}

/// Returns what the servers ran before a run that left them with something else.
fn replaced(run: &Run) -> impl Iterator<Item = (ServerId, RollbackTarget)> {
    let plan = &run.plan;
    let is_new = move |id: &ServerId| {
        run.progress.outcome.as_ref().is_some_and(|outcome| outcome.keeps_new_container(id))
    };
    let replaced = plan.lanes.iter().filter_map(|lane| Some((lane, lane.replacement.as_ref()?)));
    // A first start replaced nothing.
    let replaced = replaced.filter(|(_, replacement)| !replacement.described || replacement.old.is_some());
    replaced.flat_map(move |(lane, replacement)| {
        let kept = |old: &Container| Container { name: replacement.kept_name(&plan.run), ..old.clone() };
        let returned = RollbackTarget {
            image: replacement.like.running_image(),
            container: replacement.old.as_ref().map(kept),
            engine: replacement.like.engine.clone(),
        };
        lane.ids().into_iter().filter(is_new).map(move |id| (id, returned.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::rest::Rest;
    use crate::testing::World;

    fn run(image: &str, purpose: RunKind, outcome: impl Into<Option<Outcome>>) -> Run {
        let mut plan = World::pair().plan(image).unwrap();
        plan.goal.purpose = purpose;
        let mut run = Run::opened(plan, crate::run::journal::VERSION, None, 7);
        run.progress.outcome = outcome.into();
        run
    }

    fn deployed() -> Outcome {
        Outcome::Deployed { replaced: 2, put_back: 0, skipped: vec![], rest: Rest::default() }
    }

    #[test]
    fn only_a_deploy_that_replaced_something_can_be_rolled_back() {
        let app1 = || vec![ServerId::new("mobile", "app1")];
        let kept = |kept| {
            Some(Outcome::RolledBack {
                reason: String::new(),
                kept,
                left_out: vec![],
                restored: vec![],
                asked: false,
            })
        };
        let cancelled = |replaced| {
            Some(Outcome::Cancelled { replaced, remaining: vec![], left_out: vec![], rest: Rest::default() })
        };
        for (outcome, expected) in [
            (Some(deployed()), 1),
            (kept(app1()), 1),
            (kept(vec![]), 0),
            (cancelled(app1()), 1),
            (cancelled(vec![]), 0),
            (Some(Outcome::Unchanged { rest: Rest::default() }), 0),
            (Some(Outcome::Deployed { replaced: 0, put_back: 1, skipped: vec![], rest: Rest::default() }), 0),
            // It was killed, so it is resumed or undone rather than rolled back.
            (None, 0),
        ] {
            let told = format!("{outcome:?}");
            assert_eq!(revisions(&[run("v2", RunKind::Deploy, outcome)]).len(), expected, "{told}");
        }
    }

    /// Returns whether a deploy that found `mobile/app1` in this state and ended like this has left it out of service.
    fn leaves_out(before: &[Run], was: AdminState, begun: &[Step], outcome: Option<Outcome>) -> bool {
        let mut run = run("v2", RunKind::Deploy, outcome);
        run.plan.lanes[0].servers[0].was = was;
        run.progress.begun = BTreeMap::from([(0, begun.to_vec())]);
        let runs = before.iter().chain(std::iter::once(&run));
        left_out(runs).contains(&ServerId::new("mobile", "app1"))
    }

    #[test]
    fn servers_that_a_run_left_out_are_known() {
        use AdminState::{Maint, Ready};
        let app1 = || vec![ServerId::new("mobile", "app1")];
        let back = |left_out| {
            Some(Outcome::RolledBack {
                reason: String::new(),
                kept: vec![],
                left_out,
                restored: vec![],
                asked: false,
            })
        };
        let cancelled = |left_out| {
            Some(Outcome::Cancelled { replaced: vec![], remaining: vec![], left_out, rest: Rest::default() })
        };
        let stranded = crate::run::outcome::StuckServer {
            server: app1().remove(0),
            status: String::new(),
            commands: Vec::new(),
        };
        let stuck = || {
            let (servers, kept) = (vec![stranded.clone()], Vec::new());
            let (journal, resume) = (String::new(), String::new());
            Some(Outcome::Stuck { reason: String::new(), servers, kept, journal, resume })
        };
        let out = [Step::Maint];
        for outcome in [back(app1()), cancelled(app1()), stuck(), None] {
            assert!(leaves_out(&[], Ready, &out, outcome.clone()), "{outcome:?}");
            assert!(!leaves_out(&[], Maint, &out, outcome.clone()), "by hand before: {outcome:?}");
        }
        for outcome in [back(vec![]), cancelled(vec![]), Some(deployed())] {
            assert!(!leaves_out(&[], Ready, &out, outcome.clone()), "{outcome:?}");
        }
        assert!(!leaves_out(&[], Ready, &[Step::Create], None), "nothing was taken out yet");
        assert!(!leaves_out(&[], Ready, &[Step::Maint, Step::Ready], None), "it was put back");
        // A later run finds it out of service, and leaves it there or puts it in service.
        let mut first = run("v2", RunKind::Deploy, back(app1()));
        first.plan.lanes[0].servers[0].was = Ready;
        let first = [first];
        assert!(leaves_out(&first, Maint, &[], back(app1())));
        assert!(leaves_out(&first, Maint, &[], Some(deployed())), "a hook has left it as it was");
        assert!(!leaves_out(&first, Maint, &[Step::Maint, Step::Ready], Some(deployed())));
        assert!(!leaves_out(&first, Ready, &[], Some(deployed())), "a person has put it in service since");
    }

    #[test]
    fn a_first_start_and_a_server_that_was_only_put_back_have_nothing_to_return_to() {
        let mut run = run("v2", RunKind::Deploy, deployed());
        let found =
            |run: &Run| revisions(std::slice::from_ref(run)).iter().map(|it| it.servers.len()).sum::<usize>();
        assert_eq!(found(&run), 2);
        run.plan.lanes[0].replacement = None;
        assert_eq!(found(&run), 1);
        let first = run.plan.lanes[1].replacement.as_mut().unwrap();
        (first.described, first.old) = (true, None);
        assert_eq!(found(&run), 0);
    }

    #[test]
    fn deploys_are_a_stack() {
        let deploy = |name: &str, image: &str| {
            let mut run = run(image, RunKind::Deploy, deployed());
            run.plan.run = RunId(name.to_owned());
            run
        };
        let back = |count: usize| {
            let mut run = run("v2", RunKind::Rollback, deployed());
            run.plan.goal.takes_back = vec![RunId(String::new()); count];
            run
        };
        let mut runs = vec![deploy("one", "v2"), deploy("two", "v3"), deploy("three", "v4")];
        let depth = |runs: &[Run]| revisions(runs).len();
        assert_eq!(depth(&runs), 3);
        let found = revisions(&runs);
        let brought: Vec<_> =
            found.iter().map(|former| former.deployed_by.as_ref().map(|run| &*run.0)).collect();
        assert_eq!(brought, [Some("two"), Some("one"), None]);
        assert_eq!(found[1].takes_back, [RunId("three".to_owned()), RunId("two".to_owned())]);
        let kept = found[2].servers[&ServerId::new("mobile", "app1")].container.as_ref().unwrap();
        assert_eq!(kept.name, "mobile-app1.old-one");
        assert!(found[0].matches("two") && !found[0].matches("one"));
        let digest = found[0].servers.values().next().unwrap().image.pinned();
        let (_, hex) = digest.rsplit_once("sha256:").unwrap();
        assert!(found[0].matches(&hex[..12]) && !found[0].matches(&hex[..3]) && !found[0].matches("0123456"));
        // Several runs may be one deploy, and only what a run has reached counts.
        let mut resumed = runs.clone();
        resumed[1].progress.outcome = Some(Outcome::Cancelled {
            replaced: vec![ServerId::new("mobile", "app1")],
            remaining: vec![],
            left_out: vec![],
            rest: Rest::default(),
        });
        resumed[2].plan.goal.continues = Some(RunId("two".to_owned()));
        let found = revisions(&resumed);
        assert_eq!(found[0].takes_back, [RunId("three".to_owned()), RunId("two".to_owned())]);
        let kept =
            |server: &str| found[0].servers[&ServerId::new("mobile", server)].container.clone().unwrap().name;
        assert_eq!(
            (kept("app1"), kept("app1b")),
            ("mobile-app1.old-two".to_owned(), "mobile-app1b.old-three".to_owned())
        );
        assert_eq!(found.len(), 2);
        // A journal of an older version undid one deploy at a time.
        runs.push(back(0));
        assert_eq!(depth(&runs), 2);
        runs.push(back(2));
        assert_eq!(depth(&runs), 0);
        runs.push(run("v2", RunKind::Rollback, Outcome::Refused { reason: String::new() }));
        runs.push(deploy("four", "v4"));
        assert_eq!(depth(&runs), 1);
    }
}
