//! The plan of a run: lanes of steps, each with its cause and a traffic forecast, fixed before anything changes.

pub mod before;
pub mod build;
pub mod drift;
pub mod file;
pub mod floor;
pub mod kept;
pub mod other_runs;
pub mod place;
pub mod refusal;
pub mod rest;
pub mod scope;
pub mod silence_check;
pub mod text;
pub mod undo;
mod wave;
pub mod weaker_limits;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::repeat;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::hook::HookPoint;
use crate::model::ids::{ContainerId, ImageId, RunId, ServerId};
use crate::model::image::Image;
use crate::model::probe::{Probe, ProbeUrl};
pub use crate::model::run_kind::RunKind;
use crate::observation::ContainerChange;
use crate::observation::{
    AdminState, Container, Described, LoadBalancerState, Pinned, Published, RestartPolicy,
};
use crate::plan::rest::Rest;
use crate::service::create_spec::{CreateSpec, SpecSource};
use crate::topology::matching::{ContainerRole, MatchRule};
use crate::topology::own_check::OwnCheck;
use crate::topology::traffic::{Balance, Forecast};
use crate::topology::{HostName, Role};
use before::Before;
use scope::Scope;
use silence_check::SilenceCheck;

/// What to deploy or roll back, where, and under which policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    pub backend: String,
    pub purpose: RunKind,
    pub target: Target,
    /// The deploys to roll back, newest first.
    pub takes_back: Vec<RunId>,
    pub policy: Policy,
    /// How many lanes may run at the same time, at least 1.
    pub parallel: usize,
    /// The points of the run at which a hook command is configured.
    pub hooks: Vec<HookPoint>,
}

/// The image that each server gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Everywhere(Image),
    /// Each server gets what it ran before. Servers that are not named stay unchanged.
    Each(BTreeMap<ServerId, RollbackTarget>),
}

/// The image and container that a server ran before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackTarget {
    pub image: Image,
    /// The container that ran it, with the name under which it was kept.
    pub container: Option<Container>,
    pub engine: String,
}

impl Target {
    fn image(&self, server: &ServerId) -> Option<&Image> {
        match self {
            Self::Everywhere(image) => Some(image),
            Self::Each(_) => self.rollback_target(server).map(|returned| &returned.image),
        }
    }

    fn rollback_target(&self, server: &ServerId) -> Option<&RollbackTarget> {
        match self {
            Self::Everywhere(_) => None,
            Self::Each(each) => each.get(server),
        }
    }
}

impl RollbackTarget {
    /// Returns the kept container, unless it has been removed, renamed or started since.
    #[must_use]
    pub fn kept_among<'a>(&self, containers: &'a [Container]) -> Option<&'a Container> {
        let kept = self.container.as_ref()?;
        containers.iter().find(|it| it.id == kept.id && it.name == kept.name && it.state.is_idle())
    }
}

/// The limits and choices of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Policy {
    /// The minimum number of servers per backend that must be serving at any moment.
    pub floor: usize,
    /// The time limit of a drain.
    #[serde(rename = "drain_timeout_ms", with = "crate::model::millis")]
    #[schemars(with = "u64")]
    pub drain_timeout: Duration,
    /// What to do when a drain exceeds its limit.
    pub on_drain_timeout: OnDrainTimeout,
    /// The period over which remaining sessions are shut down, with `shutdown`.
    #[serde(rename = "shutdown_over_ms", with = "crate::model::millis")]
    #[schemars(with = "u64")]
    pub shutdown_over: Duration,
    /// How to treat a load balancer that does not answer.
    pub lb_quorum: LbQuorum,
    /// The spare capacity that the remaining servers must have above the current load, in percent of that load.
    pub headroom: u32,
    /// The time limit for a new container to answer.
    #[serde(rename = "ready_timeout_ms", with = "crate::model::millis")]
    #[schemars(with = "u64")]
    pub ready_timeout: Duration,
    /// The number of successful probes in a row that a new container needs (HAProxy's `rise`).
    #[serde(default = "once")]
    pub rise: u32,
    /// A probe for new containers in addition to the backend's own check.
    #[serde(default)]
    pub probe: Option<ProbeUrl>,
    /// What happens to the servers already replaced when a later one fails.
    pub on_failure: OnFailure,
    /// The number of replaced containers to keep per server, stopped, so that a rollback only has to start one.
    #[serde(default)]
    pub keep: usize,
    /// Whether new containers get new anonymous volumes (Compose's `--renew-anon-volumes`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew_anon_volumes: bool,
    /// Whether a server's address must stop answering when its container stops.
    #[serde(default, skip_serializing_if = "SilenceCheck::is_default")]
    pub silence_check: SilenceCheck,
    /// The server lines that a run works on, and what it may do to servers that are out of service.
    #[serde(default, skip_serializing_if = "Scope::is_default")]
    pub scope: Scope,
}

