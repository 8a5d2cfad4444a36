//! `drainswap drain`, `maint` and `ready`: changes of single servers by hand.

mod report;

use std::collections::{BTreeMap, BTreeSet};

use super::runtime_sockets::require_admin;
use super::signals::with_signals;
use super::{App, known_backend, known_server};
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::http_probe::HttpProber;
use crate::adapters::journal_file::{BackendDir, HistoryError, StoredRun};
use crate::adapters::lock_file::LockState;
use crate::app::error::{Error, nearest};
use crate::app::exit::Exit;
use crate::cfg::{Configuration, Level};
use crate::cli::{MaintFlags, Move, OnOff};
use crate::deploy::Tracked;
use crate::deploy::single_move::{MoveEvent, MoveRun};
use crate::model::ids::{ServerId, ServerName};
use crate::model::words;
use crate::observation::{AdminState, Checker, LoadBalancerState};
use crate::plan::single_move::{MoveGoal, SingleMove, build};
use crate::plan::{Lane, LbQuorum};
use crate::run::journal::SiteIdentity;
use crate::site::observe;
use crate::topology::traffic::Balance;
use crate::topology::{self, own_check::own_check};
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
        let goal = self.move_goal(&configuration, servers, (state, asked, leave));
        let _locks = if asked.dry_run {
            Vec::new()
        } else {
            require_admin(&load_balancers).await?;
            let backends = goal.servers.keys().map(|server| server.backend.clone()).collect();
            self.lock_for_move(&backends).await?
        };
        let identity = self.site_identity(&configuration, &load_balancers);
        let load_balancers: Vec<Tracked<HaproxySocket>> =
            load_balancers.into_iter().map(Tracked::new).collect();
        let before = observe::load_balancer_states(&load_balancers, LbQuorum::All).await?;
        self.check_unfinished_runs(&identity, &goal, asked.dry_run)?;
        let plan = plan(&configuration, &goal, &before)?;
        for warning in &plan.warnings {
            self.note(&format!("note: {warning}"));
        }
        for forecast in &plan.forecasts {
            self.note(&format!("traffic of {}: {forecast}", forecast.backend));
        }
        let (prober, tell) = (HttpProber::new()?, |event| self.note(&told(&event)));
        let moved = with_signals(async |stop| {
            let run = MoveRun::new(&plan, &before, &load_balancers, &prober, stop, &tell);
            run.check_takeover().await.map_err(|refusal| Error::Refused(vec![refusal]))?;
            if asked.dry_run {
                run.report_silent().await;
                return Ok(None);
            }
            Ok::<_, Error>(Some(Box::pin(run.run()).await?))
        });
        self.print_report(&match moved.await? {
            None => ChangeReport::planned(&plan, &before),
            Some(moved) => ChangeReport::done(&plan, &before, &moved),
        })
    }

    /// Returns what the command line asks for.
    fn move_goal(
        &self,
        configuration: &Configuration,
        servers: Servers,
        (state, asked, leave): (AdminState, &Move, &MaintFlags),
    ) -> MoveGoal {
        let turned = |checker, wanted: Option<OnOff>| Some((checker, wanted? == OnOff::On));
        let checks = [turned(Checker::Health, asked.health), turned(Checker::Agent, asked.agent)];
        let own_checked = servers.keys().filter(|id| is_own_checked(configuration, id)).cloned();
        MoveGoal {
            own_checked: own_checked.collect(),
            servers,
            state,
            checks: checks.into_iter().flatten().collect(),
            weight: asked.weight,
            drain_first: leave.drain_first,
            shutdown_sessions: leave.shutdown_sessions,
            wait: asked.wait,
            policy: self.settings.move_policy(asked),
        }
    }

    /// Refuses to take out a server that an unfinished run holds, unless `--floor 0` is given: the command that
    /// finishes the run relies on where its servers are. Putting a server back repairs more than it breaks, so it is
    /// only noted.
    fn check_unfinished_runs(
        &self,
        identity: &SiteIdentity,
        goal: &MoveGoal,
        is_dry_run: bool,
    ) -> Result<(), Error> {
        let is_refused = goal.policy.floor > 0 && !goal.leaving().is_empty();
        let left = match self.runs_with(identity, &goal.servers) {
            // A move does not need access to the state directory.
            Err(Error::History(HistoryError::Journal(_))) if is_dry_run => Vec::new(),
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
            let dir = BackendDir::new(&self.settings.state_dir, &stored.run.plan.goal.backend);
            if is_dry_run && !matches!(dir.holder()?, LockState::Free) {
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
}

/// Plans a move.
fn plan(
    configuration: &Configuration,
    goal: &MoveGoal,
    before: &[LoadBalancerState],
) -> Result<SingleMove, Error> {
    let backends: BTreeSet<&str> = goal.servers.keys().map(|server| server.backend.as_str()).collect();
    let balances = backends.into_iter().map(|name| Ok(Balance::written(known_backend(configuration, name)?)));
    let balances = balances.collect::<Result<Vec<_>, Error>>()?;
    Ok(build(goal, &balances, topology::probes(configuration, &before[0]), before)?)
}

/// Returns the text of an event for the operator.
fn told(event: &MoveEvent) -> String {
    match event {
        MoveEvent::Silent { server, answer } => {
            format!("note: {server} does not answer: {answer}; clients are sent there anyway")
        }
        MoveEvent::OldWorkersUnseen => {
            "note: without a master socket (--master-socket), sessions in HAProxy's old workers cannot be counted"
                .to_owned()
        }
        MoveEvent::Late { message } => format!("note: {message}"),
        MoveEvent::HaproxyReloaded { was, is } => {
            format!("note: HAProxy was reloaded (process {was} is now {is}). drainswap sets the states that it lost again")
        }
        MoveEvent::IsIn { server, state } => format!("{server} is in {state}"),
        MoveEvent::SessionsLeft { server, sessions } => {
            format!("{server}: {} left", words::sessions(*sessions))
        }
        MoveEvent::SessionsShutDown { sessions } => format!("{} shut down", words::sessions(*sessions)),
        MoveEvent::Over { server, state: AdminState::Ready } => format!("{server} is up"),
        MoveEvent::Over { server, state: AdminState::Drain | AdminState::Maint } => {
            format!("{server} has no session left")
        }
    }
}

/// Returns whether the server's own check alone decides whether it serves.
fn is_own_checked(configuration: &Configuration, id: &ServerId) -> bool {
    let Some(proxy) = configuration.backend(&id.backend) else { return false };
    let Some(server) = proxy.servers.iter().find(|server| server.name == id.server) else { return false };
    own_check(configuration, proxy, server).is_some_and(|check| check.tracks.is_none())
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
