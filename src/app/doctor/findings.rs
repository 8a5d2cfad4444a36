//! Finds what runs, people and reloads left behind, and how to fix it. Nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cfg::{Configuration, Version};
use crate::model::command_line::{CommandLine, shell};
use crate::model::ids::{RunId, ServerId};
use crate::model::words::{named, sessions};
use crate::observation::{
    AdminState, Checking, Container, ContainerState, LoadBalancerState, Observation, ServerState,
};
use crate::plan::kept::kept;
use crate::topology::divergence::{Difference, Divergence, divergences};
use crate::topology::matching::{ContainerRole, MatchResult};
use crate::topology::updaters::{UpdateSubject, Updater, updaters};
use crate::topology::{Backend, Server, Topology, Unlisted};

/// One thing that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DoctorFinding {
    pub kind: FindingKind,
    /// What is wrong, and where.
    pub what: String,
    /// How to fix it: a command, or a line for haproxy.cfg.
    #[serde(rename = "mend")]
    pub fix: String,
    /// A container that may be removed without harm; `None` if an operator must decide.
    #[serde(skip)]
    pub left_over: Option<LeftOver>,
}

/// A container that may be removed without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOver {
    pub container: Container,
    /// The server whose rollback needs the container's image, which must be kept first.
    pub previous_of: Option<ServerId>,
}

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A run was not finished.
    UnfinishedRun,
    /// A server is out of service although its container runs.
    LeftOut,
    /// A server is in service, and its agent (`agent-check`) is off.
    AgentOff,
    /// A finished run left a container that it had kept or created.
    LeftOver,
    /// A worker that a reload replaced still serves.
    OldWorker,
    /// The next reload of `HAProxy` will forget a server's state.
    ForgottenByReload,
    /// No server line reaches a container that publishes a port.
    Unreached,
    /// Another tool replaces containers of servers without a drain.
    Updater,
    /// `HAProxy` runs a server that is missing from haproxy.cfg.
    Unlisted,
    /// `HAProxy` sends a server's traffic to an address that differs from the one in haproxy.cfg.
    OtherAddress,
    /// `HAProxy` runs a server with settings that differ from haproxy.cfg.
    OtherSetting,
}

/// A run that is unfinished, or that could not put everything back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRun {
    pub run: RunId,
    pub backend: String,
    pub left: OpenState,
}

/// The unfinished part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenState {
    /// The run was killed or is under way, and works on these backends.
    Unfinished { touches: Vec<String> },
    /// The run has ended, but could not put these servers back.
    Stuck {
        /// Each server with the state that it should have got back.
        servers: Vec<(ServerId, AdminState)>,
        /// The commands that the run printed for the operator.
        commands: Vec<String>,
    },
}

/// The runs of a site, as its journals describe them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRecords {
    /// Runs that are unfinished or stuck.
    pub open: Vec<OpenRun>,
    /// Runs that have ended.
    pub over: BTreeSet<RunId>,
    /// The number of replaced containers that are kept per server.
    pub keep: usize,
    /// The servers whose last replaced container was put aside, by its engine and its new name.
    pub last_aside: BTreeMap<(String, String), ServerId>,
}

impl RunRecords {
    /// Returns the server whose rollback needs the image of a container that is itself not kept.
    fn previous_of(&self, container: &Container) -> Option<ServerId> {
        let is_all = self.keep > 0 && container.kept_of(self.keep) == 0;
        let place = (container.engine.clone(), container.name.clone());
        self.last_aside.get(&place).filter(|_| is_all).cloned()
    }
}

/// The states in the `server-state-file`, from which a reload takes them; `None` if there is no such file.
pub type SavedStates = Option<BTreeMap<ServerId, AdminState>>;

