//! The result of a move, or of a dry run, for programs.

use serde::Serialize;

use crate::adapters::haproxy::command::Command;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::app::{App, print, print_object};
use crate::cli::Output;
use crate::deploy::single_move::Moved;
use crate::model::ids::ServerId;
use crate::model::words::sessions;
use crate::observation::{AdminState, LoadBalancerState, ServerState};
use crate::plan::server_change::ServerChange;
use crate::plan::single_move::{MoveStep, SingleMove};

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
    pub fn planned(plan: &SingleMove, seen: &[LoadBalancerState]) -> Self {
        let rows = seen.iter().flat_map(|at| plan.servers.keys().map(move |id| (at, id)));
        let rows: Vec<Row> = rows.map(|(at, id)| Row::planned(plan, seen, at, id)).collect();
        let held = rows.iter().filter_map(|row| row.before.as_ref()).map(|state| state.sessions).sum();
        let ends = plan.steps.contains(&MoveStep::ShutDownSessions);
        let drains_first =
            plan.steps.contains(&MoveStep::AwaitIdle(AdminState::Drain)) && plan.state == AdminState::Maint;
        Self::of(rows, if ends && !drains_first { held } else { 0 }, true)
    }

    /// Describes what the move did.
    pub fn done(plan: &SingleMove, before: &[LoadBalancerState], moved: &Moved) -> Self {
        let row = |seen: &LoadBalancerState, server: &ServerId| {
            let now = moved.after.iter().find(|now| now.name == seen.name);
            let told = moved.applied.iter().filter(|(name, id, _)| *name == seen.name && id == server);
            Row {
                server: server.clone(),
                load_balancer: seen.name.clone(),
                before: seen.server(server).cloned(),
                after: now.and_then(|now| now.server(server)).cloned(),
                commands: told.map(|(_, id, change)| command(id, *change)).collect(),
                steps: Vec::new(),
            }
        };
        let rows = before.iter().flat_map(|seen| plan.servers.keys().map(move |server| row(seen, server)));
        Self::of(rows.collect(), moved.sessions_shut_down, false)
    }
}

impl Row {
    /// Describes what the move would do to a server at a load balancer.
    fn planned(
        plan: &SingleMove,
        all: &[LoadBalancerState],
        seen: &LoadBalancerState,
        id: &ServerId,
    ) -> Self {
        let before = seen.server(id).cloned();
        let mut row = Self {
            server: id.clone(),
            load_balancer: seen.name.clone(),
            after: before.clone(),
            before,
            commands: Vec::new(),
            steps: Vec::new(),
        };
        let held = sessions(row.before.as_ref().map_or(0, |it| it.sessions));
        for step in &plan.steps {
            match step {
                MoveStep::Set { servers, change } => {
                    if plan.pending(servers, *change, all).contains(id) {
                        if let Some(state) = &mut row.after {
                            change.preview(state, plan.written(id));
                        }
                        row.commands.push(command(id, *change));
                        row.steps.push(command(id, *change));
                    }
                }
                MoveStep::AwaitIdle(_) => {
                    row.steps.push(format!("wait until its last session has ended ({held} now)"));
                }
                MoveStep::ShutDownSessions => {
                    row.steps.push(format!("end the remaining sessions ({held} now)"));
                }
                MoveStep::AwaitUp => row.steps.push("wait until it is up".to_owned()),
            }
        }
        row
    }
}

/// Returns the command for HAProxy.
fn command(server: &ServerId, change: ServerChange) -> String {
    match change {
        ServerChange::State(state) => Command::SetServerState(server, state).to_string(),
        ServerChange::ReadyWhenProven => Command::SetServerState(server, AdminState::Ready).to_string(),
        ServerChange::Weight(weight) => Command::SetServerWeight(server, weight).to_string(),
        ServerChange::Check(checker, on) => Command::SetChecking(server, checker, on).to_string(),
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
