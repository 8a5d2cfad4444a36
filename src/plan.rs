//! What will be done, decided before anything is: lanes of steps, each with its cause and forecast.

pub mod asked;
pub mod build;
pub mod drift;
pub mod file;
pub mod floor;
pub mod laxer;
pub mod other_runs;
pub mod place;
pub mod refusal;
pub mod scope;
pub mod silence_check;
pub mod text;
pub mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::hook::Moment;
use crate::ids::{ContainerId, ImageId, RunId, ServerId};
use crate::image::Image;
use crate::observation::{AdminState, Container, Described, LoadBalancerState, Pinned, Published};
use crate::outcome::Rest;
use crate::ports::{Change, Model, Recipe};
use crate::probe::{Probe, ProbeUrl};
use crate::topology::matching::{Aside, MatchRule};
use crate::topology::own_check::OwnCheck;
use crate::topology::traffic::{Balance, Forecast};
use crate::topology::{HostName, Role};
use asked::Before;
use scope::Scope;
use silence_check::SilenceCheck;

/// What a run is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The backend whose servers are replaced.
    pub backend: String,
    /// Forward or back.
    pub purpose: Purpose,
    /// Which image each server gets.
    pub target: Target,
    /// The deploys that are taken back, the last one first.
    pub takes_back: Vec<RunId>,
    /// How it is done.
    pub policy: Policy,
    /// The moments at which a command of somebody's own is run.
    pub hooks: Vec<Moment>,
}

/// Whether a run goes forward or back; it decides what the next rollback returns to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To an image that somebody asked for.
    Deploy,
    /// To what ran before the last deploy.
    Rollback,
}

/// Which image each server gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All get this one.
    Everywhere(Image),
    /// Each gets what it ran before; a server that is not named stays as it is.
    Each(BTreeMap<ServerId, Returned>),
}

/// What a server ran before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The image.
    pub image: Image,
    /// The container that ran it, under the name that it was kept by, if it had one.
    pub container: Option<Container>,
    /// The engine that it was on.
    pub engine: String,
}

impl Target {
    fn image(&self, server: &ServerId) -> Option<&Image> {
        match self {
            Self::Everywhere(image) => Some(image),
            Self::Each(_) => self.returned(server).map(|returned| &returned.image),
        }
    }

    fn returned(&self, server: &ServerId) -> Option<&Returned> {
        match self {
            Self::Everywhere(_) => None,
            Self::Each(each) => each.get(server),
        }
    }
}

impl Returned {
    /// The container, if it is still kept: nobody has removed, renamed or started it.
    #[must_use]
    pub fn kept_among<'a>(&self, containers: &'a [Container]) -> Option<&'a Container> {
        let kept = self.container.as_ref()?;
        containers.iter().find(|it| it.id == kept.id && it.name == kept.name && it.state.is_idle())
    }
}

/// The limits and choices of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Policy {
    /// The least number of servers, per backend, that must be serving at any moment.
    pub floor: usize,
    /// How long a drain may take.
    #[serde(rename = "drain_timeout_ms", with = "crate::millis")]
    #[schemars(with = "u64")]
    pub drain_timeout: Duration,
    /// What happens when it takes longer.
    pub on_drain_timeout: OnDrainTimeout,
    /// Over how long sessions are ended, where they are.
    #[serde(rename = "shutdown_over_ms", with = "crate::millis")]
    #[schemars(with = "u64")]
    pub shutdown_over: Duration,
    /// What a load balancer that does not answer means.
    pub lb_quorum: LbQuorum,
    /// How much more than what runs now the servers that stay must be able to take, in per cent of it.
    pub headroom: u32,
    /// How long a new container may take until it answers.
    #[serde(rename = "ready_timeout_ms", with = "crate::millis")]
    #[schemars(with = "u64")]
    pub ready_timeout: Duration,
    /// How many times in a row it must answer then; HAProxy's word.
    #[serde(default = "once")]
    pub rise: u32,
    /// What it is asked beside the backend's own check.
    #[serde(default)]
    pub probe: Option<ProbeUrl>,
    /// What happens to the servers already replaced when a later one fails.
    pub on_failure: OnFailure,
    /// How many replaced containers of each server are kept, stopped, so that a rollback needs no more than to start one.
    #[serde(default)]
    pub keep: usize,
    /// Whether new containers get new volumes in the place of those without a name; Compose's word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew_anon_volumes: bool,
    /// Whether a server's address must fall silent when its container stops.
    #[serde(default, skip_serializing_if = "SilenceCheck::is_default")]
    pub silence_check: SilenceCheck,
    /// Which server lines are worked on, and what is done to those that are out of use.
    #[serde(default, skip_serializing_if = "Scope::is_default")]
    pub scope: Scope,
}

