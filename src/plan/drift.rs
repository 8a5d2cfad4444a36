//! Compares a plan file with a fresh observation, point by point, to see whether the approved plan still holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::hook::HookPoint;
use crate::model::ids::ServerId;
use crate::model::image::Image;
use crate::model::words::list;
use crate::observation::{AdminState, Container};
use crate::plan::file::{PlanBasis, PlanFile, ReadFile, SeenServer};
use crate::plan::refusal::Refusal;
use crate::plan::surge::Surge;
use crate::plan::{Cause, Lane, LaneServer, Plan, Policy, Replacement, Step};

/// One thing that differs from when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drift {
    /// A file of haproxy.cfg has changed, is new, or is gone.
    Configuration {
        file: String,
        fate: FingerprintChange,
    },
    /// A load balancer has a different state, address or weight for a server.
    Server {
        load_balancer: String,
        server: ServerId,
        /// What it was, or `None` if the load balancer did not have the server.
        was: Option<SeenServer>,
        is: Option<SeenServer>,
    },
    /// The settings have a different limit or choice.
    Settings {
        /// The name of the setting in the plan file.
        setting: String,
        was: String,
        is: String,
    },
    Description,
    /// A hook has a different command, is new, or is gone.
    Hook {
        moment: HookPoint,
        fate: FingerprintChange,
    },
    /// The name of the image refers to a different image.
    Image {
        was: Image,
        is: Image,
    },
    Refused(Refusal),
    /// A server needs no more work.
    NothingToDo {
        server: ServerId,
    },
    /// A server needs work that was not in the plan.
    Joined {
        server: ServerId,
        cause: Cause,
    },
    /// The servers come in a different order.
    Order {
        /// The order of the servers that are in both plans.
        was: Vec<ServerId>,
        is: Vec<ServerId>,
    },
    /// Other surge servers would join.
    Surge {
        was: Vec<ServerId>,
        is: Vec<ServerId>,
    },
    /// Different server lines reach the container.
    Lines {
        was: Vec<ServerId>,
        is: Vec<ServerId>,
    },
    /// A server needs work for a different reason.
    Cause {
        server: ServerId,
        was: Cause,
        is: Cause,
    },
    /// The plan would use a different container.
    Container {
        server: ServerId,
        part: LanePart,
        /// The name and identifier, or `None` if there was none.
        was: Option<String>,
        is: Option<String>,
    },
    /// The new container would have different settings.
    Changes {
        server: ServerId,
    },
    /// A server has stopped serving, or has started to serve.
    Serves {
        server: ServerId,
        now: bool,
    },
    /// A server would be left in a different state, or put in service.
    Stays {
        server: ServerId,
        /// The state that it was to stay in, or `None` if it was to be put in service.
        was: Option<AdminState>,
        is: Option<AdminState>,
    },
    /// The agent (`agent-check`) of a server is on at different load balancers.
    Agents {
        server: ServerId,
        /// The load balancers at which the agent is on now.
        is: Vec<String>,
    },
    /// Different steps are needed.
    Steps {
        server: ServerId,
        was: Vec<Step>,
        is: Vec<Step>,
    },
}

/// What happened to something that has a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FingerprintChange {
    Changed,
    New,
    Gone,
}

/// The part that a container has in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanePart {
    Replaced,
    /// Provides the settings of the new container.
    Model,
    Removed,
}

/// Returns everything that differs from when the plan was made. `now` and `plan` come from a fresh observation, for
/// the same image and with the same limits.
///
/// The functions below destructure every type of the plan, so that each new field must be compared or left out with a
/// reason.
#[must_use]
pub fn drift(approved: &PlanFile, now: &PlanBasis, plan: &Result<Plan, Vec<Refusal>>) -> Vec<Drift> {
    let mut found = basis_drift(&approved.basis, now);
    match plan {
        Ok(plan) => plans(&approved.plan, plan, &mut found),
        Err(refusals) => found.extend(refusals.iter().cloned().map(Drift::Refused)),
    }
    found
}

