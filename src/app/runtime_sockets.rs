//! The runtime sockets of the load balancers: those that are named, or the one in haproxy.cfg.

use std::cmp::Reverse;

use super::App;
use super::loaded_config::{LoadedConfig, refuse_errors};
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::haproxy::address::SocketAddress;
use crate::adapters::haproxy_service::{KnownService, Running};
use crate::app::error::Error;
use crate::cfg::{self, Configuration, Host, Level, StatsSocket};
use crate::ports::LoadBalancerError;

impl App {
    /// Returns the load balancers that run the configuration, each with its master socket, if that is known.
    pub(super) async fn connect(
        &self,
        loaded: &LoadedConfig,
        needed: Level,
    ) -> Result<Vec<HaproxySocket>, Error> {
        let LoadedConfig { document, configuration, known, processes } = loaded;
        refuse_errors(document, configuration)?;
        if self.settings.sockets.is_empty() && known.running.container.is_none() {
            let socket = stats_socket(configuration, needed)?;
            if matches!(&socket, SocketAddress::Unix(path) if !path.exists()) {
                let missing = format!("there is no socket {socket}");
                self.refuse_where_a_container_is_meant(missing, processes).await?;
            }
        }
        let mut sockets = Vec::new();
        for (index, socket) in self.sockets(configuration, &known.running, needed)?.into_iter().enumerate() {
            sockets.push(self.with_master(index, socket, known).await?);
        }
        // The file is on this host, and so is the first load balancer, if any of them is.
        if let Some(file) = configuration.saved_states_file()
            && let Some(first) = sockets.first_mut()
        {
            *first = first.clone().saving_states_in(file.to_owned());
        }
        Ok(sockets)
    }

    /// Returns the runtime socket with its master socket: the one that is named for it, or the one that HAProxy was
    /// started with.
    async fn with_master(
        &self,
        index: usize,
        socket: HaproxySocket,
        known: &KnownService,
    ) -> Result<HaproxySocket, Error> {
        let Some(named) = self.settings.master_sockets.get(index) else {
            return Ok(match known.master() {
                // A master socket that was found, not named, may belong to another HAProxy.
                Some(found) => socket.clone().with_master(found).await.unwrap_or(socket),
                None => socket,
            });
        };
        match socket.clone().with_master(known.named_master(named.parse()?)).await {
            // One of several may be unreachable; `look` decides what that means.
            Err(LoadBalancerError::Unreachable { .. }) if self.settings.sockets.len() > 1 => Ok(socket),
            result => Ok(result?),
        }
    }

    /// Returns the runtime sockets that are named, or else the one of this level in the configuration.
    fn sockets(
        &self,
        configuration: &Configuration,
        running: &Running,
        needed: Level,
    ) -> Result<Vec<HaproxySocket>, Error> {
        let is_in_own_network = running.container.as_ref().is_some_and(|it| !it.process.shares_network);
        let socket = |address: SocketAddress| {
            let owner = running.owner(&address);
            let socket = HaproxySocket::new(address).owned_by(owner).in_own_network(is_in_own_network);
            match configuration.stats_timeout {
                Some(timeout) => socket.with_stats_timeout(timeout),
                None => socket,
            }
        };
        if self.settings.sockets.is_empty() {
            return Ok(vec![socket(configured_socket(configuration, running, needed)?)]);
        }
        Ok(self.named_sockets()?.into_iter().map(socket).collect())
    }

    /// Returns the runtime sockets that are named, without duplicates.
    pub(super) fn named_sockets(&self) -> Result<Vec<SocketAddress>, Error> {
        let mut sockets: Vec<SocketAddress> = Vec::new();
        for text in &self.settings.sockets {
            let address = text.parse()?;
            // A socket named twice would be counted twice.
            if !sockets.contains(&address) {
                sockets.push(address);
            }
        }
        Ok(sockets)
    }

