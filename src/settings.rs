//! The settings: flags override `DRAINSWAP_*` variables, which override `drainswap.toml`, which overrides the defaults.
//!
//! The command line merges flags and environment variables; this module adds the values from the file.

mod compose_file;
mod config_error;
mod initial;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use toml::de::{DeTable, Error as TomlError};

use crate::adapters::ownership::Trust;
use crate::cfg::Version;
use crate::cli::{Globals, PolicyFlags, ReloadFlags, ReloadWhen};
use crate::model::duration::DurationArg;
use crate::model::hook::HookPoint;
use crate::model::ids::ServerId;
use crate::model::probe::ProbeUrl;
use crate::model::registries::Registries;
use crate::model::trust::{Thing, Untrusted};
use crate::plan::scope::Scope;
use crate::plan::silence_check::SilenceCheck;
use crate::plan::{LbQuorum, OnDrainTimeout, OnFailure, Policy};
use crate::service::compose::ComposeError;
use crate::service::{self, Service};
use crate::topology::engine_map::EngineMap;
use crate::topology::places::{Places, ServerMap};

pub use config_error::ConfigError;
pub use initial::{DetectedBackend, DetectedServer, DetectedSetup, initial};

/// The default settings file, read if it exists.
pub const DEFAULT_FILE: &str = "/etc/drainswap/drainswap.toml";
/// The version of drainswap.toml's format.
pub const VERSION: u32 = 1;
/// The default path of haproxy.cfg.
pub const DEFAULT_CONFIG: &str = "/etc/haproxy/haproxy.cfg";
const DEFAULT_STATE_DIR: &str = "/var/lib/drainswap";

/// The effective settings of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The files and directories of haproxy.cfg.
    pub haproxy_config: Vec<PathBuf>,
    /// Whether `haproxy_config` was given explicitly.
    pub is_config_named: bool,
    /// The runtime sockets; empty means the socket in the configuration.
    pub sockets: Vec<String>,
    /// The sockets of HAProxy's master processes, in the order of the runtime sockets; empty means the socket of the
    /// running service.
    pub master_sockets: Vec<String>,
    /// The engine's endpoint; `None` means `DOCKER_HOST` or the local socket.
    pub docker: Option<String>,
    /// The directory for locks and journals.
    pub state_dir: PathBuf,
    /// The file to append events to.
    pub events: Option<PathBuf>,
    /// The branch of HAProxy whose rules apply to haproxy.cfg; `None` means that of the installed binary.
    pub read_as: Option<Version>,
    /// The maximum time to wait for another run on the same backend.
    pub lock_wait: Duration,
    /// `HAProxy`'s binary; `None` means the one in `$PATH` or `/usr/sbin`.
    pub haproxy: Option<PathBuf>,
    /// A folder with custom templates.
    pub templates: Option<PathBuf>,
    /// The described services, by name.
    pub services: BTreeMap<String, Service>,
    /// Whether drainswap may send registry passwords to the engine `docker` over TCP without TLS.
    pub allow_plain_password: bool,
    /// The engines and containers of server lines that are not left to discovery.
    pub places: Places,
    /// The logins of registries that are not left to Docker's configuration.
    pub registries: Registries,
    /// The hook commands, by the moment at which they run.
    pub hooks: BTreeMap<HookPoint, String>,
    /// The maximum duration of each hook.
    pub hook_timeout: Duration,
    /// The servers that runs leave alone.
    pub leave: BTreeSet<ServerId>,
    /// The reason why `services` lacks those of the Compose file: it is invalid, or a variable is not set.
    undescribed: Option<SettingsError>,
    policy: PolicyFile,
    reloading: ReloadFile,
}

/// The settings for reloading HAProxy with a new file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloading {
    pub when: ReloadWhen,
    /// The way to reload: `master`, `systemd` or a command; `None` means the first one that is available.
    pub by: Option<String>,
    /// The maximum time until HAProxy runs the new file.
    pub timeout: Duration,
    /// The maximum time for the sessions of a removed server to end.
    pub drain_timeout: Duration,
}

/// The content of `drainswap.toml`.
// Each part is parsed separately from the whole text, because errors would lose their position with `serde(flatten)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct File {
    #[schemars(flatten)]
    own: OwnKeys,
    #[schemars(flatten)]
    policy: PolicyFile,
    #[schemars(flatten)]
    reloading: ReloadFile,
}

