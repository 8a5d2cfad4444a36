//! Why a command ended without a run: what, where, and what to do next.

mod exit;

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::adapters::config_files::Unreadable;
use crate::adapters::haproxy::address::NotASocketAddress;
use crate::adapters::haproxy_service::{NotReached, NotRun};
use crate::adapters::http_probe::NoProber;
use crate::adapters::install::InstallError;
use crate::adapters::journal_file::{HistoryError, LockError};
use crate::cfg::{EditError, Problem};
use crate::deploy::Untouched;
use crate::deploy::late::LateCommand;
use crate::ids::ServerId;
use crate::look::LookError;
use crate::observation::Checker;
use crate::outcome::list;
use crate::plan::drift::Drift;
use crate::plan::file::NotAPlanFile;
use crate::plan::refusal::Refusal;
use crate::ports::{EngineError, JournalError, LoadBalancerError};
use crate::promotion::Unsettled;
use crate::service::render::RenderError;
use crate::settings::SettingsError;

/// Why a run is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// Its process ended before it did.
    Killed {
        /// The process.
        pid: u32,
    },
    /// It ended, and could not put these servers back.
    Stuck {
        /// The servers.
        servers: Vec<ServerId>,
    },
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed { pid } => write!(f, "was not finished (process {pid} is gone)"),
            Self::Stuck { servers } => write!(f, "is stuck: it could not put back {}", list(servers)),
        }
    }
}

