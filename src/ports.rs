//! What a deploy needs of the world. Adapters keep these promises on real parts and in memory.
//!
//! Every call may be repeated harmlessly: what is already so is a success.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hook::{self, HookFacts, Moment};
use crate::ids::{ContainerId, ImageId, ServerId};
use crate::image::{Image, ImageReference, Platform};
use crate::journal::Record;
use crate::observation::{
    AdminState, Answer, Checker, Container, Health, Host, LoadBalancerState, RestartPolicy, Session,
};
use crate::probe::Probe;
use crate::registries::NoPassword;
use crate::weight::Weight;

/// The runtime API of one `HAProxy` process.
pub trait LoadBalancer: Send + Sync {
    /// What tells it from others: the address of its runtime socket.
    fn name(&self) -> String;

    /// For how long a command may still take effect whose connection ended without an answer, while `HAProxy` answers
    /// other connections: its `stats timeout`.
    fn late_for(&self) -> Duration;

    /// The process, the servers of these backends (all backends when none is named), and what old workers hold.
    fn look(
        &self,
        backends: &[String],
    ) -> impl Future<Output = Result<LoadBalancerState, LoadBalancerError>> + Send;

    /// The same look without the workers that a reload has replaced: nobody but the process itself is asked.
    fn glance(
        &self,
        backends: &[String],
    ) -> impl Future<Output = Result<LoadBalancerState, LoadBalancerError>> + Send;