    /// Returns the runtime socket of the HAProxy that runs haproxy.cfg here.
    pub(super) fn socket(
        &self,
        configuration: &Configuration,
        running: &Running,
    ) -> Result<HaproxySocket, Error> {
        let mut sockets = self.sockets(configuration, running, Level::Admin)?;
        Ok(sockets.remove(0))
    }
}

/// Checks that the load balancers accept changes of state. One of several that does not answer is reported by the next
/// observation.
pub(super) async fn require_admin(load_balancers: &[HaproxySocket]) -> Result<(), Error> {
    for socket in load_balancers {
        match socket.require_admin().await {
            Err(LoadBalancerError::Unreachable { .. }) if load_balancers.len() > 1 => {}
            result => result?,
        }
    }
    Ok(())
}

/// Returns the runtime socket of the configuration, as a path of this host.
pub(super) fn configured_socket(
    configuration: &Configuration,
    running: &Running,
    needed: Level,
) -> Result<SocketAddress, Error> {
    match running.contained_socket() {
        Some(socket) => Ok(socket.clone()),
        None => stats_socket(configuration, needed),
    }
}

/// Returns the first socket with the highest level in the configuration that can be opened and has at least this level.
pub(super) fn stats_socket(configuration: &Configuration, needed: Level) -> Result<SocketAddress, Error> {
    let mut sockets: Vec<&StatsSocket> = configuration.stats_sockets.iter().collect();
    sockets.sort_by_key(|socket| Reverse(socket.level));
    let enough = sockets.iter().filter(|socket| socket.level >= needed);
    if let Some(address) = enough.copied().find_map(connectable) {
        return Ok(address);
    }
    let found = match sockets.first() {
        None => "the configuration has no `stats socket`".to_owned(),
        Some(StatsSocket { level, place, .. }) if *level < needed => {
            format!(
                "the `stats socket` at {place} has level {level}, and setting a server's state needs level admin"
            )
        }
        Some(StatsSocket { place, .. }) => {
            format!("the `stats socket` at {place} cannot be opened from outside HAProxy")
        }
    };
    Err(Error::NoStatsSocket { found })
}

pub(super) fn connectable(socket: &StatsSocket) -> Option<SocketAddress> {
    match &socket.address {
        cfg::SocketAddress::Unix(path) => Some(SocketAddress::Unix(path.into())),
        cfg::SocketAddress::Abstract(name) => Some(SocketAddress::Abstract(name.clone())),
        cfg::SocketAddress::Inet(Host::Ip(ip), port) => {
            // A wildcard bind address is reached through loopback.
            let host = if ip.is_unspecified() { "127.0.0.1".to_owned() } else { ip.to_string() };
            Some(SocketAddress::Tcp { host, port: *port })
        }
        cfg::SocketAddress::Inet(Host::Name(host), port) => {
            Some(SocketAddress::Tcp { host: host.clone(), port: *port })
        }
        cfg::SocketAddress::Fd(_) | cfg::SocketAddress::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration;

    /// The chosen socket for this level, or the refusal.
    fn taken(sockets: &str, needed: Level) -> String {
        let lines = sockets.replace('|', "\n    stats socket ");
        let configuration = configuration(&format!("global\n    stats socket {lines}\n"));
        stats_socket(&configuration, needed).map_or_else(|error| error.to_string(), |it| it.to_string())
    }

    #[test]
    fn a_command_that_only_looks_needs_no_socket_of_level_admin() {
        let both = "/run/user level user|/run/operator|/run/admin level admin|/run/more level admin";
        assert_eq!(taken(both, Level::User), "/run/admin");
        assert_eq!(taken(both, Level::Admin), "/run/admin");
        let lower = "/run/user level user|/run/operator";
        assert_eq!(taken(lower, Level::User), "/run/operator");
        assert_eq!(taken("/run/user level user|fd@3 level admin", Level::User), "/run/user");
        let refused = taken(lower, Level::Admin);
        assert!(refused.contains(":3 has level operator") && refused.contains("--socket"), "{refused}");
        let refused = taken("fd@3 level admin", Level::User);
        assert!(refused.contains("cannot be opened from outside HAProxy"), "{refused}");
    }
}