/// Why a command ended without a run. Nothing was touched, unless its exit code says otherwise ([`Error::exit`]).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// drainswap.toml.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// haproxy.cfg cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// HAProxy runs in a container.
    #[error(transparent)]
    InContainer(#[from] NotReached),
    /// haproxy.cfg is wrong; each problem with its line and a caret.
    #[error("the configuration has {} that HAProxy would not start with\n{}", counted(.problems.len(), "problem"), .shown.join("\n"))]
    Configuration {
        /// The problems.
        problems: Vec<Problem>,
        /// The same, rendered.
        shown: Vec<String>,
    },
    /// haproxy.cfg has no runtime socket that can be opened and may do what is asked of it.
    #[error(
        "{found}. Add `stats socket /run/haproxy/admin.sock mode 660 level admin` to the global section and reload HAProxy, or give the socket with --socket"
    )]
    NoStatsSocket {
        /// What was found instead.
        found: String,
    },
    /// `--socket` is not understood.
    #[error(transparent)]
    Socket(#[from] NotASocketAddress),
    /// There is no such backend.
    #[error("there is no backend {name}{}", suggestion(.nearest.as_deref(), .known))]
    NoBackend {
        /// What was given.
        name: String,
        /// The name that was probably meant.
        nearest: Option<String>,
        /// The names that there are.
        known: Vec<String>,
    },
    /// There is no such server.
    #[error("backend {} has no server {}{}", .server.backend, .server.server, suggestion(.nearest.as_deref(), .known))]
    NoServer {
        /// What was given.
        server: ServerId,
        /// The name that was probably meant.
        nearest: Option<String>,
        /// The names that there are.
        known: Vec<String>,
    },
    /// drainswap.toml leaves a server as it is that there is none of.
    #[error("[backends.{backend}] leave in drainswap.toml: {error}")]
    WrongLeave {
        /// The backend that is named there.
        backend: String,
        /// What is wrong.
        error: Box<Self>,
    },
    /// No backend has a server of that name.
    #[error("no backend has a server {name}{}", suggestion(.nearest.as_deref(), .known))]
    NoServerOfThatName {
        /// What was given.
        name: String,
        /// The name that was probably meant.
        nearest: Option<String>,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Checks that there are none of cannot be turned on.
    #[error("{server} has no {checker} check that could be turned on: write `{}` on its server line", if *.checker == Checker::Health { "check" } else { "agent-check" })]
    NotChecked {
        /// The server.
        server: ServerId,
        /// Which checks.
        checker: Checker,
    },
    /// The plan was refused.
    #[error("{}", refusals(.0))]
    Refused(Vec<Refusal>),
    /// The load balancer.
    #[error("{error}{}", hint(.error))]
    LoadBalancer {
        /// What went wrong.
        #[from]
        error: LoadBalancerError,
    },
    /// A command without an answer may still take effect.
    #[error(transparent)]
    LateCommand(#[from] LateCommand),
    /// The engine or a registry.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The prober cannot be made.
    #[error(transparent)]
    Prober(#[from] NoProber),
    /// The run ended before any server left rotation.
    #[error("nothing was touched: {0}")]
    Untouched(#[from] Untouched),
    /// Another run holds the backend.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journals of the backend cannot be told.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The state directory.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The plan cannot be saved.
    #[error("the plan cannot be saved in {path}: {reason}. Name another file with --save, or - for stdout")]
    NotSaved {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The plan file cannot be read.
    #[error("{path} cannot be read: {reason}. Name the file that `drainswap plan … --save` has written")]
    NoPlanFile {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The plan file is not understood.
    #[error("{path}: {error}")]
    NotAPlanFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: NotAPlanFile,
    },
    /// Something else was typed than the plan file has.
    #[error("{path} is a plan for {planned}, and {typed} is asked for: leave that out, or plan again")]
    OtherPlan {
        /// The file.
        path: String,
        /// What it has.
        planned: String,
        /// What was typed.
        typed: String,
    },
    /// The plan file is not the one that was approved.
    #[error(
        "{path} is not the plan file that was approved, and nothing was touched: its SHA-256 is {found}, and {approved} was approved. Have it approved again, or bring the file that was"
    )]
    NotApproved {
        /// The file.
        path: String,
        /// The SHA-256 that was approved.
        approved: String,
        /// That of the file.
        found: String,
    },
    /// The world is not as it was when the plan was made.
    #[error(
        "the plan in {path} is {} old and not applied, nothing was touched. Since {at} this is not as it was:\n  - {}\nPlan again with `drainswap plan … --save`", time_since(*.age), points(.drift)
    )]
    PlanDrifted {
        /// The file.
        path: String,
        /// When it was made.
        at: Timestamp,
        /// How old it is.
        age: SignedDuration,
        /// What is not as it was.
        drift: Vec<Drift>,
    },
    /// The file for events.
    #[error("events cannot be written to {path}: {reason}. Name a file that can be with --events")]
    Events {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The last run was not finished.
    #[error(
        "run {run} on backend {backend} {how}. Its journal is {path}. `{resume}` brings it to its end, `{undo}` takes back what it had begun"
    )]
    Unfinished {
        /// The run.
        run: String,
        /// The backend.
        backend: String,
        /// What became of it.
        how: Unfinished,
        /// Its journal.
        path: String,
        /// The command that goes on with it.
        resume: String,
        /// The command that takes it back.
        undo: String,
    },
    /// A run of another site that shares the state directory.
    #[error(
        "run {run} on backend {backend} belongs to another site{}. Its journal is {path}. If that is this site after all, `{adopt}` takes it as one of it",
        if *.is_unfinished { ", and was not finished: it may have containers or servers in its hands" } else { "" }
    )]
    ForeignRun {
        /// The run.
        run: String,
        /// The backend.
        backend: String,
        /// Whether it was not finished.
        is_unfinished: bool,
        /// Its journal.
        path: String,
        /// The command that takes it as one of this site.
        adopt: String,
    },
    /// A single move would take a server from a run that was not finished.
    #[error("{unfinished}. Nothing was touched; `--floor 0` takes the server away all the same")]
    MoveOverRun {
        /// Of which run.
        unfinished: Box<Error>,
    },
    /// Somebody asked a resume to stop, before the rest was begun.
    #[error(
        "stopped at a safe point; what the run on {backend} had not begun was left. `{deploy}` brings it"
    )]
    ResumeStopped {
        /// The backend.
        backend: String,
        /// The command for the rest.
        deploy: String,
    },
    /// There is nothing to go back to.
    #[error(
        "there is nothing to roll back on backend {backend}: its journal has no deploy that could be taken back"
    )]
    NothingToRollBack {
        /// The backend.
        backend: String,
    },
    /// A single move failed at one load balancer, and could not be taken back at all of them.
    #[error("{failure}. {} may be in another state than before at {}: set them there with `drainswap ready|drain|maint`", list(.servers), .left.join(", "))]
    MoveHalfDone {
        /// The servers.
        servers: Vec<ServerId>,
        /// The load balancers that do not take it back.
        left: Vec<String>,
        /// Why the move failed.
        failure: LoadBalancerError,
    },
    /// What runs in the one place cannot be deployed in the other.
    #[error("refused, nothing was touched: {backend} cannot be promoted: {reason}")]
    NotPromoted {
        /// The backend.
        backend: String,
        /// Why.
        reason: Unsettled,
    },
    /// Nothing that is known is meant.
    #[error("backend {backend} never ran {to}, as far as is known; `{history}` shows what it ran")]
    NothingSuchToRollBackTo {
        /// The backend.
        backend: String,
        /// What was asked for.
        to: String,
        /// The command that shows what can be.
        history: String,
    },
    /// A single move was begun, and then not all could be seen or done.
    #[error("{failure}. What was begun stands, as far as it came: look with `drainswap status` where {} is now, and set it with `drainswap ready|drain|maint`", crate::outcome::list(.servers))]
    MoveUnsure {
        /// The servers that were moved.
        servers: Vec<ServerId>,
        /// Why.
        failure: Box<Error>,
    },
    /// Somebody else, or a reload, ended a single move.
    #[error("{server} is ready again: {}", put_back_by(*.has_agent))]
    MoveUndone {
        /// The server.
        server: ServerId,
        /// Whether its agent (`agent-check`) is on.
        has_agent: bool,
    },
    /// A single move did not come to its end in time.
    #[error("{server} {what} within {} s (--drain-timeout). It stays in {state}", .seconds)]
    MoveTimedOut {
        /// The server.
        server: ServerId,
        /// What had not happened.
        what: String,
        /// The limit.
        seconds: u64,
        /// The state that it is in.
        state: String,
    },
    /// A single move was interrupted.
    #[error("stopped waiting; {server} stays in {state}")]
    MoveStopped {
        /// The server.
        server: ServerId,
        /// The state that it is in.
        state: String,
    },
    /// Nobody says which image.
    #[error(
        "which image {backend} is to run is not known: name it with --image, or write image in drainswap.toml's [services.{backend}]"
    )]
    NoImage {
        /// The backend.
        backend: String,
    },
    /// The image that was asked for is nowhere.
    #[error("{error}{}", running(.nearest.as_deref(), .backend, .runs))]
    NoSuchImage {
        /// What the engine or the registry said.
        error: EngineError,
        /// The backend.
        backend: String,
        /// The image that was probably meant.
        nearest: Option<String>,
        /// What the backend's containers were created from.
        runs: Vec<String>,
    },
    /// drainswap.toml describes no service.
    #[error("no service is described: write [services.NAME] in drainswap.toml, with hosts and primary_port")]
    NoServices,
    /// There is no such service.
    #[error("no service {name} is described{}", suggestion(.nearest.as_deref(), .known))]
    NoService {
        /// What was given.
        name: String,
        /// The name that was probably meant.
        nearest: Option<String>,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A service did not become a backend.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A template cannot be read.
    #[error("the template {path} cannot be read: {reason}")]
    Template {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The file to install cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Candidate {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// It is not said which file changes.
    #[error("{}. Say with --target which file changes: {}", not_a_file(.path.as_deref()), .known.join(", "))]
    NotAFile {
        /// What was given.
        path: Option<String>,
        /// The files that there are.
        known: Vec<String>,
    },
    /// Two services are one backend.
    #[error("the services {} and {} both describe backend {backend}: give one of them another `backend`", .services[0], .services[1])]
    SameBackend {
        /// The services.
        services: [String; 2],
        /// The backend.
        backend: String,
    },
    /// The backend stands in another file than the one that is to change.
    #[error(
        "the backend stands in {found}, and --target names {target}. Leave --target out, or name that file"
    )]
    OtherTarget {
        /// What was given.
        target: String,
        /// Where it stands.
        found: String,
    },
    /// drainswap could not see whether HAProxy runs the new file.
    #[error(
        "the new file does not have the `stats socket` at {socket}, by which it is seen that HAProxy runs it. Keep it, or name one that will answer with --socket"
    )]
    SocketGone {
        /// The socket that is used.
        socket: String,
    },
    /// The services' backends stand in several files.
    #[error("the backends of these services stand in several files: name one service at a time")]
    SeveralFiles,
    /// The backend cannot be changed by a program.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// `haproxy -c` cannot be run.
    #[error(transparent)]
    NotRun(#[from] NotRun),
    /// The service that runs does not read the file.
    #[error(
        "HAProxy as {service} runs it (`{arguments}`) does not read {file}; name its own file with --haproxy-config"
    )]
    NotItsFile {
        /// The file.
        file: String,
        /// How the service was found.
        service: String,
        /// Its arguments.
        arguments: String,
    },
    /// The file is mounted by itself into HAProxy's container.
    #[error(
        "refused, nothing was touched: {file} itself is mounted into the container of HAProxy (process {pid}, at {mounted_at}), which goes on with the old file when a new one takes its place. \
         Mount its directory there instead (`-v {directory}:…`), and create the container anew"
    )]
    MountedFile {
        /// The file.
        file: String,
        /// Its directory.
        directory: String,
        /// HAProxy's process.
        pid: u32,
        /// Where the container has it.
        mounted_at: String,
    },
    /// `haproxy -c` refuses the new file.
    #[error("HAProxy would not start with it, nothing was touched:\n  {}", .alerts.join("\n  "))]
    HaproxyRefuses {
        /// What it said.
        alerts: Vec<String>,
    },
    /// A reload is needed, and was forbidden.
    #[error("refused, nothing was touched: {change}, and --reload never forbids it")]
    ReloadNeeded {
        /// What differs.
        change: String,
    },
    /// Nobody can reload.
    #[error(
        "HAProxy cannot be reloaded: {service} has no master socket (-S). Nothing was touched; name one with --master-socket, or say with --reload-by how it is reloaded"
    )]
    NoReloader {
        /// How the service was found.
        service: String,
    },
    /// A server that is to go still has sessions.
    #[error("the sessions of {server} had not ended within {limit:?} (--drain-timeout)")]
    NotEmpty {
        /// The server.
        server: ServerId,
        /// The limit.
        limit: Duration,
    },
    /// A server that came does not pass its check.
    #[error(
        "{server} had not passed a check within {limit:?} (--reload-timeout), and others were to go for it"
    )]
    NotUp {
        /// The server.
        server: ServerId,
        /// The limit.
        limit: Duration,
    },
    /// Installing a file failed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// HAProxy did not come to the new file.
    #[error("{file} is the old one again, and HAProxy runs it: {reason}")]
    PutBack {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The old file could not be brought back.
    #[error("STUCK: {reason}. The old file is {file}: put it back by hand and reload HAProxy")]
    NotPutBack {
        /// Where the old file is.
        file: String,
        /// What went wrong.
        reason: String,
    },
    /// The file is the old one, and HAProxy could not be brought to it.
    #[error("STUCK: {reason}. {file} is as it was before: reload HAProxy by hand")]
    NotReloaded {
        /// The file.
        file: String,
        /// What went wrong.
        reason: String,
    },
    /// HAProxy has read the new file, and does not run all of it.
    #[error(
        "STUCK: HAProxy has read haproxy.cfg, but runs these servers with other settings and refuses to change them at runtime: {}. \
         Drop these servers' lines from the server-state-file, if there is one, and reload HAProxy; what differs still needs a restart. \
         Until then `drainswap doctor` lists them", .not_so.join(", ")
    )]
    RunsOtherwise {
        /// What should be so, and what is instead.
        not_so: Vec<String>,
    },
    /// HAProxy runs what haproxy.cfg said before it was edited, and cannot be reloaded from here.
    #[error(
        "HAProxy has not read haproxy.cfg since it was edited, and refuses to change these servers at runtime: {}. Reload HAProxy, or allow \
         it (--reload auto) and say how with --master-socket or --reload-by", .not_so.join(", ")
    )]
    NotRead {
        /// What should be so, and what is instead.
        not_so: Vec<String>,
    },
    /// There is no such run.
    #[error("{}", no_run(.wanted.as_deref(), .known, .state_dir))]
    NoRun {
        /// What was given.
        wanted: Option<String>,
        /// The last runs.
        known: Vec<String>,
        /// Where they are kept.
        state_dir: String,
    },
    /// The page of a run could not be made.
    #[error("the page could not be made: {reason}")]
    Page {
        /// What the template says.
        reason: String,
    },
    /// A run cannot be asked to stop.
    #[error(
        "process {pid}, which works on {backend}, cannot be asked to stop: {reason}. Ask as the user who started it"
    )]
    NotStopped {
        /// The backend.
        backend: String,
        /// The process that holds it.
        pid: u32,
        /// What the system says.
        reason: String,
    },
    /// The run's process is not to be seen from here.
    #[error(
        "a run on backend {backend} cannot be asked to stop: the process that holds its lock is another user's, or in another container or on another host{}. Run `drainswap stop {backend}` there",
        if .holder.is_empty() { String::new() } else { format!(" ({holder})") }
    )]
    HolderUnseen {
        /// The backend.
        backend: String,
        /// What the process said of itself when it took the lock.
        holder: String,
    },
    /// There are settings already.
    #[error(
        "{path} is there already. `drainswap init --force` writes it anew, `drainswap init -` only shows what it would write"
    )]
    SettingsExist {
        /// The file.
        path: String,
    },
    /// A file or directory that was named cannot be written.
    #[error("{path} cannot be written: {reason}. Name another place")]
    NotWritten {
        /// The file or directory.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Result or report could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] std::io::Error),
}