    /// Sets the administrative state of each of these servers and reads it back. A state that comes from elsewhere
    /// ([`crate::observation::AdminBits::is_inherited`]) is not read back. Where that fails, the servers beside the one
    /// that the error is about may have been set or not.
    fn set_admin_states(
        &self,
        states: &[(ServerId, AdminState)],
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Sends a server's traffic to another address, and returns when `HAProxy` has it. Only for a server in maintenance
    /// that holds no session: `HAProxy` up to 2.8 goes on using connections to the old address.
    fn set_address(
        &self,
        server: &ServerId,
        address: SocketAddr,
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Sets a server's weight. One that a static balance does not take is refused.
    fn set_weight(
        &self,
        server: &ServerId,
        weight: Weight,
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Turns a server's health checks, or its agent, on or off; while they are off it stays as they left it. Those that
    /// its line does not ask for cannot be turned on.
    fn set_checking(
        &self,
        server: &ServerId,
        checker: Checker,
        on: bool,
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Has `HAProxy` count a server as healthy that its check has down, from this moment until the next check. A server
    /// that tracks another, or has no check, refuses it.
    fn set_healthy(&self, server: &ServerId) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// The same for servers that are in maint, and has `HAProxy` count them as down until their health checks have passed:
    /// from maint a server is otherwise up at once, and given requests. Only for those whose health checks are on:
    /// nothing would bring others up again.
    fn set_unproven(
        &self,
        states: &[(ServerId, AdminState)],
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// The sessions in flight on these servers, those in old workers included as far as they can be seen.
    fn sessions(
        &self,
        servers: &[ServerId],
    ) -> impl Future<Output = Result<Vec<Session>, LoadBalancerError>> + Send;

    /// Ends a session: its client sees the connection close.
    fn end_session(&self, session: &Session) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Has a server look into its backend's queue, by setting its limit of sessions to what it is. Never to be sent to
    /// `HAProxy` 2.2, which ends by it.
    fn wake_queue(
        &self,
        server: &ServerId,
        limit: u64,
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;
}

/// What can go wrong with the runtime API.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoadBalancerError {
    /// One of several load balancers.
    #[error("at {name}: {error}")]
    At {
        /// Which one.
        name: String,
        /// What went wrong there.
        error: Box<LoadBalancerError>,
    },
    /// Nobody answers at the socket.
    #[error("HAProxy's runtime socket {socket} cannot be reached: {reason}")]
    Unreachable {
        /// The socket's address.
        socket: String,
        /// What the system or the wait said, with the deadline if it was one.
        reason: String,
    },
    /// A stranger's process listens at the socket.
    #[error("nothing was said at HAProxy's socket {socket}: {reason}")]
    Stranger {
        /// The socket's address.
        socket: String,
        /// Whose process it is, and what to do.
        reason: String,
    },
    /// The connection of a command broke, or was given up: `HAProxy` may still execute the command.
    #[error(
        "HAProxy's runtime socket {socket} did not answer `{command}`, which may still take effect: {reason}"
    )]
    Unanswered {
        /// The socket's address.
        socket: String,
        /// The first command of the line.
        command: String,
        /// What the system or the wait said, with the deadline if it was one.
        reason: String,
    },
    /// The socket answers, but may not set states.
    #[error(
        "HAProxy's runtime socket {socket} has level {level}, and setting a server's state needs level admin"
    )]
    NotAdmin {
        /// The socket's address.
        socket: String,
        /// The level it has: `user` or `operator`.
        level: String,
    },
    /// The work is shared by processes that know nothing of each other (`nbproc`, until 2.4).
    #[error(
        "HAProxy runs {processes} processes (nbproc), and its runtime socket {socket} reaches only one of them: the others would go on with another state, and their sessions would not be counted"
    )]
    SeveralProcesses {
        /// The socket's address.
        socket: String,
        /// How many.
        processes: u32,
    },
    /// The master socket that was named belongs to another `HAProxy`.
    #[error(
        "the master socket {master} belongs to another HAProxy: it has no process {pid}, which answers at {socket}. Name the right one with --master-socket"
    )]
    OtherMaster {
        /// The master socket.
        master: String,
        /// The runtime socket.
        socket: String,
        /// The process that answers there.
        pid: u32,
    },
    /// `HAProxy` does not know the backend that haproxy.cfg has.
    #[error("the running HAProxy knows no backend {backend}: {reply}")]
    NoSuchBackend {
        /// Its name.
        backend: String,
        /// What `HAProxy` answered.
        reply: String,
    },
    /// `HAProxy` refused a command.
    #[error("HAProxy answered `{reply}` to `{command}`")]
    Refused {
        /// The command.
        command: String,
        /// What it answered.
        reply: String,
    },
    /// A command that cannot be sent: a name in it could not stand in haproxy.cfg.
    #[error("`{command}` was not sent to HAProxy: {reason}")]
    NotSent {
        /// The command.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `HAProxy` took the command, and the server's state is another all the same.
    #[error("HAProxy took `{command}`, yet {server} is in {found}")]
    NotTaken {
        /// The command.
        command: String,
        /// The server.
        server: ServerId,
        /// The state that was read back.
        found: AdminState,
    },
    /// `HAProxy` took the command, and the server's address is another all the same.
    #[error("HAProxy took `{command}`, yet {server} has {}", .found.map_or("no address".to_owned(), |found| format!("the address {found}")))]
    AddressNotTaken {
        /// The command.
        command: String,
        /// The server.
        server: ServerId,
        /// The address that was read back.
        found: Option<SocketAddr>,
    },
    /// An answer that is not understood.
    #[error("HAProxy's answer to `{command}` is not understood: {reason}")]
    Garbled {
        /// The command.
        command: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl LoadBalancerError {
    /// Whether nobody answered at all.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unanswered { .. })
    }

    /// The same, and at which of so many load balancers. Who does not answer is named already.
    #[must_use]
    pub fn at(self, name: String, among: usize) -> Self {
        if self.is_silence() || among == 1 {
            return self;
        }
        Self::At { name, error: Box::new(self) }
    }
}

/// How to create the new container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Where its settings come from.
    pub model: Model,
    /// The image that it gets.
    pub image: Image,
    /// The new container's name.
    pub name: String,
    /// What the image is to be made for, where that is not what the engine's host is.
    pub platform: Option<Platform>,
    /// The port that it publishes. Beside [`Model::Like`] it is set when that is a sibling's container, whose
    /// published host ports this one replaces.
    pub publish: Option<crate::observation::Published>,
    /// What the engine chose for the container whose place the new one takes.
    pub pinned: crate::observation::Pinned,
    /// Whether it gets new volumes in the place of those without a name that the other container has.
    pub renew_volumes: bool,
}

