//! How the service runs HAProxy: the binary, arguments, environment and directory. Only a check with the same ones
//! shows how a new configuration will behave.

mod contained;
mod invocation;
mod message;
pub mod mount;
mod process;
mod processes;
mod running;
mod unit;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::haproxy::address::SocketAddress;
use super::haproxy::master::MasterSocket;
use super::{config_files, environment, haproxy_binary};
use crate::cfg::{self, SourceFile};
pub use contained::{Contained, ContainerAccessError, ReachableHaproxy};
use invocation::Invocation;
pub use message::Message;
use process::TrustReason;
pub use process::{Process, Unidentified};
pub use processes::Processes;
pub use running::Running;
pub use unit::Unit;

/// A way to run HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaproxyService {
    pub binary: PathBuf,
    /// The arguments that are not only for a start, and the working directory.
    pub invocation: Invocation,
    pub environment: BTreeMap<String, String>,
    pub source: ServiceSource,
}

/// How drainswap found out the way to run HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceSource {
    /// From the running process with this PID.
    Process(u32),
    /// From a systemd unit.
    Unit(PathBuf),
    /// From neither: only the configuration files given to drainswap are known.
    Settings,
}

impl fmt::Display for ServiceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "the running process {pid}"),
            Self::Unit(path) => write!(f, "{}", path.display()),
            Self::Settings => f.write_str("the files that were named"),
        }
    }
}

/// The result of `haproxy -c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// Whether HAProxy would start. An alert counts as a refusal even if the exit code is 0.
    pub accepted: bool,
    pub messages: Vec<Message>,
}

/// An attempt to run HAProxy that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {binary}: {reason}. Pass the path of HAProxy's binary with --haproxy")]
pub struct ExecError {
    pub binary: String,
    pub reason: String,
}

/// The configuration and everything known about the HAProxy that runs it.
#[derive(Clone, Debug)]
pub struct KnownService {
    /// How to run HAProxy to check a file. Contains nothing from a process of another user.
    pub service: HaproxyService,
    /// The environment variables for reading the configuration.
    pub variables: BTreeMap<String, String>,
    /// The master socket that HAProxy was started with, and the user of that HAProxy process.
    pub master_socket: Option<(SocketAddress, Option<u32>)>,
    pub running: Running,
}

impl KnownService {
    /// Combines everything that was found. `haproxy` is the binary given to drainswap; `unit` is the service's, if it
    /// reads the files.
    #[must_use]
    pub fn new(
        paths: &[PathBuf],
        files: &[SourceFile],
        haproxy: Option<&Path>,
        unit: Option<Unit>,
        running: Running,
    ) -> Self {
        let installed = unit.as_ref().map(|unit| unit.binary.clone());
        let named = || HaproxyService {
            binary: PathBuf::new(),
            invocation: Invocation::with_files(paths),
            environment: environment::variables(),
            source: ServiceSource::Settings,
        };
        let of_process = |process: &Process| variables_of(process, files);
        let process = running.process.as_ref();
        let master_socket = match (process, &unit) {
            (Some((process, _)), _) => {
                let found = process.invocation.master_socket();
                let here = found.and_then(|found| match &running.container {
                    Some(container) => container.socket(&found),
                    None => Some(found),
                });
                here.map(|found| (found, Some(process.uid)))
            }
            (None, unit) => unit.as_ref().and_then(|unit| Some((unit.invocation.master_socket()?, None))),
        };
        let service = match (process, unit) {
            // The arguments and environment of a process decide which code a check runs, so another user's process is
            // not used.
            (Some((process, TrustReason::Owner)), _) => HaproxyService {
                invocation: process.invocation.clone(),
                environment: of_process(process),
                source: ServiceSource::Process(process.pid),
                ..named()
            },
            (_, Some(unit)) => unit.into(),
            (_, None) => named(),
        };
        let binary = haproxy.map(Path::to_owned).or(installed).unwrap_or_else(haproxy_binary::find);
        let variables =
            process.map_or_else(|| service.environment.clone(), |(process, _)| of_process(process));
        Self { service: HaproxyService { binary, ..service }, variables, master_socket, running }
    }
}

