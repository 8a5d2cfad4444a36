//! Detects where the running `HAProxy` differs from haproxy.cfg.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::with_servers;
use crate::cfg::{Address, Configuration, Host, Port, Server};
use crate::model::ids::ServerId;
use crate::observation::{AdminState, LoadBalancerState, ServerState};

/// A server that a load balancer runs with a setting that differs from haproxy.cfg: it was set at runtime, comes from
/// a `server-state-file`, or `HAProxy` has not read the file since it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    pub server: ServerId,
    pub difference: Difference,
    pub load_balancer: String,
}

/// The part of a server's line that differs in the running `HAProxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each says what haproxy.cfg has, and what runs")]
pub enum Difference {
    /// Where its traffic goes.
    Address { written: SocketAddr, running: SocketAddr },
    /// Whether the traffic is encrypted.
    Ssl { written: bool },
    /// The port of the checks, if it is not the server's own.
    CheckPort { written: Option<u16>, running: Option<u16> },
    /// The address of the checks, if it is not the server's own.
    CheckAddress { written: Option<IpAddr>, running: Option<IpAddr> },
    /// The weight, in a file that `HAProxy` has not read yet.
    Weight { written: u32, running: u32 },
    /// Whether the line has `disabled`, in a file that `HAProxy` has not read yet.
    Disabled { written: bool },
}

impl Difference {
    /// Returns the setting in haproxy.cfg.
    #[must_use]
    pub fn written(&self) -> String {
        match self {
            Self::Address { written, .. } => format!("address {written}"),
            Self::Ssl { written } => either(*written, "ssl"),
            Self::CheckPort { written, .. } => optional("check port", *written),
            Self::CheckAddress { written, .. } => optional("check address", *written),
            Self::Weight { written, .. } => format!("weight {written}"),
            Self::Disabled { written } => either(*written, "`disabled`"),
        }
    }

    /// Returns the setting in `HAProxy`.
    #[must_use]
    pub fn running(&self) -> String {
        match self {
            Self::Address { running, .. } => format!("address {running}"),
            Self::Ssl { written } => either(!written, "ssl"),
            Self::CheckPort { running, .. } => optional("check port", *running),
            Self::CheckAddress { running, .. } => optional("check address", *running),
            Self::Weight { running, .. } => format!("weight {running}"),
            Self::Disabled { written } => either(!written, "`disabled`"),
        }
    }
}

fn either(is_so: bool, what: &str) -> String {
    if is_so { what.to_owned() } else { format!("no {what}") }
}

fn optional(what: &str, value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| format!("no {what}"), |value| format!("{what} {value}"))
}

/// Returns the settings of a server that differ from its line because they were set at runtime, or come from a
/// `server-state-file`.
#[must_use]
pub fn settings_that_differ(line: &Server, now: &ServerState) -> Vec<Difference> {
    let mut found = Vec::new();
    if let Some((written, running)) = written_address(line, now).zip(now.address) {
        let running = SocketAddr::new(running.ip().to_canonical(), running.port());
        if written != running {
            found.push(Difference::Address { written, running });
        }
    }
    let Some(running) = now.settings else { return found };
    if running.ssl != line.ssl {
        found.push(Difference::Ssl { written: line.ssl });
    }
    if !line.check {
        return found;
    }
    if running.check_port != line.check_port {
        found.push(Difference::CheckPort { written: line.check_port, running: running.check_port });
    }
    // HAProxy does not report the port of `addr`.
    let written = match &line.check_address {
        None => None,
        Some(Address::Inet { host: Host::Ip(ip), .. }) => Some(ip.to_canonical()),
        Some(_) => running.check_address,
    };
    if written != running.check_address {
        found.push(Difference::CheckAddress { written, running: running.check_address });
    }
    found
}

/// Returns where a line leads. For a host name, which only `HAProxy` resolves, only the port is compared.
fn written_address(line: &Server, now: &ServerState) -> Option<SocketAddr> {
    // The port of an SRV record comes from DNS.
    if let Address::Inet { host: Host::Name(_), port: Port::Fixed(port) } = line.address
        && !line.has_resolvers
    {
        return Some((now.address?.ip().to_canonical(), port).into());
    }
    line.address.fixed()
}

/// Returns settings of a line that `HAProxy` has not read, and that were not set at runtime since.
fn not_read(line: &Server, now: &ServerState) -> Vec<Difference> {
    let mut found = Vec::new();
    let written = line.weight;
    if now.initial_weight != written && now.weight != written {
        found.push(Difference::Weight { written, running: now.weight });
    }
    let is_in_maint = now.admin.state() == AdminState::Maint;
    if now.admin.is_disabled_by_its_line() != line.disabled && is_in_maint != line.disabled {
        found.push(Difference::Disabled { written: line.disabled });
    }
    found
}