/// The settings for every command, and the descriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default)]
struct OwnKeys {
    /// The version of the file's format; the default is 1.
    #[schemars(extend("const" = VERSION))]
    version: Option<u32>,
    /// haproxy.cfg: files, and directories of .cfg files, in HAProxy's order.
    haproxy_config: Option<OneOrMany<PathBuf>>,
    /// HAProxy's runtime sockets: paths or host:port, one for each load balancer.
    socket: Option<OneOrMany<String>>,
    /// The sockets of HAProxy's master processes, in the order of the runtime sockets.
    master_socket: Option<OneOrMany<String>>,
    /// The container engine: unix, tcp, https or ssh://, or context:NAME.
    docker: Option<String>,
    /// Whether drainswap may send registry passwords to this engine over TCP without TLS.
    allow_plain_password: Option<bool>,
    /// The directory for locks and journals.
    state_dir: Option<PathBuf>,
    /// A group whose users may write to the state directory.
    state_group: Option<String>,
    /// The file to append events to.
    events: Option<PathBuf>,
    /// The branch of HAProxy whose rules apply to haproxy.cfg.
    #[serde(rename = "as")]
    read_as: Option<Version>,
    /// The time to wait while another drainswap works on the backend.
    lock_wait: Option<DurationArg>,
    /// HAProxy's binary.
    haproxy: Option<PathBuf>,
    /// A folder with custom templates.
    templates: Option<PathBuf>,
    /// A Compose file with more services, relative to this file's folder.
    compose: Option<PathBuf>,
    /// Descriptions of services, by name.
    #[serde(deserialize_with = "service::services")]
    #[schemars(with = "BTreeMap<String, service::ServiceKeys>")]
    services: BTreeMap<String, Service>,
    /// Engines by the host of a server's address.
    engines: EngineMap,
    /// Containers by server.
    servers: ServerMap,
    /// Logins by the registry's host.
    registries: Registries,
    /// Hook commands.
    hooks: HooksFile,
    /// Settings of single backends, by name.
    backends: BTreeMap<String, BackendKeys>,
}

/// A `[backends.NAME]` table: settings of a backend of haproxy.cfg.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct BackendKeys {
    /// The names of the servers that runs leave alone.
    leave: Vec<String>,
}

/// The `[hooks]` table: shell commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct HooksFile {
    /// Runs before drainswap pulls or creates anything.
    before_run: Option<String>,
    /// Runs before a container's servers leave rotation.
    before_drain: Option<String>,
    /// Runs after the last session has ended and before the container stops.
    after_drain: Option<String>,
    /// Runs when the new container answers, before it gets traffic.
    before_enable: Option<String>,
    /// Runs when the servers are in rotation again.
    after_enable: Option<String>,
    /// Runs at the end of every run, whatever its outcome.
    after_run: Option<String>,
    /// The maximum duration of each hook.
    timeout: Option<DurationArg>,
}

impl HooksFile {
    fn commands(self) -> BTreeMap<HookPoint, String> {
        let commands = [
            (HookPoint::BeforeRun, self.before_run),
            (HookPoint::BeforeDrain, self.before_drain),
            (HookPoint::AfterDrain, self.after_drain),
            (HookPoint::BeforeEnable, self.before_enable),
            (HookPoint::AfterEnable, self.after_enable),
            (HookPoint::AfterRun, self.after_run),
        ];
        commands.into_iter().filter_map(|(moment, command)| Some((moment, command?))).collect()
    }
}

/// The policy in `drainswap.toml`; its keys have the names of the flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default)]
struct PolicyFile {
    /// The minimum number of serving servers per backend at any moment.
    floor: Option<usize>,
    /// The maximum time for the sessions of a server to end.
    drain_timeout: Option<DurationArg>,
    /// The action if sessions take longer than `drain_timeout`.
    on_drain_timeout: Option<OnDrainTimeout>,
    /// The time over which sessions are shut down one by one.
    shutdown_over: Option<DurationArg>,
    /// The load balancers that must answer, if there are several.
    lb_quorum: Option<LbQuorum>,
    /// The spare capacity that the remaining servers need, as a percentage of the current sessions.
    headroom: Option<u32>,
    /// The maximum time for a new container to answer.
    ready_timeout: Option<DurationArg>,
    /// The number of consecutive answers that prove a new container ready.
    rise: Option<NonZeroU32>,
    /// An additional probe of new containers, besides the backend's check.
    probe: Option<ProbeUrl>,
    /// The action on servers that are already replaced if a later one fails.
    on_failure: Option<OnFailure>,
    /// The number of stopped, replaced containers to keep per server.
    keep: Option<usize>,
    /// Whether a server's address must stop answering when its container stops: for every backend, or a table by
    /// backend.
    silence_check: Option<SilenceCheck>,
}

