//! Whether what was approved is still what would be done: a plan file against a fresh look, point by point.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::hook::Moment;
use crate::ids::ServerId;
use crate::image::Image;
use crate::observation::{AdminState, Container};
use crate::outcome::list;
use crate::plan::file::{Basis, PlanFile, ReadFile, SeenServer};
use crate::plan::refusal::Refusal;
use crate::plan::{Cause, Lane, LaneServer, Plan, Policy, Replacement, Step};

/// One thing that is not as it was when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drift {
    /// A file of haproxy.cfg says something else, is new, or is gone.
    Configuration {
        /// The file.
        file: String,
        /// What became of it.
        fate: Fate,
    },
    /// A load balancer has a server otherwise.
    Server {
        /// The load balancer.
        load_balancer: String,
        /// The server.
        server: ServerId,
        /// What was true of it; nothing where it was not there.
        was: Option<SeenServer>,
        /// What is.
        is: Option<SeenServer>,
    },
    /// The settings make another limit or choice.
    Settings {
        /// Which, by the name that the file has for it.
        setting: String,
        /// What it was.
        was: String,
        /// What it is.
        is: String,
    },
    /// drainswap.toml describes the container otherwise.
    Description,
    /// A hook has another command, is new, or is gone.
    Hook {
        /// Which.
        moment: Moment,
        /// What became of it.
        fate: Fate,
    },
    /// The name of the image means another one.
    Image {
        /// What it meant.
        was: Image,
        /// What it means.
        is: Image,
    },
    /// It would be refused.
    Refused(Refusal),
    /// There is nothing left to do for a server.
    Settled {
        /// The server.
        server: ServerId,
    },
    /// There is something to do for a server that nothing was to be done for.
    Joined {
        /// The server.
        server: ServerId,
        /// What.
        cause: Cause,
    },
    /// The servers come in another order.
    Order {
        /// The order of those that were planned.
        was: Vec<ServerId>,
        /// The order now.
        is: Vec<ServerId>,
    },
    /// Other server lines reach the container.
    Lines {
        /// Those that did.
        was: Vec<ServerId>,
        /// Those that do.
        is: Vec<ServerId>,
    },
    /// There is another reason to work on a server.
    Cause {
        /// The server.
        server: ServerId,
        /// What it was.
        was: Cause,
        /// What it is.
        is: Cause,
    },
    /// Another container is meant.
    Container {
        /// The server.
        server: ServerId,
        /// What was to become of it.
        part: Part,
        /// Its name and identifier; nothing where there was none.
        was: Option<String>,
        /// The same of the one that is meant now.
        is: Option<String>,
    },
    /// A new container would have other settings.
    Changes {
        /// The server.
        server: ServerId,
    },
    /// A server that served does not any more, or the other way round.
    Serves {
        /// The server.
        server: ServerId,
        /// Whether it does now.
        now: bool,
    },
    /// A server would be left in another state, or put in service.
    Stays {
        /// The server.
        server: ServerId,
        /// The state that it was to stay in; nothing where it was to be put in service.
        was: Option<AdminState>,
        /// The same now.
        is: Option<AdminState>,
    },
    /// Agents (`agent-check`) are on elsewhere than before.
    Agents {
        /// The server.
        server: ServerId,
        /// The load balancers at which its agent is on now.
        is: Vec<String>,
    },
    /// Other steps lead there.
    Steps {
        /// The server.
        server: ServerId,
        /// Those that were planned.
        was: Vec<Step>,
        /// Those that would be done.
        is: Vec<Step>,
    },
}

/// What became of something that has a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It says something else.
    Changed,
    /// It was not there.
    New,
    /// It is not there any more.
    Gone,
}

/// A container's part in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is replaced.
    Replaced,
    /// The new one gets its settings.
    Model,
    /// It is removed at the end.
    Removed,
}