fn basis_drift(was: &PlanBasis, is: &PlanBasis) -> Vec<Drift> {
    let PlanBasis { image, configuration, servers, settings, description, hooks } = was;
    let files = |files: &[ReadFile]| files.iter().map(|it| (it.file.clone(), it.sha256.clone())).collect();
    let files = fingerprint_changes(&files(configuration), &files(&is.configuration));
    let mut found: Vec<Drift> =
        files.into_iter().map(|(file, fate)| Drift::Configuration { file, fate }).collect();
    found.extend(server_drift(servers, &is.servers));
    found.extend(policy_drift(settings, &is.settings));
    found.extend((*description != is.description).then_some(Drift::Description));
    found.extend(
        fingerprint_changes(hooks, &is.hooks).into_iter().map(|(moment, fate)| Drift::Hook { moment, fate }),
    );
    if *image != is.image {
        found.push(Drift::Image { was: image.clone(), is: is.image.clone() });
    }
    found
}

/// Returns what happened to each thing, by its fingerprint.
fn fingerprint_changes<K: Clone + Ord>(
    was: &BTreeMap<K, String>,
    is: &BTreeMap<K, String>,
) -> Vec<(K, FingerprintChange)> {
    let fate = |(key, fingerprint): (&K, &String)| match is.get(key) {
        Some(now) if now == fingerprint => None,
        Some(_) => Some((key.clone(), FingerprintChange::Changed)),
        None => Some((key.clone(), FingerprintChange::Gone)),
    };
    let new = is.keys().filter(|key| !was.contains_key(key)).map(|key| (key.clone(), FingerprintChange::New));
    was.iter().filter_map(fate).chain(new).collect()
}

fn server_drift(was: &[SeenServer], is: &[SeenServer]) -> Vec<Drift> {
    let key = |it: &SeenServer| (it.load_balancer.clone(), it.server.clone());
    let mut keys: Vec<_> = was.iter().map(key).collect();
    keys.extend(is.iter().map(key).filter(|it| !was.iter().any(|was| key(was) == *it)));
    let find = |all: &[SeenServer], of: &_| all.iter().find(|it| key(it) == *of).cloned();
    let pairs = keys.into_iter().map(|of| (find(was, &of), find(is, &of), of));
    pairs
        .filter(|(was, is, _)| was != is)
        .map(|(was, is, (load_balancer, server))| Drift::Server { load_balancer, server, was, is })
        .collect()
}

/// Returns the settings that differ between two policies, by their names in the plan file.
fn policy_drift(was: &Policy, is: &Policy) -> Vec<Drift> {
    let differs = differences(was, is).into_iter();
    differs.map(|(setting, was, is)| Drift::Settings { setting, was, is }).collect()
}

/// Returns where two policies differ: the name of the setting and its value in each.
#[must_use]
pub fn differences(was: &Policy, is: &Policy) -> Vec<(String, String, String)> {
    let fields = |policy: &Policy| serde_json::to_value(policy).unwrap_or_default();
    let (was, is) = (fields(was), fields(is));
    let names: BTreeSet<&String> =
        [&was, &is].into_iter().filter_map(|it| it.as_object()).flat_map(serde_json::Map::keys).collect();
    let differs = names.into_iter().filter(|name| was[name.as_str()] != is[name.as_str()]);
    let text = |of: &serde_json::Value, name: &String| {
        let value = &of[name.as_str()];
        if value.is_null() { "the default".to_owned() } else { value.to_string() }
    };
    differs.map(|name| (name.clone(), text(&was, name), text(&is, name))).collect()
}

