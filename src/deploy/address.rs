//! Proves that a container has its servers' addresses, and updates servers whose host name resolves to a new one.

use std::borrow::Cow;
use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::balancers::BalancerStates;
use super::rotation::LOOK_EVERY;
use super::{Executor, StepError};
use crate::model::ids::{ContainerId, ServerId};
use crate::model::probe::Probe;
use crate::observation::{AdminState, Container, ContainerState, ServerState};
use crate::plan::LaneServer;
use crate::plan::place::ContainerPlace;
use crate::ports::{ContainerEngine, EngineError, Hooks, Journal, LoadBalancer, Prober, WallClock};
use crate::run::event::EventKind;
use crate::site::wait::{OUTAGE, Waited, until};

impl<L: LoadBalancer, E: ContainerEngine, P: Prober, C: WallClock, H: Hooks, J: Journal>
    Executor<'_, L, E, P, C, H, J>
{
    /// Fails if a running container lacks the address of one of the lane's servers, according to the engine. Remembers
    /// the new address of each server whose line has a host name.
    pub(super) async fn check_addresses(
        &self,
        lane: usize,
        container: Option<&ContainerId>,
    ) -> Result<(), StepError> {
        let Some((id, (replacement, engine))) = container.zip(self.at(lane).swap) else { return Ok(()) };
        let container = match engine.container(id).await {
            Ok(container) if container.state == ContainerState::Running => container,
            // A later step reports why it does not run.
            Ok(_) | Err(EngineError::Refused { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let plan = self.plan;
        for server in &plan.lanes[lane].servers {
            match server.place_of(&container, replacement.old.as_ref()) {
                ContainerPlace::AtAddress => {}
                ContainerPlace::ByHostName(address) => self.at(lane).send_to(server.id.clone(), address),
                ContainerPlace::Elsewhere => return Err(wrong_address(server, &container)),
            }
        }
        Ok(())
    }

    /// Returns the probe, directed at the address that the server's container has now.
    pub(super) fn probe_of<'p>(&self, lane: usize, server: &LaneServer, probe: &'p Probe) -> Cow<'p, Probe> {
        let sent_to = self.at(lane).sent_to.borrow().get(&server.id).copied().zip(server.address);
        match sent_to.filter(|(_, before)| before.ip() == probe.address.ip()) {
            Some((now, _)) => {
                let address = SocketAddr::new(now.ip(), probe.address.port());
                Cow::Owned(Probe { address, ..probe.clone() })
            }
            None => Cow::Borrowed(probe),
        }
    }

    /// Points the lane's servers whose lines have a host name at the address that their container has now. Sets the
    /// address only in maint and without sessions. With `resolvers`, `HAProxy` sets it itself, and this function waits
    /// for that.
    pub(super) async fn update_addresses(&self, lane: usize) -> Result<(), StepError> {
        let plan = self.plan;
        for server in &plan.lanes[lane].servers {
            let Some(address) = self.at(lane).sent_to.borrow().get(&server.id).copied() else { continue };
            let Some(name) = &server.host_name else { continue };
            let limit = if name.is_resolved { plan.goal.policy.ready_timeout } else { OUTAGE };
            let stop = CancellationToken::new();
            let waited = until(LOOK_EVERY, limit, &stop, async || {
                let seen = BalancerStates { all: self.lane_states(lane).await?, is_new: false };
                let states = seen.server(&server.id, self.is_undoing(lane))?;
                let is_there = states.iter().all(|state| state.address == Some(address));
                let may_be_set = !name.is_resolved && is_out(&seen, &states);
                Ok::<_, StepError>((is_there || may_be_set).then_some(is_there))
            });
            match waited.await? {
                Waited::Done(true) => continue,
                Waited::Done(false) => {}
                Waited::TimedOut | Waited::Stopped => {
                    return Err(StepError::AddressNotUpdated { server: server.id.clone(), address, limit });
                }
            }
            self.on_all(lane, async |it| it.set_address(&server.id, address).await).await?;
            let message = format!(
                "HAProxy sends {} to {address} now, because its container has a new address. A reload resolves {} again and must get that address",
                server.id, name.name
            );
            self.emit(lane, EventKind::Warned { message });
        }
        Ok(())
    }
}

/// Returns whether a server is in maint at every load balancer and holds no session.
fn is_out(seen: &BalancerStates, states: &[&ServerState]) -> bool {
    let is_idle = |state: &&ServerState| state.admin.state() == AdminState::Maint && state.sessions == 0;
    let servers: Vec<ServerId> = states.iter().map(|state| state.id.clone()).collect();
    states.iter().all(is_idle) && seen.all.iter().all(|it| it.sessions_in_old_workers(&servers) == 0)
}

fn wrong_address(server: &LaneServer, container: &Container) -> StepError {
    let ports = container.published.iter().map(|it| SocketAddr::new(it.ip, it.port).to_string());
    let own = container.networks.iter().flat_map(|it| &it.addresses).map(ToString::to_string);
    let has: Vec<String> = ports.chain(own).collect();
    StepError::WrongAddress {
        server: server.id.clone(),
        container: container.name.clone(),
        address: server.address,
        has: if has.is_empty() { "none".to_owned() } else { has.join(", ") },
    }
}