/// Earlier plans had one answer prove it.
fn once() -> u32 {
    1
}

/// What happens when sessions do not end within the drain's limit.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum OnDrainTimeout {
    /// The drain has failed: the server is put back, the run is rolled back.
    Fail,
    /// Maint, which also ends what cookies and stick tables bring, and the same time once more.
    Maint,
    /// Maint, and then the sessions that are left are ended one by one, spread over a time.
    Shutdown,
    /// The sessions that are left are cut when the container is stopped.
    Force,
}

/// What happens to the servers already replaced when a later one fails.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// They get their old containers back, as carefully as they lost them.
    Rollback,
    /// They keep the new ones; only the failed server is put back.
    Stop,
}

/// What a load balancer that does not answer means.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum LbQuorum {
    /// All must answer: nothing begins without one, and what has begun is taken back.
    All,
    /// Those that answer are enough. One that comes back is brought to what was set meanwhile.
    Reachable,
}

/// The process that answers at a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Worker {
    /// The load balancer.
    pub load_balancer: String,
    /// The process.
    pub pid: u32,
}

impl Worker {
    /// Who answered.
    #[must_use]
    pub fn of(seen: &LoadBalancerState) -> Self {
        Self { load_balancer: seen.name.clone(), pid: seen.pid }
    }
}

/// Everything that a run will do. It prints and serialises; the executor takes only this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// The run's identifier, from the moment of the observation.
    pub run: RunId,
    /// When the world was looked at.
    pub at: Timestamp,
    /// The backend.
    pub backend: String,
    /// Forward or back.
    pub purpose: Purpose,
    /// The deploys that it takes back, the last one first.
    #[serde(default)]
    pub takes_back: Vec<RunId>,
    /// The run that was not finished, and whose rest this is; the first of them, where there were several.
    #[serde(default)]
    pub continues: Option<RunId>,
    /// The plan file that was approved, and that this applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
    /// The processes that the plan was made for; a change is a reload.
    pub workers: Vec<Worker>,
    /// The limits and choices.
    pub policy: Policy,
    /// The images that must be present before anything is created, each once.
    pub images: Vec<Image>,
    /// Where the traffic of every backend that is touched goes, and by what rule.
    pub balances: Vec<Balance>,
    /// How to probe the servers that will carry the traffic.
    pub probes: Vec<(ServerId, Probe)>,
    /// One lane a replica, in the order in which they are worked off, one at a time.
    pub lanes: Vec<Lane>,
    /// The servers that run the wanted image already.
    pub unchanged: Vec<ServerId>,
    /// Server lines that are not worked on, and servers that stay out of service.
    #[serde(default, skip_serializing_if = "Rest::is_empty")]
    pub rest: Rest,
    /// What a person should know and the run does not stop for.
    pub warnings: Vec<String>,
    /// The moments at which a command of somebody's own is run.
    #[serde(default)]
    pub hooks: Vec<Moment>,
}

