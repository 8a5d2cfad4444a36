//! The states of servers after a reload: those of haproxy.cfg, and those set at runtime, which a reload loses.
//!
//! A `server-state-file` also gives the new worker values that haproxy.cfg no longer has: the port and the check port
//! of a checked server, ssl, and earlier states.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::adapters::haproxy::HaproxySocket;
use crate::app::error::Error;
use crate::cfg::{Configuration, Server};
use crate::model::ids::ServerId;
use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker, Checking, LoadBalancerState, Operational, ServerState};
use crate::ports::{LoadBalancer, LoadBalancerError};
use crate::site::wait::until;
use crate::topology::divergence::{Difference, settings_that_differ};

/// The wait for the answer of an agent that was asked before it was turned off: that answer still counts.
const AGENT_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What HAProxy has done since the states were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeSource<'a> {
    /// HAProxy has read its files.
    Reload,
    /// HAProxy has only executed commands: an address set at runtime was set on purpose.
    Runtime,
    /// HAProxy has done nothing, and haproxy.cfg may have been edited: weights and states that it has not read are set.
    /// Other settings that differ may have been set on purpose, and traffic depends on them.
    Edit,
    /// HAProxy has only executed commands, and these servers were added again as their lines say.
    Added(&'a BTreeSet<ServerId>),
}

impl ChangeSource<'_> {
    fn has_read(self, server: &ServerId) -> bool {
        match self {
            Self::Reload => true,
            Self::Runtime | Self::Edit => false,
            Self::Added(servers) => servers.contains(server),
        }
    }
}

/// The result of restoring the states of servers.
#[derive(Debug, Default)]
pub(super) struct ReapplyReport {
    pub set: Vec<String>,
    /// The changes that HAProxy refuses at runtime.
    pub refused: Vec<String>,
}

impl ReapplyReport {
    /// Fails if a HAProxy that has read haproxy.cfg refused a change.
    pub fn complete(self) -> Result<(), Error> {
        let Self { refused, .. } = self;
        if refused.is_empty() { Ok(()) } else { Err(Error::RunningConfigDiffers { not_so: refused }) }
    }
}

/// The values that were set at runtime, for each server that has any.
pub(super) struct States(BTreeMap<ServerId, State>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    admin: Option<AdminState>,
    weight: Option<u32>,
    /// The address of a server that is `disabled` in its line but in service: a slot that is in use.
    address: Option<SocketAddr>,
    is_agent_off: bool,
    /// Whether the server was set to down although nothing checks it.
    is_down: bool,
}

impl State {
    /// Compares the state with the line as HAProxy has read it and with the line as it is now: a value that differs
    /// from both was set at runtime.
    fn of(now: &ServerState, line: &Server) -> Self {
        let (admin, weight) = (now.admin.state(), now.weight);
        let read = admin_of_line(now.admin.is_disabled_by_its_line());
        let is_set = !now.admin.is_inherited() && admin != read && admin != admin_of_line(line.disabled);
        Self {
            admin: is_set.then_some(admin),
            weight: Some(weight).filter(|it| *it != now.initial_weight && *it != line.weight),
            address: now.address.filter(|_| line.disabled && admin != AdminState::Maint),
            is_agent_off: now.checks.agent == Checking::Off,
            is_down: is_down_without_a_check(now, line),
        }
    }
}

/// Returns the state that a server line gives.
pub(super) fn admin_of_line(disabled: bool) -> AdminState {
    if disabled { AdminState::Maint } else { AdminState::Ready }
}

/// Returns whether the server is down and no check will ever find it up. A `server-state-file` can leave it so.
fn is_down_without_a_check(now: &ServerState, line: &Server) -> bool {
    let is_asked = line.check || line.track.is_some() || now.asks_agent();
    !is_asked && now.operational == Operational::Stopped && now.admin.state() != AdminState::Maint
}

fn find<'c>(configuration: &'c Configuration, id: &ServerId) -> Option<&'c Server> {
    configuration.backend(&id.backend)?.servers.iter().find(|server| server.name == id.server)
}

/// Returns the servers that are added or removed, and those with a change in a setting that a `server-state-file`
/// contains.
pub(super) fn changed(old: &Configuration, new: &Configuration) -> BTreeSet<ServerId> {
    let says = |server: &Server| {
        let check = (server.check_port, server.check_address.clone(), server.agent_place.clone());
        (server.address.clone(), check, server.ssl, server.weight, server.disabled)
    };
    let all = [old, new].into_iter().flat_map(|it| &it.proxies);
    let ids =
        all.flat_map(|proxy| proxy.servers.iter().map(|server| ServerId::new(&proxy.name, &server.name)));
    ids.filter(|id| find(old, id).map(says) != find(new, id).map(says)).collect()
}