/// Everything that is not as it was when the plan was made, given a fresh look and what would be planned on it, for the
/// same image and with the same limits.
///
/// Each field of a plan is named here once. What may differ without being drift is left out, for its own reason.
#[must_use]
pub fn drift(approved: &PlanFile, now: &Basis, plan: &Result<Plan, Vec<Refusal>>) -> Vec<Drift> {
    let mut found = basis(&approved.basis, now);
    match plan {
        Ok(plan) => plans(&approved.plan, plan, &mut found),
        Err(refusals) => found.extend(refusals.iter().cloned().map(Drift::Refused)),
    }
    found
}

fn basis(was: &Basis, is: &Basis) -> Vec<Drift> {
    let Basis { image, configuration, servers, settings, description, hooks } = was;
    let files = |files: &[ReadFile]| files.iter().map(|it| (it.file.clone(), it.sha256.clone())).collect();
    let files = fates(&files(configuration), &files(&is.configuration));
    let mut found: Vec<Drift> =
        files.into_iter().map(|(file, fate)| Drift::Configuration { file, fate }).collect();
    found.extend(server_drift(servers, &is.servers));
    found.extend(policy_drift(settings, &is.settings));
    found.extend((*description != is.description).then_some(Drift::Description));
    found.extend(fates(hooks, &is.hooks).into_iter().map(|(moment, fate)| Drift::Hook { moment, fate }));
    if *image != is.image {
        found.push(Drift::Image { was: image.clone(), is: is.image.clone() });
    }
    found
}

