//! Waits for the effect of a move: the end of the last session, or a server that answers and is up.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{App, Servers};
use crate::adapters::http_probe::HttpProber;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::app::signals::with_signals;
use crate::cfg::Configuration;
use crate::cli::Move;
use crate::model::ids::ServerId;
use crate::model::probe::{Probe, distinct};
use crate::model::words::sessions;
use crate::observation::{AdminState, Answer, LoadBalancerState, ServerState};
use crate::plan::LbQuorum;
use crate::ports::{LoadBalancer, Prober};
use crate::site::idle::{IdleTracker, SETTLE};
use crate::site::observe;
use crate::site::wait::{OUTAGE, Waited, retry, until};
use crate::topology;

const LOOK_EVERY: Duration = Duration::from_millis(50);

impl App {
    /// Probes the servers before clients are sent to them. With `--wait`, waits until they answer.
    pub(super) async fn wait_ready(
        &self,
        configuration: &Configuration,
        seen: &LoadBalancerState,
        servers: &Servers,
        asked: &Move,
    ) -> Result<(), Error> {
        let prober = HttpProber::new()?;
        let mut questions = topology::probes(configuration, seen);
        questions.retain(|(server, _)| servers.contains_key(server));
        for probe in distinct(questions.iter().map(|(_, probe)| probe)) {
            let same = questions.iter().filter(|(_, its)| its == probe).map(|(server, _)| server);
            self.wait_probe_ready(&prober, probe, seen, &same.collect::<Vec<_>>(), asked).await?;
        }
        Ok(())
    }

    async fn wait_probe_ready(
        &self,
        prober: &HttpProber,
        probe: &Probe,
        seen: &LoadBalancerState,
        servers: &[&ServerId],
        asked: &Move,
    ) -> Result<(), Error> {
        let limit = self.settings.drain_timeout(asked.drain_timeout);
        let mut last: Answer = prober.probe(probe).await;
        if !asked.wait || asked.dry_run {
            for server in servers.iter().filter(|_| !last.is_ready()) {
                let detail = last.detail();
                self.note(&format!(
                    "note: {server} does not answer: {detail}; clients are sent there anyway"
                ));
            }
            return Ok(());
        }
        let never = CancellationToken::new();
        let answers = until(LOOK_EVERY, limit, &never, async || {
            if !last.is_ready() {
                last = prober.probe(probe).await;
            }
            Ok::<_, Error>(last.is_ready().then_some(()))
        });
        match answers.await? {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut | Waited::Stopped => Err(Error::MoveTimedOut {
                server: servers[0].clone(),
                what: format!("did not answer: {}", last.detail()),
                seconds: limit.as_secs(),
                state: seen.server(servers[0]).map_or_else(String::new, |it| it.admin.state().to_string()),
            }),
        }
    }

    /// Waits until the move has taken effect on all servers.
    pub(super) async fn wait(
        &self,
        load_balancers: &[impl LoadBalancer],
        before: &[LoadBalancerState],
        state: AdminState,
        servers: &Servers,
        asked: &Move,
    ) -> Result<(), Error> {
        let limit = self.settings.drain_timeout(asked.drain_timeout);
        if state != AdminState::Ready && before.iter().any(|seen| seen.old_workers.is_none()) {
            self.note(
                "note: without a master socket (--master-socket), sessions in HAProxy's old workers cannot be counted",
            );
        }
        let mut pending: BTreeMap<&ServerId, Pending> =
            servers.keys().map(|server| (server, Pending::default())).collect();
        let mut look = async || {
            let seen = states(load_balancers).await?;
            let mut is_so = true;
            for (server, pending) in &mut pending {
                let now = joined(&seen, server);
                if state != AdminState::Ready && is_reverted(&seen, before, server) {
                    let has_agent =
                        seen.iter().filter_map(|seen| seen.server(server)).any(ServerState::asks_agent);
                    return Err(Error::MoveReverted { server: (*server).clone(), has_agent });
                }
                pending.is_over = now.as_ref().is_some_and(|now| match state {
                    AdminState::Ready => now.operational.is_up() && !now.may_be_out_by_agent(),
                    AdminState::Drain | AdminState::Maint => {
                        pending.idle.update(now.sessions, now.sessions_total, SETTLE)
                    }
                });
                if let Some((now, before)) = now.as_ref().zip(pending.last.as_ref())
                    && state != AdminState::Ready
                    && now.sessions != before.sessions
                {
                    self.note(&format!("{server}: {} left", sessions(now.sessions)));
                }
                pending.last = now;
                is_so &= pending.is_over;
            }
            Ok::<_, Error>(is_so.then_some(()))
        };
        let waited = with_signals(async |stop| until(LOOK_EVERY, limit, &stop.asked, &mut look).await).await;
        let waits = pending.into_iter().find(|(_, pending)| !pending.is_over);
        match (waited?, waits) {
            (Waited::Done(()), _) | (_, None) => {
                let is = if state == AdminState::Ready { "is up" } else { "has no session left" };
                for server in servers.keys() {
                    self.note(&format!("{server} {is}"));
                }
                Ok(())
            }
            (Waited::TimedOut, Some((server, pending))) => Err(Error::MoveTimedOut {
                server: server.clone(),
                what: pending.last.as_ref().map_or_else(String::new, |last| unfinished(state, last)),
                seconds: limit.as_secs(),
                state: pending.last.map_or(state, |last| last.admin.state()).to_string(),
            }),
            (Waited::Stopped, Some((server, _))) => {
                Err(Error::MoveStopped { server: server.clone(), state: state.to_string() })
            }
        }
    }
}

/// Returns the state at every load balancer. Waits for one that is being restarted.
pub(super) async fn states(load_balancers: &[impl LoadBalancer]) -> Result<Vec<LoadBalancerState>, Error> {
    let is_away = |error: &Error| error.exit() == Exit::Unreachable;
    retry(LOOK_EVERY, OUTAGE, is_away, async || {
        Ok(observe::load_balancer_states(load_balancers, LbQuorum::All).await?)
    })
    .await
}

/// A server whose move has not taken effect yet.
#[derive(Default)]
struct Pending {
    last: Option<ServerState>,
    idle: IdleTracker,
    is_over: bool,
}

/// Returns whether the move was undone: by another command or an agent, or by a reload whose old worker cannot be seen.
fn is_reverted(seen: &[LoadBalancerState], before: &[LoadBalancerState], server: &ServerId) -> bool {
    seen.iter().any(|now| {
        let is_ready = now.server(server).is_some_and(|it| it.admin.state() == AdminState::Ready);
        let was = before.iter().find(|was| was.name == now.name);
        is_ready || now.old_workers.is_none() && was.is_some_and(|was| was.pid != now.pid)
    })
}

/// Returns the server's state with the sessions of all load balancers and all workers added up.
fn joined(seen: &[LoadBalancerState], server: &ServerId) -> Option<ServerState> {
    let old: u64 = seen.iter().map(|seen| seen.sessions_in_old_workers(std::slice::from_ref(server))).sum();
    let all = LoadBalancerState::joined(seen, server)?;
    Some(ServerState { sessions: all.sessions + old, ..all })
}

fn unfinished(state: AdminState, last: &ServerState) -> String {
    match state {
        AdminState::Ready if last.may_be_out_by_agent() => {
            format!("was in {} again, perhaps because of its agent (agent-check)", last.admin.state())
        }
        AdminState::Ready => format!("did not come up ({})", last.status),
        AdminState::Drain | AdminState::Maint => format!("still had {}", sessions(last.sessions)),
    }
}