impl From<LookError> for Error {
    fn from(error: LookError) -> Self {
        match error {
            LookError::LoadBalancer(error) => error.into(),
            LookError::Engine(error) => error.into(),
        }
    }
}

fn not_a_file(path: Option<&str>) -> String {
    path.map_or_else(
        || "the configuration has several files".to_owned(),
        |path| format!("{path} is no file of the configuration"),
    )
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn no_run(wanted: Option<&str>, known: &[String], state_dir: &str) -> String {
    let wanted = wanted.map_or_else(String::new, |wanted| format!(" {wanted}"));
    let known =
        if known.is_empty() { String::new() } else { format!("; the last are: {}", known.join(", ")) };
    format!("there is no run{wanted} in {state_dir} (--state-dir){known}")
}

fn suggestion(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None if known.is_empty() => "; the configuration has none".to_owned(),
        None => format!("; there are: {}", known.join(", ")),
    }
}

/// What is near an image that is not there.
fn running(nearest: Option<&str>, backend: &str, runs: &[String]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let meant = nearest.map_or_else(String::new, |nearest| format!("did you mean {nearest}? "));
    format!("; {meant}{backend} runs {}", runs.join(" and "))
}

/// `3h 12m 5s`: to the second, and not below nothing where clocks differ.
#[must_use]
pub fn time_since(age: SignedDuration) -> String {
    format!("{:#}", SignedDuration::from_secs(age.as_secs().max(0)))
}

