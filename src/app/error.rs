//! Errors that end a command without a run. Each says what failed, where, and what to do next.

mod apply;
mod exit;
mod suggestion;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::adapters::config_files::UnreadableConfig;
use crate::adapters::haproxy::address::NotASocketAddress;
use crate::adapters::haproxy_service::{ContainerAccessError, ExecError};
use crate::adapters::http_probe::NoProber;
use crate::adapters::install::InstallError;
use crate::adapters::journal_file::{HistoryError, LockError};
use crate::cfg::{EditError, Problem};
use crate::deploy::PreflightError;
use crate::deploy::single_move::MoveError;
use crate::model::ids::ServerId;
use crate::model::words::list;
use crate::observation::Checker;
use crate::plan::drift::Drift;
use crate::plan::file::NotAPlanFile;
use crate::plan::refusal::Refusal;
use crate::plan::single_move::MoveRefusal;
use crate::ports::{EngineError, JournalError, LoadBalancerError};
use crate::run::promotion::NotPromotable;
use crate::service::render::RenderError;
use crate::settings::SettingsError;
use crate::site::late::LateCommand;
use crate::site::observe::ObserveError;
use crate::site::planning::PlanError;
pub use apply::ApplyError;
pub use suggestion::nearest;
pub(crate) use suggestion::some_of;
use suggestion::suggestion;

/// The reason that a run is unfinished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// The process exited before the run ended.
    Killed { pid: u32 },
    /// The run ended, but these servers could not be put back.
    Stuck { servers: Vec<ServerId> },
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed { pid } => write!(f, "was not finished (process {pid} is gone)"),
            Self::Stuck { servers } => write!(f, "is stuck: it could not put back {}", list(servers)),
        }
    }
}

