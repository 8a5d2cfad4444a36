//! How the service runs HAProxy: with which binary, arguments, environment and directory. A new configuration is only
//! checked as it will run if it is checked with these.

mod contained;
mod invocation;
mod message;
pub mod mount;
mod process;
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
pub use contained::{Candidate, Contained, NotReached, in_containers};
use invocation::Invocation;
pub use message::Message;
use process::Grounds;
pub use process::{Process, Uncounted, all_haproxys, listening_at};
pub use running::{Running, started_with};
pub use unit::Unit;

/// A way of running HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The binary.
    pub binary: PathBuf,
    /// Its arguments, without those that only a start needs, and the directory that it runs in.
    pub invocation: Invocation,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// How it was found.
    pub source: Source,
}

/// How the service was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It runs, as this process.
    Process(u32),
    /// A unit of systemd describes it.
    Unit(PathBuf),
    /// Neither: the configuration files as they were named to drainswap.
    Settings,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "the running process {pid}"),
            Self::Unit(path) => write!(f, "{}", path.display()),
            Self::Settings => f.write_str("the files that were named"),
        }
    }
}

/// What `haproxy -c` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it would start. Alerts count even where it ends well.
    pub accepted: bool,
    /// Its warnings and alerts.
    pub messages: Vec<Message>,
}

/// Why HAProxy could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("{binary} cannot be run: {reason}. Name HAProxy's binary with --haproxy")]
pub struct NotRun {
    /// The binary.
    pub binary: String,
    /// What the system said.
    pub reason: String,
}

/// The configuration as it was named, and all that is known of what runs it.
#[derive(Clone, Debug)]
pub struct Known {
    /// How HAProxy is asked about a file. Nothing in it comes from a process of another user.
    pub service: Service,
    /// The variables that the configuration is read with.
    pub variables: BTreeMap<String, String>,
    /// The master socket that HAProxy was started with, and the user of the process whose it is.
    pub master_socket: Option<(SocketAddress, Option<u32>)>,
    /// What runs.
    pub running: Running,
}

impl Known {
    /// Puts together what was found. `haproxy` is the binary that was named, `unit` the service's, if it reads the files.
    #[must_use]
    pub fn new(
        paths: &[PathBuf],
        files: &[SourceFile],
        haproxy: Option<&Path>,
        unit: Option<Unit>,
        running: Running,
    ) -> Self {
        let installed = unit.as_ref().map(|unit| unit.binary.clone());
        let named = || Service {
            binary: PathBuf::new(),
            invocation: Invocation::with_files(paths),
            environment: environment::variables(),
            source: Source::Settings,
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
            // What another user's process was started with decides which code a check runs.
            (Some((process, Grounds::Owner)), _) => Service {
                invocation: process.invocation.clone(),
                environment: of_process(process),
                source: Source::Process(process.pid),
                ..named()
            },
            (_, Some(unit)) => unit.into(),
            (_, None) => named(),
        };
        let binary = haproxy.map(Path::to_owned).or(installed).unwrap_or_else(haproxy_binary::find);
        let variables =
            process.map_or_else(|| service.environment.clone(), |(process, _)| of_process(process));
        Self { service: Service { binary, ..service }, variables, master_socket, running }
    }
}

/// What the files may read of a process's environment, beside the caller's own variables.
#[must_use]
pub fn variables_of(process: &Process, files: &[SourceFile]) -> BTreeMap<String, String> {
    let is_named = |name: &str| files.iter().any(|file| cfg::names(&file.bytes, name));
    process.variables(environment::variables(), is_named)
}

impl Known {
    /// The same for files that are to take the place of those that run: they may name other variables.
    #[must_use]
    pub fn with_files(mut self, files: &[SourceFile]) -> Self {
        let Some((process, _)) = &self.running.process else { return self };
        self.variables = variables_of(process, files);
        if matches!(self.service.source, Source::Process(_)) {
            self.service.environment.clone_from(&self.variables);
        }
        self
    }

    /// The master socket that HAProxy was started with.
    #[must_use]
    pub fn master(&self) -> Option<MasterSocket> {
        let (address, owner) = self.master_socket.clone()?;
        Some(MasterSocket::new(address).owned_by(owner))
    }

    /// A master socket that was named.
    #[must_use]
    pub fn named_master(&self, address: SocketAddress) -> MasterSocket {
        let owner = self.running.process.as_ref().map(|(process, _)| process.uid);
        MasterSocket::new(address).owned_by(owner)
    }
}

impl From<Unit> for Service {
    fn from(unit: Unit) -> Self {
        let Unit { path, binary, invocation, environment } = unit;
        Self { binary, invocation, environment, source: Source::Unit(path) }
    }
}

impl Service {
    /// Asks `haproxy -c`, with one file in the place of another. `None` if the service does not read that file.
    pub fn check(&self, replaced: Option<(&Path, &Path)>) -> Result<Option<Verdict>, NotRun> {
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
        let output = output.map_err(|error| NotRun {
            binary: self.binary.display().to_string(),
            reason: error.to_string(),
        })?;
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        if let Some((target, candidate)) = replaced {
            text = text.replace(&candidate.display().to_string(), &target.display().to_string());
        }
        let messages = message::read(&text);
        // 2 says that nothing listens, which a fragment may do.
        let ended = matches!(output.status.code(), Some(0 | 2));
        let accepted = ended && messages.iter().all(|message| !message.is_alert);
        Ok(Some(Verdict { accepted, messages }))
    }
}

/// The files that the configuration is made of; none where they cannot be listed.
#[must_use]
pub fn listed(paths: &[PathBuf]) -> Vec<PathBuf> {
    config_files::list(paths).unwrap_or_default()
}

/// Whether systemd runs HAProxy.
#[must_use]
pub fn unit_is_active() -> bool {
    let asked = Command::new("systemctl").args(["is-active", "--quiet", "haproxy"]).status();
    asked.is_ok_and(|status| status.success())
}

/// Runs a command that has HAProxy reloaded, or tells what it said when it failed.
pub async fn run_command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let shown = format!("{program} {}", arguments.join(" "));
    let output = tokio::process::Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| format!("`{shown}` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = crate::foreign::line(&String::from_utf8_lossy(&output.stderr));
    Err(format!("`{shown}` ended with {}: {}", output.status, said))
}
