//! `drainswap drain`, `maint` and `ready`: changes of single servers by hand.

mod change;
mod report;
mod wait;

use std::collections::{BTreeMap, BTreeSet};

use super::runtime_sockets::require_admin;
use super::{App, known_server};
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::http_probe::HttpProber;
use crate::adapters::journal_file::{BackendDir, HistoryError, StoredRun};
use crate::adapters::lock_file::LockState;
use crate::app::error::{Error, nearest};
use crate::app::exit::Exit;
use crate::cfg::{Configuration, Level};
use crate::cli::{MaintFlags, Move, OnOff};
use crate::deploy::{Tracked, takeover};
use crate::model::ids::{ServerId, ServerName};
use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker, Checking, LoadBalancerState, ServerState};
use crate::plan::{Lane, LbQuorum, floor};
use crate::ports::LoadBalancer;
use crate::run::journal::SiteIdentity;
use crate::site::late;
use crate::site::observe;
use crate::topology::traffic::Balance;
use crate::topology::{self, own_check::own_check};
use change::{Applied, ServerChange};
use report::ChangeReport;

/// Servers that are moved together, with the weight that haproxy.cfg gives each of them.
type Servers = BTreeMap<ServerId, u32>;

impl App {
    /// Moves servers at all load balancers, or at none.
    pub(super) async fn move_servers(
        &self,
        state: AdminState,
        asked: &Move,
        leave: &MaintFlags,
    ) -> Result<Exit, Error> {
        let loaded = self.load_config().await?;
        let load_balancers = self.connect(&loaded, Level::Admin).await?;
        let configuration = loaded.configuration;
        let servers = match named(&configuration, &asked.server) {
            Err(error) if asked.if_exists && error.exit() == Exit::Usage => {
                self.note(&format!("nothing to do: {error}"));
                return self.print_report(&ChangeReport::default());
            }
            servers => servers?,
        };
        let _locks = if asked.dry_run {
            Vec::new()
        } else {
            require_admin(&load_balancers).await?;
            let backends = servers.keys().map(|server| server.backend.clone()).collect();
            self.lock_for_move(&backends).await?
        };
        let identity = self.site_identity(&configuration, &load_balancers);
        let load_balancers: Vec<Tracked<HaproxySocket>> =
            load_balancers.into_iter().map(Tracked::new).collect();
        let before = observe::load_balancer_states(&load_balancers, LbQuorum::All).await?;
        let acts = changes(state, asked);
        refuse_impossible(&servers, &acts, &before)?;
        self.check_unfinished_runs(&identity, &servers, &acts, asked)?;
        self.note_lost_weight(&servers, asked);
        self.note_agents(&servers, &acts, &before);
        self.check_floor(&configuration, &servers, &acts, &before, asked).await?;
        if state == AdminState::Ready {
            self.wait_ready(&configuration, &before[0], &servers, asked).await?;
        }
        if asked.dry_run {
            return self.print_report(&ChangeReport::planned(
                &servers,
                &before,
                &acts,
                (state, asked, leave),
            ));
        }
        // After the first change, an error must not say that nothing was touched.
        let unsure = |error: Error| error.after_a_move(&servers.keys().cloned().collect::<Vec<_>>());
        let mut done = Applied::default();
        if leave.drain_first {
            let drain = change::pending(&servers, &[ServerChange::State(AdminState::Drain)], &before);
            // A server in maint has already left.
            let drain = drain.into_iter().filter(|(id, _)| {
                before
                    .iter()
                    .any(|seen| seen.server(id).is_some_and(|it| it.admin.state() == AdminState::Ready))
            });
            let drain: Vec<(ServerId, ServerChange)> = drain.collect();
            let moved = change::apply_on_all(&load_balancers, &before, &drain, &mut done).await;
            self.wait_until_settled(&load_balancers).await.map_err(unsure)?;
            moved?;
            let drained = self.wait(&load_balancers, &before, AdminState::Drain, &servers, asked).await;
            drained.map_err(unsure)?;
        }
        let now = wait::states(&load_balancers).await.map_err(unsure)?;
        let mut left = change::pending(&servers, &acts, &now);
        if asked.wait {
            let is_own_checked = |id: &ServerId| is_own_checked(&configuration, &now, id);
            for (_, act) in left.iter_mut().filter(|(id, _)| is_own_checked(id)) {
                if *act == ServerChange::State(AdminState::Ready) {
                    *act = ServerChange::ReadyWhenProven;
                }
            }
        }
        let moved = change::apply_on_all(&load_balancers, &before, &left, &mut done).await;
        self.wait_until_settled(&load_balancers).await.map_err(unsure)?;
        moved?;
        for server in servers.keys() {
            self.note(&format!("{server} is in {state}"));
        }
        let ended = if leave.shutdown_sessions {
            self.end_sessions(&load_balancers, &servers).await.map_err(unsure)?
        } else {
            0
        };
        if asked.wait {
            self.wait(&load_balancers, &before, state, &servers, asked).await.map_err(unsure)?;
        }
        let after = wait::states(&load_balancers).await.map_err(unsure)?;
        self.print_report(&ChangeReport::done(&servers, &before, &after, &done, ended))
    }

