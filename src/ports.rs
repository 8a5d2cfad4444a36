//! The interfaces between a deploy and the outside world. The adapters implement them for the real systems and in
//! memory.
//!
//! Every call can safely be repeated: a call that finds the requested state already in place succeeds.

mod load_balancer_error;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::hook::{self, HookContext, HookPoint};
use crate::model::ids::{ContainerId, ImageId, ServerId};
use crate::model::image::{Image, ImageReference, Platform};
use crate::model::new_server::NewServer;
use crate::model::probe::Probe;
use crate::model::registries::NoPassword;
use crate::model::weight::Weight;
use crate::observation::{
    AdminState, Answer, Checker, Container, ContainerChange, Health, Host, LoadBalancerState, RestartPolicy,
    Session,
};
use crate::run::journal::Record;
use crate::service::create_spec::CreateSpec;

pub use load_balancer_error::LoadBalancerError;

/// The runtime API of one `HAProxy` process.
pub trait LoadBalancer: Send + Sync {
    /// Returns the address of the runtime socket, which identifies this load balancer.
    fn name(&self) -> String;

    /// Returns how long a command can still take effect after its connection ended without an answer while `HAProxy`
    /// answers other connections. This is its `stats timeout`.
    fn late_effect_window(&self) -> Duration;

    /// Returns the state of the process, of the servers of these backends (all backends if none is named), and of
    /// what old workers hold.
    fn full_state(
        &self,
        backends: &[String],
    ) -> impl Future<Output = Result<LoadBalancerState, LoadBalancerError>> + Send;

    /// Returns the same state without the workers that a reload has replaced: it queries only the process itself.
    fn state(
        &self,
        backends: &[String],
    ) -> impl Future<Output = Result<LoadBalancerState, LoadBalancerError>> + Send;

