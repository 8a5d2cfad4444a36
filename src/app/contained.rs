//! Finds a HAProxy in a container by its runtime socket, and reads its haproxy.cfg there.
//!
//! Only the socket identifies the HAProxy: any program in a container can have that name and any configuration.

use std::path::{Path, PathBuf};

use super::App;
use super::runtime_sockets::connectable;
use crate::adapters::docker::{DockerEngine, Endpoint};
use crate::adapters::haproxy::address::SocketAddress;
use crate::adapters::haproxy_service::{
    Contained, ContainerAccessError, KnownService, Process, Processes, ReachableHaproxy, Running,
    variables_of,
};
use crate::adapters::{environment, haproxy_binary};
use crate::app::error::Error;
use crate::cfg::{self, Address, Configuration, Environment, Host, SourceFile, is_of_one_host};
use crate::model::command_line::shell;
use crate::model::sanitize;
use crate::ports::EngineError;

/// The most containers to query the engines for.
const MOST_CONTAINERS: usize = 64;

/// A HAProxy in a container, with its configuration.
pub(super) struct InContainer {
    contained: Contained,
    /// Its configuration files, by their paths in the container.
    pub(super) files: Vec<SourceFile>,
    /// Its runtime socket on this host.
    socket: PathBuf,
}

impl App {
    /// Returns the HAProxy in a container that listens at a socket of this host: the socket that is named, or the one
    /// in this host's default haproxy.cfg, whose files are `here`. Returns `None` if a configuration is named, or if
    /// HAProxy reads the very file of this host.
    pub(super) async fn in_container(
        &self,
        here: &[SourceFile],
        all: &Processes,
    ) -> Result<Option<InContainer>, Error> {
        if self.settings.is_config_named {
            return Ok(None);
        }
        let mut processes = all.in_containers();
        if processes.is_empty() {
            return Ok(None);
        }
        let Some(socket) = self.socket_of_this_host(here) else { return Ok(None) };
        match all.listening_at(&socket).await {
            Some(listening) => processes.retain(|process| process.is_beside(&listening)),
            None if all.haproxys().any(|it| it.reads_here(&self.settings.haproxy_config)) => return Ok(None),
            None => {}
        }
        let mut found = self.contained(processes).await;
        found.retain(|it| it.has_socket(&socket));
        let Some(contained) = found.pop() else { return Ok(None) };
        if !found.is_empty() {
            let names = found.iter().chain([&contained]).map(|it| it.container().to_owned());
            let (socket, containers) = (socket.display().to_string(), names.collect());
            return Err(ContainerAccessError::Several { socket, containers }.into());
        }
        if contained.reads_of_this_host(&self.settings.haproxy_config) {
            return Ok(None);
        }
        Ok(Some(InContainer { files: contained.files()?, contained, socket }))
    }

    /// Returns the path of the first runtime socket that is named, or else of the one in these files.
    fn socket_of_this_host(&self, here: &[SourceFile]) -> Option<PathBuf> {
        let mut sockets = self.named_sockets().unwrap_or_default();
        if sockets.is_empty() {
            sockets = self.first_sockets(here, None);
        }
        match sockets.into_iter().next()? {
            SocketAddress::Unix(path) => Some(path),
            SocketAddress::Abstract(_) | SocketAddress::Tcp { .. } => None,
        }
    }

    /// Returns the processes that run in a container of one of the settings' engines on this host. An engine of another
    /// host proves nothing: there the same process numbers are other processes.
    async fn contained(&self, mut processes: Vec<Process>) -> Vec<Contained> {
        processes.truncate(MOST_CONTAINERS);
        if processes.is_empty() {
            return Vec::new();
        }
        let environment = environment::variables();
        let default = self.settings.docker.as_deref();
        let endpoints = [default].into_iter().chain(self.settings.places.named_engines().map(Some));
        let mut contained = Vec::new();
        for endpoint in endpoints {
            let Ok(endpoint @ Endpoint::Unix(_)) = Endpoint::read(endpoint, &environment) else { continue };
            let engine = match DockerEngine::connect(endpoint).await {
                Ok(engine) => engine,
                Err(error) => {
                    self.note_not_found(&error);
                    continue;
                }
            };
            for process in std::mem::take(&mut processes) {
                let Some(id) = &process.container else { continue };
                let holder = engine.running_container(id).await.unwrap_or_else(|error| {
                    self.note_not_found(&error);
                    None
                });
                match holder.and_then(|holder| Contained::new(process.clone(), holder)) {
                    Some(found) => contained.push(found),
                    None => processes.push(process),
                }
            }
        }
        contained
    }

    fn note_not_found(&self, error: &EngineError) {
        self.note_once(&format!("note: a HAProxy in a container may be missed: {error}"));
    }

    /// Returns what is known about the HAProxy in the container.
    pub(super) async fn known_in_container(&self, found: &InContainer) -> KnownService {
        let InContainer { contained, files, socket } = found;
        let paths = contained.process.invocation.files();
        let names: Vec<String> = paths.iter().map(|path| sanitize::path(path)).collect();
        self.note_once(&format!(
            "note: HAProxy runs in container {}; reading its {} there",
            contained.container(),
            names.join(" and ")
        ));
        let socket = SocketAddress::Unix(socket.clone());
        let running = Running::in_container(contained.clone(), &[socket]).await;
        KnownService::new(&paths, files, self.settings.haproxy.as_deref(), None, running)
    }

