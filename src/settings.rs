//! What was meant: flags over `DRAINSWAP_*` over `drainswap.toml` over the defaults.
//!
//! clap merges flags and environment; what it leaves open is filled here from the file.

mod compose_file;
mod initial;
mod mistake;

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
use crate::engines::EngineMap;
use crate::hook::Moment;
use crate::ids::ServerId;
use crate::millis::YEAR;
use crate::places::{Places, ServerMap};
use crate::plan::scope::Scope;
use crate::plan::silence_check::SilenceCheck;
use crate::plan::{LbQuorum, OnDrainTimeout, OnFailure, Policy};
use crate::probe::ProbeUrl;
use crate::registries::Registries;
use crate::service::compose::ComposeError;
use crate::service::{self, Service};
use crate::trust::{Thing, Untrusted};

pub use initial::{Found, FoundBackend, FoundServer, initial};
pub use mistake::Mistake;

/// Read if it exists and no other is named.
pub const DEFAULT_FILE: &str = "/etc/drainswap/drainswap.toml";
/// The version of drainswap.toml's form.
pub const VERSION: u32 = 1;
/// haproxy.cfg, where no other is named.
pub const DEFAULT_CONFIG: &str = "/etc/haproxy/haproxy.cfg";
const DEFAULT_STATE_DIR: &str = "/var/lib/drainswap";

/// What holds for every command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The files and directories that haproxy.cfg is made of.
    pub haproxy_config: Vec<PathBuf>,
    /// Whether they were named.
    pub is_config_named: bool,
    /// The runtime sockets; none means the one that the configuration names.
    pub sockets: Vec<String>,
    /// The sockets of HAProxy's master processes, in the order of the runtime sockets; none means the one that the
    /// running service has.
    pub master_sockets: Vec<String>,
    /// The engine's endpoint; `None` means `DOCKER_HOST` or the local socket.
    pub docker: Option<String>,
    /// Where locks and journals are.
    pub state_dir: PathBuf,
    /// The file that events are appended to.
    pub events: Option<PathBuf>,
    /// The branch that haproxy.cfg is read as; `None` means the installed binary's.
    pub read_as: Option<Version>,
    /// How long another run on the same backend is waited for.
    pub lock_wait: Duration,
    /// `HAProxy`'s binary; `None` means the one in `$PATH` or `/usr/sbin`.
    pub haproxy: Option<PathBuf>,
    /// A folder with templates of one's own.
    pub templates: Option<PathBuf>,
    /// The services that are described, by name.
    pub services: BTreeMap<String, Service>,
    /// Whether registry passwords may go to that engine over TCP without TLS.
    pub allow_plain_password: bool,
    /// Which engine and container are behind a server line, where that is not left to be found.
    pub places: Places,
    /// Who one is at a registry, where that is not for Docker to know.
    pub registries: Registries,
    /// Commands of one's own, by the moment at which they are run.
    pub hooks: BTreeMap<Moment, String>,
    /// How long each of them may take.
    pub hook_timeout: Duration,
    /// The servers that no run works on.
    pub leave: BTreeSet<ServerId>,
    /// Why services are missing among those: the Compose file is not understood, or lacks a variable.
    undescribed: Option<SettingsError>,
    policy: PolicyFile,
    reloading: ReloadFile,
}

/// How HAProxy comes to a new file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloading {
    /// When it is reloaded.
    pub when: ReloadWhen,
    /// Who reloads it: `master`, `systemd` or a command; `None` means whoever is there.
    pub by: Option<String>,
    /// How long it may take to run the new file.
    pub timeout: Duration,
    /// How long the sessions of a server that goes may take to end.
    pub drain_timeout: Duration,
}

/// `drainswap.toml`.
///
/// Each part is read from the whole text by itself: through `serde(flatten)` a mistake would lose its place.
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

