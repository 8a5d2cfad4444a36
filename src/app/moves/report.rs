//! The result of a move, or of a dry run, for programs.

use serde::Serialize;

use super::Servers;
use super::change::{Applied, ServerChange, pending};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::app::{App, print, print_object};
use crate::cli::{MaintFlags, Move, Output};
use crate::model::ids::ServerId;
use crate::model::words::sessions;
use crate::observation::{AdminState, LoadBalancerState, ServerState};

/// The version of the JSON format.
const VERSION: u32 = 1;

/// The result of a move, or of a dry run.
#[derive(Debug, Serialize)]
pub(super) struct ChangeReport {
    version: u32,
    /// Whether the move changed anything, or would.
    changed: bool,
    dry_run: bool,
    /// The number of sessions that were shut down, or would be.
    sessions_shut_down: u64,
    /// One row per server and load balancer.
    servers: Vec<Row>,
}

/// A server at a load balancer.
#[derive(Debug, Serialize)]
struct Row {
    server: ServerId,
    load_balancer: String,
    /// `None` where the running HAProxy does not know the server.
    before: Option<ServerState>,
    after: Option<ServerState>,
    /// The commands that HAProxy got, or would get.
    commands: Vec<String>,
    /// The steps of a dry run, for people: the commands, and the waits between them.
    #[serde(skip)]
    steps: Vec<String>,
}

impl Row {
    /// Returns whether a setting changed. The number of sessions does not count: it changes by itself.
    fn is_changed(&self) -> bool {
        let set = |state: &Option<ServerState>| {
            state.as_ref().map(|it| (it.admin.state(), it.weight, it.checks.health, it.checks.agent))
        };
        set(&self.before) != set(&self.after)
    }
}

impl Default for ChangeReport {
    fn default() -> Self {
        Self::of(Vec::new(), 0, false)
    }
}

impl ChangeReport {
    fn of(servers: Vec<Row>, sessions_shut_down: u64, dry_run: bool) -> Self {
        let changed = sessions_shut_down > 0 || servers.iter().any(Row::is_changed);
        Self { version: VERSION, changed, dry_run, sessions_shut_down, servers }
    }

    /// Describes what the move would do.
    pub fn planned(
        servers: &Servers,
        seen: &[LoadBalancerState],
        acts: &[ServerChange],
        (state, asked, leave): (AdminState, &Move, &MaintFlags),
    ) -> Self {
        let left = pending(servers, acts, seen);
        let row = |seen: &LoadBalancerState, server: &ServerId, written: u32| {
            let before = seen.server(server).cloned();
            let mut after = before.clone();
            let held = sessions(before.as_ref().map_or(0, |it| it.sessions));
            let (mut commands, mut steps) = (Vec::new(), Vec::new());
            let mut act = |act: &ServerChange, steps: &mut Vec<String>| {
                if let Some(state) = &mut after {
                    act.preview(state, written);
                }
                steps.push(act.command(server));
                commands.push(act.command(server));
            };
            let is_ready = before.as_ref().is_some_and(|it| it.admin.state() == AdminState::Ready);
            if leave.drain_first && is_ready {
                act(&ServerChange::State(AdminState::Drain), &mut steps);
                steps.push(format!("wait until its last session has ended ({held} now)"));
            }
            for (_, it) in left.iter().filter(|(id, _)| id == server) {
                act(it, &mut steps);
            }
            if leave.shutdown_sessions {
                steps.push(format!("end the remaining sessions ({held} now)"));
            }
            match state {
                AdminState::Ready if asked.wait => steps.push("wait until it is up".to_owned()),
                AdminState::Drain | AdminState::Maint if asked.wait => {
                    steps.push(format!("wait until its last session has ended ({held} now)"));
                }
                AdminState::Ready | AdminState::Drain | AdminState::Maint => {}
            }
            Row { server: server.clone(), load_balancer: seen.name.clone(), before, after, commands, steps }
        };
        let rows =
            seen.iter().flat_map(|seen| servers.iter().map(move |(id, weight)| row(seen, id, *weight)));
        let rows: Vec<Row> = rows.collect();
        let held = rows.iter().filter_map(|row| row.before.as_ref()).map(|state| state.sessions).sum();
        let ended = if leave.shutdown_sessions && !leave.drain_first { held } else { 0 };
        Self::of(rows, ended, true)
    }

    /// Describes what the move did.
    pub fn done(
        servers: &Servers,
        before: &[LoadBalancerState],
        after: &[LoadBalancerState],
        done: &Applied,
        sessions_shut_down: u64,
    ) -> Self {
        let row = |seen: &LoadBalancerState, server: &ServerId| {
            let now = after.iter().find(|now| now.name == seen.name);
            let told = done.0.iter().filter(|(name, id, _)| *name == seen.name && id == server);
            Row {
                server: server.clone(),
                load_balancer: seen.name.clone(),
                before: seen.server(server).cloned(),
                after: now.and_then(|now| now.server(server)).cloned(),
                commands: told.map(|(_, id, act)| act.command(id)).collect(),
                steps: Vec::new(),
            }
        };
        let rows = before.iter().flat_map(|seen| servers.keys().map(move |server| row(seen, server)));
        Self::of(rows.collect(), sessions_shut_down, false)
    }
}

impl App {
    /// Prints the result: as JSON, or, for a dry run, the steps as text.
    pub(super) fn print_report(&self, moved: &ChangeReport) -> Result<Exit, Error> {
        match self.output {
            Output::Json => {
                print_object(moved)?;
            }
            Output::Text if moved.dry_run => {
                for row in &moved.servers {
                    for step in &row.steps {
                        print(&format!("at {}: {step}\n", row.load_balancer))?;
                    }
                }
                if !moved.changed {
                    print("nothing to do\n")?;
                }
            }
            Output::Text => {}
        }
        Ok(Exit::Done)
    }
}
