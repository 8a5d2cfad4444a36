//! Confirms a lane: `HAProxy` has its servers up again, and they take traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::balancers::require_known;
use super::rotation::{LOOK_EVERY, is_unproven, with_state};
use super::{Executor, StepError, whole_millis};
use crate::model::ids::{ContainerId, ServerId};
use crate::observation::{AdminState, Answer, LoadBalancerState, ServerState};
use crate::plan::LaneServer;
use crate::ports::{ContainerEngine, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::{EventKind, FirstRequest};
use crate::site::wait::{Waited, until};

/// How long a server that is up again is watched for its first request. A quiet night is not a failure.
const WATCH: Duration = Duration::from_secs(1);

/// A load balancer that has not answered a query for this long says nothing about a server.
const SILENT: Duration = Duration::from_secs(5);

/// What the polls of a lane that comes up have shown so far.
#[derive(Default)]
struct Rise {
    /// When the poll began that `HAProxy` has not answered yet.
    asked: Option<Instant>,
    /// A server that the last answer did not have in service, with its status.
    down: Option<(ServerId, String)>,
    /// Whether only agents may keep out the servers that are not in service.
    is_by_agents: bool,
    /// When every server was first in service.
    up_since: Option<Instant>,
}

impl Rise {
    /// Notes which of these servers are not in service. `own_checked` are those that only a check can prove.
    fn note<'s>(&mut self, states: impl Iterator<Item = &'s ServerState>, own_checked: &[ServerId]) {
        let is_out = |state: &&ServerState| !state.operational.is_up() || state.may_be_out_by_agent();
        let mut all_out = states.filter(is_out).peekable();
        self.down = all_out.peek().map(|it| (it.id.clone(), it.status.clone()));
        // A server that only a check can prove stays unproven in maint.
        let is_proven = |state: &ServerState| state.operational.is_up() || !own_checked.contains(&state.id);
        self.is_by_agents =
            self.down.is_some() && all_out.all(|state| state.may_be_out_by_agent() && is_proven(state));
    }

    /// Returns the server that was not in service when the limit passed. A poll that the limit cuts off does not
    /// invalidate the one before. A silent `HAProxy` says nothing about the container.
    fn known_down(self) -> Option<(ServerId, String)> {
        self.down.filter(|_| self.asked.is_none_or(|it| it.elapsed() < SILENT))
    }
}

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Waits until `HAProxy` has the servers up, including those that their own checks decide, and then for a while
    /// until each server that should take traffic does.
    pub(super) async fn confirm(&self, lane: usize) -> Result<(), StepError> {
        let begun = Instant::now();
        let stop = self.stop_at_once(lane);
        let container = self.created(lane);
        let own_checked = self.lane_of(lane).own_checked_ids();
        let limit = self.lane_of(lane).up_within(self.plan.goal.policy.ready_timeout);
        let mut rise = Rise::default();
        let waited = until(LOOK_EVERY, limit, &stop, async || {
            self.report_lane_stop(lane);
            self.look_for_rise(lane, container.as_ref(), &own_checked, &mut rise).await
        });
        let first_request = match waited.await? {
            Waited::Done(first_request) => first_request,
            // Its container answers, and the last check names the servers that are out.
            Waited::TimedOut if rise.is_by_agents => FirstRequest::NotDue,
            Waited::TimedOut => {
                return Err(match rise.known_down() {
                    Some((server, status)) if own_checked.contains(&server) => {
                        StepError::CheckNeverPassed { server, status, limit }
                    }
                    Some((server, status)) => StepError::ServerNotUp { server, status },
                    None => StepError::StateUnknown { server: self.lane_of(lane).name().clone(), limit },
                });
            }
            Waited::Stopped => {
                self.report_lane_stop(lane);
                return Err(StepError::Stopped);
            }
        };
        if let Answer::NotReady(answer) = self.check_container(lane, container.as_ref()).await? {
            return Err(StepError::StoppedAnswering { answer });
        }
        if let Some(up_since) = rise.up_since.filter(|_| !own_checked.is_empty()) {
            // The servers were out of rotation until then, and the check's time belongs to the container.
            let rose_after_ms = whole_millis(up_since.duration_since(begun));
            self.at(lane).time(|timing| timing.out_of_rotation_ms += rose_after_ms);
            self.at(lane).time(|timing| timing.boot_ms += rose_after_ms);
        }
        self.restore_restart(lane).await?;
        let servers = self.lane_of(lane).enabled_ids();
        self.emit(lane, EventKind::Confirmed { servers, first_request });
        Ok(())
    }

    /// Polls `HAProxy` once, and notes what it shows. Returns a value once every server is in service and its first
    /// request came or need not be awaited any longer.
    async fn look_for_rise(
        &self,
        lane: usize,
        container: Option<&ContainerId>,
        own_checked: &[ServerId],
        rise: &mut Rise,
    ) -> Result<Option<FirstRequest>, StepError> {
        rise.asked = Some(Instant::now());
        let seen = self.lane_states(lane).await?;
        (rise.asked, rise.down) = (None, None);
        let enabled: BTreeSet<ServerId> = self.lane_of(lane).enabled_ids().into_iter().collect();
        require_known(&seen, &enabled)?;
        let is_up_anyway = |id: &&ServerId| seen.iter().filter_map(|seen| seen.server(id)).any(is_unproven);
        let unproven: Vec<ServerId> = own_checked.iter().filter(is_up_anyway).cloned().collect();
        if !unproven.is_empty() {
            // A reload forgot what was set.
            self.set_unproven(lane, &with_state(&unproven, AdminState::Ready)).await?;
            return Ok(None);
        }
        rise.note(states_of(&seen, &enabled), own_checked);
        if rise.down.is_some() {
            if !own_checked.is_empty() {
                self.check_promise(lane)?;
                // A container that has exited need not be waited for.
                self.check_container(lane, container).await?;
            }
            return Ok(None);
        }
        let up_since = *rise.up_since.get_or_insert_with(Instant::now);
        Ok(self.first_request(lane, states_of(&seen, &enabled), up_since))
    }

    /// Returns whether the lane's servers, which are in service since `up_since`, have taken their first request;
    /// `None` while one may still come.
    fn first_request<'s>(
        &self,
        lane: usize,
        states: impl Iterator<Item = &'s ServerState>,
        up_since: Instant,
    ) -> Option<FirstRequest> {
        let mut totals: BTreeMap<&ServerId, u64> = BTreeMap::new();
        for state in states {
            *totals.entry(&state.id).or_default() += state.sessions_total;
        }
        let before = self.at(lane).sessions_before_ready.borrow();
        let is_untaken = |server: &LaneServer| {
            let before = before.get(&server.id);
            before.is_some_and(|before| totals.get(&server.id).is_none_or(|total| total <= before))
        };
        let mut takers = self.lane_of(lane).enabled().filter(|it| it.takes_traffic).peekable();
        match (takers.peek().is_none(), takers.any(is_untaken)) {
            (true, _) => Some(FirstRequest::NotDue),
            (false, false) => Some(FirstRequest::Taken),
            (false, true) if up_since.elapsed() >= WATCH => Some(FirstRequest::NotYet),
            (false, true) => None,
        }
    }
}

/// Returns the states of these servers at every load balancer.
fn states_of<'s>(
    seen: &'s [LoadBalancerState],
    servers: &BTreeSet<ServerId>,
) -> impl Iterator<Item = &'s ServerState> {
    seen.iter().flat_map(|seen| &seen.servers).filter(|it| servers.contains(&it.id))
}