/// The plan of a file, as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Approved {
    /// The run that it would have been.
    pub run: RunId,
    /// When the world was looked at for it.
    pub at: Timestamp,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The run that this is, or is the rest of.
    #[must_use]
    pub fn root(&self) -> &RunId {
        self.continues.as_ref().unwrap_or(&self.run)
    }

    /// Every backend that the plan touches.
    #[must_use]
    pub fn backends(&self) -> Vec<String> {
        self.balances.iter().map(|balance| balance.backend.clone()).collect()
    }

    /// The engines that create something from an image, by name, each once.
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
    /// The server lines, at least one; the first is of the backend that was asked for.
    #[serde(deserialize_with = "at_least_one")]
    pub servers: Vec<LaneServer>,
    /// Primary if any of its lines is one.
    pub role: Role,
    /// Why it is worked on.
    pub cause: Cause,
    /// What is replaced by what; `None` where the server is only put back in service.
    pub replacement: Option<Replacement>,
    /// Where the traffic goes meanwhile, in each backend.
    pub forecasts: Vec<Forecast>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// A lane is spoken of by the name of its first server.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LaneServer>, D::Error> {
    let servers = Vec::deserialize(deserializer)?;
    if servers.is_empty() { Err(D::Error::custom("a lane has no server")) } else { Ok(servers) }
}

impl Lane {
    /// The server by whose name the lane is spoken of.
    #[must_use]
    pub fn name(&self) -> &ServerId {
        &self.servers[0].id
    }

    /// The containers that it replaces, is like, or brings back, by their identifiers.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerId> {
        let replacement = self.replacement.iter();
        let known = replacement.flat_map(|it| [Some(&it.like), it.old.as_ref(), it.returning.as_ref()]);
        known.flatten().map(|container| &container.id)
    }

    /// The moment of a command of somebody's own that comes before a step. Whether nothing is in flight is looked at once
    /// more behind it.
    #[must_use]
    pub fn moment_before(&self, step: Step) -> Option<Moment> {
        match step {
            Step::Settle => Some(Moment::AfterDrain),
            Step::Ready if self.replacement.is_some() => Some(Moment::BeforeEnable),
            Step::Create
            | Step::Verify
            | Step::Drain
            | Step::AwaitIdle
            | Step::Maint
            | Step::Keep
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

    /// Its servers.
    #[must_use]
    pub fn ids(&self) -> Vec<ServerId> {
        self.servers.iter().map(|server| server.id.clone()).collect()
    }

    /// Those of its servers that must serve when the run ends.
    #[must_use]
    pub fn enabled_ids(&self) -> Vec<ServerId> {
        self.enabled().map(|server| server.id.clone()).collect()
    }

    /// The backends that hold its servers, each once.
    #[must_use]
    pub fn backends(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.servers.iter().map(|server| &server.id.backend).collect();
        names.into_iter().cloned().collect()
    }

    /// Its servers, as a set.
    #[must_use]
    pub fn id_set(&self) -> BTreeSet<ServerId> {
        self.servers.iter().map(|server| server.id.clone()).collect()
    }
}

/// A server line of a lane, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LaneServer {
    /// Which line.
    pub id: ServerId,
    /// How to prove that it serves.
    pub probe: Probe,
    /// What a new container is asked beside that.
    #[serde(default)]
    pub also: Option<Probe>,
    /// `HAProxy`'s own check, where that decides whether a container serves on this line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_check: Option<OwnCheck>,
    /// What must fail when the old container has stopped; `None` where that is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Probe>,
    /// Its administrative state before the run.
    pub was: AdminState,
    /// The state that it keeps when its container is replaced, where a person or haproxy.cfg took it out of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<AdminState>,
    /// The load balancers at which its agent (`agent-check`) is on. It is turned off there while the server is out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// The load balancers at which its agent is off, and stays so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents_off: Vec<String>,
    /// How many sessions were in flight on it when the plan was made, on all load balancers.
    #[serde(default)]
    pub sessions: u64,
    /// Whether `HAProxy` gave it requests, and it answered our own probe, before the run.
    pub served: bool,
    /// What it did before the run; earlier plans do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// Whether `HAProxy` will give it requests as soon as it is ready.
    pub takes_traffic: bool,
    /// How the container behind it was found; `None` where there is none yet, and in earlier plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<MatchRule>,
    /// Where its traffic goes; `None` in earlier plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The host name that its line has in the place of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<HostName>,
}