fn plans(was: &Plan, is: &Plan, found: &mut Vec<Drift>) {
    let Plan {
        // Each run has its own name, from the time of its observation.
        run: _,
        at: _,
        // The fresh plan is made for the file's goal, but for the hooks, whose commands are compared instead.
        goal: _,
        // A reload alone is not drift: the configuration that the new process reads is compared, and the drain counts
        // sessions in the current workers, old ones included.
        workers: _,
        // The requested image is compared instead.
        images: _,
        // They follow from haproxy.cfg and from the addresses, states and weights of its servers, which are compared.
        balances: _,
        probes: _,
        surge,
        lanes,
        // Servers that the run does not work on stay as they are.
        unchanged: _,
        rest: _,
        // The fresh plan has its own warnings.
        warnings: _,
        // They follow from the lanes.
        waves: _,
    } = was;
    let joining = |surge: &[Surge]| surge.iter().flat_map(Surge::ids).collect::<Vec<_>>();
    if joining(surge) != joining(&is.surge) {
        found.push(Drift::Surge { was: joining(surge), is: joining(&is.surge) });
    }
    let of = |plan: &Plan, lane: &Lane| plan.lanes.iter().any(|it| it.name() == lane.name());
    for lane in lanes {
        match is.lanes.iter().find(|it| it.name() == lane.name()) {
            Some(now) => lane_drift(lane, now, found),
            None => found.push(Drift::NothingToDo { server: lane.name().clone() }),
        }
    }
    for lane in is.lanes.iter().filter(|lane| !of(was, lane)) {
        found.push(Drift::Joined { server: lane.name().clone(), cause: lane.cause.clone() });
    }
    let order = |plan: &Plan, other: &Plan| -> Vec<ServerId> {
        plan.lanes.iter().filter(|lane| of(other, lane)).map(|lane| lane.name().clone()).collect()
    };
    let (before, now) = (order(was, is), order(is, was));
    if before != now {
        found.push(Drift::Order { was: before, is: now });
    }
}

fn lane_drift(was: &Lane, is: &Lane, found: &mut Vec<Drift>) {
    let Lane { servers, role: _, cause, replacement, forecasts: _, steps } = was;
    // The role and the forecasts follow from haproxy.cfg and from the states of the servers.
    let server = was.name();
    if was.ids() != is.ids() {
        found.push(Drift::Lines { was: was.ids(), is: is.ids() });
    }
    for line in servers {
        // The state, which decides whether it takes traffic, is compared as the load balancers have it. The probes
        // follow from haproxy.cfg and from the policy. Sessions come and go. The container is compared itself,
        // however it was found.
        let LaneServer {
            id,
            served,
            before: _,
            probe: _,
            also: _,
            own_check: _,
            silence: _,
            was: _,
            stays,
            sessions: _,
            takes_traffic: _,
            rule: _,
            address: _,
            host_name: _,
            agents,
            agents_off: _,
        } = line;
        let now = is.servers.iter().find(|it| it.id == *id);
        if let Some(now) = now.filter(|now| now.served != *served) {
            found.push(Drift::Serves { server: id.clone(), now: now.served });
        }
        if let Some(now) = now.filter(|now| now.stays != *stays) {
            found.push(Drift::Stays { server: id.clone(), was: *stays, is: now.stays });
        }
        if let Some(now) = now.filter(|now| now.agents != *agents) {
            found.push(Drift::Agents { server: id.clone(), is: now.agents.clone() });
        }
    }
    if !same_cause(cause, &is.cause) {
        found.push(Drift::Cause { server: server.clone(), was: cause.clone(), is: is.cause.clone() });
    }
    if let (Some(was), Some(is)) = (replacement, &is.replacement) {
        replacement_drift(server, was, is, found);
    }
    if *steps != is.steps {
        found.push(Drift::Steps { server: server.clone(), was: steps.clone(), is: is.steps.clone() });
    }
}

/// Returns whether both are the same reason. The detail of why a server does not serve changes from moment to moment.
fn same_cause(was: &Cause, is: &Cause) -> bool {
    match (was, is) {
        (Cause::NotServing { .. }, Cause::NotServing { .. }) => true,
        (was, is) => was == is,
    }
}