    /// Waits until no unanswered command can undo the move any more.
    async fn wait_until_settled(&self, load_balancers: &[Tracked<HaproxySocket>]) -> Result<(), Error> {
        let all: Vec<&Tracked<HaproxySocket>> = load_balancers.iter().collect();
        for unsettled in all.iter().filter_map(|it| it.unsettled_note()) {
            self.note(&format!("note: {unsettled}"));
        }
        Ok(late::wait_until_settled(&all, |again| self.note(&format!("note: {again}"))).await?)
    }

    /// Notes a weight that becomes 0: HAProxy rounds a percentage of a small weight down.
    fn note_lost_weight(&self, servers: &Servers, asked: &Move) {
        let Some(weight @ Weight::Percent(1..)) = asked.weight else { return };
        let is_lost = |written: u32| written > 0 && weight.of(written) == 0;
        for (server, written) in servers.iter().filter(|(_, written)| is_lost(**written)) {
            self.note(&format!("note: {weight} of the weight {written} of {server} in haproxy.cfg is 0: it gets no new traffic. Use larger weights in haproxy.cfg"));
        }
    }

    /// Notes the agents that can undo the move: with "ready" an agent ends a drain or a maint, and with "drain" or
    /// "maint" it takes out a server that was put back.
    fn note_agents(&self, servers: &Servers, acts: &[ServerChange], seen: &[LoadBalancerState]) {
        if acts.contains(&ServerChange::Check(Checker::Agent, false)) {
            return;
        }
        let any = |id: &ServerId, holds: fn(&ServerState) -> bool| {
            seen.iter().filter_map(|seen| seen.server(id)).any(holds)
        };
        for server in leaving(servers, acts).iter().filter(|id| any(id, ServerState::asks_agent)) {
            self.note(&format!("note: the agent (agent-check) of {server} is on, and puts the server back when it reports \"ready\": --agent off turns it off, `ready --agent on` turns it on again"));
        }
        if !acts.contains(&ServerChange::State(AdminState::Ready)) {
            return;
        }
        for server in servers.keys().filter(|id| any(id, ServerState::may_be_out_by_agent)) {
            self.note(&format!("note: the agent (agent-check) of {server} is on, and may have taken it out of service: it does so again if it still reports \"drain\" or \"maint\""));
        }
    }