/// The default for plans of earlier versions, which required one successful probe.
fn once() -> u32 {
    1
}

/// What happens when sessions do not end within the drain limit.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum OnDrainTimeout {
    /// Fail the drain: put the server back and roll the run back.
    Fail,
    /// Set the server to maint, which also ends what cookies and stick tables bring, and wait the same time again.
    Maint,
    /// Set the server to maint, then shut down the remaining sessions one by one over a period of time.
    Shutdown,
    /// Stop the container, which cuts the remaining sessions.
    Force,
}

/// What happens to the servers already replaced when a later one fails.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Give every replaced server its old container back, with the same care.
    Rollback,
    /// Keep the new containers and put back only the failed server.
    Stop,
}

/// How to treat a load balancer that does not answer.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum LbQuorum {
    /// Require all: do not start a run without one, and roll it back if one stops answering.
    All,
    /// Continue with those that answer, and bring one that returns up to date.
    Reachable,
}

/// The `HAProxy` process that answers at a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Worker {
    /// The load balancer.
    pub load_balancer: String,
    /// The process ID.
    pub pid: u32,
}

impl Worker {
    /// Returns the process that answered.
    #[must_use]
    pub fn of(seen: &LoadBalancerState) -> Self {
        Self { load_balancer: seen.name.clone(), pid: seen.pid }
    }
}

/// Everything that a run will do. It prints and serialises, and the executor takes nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// The run's identifier, derived from the time of the observation.
    pub run: RunId,
    /// The time of the observation.
    pub at: Timestamp,
    /// The backend.
    pub backend: String,
    /// Whether the run deploys or rolls back.
    pub purpose: RunKind,
    /// The deploys that this run rolls back, newest first.
    #[serde(default)]
    pub takes_back: Vec<RunId>,
    /// The unfinished run that this one continues; the first of them if there are several.
    #[serde(default)]
    pub continues: Option<RunId>,
    /// The approved plan file that this run applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
    /// The processes that the plan was made for. A different process means that HAProxy was reloaded.
    pub workers: Vec<Worker>,
    /// The limits and choices.
    pub policy: Policy,
    /// The images that must be present before anything is created, each once.
    pub images: Vec<Image>,
    /// How each affected backend distributes its traffic.
    pub balances: Vec<Balance>,
    /// The probes of the servers that will carry the traffic.
    pub probes: Vec<(ServerId, Probe)>,
    /// One lane per replica, in the order in which they run.
    pub lanes: Vec<Lane>,
    /// The number of lanes of each wave, in order. The lanes of a wave run at the same time; without waves, each lane
    /// runs alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<usize>,
    /// The servers that already run the wanted image.
    pub unchanged: Vec<ServerId>,
    /// Server lines that the run does not work on, and servers that stay out of service.
    #[serde(default, skip_serializing_if = "Rest::is_empty")]
    pub rest: Rest,
    /// Notes for the operator that do not stop the run.
    pub warnings: Vec<String>,
    /// The points of the run at which a hook command is configured.
    #[serde(default)]
    pub hooks: Vec<HookPoint>,
}