/// Returns everything that needs attention, the worst first.
#[must_use]
pub fn examine(
    configuration: &Configuration,
    kept: &SavedStates,
    observation: &Observation,
    topology: &Topology,
    runs: &RunRecords,
    typed: &CommandLine,
) -> Vec<DoctorFinding> {
    let RunRecords { open, over, keep, .. } = runs;
    // A run that was repaired by hand is over, whatever the journal says.
    let (open, mended): (Vec<_>, Vec<_>) = open.iter().partition(|run| run.is_open(topology));
    let mut findings: Vec<DoctorFinding> = open.iter().map(|run| run.finding(topology, typed)).collect();
    // Servers that an unfinished run works on are not reported separately.
    let is_free = |backend: &&Backend| !open.iter().any(|run| run.touches(&backend.name));
    for backend in topology.backends.iter().filter(is_free) {
        let balancers = &observation.load_balancers;
        findings.extend(backend.servers.iter().filter_map(|server| left_out(server, balancers, typed)));
        findings.extend(backend.servers.iter().filter_map(|server| agent_off(server, balancers, typed)));
        findings.extend(
            backend.servers.iter().filter_map(|server| lost_by_reload(configuration, kept, server, typed)),
        );
    }
    findings.extend(observation.load_balancers.iter().flat_map(|seen| old_workers(configuration, seen)));
    let diverging = divergences(configuration, &observation.load_balancers);
    findings.extend(diverging.iter().map(diverging_server));
    findings.extend(topology.unlisted.iter().filter_map(|it| unlisted(it, &observation.containers)));
    let servers = topology.backends.iter().flat_map(|backend| &backend.servers);
    let running = servers.filter_map(Server::container).filter_map(UpdateSubject::now);
    findings.extend(updaters(running, &observation.containers).iter().map(updater));
    let mut of_others: Vec<&Container> = Vec::new();
    for container in &observation.containers {
        let users = topology.users(&container.id, observation);
        let of_run = |run: &&OpenRun| container.name.ends_with(&run.run.0);
        if let Some(run) = container.surge.run() {
            let is_open = open.iter().any(|it| it.run == *run);
            findings.extend((!is_open).then(|| surge::left_over(container, run, runs, &users)));
        } else if ContainerRole::is_name(&container.name) {
            let is_over =
                over.iter().any(|run| container.name.ends_with(&run.0)) || mended.iter().any(of_run);
            let is_kept = is_over && is_kept(container, &observation.containers, *keep);
            if is_kept || open.iter().any(of_run) {
                continue;
            }
            if !is_over && users.is_empty() {
                of_others.push(container);
            } else {
                let mut finding = left_over(container, &observation.containers, is_over, &users);
                if let Some(left_over) = &mut finding.left_over {
                    left_over.previous_of = runs.previous_of(container);
                }
                findings.push(finding);
            }
        } else if users.is_empty() {
            findings.extend(unreached(container, topology));
        }
    }
    findings.extend(of_other_sites(&of_others, &observation.containers));
    findings
}

/// Returns the finding for containers that runs of other state directories put aside. It is a single finding, because
/// an engine that other sites share may have many.
fn of_other_sites(containers: &[&Container], all: &[Container]) -> Option<DoctorFinding> {
    if containers.len() < 2 {
        return containers.first().map(|container| left_over(container, all, false, &[]));
    }
    let names: Vec<&str> = containers.iter().map(|it| it.name.as_str()).collect();
    Some(DoctorFinding {
        kind: FindingKind::LeftOver,
        what: format!(
            "{} containers were put aside by runs that are not in this state directory: {}",
            names.len(),
            named(&names)
        ),
        fix: "`docker rm NAME` for each that no other drainswap installation uses or keeps for a rollback"
            .to_owned(),
        left_over: None,
    })
}

impl OpenRun {
    /// Returns whether the run works on that backend now.
    fn touches(&self, backend: &str) -> bool {
        matches!(&self.left, OpenState::Unfinished { touches } if touches.iter().any(|name| name == backend))
    }

    /// Returns whether the run still needs attention: one that was repaired by hand does not, whatever the journal
    /// says. A server that is no longer in haproxy.cfg needs nothing.
    #[must_use]
    pub fn is_open(&self, topology: &Topology) -> bool {
        match &self.left {
            OpenState::Unfinished { .. } => true,
            OpenState::Stuck { servers, .. } => servers.iter().any(|it| is_stuck(topology, it).is_some()),
        }
    }