/// The differences between the wanted and the actual states of servers.
pub(super) type Mismatches = Vec<(ServerId, Mismatch)>;

/// A difference between the wanted and the actual state of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    Agent,
    Setting(Difference),
    Weight { to: u32, from: u32 },
    Down,
    Admin { to: AdminState, from: AdminState },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("agent off, not on"),
            Self::Setting(Difference::Address { written, running }) => {
                write!(f, "address {written}, not {running}")
            }
            Self::Setting(it) => write!(f, "{}, not {}", it.written(), it.running()),
            Self::Weight { to, from } => write!(f, "weight {to}, not {from}"),
            Self::Down => f.write_str("up, not down"),
            Self::Admin { to, from } => write!(f, "{to}, not {from}"),
        }
    }
}

impl States {
    /// Returns the values that were set at runtime since HAProxy read this configuration.
    pub fn set_at_runtime(seen: &LoadBalancerState, configuration: &Configuration) -> Self {
        let states = seen.servers.iter().filter_map(|now| {
            let state = State::of(now, find(configuration, &now.id)?);
            (state != State::default()).then(|| (now.id.clone(), state))
        });
        Self(states.collect())
    }

    /// Returns the differences of a server, in the order in which they are corrected.
    fn mismatches_of(&self, now: &ServerState, line: &Server, since: ChangeSource<'_>) -> Vec<Mismatch> {
        let set = self.0.get(&now.id).copied().unwrap_or_default();
        let has_agent = now.asks_agent();
        let mut all = Vec::new();
        if set.is_agent_off && has_agent {
            all.push(Mismatch::Agent);
        }
        let is_read = since.has_read(&now.id);
        if is_read {
            all.extend(settings(now, line, set.address.filter(|_| line.disabled)));
        }
        // An agent may set weight and state at any time.
        let is_written = (is_read || since == ChangeSource::Edit) && (!has_agent || set.is_agent_off);
        let weight = set.weight.or(is_written.then_some(line.weight));
        all.extend(weight.filter(|to| *to != now.weight).map(|to| Mismatch::Weight { to, from: now.weight }));
        if is_read && !set.is_down && is_down_without_a_check(now, line) {
            all.push(Mismatch::Down);
        }
        let (admin, from) =
            (set.admin.or(is_written.then(|| admin_of_line(line.disabled))), now.admin.state());
        // A state inherited from a tracked server, or from a name without an address, is not this server's own.
        let admin = admin.filter(|to| !now.admin.is_inherited() && *to != from);
        all.extend(admin.map(|to| Mismatch::Admin { to, from }));
        all
    }

    /// Returns every difference, with its server.
    pub fn mismatches(
        &self,
        seen: &LoadBalancerState,
        configuration: &Configuration,
        since: ChangeSource<'_>,
    ) -> Mismatches {
        let known = seen.servers.iter().filter_map(|now| Some((now, find(configuration, &now.id)?)));
        known
            .flat_map(|(now, line)| {
                self.mismatches_of(now, line, since).into_iter().map(|it| (now.id.clone(), it))
            })
            .collect()
    }

    /// Restores the values that a reload has lost or has not taken from haproxy.cfg.
    ///
    /// # Errors
    /// If HAProxy does not answer, or exits in the middle.
    pub async fn reapply(
        &self,
        socket: &HaproxySocket,
        configuration: &Configuration,
        since: ChangeSource<'_>,
    ) -> Result<ReapplyReport, Error> {
        let found = self.mismatches(&socket.full_state(&[]).await?, configuration, since);
        if found.is_empty() {
            return Ok(ReapplyReport::default());
        }
        let servers: Vec<ServerId> = found.iter().map(|(server, _)| server.clone()).collect();
        let set = self.set(found, socket, configuration, since).await;
        set.map_err(|error| error.after_a_move(&servers))
    }