/// An error that ends a command without a run. Nothing was touched, unless its exit code says otherwise
/// ([`Error::exit`]).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Unreadable(#[from] UnreadableConfig),
    /// The files of a HAProxy in a container are out of reach.
    #[error(transparent)]
    InContainer(#[from] ContainerAccessError),
    /// haproxy.cfg has errors; `shown` has each problem with its line and a caret.
    #[error("the configuration has {} that would keep HAProxy from starting\n{}", counted(.problems.len(), "problem"), .shown.join("\n"))]
    Configuration { problems: Vec<Problem>, shown: Vec<String> },
    /// haproxy.cfg has no runtime socket that exists and has the level that the command needs. `found` describes what
    /// it has instead.
    #[error(
        "{found}. Add `stats socket /run/haproxy/admin.sock mode 660 level admin` to the global section and reload HAProxy, or name the socket with --socket"
    )]
    NoStatsSocket { found: String },
    /// The value of `--socket` is not an address.
    #[error(transparent)]
    Socket(#[from] NotASocketAddress),
    #[error("there is no backend {name}{}", suggestion(.name, .nearest.as_deref(), .known))]
    NoBackend { name: String, nearest: Option<String>, known: Vec<String> },
    #[error("backend {} has no server {}{}", .server.backend, .server.server, suggestion(.server.server.as_str(), .nearest.as_deref(), .known))]
    NoServer { server: ServerId, nearest: Option<String>, known: Vec<String> },
    /// A `leave` list in drainswap.toml names a server that does not exist.
    #[error("[backends.{backend}] leave in drainswap.toml: {error}")]
    InvalidLeaveSetting { backend: String, error: Box<Self> },
    #[error("no backend has a server {name}{}", suggestion(.name, .nearest.as_deref(), .known))]
    ServerNameNotFound { name: String, nearest: Option<String>, known: Vec<String> },
    /// A check cannot be turned on for a server line that has none.
    #[error("{server} has no {checker} check to turn on: add `{}` to its server line", if *.checker == Checker::Health { "check" } else { "agent-check" })]
    NotChecked { server: ServerId, checker: Checker },
    /// The plan was refused.
    #[error("{}", refusals(.0))]
    Refused(Vec<Refusal>),
    #[error("{error}{}", .error.advice())]
    LoadBalancer {
        #[from]
        error: LoadBalancerError,
    },
    /// A command without an answer may still take effect.
    #[error(transparent)]
    LateCommand(#[from] LateCommand),
    /// The container engine or a registry failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Prober(#[from] NoProber),
    /// The run ended before any server left rotation.
    #[error("nothing was touched: {0}")]
    Preflight(#[from] PreflightError),
    /// Another run holds the backend.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journals of the backend cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The journal of this run, or the state directory, cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot save the plan in {path}: {reason}. Name another file with --save, or use - for stdout")]
    NotSaved { path: String, reason: String },
    /// The plan file cannot be read.
    #[error("cannot read {path}: {reason}. Name the file that `drainswap plan … --save` wrote")]
    NoPlanFile { path: String, reason: String },
    /// The plan file has invalid contents.
    #[error("{path}: {error}")]
    NotAPlanFile { path: String, error: NotAPlanFile },
    /// The command line contradicts the plan file.
    #[error(
        "{path} is a plan for {planned}, but the command line asks for {typed}: leave that out, or plan again"
    )]
    OtherPlan { path: String, planned: String, typed: String },
    #[error(
        "nothing was touched: {path} is not the approved plan file. Its SHA-256 is {found}, but the approved one is {approved}. Get this file approved, or use the approved one"
    )]
    NotApproved { path: String, approved: String, found: String },
    /// The site has changed since the plan was made.
    #[error(
        "cannot apply the plan in {path}, which is {} old: the site has changed since {at}:\n  - {}\nNothing was touched. Plan again with `drainswap plan … --save`", time_since(*.age), points(.drift)
    )]
    PlanDrifted { path: String, at: Timestamp, age: SignedDuration, drift: Vec<Drift> },
    #[error("cannot write events to {path}: {reason}. Name another file with --events")]
    Events { path: String, reason: String },
    /// The last run is unfinished. `resume` and `undo` are the commands that finish it.
    #[error(
        "run {run} on backend {backend} {how}. Its journal is {path}. `{resume}` finishes it, `{undo}` undoes it"
    )]
    Unfinished { run: String, backend: String, how: Unfinished, path: String, resume: String, undo: String },
    /// A run belongs to another site that shares the state directory. `adopt` is the command that makes it one of this
    /// site.
    #[error(
        "run {run} on backend {backend} belongs to another site{}. Its journal is {path}. If it belongs to this site after all, `{adopt}` adopts it",
        if *.is_unfinished { " and was not finished: it may still hold containers or servers" } else { "" }
    )]
    ForeignRun { run: String, backend: String, is_unfinished: bool, path: String, adopt: String },
    /// A single move would take a server that an unfinished run holds.
    #[error("{unfinished}. Nothing was touched. Use `--floor 0` to take the server out anyway")]
    MoveDuringRun { unfinished: Box<Error> },
    /// A resume was asked to stop before it started the rest of the run. `deploy` is the command for that rest.
    #[error(
        "drainswap stopped at a safe point, before the rest of the run on {backend} started. `{deploy}` starts it"
    )]
    ResumeStopped { backend: String, deploy: String },
    #[error(
        "nothing to roll back on backend {backend}: its journal has no deploy to roll back. Deploy the image that it should run (`drainswap deploy {backend} --image REF`)"
    )]
    NothingToRollBack { backend: String },
    /// A single move failed after it had changed something.
    #[error(transparent)]
    Move(MoveError),
    /// Servers were changed, and then a step or a check of the result failed.
    #[error("{failure}. Some changes may have been applied. Check `drainswap status`, then set {} with `drainswap ready|drain|maint`", list(.servers))]
    MoveUncertain { servers: Vec<ServerId>, failure: Box<Error> },
    /// The image that one place runs cannot be deployed in the other.
    #[error("refused, nothing was touched: cannot promote {backend}: {reason}")]
    NotPromoted { backend: String, reason: NotPromotable },
    /// The history has no such run or digest. `history` is the command that shows it.
    #[error("no record that backend {backend} ran {to}. `{history}` lists its runs")]
    RevisionNotFound { backend: String, to: String, history: String },
    #[error(
        "no image given for {backend}: name it with --image, or set image in [services.{backend}] of drainswap.toml"
    )]
    NoImage { backend: String },
    /// Neither an engine nor a registry has the image. `runs` are the images of the backend's containers.
    #[error("{error}{}", running(.nearest.as_deref(), .backend, .runs))]
    NoSuchImage { error: EngineError, backend: String, nearest: Option<String>, runs: Vec<String> },
    #[error("drainswap.toml describes no services: add [services.NAME] with hosts and primary_port")]
    NoServices,
    #[error("drainswap.toml describes no service {name}{}", suggestion(.name, .nearest.as_deref(), .known))]
    NoService { name: String, nearest: Option<String>, known: Vec<String> },
    /// A service cannot be rendered as a backend.
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error("cannot read the template {path}: {reason}. Correct the path (--templates) or the file's mode")]
    Template { path: String, reason: String },
    /// The file of `--from` cannot be read.
    #[error("cannot read {path}: {reason}. Name the new haproxy.cfg with --from")]
    Candidate { path: String, reason: String },
    /// The file to change is unknown: `path` is not part of the configuration, or none is named and there are several.
    #[error("{}. Name the file to change with --target: {}", not_a_file(.path.as_deref()), some_of(.path.as_deref().unwrap_or_default(), .known))]
    NotAFile { path: Option<String>, known: Vec<String> },
    #[error("the services {} and {} both describe backend {backend}. Give one of them another `backend`", .services[0], .services[1])]
    SameBackend { services: [String; 2], backend: String },
    /// The backend is not in the file of `--target`.
    #[error("the backend is in {found}, but --target names {target}. Leave --target out, or name {found}")]
    OtherTarget { target: String, found: String },
    #[error("the backends of these services are in several files: name one service at a time")]
    SeveralFiles,
    /// The backend cannot be edited by a program.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// `haproxy -c` cannot be run.
    #[error(transparent)]
    HaproxyNotExecutable(#[from] ExecError),
    /// haproxy.cfg could not be changed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A step of the installation of haproxy.cfg failed.
    #[error("{error}{}", .error.advice)]
    Install {
        #[from]
        error: InstallError,
    },
    /// The journals have no such run. `known` are the latest ones.
    #[error("{}", run_not_found(.wanted.as_deref(), .known, .state_dir))]
    RunNotFound { wanted: Option<String>, known: Vec<String>, state_dir: String },
    /// The template of the HTML page failed.
    #[error(
        "cannot render the page: {reason}. Report this to the project with the output of `drainswap --version`"
    )]
    Page { reason: String },
    #[error(
        "cannot ask process {pid}, which works on {backend}, to stop: {reason}. Run the command as the user that started it"
    )]
    NotStopped { backend: String, pid: u32, reason: String },
    /// The run's process cannot be seen from here. `holder` is what the process wrote into its lock.
    #[error(
        "cannot ask the run on backend {backend} to stop: the process that holds its lock belongs to another user, or runs in another container or on another host{}. Run `drainswap stop {backend}` there",
        if .holder.is_empty() { String::new() } else { format!(" ({holder})") }
    )]
    LockHolderUnknown { backend: String, holder: String },
    #[error(
        "{path} already exists. `drainswap init --force` overwrites it, `drainswap init -` prints what it would write"
    )]
    SettingsExist { path: String },
    /// A file or directory on the command line cannot be written.
    #[error("cannot write {path}: {reason}. Name another file or directory")]
    NotWritten { path: String, reason: String },
    /// The result or the report cannot be written.
    #[error("cannot write the result to stdout: {0}. Free space, or send stdout elsewhere")]
    Output(#[from] std::io::Error),
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Refused(refusals) => Self::Refused(refusals),
            PlanError::Engine(error) => error.into(),
        }
    }
}