    /// Sets the administrative state of each of these servers and reads it back. Inherited states
    /// ([`crate::observation::AdminBits::is_inherited`]) are not read back. After an error, the servers other than
    /// the one that the error names may or may not have been set.
    fn set_admin_states(
        &self,
        states: &[(ServerId, AdminState)],
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Sends a server's traffic to another address, and returns once `HAProxy` has it. Only for a server in
    /// maintenance that holds no session: `HAProxy` up to 2.8 keeps using connections to the old address.
    fn set_address(
        &self,
        server: &ServerId,
        address: SocketAddr,
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Adds a server at runtime, in maint, and returns once `HAProxy` has it (since 2.6). A server of that name and
    /// address that is there already counts as added.
    fn join_server(&self, server: &NewServer) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Deletes a server that is in maint. Returns whether it is gone; `HAProxy` does not delete one that still holds a
    /// connection.
    fn delete_server(
        &self,
        server: &ServerId,
    ) -> impl Future<Output = Result<bool, LoadBalancerError>> + Send;

    /// Sets a server's weight. Fails if the backend's static balance algorithm does not accept it.
    fn set_weight(
        &self,
        server: &ServerId,
        weight: Weight,
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Turns a server's health checks or its agent check on or off. While they are off, the server keeps its last
    /// state. Checks that the server line does not configure cannot be turned on.
    fn set_checking(
        &self,
        server: &ServerId,
        checker: Checker,
        on: bool,
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Makes `HAProxy` count a server as healthy, from now until its next check, although its check reports it down.
    /// Fails for a server that tracks another or has no check.
    fn set_healthy(&self, server: &ServerId) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Sets these states for servers that are in maint, and makes `HAProxy` count the servers as down until their
    /// health checks have passed. Without this, a server that leaves maint is up at once and receives requests. Only
    /// for servers whose health checks are on: nothing else would bring them up again.
    fn set_unproven(
        &self,
        states: &[(ServerId, AdminState)],
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Returns the sessions in flight on these servers, including those in old workers if they are visible.
    fn sessions(
        &self,
        servers: &[ServerId],
    ) -> impl Future<Output = Result<Vec<Session>, LoadBalancerError>> + Send;

    /// Ends a session: its client sees the connection close.
    fn end_session(&self, session: &Session) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;

    /// Makes a server look into its backend's queue, by setting its session limit to the value that it already has.
    /// Never send this to `HAProxy` 2.2: that version exits on it.
    fn wake_queue(
        &self,
        server: &ServerId,
        limit: u64,
    ) -> impl Future<Output = Result<(), LoadBalancerError>> + Send;
}

/// The current status of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Whether it runs (a container that is restarting or paused does not).
    pub running: bool,
    /// The exit code of its last run; only meaningful if it does not run.
    pub exit_code: i64,
    /// Whether the kernel killed it because it was out of memory.
    pub out_of_memory: bool,
    /// The state of Docker's healthcheck, and the output of its last run.
    pub health: Option<(Health, String)>,
    /// The exit code and output of each of the last healthcheck runs, oldest first.
    pub health_log: Vec<String>,
}

/// The progress of a pull, summed over all layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Bytes received so far.
    pub received: u64,
    /// Bytes expected; grows while the engine discovers layers.
    pub expected: u64,
    /// Whether the download of a layer broke off and the engine is about to retry it.
    pub is_retrying: bool,
}

/// A container engine.
pub trait ContainerEngine: Send + Sync {
    /// Returns the `ID` of `docker info`, which identifies the engine. Docker keeps it until it is reinstalled;
    /// Podman makes up a new one on each call. `None` if the engine has none.
    fn id(&self) -> impl Future<Output = Result<Option<String>, EngineError>> + Send;

    /// Returns how long a call can still take effect after its connection ended without an answer while the engine
    /// answers other calls. A stop may take longer once the engine has it, so it is requested again before anything
    /// relies on it.
    fn late_effect_window(&self) -> Duration;

    /// Returns every container of the engine, running or not.
    fn containers(&self) -> impl Future<Output = Result<Vec<Container>, EngineError>> + Send;

    /// Returns those of the addresses that belong to the engine's host.
    fn host_addresses(
        &self,
        addresses: BTreeSet<IpAddr>,
    ) -> impl Future<Output = Result<BTreeSet<IpAddr>, EngineError>> + Send;

    /// Returns what is certain about the engine's host: where something listens, and which of these paths do not
    /// exist. Unknown facts are left out. This makes no call to the engine.
    fn host(&self, paths: BTreeSet<String>) -> impl Future<Output = Host> + Send;

    /// Resolves a reference to exactly one image, without pulling it.
    fn resolve(&self, reference: &ImageReference) -> impl Future<Output = Result<Image, EngineError>> + Send;

    /// Returns whether the engine has an image.
    fn has(&self, image: &Image) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Returns the name of an image that could not be restored: it has a tag, and no registry is known to have it, so
    /// it was built or loaded on this engine.
    fn only_copy(&self, image: &Image) -> impl Future<Output = Result<Option<String>, EngineError>> + Send;

    /// Gives another name to an image that the engine has. Any other image loses that name.
    fn tag(&self, image: &ImageId, name: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Returns the identifier and the repository digests of the image with this name.
    fn named(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<(ImageId, Vec<String>)>, EngineError>> + Send;

    /// Removes a name from an image, and the image itself with its last name. Returns whether it was removed: the
    /// last name of an image that a container uses stays.
    fn untag(&self, name: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Removes an image that no container uses, and returns whether it did. An image in use is kept; a missing one is
    /// ignored.
    fn remove_image(&self, image: &Image) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Pulls an image unless the engine already has it. The image must be built for this platform, or for the
    /// engine's own if none is given.
    fn pull(
        &self,
        image: &Image,
        platform: Option<&Platform>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Creates a container without starting it. If an earlier attempt left a container of that name, created from the
    /// same image, that one is removed first.
    fn create(&self, recipe: &CreateSpec) -> impl Future<Output = Result<ContainerId, EngineError>> + Send;

    /// Returns the differences between the new container and the one that it replaces. They come from the defaults of
    /// its image and from its description, if it has one. `None` if there is nothing to compare: the engine does not
    /// have the image yet, or there was no container.
    fn changes(
        &self,
        recipe: &CreateSpec,
    ) -> impl Future<Output = Result<Option<Vec<ContainerChange>>, EngineError>> + Send;

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

    /// Sets a container's restart policy.
    fn set_restart(
        &self,
        container: &ContainerId,
        policy: &RestartPolicy,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a container, but not its volumes. Succeeds if the container no longer exists.
    fn remove(&self, container: &ContainerId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a container and its anonymous volumes, except the volumes in `but` and those that another container
    /// uses.
    fn remove_with_volumes(
        &self,
        container: &ContainerId,
        but: &BTreeSet<String>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Returns one container, in the same form as [`Self::containers`].
    fn container(
        &self,
        container: &ContainerId,
    ) -> impl Future<Output = Result<Container, EngineError>> + Send;

    /// Returns the current status of a container.
    fn status(
        &self,
        container: &ContainerId,
    ) -> impl Future<Output = Result<ContainerStatus, EngineError>> + Send;

    /// Returns the last lines that a container wrote, at most `lines`, oldest first.
    fn log_tail(
        &self,
        container: &ContainerId,
        lines: usize,
    ) -> impl Future<Output = Result<Vec<String>, EngineError>> + Send;
}

/// An error of an engine or a registry.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EngineError {
    #[error(
        "cannot reach the container engine at {endpoint}: {reason}. Check that it runs and that this user may use it, or name another with --docker"
    )]
    Unreachable { endpoint: String, reason: String },
    #[error("invalid engine endpoint `{endpoint}`: {reason}. Correct it, or name another with --docker")]
    BadEndpoint { endpoint: String, reason: String },
    /// The image is not in its registry, and this engine has no image of that name either.
    #[error("cannot find image {image}: {reason}. Check its name, or push or load it")]
    NoSuchImage { image: String, reason: String },
    #[error(
        "image {image} is built for {}, but the engine at {endpoint} {} {wanted}: push an image for that platform{}",
        listed(.made_for),
        if *.is_asked_for { "must run" } else { "runs" },
        if *.is_asked_for { "" } else { ", or describe the service with `platform` and `container_port` if the engine also runs others" }
    )]
    OtherPlatform {
        image: String,
        made_for: Vec<Platform>,
        endpoint: String,
        wanted: Platform,
        /// Whether the platform comes from the description rather than from the engine's host.
        is_asked_for: bool,
    },
    #[error(
        "the engine at {endpoint} has no room for {image}: {reason}. Run `drainswap prune` to remove what no rollback needs"
    )]
    NotEnoughSpace {
        image: String,
        endpoint: String,
        /// The free and the needed space, or the engine's message.
        reason: String,
    },
    /// The registry does not answer, or rejects the login.
    #[error(
        "cannot get {image} from its registry: {reason}. Check the registry and the login, then try again"
    )]
    Registry {
        image: String,
        /// The engine's message.
        reason: String,
    },
    /// The login that drainswap.toml has for a registry is unusable.
    #[error("cannot use the login for {registry} from [registries] in drainswap.toml: {reason}")]
    NoLogin { registry: String, reason: NoPassword },
    /// A registry's password would cross the network in plain text.
    #[error(
        "the login for {registry} would go to the engine at {endpoint} in plain text, without TLS: use https:// or ssh://, or set allow_plain_password = true for that engine in drainswap.toml (next to `docker`, or in the engine's entry in [engines])"
    )]
    PlainPassword { registry: String, endpoint: String },
    /// The description of a container in drainswap.toml is unusable.
    #[error("cannot create {container} as described: {reason}. Correct its service in drainswap.toml")]
    BadDescription {
        container: String,
        /// What is wrong, and where.
        reason: String,
    },
    #[error(
        "the engine refused to {action} {subject}: {reason}. Find the cause (docker inspect, journalctl -u docker) and correct it, then try again"
    )]
    Refused {
        /// The requested action: `create`, `start` …
        action: &'static str,
        /// The name of a container or an image.
        subject: String,
        reason: String,
    },
    /// The connection of a call that changes something broke before the answer: the engine may still carry it out.
    #[error(
        "the engine did not answer the call to {action} {subject}, and may still carry it out: {reason}. Check that it runs (systemctl status docker), then run the command again"
    )]
    Unanswered { action: &'static str, subject: String, reason: String },
    /// A call that changes something timed out: the engine may still carry it out.
    #[error(
        "the engine did not answer the call to {action} {subject} within {} s, and may still carry it out. Check whether it hangs (docker ps, journalctl -u docker), then run the command again",
        .limit.as_secs()
    )]
    GivenUp { action: &'static str, subject: String, limit: Duration },
    /// The engine did not answer a query in time.
    #[error(
        "the engine did not {action} {subject} within {} s. Check whether it hangs (docker ps, journalctl -u docker), then try again",
        .limit.as_secs()
    )]
    TimedOut { action: &'static str, subject: String, limit: Duration },
}

