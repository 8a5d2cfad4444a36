//! How the service runs HAProxy: with which binary, arguments, environment and directory. A new configuration is only
//! checked as it will run if it is checked with these.

mod message;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::haproxy::socket::SocketAddress;
use super::{config_files, environment};
pub use message::Message;

/// Debian's unit, and where an administrator's own one would be.
const UNITS: &[&str] = &[
    "/etc/systemd/system/haproxy.service",
    "/usr/lib/systemd/system/haproxy.service",
    "/lib/systemd/system/haproxy.service",
];

/// What HAProxy sets for itself when it executes itself anew.
const OF_ITS_OWN: &[&str] =
    &["HAPROXY_MWORKER", "HAPROXY_LOAD_SUCCESS", "HAPROXY_PROCESSES", "LISTEN_", "NOTIFY_SOCKET"];

/// A way of running HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The binary.
    pub binary: PathBuf,
    /// Its arguments, without those that only a start needs.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// The directory that it runs in.
    pub directory: PathBuf,
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

/// What an argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// A file or directory of the configuration, behind its `-f`.
    File,
    /// One behind `--`, where there is nothing else.
    FileAlone,
    /// Something else.
    Other,
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

impl Service {
    /// The service that reads these files and directories: the one that runs, the one that systemd would start, or,
    /// where neither reads them all, HAProxy with them and nothing else.
    #[must_use]
    pub fn reading(paths: &[PathBuf], binary: &Path) -> Self {
        let files = config_files::list(paths).unwrap_or_default();
        let reads = |service: &Self| service.reads(&files);
        let running = || processes().into_iter().filter_map(Self::of_worker).find(reads);
        running().or_else(|| Self::of_unit().filter(reads)).unwrap_or_else(|| Self::of_files(binary, paths))
    }

    /// The service that this process belongs to, as its master or as a worker.
    #[must_use]
    pub fn of_worker(pid: u32) -> Option<Self> {
        let parent = parent(pid).filter(|parent| is_haproxy(*parent));
        parent.or(Some(pid).filter(|pid| is_haproxy(*pid))).and_then(Self::of_process)
    }

    fn of_process(pid: u32) -> Option<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let words = nul_separated(&std::fs::read(proc.join("cmdline")).ok()?);
        let (first, arguments) = words.split_first()?;
        let binary = std::fs::read_link(proc.join("exe")).ok().filter(|path| path.exists());
        let variables = nul_separated(&std::fs::read(proc.join("environ")).ok()?);
        let own = |name: &str| OF_ITS_OWN.iter().any(|own| name.starts_with(own));
        let environment = variables.iter().filter_map(|variable| variable.split_once('='));
        Some(Self {
            binary: binary.unwrap_or_else(|| PathBuf::from(first)),
            arguments: lasting(arguments),
            environment: environment
                .filter(|(name, _)| !own(name))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            directory: std::fs::read_link(proc.join("cwd")).ok()?,
            source: Source::Process(pid),
        })
    }

    fn of_unit() -> Option<Self> {
        let path = UNITS.iter().map(PathBuf::from).find(|path| path.is_file())?;
        let text = std::fs::read_to_string(&path).ok()?;
        let unit::Start { mut words, environment } =
            unit::start(&text, |path| std::fs::read_to_string(path).ok())?;
        let binary = PathBuf::from(words.remove(0));
        let arguments = lasting(&words);
        Some(Self { binary, arguments, environment, directory: "/".into(), source: Source::Unit(path) })
    }

    fn reads(&self, files: &[PathBuf]) -> bool {
        !files.is_empty() && files.iter().all(|file| self.with(file, file).is_some())
    }

    fn of_files(binary: &Path, files: &[PathBuf]) -> Self {
        let arguments = files.iter().flat_map(|file| ["-f".to_owned(), file.display().to_string()]).collect();
        let environment = environment::variables();
        let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
        Self { binary: binary.to_owned(), arguments, environment, directory, source: Source::Settings }
    }

    /// The master socket that it was started with.
    #[must_use]
    pub fn master_socket(&self) -> Option<SocketAddress> {
        let at = self.arguments.iter().position(|argument| argument == "-S")?;
        // Settings of the socket may follow behind commas.
        let address = self.arguments.get(at + 1)?.split(',').next()?;
        match address.parse().ok()? {
            SocketAddress::Unix(path) => Some(SocketAddress::Unix(self.directory.join(path))),
            elsewhere @ (SocketAddress::Abstract(_) | SocketAddress::Tcp { .. }) => Some(elsewhere),
        }
    }

    /// Asks `haproxy -c`, with one file in the place of another. `None` if the service does not read that file.
    pub fn check(&self, replaced: Option<(&Path, &Path)>) -> Result<Option<Verdict>, NotRun> {
        let arguments = match replaced {
            Some((target, candidate)) => match self.with(target, candidate) {
                Some(arguments) => arguments,
                None => return Ok(None),
            },
            None => self.arguments.clone(),
        };
        let mut command = Command::new(&self.binary);
        command.arg("-c").args(&arguments).env_clear().envs(&self.environment);
        let output = command.current_dir(&self.directory).stdin(Stdio::null()).output();
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

    /// The arguments, and of each whether it names a file or directory of the configuration.
    fn named(&self) -> impl Iterator<Item = (&String, Names)> {
        let (mut is_next, mut only_files) = (false, false);
        self.arguments.iter().map(move |argument| {
            let names = match (only_files, is_next) {
                (true, _) => Names::FileAlone,
                (false, true) => Names::File,
                (false, false) => Names::Other,
            };
            is_next = !only_files && !is_next && argument == "-f";
            only_files |= names == Names::Other && argument == "--";
            (argument, names)
        })
    }

    /// The files and directories that it was started with.
    fn files(&self) -> Vec<PathBuf> {
        let named = self.named().filter(|(_, names)| *names != Names::Other);
        named.map(|(argument, _)| self.directory.join(argument)).collect()
    }

    /// The arguments with the candidate in the target's place. A directory is given file by file.
    fn with(&self, target: &Path, candidate: &Path) -> Option<Vec<String>> {
        let mut arguments = Vec::new();
        let mut found = false;
        for (argument, names) in self.named() {
            if names == Names::Other {
                arguments.push(argument.clone());
                continue;
            }
            let path = self.directory.join(argument);
            let files = config_files::list(std::slice::from_ref(&path)).unwrap_or_default();
            if !files.iter().any(|file| same(file, target)) {
                arguments.push(argument.clone());
                continue;
            }
            found = true;
            for (index, file) in files.iter().enumerate() {
                if index > 0 && names == Names::File {
                    arguments.push("-f".to_owned());
                }
                let file = if same(file, target) { candidate } else { file };
                arguments.push(file.display().to_string());
            }
        }
        found.then_some(arguments)
    }
}

