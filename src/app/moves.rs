//! drain, maint, ready: the single moves, for a person.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::look::{SystemClock, require_admin};
use super::{App, known_server};
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::http_probe::HttpProber;
use crate::adapters::journal_file::BackendDir;
use crate::cfg::Configuration;
use crate::cli::Move;
use crate::deploy::idle::{Idle, SETTLE};
use crate::deploy::wait::{Waited, until};
use crate::error::Error;
use crate::exit::Exit;
use crate::ids::ServerId;
use crate::look;
use crate::observation::{AdminState, LoadBalancerState, ServerState};
use crate::outcome::sessions;
use crate::plan::{LbQuorum, floor};
use crate::ports::{LoadBalancer, Prober, WallClock};
use crate::topology;
use crate::topology::traffic::Balance;

const LOOK_EVERY: Duration = Duration::from_millis(50);

impl App {
    pub(super) async fn single(&self, state: AdminState, it: &Move) -> Result<Exit, Error> {
        let (configuration, load_balancers) = self.load_balancers().await?;
        known_server(&configuration, &it.server)?;
        require_admin(&load_balancers).await?;
        let since = SystemClock.now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        let _lock =
            BackendDir::new(&self.settings.state_dir, &it.server.backend).lock(&it.server.backend, &since)?;
        let seen = look::states(&load_balancers, LbQuorum::All).await?;
        if state != AdminState::Ready {
            self.guard(&configuration, &seen, it)?;
        }
        if state == AdminState::Ready {
            self.meets_somebody(&configuration, &seen, it).await?;
        }
        set_everywhere(&load_balancers, &seen, &it.server, state).await?;
        self.say(&format!("{} is in {state}", it.server))?;
        if it.wait {
            self.wait(&load_balancers, &seen, state, it).await?;
        }
        Ok(Exit::Done)
    }

    /// Refuses to take the last server away.
    fn guard(
        &self,
        configuration: &Configuration,
        load_balancers: &[LoadBalancerState],
        it: &Move,
    ) -> Result<(), Error> {
        let proxy = super::known_backend(configuration, &it.server.backend)?;
        let balance = Balance::written(proxy);
        let out = BTreeSet::from([it.server.clone()]);
        let floor = self.settings.floor(it.floor);
        for seen in load_balancers {
            let forecast = floor::check_fresh(&balance, seen, &out, floor)
                .map_err(|refusal| Error::Refused(vec![refusal]))?;
            self.say(&format!("traffic of {}: {forecast}", it.server.backend))?;
        }
        Ok(())
    }

    /// Whoever is sent to the server from now on should meet somebody: with `--wait` it is waited for until it answers.
    async fn meets_somebody(
        &self,
        configuration: &Configuration,
        seen: &[LoadBalancerState],
        it: &Move,
    ) -> Result<(), Error> {
        let probe = topology::probes(configuration, &seen[0]).into_iter().find(|(id, _)| *id == it.server);
        let Some((_, probe)) = probe else { return Ok(()) };
        let (prober, limit) = (HttpProber::new()?, self.settings.drain_timeout(it.drain_timeout));
        let mut last = prober.probe(&probe).await;
        if !it.wait {
            if !last.is_ready() {
                self.say(&format!(
                    "note: {} does not answer: {}; clients are sent there all the same",
                    it.server,
                    last.detail()
                ))?;
            }
            return Ok(());
        }
        let nobody_stops_it = CancellationToken::new();
        let answers = until(LOOK_EVERY, limit, &nobody_stops_it, async || {
            if !last.is_ready() {
                last = prober.probe(&probe).await;
            }
            Ok::<_, Error>(last.is_ready().then_some(()))
        });
        match answers.await? {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut | Waited::Stopped => Err(Error::MoveTimedOut {
                server: it.server.clone(),
                what: format!("did not answer: {}", last.detail()),
                seconds: limit.as_secs(),
                state: seen[0].server(&it.server).map_or_else(String::new, |it| it.admin.state().to_string()),
            }),
        }
    }