    fn finding(&self, topology: &Topology, typed: &CommandLine) -> DoctorFinding {
        let Self { run, backend, left } = self;
        let resume = typed.command(&["resume", backend]);
        let undo = typed.command(&["resume", backend, "--undo"]);
        let (what, fix) = match left {
            OpenState::Unfinished { .. } => {
                let what = format!("run {run} on {backend} was not finished, or is under way");
                (what, format!("{resume}, or to roll it back: {undo}"))
            }
            OpenState::Stuck { servers, commands } => {
                let stranded: Vec<String> = servers.iter().filter_map(|it| is_stuck(topology, it)).collect();
                let what =
                    format!("run {run} on {backend} could not put everything back: {}", stranded.join(", "));
                (what, format!("{resume}, or to roll it back: {undo}; or by hand: {}", commands.join("; ")))
            }
        };
        DoctorFinding { kind: FindingKind::UnfinishedRun, what, fix, left_over: None }
    }
}

/// Returns what is wrong with a server that should have got this state back, if anything is.
fn is_stuck(topology: &Topology, (id, wanted): &(ServerId, AdminState)) -> Option<String> {
    let server = topology.backend(&id.backend)?.servers.iter().find(|server| server.id == *id)?;
    let Some(state) = &server.state else {
        return Some(format!("a load balancer does not report the state of {id}"));
    };
    let is_up = state.admin.state() == AdminState::Ready && state.operational.is_up();
    let is_as_before = *wanted != AdminState::Ready && state.admin.state() == *wanted;
    // A server that cannot be probed counts as healthy if HAProxy reports it up.
    let is_silent = server.answer.as_ref().is_some_and(|answer| !answer.is_ready());
    let is_well = is_as_before || is_up && !is_silent;
    let answer = if is_silent { " and does not answer" } else { "" };
    (!is_well).then(|| format!("{id} is in {}{answer}", state.status))
}

/// Returns the server's own administrative state; `None` if it is inherited.
fn admin(server: &Server) -> Option<AdminState> {
    let state = server.state.as_ref().filter(|state| !state.admin.is_inherited())?;
    Some(state.admin.state())
}

/// Returns whether the server's agent is off at one of the load balancers.
fn has_agent_off(server: &Server, load_balancers: &[LoadBalancerState]) -> bool {
    let mut states = load_balancers.iter().filter_map(|seen| seen.server(&server.id));
    states.any(|state| state.checks.agent == Checking::Off)
}

fn left_out(
    server: &Server,
    load_balancers: &[LoadBalancerState],
    typed: &CommandLine,
) -> Option<DoctorFinding> {
    let state = admin(server).filter(|state| *state != AdminState::Ready)?;
    let container = server.container()?;
    if !server.answers() {
        return None;
    }
    let id = server.id.to_string();
    let mut fix = vec!["ready", &id];
    if has_agent_off(server, load_balancers) {
        fix.extend(["--agent", "on"]);
    }
    let is_by_agent = server.state.as_ref().is_some_and(ServerState::may_be_out_by_agent);
    let by = if is_by_agent { " (by agent-check, or by hand)" } else { "" };
    Some(DoctorFinding {
        kind: FindingKind::LeftOut,
        what: format!("{id} is in {state}{by}, but its container {} runs and answers", container.name),
        fix: typed.command(&fix),
        left_over: None,
    })
}

/// Finds an agent that an unfinished run or a command has turned off.
fn agent_off(
    server: &Server,
    load_balancers: &[LoadBalancerState],
    typed: &CommandLine,
) -> Option<DoctorFinding> {
    let is_in_service = admin(server) == Some(AdminState::Ready);
    (is_in_service && has_agent_off(server, load_balancers)).then(|| DoctorFinding {
        kind: FindingKind::AgentOff,
        what: format!("the agent (agent-check) of {} is off, until a reload of HAProxy", server.id),
        fix: typed.command(&["ready", &server.id.to_string(), "--agent", "on"]),
        left_over: None,
    })
}