/// Something that a new container has otherwise than the one that it is like. What may be secret is named, not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Change {
    /// A setting has another value.
    Value {
        /// Which.
        field: Cow<'static, str>,
        /// What it was; nothing where there was none.
        from: String,
        /// What it will be.
        to: String,
    },
    /// A setting has another value, which may be secret.
    Hidden {
        /// Which.
        field: Cow<'static, str>,
    },
    /// An entry of a list comes, such as an environment variable.
    Added {
        /// Which list.
        field: Cow<'static, str>,
        /// Its name.
        name: String,
    },
    /// An entry goes.
    Gone {
        /// Which list.
        field: Cow<'static, str>,
        /// Its name.
        name: String,
    },
    /// An entry gets another value.
    Changed {
        /// Which list.
        field: Cow<'static, str>,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
        match self {
            Self::Value { field, from, to } => write!(f, "{field}: {} → {}", shown(from), shown(to)),
            Self::Hidden { field } => write!(f, "{field} is another one"),
            Self::Added { field, name } => write!(f, "{field} {name} is new"),
            Self::Gone { field, name } => write!(f, "{field} {name} goes"),
            Self::Changed { field, name } => write!(f, "{field} {name} gets another value"),
        }
    }
}

/// Where the settings of a new container come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// From another container: what a person gave that one is taken over.
    Like(ContainerId),
    /// From a description.
    Described {
        /// What it says.
        wanted: Box<crate::service::Container>,
        /// The container whose place the new one takes: what belongs to that place, its unnamed volumes and the
        /// label `drainswap.server`, goes on.
        instead_of: Option<ContainerId>,
    },
}

/// How a container is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Whether it runs (and is not restarting or paused).
    pub running: bool,
    /// The exit code of its last end; meaningful when it does not run.
    pub exit_code: i64,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
    /// Docker's healthcheck: its state, and the output of its last run.
    pub health: Option<(Health, String)>,
    /// The last runs of that healthcheck, oldest first: each one's exit code and output.
    pub health_log: Vec<String>,
}

/// How far a pull is: bytes received and expected so far, over all layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Bytes received.
    pub received: u64,
    /// Bytes expected; grows while layers are being discovered.
    pub expected: u64,
    /// Whether a layer broke off, and the engine is about to ask for it again.
    pub is_retrying: bool,
}

/// A container engine.
pub trait ContainerEngine: Send + Sync {
    /// What tells it from other engines: `ID` of `docker info`. Docker keeps it until it is installed anew; Podman makes
    /// up another one each time. `None` where it has none.
    fn id(&self) -> impl Future<Output = Result<Option<String>, EngineError>> + Send;

    /// For how long a call may still take effect whose connection ended without an answer, while the engine answers others.
    /// What takes longer once the engine has it, a stop, is asked for again before anything is built on it.
    fn late_for(&self) -> Duration;

    /// Every container of the engine, running or not.
    fn containers(&self) -> impl Future<Output = Result<Vec<Container>, EngineError>> + Send;

    /// Which of these addresses belong to the engine's host.
    fn host_addresses(
        &self,
        addresses: BTreeSet<IpAddr>,
    ) -> impl Future<Output = Result<BTreeSet<IpAddr>, EngineError>> + Send;

    /// What is certain of the engine's host: where something listens, and which of these paths are not there. It is never
    /// more than is known; no call of the engine is made for it.
    fn host(&self, paths: BTreeSet<String>) -> impl Future<Output = Host> + Send;

    /// Resolves a reference to exactly one image, without pulling it.
    fn resolve(&self, reference: &ImageReference) -> impl Future<Output = Result<Image, EngineError>> + Send;

    /// Whether the engine has an image.
    fn has(&self, image: &Image) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// The name of an image that nobody could bring back: somebody calls it so, and no registry is known to have it. It
    /// was built or loaded here.
    fn only_copy(&self, image: &Image) -> impl Future<Output = Result<Option<String>, EngineError>> + Send;