/// What holds for every command, and what is described.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default)]
struct OwnKeys {
    /// The form's version; 1 where it is not written.
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
    /// Whether registry passwords may go to that engine over TCP without TLS.
    allow_plain_password: Option<bool>,
    /// Where locks and journals are kept.
    state_dir: Option<PathBuf>,
    /// A group whose users may write there.
    state_group: Option<String>,
    /// The file that events are appended to.
    events: Option<PathBuf>,
    /// The branch of HAProxy that haproxy.cfg is read as.
    #[serde(rename = "as")]
    read_as: Option<Version>,
    /// How long to wait where another drainswap works on the backend.
    lock_wait: Option<Span>,
    /// HAProxy's binary.
    haproxy: Option<PathBuf>,
    /// A folder with templates of one's own.
    templates: Option<PathBuf>,
    /// A Compose file with more services, from this file's folder on.
    compose: Option<PathBuf>,
    /// Services that are described, by name.
    #[serde(deserialize_with = "service::services")]
    #[schemars(with = "BTreeMap<String, service::Keys>")]
    services: BTreeMap<String, Service>,
    /// Engines by the host of a server's address.
    engines: EngineMap,
    /// Containers by server.
    servers: ServerMap,
    /// Logins by the registry's host.
    registries: Registries,
    /// Commands of one's own.
    hooks: HooksFile,
    /// What holds for a backend, by its name.
    backends: BTreeMap<String, BackendKeys>,
}

/// `[backends.NAME]`: what holds for a backend of haproxy.cfg.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct BackendKeys {
    /// The names of its servers that no run works on.
    leave: Vec<String>,
}

/// `[hooks]`: commands of the shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct HooksFile {
    /// Before anything is pulled or created.
    before_run: Option<String>,
    /// Before a container's servers leave rotation.
    before_drain: Option<String>,
    /// When their last session has ended, and nothing is stopped yet.
    after_drain: Option<String>,
    /// When the new container answers, and nobody is sent to it yet.
    before_enable: Option<String>,
    /// When they are in service again.
    after_enable: Option<String>,
    /// When the run has ended, however it did.
    after_run: Option<String>,
    /// How long each of them may take.
    timeout: Option<Span>,
}

impl HooksFile {
    fn commands(self) -> BTreeMap<Moment, String> {
        let commands = [
            (Moment::BeforeRun, self.before_run),
            (Moment::BeforeDrain, self.before_drain),
            (Moment::AfterDrain, self.after_drain),
            (Moment::BeforeEnable, self.before_enable),
            (Moment::AfterEnable, self.after_enable),
            (Moment::AfterRun, self.after_run),
        ];
        commands.into_iter().filter_map(|(moment, command)| Some((moment, command?))).collect()
    }
}

/// The policy's part of `drainswap.toml`, under the flags' names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default)]
struct PolicyFile {
    /// The least number of servers, per backend, that must be serving at any moment.
    floor: Option<usize>,
    /// How long the sessions of a server may take to end.
    drain_timeout: Option<Span>,
    /// What happens when they take longer.
    on_drain_timeout: Option<OnDrainTimeout>,
    /// Over how long sessions are ended, where they are.
    shutdown_over: Option<Span>,
    /// What a load balancer that does not answer means.
    lb_quorum: Option<LbQuorum>,
    /// How many per cent more than what runs now the servers that stay must have room for.
    headroom: Option<u32>,
    /// How long a new container may take until it answers.
    ready_timeout: Option<Span>,
    /// How many times in a row it must answer then.
    rise: Option<NonZeroU32>,
    /// What it is asked beside the backend's own check.
    probe: Option<ProbeUrl>,
    /// What happens to the servers already replaced when a later one fails.
    on_failure: Option<OnFailure>,
    /// How many replaced containers of each server are kept, stopped.
    keep: Option<usize>,
    /// Whether a server's address must fall silent when its container stops: for every backend, or a table by backend.
    silence_check: Option<SilenceCheck>,
}