/// Returns the finding for a server that runs differently from its configuration.
fn diverging_server(diverging: &Divergence) -> DoctorFinding {
    let server = &diverging.server;
    let (kind, set) = match &diverging.difference {
        Difference::Address { written, .. } => {
            let (ip, port) = (written.ip(), written.port());
            let set = format!(", or `set server {server} addr {ip} port {port}` at its runtime socket");
            (FindingKind::OtherAddress, set)
        }
        Difference::Ssl { .. }
        | Difference::CheckPort { .. }
        | Difference::CheckAddress { .. }
        | Difference::Weight { .. }
        | Difference::Disabled { .. } => (FindingKind::OtherSetting, String::new()),
    };
    let what = if kind == FindingKind::OtherAddress { "port" } else { "setting" };
    DoctorFinding {
        kind,
        what: diverging.to_string(),
        fix: format!(
            "if the file is right: reload HAProxy{set}; if HAProxy is right: write its value into haproxy.cfg. A server-state-file would restore the old {what} at a reload: delete the server's line from it"
        ),
        left_over: None,
    }
}

/// Finds a state that only the running process knows.
fn lost_by_reload(
    configuration: &Configuration,
    kept: &SavedStates,
    server: &Server,
    typed: &CommandLine,
) -> Option<DoctorFinding> {
    let proxy = configuration.backend(&server.id.backend)?;
    let written = proxy.servers.iter().find(|line| line.name == server.id.server)?;
    let has_file = proxy.keeps_state && configuration.server_state_file.is_some();
    let kept = kept.as_ref().filter(|_| has_file).and_then(|kept| kept.get(&server.id));
    let now = admin(server)?;
    let after = match kept {
        Some(kept) => *kept,
        None if written.disabled => AdminState::Maint,
        None => AdminState::Ready,
    };
    if now == after {
        return None;
    }
    let fix = if has_file {
        format!(
            "{}: this also writes the server-state-file, which does not have that state yet",
            typed.command(&[&now.to_string(), &server.id.to_string()])
        )
    } else {
        "in haproxy.cfg: `server-state-file /var/lib/haproxy/state` in global, and \
         `load-server-state-from-file global` in defaults"
            .to_owned()
    };
    Some(DoctorFinding {
        kind: FindingKind::ForgottenByReload,
        what: format!("{} is in {now}, and a reload of HAProxy would set it to {after}", server.id),
        fix,
        left_over: None,
    })
}

/// The `HAProxy` versions that kill an old worker after this many reloads if `mworker-max-reloads` is not set.
const RELOADS_LIMITED_SINCE: Version = Version::new(3, 3);
const RELOADS_BY_DEFAULT: u32 = 50;

/// Returns the number of reloads after which the master kills a worker, even if it still serves.
fn max_reloads(configuration: &Configuration, seen: &LoadBalancerState) -> Option<u32> {
    let is_limited = seen.version.parse::<Version>().is_ok_and(|version| version >= RELOADS_LIMITED_SINCE);
    configuration.max_reloads.or(is_limited.then_some(RELOADS_BY_DEFAULT))
}

fn old_workers(configuration: &Configuration, seen: &LoadBalancerState) -> Vec<DoctorFinding> {
    let workers = seen.old_workers.iter().flatten();
    let limit = max_reloads(configuration, seen).map_or_else(String::new, |reloads| {
        format!(
            "; HAProxy kills it and its sessions after {reloads} reloads (`mworker-max-reloads` in global)"
        )
    });
    let finding = |worker: &crate::observation::OldWorker| {
        let held: Vec<String> =
            worker.servers.iter().map(|old| format!("{} to {}", sessions(old.sessions), old.id)).collect();
        let held = if held.is_empty() { "no sessions to servers".to_owned() } else { held.join(", ") };
        DoctorFinding {
            kind: FindingKind::OldWorker,
            what: format!(
                "HAProxy's worker {} was replaced by a reload, and still holds {held}{limit}",
                worker.pid
            ),
            fix: "it exits with its last session; `hard-stop-after 30m` in global limits that time"
                .to_owned(),
            left_over: None,
        }
    };
    workers.map(finding).collect()
}