    /// Gives an image that the engine has another name, which any other image loses.
    fn tag(&self, image: &ImageId, name: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The image that has a name on the engine: its identifier and its repositories' digests.
    fn named(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<(ImageId, Vec<String>)>, EngineError>> + Send;

    /// Takes a name from an image, and with its last one the image. Says whether it did: the last one of an image that a
    /// container uses stays.
    fn untag(&self, name: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Removes an image that no container uses, and says whether it did; one that is used, or gone already, is left.
    fn remove_image(&self, image: &Image) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Pulls an image; one that the engine has already is not asked for again. It must be made for this platform, or
    /// else for the engine's own.
    fn pull(
        &self,
        image: &Image,
        platform: Option<&Platform>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Creates a container, stopped. Where one of that name exists already, created from the
    /// same image by an earlier try, that one is removed first.
    fn create(&self, recipe: &Recipe) -> impl Future<Output = Result<ContainerId, EngineError>> + Send;

    /// What the new container will have otherwise than the one whose place it takes, by the defaults of its image and
    /// by its description, if it has one. `None` where there is nothing to compare: the image is not here yet, or
    /// there was no container.
    fn changes(
        &self,
        recipe: &Recipe,
    ) -> impl Future<Output = Result<Option<Vec<Change>>, EngineError>> + Send;

    /// Starts a container.
    fn start(&self, container: &ContainerId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Stops a container gracefully: its stop signal, its stop timeout, then a kill.
    fn stop(&self, container: &ContainerId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Renames a container.
    fn rename(
        &self,
        container: &ContainerId,
        name: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Sets the restart policy.
    fn set_restart(
        &self,
        container: &ContainerId,
        policy: &RestartPolicy,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a container, not its volumes; one that is gone already is a success.
    fn remove(&self, container: &ContainerId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a container, and the volumes without a name that it has, but not these and none that another container has.
    fn remove_with_volumes(
        &self,
        container: &ContainerId,
        but: &BTreeSet<String>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// What is known of one container, as [`Self::containers`] tells it.
    fn container(
        &self,
        container: &ContainerId,
    ) -> impl Future<Output = Result<Container, EngineError>> + Send;

    /// How a container is now.
    fn pulse(&self, container: &ContainerId) -> impl Future<Output = Result<Pulse, EngineError>> + Send;

    /// The last lines that a container wrote, at most `lines`, oldest first.
    fn log_tail(
        &self,
        container: &ContainerId,
        lines: usize,
    ) -> impl Future<Output = Result<Vec<String>, EngineError>> + Send;
}

/// What can go wrong with an engine or a registry.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EngineError {
    /// Nobody answers at the endpoint.
    #[error("the container engine at {endpoint} cannot be reached: {reason}")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// What the system or the client said.
        reason: String,
    },
    /// The endpoint's text is not understood.
    #[error("`{endpoint}` is not an engine's endpoint: {reason}")]
    BadEndpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The image is not in its registry, and this engine has none of that name either.
    #[error("no image {image}: {reason}")]
    NoSuchImage {
        /// The image.
        image: String,
        /// What the registry said.
        reason: String,
    },
    /// The image is made for something else.
    #[error(
        "the image {image} is made for {}, the engine at {endpoint} {} {wanted}: push one for that{}",
        listed(.made_for),
        if *.is_asked_for { "is asked for" } else { "is" },
        if *.is_asked_for { "" } else { ", or describe the service with `platform` and `container_port` if it runs others too" }
    )]
    OtherPlatform {
        /// The image.
        image: String,
        /// What it is made for.
        made_for: Vec<Platform>,
        /// The engine.
        endpoint: String,
        /// What it would have to be made for.
        wanted: Platform,
        /// Whether the description asks for that, and not the engine's own nature.
        is_asked_for: bool,
    },
    /// The engine's disk is too small.
    #[error(
        "the engine at {endpoint} has no room for {image}: {reason}. `drainswap prune` removes what no rollback needs"
    )]
    NoRoom {
        /// The image.
        image: String,
        /// The engine.
        endpoint: String,
        /// What is free and what is needed, or what the engine said.
        reason: String,
    },
    /// The registry does not answer, or wants another login.
    #[error("the registry does not give {image}: {reason}")]
    Registry {
        /// The image.
        image: String,
        /// What the engine said of it.
        reason: String,
    },
    /// The login that drainswap.toml has for a registry cannot be used.
    #[error("no login for {registry}, as [registries] in drainswap.toml has it: {reason}")]
    NoLogin {
        /// The registry.
        registry: String,
        /// Why there is no password.
        reason: NoPassword,
    },
    /// A registry's password would go over the network for everybody to read.
    #[error(
        "the login for {registry} would go to the engine at {endpoint} without TLS, for everybody on the way to read: use https:// or ssh://, or set allow_plain_password = true for that engine in drainswap.toml (beside `docker`, or in its entry of [engines])"
    )]
    PlainPassword {
        /// The registry.
        registry: String,
        /// The engine.
        endpoint: String,
    },
    /// What drainswap.toml says of a container cannot be used.
    #[error("{container} cannot be made as it is described: {reason}")]
    BadDescription {
        /// The container.
        container: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// The engine refused a call.
    #[error("the engine refused to {action} {subject}: {reason}")]
    Refused {
        /// What was asked: `create`, `start` …
        action: &'static str,
        /// What it was asked for: a container's or an image's name.
        subject: String,
        /// The engine's message.
        reason: String,
    },
    /// The connection of a call that changes something broke before its answer: the engine may still carry it out.
    #[error("the engine did not answer the call to {action} {subject}, and may still carry it out: {reason}")]
    Unanswered {
        /// What was asked.
        action: &'static str,
        /// What it was asked for.
        subject: String,
        /// What became of the connection.
        reason: String,
    },
    /// A call that changes something was waited for to the last, and the engine may still carry it out.
    #[error("the engine did not answer the call to {action} {subject} within {} s, and may still carry it out", .limit.as_secs())]
    GivenUp {
        /// What was asked.
        action: &'static str,
        /// What it was asked for.
        subject: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The engine did not answer a question in time.
    #[error("the engine did not {action} {subject} within {} s", .limit.as_secs())]
    TimedOut {
        /// What was asked.
        action: &'static str,
        /// What it was asked for.
        subject: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

impl EngineError {
    /// Whether nobody answered at all.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }
}

fn listed(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Asks servers whether they serve.
pub trait Prober: Send + Sync {
    /// One probe; it ends within the probe's timeout and is no error whatever comes.
    fn probe(&self, probe: &Probe) -> impl Future<Output = Answer> + Send;
}

/// Commands of one's own at some moments of a run.
pub trait Hooks: Send + Sync {
    /// Runs the hook of a moment to its end, which comes within its time limit; `None` where there is none. A call
    /// that is given up ends it.
    fn run(&self, facts: &HookFacts) -> impl Future<Output = Result<Option<hook::Ended>, HookError>> + Send;
}

/// A hook cannot be run.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the hook {hook} cannot be run: {reason}")]
pub struct HookError {
    /// Which.
    pub hook: Moment,
    /// What the system said.
    pub reason: String,
}

/// Where a run's records go. See [`crate::journal`].
pub trait Journal: Send {
    /// Makes a record durable. When this returns, the record survives a crash of the machine.
    fn append(&mut self, record: &Record) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Where a person finds it.
    fn place(&self) -> String;
}

/// What can go wrong with the journal.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the journal {path} cannot be {action}: {reason}")]
pub struct JournalError {
    /// The file or directory.
    pub path: String,
    /// What failed: `written`, `read`, `created` …
    pub action: &'static str,
    /// What the system said.
    pub reason: String,
}

/// What time it is, for stamps. Waiting is timed by tokio's clock, which tests can pause.
pub trait WallClock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}