/// The settings for reloads in `drainswap.toml`; the keys have the names of the flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default)]
struct ReloadFile {
    /// When to reload HAProxy with a new haproxy.cfg.
    reload: Option<ReloadWhen>,
    /// The way to reload: `master`, `systemd`, or a command.
    reload_by: Option<String>,
    /// The maximum time until HAProxy runs the new file.
    reload_timeout: Option<DurationArg>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Returns the typed values, or else those of the file.
fn flag_or<T: Clone>(typed: &[T], written: Option<OneOrMany<T>>) -> Vec<T> {
    match written {
        _ if !typed.is_empty() => typed.to_vec(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
        None => Vec::new(),
    }
}

/// The error for settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {path}: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("invalid file {path}: {reason}")]
    Bad { path: String, reason: String },
    /// A mistake in `drainswap.toml` itself.
    #[error("{path}:{mistake}")]
    Wrong { path: String, mistake: ConfigError },
    /// An error in the Compose file.
    #[error("{path}: {error}")]
    Compose { path: String, error: ComposeError },
    /// Another user may write to a file that drainswap relies on.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// `--trust-owner` or `state_group` names an unknown account.
    #[error("unknown {what} {name} in {given_by}: use a name from {list}, or a number")]
    NoAccount {
        /// `user` or `group`.
        what: &'static str,
        name: String,
        /// The file with all accounts.
        list: &'static str,
        /// The flag or the key with the name.
        given_by: &'static str,
    },
    #[error("duplicate service {name}: remove services.{name} from {path}, or the service from {compose}")]
    Twice {
        name: String,
        /// The settings file.
        path: String,
        /// The Compose file.
        compose: String,
    },
}

impl Settings {
    /// Combines the command line and the environment with the settings file.
    ///
    /// [`Self::described`] reports an invalid Compose file, for commands that need the descriptions: a rollback must
    /// not depend on a variable that was only set for the deploy.
    ///
    /// # Errors
    /// Reports an invalid file, and unsafe permissions of the file or of the state directory.
    pub fn read(globals: &Globals) -> Result<Self, SettingsError> {
        let (settings, untrusted) = Self::read_and_judge(globals)?;
        untrusted.into_iter().next().map_or(Ok(settings), |it| Err(it.into()))
    }

    /// Reads the settings like [`Self::read`], but returns unsafe permissions of the settings file and the state
    /// directory.
    ///
    /// # Errors
    /// Reports an invalid file.
    pub fn read_and_judge(globals: &Globals) -> Result<(Self, Vec<Untrusted>), SettingsError> {
        let no_user = |name| SettingsError::NoAccount {
            what: "user",
            name,
            list: "/etc/passwd",
            given_by: "--trust-owner",
        };
        let no_group = |name| SettingsError::NoAccount {
            what: "group",
            name,
            list: "/etc/group",
            given_by: "state_group",
        };
        let trust = Trust::new(&globals.trust_owner).map_err(no_user)?;
        let default = Some(Path::new(DEFAULT_FILE)).filter(|it| it.exists());
        let (file, undescribed, untrusted) = match globals.settings.as_deref().or(default) {
            Some(path) => File::read(path, &trust)?,
            None => (File::default(), None, None),
        };
        // The file cannot vouch for itself: its permissions are checked without the `state_group` that it contains.
        let trust = trust.with_group(file.own.state_group.as_deref()).map_err(no_group)?;
        let settings = Self { undescribed, ..Self::of(globals, file) };
        let directory = trust.judge_path(Thing::StateDirectory, &settings.state_dir);
        Ok((settings, untrusted.into_iter().chain(directory).collect()))
    }

    /// Returns the settings from the command line and the environment, without a file.
    #[must_use]
    pub fn typed(globals: &Globals) -> Self {
        Self::of(globals, File::default())
    }

