//! What was set at runtime: a reload forgets it, so it is set again.

use crate::adapters::haproxy::HaproxySocket;
use crate::cfg::{Configuration, Server};
use crate::error::Error;
use crate::ids::ServerId;
use crate::observation::{AdminState, LoadBalancerState};
use crate::ports::LoadBalancer;
use crate::weight::Weight;

/// The servers whose state or weight is not what the configuration says.
pub(super) struct States(Vec<State>);

struct State {
    server: ServerId,
    admin: Option<AdminState>,
    weight: Option<u32>,
}

fn configured(server: &Server) -> AdminState {
    if server.disabled { AdminState::Maint } else { AdminState::Ready }
}

fn find<'c>(configuration: &'c Configuration, id: &ServerId) -> Option<&'c Server> {
    configuration.backend(&id.backend)?.servers.iter().find(|server| server.name == id.server)
}

impl States {
    /// What somebody set since HAProxy read this configuration.
    pub fn set_at_runtime(seen: &LoadBalancerState, configuration: &Configuration) -> Self {
        let states = seen.servers.iter().filter_map(|now| {
            let server = find(configuration, &now.id)?;
            let is_own = !now.admin.is_inherited() && now.admin.state() != configured(server);
            let admin = is_own.then(|| now.admin.state());
            let weight = Some(now.weight).filter(|weight| *weight != server.weight);
            (admin.is_some() || weight.is_some()).then(|| State { server: now.id.clone(), admin, weight })
        });
        Self(states.collect())
    }

    /// Sets it again where it is not so, and tells what was set. Servers that are gone have nothing to be set.
    pub async fn set_again(
        &self,
        socket: &HaproxySocket,
        configuration: &Configuration,
    ) -> Result<Vec<String>, Error> {
        let seen = socket.look(&[]).await?;
        let (mut states, mut weights) = (Vec::new(), Vec::new());
        for State { server, admin, weight } in &self.0 {
            let (Some(now), Some(_)) = (seen.server(server), find(configuration, server)) else { continue };
            states.extend(admin.filter(|it| now.admin.state() != *it).map(|admin| (server.clone(), admin)));
            weights.extend(weight.filter(|it| now.weight != *it).map(|weight| (server, weight)));
        }
        socket.set_admin_states(&states).await?;
        let mut told: Vec<_> =
            states.iter().map(|(server, admin)| format!("{server} is in {admin}")).collect();
        for (server, weight) in weights {
            socket.set_weight(server, Weight::Absolute(weight)).await?;
            told.push(format!("{server} has weight {weight}"));
        }
        Ok(told)
    }
}