impl From<ObserveError> for Error {
    fn from(error: ObserveError) -> Self {
        match error {
            ObserveError::LoadBalancer(error) => error.into(),
            ObserveError::Engine(error) => error.into(),
        }
    }
}

impl From<MoveError> for Error {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::LoadBalancer(error) => error.into(),
            MoveError::LateCommand(error) => error.into(),
            MoveError::Uncertain { servers, failure } => Self::from(*failure).after_a_move(&servers),
            MoveError::PartlyApplied { .. }
            | MoveError::Reverted { .. }
            | MoveError::TimedOut { .. }
            | MoveError::Stopped { .. } => Self::Move(error),
        }
    }
}

impl From<MoveRefusal> for Error {
    fn from(refusal: MoveRefusal) -> Self {
        match refusal {
            MoveRefusal::NotChecked { server, checker } => Self::NotChecked { server, checker },
            MoveRefusal::Capacity(refusal) => Self::Refused(vec![refusal]),
        }
    }
}

fn not_a_file(path: Option<&str>) -> String {
    path.map_or_else(
        || "the configuration has several files".to_owned(),
        |path| format!("{path} is not part of the configuration"),
    )
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn run_not_found(wanted: Option<&str>, known: &[String], state_dir: &str) -> String {
    let wanted = wanted.map_or_else(String::new, |wanted| format!(" {wanted}"));
    let advice = if known.is_empty() {
        "`drainswap history BACKEND` shows the runs of a backend; --state-dir names another directory"
            .to_owned()
    } else {
        format!("The latest are {}", known.join(", "))
    };
    format!("there is no run{wanted} in {state_dir} (--state-dir). {advice}")
}

/// The hint for an image that cannot be found: the nearest name, and what the backend runs.
fn running(nearest: Option<&str>, backend: &str, runs: &[String]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let meant = nearest.map_or_else(String::new, |nearest| format!(" Did you mean {nearest}?"));
    format!(".{meant} {backend} runs {}", runs.join(" and "))
}

/// Formats an age to the second, as in `3h 12m 5s`. An age below zero, where clocks differ, counts as zero.
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
