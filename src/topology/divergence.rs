//! Where the running `HAProxy` sends traffic elsewhere than haproxy.cfg says.

use std::fmt;
use std::net::SocketAddr;

use super::with_servers;
use crate::cfg::{Configuration, Server};
use crate::ids::ServerId;
use crate::observation::{LoadBalancerState, ServerState};

/// A server whose address in the running `HAProxy` is not the one in haproxy.cfg: it was set at runtime, comes from a
/// `server-state-file`, or the file was not read since it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The server.
    pub server: ServerId,
    /// What haproxy.cfg says.
    pub written: SocketAddr,
    /// Where its traffic goes.
    pub running: SocketAddr,
    /// The load balancer that runs it so.
    pub load_balancer: String,
}

/// Where a server line is written to lead, and where it leads: nothing where that is the same, or no address in numbers is
/// written.
#[must_use]
pub fn diverges(line: &Server, now: &ServerState) -> Option<(SocketAddr, SocketAddr)> {
    let (written, running) = (line.address.fixed()?, now.address?);
    let running = SocketAddr::new(running.ip().to_canonical(), running.port());
    (written != running).then_some((written, running))
}

/// The servers whose address is written as numbers, and runs otherwise at a load balancer.
#[must_use]
pub fn divergences(configuration: &Configuration, load_balancers: &[LoadBalancerState]) -> Vec<Divergence> {
    let mut found = Vec::new();
    for proxy in with_servers(configuration) {
        for line in &proxy.servers {
            let server = ServerId::new(&proxy.name, &line.name);
            for seen in load_balancers {
                let now = seen.server(&server);
                if let Some((written, running)) = now.and_then(|now| diverges(line, now)) {
                    let load_balancer = seen.name.clone();
                    found.push(Divergence { server: server.clone(), written, running, load_balancer });
                }
            }
        }
    }
    found
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, written, running, load_balancer } = self;
        write!(
            f,
            "HAProxy at {load_balancer} sends the traffic of {server} to {running}, and haproxy.cfg says {written}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn found(world: &World) -> Vec<String> {
        let all = divergences(&world.configuration, &world.observation.load_balancers);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_an_address_in_numbers_can_differ() {
        assert_eq!(found(&World::pair()), Vec::<String>::new());
        let elsewhere =
            |world: World, id: &str| world.server(id, |it| it.address = "127.0.0.9:50009".parse().ok());
        assert_eq!(
            found(&elsewhere(World::pair(), "mobile/app1")),
            [
                "HAProxy at /run/haproxy/admin.sock sends the traffic of mobile/app1 to 127.0.0.9:50009, and haproxy.cfg says 127.0.0.1:50000"
            ]
        );
        let named = World::of("\nbackend mobile\n    server app1 app1.internal:8080 check\n");
        assert_eq!(found(&elsewhere(named, "mobile/app1")), Vec::<String>::new());
        let mapped =
            World::pair().server("mobile/app1", |it| it.address = "[::ffff:127.0.0.1]:50000".parse().ok());
        assert_eq!(found(&mapped), Vec::<String>::new());
    }
}