/// The plan from a plan file, as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Approved {
    /// The identifier that the run had in the plan file.
    pub run: RunId,
    /// The time of the observation behind the plan file.
    pub at: Timestamp,
}

impl Plan {
    /// Returns whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Returns the lanes of each wave, in order. Lanes that belong to no wave run alone, after the others.
    #[must_use]
    pub fn waves(&self) -> Vec<Range<usize>> {
        let mut waves = Vec::new();
        let sizes = self.waves.iter().copied().filter(|size| *size > 0).chain(repeat(1));
        let mut start = 0;
        for size in sizes {
            if start >= self.lanes.len() {
                break;
            }
            let end = start.saturating_add(size).min(self.lanes.len());
            waves.push(start..end);
            start = end;
        }
        waves
    }

    /// Returns the run that this one continues, or its own identifier.
    #[must_use]
    pub fn first_run(&self) -> &RunId {
        self.continues.as_ref().unwrap_or(&self.run)
    }

    /// Returns every backend that the plan affects.
    #[must_use]
    pub fn backends(&self) -> Vec<String> {
        self.balances.iter().map(|balance| balance.backend.clone()).collect()
    }

    /// Returns the names of the engines that create containers from an image, each once.
    #[must_use]
    pub fn engines_for(&self, image: &Image) -> BTreeSet<&str> {
        let replacements = self.lanes.iter().filter_map(|lane| lane.replacement.as_ref());
        let created = replacements.filter(|it| it.is_created() && it.image == *image);
        created.map(|it| it.like.engine.as_str()).collect()
    }
}

/// The work on one replica: one container and every server line that reaches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Lane {
    /// The server lines, at least one. The first belongs to the backend that the run was started for.
    #[serde(deserialize_with = "at_least_one")]
    pub servers: Vec<LaneServer>,
    /// The role of the lane: primary if any of its lines is one.
    pub role: Role,
    /// Why the lane needs work.
    pub cause: Cause,
    /// What is replaced by what; `None` if the server is only put back in service.
    pub replacement: Option<Replacement>,
    /// Where the traffic of each backend goes while the lane is out.
    pub forecasts: Vec<Forecast>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// Deserialises servers and requires at least one, because a lane is named after its first server.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LaneServer>, D::Error> {
    let servers = Vec::deserialize(deserializer)?;
    if servers.is_empty() { Err(D::Error::custom("a lane has no server")) } else { Ok(servers) }
}

impl Lane {
    /// Returns the first server, whose name is the lane's name.
    #[must_use]
    pub fn name(&self) -> &ServerId {
        &self.servers[0].id
    }

    /// Returns the identifiers of the containers that the lane replaces, copies or brings back.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerId> {
        let replacement = self.replacement.iter();
        let known = replacement.flat_map(|it| [Some(&it.like), it.old.as_ref(), it.returning.as_ref()]);
        known.flatten().map(|container| &container.id)
    }

    /// Returns the hook point that comes before a step. Idleness is checked once more after the hook.
    #[must_use]
    pub fn hook_before(&self, step: Step) -> Option<HookPoint> {
        match step {
            Step::Settle => Some(HookPoint::AfterDrain),
            Step::Ready if self.replacement.is_some() => Some(HookPoint::BeforeEnable),
            Step::Create
            | Step::Verify
            | Step::Drain
            | Step::AwaitIdle
            | Step::Maint
            | Step::Stop
            | Step::Start
            | Step::Prove
            | Step::Ready
            | Step::Confirm
            | Step::Remove
            | Step::Discard
            | Step::Return
            | Step::ProveOld
            | Step::PutBack => None,
        }
    }

    /// Returns the lane's servers.
    #[must_use]
    pub fn ids(&self) -> Vec<ServerId> {
        self.servers.iter().map(|server| server.id.clone()).collect()
    }

    /// Returns the servers that must serve when the run ends.
    #[must_use]
    pub fn enabled_ids(&self) -> Vec<ServerId> {
        self.enabled().map(|server| server.id.clone()).collect()
    }

    /// Returns the backends of the lane's servers, each once.
    #[must_use]
    pub fn backends(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.servers.iter().map(|server| &server.id.backend).collect();
        names.into_iter().cloned().collect()
    }

    /// Returns the lane's servers as a set.
    #[must_use]
    pub fn id_set(&self) -> BTreeSet<ServerId> {
        self.servers.iter().map(|server| server.id.clone()).collect()
    }
}