/// Why a lane is worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// It runs another image than the wanted one.
    OtherImage {
        /// What it runs.
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
    /// It has no container yet, and one is described.
    NotYetThere,
    /// It has the wanted image, but is not as drainswap.toml describes it.
    Drifted,
    /// It has the image of the container that it took the place of, and that one comes back.
    Superseded,
    /// It runs the wanted image and answers, but was left out of service.
    OutOfService {
        /// The administrative state that it was left in.
        left_in: AdminState,
    },
}

/// What is replaced by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Replacement {
    /// The container that is replaced; `None` where it is gone.
    pub old: Option<Container>,
    /// The container whose settings the new one gets: the old one, or a sibling's.
    pub like: Container,
    /// The port that the new one publishes, where `like` is a sibling's or the new one is described.
    pub publish: Option<Published>,
    /// The name of the old one, and then of the new one.
    pub name: String,
    /// What the new one runs.
    pub image: Image,
    /// Whether the new one is created as drainswap.toml describes it, and not like another.
    #[serde(default)]
    pub described: bool,
    /// The container that is started again in the place of a new one: an earlier run has kept it.
    #[serde(default)]
    pub returning: Option<Container>,
    /// What the new one has otherwise by its image's defaults; `None` where the engine does not have the image yet.
    #[serde(default)]
    pub changes: Option<Vec<Change>>,
    /// Containers that earlier runs have kept, and that there are too many of then.
    #[serde(default)]
    pub outdated: Vec<Container>,
    /// What the old one has by its engine's choice, and whatever takes its place must have.
    #[serde(default, skip_serializing_if = "Pinned::is_empty")]
    pub pinned: Pinned,
    /// Whether the new one gets new volumes in the place of those without a name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew_volumes: bool,
}

impl Replacement {
    /// Whether the new container is created, and is not one that was kept and returns.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.returning.is_none()
    }

    /// A new container that is like this one, has its name, and takes nobody's place yet.
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

    /// A new container that is as it is described and takes this one's place, behind a server of this address.
    #[must_use]
    pub fn described(
        old: &Container,
        described: &Described,
        address: Option<SocketAddr>,
        image: &Image,
    ) -> Self {
        // Where it is published is the server line's matter, and stays; what is behind that is described.
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

    /// The old container's name while it is kept.
    #[must_use]
    pub fn kept_name(&self, run: &RunId) -> String {
        Aside::Old.name(&self.name, run)
    }

    /// How many containers of its place are kept for a rollback, where so many are kept of others.
    #[must_use]
    pub fn kept(&self, keep: usize) -> usize {
        self.old.as_ref().map_or(keep, |old| old.kept_of(keep))
    }

    /// Whether nothing is left to remove once it serves, with so many kept.
    #[must_use]
    pub fn keeps_all(&self, keep: usize) -> bool {
        self.outdated.is_empty() && self.old_goes(keep).is_none()
    }

    /// The old container, where it is removed once the new one serves, with so many kept of others. One whose data the new one
    /// does not have stays until a person prunes; of a Compose project's only the volumes can stay.
    fn old_goes(&self, keep: usize) -> Option<&Container> {
        let has_data =
            |old: &Container| old.unnamed_volumes.as_ref().is_none_or(|volumes| !volumes.is_empty());
        let holds_data = |old: &Container| self.renew_volumes && !old.is_of_compose() && has_data(old);
        self.old.as_ref().filter(|old| self.kept(keep) == 0 && !holds_data(old))
    }

    /// The image that is all that is kept of the old container, which gets a name for it, with so many kept of others.
    #[must_use]
    pub fn image_kept(&self, keep: usize) -> Option<&ImageId> {
        self.old.as_ref().filter(|_| keep > 0 && self.kept(keep) == 0).map(|old| &old.image)
    }

    /// The volumes that there were before the new container, as far as it may have one of them and its name looks like one that
    /// the engine made up; `None` where that is not known. What it has beside them came into being with it.
    #[must_use]
    pub fn volumes_before(
        &self,
        description: Option<&crate::service::Container>,
    ) -> Option<BTreeSet<String>> {
        let models = self.old.iter().chain((!self.described).then_some(&self.like));
        let volumes: Vec<_> = models.map(|it| it.unnamed_volumes.as_ref()).collect::<Option<_>>()?;
        let of_models = volumes.into_iter().flatten().map(|it| it.name.as_str());
        // A person may name a volume by what the engine once called it.
        let described = description.into_iter().flat_map(crate::service::Container::named_volumes);
        Some(of_models.chain(described).map(str::to_owned).collect())
    }

    /// What is removed once it serves, with so many kept: each container, and its name by then.
    pub fn removed(&self, run: &RunId, keep: usize) -> impl Iterator<Item = (&ContainerId, String)> {
        let old = self.old_goes(keep).map(|old| (&old.id, self.kept_name(run)));
        old.into_iter().chain(self.outdated.iter().map(|kept| (&kept.id, kept.name.clone())))
    }

    /// How the new container is created, with its description where it is described.
    #[must_use]
    pub fn recipe(&self, run: &RunId, description: Option<&crate::service::Container>) -> Recipe {
        let platform = description.and_then(|it| it.platform.clone());
        let description = description.filter(|_| self.described);
        let instead_of = || self.old.as_ref().map(|old| old.id.clone());
        Recipe {
            model: match description {
                Some(it) => Model::Described { wanted: Box::new(it.clone()), instead_of: instead_of() },
                None => Model::Like(self.like.id.clone()),
            },
            image: self.image.clone(),
            name: self.candidate_name(run),
            platform,
            publish: self.publish,
            pinned: self.pinned.clone(),
            renew_volumes: self.renew_volumes,
        }
    }

    /// How a copy of the old container is created, with the ports and addresses that the engine chose for that one.
    #[must_use]
    pub fn copy_recipe(&self, old: &Container, run: &RunId) -> Recipe {
        Recipe {
            model: Model::Like(old.id.clone()),
            image: old.running_image(),
            name: self.candidate_name(run),
            platform: None,
            publish: None,
            pinned: self.pinned.clone(),
            renew_volumes: false,
        }
    }

    /// The new container's name until it is started.
    #[must_use]
    pub fn candidate_name(&self, run: &RunId) -> String {
        Aside::New.name(&self.name, run)
    }
}