    async fn set(
        &self,
        found: Mismatches,
        socket: &HaproxySocket,
        configuration: &Configuration,
        since: ChangeSource<'_>,
    ) -> Result<ReapplyReport, Error> {
        let (mut set, mut found): (Mismatches, Mismatches) =
            found.into_iter().partition(|(_, mismatch)| *mismatch == Mismatch::Agent);
        for (server, _) in &set {
            unless_refused(socket.set_checking(server, Checker::Agent, false).await)?;
        }
        if !set.is_empty() {
            wait_for_agents(socket).await?;
            // Includes changes by the agents' last answers.
            found = self.mismatches(&socket.full_state(&[]).await?, configuration, since);
        }
        set_all(socket, &found).await?;
        let left = self.mismatches(&socket.full_state(&[]).await?, configuration, since);
        set.extend(found);
        set.retain(|it| !left.contains(it));
        Ok(ReapplyReport { set: describe(&set), refused: describe(&left) })
    }
}

/// Corrects the differences of each server, its state last.
async fn set_all(
    socket: &HaproxySocket,
    mismatches: &[(ServerId, Mismatch)],
) -> Result<(), LoadBalancerError> {
    let mut states = Vec::new();
    for (server, mismatch) in mismatches {
        let set = match mismatch {
            // This agent could not be turned off.
            Mismatch::Agent => Ok(()),
            Mismatch::Admin { to, .. } => {
                states.push((server.clone(), *to));
                Ok(())
            }
            Mismatch::Weight { to, .. } => socket.set_weight(server, Weight::Absolute(*to)).await,
            Mismatch::Down => socket.set_healthy(server).await,
            Mismatch::Setting(difference) => correct(socket, server, difference).await,
        };
        unless_refused(set)?;
    }
    unless_refused(socket.set_admin_states(&states).await)
}

/// Formats the differences for operators.
pub(super) fn describe(mismatches: &[(ServerId, Mismatch)]) -> Vec<String> {
    mismatches.iter().map(|(server, mismatch)| format!("{server}: {mismatch}")).collect()
}

/// Returns the settings that differ from the line. A slot that is in use keeps its address.
fn settings(now: &ServerState, line: &Server, in_use: Option<SocketAddr>) -> Vec<Mismatch> {
    let mut all = settings_that_differ(line, now);
    if let Some((written, running)) = in_use.zip(now.address) {
        all.retain(|it| !matches!(it, Difference::Address { .. }));
        all.extend((written != running).then_some(Difference::Address { written, running }));
    }
    all.into_iter().map(Mismatch::Setting).collect()
}

/// Sets the value of the line. The new worker hardly has any connections yet that the old value would affect.
async fn correct(
    socket: &HaproxySocket,
    server: &ServerId,
    difference: &Difference,
) -> Result<(), LoadBalancerError> {
    match difference {
        Difference::Address { written, .. } => socket.set_address(server, *written).await,
        Difference::Ssl { written } => socket.set_ssl(server, *written).await,
        Difference::CheckPort { written, .. } => socket.set_check_port(server, *written).await,
        Difference::CheckAddress { written: Some(written), .. } => {
            socket.set_check_address(server, *written).await
        }
        // No command removes a check address. Weight and `disabled` have their own kinds of difference.
        Difference::CheckAddress { written: None, .. }
        | Difference::Weight { .. }
        | Difference::Disabled { .. } => Ok(()),
    }
}

/// Waits for the answer of an agent that was asked before it was turned off: HAProxy still applies that answer.
async fn wait_for_agents(socket: &HaproxySocket) -> Result<(), Error> {
    let never = CancellationToken::new();
    let silent = until(LOOK_EVERY, AGENT_ANSWERS_WITHIN, &never, async || {
        let seen = socket.full_state(&[]).await?;
        let is_asked = |now: &ServerState| now.checks.agent == Checking::Off && now.checks.asks_agent;
        Ok::<_, Error>((!seen.servers.iter().any(is_asked)).then_some(()))
    });
    // The last look finds the changes of a slower agent.
    silent.await.map(|_| ())
}