/// A server line of a lane, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LaneServer {
    /// The server line.
    pub id: ServerId,
    /// The probe that proves that it serves.
    pub probe: Probe,
    /// An additional probe for a new container.
    #[serde(default)]
    pub also: Option<Probe>,
    /// `HAProxy`'s own check, where that decides whether a container serves on this line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_check: Option<OwnCheck>,
    /// The probe that must fail once the old container has stopped; `None` if that is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Probe>,
    /// Its administrative state before the run.
    pub was: AdminState,
    /// The state that it keeps when its container is replaced, where a person or haproxy.cfg took it out of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<AdminState>,
    /// The load balancers that ask its agent (`agent-check`). The agent is turned off there while the server is out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// The load balancers at which its agent is off and stays off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents_off: Vec<String>,
    /// The number of sessions in flight on it when the plan was made, on all load balancers.
    #[serde(default)]
    pub sessions: u64,
    /// Whether `HAProxy` gave it requests and it answered drainswap's own probe before the run.
    pub served: bool,
    /// What it did before the run; missing in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// Whether `HAProxy` will give it requests as soon as it is ready.
    pub takes_traffic: bool,
    /// How the container behind it was found; `None` if there is none yet, and in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<MatchRule>,
    /// The address that its traffic goes to; `None` in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The host name on its line, if it has one instead of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<HostName>,
}

/// Why a lane needs work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// It runs a different image.
    OtherImage {
        /// The image that it runs.
        runs: Image,
    },
    /// It has the wanted image, but does not run or does not answer.
    NotServing {
        /// What is wrong with it.
        why: String,
    },
    /// Its container is gone.
    ContainerGone {
        /// The container whose settings the new one gets.
        like: String,
    },
    /// It has no container yet, and drainswap.toml describes one.
    NotYetThere,
    /// It has the wanted image, but differs from its description in drainswap.toml.
    Drifted,
    /// It has the same image as the container that it replaced, and that container comes back.
    Superseded,
    /// It runs the wanted image and answers, but was left out of service.
    OutOfService {
        /// The administrative state that it was left in.
        left_in: AdminState,
    },
}

/// The replacement of one container by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Replacement {
    /// The container that is replaced; `None` if it is gone.
    pub old: Option<Container>,
    /// The container whose settings the new one gets: the old one or a sibling.
    pub like: Container,
    /// The port that the new one publishes, if `like` is a sibling or drainswap.toml describes the new one.
    pub publish: Option<Published>,
    /// The name of the old container, which the new one takes over.
    pub name: String,
    /// The image of the new container.
    pub image: Image,
    /// Whether the new one is created as drainswap.toml describes it, rather than like another container.
    #[serde(default)]
    pub described: bool,
    /// The container, kept by an earlier run, that is started again instead of creating a new one.
    #[serde(default)]
    pub returning: Option<Container>,
    /// What changes in the new container through its image's defaults; `None` if the engine does not have the image
    /// yet.
    #[serde(default)]
    pub changes: Option<Vec<ContainerChange>>,
    /// Containers kept by earlier runs that exceed the number to keep.
    #[serde(default)]
    pub outdated: Vec<Container>,
    /// What the engine chose for the old container and its replacement must have.
    #[serde(default, skip_serializing_if = "Pinned::is_empty")]
    pub pinned: Pinned,
    /// Whether the new one gets new anonymous volumes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew_volumes: bool,
}