impl EngineError {
    /// Returns whether the engine did not answer at all.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }
}

fn listed(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Checks whether servers answer requests.
pub trait Prober: Send + Sync {
    /// Runs one probe. It ends within the probe's timeout and reports a failure as an answer, not as an error.
    fn probe(&self, probe: &Probe) -> impl Future<Output = Answer> + Send;
}

/// The user's commands that a run executes at certain points.
pub trait Hooks: Send + Sync {
    /// Runs the hook of a point to its end, within its time limit; `None` if there is no such hook. Dropping the
    /// future ends the hook.
    fn run(
        &self,
        facts: &HookContext,
    ) -> impl Future<Output = Result<Option<hook::HookResult>, HookError>> + Send;
}

/// A hook that could not be started.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("cannot run the hook {hook}: {reason}. Check its command under [hooks] in drainswap.toml")]
pub struct HookError {
    pub hook: HookPoint,
    pub reason: String,
}

/// The destination of a run's records. See [`crate::run::journal`].
pub trait Journal: Send {
    /// Makes a record durable. When this returns, the record survives a crash of the machine.
    fn append(&mut self, record: &Record) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Returns the location of the journal, for messages.
    fn place(&self) -> String;
}

/// An error of the journal.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("cannot {action} the journal {path}: {reason}")]
pub struct JournalError {
    /// The file or directory.
    pub path: String,
    /// The failed action: `write`, `read`, `create` …
    pub action: &'static str,
    pub reason: String,
}

/// The time of day, for timestamps. Waits use tokio's clock instead, which tests can pause.
pub trait WallClock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}