    async fn wait(
        &self,
        load_balancers: &[HaproxySocket],
        before: &[LoadBalancerState],
        state: AdminState,
        it: &Move,
    ) -> Result<(), Error> {
        let limit = self.settings.drain_timeout(it.drain_timeout);
        let stop = CancellationToken::new();
        let ctrl_c = tokio::spawn({
            let stop = stop.clone();
            async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    stop.cancel();
                }
            }
        });
        if state != AdminState::Ready && before.iter().any(|seen| seen.old_workers.is_none()) {
            self.say(
                "note: what HAProxy's old workers hold after a reload cannot be seen (--master-socket)",
            )?;
        }
        let (mut last, mut idle): (Option<ServerState>, _) = (None, Idle::default());
        let waited = until(LOOK_EVERY, limit, &stop, async || {
            let seen = look::states(load_balancers, LbQuorum::All).await?;
            if state != AdminState::Ready && is_undone(&seen, before, &it.server) {
                return Err(Error::MoveUndone { server: it.server.clone() });
            }
            let now = joined(&seen, &it.server);
            let is_so = now.as_ref().is_some_and(|now| match state {
                AdminState::Ready => now.operational.is_up(),
                AdminState::Drain | AdminState::Maint => idle.holds(now.sessions, now.sessions_total, SETTLE),
            });
            if let Some((now, before)) = now.as_ref().zip(last.as_ref())
                && state != AdminState::Ready
                && now.sessions != before.sessions
            {
                self.say(&format!("{}: {} left", it.server, sessions(now.sessions))).ok();
            }
            last = now;
            Ok::<_, Error>(is_so.then_some(()))
        });
        let waited = waited.await;
        ctrl_c.abort();
        match waited? {
            Waited::Done(()) if state == AdminState::Ready => self.say(&format!("{} is up", it.server)),
            Waited::Done(()) => self.say(&format!("{} has no session left", it.server)),
            Waited::TimedOut => Err(Error::MoveTimedOut {
                server: it.server.clone(),
                what: last.map_or_else(String::new, |last| unfinished(state, &last)),
                seconds: limit.as_secs(),
                state: state.to_string(),
            }),
            Waited::Stopped => {
                Err(Error::MoveStopped { server: it.server.clone(), state: state.to_string() })
            }
        }
    }
}

/// Sets a server's state at all load balancers, or leaves it at all of them as it was.
async fn set_everywhere(
    load_balancers: &[HaproxySocket],
    before: &[LoadBalancerState],
    server: &ServerId,
    state: AdminState,
) -> Result<(), Error> {
    for (index, load_balancer) in load_balancers.iter().enumerate() {
        let Err(failure) = load_balancer.set_admin_state(server, state).await else { continue };
        let mut left = Vec::new();
        // The one that failed may have taken it, and its answer was lost.
        for (load_balancer, before) in load_balancers.iter().zip(before).take(index + 1) {
            let Some(was) = before.server(server).map(|before| before.admin.state()) else { continue };
            if load_balancer.set_admin_state(server, was).await.is_err() {
                left.push(load_balancer.name());
            }
        }
        let failure = failure.at(load_balancer.name(), load_balancers.len());
        if left.is_empty() {
            return Err(failure.into());
        }
        return Err(Error::MoveHalfDone { server: server.clone(), left, failure });
    }
    Ok(())
}

/// Whether somebody else, or a reload whose old worker nobody sees, has taken the move back.
fn is_undone(seen: &[LoadBalancerState], before: &[LoadBalancerState], server: &ServerId) -> bool {
    seen.iter().any(|now| {
        let is_ready = now.server(server).is_some_and(|it| it.admin.state() == AdminState::Ready);
        let was = before.iter().find(|was| was.name == now.name);
        is_ready || now.old_workers.is_none() && was.is_some_and(|was| was.pid != now.pid)
    })
}

/// The server on all load balancers and in all workers together.
fn joined(seen: &[LoadBalancerState], server: &ServerId) -> Option<ServerState> {
    let old: u64 = seen.iter().map(|seen| seen.sessions_in_old_workers(std::slice::from_ref(server))).sum();
    let all = LoadBalancerState::joined(seen, server)?;
    Some(ServerState { sessions: all.sessions + old, ..all })
}

fn unfinished(state: AdminState, last: &ServerState) -> String {
    match state {
        AdminState::Ready => format!("did not come up ({})", last.status),
        AdminState::Drain | AdminState::Maint => format!("still had {}", sessions(last.sessions)),
    }
}