fn points(drift: &[Drift]) -> String {
    drift.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  - ")
}

fn refusals(refusals: &[Refusal]) -> String {
    let reasons: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    if reasons.len() == 1 {
        format!("refused, nothing was touched: {}", reasons[0])
    } else {
        format!("refused, nothing was touched:\n  - {}", reasons.join("\n  - "))
    }
}

/// What to do about a load balancer that does not do as it is told.
fn hint(error: &LoadBalancerError) -> &'static str {
    match error {
        LoadBalancerError::Unreachable { .. } => {
            ". Is HAProxy running, and may this user open the socket? Another one is named with --socket"
        }
        LoadBalancerError::NotAdmin { .. } => {
            ". Write `level admin` on its `stats socket` line and reload HAProxy, or name another with --socket"
        }
        LoadBalancerError::SeveralProcesses { .. } => {
            ". Write `nbthread` in the place of `nbproc`, and restart HAProxy"
        }
        LoadBalancerError::NoSuchBackend { .. } => {
            ". Reload HAProxy, or name the configuration that it runs with --haproxy-config"
        }
        LoadBalancerError::At { error, .. } => hint(error),
        LoadBalancerError::Unanswered { .. } => {
            ". Look with `drainswap status` once HAProxy answers, and set the server again if it changed"
        }
        LoadBalancerError::Stranger { .. }
        | LoadBalancerError::Refused { .. }
        | LoadBalancerError::NotSent { .. }
        | LoadBalancerError::NotTaken { .. }
        | LoadBalancerError::AddressNotTaken { .. }
        | LoadBalancerError::OtherMaster { .. }
        | LoadBalancerError::Garbled { .. } => "",
    }
}

/// What may have ended a drain or a maint.
fn put_back_by(has_agent: bool) -> &'static str {
    if has_agent {
        "its agent (agent-check) may have said \"ready\" (--agent off turns it off), or another command put it back, or HAProxy was reloaded"
    } else {
        "another command put it back, or HAProxy was reloaded"
    }
}