/// The files and directories of the HAProxy that runs here; `None` where none does, or several that read others.
#[must_use]
pub fn running_files() -> Option<Vec<PathBuf>> {
    let services = processes().into_iter().filter_map(Service::of_worker);
    let read: BTreeSet<Vec<PathBuf>> =
        services.map(|service| service.files()).filter(|files| !files.is_empty()).collect();
    let mut read = read.into_iter();
    read.next().filter(|_| read.next().is_none())
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
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{shown}` ended with {}: {}", output.status, said.trim()))
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The arguments that hold for a check too: without the processes to take over from, the background, the pid file.
fn lasting(arguments: &[String]) -> Vec<String> {
    let mut lasting = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-sf" | "-st" => while rest.next_if(|pid| pid.parse::<u32>().is_ok()).is_some() {},
            "-x" | "-p" => drop(rest.next()),
            "-D" | "-d" | "-db" | "-c" | "-q" | "-V" => {}
            _ => lasting.push(argument.clone()),
        }
    }
    lasting
}

fn nul_separated(bytes: &[u8]) -> Vec<String> {
    let words =
        bytes.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_string_lossy().into_owned());
    words.filter(|word| !word.is_empty()).collect()
}

/// The HAProxy processes that see the same files as this one: those in containers see others.
fn processes() -> Vec<u32> {
    let files_of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let here = files_of("self");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut pids: Vec<u32> =
        pids.filter(|pid| is_haproxy(*pid) && files_of(&pid.to_string()) == here).collect();
    pids.sort_unstable();
    pids
}

fn is_haproxy(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("haproxy")
}

/// The fourth field of `stat`; the second one, the name, may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_only_a_start_needs_is_left_out() {
        let running = "-Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid -S /run/m.sock,level,operator -D -sf 12 13 -x sockpair@4 -m 16";
        let kept = words("-Ws -f /etc/haproxy/haproxy.cfg -S /run/m.sock,level,operator -m 16");
        assert_eq!(lasting(&words(running)), kept);
        let service = Service {
            binary: "haproxy".into(),
            arguments: kept,
            environment: BTreeMap::new(),
            directory: "/".into(),
            source: Source::Settings,
        };
        assert_eq!(service.master_socket(), Some(SocketAddress::Unix("/run/m.sock".into())));
    }

    #[test]
    fn the_candidate_takes_the_place_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("conf.d")).unwrap();
        for file in ["h.cfg", "conf.d/1.cfg", "conf.d/2.cfg"] {
            std::fs::write(path(file), "").unwrap();
        }
        let service = Service {
            binary: "haproxy".into(),
            arguments: words("-W -f h.cfg -f conf.d -- h.cfg"),
            environment: BTreeMap::new(),
            directory: directory.path().to_owned(),
            source: Source::Settings,
        };
        let conf_d = format!("-W -f h.cfg -f {} -f /new -- h.cfg", path("conf.d/1.cfg").display());
        assert_eq!(service.with(&path("conf.d/2.cfg"), Path::new("/new")), Some(words(&conf_d)));
        let both = service.with(&path("h.cfg"), Path::new("/new"));
        assert_eq!(both, Some(words("-W -f /new -f conf.d -- /new")));
        assert_eq!(service.with(Path::new("/other.cfg"), Path::new("/new")), None);
        assert!(service.reads(&[path("h.cfg"), path("conf.d/1.cfg")]));
        assert_eq!(service.files(), [path("h.cfg"), path("conf.d"), path("h.cfg")]);
        assert!(!service.reads(&[path("h.cfg"), "/other.cfg".into()]));
    }
}