/// The part of `drainswap.toml` about reloads, under the flags' names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default)]
struct ReloadFile {
    /// Whether a new haproxy.cfg is brought in by a reload.
    reload: Option<ReloadWhen>,
    /// Who reloads it: `master`, `systemd`, or a command.
    reload_by: Option<String>,
    /// How long it may take until HAProxy runs the new file.
    reload_timeout: Option<Span>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// What was typed, else what is written, else nothing.
fn typed_or<T: Clone>(typed: &[T], written: Option<OneOrMany<T>>) -> Vec<T> {
    match written {
        _ if !typed.is_empty() => typed.to_vec(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
        None => Vec::new(),
    }
}

/// A length of time as people write it: `90s`, `5m`, `1m 30s`; a bare number means seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("pattern" = r"^\s*[+]?[Pp0-9]"))]
pub struct Span(pub Duration);

impl Span {
    fn bounded(length: Duration) -> Result<Self, String> {
        if length > YEAR { Err("a length of time is a year at most".to_owned()) } else { Ok(Self(length)) }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seconds) = text.parse() {
            return Self::bounded(Duration::from_secs(seconds));
        }
        let parsed: Result<jiff::SignedDuration, _> = text.parse();
        let length = parsed.ok().and_then(|length| Duration::try_from(length).ok());
        let length =
            length.ok_or_else(|| format!("`{text}` is no length of time; write 90s, 5m or 1m 30s"))?;
        Self::bounded(length)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Why `drainswap.toml` is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// It is not understood.
    #[error("{path} is not understood: {reason}")]
    Bad {
        /// The file.
        path: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// A mistake in `drainswap.toml` itself.
    #[error("{path}:{mistake}")]
    Wrong {
        /// The file.
        path: String,
        /// Where in it, and what.
        mistake: Mistake,
    },
    /// Its Compose file is not understood.
    #[error("{path}: {error}")]
    Compose {
        /// The Compose file.
        path: String,
        /// What is wrong, and where.
        error: ComposeError,
    },
    /// Another user may write what drainswap goes by.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// `--trust-owner` or `state_group` names what this machine does not have.
    #[error("there is no {what} {name} in {list}: name one that is there, or write its number ({given_by})")]
    NoAccount {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// The file without it.
        list: &'static str,
        /// The flag or the key.
        given_by: &'static str,
    },
    /// A service stands in both files.
    #[error(
        "the service {name} stands in {path}, services.{name}, and in {compose} too: take it out of one of them"
    )]
    Twice {
        /// The service.
        name: String,
        /// The settings file.
        path: String,
        /// The Compose file.
        compose: String,
    },
}

impl Settings {
    /// Fills what the command line and the environment leave open.
    ///
    /// A Compose file that is not understood is told by [`Self::described`], to those who need it: at night a rollback
    /// must not want a variable that only a deploy was given.
    ///
    /// # Errors
    /// What is wrong with the file, or with the rights on it or on the state directory.
    pub fn read(globals: &Globals) -> Result<Self, SettingsError> {
        let (settings, untrusted) = Self::read_and_judge(globals)?;
        untrusted.into_iter().next().map_or(Ok(settings), |it| Err(it.into()))
    }

    /// The same, and what is wrong with the rights on the settings file and the state directory.
    ///
    /// # Errors
    /// What is wrong with the file itself.
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
        // The file cannot vouch for itself: its own group is judged without what it says.
        let trust = trust.with_group(file.own.state_group.as_deref()).map_err(no_group)?;
        let settings = Self { undescribed, ..Self::of(globals, file) };
        let directory = trust.judge_path(Thing::StateDirectory, &settings.state_dir);
        Ok((settings, untrusted.into_iter().chain(directory).collect()))
    }

    /// What is typed and in the environment, without a file.
    #[must_use]
    pub fn typed(globals: &Globals) -> Self {
        Self::of(globals, File::default())
    }