    fn of(globals: &Globals, file: File) -> Self {
        let File { own: file, policy, reloading } = file;
        let mut haproxy_config = flag_or(&globals.haproxy_config, file.haproxy_config);
        let is_config_named = !haproxy_config.is_empty();
        if !is_config_named {
            haproxy_config.push(PathBuf::from(DEFAULT_CONFIG));
        }
        Self {
            haproxy_config,
            is_config_named,
            sockets: flag_or(&globals.socket, file.socket),
            master_sockets: flag_or(&globals.master_socket, file.master_socket),
            docker: globals.docker.clone().or(file.docker),
            state_dir: globals
                .state_dir
                .clone()
                .or(file.state_dir)
                .unwrap_or_else(|| PathBuf::from(DEFAULT_STATE_DIR)),
            events: globals.events.clone().or(file.events),
            lock_wait: globals.lock_wait.or(file.lock_wait).map_or(Duration::ZERO, |span| span.0),
            read_as: globals.read_as.or(file.read_as),
            haproxy: globals.haproxy.clone().or(file.haproxy),
            templates: file.templates,
            services: file.services,
            undescribed: None,
            allow_plain_password: file.allow_plain_password.unwrap_or(false),
            places: Places { engines: file.engines, servers: file.servers },
            registries: file.registries,
            leave: left(&file.backends),
            hook_timeout: file.hooks.timeout.map_or(Duration::from_secs(60), |span| span.0),
            hooks: file.hooks.commands(),
            policy,
            reloading,
        }
    }

    /// Returns the policy of a run.
    #[must_use]
    pub fn policy(&self, flags: &PolicyFlags) -> Policy {
        with_flags(flags, self.written_policy())
    }

    /// Returns the policy of a run without flags.
    #[must_use]
    pub fn written_policy(&self) -> Policy {
        let file = &self.policy;
        let span = |span: Option<DurationArg>, or| span.map_or(Duration::from_secs(or), |span| span.0);
        Policy {
            floor: self.floor(None),
            drain_timeout: self.drain_timeout(None),
            on_drain_timeout: file.on_drain_timeout.unwrap_or(OnDrainTimeout::Fail),
            shutdown_over: span(file.shutdown_over, 10),
            lb_quorum: file.lb_quorum.unwrap_or(LbQuorum::All),
            headroom: file.headroom.unwrap_or(0),
            ready_timeout: span(file.ready_timeout, 60),
            rise: file.rise.map_or(1, NonZeroU32::get),
            probe: file.probe.clone(),
            on_failure: file.on_failure.unwrap_or(OnFailure::Rollback),
            keep: self.keep(None),
            renew_anon_volumes: false,
            silence_check: file.silence_check.clone().unwrap_or_default(),
            scope: Scope { leave: self.leave.clone(), ..Scope::default() },
        }
    }

    /// Checks that the descriptions of all services could be read.
    ///
    /// # Errors
    /// Reports the problem of the Compose file.
    pub fn described(&self) -> Result<(), SettingsError> {
        self.undescribed.clone().map_or(Ok(()), Err)
    }

    /// Returns the described containers that have a `container_port`, by backend.
    #[must_use]
    pub fn descriptions(&self) -> BTreeMap<String, service::Container> {
        let described = self.services.iter().filter(|(_, it)| it.container.container_port.is_some());
        let backend = |name: &String, it: &Service| it.backend.clone().unwrap_or_else(|| name.clone());
        described.map(|(name, it)| (backend(name, it), it.container.clone())).collect()
    }

    /// Returns the number of replaced containers to keep per server.
    #[must_use]
    pub fn keep(&self, flag: Option<usize>) -> usize {
        flag.or(self.policy.keep).unwrap_or(1)
    }

    /// Returns the settings for reloading HAProxy.
    #[must_use]
    pub fn reloading(&self, flags: &ReloadFlags) -> Reloading {
        let file = &self.reloading;
        let timeout = flags.reload_timeout.or(file.reload_timeout);
        Reloading {
            when: flags.reload.or(file.reload).unwrap_or_default(),
            by: flags.reload_by.clone().or_else(|| file.reload_by.clone()),
            timeout: timeout.map_or(Duration::from_secs(30), |span| span.0),
            drain_timeout: self.drain_timeout(flags.drain_timeout),
        }
    }

    /// Returns the minimum number of serving servers.
    #[must_use]
    pub fn floor(&self, flag: Option<usize>) -> usize {
        flag.or(self.policy.floor).unwrap_or(1)
    }