    /// Notes the servers in the container's own network, which drainswap cannot reach.
    pub(super) fn note_own_network(&self, servers: &[String], contained: &Contained) {
        if !servers.is_empty() {
            self.note_once(&format!(
                "note: container {} has its own network, which contains {}: these servers are neither probed nor replaced",
                contained.container(),
                servers.join(", ")
            ));
        }
    }

    /// Refuses a missing file or socket if a HAProxy in a container may be the right one, and names the candidates.
    pub(super) async fn refuse_where_a_container_is_meant(
        &self,
        missing: String,
        all: &Processes,
    ) -> Result<(), Error> {
        let candidates: Vec<ReachableHaproxy> =
            self.contained(all.in_containers()).await.iter().flat_map(|it| self.candidates(it)).collect();
        if candidates.is_empty() {
            Ok(())
        } else {
            Err(ContainerAccessError::NotNamed { missing, candidates }.into())
        }
    }

    /// Returns the runtime sockets that can be reached from this host.
    fn candidates(&self, contained: &Contained) -> Vec<ReachableHaproxy> {
        let Ok(files) = contained.files() else { return Vec::new() };
        let version = self.settings.read_as.unwrap_or(haproxy_binary::NEWEST);
        let environment = Environment::new(variables_of(&contained.process, &files), version);
        let configuration = cfg::interpret(&cfg::read(files, &environment));
        let candidate = |socket: SocketAddress| {
            let here = sanitize::name(&contained.socket(&socket)?.to_string());
            let socket = sanitize::name(&socket.to_string());
            Some(ReachableHaproxy { container: contained.container().to_owned(), socket, here })
        };
        configuration.stats_sockets.iter().filter_map(connectable).filter_map(candidate).collect()
    }
}

/// Hides the loopback and link-local addresses of a HAProxy in its own network: on this host they are other servers.
/// Returns the servers that have them.
pub(super) fn hide_own_network(configuration: &mut Configuration) -> Vec<String> {
    let is_own = |address: &Address| match address {
        Address::Inet { host: Host::Ip(ip), .. } => is_of_one_host(*ip),
        Address::Inet { host: Host::Name(name), .. } => name == "localhost",
        Address::Unix(_) | Address::Datagram { .. } | Address::Quic { .. } | Address::Other(_) => false,
    };
    let mut hidden = Vec::new();
    for proxy in &mut configuration.proxies {
        let is_hidden = |server: &cfg::Server| is_own(&server.address) || is_own(&server.checked_address());
        for server in proxy.servers.iter_mut().filter(|server| is_hidden(server)) {
            server.address = Address::Other(server.address.to_string());
            hidden.push(format!("{}/{}", proxy.name, server.name));
        }
    }
    hidden
}

/// Refuses to install a file in a container, and says where the file is on this host.
pub(super) fn refuse_to_install(running: &Running, file: &Path) -> Result<(), ContainerAccessError> {
    let Some(haproxy) = &running.container else { return Ok(()) };
    let named = sanitize::path(file);
    let advice = match haproxy.on_host(file) {
        None => format!("Mount a directory of this host over the one that {named} is in"),
        Some(here) if haproxy.is_mounted_alone(file) => format!(
            "{named} is {} on this host, but the file is mounted on its own: HAProxy would keep reading the old one after a \
             replacement. Mount its directory",
            sanitize::path(&here)
        ),
        Some(here) => format!(
            "{named} is {} on this host: name that file with -f, and the socket with --socket",
            sanitize::path(&here)
        ),
    };
    Err(haproxy.read_only(advice))
}

/// Refuses to check the files of a container with a HAProxy of this host.
pub(super) fn refuse_to_check(running: &Running) -> Result<(), ContainerAccessError> {
    let Some(haproxy) = &running.container else { return Ok(()) };
    let files = haproxy.process.invocation.files();
    let files: Vec<String> = files.iter().map(|file| sanitize::path(file)).collect();
    let mut words = vec!["docker", "exec", haproxy.container(), "haproxy", "-c"];
    words.extend(files.iter().flat_map(|file| ["-f", file]));
    Err(haproxy.read_only(format!("Check them with `{}`", shell(&words))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration;

    #[test]
    fn addresses_that_differ_on_this_host_are_hidden_and_named() {
        let text = "backend b\n    server a 127.0.0.1:1\n    server b 10.0.0.1:1\n    server c [::1]:1\n    server d d:1\n    \
                    server e localhost:1\n    server f 169.254.169.254:80\n    server g 0.0.0.0:1\n    \
                    server h 10.0.0.2:80 check addr 127.0.0.1 port 2375\n";
        let mut configuration = configuration(text);
        assert_eq!(hide_own_network(&mut configuration), ["b/a", "b/c", "b/e", "b/f", "b/g", "b/h"]);
        let fixed = |server: &cfg::Server| server.address.fixed().is_some();
        let left = configuration.proxies[0].servers.iter().filter(|it| fixed(it)).map(|it| it.name.as_str());
        assert_eq!(left.collect::<Vec<_>>(), ["b"]);
    }
}