    fn of(globals: &Globals, file: File) -> Self {
        let File { own: file, policy, reloading } = file;
        let mut haproxy_config = typed_or(&globals.haproxy_config, file.haproxy_config);
        let is_config_named = !haproxy_config.is_empty();
        if !is_config_named {
            haproxy_config.push(PathBuf::from(DEFAULT_CONFIG));
        }
        Self {
            haproxy_config,
            is_config_named,
            sockets: typed_or(&globals.socket, file.socket),
            master_sockets: typed_or(&globals.master_socket, file.master_socket),
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

    /// The limits and choices of a run.
    #[must_use]
    pub fn policy(&self, flags: &PolicyFlags) -> Policy {
        with_flags(flags, self.written_policy())
    }

    /// The limits and choices of a run for which no flag is given.
    #[must_use]
    pub fn written_policy(&self) -> Policy {
        let file = &self.policy;
        let span = |span: Option<Span>, or| span.map_or(Duration::from_secs(or), |span| span.0);
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

    /// That every service is described that is meant to be.
    ///
    /// # Errors
    /// What is wrong with the Compose file.
    pub fn described(&self) -> Result<(), SettingsError> {
        self.undescribed.clone().map_or(Ok(()), Err)
    }

    /// The containers that are described, by backend: those whose port inside is known.
    #[must_use]
    pub fn descriptions(&self) -> BTreeMap<String, service::Container> {
        let described = self.services.iter().filter(|(_, it)| it.container.container_port.is_some());
        let backend = |name: &String, it: &Service| it.backend.clone().unwrap_or_else(|| name.clone());
        described.map(|(name, it)| (backend(name, it), it.container.clone())).collect()
    }

    /// How many replaced containers of each server are kept.
    #[must_use]
    pub fn keep(&self, flag: Option<usize>) -> usize {
        flag.or(self.policy.keep).unwrap_or(1)
    }

    /// How HAProxy comes to a new file.
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

    /// How many servers must serve at any moment.
    #[must_use]
    pub fn floor(&self, flag: Option<usize>) -> usize {
        flag.or(self.policy.floor).unwrap_or(1)
    }

    /// How long a drain may take.
    #[must_use]
    pub fn drain_timeout(&self, flag: Option<Span>) -> Duration {
        flag.or(self.policy.drain_timeout).map_or(Duration::from_secs(300), |span| span.0)
    }
}

/// The servers that no run works on.
fn left(backends: &BTreeMap<String, BackendKeys>) -> BTreeSet<ServerId> {
    let of = |(backend, keys): (&String, &BackendKeys)| {
        keys.leave.iter().map(|server| ServerId::new(backend, server)).collect::<Vec<_>>()
    };
    backends.iter().flat_map(of).collect()
}

/// A policy with what was typed in the place of what it has.
#[must_use]
pub fn with_flags(flags: &PolicyFlags, policy: Policy) -> Policy {
    let span = |span: Option<Span>, or| span.map_or(or, |span| span.0);
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
    /// Reads it, with why its Compose file is not understood, and what is wrong with the rights on it.
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
    type Err = Mistake;

    /// What stands in the file itself; what it refers to is read by [`Settings::read`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = DeTable::parse(text).map_err(|error| Mistake::new(text, &DeTable::new(), &error))?;
        let table = parsed.get_ref();
        let wrong = |error: TomlError| Mistake::new(text, table, &error);
        let version = table.get("version").and_then(|it| Some((it.span().start, it.get_ref().as_integer()?)));
        if let Some((at, version)) = version.filter(|(_, it)| it.as_str() != VERSION.to_string()) {
            let reason = format!("it has version {version}; this drainswap reads version {VERSION}");
            return Err(Mistake::at(text, at, reason));
        }
        let parts =
            [service::keys::<OwnKeys>(), service::keys::<PolicyFile>(), service::keys::<ReloadFile>()];
        mistake::refuse_unknown(text, "", table, &parts.concat())?;
        if let Some(hooks) = table.get("hooks").and_then(|hooks| hooks.get_ref().as_table()) {
            mistake::refuse_unknown(text, "hooks.", hooks, service::keys::<HooksFile>())?;
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