/// One step of a lane. Every one of them may be repeated harmlessly.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Create the new container, stopped.
    Create,
    /// Look again: the floor holds, and the servers that will carry the traffic answer.
    Verify,
    /// Set the server lines to drain.
    Drain,
    /// Wait until nothing is in flight and nothing new can land.
    AwaitIdle,
    /// Set the server lines to maint.
    Maint,
    /// Look once more: what landed between the last look and maint has ended, and no reload has undone maint.
    Settle,
    /// Stop the old container, and keep it under another name.
    Keep,
    /// Give the new container the old one's name and start it.
    Start,
    /// Wait until the new container answers.
    Prove,
    /// Set the server lines to ready.
    Ready,
    /// See that `HAProxy` has them up and gives them traffic.
    Confirm,
    /// Remove the old containers that are not kept.
    Remove,
    /// Undo: stop and remove the new container, or put a kept one aside again.
    Discard,
    /// Undo: give the old container its name back and start it.
    Return,
    /// Undo: wait until the old container answers.
    ProveOld,
    /// Undo: set the server lines to the state that they were in.
    PutBack,
}

impl Step {
    /// Whether it may change who serves.
    #[must_use]
    pub fn touches_traffic(self) -> bool {
        !matches!(self, Self::Create | Self::Verify | Self::Prove)
    }

    /// Whether it is one of those that take servers out of rotation.
    #[must_use]
    pub fn takes_out(self) -> bool {
        matches!(self, Self::Verify | Self::Drain | Self::AwaitIdle | Self::Maint | Self::Settle)
    }
}

impl fmt::Display for Step {
    /// One word, the one that the printed plan begins the step's line with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Verify => "verify",
            Self::Drain => "drain",
            Self::AwaitIdle => "wait",
            Self::Maint => "maint",
            Self::Settle => "settle",
            Self::Keep => "stop",
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