/// Returns the environment variables for reading the files: the caller's, and those of the process that the files refer
/// to.
#[must_use]
pub fn variables_of(process: &Process, files: &[SourceFile]) -> BTreeMap<String, String> {
    let is_named = |name: &str| files.iter().any(|file| cfg::names(&file.bytes, name));
    process.variables(environment::variables(), is_named)
}

impl KnownService {
    /// Updates the variables for files that are to replace the running ones: they may refer to other variables.
    #[must_use]
    pub fn with_files(mut self, files: &[SourceFile]) -> Self {
        let Some((process, _)) = &self.running.process else { return self };
        self.variables = variables_of(process, files);
        if matches!(self.service.source, ServiceSource::Process(_)) {
            self.service.environment.clone_from(&self.variables);
        }
        self
    }

    /// Returns the master socket that HAProxy was started with.
    #[must_use]
    pub fn master(&self) -> Option<MasterSocket> {
        let (address, owner) = self.master_socket.clone()?;
        Some(MasterSocket::new(address).owned_by(owner))
    }

    /// Returns the master socket at an address given to drainswap.
    #[must_use]
    pub fn named_master(&self, address: SocketAddress) -> MasterSocket {
        let owner = self.running.process.as_ref().map(|(process, _)| process.uid);
        MasterSocket::new(address).owned_by(owner)
    }
}

impl From<Unit> for HaproxyService {
    fn from(unit: Unit) -> Self {
        let Unit { path, binary, invocation, environment } = unit;
        Self { binary, invocation, environment, source: ServiceSource::Unit(path) }
    }
}

impl HaproxyService {
    /// Runs `haproxy -c` with one file replaced by another. Returns `None` if the service does not read that file.
    pub fn check(&self, replaced: Option<(&Path, &Path)>) -> Result<Option<CheckReport>, ExecError> {
        let arguments = match replaced {
            Some((target, candidate)) => match self.invocation.with(target, candidate) {
                Some(arguments) => arguments,
                None => return Ok(None),
            },
            None => self.invocation.arguments.clone(),
        };
        let mut command = Command::new(&self.binary);
        command.arg("-c").args(&arguments).env_clear().envs(&self.environment);
        let output = command.current_dir(&self.invocation.directory).stdin(Stdio::null()).output();
        let output = output.map_err(|error| ExecError {
            binary: self.binary.display().to_string(),
            reason: error.to_string(),
        })?;
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        if let Some((target, candidate)) = replaced {
            text = text.replace(&candidate.display().to_string(), &target.display().to_string());
        }
        let messages = message::read(&text);
        // Exit code 2 means that nothing listens, which is fine for a part of a configuration.
        let ended = matches!(output.status.code(), Some(0 | 2));
        let accepted = ended && messages.iter().all(|message| !message.is_alert);
        Ok(Some(CheckReport { accepted, messages }))
    }
}

/// Returns the files that make up the configuration; none if they cannot be listed.
#[must_use]
pub fn listed(paths: &[PathBuf]) -> Vec<PathBuf> {
    config_files::list(paths).unwrap_or_default()
}

/// Returns whether systemd runs HAProxy.
#[must_use]
pub fn unit_is_active() -> bool {
    let asked = Command::new("systemctl").args(["is-active", "--quiet", "haproxy"]).status();
    asked.is_ok_and(|status| status.success())
}

/// Runs a command that reloads HAProxy. Returns its error output if it fails.
pub async fn run_command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let shown = format!("{program} {}", arguments.join(" "));
    let output = tokio::process::Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = crate::model::sanitize::line(&String::from_utf8_lossy(&output.stderr));
    Err(format!("`{shown}` failed with {}: {}", output.status, said))
}