impl Replacement {
    /// Returns whether the new container is created, rather than a kept one started again.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.returning.is_none()
    }

    /// Returns the restart policy that the new container has once it serves.
    #[must_use]
    pub fn restart_of_new(&self) -> &RestartPolicy {
        &self.returning.as_ref().unwrap_or(&self.like).restart
    }

    /// Creates a replacement like this container, with its name, that takes no other container's place yet.
    #[must_use]
    pub fn like(like: &Container, image: &Image) -> Self {
        Self {
            old: None,
            like: like.clone(),
            publish: None,
            name: like.name.clone(),
            image: image.clone(),
            described: false,
            returning: None,
            changes: None,
            outdated: Vec::new(),
            pinned: Pinned::default(),
            renew_volumes: false,
        }
    }

    /// Creates a replacement for this container as drainswap.toml describes it, behind a server with this address.
    #[must_use]
    pub fn described(
        old: &Container,
        described: &Described,
        address: Option<SocketAddr>,
        image: &Image,
    ) -> Self {
        // The server line decides the published address, which stays. The description decides the port inside.
        let of_port = |it: &&Published| address.is_some_and(|address| it.port == address.port());
        let exactly = |it: &&Published| address.is_some_and(|address| it.ip == address.ip());
        let everywhere = |it: &&Published| it.ip.is_unspecified();
        let all = || old.published.iter().filter(of_port);
        let publish = all().find(exactly).or_else(|| all().find(everywhere)).or_else(|| all().next());
        let like = Container { restart: described.restart.clone(), ..old.clone() };
        Self {
            old: Some(old.clone()),
            publish: publish.map(|it| Published { container_port: described.port, ..*it }),
            described: true,
            ..Self::like(&like, image)
        }
    }

    /// Returns the old container's name while it is kept.
    #[must_use]
    pub fn kept_name(&self, run: &RunId) -> String {
        ContainerRole::Previous.name(&self.name, run)
    }

    /// Returns how many containers in its place are kept for a rollback, given the policy's `keep`.
    #[must_use]
    pub fn kept(&self, keep: usize) -> usize {
        self.old.as_ref().map_or(keep, |old| old.kept_of(keep))
    }

    /// Returns whether nothing is left to remove once the new container serves.
    #[must_use]
    pub fn keeps_all(&self, keep: usize) -> bool {
        self.outdated.is_empty() && self.old_to_remove(keep).is_none()
    }

    /// Returns the old container if it is removed once the new one serves. One whose data the new one does not have
    /// stays until `drainswap prune`; of a Compose project's only the volumes can stay.
    fn old_to_remove(&self, keep: usize) -> Option<&Container> {
        let has_data =
            |old: &Container| old.unnamed_volumes.as_ref().is_none_or(|volumes| !volumes.is_empty());
        let holds_data = |old: &Container| self.renew_volumes && !old.is_of_compose() && has_data(old);
        self.old.as_ref().filter(|old| self.kept(keep) == 0 && !holds_data(old))
    }

    /// Returns the old container's image if only that is kept, under a separate name for a rollback.
    #[must_use]
    pub fn image_kept(&self, keep: usize) -> Option<&ImageId> {
        self.old.as_ref().filter(|_| keep > 0 && self.kept(keep) == 0).map(|old| &old.image)
    }

    /// Returns the volumes that existed before the new container, limited to those that it may have and whose names
    /// look like ones that the engine made up; `None` if that is not known. Its other volumes were created with it.
    #[must_use]
    pub fn volumes_before(
        &self,
        description: Option<&crate::service::Container>,
    ) -> Option<BTreeSet<String>> {
        let models = self.old.iter().chain((!self.described).then_some(&self.like));
        let volumes: Vec<_> = models.map(|it| it.unnamed_volumes.as_ref()).collect::<Option<_>>()?;
        let of_models = volumes.into_iter().flatten().map(|it| it.name.as_str());
        // A person may name a volume by a name that the engine once made up.
        let described = description.into_iter().flat_map(crate::service::Container::named_volumes);
        Some(of_models.chain(described).map(str::to_owned).collect())
    }

    /// Returns the containers that are removed once the new one serves, each with its name at that time.
    pub fn removed(&self, run: &RunId, keep: usize) -> impl Iterator<Item = (&ContainerId, String)> {
        let old = self.old_to_remove(keep).map(|old| (&old.id, self.kept_name(run)));
        old.into_iter().chain(self.outdated.iter().map(|kept| (&kept.id, kept.name.clone())))
    }

    /// Returns how to create the new container, with its description if it has one.
    #[must_use]
    pub fn create_spec(&self, run: &RunId, description: Option<&crate::service::Container>) -> CreateSpec {
        let platform = description.and_then(|it| it.platform.clone());
        let description = description.filter(|_| self.described);
        let instead_of = || self.old.as_ref().map(|old| old.id.clone());
        CreateSpec {
            model: match description {
                Some(it) => SpecSource::Described { wanted: Box::new(it.clone()), instead_of: instead_of() },
                None => SpecSource::CopyOf(self.like.id.clone()),
            },
            image: self.image.clone(),
            name: self.candidate_name(run),
            platform,
            publish: self.publish,
            pinned: self.pinned.clone(),
            renew_volumes: self.renew_volumes,
        }
    }

    /// Returns how to create a copy of the old container, with the ports and addresses that the engine chose for it.
    #[must_use]
    pub fn copy_spec(&self, old: &Container, run: &RunId) -> CreateSpec {
        CreateSpec {
            model: SpecSource::CopyOf(old.id.clone()),
            image: old.running_image(),
            name: self.candidate_name(run),
            platform: None,
            publish: None,
            pinned: self.pinned.clone(),
            renew_volumes: false,
        }
    }

    /// Returns the new container's name until it is started.
    #[must_use]
    pub fn candidate_name(&self, run: &RunId) -> String {
        ContainerRole::Candidate.name(&self.name, run)
    }
}

