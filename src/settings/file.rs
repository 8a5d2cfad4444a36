//! The content of drainswap.toml.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use toml::de::{DeTable, Error as TomlError};

use super::one_or_many::OneOrMany;
use super::{ConfigError, SettingsError, VERSION, compose_file, config_error};
use crate::adapters::ownership::Trust;
use crate::cfg::Version;
use crate::cli::{PolicyFlags, ReloadFlags};
use crate::model::duration::DurationArg;
use crate::model::hook::HookPoint;
use crate::model::registries::Registries;
use crate::model::trust::{Thing, Untrusted};
use crate::service::{self, Service};
use crate::topology::engine_map::EngineMap;
use crate::topology::places::ServerMap;

/// The content of `drainswap.toml`.
// Each part is parsed separately from the whole text, because errors would lose their position with `serde(flatten)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct File {
    #[schemars(flatten)]
    pub(super) own: OwnKeys,
    #[schemars(flatten)]
    pub(crate) policy: PolicyFlags,
    #[schemars(flatten)]
    pub(crate) reloading: ReloadFlags,
}

/// The settings for every command, and the descriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub(super) struct OwnKeys {
    /// The version of the file's format; the default is 1.
    #[schemars(extend("const" = VERSION))]
    pub(super) version: Option<u32>,
    /// haproxy.cfg: files, and directories of .cfg files, in HAProxy's order.
    pub(super) haproxy_config: Option<OneOrMany<PathBuf>>,
    /// HAProxy's runtime sockets: paths or host:port, one for each load balancer.
    pub(super) socket: Option<OneOrMany<String>>,
    /// The sockets of HAProxy's master processes, in the order of the runtime sockets.
    pub(super) master_socket: Option<OneOrMany<String>>,
    /// The container engine: unix, tcp, https or ssh://, or context:NAME.
    pub(super) docker: Option<String>,
    /// Whether drainswap may send registry passwords to this engine over TCP without TLS.
    pub(super) allow_plain_password: Option<bool>,
    /// The directory for locks and journals.
    pub(super) state_dir: Option<PathBuf>,
    /// A group whose users may write to the state directory.
    pub(super) state_group: Option<String>,
    /// The file to append events to.
    pub(super) events: Option<PathBuf>,
    /// The version of HAProxy whose rules apply to haproxy.cfg, such as 2.6.
    #[serde(rename = "as")]
    pub(super) read_as: Option<Version>,
    /// The time to wait while another drainswap works on the backend.
    pub(super) lock_wait: Option<DurationArg>,
    /// HAProxy's binary.
    pub(super) haproxy: Option<PathBuf>,
    /// A folder with custom templates.
    pub(super) templates: Option<PathBuf>,
    /// A Compose file with more services, relative to this file's folder.
    pub(super) compose: Option<PathBuf>,
    /// Descriptions of services, by name.
    #[serde(deserialize_with = "service::services")]
    #[schemars(with = "BTreeMap<String, service::ServiceKeys>")]
    pub(super) services: BTreeMap<String, Service>,
    /// Engines by the host of a server's address.
    pub(super) engines: EngineMap,
    /// Containers by server.
    pub(super) servers: ServerMap,
    /// Logins by the registry's host.
    pub(super) registries: Registries,
    /// Hook commands.
    pub(super) hooks: HooksFile,
    /// Settings of single backends, by name.
    pub(super) backends: BTreeMap<String, BackendKeys>,
}

/// A `[backends.NAME]` table: settings of a backend of haproxy.cfg.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BackendKeys {
    /// The names of the servers that runs leave alone.
    pub(super) leave: Vec<String>,
}

/// The `[hooks]` table: shell commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HooksFile {
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
    pub(super) timeout: Option<DurationArg>,
}

impl HooksFile {
    pub(super) fn commands(self) -> BTreeMap<HookPoint, String> {
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

impl File {
    /// Reads the file. Also returns the error of its Compose file and unsafe permissions of the file.
    pub(super) fn read(
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

    /// Parses the file itself; [`Self::read`] reads the files that it refers to.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = DeTable::parse(text).map_err(|error| ConfigError::new(text, &DeTable::new(), &error))?;
        let table = parsed.get_ref();
        let wrong = |error: TomlError| ConfigError::new(text, table, &error);
        let version = table.get("version").and_then(|it| Some((it.span().start, it.get_ref().as_integer()?)));
        if let Some((at, version)) = version.filter(|(_, it)| it.as_str() != VERSION.to_string()) {
            let reason = format!(
                "unsupported version {version}: this drainswap reads version {VERSION}. Update drainswap, or rewrite the file for that version"
            );
            return Err(ConfigError::at(text, at, reason));
        }
        let parts =
            [service::keys::<OwnKeys>(), service::keys::<PolicyFlags>(), service::keys::<ReloadFlags>()];
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