    /// Returns the maximum duration of a drain.
    #[must_use]
    pub fn drain_timeout(&self, flag: Option<DurationArg>) -> Duration {
        flag.or(self.policy.drain_timeout).map_or(Duration::from_secs(300), |span| span.0)
    }
}

/// Returns the servers that runs leave alone.
fn left(backends: &BTreeMap<String, BackendKeys>) -> BTreeSet<ServerId> {
    let of = |(backend, keys): (&String, &BackendKeys)| {
        keys.leave.iter().map(|server| ServerId::new(backend, server)).collect::<Vec<_>>()
    };
    backends.iter().flat_map(of).collect()
}

/// Returns a policy in which flags override the given values.
#[must_use]
pub fn with_flags(flags: &PolicyFlags, policy: Policy) -> Policy {
    let span = |span: Option<DurationArg>, or| span.map_or(or, |span| span.0);
    Policy {
        floor: flags.floor.unwrap_or(policy.floor),
        drain_timeout: span(flags.drain_timeout, policy.drain_timeout),
        on_drain_timeout: flags.on_drain_timeout.unwrap_or(policy.on_drain_timeout),
        shutdown_over: span(flags.shutdown_over, policy.shutdown_over),
        lb_quorum: flags.lb_quorum.unwrap_or(policy.lb_quorum),
        headroom: flags.headroom.unwrap_or(policy.headroom),
        ready_timeout: span(flags.ready_timeout, policy.ready_timeout),
        rise: flags.rise.unwrap_or(policy.rise),
        probe: flags.probe.clone().or(policy.probe),
        on_failure: flags.on_failure.unwrap_or(policy.on_failure),
        keep: flags.keep.unwrap_or(policy.keep),
        renew_anon_volumes: flags.renew_anon_volumes || policy.renew_anon_volumes,
        silence_check: flags.silence_check.map_or(policy.silence_check, SilenceCheck::Everywhere),
        scope: Scope {
            only: if flags.only.is_empty() {
                policy.scope.only
            } else {
                flags.only.iter().cloned().collect()
            },
            leave: policy.scope.leave,
            no_create: flags.no_create || policy.scope.no_create,
            enable: flags.enable || policy.scope.enable,
        },
    }
}

impl File {
    /// Reads the file. Also returns the error of its Compose file and unsafe permissions of the file.
    fn read(
        path: &Path,
        trust: &Trust,
    ) -> Result<(Self, Option<SettingsError>, Option<Untrusted>), SettingsError> {
        let name = path.display().to_string();
        let mut text = String::new();
        let opened = std::fs::File::open(path).and_then(|mut file| {
            file.read_to_string(&mut text)?;
            Ok(file)
        });
        let opened = opened
            .map_err(|error| SettingsError::Unreadable { path: name.clone(), reason: error.to_string() })?;
        let untrusted = trust.judge_file(Thing::Settings, path, &opened);
        let mut file =
            text.parse::<Self>().map_err(|mistake| SettingsError::Wrong { path: name.clone(), mistake })?;
        if let Some(compose) = &file.own.compose {
            let compose = path.parent().unwrap_or(Path::new("")).join(compose);
            let services = match compose_file::services(&compose) {
                Ok(services) => services,
                Err(error) => return Ok((file, Some(error), untrusted)),
            };
            for (service, described) in services {
                if file.own.services.insert(service.clone(), described).is_some() {
                    let compose = compose.display().to_string();
                    return Err(SettingsError::Twice { name: service, path: name, compose });
                }
            }
        }
        Ok((file, None, untrusted))
    }
}

impl FromStr for File {
    type Err = ConfigError;

    /// Parses the file itself; [`Settings::read`] reads the files that it refers to.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = DeTable::parse(text).map_err(|error| ConfigError::new(text, &DeTable::new(), &error))?;
        let table = parsed.get_ref();
        let wrong = |error: TomlError| ConfigError::new(text, table, &error);
        let version = table.get("version").and_then(|it| Some((it.span().start, it.get_ref().as_integer()?)));
        if let Some((at, version)) = version.filter(|(_, it)| it.as_str() != VERSION.to_string()) {
            let reason = format!("unsupported version {version}: this drainswap reads version {VERSION}");
            return Err(ConfigError::at(text, at, reason));
        }
        let parts =
            [service::keys::<OwnKeys>(), service::keys::<PolicyFile>(), service::keys::<ReloadFile>()];
        config_error::refuse_unknown(text, "", table, &parts.concat())?;
        if let Some(hooks) = table.get("hooks").and_then(|hooks| hooks.get_ref().as_table()) {
            config_error::refuse_unknown(text, "hooks.", hooks, service::keys::<HooksFile>())?;
        }
        Ok(Self {
            own: toml::from_str(text).map_err(wrong)?,
            policy: toml::from_str(text).map_err(wrong)?,
            reloading: toml::from_str(text).map_err(wrong)?,
        })
    }
}

#[cfg(test)]
mod tests;