/// Ignores a refusal of HAProxy: a later look shows which values differ.
fn unless_refused(set: Result<(), LoadBalancerError>) -> Result<(), LoadBalancerError> {
    use LoadBalancerError::{AddressNotApplied, Refused, StateNotApplied};
    if matches!(set, Err(Refused { .. } | StateNotApplied { .. } | AddressNotApplied { .. })) {
        Ok(())
    } else {
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::haproxy::tests::{Fake, INFO, stat, state};
    use crate::observation::{AdminBits, RunningSettings};
    use crate::testing::World;

    fn world(line: &str) -> World {
        World::of(&format!("\nbackend mobile\n    server app1 127.0.0.1:50000 {line}\n"))
    }

    /// Returns what is restored after a reload with a new line, for a server with these states before and after the
    /// reload.
    fn reapply(
        lines: [&str; 2],
        before: impl Fn(&mut ServerState),
        after: impl Fn(&mut ServerState),
    ) -> Vec<String> {
        set_since(ChangeSource::Reload, lines, before, after)
    }

    fn set_since(
        since: ChangeSource<'_>,
        lines: [&str; 2],
        before: impl Fn(&mut ServerState),
        after: impl Fn(&mut ServerState),
    ) -> Vec<String> {
        let [old, new] = lines.map(world);
        let id = "mobile/app1";
        let old = old.server(id, |it| before(it));
        let new = new.server(id, |it| after(it));
        let states = States::set_at_runtime(&old.observation.load_balancers[0], &old.configuration);
        let seen = &new.observation.load_balancers[0];
        let all = states.mismatches(seen, &new.configuration, since);
        all.iter().map(|(_, it)| it.to_string()).collect()
    }

    const NOTHING: [&str; 0] = [];

    fn as_it_is(_: &mut ServerState) {}

    #[test]
    fn only_what_was_set_at_runtime_is_set_again() {
        let weight = |now, read| move |it: &mut ServerState| (it.weight, it.initial_weight) = (now, read);
        let kept = reapply(["check weight 5", "check weight 3"], weight(7, 5), as_it_is);
        assert_eq!(kept, ["weight 7, not 3"]);
        // Edited in the file by hand and not read since: the running weight is outdated, not set.
        assert_eq!(reapply(["check weight 2", "check weight 3"], weight(1, 1), as_it_is), NOTHING);
        // Set to the value in the file, while HAProxy has read another one.
        assert_eq!(reapply(["check weight 2", "check weight 3"], weight(2, 1), as_it_is), NOTHING);
        let admin = |bits| move |it: &mut ServerState| it.admin = AdminBits(bits);
        assert_eq!(reapply(["check", "check"], admin(8), as_it_is), ["drain, not ready"]);
        assert_eq!(reapply(["check disabled", "check disabled"], admin(4), admin(5)), ["ready, not maint"]);
        // `disabled` was added to the file by hand, or removed, and not read since.
        assert_eq!(reapply(["check disabled", "check disabled"], admin(0), admin(5)), NOTHING);
        assert_eq!(reapply(["check", "check"], admin(5), as_it_is), NOTHING);
    }

    #[test]
    fn servers_added_again_get_their_states_as_after_a_reload() {
        let slot = ["check disabled"; 2];
        let in_use = |it: &mut ServerState| {
            (it.admin, it.address) = (AdminBits(4), "127.0.0.1:50009".parse().ok());
        };
        let fresh = |it: &mut ServerState| it.admin = AdminBits(5);
        let added = BTreeSet::from([ServerId::new("mobile", "app1")]);
        assert_eq!(
            set_since(ChangeSource::Added(&added), slot, in_use, fresh),
            ["address 127.0.0.1:50009, not 127.0.0.1:50000", "ready, not maint"]
        );
        assert_eq!(
            set_since(ChangeSource::Added(&BTreeSet::new()), slot, in_use, fresh),
            ["ready, not maint"]
        );
    }

    #[test]
    fn an_agent_that_was_turned_off_is_off_again_before_what_it_would_change() {
        let before = |it: &mut ServerState| (it.admin, it.checks.agent) = (AdminBits(8), Checking::Off);
        let after = |it: &mut ServerState| it.checks.agent = Checking::On;
        let line = "check agent-check agent-port 81";
        assert_eq!(reapply([line, line], before, after), ["agent off, not on", "drain, not ready"]);
        let by_agent = |it: &mut ServerState| (it.weight, it.checks.agent) = (40, Checking::On);
        assert_eq!(reapply([line, line], |it| it.checks.agent = Checking::On, by_agent), NOTHING);
    }

    #[test]
    fn a_state_file_does_not_leave_an_unchecked_server_down() {
        let down = |it: &mut ServerState| it.operational = Operational::Stopped;
        let in_maint =
            |it: &mut ServerState| (it.operational, it.admin) = (Operational::Stopped, AdminBits(5));
        assert_eq!(reapply(["disabled", ""], in_maint, down), ["up, not down"]);
        assert_eq!(reapply(["", ""], down, down), NOTHING, "that was set");
        assert_eq!(reapply(["check disabled", "check"], in_maint, down), NOTHING, "its check will tell");
    }

    #[test]
    fn settings_of_a_state_file_give_way_to_the_line_and_a_slot_in_use_keeps_its_address() {
        let elsewhere = |it: &mut ServerState| it.address = "127.0.0.1:50009".parse().ok();
        let address = "address 127.0.0.1:50000, not 127.0.0.1:50009";
        assert_eq!(reapply(["check", "check"], as_it_is, elsewhere), [address]);
        assert_eq!(reapply(["check", "check"], elsewhere, as_it_is), NOTHING, "as after any reload");
        let plain = |it: &mut ServerState| {
            it.settings = Some(RunningSettings { check_port: Some(81), ..RunningSettings::default() });
        };
        assert_eq!(
            reapply(["check", "check ssl verify none"], as_it_is, plain),
            ["ssl, not no ssl", "no check port, not check port 81"]
        );
        let in_use = |it: &mut ServerState| {
            (it.admin, it.address) = (AdminBits(4), "127.0.0.1:50009".parse().ok());
        };
        let fresh = |it: &mut ServerState| it.admin = AdminBits(5);
        let slot = "check disabled";
        assert_eq!(
            reapply([slot, slot], in_use, fresh),
            ["address 127.0.0.1:50009, not 127.0.0.1:50000", "ready, not maint"]
        );
        assert_eq!(reapply([slot, "check"], in_use, as_it_is), NOTHING, "it is a server of its own now");
    }

    #[test]
    fn an_edited_file_sets_weights_and_states_but_no_setting_that_traffic_depends_on() {
        let edited = |line: &str, now: &dyn Fn(&mut ServerState)| {
            set_since(ChangeSource::Edit, [line, line], now, now)
        };
        let read = |it: &mut ServerState| (it.weight, it.initial_weight) = (1, 1);
        assert_eq!(edited("check weight 9", &read), ["weight 9, not 1"]);
        assert_eq!(edited("check disabled", &|it| it.admin = AdminBits(0)), ["maint, not ready"]);
        let elsewhere = |it: &mut ServerState| {
            it.address = "127.0.0.1:50009".parse().ok();
            it.settings = Some(RunningSettings { ssl: true, ..RunningSettings::default() });
        };
        assert_eq!(edited("check", &elsewhere), NOTHING);
        assert_eq!(edited("check weight 9", &|it| (it.weight, it.initial_weight) = (7, 1)), NOTHING, "set");
    }

    /// An agent that was asked before it was turned off answers afterwards, with another weight.
    #[tokio::test]
    async fn the_last_answer_of_an_agent_is_set_back() {
        let (mut weight, mut agent) = (3, "22");
        let fake = Fake::listening(100, move |line| {
            let line = line.trim();
            if line.starts_with("show info") {
                let row = format!("127.0.0.1 2 0 {weight} 3 6 {agent} 80");
                // The check is in flight during one look, and has set the weight in the next one.
                if agent == "19" {
                    (agent, weight) = ("18", 1);
                }
                return [INFO, &state(0).replace("10.0.0.1 2 0 1 3 6 18 80", &row), &stat()].concat();
            }
            match line {
                "disable agent b/s" => agent = "19",
                "set server b/s weight 3" => weight = 3,
                other => panic!("{other}"),
            }
            "\n".to_owned()
        });
        let line = "\nbackend b\n    server s 127.0.0.1:80 check agent-check agent-port 81 weight 3\n";
        let off = World::of(line).server("b/s", |it| it.checks.agent = Checking::Off);
        let states = States::set_at_runtime(&off.observation.load_balancers[0], &off.configuration);
        let done = states.reapply(&fake.socket, &off.configuration, ChangeSource::Reload).await.unwrap();
        assert_eq!(done.set, ["b/s: agent off, not on", "b/s: weight 3, not 1"]);
        assert_eq!(done.refused, NOTHING);
    }

    #[test]
    fn servers_whose_state_file_entries_differ_count_as_changed() {
        let of = |lines: &str| World::of(&format!("\nbackend mobile\n{lines}")).configuration;
        let old = of(
            "    server a 127.0.0.1:1\n    server b 127.0.0.1:2\n    server c 127.0.0.1:3\n    server e 127.0.0.1:5 agent-check agent-port 81\n",
        );
        let new = of(
            "    server a 127.0.0.1:1 backup\n    server b 127.0.0.1:4\n    server d 127.0.0.1:3\n    server e 127.0.0.1:5 agent-check agent-port 82\n",
        );
        let changed: Vec<String> = changed(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(changed, ["mobile/b", "mobile/c", "mobile/d", "mobile/e"]);
    }
}