fn replacement_drift(server: &ServerId, was: &Replacement, is: &Replacement, found: &mut Vec<Drift>) {
    // The name is the old container's, or follows from the server's. The requested image is compared instead. Which
    // port the new container publishes and whether it is described follow from haproxy.cfg and drainswap.toml.
    // Whether volumes are renewed is part of the plan's policy. A deploy brings no container back.
    let Replacement {
        old,
        like,
        changes,
        outdated,
        name: _,
        image: _,
        publish: _,
        described: _,
        returning: _,
        pinned: _,
        renew_volumes: _,
    } = was;
    // A container keeps its identifier as long as it keeps its settings and its image. People know it by its name.
    let named = |it: &Container| format!("{} ({})", it.name, it.id.short());
    let mut compare = |part, was: Option<&Container>, is: Option<&Container>| {
        let differs =
            was.map(|it| (&it.id, &it.name, &it.engine)) != is.map(|it| (&it.id, &it.name, &it.engine));
        if differs {
            let (was, is) = (was.map(named), is.map(named));
            found.push(Drift::Container { server: server.clone(), part, was, is });
        }
        differs
    };
    let replaced_differs = compare(LanePart::Replaced, old.as_ref(), is.old.as_ref());
    // Reported above if the replaced container provides the settings.
    if !replaced_differs || old.as_ref().map(|it| &it.id) != Some(&like.id) {
        compare(LanePart::Model, Some(like), Some(&is.like));
    }
    for gone in outdated.iter().filter(|it| !is.outdated.iter().any(|now| now.id == it.id)) {
        compare(LanePart::Removed, Some(gone), None);
    }
    for new in is.outdated.iter().filter(|it| !outdated.iter().any(|was| was.id == it.id)) {
        compare(LanePart::Removed, None, Some(new));
    }
    // The changes by an image that is not on the engine are unknown; that it has arrived since is not drift.
    if let (Some(was), Some(is)) = (changes, &is.changes)
        && was != is
    {
        found.push(Drift::Changes { server: server.clone() });
    }
}

impl fmt::Display for FingerprintChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "has changed",
            Self::New => "is new",
            Self::Gone => "is gone",
        })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |it: &Option<String>| it.clone().unwrap_or_else(|| "none".to_owned());
        let seen =
            |it: &Option<SeenServer>| it.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        match self {
            Self::Configuration { file, fate } => write!(f, "{file} {fate}"),
            Self::Server { load_balancer, server, was, is } => {
                write!(f, "{server} is now {} at {load_balancer}; it was {}", seen(is), seen(was))
            }
            Self::Settings { setting, was, is } => {
                write!(f, "the setting {setting} is now {is}; it was {was}")
            }
            Self::Description => f.write_str("drainswap.toml describes the container differently"),
            Self::Hook { moment, fate } => write!(f, "the hook {moment} {fate}"),
            Self::Image { was, is } => write!(f, "the image is now {is}; it was {was}"),
            Self::Refused(refusal) => write!(f, "the plan would now be refused: {refusal}"),
            Self::NothingToDo { server } => write!(f, "nothing is left to do for {server}"),
            Self::Joined { server, cause } => write!(f, "{server} now needs work too: {cause}"),
            Self::Order { was, is } => write!(f, "the order is now {}; it was {}", list(is), list(was)),
            Self::Surge { was, is } if is.is_empty() => write!(f, "{} would not join any more", list(was)),
            Self::Surge { was, is } if was.is_empty() => write!(f, "{} would join now", list(is)),
            Self::Surge { was, is } => write!(f, "{} would join now; it was {}", list(is), list(was)),
            Self::Lines { was, is } => {
                write!(f, "the container is now behind {}; it was behind {}", list(is), list(was))
            }
            Self::Cause { server, was, is } => write!(f, "{server}: {is} (in the plan: {was})"),
            Self::Container { server, part, was, is } => {
                let what = match part {
                    LanePart::Replaced => "the container to replace",
                    LanePart::Model => "the container whose settings the new one gets",
                    LanePart::Removed => "the container to remove at the end",
                };
                write!(f, "{server}: {what} is now {}; it was {}", or_none(is), or_none(was))
            }
            Self::Changes { server } => {
                write!(f, "{server}: the changes to its container's settings differ from those in the plan")
            }
            Self::Serves { server, now: true } => write!(f, "{server} serves now; it did not before"),
            Self::Serves { server, now: false } => write!(f, "{server} no longer serves"),
            Self::Stays { server, was, is } => {
                let what = |state: &Option<AdminState>| {
                    state.map_or_else(|| "be put in service".to_owned(), |state| format!("stay in {state}"))
                };
                write!(f, "{server} would now {}; in the plan it would {}", what(is), what(was))
            }
            Self::Agents { server, is } if is.is_empty() => {
                write!(f, "the agent of {server} is now off; it was on")
            }
            Self::Agents { server, is } => {
                write!(f, "the agent of {server} is now on at {}, which differs from the plan", is.join(", "))
            }
            Self::Steps { server, was, is } => {
                let words =
                    |steps: &[Step]| steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "{server}: the steps are now {}; they were {}", words(is), words(was))
            }
        }
    }
}

#[cfg(test)]
mod tests;
