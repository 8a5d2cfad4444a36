//! The commands with which an operator brings a lane back that drainswap could not undo.

use std::collections::BTreeSet;

use super::Executor;
use crate::model::command_line::shell;
use crate::model::ids::ContainerId;
use crate::observation::{AdminState, Container, RestartPolicy};
use crate::plan::undo::is_replaced;
use crate::plan::{Lane, LaneServer, Replacement};
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};

/// The containers that the engine has; `None` if it does not answer.
struct Known(Option<Vec<Container>>);

impl Known {
    fn is_gone(&self, id: &ContainerId) -> bool {
        self.0.as_ref().is_some_and(|all| all.iter().all(|it| it.id != *id))
    }

    /// Returns the command that gives a container this name, unless it has the name already.
    fn rename(&self, id: &ContainerId, name: &str) -> Option<String> {
        match &self.0 {
            Some(all) if all.iter().any(|it| it.id == *id && it.name == name) => None,
            Some(_) => Some(shell(&["docker", "rename", id.short(), name])),
            // It may have that name already.
            None => Some(shell(&["docker", "rename", id.short(), name]) + " || true"),
        }
    }
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Returns the commands with which an operator brings a lane's old container back: those that are still needed
    /// according to the journal and the engine.
    pub(super) async fn recovery_commands(&self, lane: usize) -> Vec<String> {
        let plan_lane = &self.plan.lanes[lane];
        let servers = plan_lane.servers.iter();
        let begun = self.begun(lane);
        let Some((replacement, engine)) = self.at(lane).swap.filter(|_| is_replaced(&begun)) else {
            let state = |server: &LaneServer| server.stays.unwrap_or(AdminState::Ready).to_string();
            return servers.map(|it| self.move_command(&[&state(it)], it, "on")).collect();
        };
        let known = Known(engine.containers().await.ok());
        let out = ["maint", "--floor", "0", "--wait"];
        let mut commands: Vec<String> = servers.map(|it| self.move_command(&out, it, "off")).collect();
        let new = self.created(lane).filter(|new| !known.is_gone(new));
        commands.extend(commands_for_new(plan_lane, replacement, new.as_ref(), &known));
        match &replacement.old {
            Some(old) if known.is_gone(&old.id) => commands.extend(self.commands_without_old(plan_lane, old)),
            Some(old) => {
                commands.extend(known.rename(&old.id, &old.name));
                commands.push(restart_command(&old.restart, &old.id));
                commands.push(shell(&["docker", "start", old.id.short()]));
                commands.extend(self.commands_out_of_maint(plan_lane));
            }
            // It had no container before either.
            None => {}
        }
        commands
    }

    /// Returns the commands for a lane whose old container is gone: a new one can be created from its image.
    fn commands_without_old(&self, lane: &Lane, old: &Container) -> Vec<String> {
        let (backend, image) = (&self.plan.goal.backend, old.running_image().pinned());
        let stay = lane.servers.iter().filter(|it| it.stays.is_some());
        let names: BTreeSet<&str> = stay.map(|it| it.id.server.as_str()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(",");
        let mut deploy = vec!["deploy", backend, "--image", &image];
        if !names.is_empty() {
            // Without a container, a server that is out of service by hand would count as a spare slot.
            deploy.extend(["--enable", "--only", &names]);
        }
        let again = |server: &LaneServer| match server.stays {
            Some(state) => Some(self.move_command(&[&state.to_string(), "--floor", "0"], server, "on")),
            None if !self.has_agent(server) || lane.is_dead(server) => None,
            None => Some(self.move_command(&["ready"], server, "on")),
        };
        let mut commands = vec![self.site.typed.command(&deploy)];
        commands.extend(lane.servers.iter().filter_map(again));
        // The deploy skips servers that did not answer before.
        let dead = lane.servers.iter().filter(|server| lane.is_dead(server));
        commands.extend(dead.map(|server| self.ready_command(server)));
        commands
    }

    /// Returns the commands that give a lane's servers, which are all in maint, their states.
    fn commands_out_of_maint(&self, lane: &Lane) -> Vec<String> {
        let command = |server: &LaneServer| match server.stays {
            None | Some(AdminState::Ready) => Some(self.ready_command(server)),
            Some(AdminState::Drain) => Some(self.move_command(&["drain"], server, "on")),
            Some(AdminState::Maint) if !self.has_agent(server) => None,
            Some(AdminState::Maint) => Some(self.move_command(&["maint"], server, "on")),
        };
        lane.servers.iter().filter_map(command).collect()
    }

    /// Returns the command that makes a server ready. A container that was just started needs time to boot, so the
    /// command waits for an answer if the server answered before.
    fn ready_command(&self, server: &LaneServer) -> String {
        let wait = server.answered().then_some("--wait");
        self.move_command(&["ready"].into_iter().chain(wait).collect::<Vec<_>>(), server, "on")
    }

    /// Returns the drainswap command of these words for a server. It turns the server's agent `on` or `off`, if there
    /// is one: an agent that was on is off while its server is out.
    fn move_command(&self, words: &[&str], server: &LaneServer, agent: &str) -> String {
        let agent = ["--agent", agent].into_iter().filter(|_| self.has_agent(server));
        let words: Vec<&str> = words.iter().copied().chain(agent).collect();
        self.site.typed.command(&[&words[..], &[&server.id.to_string()]].concat())
    }
}

/// Returns the commands that take the container away that replaced the old one, or keep it if nothing else is left.
fn commands_for_new(
    lane: &Lane,
    replacement: &Replacement,
    new: Option<&ContainerId>,
    known: &Known,
) -> Vec<String> {
    let is_old_gone = replacement.old.as_ref().is_some_and(|old| known.is_gone(&old.id));
    let mut commands = Vec::new();
    match (&replacement.returning, new) {
        // Only the new container still has the server's own settings: the deploy copies them from it. While it does
        // not answer, that deploy would require an answer on dead lines too.
        (_, Some(new)) if is_old_gone && lane.dead_ids().is_empty() => {
            commands.extend(known.rename(new, &replacement.name));
            commands.push(restart_command(replacement.restart_of_new(), new));
        }
        (Some(kept), _) => {
            commands.push(restart_command(&RestartPolicy::never(), &kept.id));
            commands.push(shell(&["docker", "stop", kept.id.short()]));
            commands.extend(known.rename(&kept.id, &kept.name));
        }
        (None, Some(new)) => commands.push(shell(&["docker", "rm", "-f", new.short()])),
        (None, None) => {}
    }
    commands
}

/// Returns the command that sets a container's restart policy.
fn restart_command(policy: &RestartPolicy, id: &ContainerId) -> String {
    shell(&["docker", "update", "--restart", &policy.to_string(), id.short()])
}