    /// Refuses to take out a server that an unfinished run holds, unless `--floor 0` is given: the command that
    /// finishes the run relies on where its servers are. Putting a server back repairs more than it breaks, so it is
    /// only noted.
    fn check_unfinished_runs(
        &self,
        identity: &SiteIdentity,
        servers: &Servers,
        acts: &[ServerChange],
        asked: &Move,
    ) -> Result<(), Error> {
        let is_refused = asked.floor != Some(0) && !leaving(servers, acts).is_empty();
        let left = match self.runs_with(identity, servers) {
            // A move does not need access to the state directory.
            Err(Error::History(HistoryError::Journal(_))) if asked.dry_run => Vec::new(),
            Err(error @ Error::History(HistoryError::Journal(_))) => {
                self.note(&format!("note: {error}. Whether a run is unfinished is unknown"));
                Vec::new()
            }
            // A damaged journal does not prevent putting a server back.
            Err(error) if !is_refused => {
                self.note(&format!("note: {error}"));
                Vec::new()
            }
            left => left?,
        };
        for stored in left {
            let dir = BackendDir::new(&self.settings.state_dir, &stored.run.plan.backend);
            if asked.dry_run && !matches!(dir.holder()?, LockState::Free) {
                // The run is still active; the move itself would wait for its end.
                continue;
            }
            let unfinished = if stored.run.is_of(identity) {
                self.unfinished_run(&stored)
            } else {
                self.foreign_run(&stored)
            };
            if is_refused {
                return Err(Error::MoveDuringRun { unfinished: Box::new(unfinished) });
            }
            self.note(&format!("note: {unfinished}"));
        }
        Ok(())
    }

    /// Returns the runs without a recorded end that hold one of these servers: those of this site, and those of another
    /// site on the same HAProxy. A run that ended stuck has left its servers to the operator.
    fn runs_with(&self, identity: &SiteIdentity, servers: &Servers) -> Result<Vec<StoredRun>, Error> {
        let mut left = Vec::new();
        for runs in self.every_run(identity)? {
            let touches = |stored: &&StoredRun| {
                let backends = stored.run.plan.backends();
                servers.keys().any(|server| backends.contains(&server.backend))
            };
            let has = |stored: &&StoredRun| {
                let is_same_haproxy = stored.run.site.as_ref().is_some_and(|of| of.shares_socket(identity));
                is_same_haproxy
                    && stored.run.plan.lanes.iter().flat_map(Lane::ids).any(|id| servers.contains_key(&id))
            };
            let own = runs.unfinished().into_iter().filter(touches);
            left.extend(own.chain(runs.unfinished_elsewhere().filter(has)).cloned());
        }
        left.retain(|stored| stored.run.progress.outcome.is_none());
        Ok(left)
    }

    /// Refuses to take the last server out, or to leave its traffic to servers without room for it or to one that does
    /// not answer.
    async fn check_floor(
        &self,
        configuration: &Configuration,
        servers: &Servers,
        acts: &[ServerChange],
        load_balancers: &[LoadBalancerState],
        asked: &Move,
    ) -> Result<(), Error> {
        let refused = |refusal| Error::Refused(vec![refusal]);
        let out = leaving(servers, acts);
        if out.is_empty() {
            return Ok(());
        }
        let policy = self.settings.move_policy(asked);
        let prober = HttpProber::new()?;
        let questions = topology::probes(configuration, &load_balancers[0]);
        let mut leaving = BTreeMap::new();
        for server in &out {
            let backend = &server.backend;
            let balance = Balance::written(super::known_backend(configuration, backend)?);
            let mut carriers = BTreeSet::new();
            for seen in load_balancers {
                let before = balance.forecast(seen, &BTreeSet::new());
                let forecast = floor::check_fresh(&balance, seen, &out, &BTreeSet::new(), policy.floor)
                    .map_err(refused)?;
                floor::check_room(&balance, &before, &forecast, seen, &policy).map_err(refused)?;
                self.note(&format!("traffic of {backend}: {forecast}"));
                carriers.extend(floor::takeover_servers(&before, &forecast, policy.floor).cloned());
            }
            leaving.insert(server.clone(), carriers);
        }
        takeover::require_answers(&prober, &questions, &leaving).await.map_err(refused)
    }

