//! The settings: flags override `DRAINSWAP_*` variables, which override `drainswap.toml`, which overrides the defaults.
//!
//! The command line merges flags and environment variables; this module adds the values from the file.

mod compose_file;
mod config_error;
mod error;
mod file;
mod initial;
mod one_or_many;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::file::BackendKeys;
use self::one_or_many::OneOrMany;
use crate::adapters::ownership::Trust;
use crate::cfg::Version;
use crate::cli::{Globals, Move, PolicyFlags, ReloadFlags, Reloading};
use crate::model::duration::DurationArg;
use crate::model::hook::HookPoint;
use crate::model::ids::ServerId;
use crate::model::registries::Registries;
use crate::model::trust::{Thing, Untrusted};
use crate::plan::Policy;
use crate::plan::scope::Scope;
use crate::service::{self, Service};
use crate::topology::places::Places;

pub use config_error::ConfigError;
pub use error::SettingsError;
pub use file::File;
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
    /// The version of HAProxy whose rules apply to haproxy.cfg; `None` means the version of the installed binary.
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
    policy: PolicyFlags,
    reloading: ReloadFlags,
}

/// Returns the typed values, or else those of the file.
fn flag_or<T: Clone>(typed: &[T], written: Option<OneOrMany<T>>) -> Vec<T> {
    if typed.is_empty() { written.map(Into::into).unwrap_or_default() } else { typed.to_vec() }
}

/// Returns the servers that runs leave alone.
fn left(backends: &BTreeMap<String, BackendKeys>) -> BTreeSet<ServerId> {
    let of = |(backend, keys): (&String, &BackendKeys)| {
        keys.leave.iter().map(|server| ServerId::new(backend, server)).collect::<Vec<_>>()
    };
    backends.iter().flat_map(of).collect()
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
        flags.over(self.written_policy())
    }

    /// Returns the policy of a move, which has only some of a run's flags.
    #[must_use]
    pub fn move_policy(&self, asked: &Move) -> Policy {
        let Move { floor, drain_timeout, headroom, .. } = *asked;
        self.policy(&PolicyFlags { floor, drain_timeout, headroom, ..PolicyFlags::default() })
    }

    /// Returns the policy of a run without flags.
    #[must_use]
    pub fn written_policy(&self) -> Policy {
        let scope = Scope { leave: self.leave.clone(), ..Scope::default() };
        self.policy.over(Policy { scope, ..Policy::default() })
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
        flag.unwrap_or(self.written_policy().keep)
    }

    /// Returns the minimum number of serving servers.
    #[must_use]
    pub fn floor(&self, flag: Option<usize>) -> usize {
        flag.unwrap_or(self.written_policy().floor)
    }

    /// Returns the maximum duration of a drain.
    #[must_use]
    pub fn drain_timeout(&self, flag: Option<DurationArg>) -> Duration {
        flag.map_or(self.written_policy().drain_timeout, |time| time.0)
    }

    /// Returns the settings for reloading HAProxy.
    #[must_use]
    pub fn reloading(&self, flags: &ReloadFlags) -> Reloading {
        let drain_timeout = self.written_policy().drain_timeout;
        flags.over(self.reloading.over(Reloading { drain_timeout, ..Reloading::default() }))
    }
}

#[cfg(test)]
mod tests;