/// Returns the servers that a load balancer runs with settings that differ from haproxy.cfg.
#[must_use]
pub fn divergences(configuration: &Configuration, load_balancers: &[LoadBalancerState]) -> Vec<Divergence> {
    let mut found = Vec::new();
    for proxy in with_servers(configuration) {
        for line in &proxy.servers {
            let server = ServerId::new(&proxy.name, &line.name);
            for seen in load_balancers {
                let Some(now) = seen.server(&server) else { continue };
                let all = settings_that_differ(line, now).into_iter().chain(not_read(line, now));
                let load_balancer = &seen.name;
                found.extend(all.map(|difference| Divergence {
                    server: server.clone(),
                    difference,
                    load_balancer: load_balancer.clone(),
                }));
            }
        }
    }
    found
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, difference, load_balancer } = self;
        if let Difference::Address { written, running } = difference {
            return write!(
                f,
                "HAProxy at {load_balancer} sends the traffic of {server} to {running}, but haproxy.cfg says {written}"
            );
        }
        let (written, running) = (difference.written(), difference.running());
        write!(f, "HAProxy at {load_balancer} runs {server} with {running}, but haproxy.cfg says {written}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{AdminBits, RunningSettings};
    use crate::testing::World;

    fn found(world: &World) -> Vec<String> {
        let all = divergences(&world.configuration, &world.observation.load_balancers);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numeric_addresses_and_ports_of_names_are_compared() {
        assert_eq!(found(&World::pair()), Vec::<String>::new());
        let elsewhere =
            |world: World, id: &str| world.server(id, |it| it.address = "127.0.0.9:50009".parse().ok());
        assert_eq!(
            found(&elsewhere(World::pair(), "mobile/app1")),
            [
                "HAProxy at /run/haproxy/admin.sock sends the traffic of mobile/app1 to 127.0.0.9:50009, but haproxy.cfg says 127.0.0.1:50000"
            ]
        );
        let named = |line: &str| World::of(&format!("\nbackend mobile\n    server app1 {line} check\n"));
        let app1 = "mobile/app1";
        assert_eq!(found(&elsewhere(named("app1.internal:50009"), app1)), Vec::<String>::new());
        let port = found(&elsewhere(named("app1.internal:8080"), app1));
        assert!(port.len() == 1 && port[0].ends_with("haproxy.cfg says 127.0.0.9:8080"), "{port:?}");
        let resolved = named("_http._tcp.app1.internal:8080 resolvers dns");
        assert_eq!(found(&elsewhere(resolved, app1)), Vec::<String>::new());
        let mapped =
            World::pair().server("mobile/app1", |it| it.address = "[::ffff:127.0.0.1]:50000".parse().ok());
        assert_eq!(found(&mapped), Vec::<String>::new());
    }

    #[test]
    fn settings_of_a_state_file_and_unread_changes_differ() {
        let line = "127.0.0.1:50000 ssl verify none check port 81 addr 127.0.0.2 weight 3 disabled";
        let world = || World::of(&format!("\nbackend mobile\n    server app1 {line}\n"));
        let with = |change: &dyn Fn(&mut ServerState)| {
            let of = "HAProxy at /run/haproxy/admin.sock runs mobile/app1 with ";
            let found = found(&world().server("mobile/app1", |it| {
                it.admin = AdminBits(5);
                change(it);
            }));
            found
                .into_iter()
                .map(|it| it.strip_prefix(of).expect("the server").to_owned())
                .collect::<Vec<_>>()
        };
        let settings = |ssl, check_port, address: &str| {
            Some(RunningSettings { ssl, check_port, check_address: address.parse().ok() })
        };
        assert_eq!(with(&|it| it.settings = settings(true, Some(81), "127.0.0.2")), Vec::<String>::new());
        assert_eq!(
            with(&|it| it.settings = settings(false, None, "127.0.0.3")),
            [
                "no ssl, but haproxy.cfg says ssl",
                "no check port, but haproxy.cfg says check port 81",
                "check address 127.0.0.3, but haproxy.cfg says check address 127.0.0.2",
            ]
        );
        // HAProxy does not report the port of `addr`.
        let of_address = "127.0.0.1:50000 check addr 127.0.0.2:81";
        let world = World::of(&format!("\nbackend mobile\n    server app1 {of_address}\n"));
        let shown = settings(false, None, "127.0.0.2");
        assert_eq!(found(&world.server("mobile/app1", |it| it.settings = shown)), Vec::<String>::new());
        // A value set at runtime is intended; a value written since has not been read.
        assert_eq!(with(&|it| it.weight = 7), Vec::<String>::new());
        assert_eq!(with(&|it| it.admin = AdminBits(4)), Vec::<String>::new());
        assert_eq!(
            with(&|it| (it.weight, it.initial_weight, it.admin) = (1, 1, AdminBits(0))),
            ["weight 1, but haproxy.cfg says weight 3", "no `disabled`, but haproxy.cfg says `disabled`"]
        );
    }
}