    /// Ends every session that the servers still hold, including those of old workers that the master socket shows.
    /// Returns their number.
    async fn end_sessions(
        &self,
        load_balancers: &[impl LoadBalancer],
        servers: &Servers,
    ) -> Result<u64, Error> {
        let ids: Vec<ServerId> = servers.keys().cloned().collect();
        let mut ended = 0;
        for load_balancer in load_balancers {
            for session in load_balancer.sessions(&ids).await? {
                load_balancer.end_session(&session).await?;
                ended += 1;
            }
        }
        if ended > 0 {
            self.note(&format!("{} shut down", crate::model::words::sessions(ended)));
        }
        Ok(ended)
    }
}

/// Returns whether the server's own check alone decides whether it serves, and it is in maint everywhere with that
/// check on.
fn is_own_checked(configuration: &Configuration, now: &[LoadBalancerState], id: &ServerId) -> bool {
    let Some(proxy) = configuration.backend(&id.backend) else { return false };
    let Some(server) = proxy.servers.iter().find(|server| server.name == id.server) else { return false };
    let decides = own_check(configuration, proxy, server).is_some_and(|check| check.tracks.is_none());
    decides
        && now
            .iter()
            .filter_map(|seen| seen.server(id))
            .all(|state| state.admin.state() == AdminState::Maint && state.checks.health == Checking::On)
}

/// Returns the servers that get no new traffic any more; at most one of each backend.
fn leaving(servers: &Servers, acts: &[ServerChange]) -> BTreeSet<ServerId> {
    let leaves = |weight: u32| acts.iter().any(|act| act.takes_out(weight));
    servers.iter().filter(|(_, weight)| leaves(**weight)).map(|(id, _)| id.clone()).collect()
}

/// Returns the one server of that name, or, for a name without a backend, the server of that name in every backend.
fn named(configuration: &Configuration, name: &ServerName) -> Result<Servers, Error> {
    if let Some(backend) = &name.backend {
        known_server(configuration, &ServerId::new(backend, &name.server))?;
    }
    let proxies = topology::with_servers(configuration)
        .filter(|proxy| name.backend.as_ref().is_none_or(|backend| *backend == proxy.name));
    let all = proxies.flat_map(|proxy| {
        proxy.servers.iter().map(|server| (ServerId::new(&proxy.name, &server.name), server.weight))
    });
    let all: Servers = all.collect();
    let found: Servers = all
        .iter()
        .filter(|(id, _)| id.server == name.server)
        .map(|(id, weight)| (id.clone(), *weight))
        .collect();
    if found.is_empty() {
        let known: BTreeSet<String> = all.into_keys().map(|id| id.server).collect();
        let known: Vec<String> = known.into_iter().collect();
        let nearest = nearest(&name.server, &known);
        return Err(Error::ServerNameNotFound { name: name.server.clone(), nearest, known });
    }
    Ok(found)
}

/// Returns the changes to make to each server, in order: checks are disabled before a server leaves and re-enabled
/// after it returns.
fn changes(state: AdminState, asked: &Move) -> Vec<ServerChange> {
    let checks = [(Checker::Health, asked.health), (Checker::Agent, asked.agent)];
    let turned = |turn: OnOff| {
        let these = checks.iter().filter(move |(_, wanted)| *wanted == Some(turn));
        these.map(move |(checker, _)| ServerChange::Check(*checker, turn == OnOff::On))
    };
    let weight = asked.weight.map(ServerChange::Weight);
    turned(OnOff::Off).chain([ServerChange::State(state)]).chain(turned(OnOff::On)).chain(weight).collect()
}

/// Refuses to turn on a check that the server's line does not have.
fn refuse_impossible(
    servers: &Servers,
    acts: &[ServerChange],
    load_balancers: &[LoadBalancerState],
) -> Result<(), Error> {
    for seen in load_balancers {
        for state in servers.keys().filter_map(|server| seen.server(server)) {
            for act in acts {
                if let ServerChange::Check(checker, true) = act
                    && state.checks.of(*checker) == Checking::Absent
                {
                    return Err(Error::NotChecked { server: state.id.clone(), checker: *checker });
                }
            }
        }
    }
    Ok(())
}