/// Returns whether a container is one of the latest of its place, and so kept for a rollback.
fn is_kept(container: &Container, all: &[Container], keep: usize) -> bool {
    let Some((name, _)) = ContainerRole::Previous.read(&container.name) else { return false };
    kept(all, name).into_iter().take(container.kept_of(keep)).any(|it| it.id == container.id)
}

fn updater(updater: &Updater<'_>) -> DoctorFinding {
    DoctorFinding { kind: FindingKind::Updater, what: updater.what(), fix: updater.remedy(), left_over: None }
}

/// Finds a server that only the running process knows, if it reaches a container.
fn unlisted(server: &Unlisted, containers: &[Container]) -> Option<DoctorFinding> {
    let container = containers.iter().find(|it| Some(&it.id) == server.reaches.as_ref())?;
    let Unlisted { state, load_balancer, .. } = server;
    Some(DoctorFinding {
        kind: FindingKind::Unlisted,
        what: format!(
            "HAProxy runs {} ({}, {}), which is missing from haproxy.cfg but reaches the container {}",
            state.id,
            state.status,
            sessions(state.sessions),
            container.name
        ),
        fix: format!(
            "reload HAProxy, if it was removed from haproxy.cfg; or use --haproxy-config to name the file that has it; \
             or `set server {} state maint` at {load_balancer}",
            state.id
        ),
        left_over: None,
    })
}

fn left_over(container: &Container, all: &[Container], is_over: bool, users: &[String]) -> DoctorFinding {
    let idle = container.state.is_idle();
    let of_its_place = |other: &&Container| {
        container.name.starts_with(&format!("{}.", other.name)) && other.state == ContainerState::Running
    };
    let is_succeeded = all.iter().any(|other| of_its_place(&other));
    let (runs, remove): (_, &[&str]) =
        if idle { ("does not run", &["docker", "rm"]) } else { ("still runs", &["docker", "rm", "-f"]) };
    let remove = shell(&[remove, &[&container.name]].concat());
    DoctorFinding {
        kind: FindingKind::LeftOver,
        what: format!(
            "the container {} was put aside by a run that {}, and {runs}",
            container.name,
            if is_over { "is over" } else { "is not in this state directory" }
        ),
        fix: if !users.is_empty() {
            format!(
                "keep it: HAProxy sends requests to it for {}; the next deploy there replaces it under its original name",
                users.join(", ")
            )
        } else if is_over {
            remove
        } else {
            format!("{remove}, if no other drainswap installation uses it or keeps it for a rollback")
        },
        // A running container is in use, whatever its name says. One without a running successor may be needed.
        left_over: (idle && is_succeeded && is_over)
            .then(|| LeftOver { container: container.clone(), previous_of: None }),
    }
}

fn unreached(container: &Container, topology: &Topology) -> Option<DoctorFinding> {
    let servers = || topology.backends.iter().flat_map(|backend| &backend.servers);
    let is_meant = |server: &Server| match &server.behind {
        MatchResult::Container(found) => found.container.id == container.id,
        // The operator must first decide which container it is.
        MatchResult::Ambiguous { candidates } => candidates.iter().any(|it| it.starts_with(&container.name)),
        MatchResult::Gone { .. } | MatchResult::Described { .. } | MatchResult::Unmatched { .. } => false,
    };
    // Only a container on a port that a backend uses is likely to be meant for it.
    let ports = |server: &Server| Some(server.state.as_ref()?.address?.port());
    let published = container
        .published
        .iter()
        .find(|published| servers().filter_map(ports).any(|port| port.abs_diff(published.port) <= 1))?;
    if container.state.is_idle() || servers().any(is_meant) {
        return None;
    }
    Some(DoctorFinding {
        kind: FindingKind::Unreached,
        what: format!(
            "the container {} publishes {}:{}, and no server line reaches it",
            container.name, published.ip, published.port
        ),
        fix: format!(
            "in haproxy.cfg: `server NAME {}:{} check`; or {}",
            published.ip,
            published.port,
            shell(&["docker", "rm", "-f", &container.name])
        ),
        left_over: None,
    })
}

mod surge;
#[cfg(test)]
mod tests;