/// One step of a lane. Every step can be repeated harmlessly.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Create the new container without starting it.
    Create,
    /// Check again that the floor holds and that the servers that take over answer.
    Verify,
    /// Set the server lines to drain.
    Drain,
    /// Wait until nothing is in flight and nothing new can arrive.
    AwaitIdle,
    /// Set the server lines to maint.
    Maint,
    /// Check once more that requests which arrived just before maint have ended, and that no reload has undone maint.
    Settle,
    /// Stop the old container and keep it under another name.
    #[serde(rename = "keep")]
    Stop,
    /// Give the new container the old one's name and start it.
    Start,
    /// Wait until the new container answers.
    Prove,
    /// Set the server lines to ready.
    Ready,
    /// Check that `HAProxy` has them up and gives them traffic.
    Confirm,
    /// Remove the old containers that are not kept.
    Remove,
    /// Undo: stop and remove the new container, or put a kept one aside again.
    Discard,
    /// Undo: give the old container its name back and start it.
    Return,
    /// Undo: wait until the old container answers.
    ProveOld,
    /// Undo: set the server lines back to the state that they had.
    PutBack,
}

impl Step {
    /// Returns whether the step may change which servers serve.
    #[must_use]
    pub fn touches_traffic(self) -> bool {
        !matches!(self, Self::Create | Self::Verify | Self::Prove)
    }

    /// Returns whether the step belongs to those that take servers out of rotation.
    #[must_use]
    pub fn takes_out(self) -> bool {
        matches!(self, Self::Verify | Self::Drain | Self::AwaitIdle | Self::Maint | Self::Settle)
    }
}

impl fmt::Display for Step {
    /// Writes the word that begins the step's line in the printed plan.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Verify => "verify",
            Self::Drain => "drain",
            Self::AwaitIdle => "wait",
            Self::Maint => "maint",
            Self::Settle => "settle",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Prove => "prove",
            Self::Ready => "ready",
            Self::Confirm => "confirm",
            Self::Remove => "remove",
            Self::Discard => "discard",
            Self::Return => "return",
            Self::ProveOld => "prove old",
            Self::PutBack => "put back",
        })
    }
}

#[cfg(test)]
mod tests;