/// What became of each thing, by its fingerprint.
fn fates<K: Clone + Ord>(was: &BTreeMap<K, String>, is: &BTreeMap<K, String>) -> Vec<(K, Fate)> {
    let fate = |(key, fingerprint): (&K, &String)| match is.get(key) {
        Some(now) if now == fingerprint => None,
        Some(_) => Some((key.clone(), Fate::Changed)),
        None => Some((key.clone(), Fate::Gone)),
    };
    let new = is.keys().filter(|key| !was.contains_key(key)).map(|key| (key.clone(), Fate::New));
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

/// The settings of a policy that differ, by the names that they have in the file.
fn policy_drift(was: &Policy, is: &Policy) -> Vec<Drift> {
    let differs = differences(was, is).into_iter();
    differs.map(|(setting, was, is)| Drift::Settings { setting, was, is }).collect()
}

/// Where two policies differ: the name of the setting, and what each has.
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
        // Each run has a name of its own, from the moment at which it looked.
        run: _,
        at: _,
        approved: _,
        // The backend, the purpose and the policy are those of the file: what is planned now is planned for them.
        backend: _,
        purpose: _,
        policy: _,
        takes_back: _,
        continues: _,
        // A reload is no drift by itself: what the new process reads is compared, and who is drained now is counted in
        // the workers that run now, old ones too.
        workers: _,
        // The image is compared as what was asked for.
        images: _,
        // They follow from haproxy.cfg, and from the addresses, states and weights of its servers, which are compared.
        balances: _,
        probes: _,
        lanes,
        // Who is not worked on stays as it is.
        unchanged: _,
        rest: _,
        // They are told again, of the world as it is.
        warnings: _,
        // Their commands are compared.
        hooks: _,
    } = was;
    let of = |plan: &Plan, lane: &Lane| plan.lanes.iter().any(|it| it.name() == lane.name());
    for lane in lanes {
        match is.lanes.iter().find(|it| it.name() == lane.name()) {
            Some(now) => lane_drift(lane, now, found),
            None => found.push(Drift::Settled { server: lane.name().clone() }),
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
    // Its role and its forecasts follow from haproxy.cfg and from the states of the servers.
    let server = was.name();
    if was.ids() != is.ids() {
        found.push(Drift::Lines { was: was.ids(), is: is.ids() });
    }
    for line in servers {
        // The state, and by it whether it takes traffic, is compared as the load balancers have it; what it is asked
        // follows from haproxy.cfg and from the policy; sessions come and go; a container is compared itself, however it
        // was found.
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

/// Whether it is the same reason. How a server says that it does not serve changes from one moment to the next.
fn same_cause(was: &Cause, is: &Cause) -> bool {
    match (was, is) {
        (Cause::NotServing { .. }, Cause::NotServing { .. }) => true,
        (was, is) => was == is,
    }
}

fn replacement_drift(server: &ServerId, was: &Replacement, is: &Replacement, found: &mut Vec<Drift>) {
    // The name is the old one's, or follows from the server's; the image is compared as what was asked for; what the new
    // container publishes and whether it is described follow from haproxy.cfg and drainswap.toml; whether volumes are renewed
    // is one of the limits that the plan has; a deploy brings nothing back.
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
    // A container keeps its identifier as long as it keeps its settings and its image. Its name is what people know.
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
    let replaced_differs = compare(Part::Replaced, old.as_ref(), is.old.as_ref());
    // Where the settings are the replaced one's it has been said.
    if !replaced_differs || old.as_ref().map(|it| &it.id) != Some(&like.id) {
        compare(Part::Model, Some(like), Some(&is.like));
    }
    for gone in outdated.iter().filter(|it| !is.outdated.iter().any(|now| now.id == it.id)) {
        compare(Part::Removed, Some(gone), None);
    }
    for new in is.outdated.iter().filter(|it| !outdated.iter().any(|was| was.id == it.id)) {
        compare(Part::Removed, None, Some(new));
    }
    // What an image that is not there changes is not known; that it is there by now is no drift.
    if let (Some(was), Some(is)) = (changes, &is.changes)
        && was != is
    {
        found.push(Drift::Changes { server: server.clone() });
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "says something else",
            Self::New => "is new",
            Self::Gone => "is gone",
        })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |it: &Option<String>| it.clone().unwrap_or_else(|| "none".to_owned());
        let seen = |it: &Option<SeenServer>| {
            it.as_ref().map_or_else(|| "not known there".to_owned(), ToString::to_string)
        };
        match self {
            Self::Configuration { file, fate } => write!(f, "{file} {fate}"),
            Self::Server { load_balancer, server, was, is } => {
                write!(f, "{server} is {} at {load_balancer}, and was {}", seen(is), seen(was))
            }
            Self::Settings { setting, was, is } => {
                write!(f, "the settings make {setting} {is}, and made it {was}")
            }
            Self::Description => f.write_str("the container is described otherwise in drainswap.toml"),
            Self::Hook { moment, fate } => write!(f, "the hook {moment} {fate}"),
            Self::Image { was, is } => write!(f, "the image is {is} by now, and was {was}"),
            Self::Refused(refusal) => write!(f, "it would be refused: {refusal}"),
            Self::Settled { server } => write!(f, "nothing is left to do for {server}"),
            Self::Joined { server, cause } => write!(f, "{server} would be worked on too: {cause}"),
            Self::Order { was, is } => write!(f, "the order is {}, and was {}", list(is), list(was)),
            Self::Lines { was, is } => {
                write!(f, "the container is behind {}, and was behind {}", list(is), list(was))
            }
            Self::Cause { server, was, is } => write!(f, "{server}: {is}; it was: {was}"),
            Self::Container { server, part, was, is } => {
                let what = match part {
                    Part::Replaced => "the container that is replaced",
                    Part::Model => "the container whose settings the new one gets",
                    Part::Removed => "what is removed at the end",
                };
                write!(f, "{server}: {what} is {}, and was {}", or_none(is), or_none(was))
            }
            Self::Changes { server } => {
                write!(f, "{server}: other settings of its container would change than those that were shown")
            }
            Self::Serves { server, now: true } => write!(f, "{server} serves, and did not"),
            Self::Serves { server, now: false } => write!(f, "{server} does not serve any more"),
            Self::Stays { server, was, is } => {
                let what = |state: &Option<AdminState>| {
                    state.map_or_else(|| "be put in service".to_owned(), |state| format!("stay in {state}"))
                };
                write!(f, "{server} would {}, and was to {}", what(is), what(was))
            }
            Self::Agents { server, is } if is.is_empty() => {
                write!(f, "the agent of {server} is off, and was on")
            }
            Self::Agents { server, is } => {
                write!(f, "the agent of {server} is on at {}, and was not at the same", is.join(", "))
            }
            Self::Steps { server, was, is } => {
                let words =
                    |steps: &[Step]| steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "{server}: the steps are {}, and were {}", words(is), words(was))
            }
        }
    }
}

#[cfg(test)]
mod tests;
