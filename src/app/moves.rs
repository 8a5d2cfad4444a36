//! `drainswap drain`, `maint` and `ready`: changes of single servers by hand.

mod act;
mod told;
mod wait;

use std::collections::{BTreeMap, BTreeSet};

use super::look::require_admin;
use super::{App, known_server};
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::http_probe::HttpProber;
use crate::adapters::journal_file::{BackendDir, HistoryError, StoredRun};
use crate::adapters::lock_file::HeldBy;
use crate::cfg::Configuration;
use crate::cli::{Leave, Move, Turn};
use crate::deploy::{Tracked, carriers, late};
use crate::error::{Error, nearest};
use crate::exit::Exit;
use crate::ids::{ServerId, ServerName};
use crate::journal::Site;
use crate::look;
use crate::observation::{AdminState, Checker, Checking, LoadBalancerState, ServerState};
use crate::plan::{Lane, LbQuorum, floor};
use crate::ports::LoadBalancer;
use crate::topology::traffic::Balance;
use crate::topology::{self, own_check::own_check};
use crate::weight::Weight;
use act::{Act, Done};
use told::Moved;

/// Servers that are moved together, with the weight that haproxy.cfg gives each of them.
type Servers = BTreeMap<ServerId, u32>;

impl App {
    /// Moves servers at all load balancers, or at none.
    pub(super) async fn single(&self, state: AdminState, asked: &Move, leave: &Leave) -> Result<Exit, Error> {
        let (configuration, load_balancers) = self.load_balancers().await?;
        let servers = match named(&configuration, &asked.server) {
            Err(error) if asked.if_exists && error.exit() == Exit::Usage => {
                self.say(&format!("nothing to do: {error}"));
                return self.moved(&Moved::default());
            }
            servers => servers?,
        };
        let _locks = if asked.dry_run {
            Vec::new()
        } else {
            require_admin(&load_balancers).await?;
            let backends = servers.keys().map(|server| server.backend.clone()).collect();
            self.lock_all(&backends).await?
        };
        let site = self.site(&configuration, &load_balancers);
        let load_balancers: Vec<Tracked<HaproxySocket>> =
            load_balancers.into_iter().map(Tracked::new).collect();
        let before = look::states(&load_balancers, LbQuorum::All).await?;
        let acts = acts(state, asked);
        refuse_impossible(&servers, &acts, &before)?;
        self.heed_unfinished(&site, &servers, &acts, asked)?;
        self.note_lost_weight(&servers, asked);
        self.note_agents(&servers, &acts, &before);
        self.guard(&configuration, &servers, &acts, &before, asked).await?;
        if state == AdminState::Ready {
            self.meets_somebody(&configuration, &before[0], &servers, asked).await?;
        }
        if asked.dry_run {
            return self.moved(&Moved::planned(&servers, &before, &acts, (state, asked, leave)));
        }
        // After the first change, an error must not say that nothing was touched.
        let unsure = |error: Error| error.after_a_move(&servers.keys().cloned().collect::<Vec<_>>());
        let mut done = Done::default();
        if leave.drain_first {
            let drain = act::undone(&servers, &[Act::State(AdminState::Drain)], &before);
            // A server in maint has already left.
            let drain = drain.into_iter().filter(|(id, _)| {
                before
                    .iter()
                    .any(|seen| seen.server(id).is_some_and(|it| it.admin.state() == AdminState::Ready))
            });
            let drain: Vec<(ServerId, Act)> = drain.collect();
            let moved = act::everywhere(&load_balancers, &before, &drain, &mut done).await;
            self.settle(&load_balancers).await.map_err(unsure)?;
            moved?;
            let drained = self.wait(&load_balancers, &before, AdminState::Drain, &servers, asked).await;
            drained.map_err(unsure)?;
        }
        let now = wait::states(&load_balancers).await.map_err(unsure)?;
        let mut left = act::undone(&servers, &acts, &now);
        if asked.wait {
            let is_own_checked = |id: &ServerId| is_own_checked(&configuration, &now, id);
            for (_, act) in left.iter_mut().filter(|(id, _)| is_own_checked(id)) {
                if *act == Act::State(AdminState::Ready) {
                    *act = Act::ReadyWhenProven;
                }
            }
        }
        let moved = act::everywhere(&load_balancers, &before, &left, &mut done).await;
        self.settle(&load_balancers).await.map_err(unsure)?;
        moved?;
        for server in servers.keys() {
            self.say(&format!("{server} is in {state}"));
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
        self.moved(&Moved::done(&servers, &before, &after, &done, ended))
    }

    /// Waits until no unanswered command can undo the move any more.
    async fn settle(&self, load_balancers: &[Tracked<HaproxySocket>]) -> Result<(), Error> {
        let all: Vec<&Tracked<HaproxySocket>> = load_balancers.iter().collect();
        for unsettled in all.iter().filter_map(|it| it.unsettled_note()) {
            self.say(&format!("note: {unsettled}"));
        }
        Ok(late::settle(&all, |again| self.say(&format!("note: {again}"))).await?)
    }

    /// Notes a weight that becomes 0: HAProxy rounds a percentage of a small weight down.
    fn note_lost_weight(&self, servers: &Servers, asked: &Move) {
        let Some(weight @ Weight::Percent(1..)) = asked.weight else { return };
        let is_lost = |written: u32| written > 0 && weight.of(written) == 0;
        for (server, written) in servers.iter().filter(|(_, written)| is_lost(**written)) {
            self.say(&format!("note: {weight} of the weight {written} of {server} in haproxy.cfg is 0: it gets no new traffic. Use larger weights in haproxy.cfg"));
        }
    }

    /// Notes the agents that can undo the move: with "ready" an agent ends a drain or a maint, and with "drain" or
    /// "maint" it takes out a server that was put back.
    fn note_agents(&self, servers: &Servers, acts: &[Act], seen: &[LoadBalancerState]) {
        if acts.contains(&Act::Check(Checker::Agent, false)) {
            return;
        }
        let any = |id: &ServerId, holds: fn(&ServerState) -> bool| {
            seen.iter().filter_map(|seen| seen.server(id)).any(holds)
        };
        for server in leaving(servers, acts).iter().filter(|id| any(id, ServerState::asks_agent)) {
            self.say(&format!("note: the agent (agent-check) of {server} is on, and puts the server back when it reports \"ready\": --agent off turns it off, `ready --agent on` turns it on again"));
        }
        if !acts.contains(&Act::State(AdminState::Ready)) {
            return;
        }
        for server in servers.keys().filter(|id| any(id, ServerState::may_be_out_by_agent)) {
            self.say(&format!("note: the agent (agent-check) of {server} is on, and may have taken it out of service: it does so again if it still reports \"drain\" or \"maint\""));
        }
    }

    /// Refuses to take out a server that an unfinished run holds, unless `--floor 0` is given: the command that
    /// finishes the run relies on where its servers are. Putting a server back repairs more than it breaks, so it is
    /// only noted.
    fn heed_unfinished(
        &self,
        site: &Site,
        servers: &Servers,
        acts: &[Act],
        asked: &Move,
    ) -> Result<(), Error> {
        let is_refused = asked.floor != Some(0) && !leaving(servers, acts).is_empty();
        let left = match self.runs_with(site, servers) {
            // A dry run does not need access to the state directory.
            Err(Error::History(HistoryError::Journal(_))) if asked.dry_run => Vec::new(),
            // A damaged journal does not prevent putting a server back.
            Err(error) if !is_refused => {
                self.say(&format!("note: {error}"));
                Vec::new()
            }
            left => left?,
        };
        for stored in left {
            let dir = BackendDir::new(&self.settings.state_dir, &stored.run.plan.backend);
            if asked.dry_run && !matches!(dir.holder()?, HeldBy::Nobody) {
                // The run is still active; the move itself would wait for its end.
                continue;
            }
            let unfinished =
                if stored.run.is_of(site) { self.unfinished_run(&stored) } else { self.foreign_run(&stored) };
            if is_refused {
                return Err(Error::MoveOverRun { unfinished: Box::new(unfinished) });
            }
            self.say(&format!("note: {unfinished}"));
        }
        Ok(())
    }

    /// Returns the runs without a recorded end that hold one of these servers: those of this site, and those of another
    /// site on the same HAProxy. A run that ended stuck has left its servers to the operator.
    fn runs_with(&self, site: &Site, servers: &Servers) -> Result<Vec<StoredRun>, Error> {
        let mut left = Vec::new();
        for runs in self.every_run(site)? {
            let touches = |stored: &&StoredRun| {
                let backends = stored.run.plan.backends();
                servers.keys().any(|server| backends.contains(&server.backend))
            };
            let has = |stored: &&StoredRun| {
                let is_same_haproxy = stored.run.site.as_ref().is_some_and(|of| of.shares_socket(site));
                is_same_haproxy
                    && stored.run.plan.lanes.iter().flat_map(Lane::ids).any(|id| servers.contains_key(&id))
            };
            let own = runs.unfinished().into_iter().filter(touches);
            left.extend(own.chain(runs.unfinished_elsewhere().filter(has)).cloned());
        }
        left.retain(|stored| stored.run.progress.outcome.is_none());
        Ok(left)
    }

    /// Refuses to take the last server out, or to leave its traffic to one that does not answer.
    async fn guard(
        &self,
        configuration: &Configuration,
        servers: &Servers,
        acts: &[Act],
        load_balancers: &[LoadBalancerState],
        asked: &Move,
    ) -> Result<(), Error> {
        let refused = |refusal| Error::Refused(vec![refusal]);
        let out = leaving(servers, acts);
        if out.is_empty() {
            return Ok(());
        }
        let floor = self.settings.floor(asked.floor);
        let prober = HttpProber::new()?;
        let questions = topology::probes(configuration, &load_balancers[0]);
        let mut leaving = BTreeMap::new();
        for server in &out {
            let backend = &server.backend;
            let balance = Balance::written(super::known_backend(configuration, backend)?);
            let mut carriers = BTreeSet::new();
            for seen in load_balancers {
                let before = balance.forecast(seen, &BTreeSet::new());
                let forecast =
                    floor::check_fresh(&balance, seen, &out, &BTreeSet::new(), floor).map_err(refused)?;
                self.say(&format!("traffic of {backend}: {forecast}"));
                carriers.extend(floor::carriers(&before, &forecast, floor).cloned());
            }
            leaving.insert(server.clone(), carriers);
        }
        carriers::answer(&prober, &questions, &leaving).await.map_err(refused)
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
            self.say(&format!("{} shut down", crate::outcome::sessions(ended)));
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
fn leaving(servers: &Servers, acts: &[Act]) -> BTreeSet<ServerId> {
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
        return Err(Error::NoServerOfThatName { name: name.server.clone(), nearest, known });
    }
    Ok(found)
}

/// Returns the changes to make to each server, in order: checks are disabled before a server leaves and re-enabled
/// after it returns.
fn acts(state: AdminState, asked: &Move) -> Vec<Act> {
    let checks = [(Checker::Health, asked.health), (Checker::Agent, asked.agent)];
    let turned = |turn: Turn| {
        let these = checks.iter().filter(move |(_, wanted)| *wanted == Some(turn));
        these.map(move |(checker, _)| Act::Check(*checker, turn == Turn::On))
    };
    let weight = asked.weight.map(Act::Weight);
    turned(Turn::Off).chain([Act::State(state)]).chain(turned(Turn::On)).chain(weight).collect()
}

/// Refuses to turn on a check that the server's line does not have.
fn refuse_impossible(
    servers: &Servers,
    acts: &[Act],
    load_balancers: &[LoadBalancerState],
) -> Result<(), Error> {
    for seen in load_balancers {
        for state in servers.keys().filter_map(|server| seen.server(server)) {
            for act in acts {
                if let Act::Check(checker, true) = act
                    && state.checks.of(*checker) == Checking::Absent
                {
                    return Err(Error::NotChecked { server: state.id.clone(), checker: *checker });
                }
            }
        }
    }
    Ok(())
}
