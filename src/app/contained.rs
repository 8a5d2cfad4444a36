//! Whose haproxy.cfg is meant where none is named: that of a HAProxy in a container, if none of this host reads the usual
//! one.

use std::path::Path;

use super::App;
use super::look::connectable;
use crate::adapters::container_root::shown;
use crate::adapters::docker::{DockerEngine, Endpoint};
use crate::adapters::haproxy::address::SocketAddress;
use crate::adapters::haproxy_service::{
    Contained, Elsewhere, Known, NotReached, Process, Running, Uncounted, variables_of,
};
use crate::adapters::{environment, haproxy_binary};
use crate::cfg::{self, Address, Configuration, Environment, Host, SourceFile};
use crate::command_line::shell;
use crate::error::Error;
use crate::topology::with_servers;

/// A HAProxy in a container, with its configuration.
pub(super) struct InContainer {
    pub(super) contained: Contained,
    /// Its files, by their paths in the container.
    pub(super) files: Vec<SourceFile>,
    /// Whether it can be spoken to at all.
    has_socket: bool,
    /// Its runtime sockets that can be reached from this host.
    sockets: Vec<SocketAddress>,
}

impl App {
    /// The HAProxy in a container whose configuration is meant. `None` where a configuration is named, or the usual file of
    /// this host is as good as any.
    pub(super) async fn in_container(&self) -> Result<Option<InContainer>, Error> {
        let named = self.named_sockets()?;
        let is_remote = |socket: &SocketAddress| matches!(socket, SocketAddress::Tcp { .. });
        if self.settings.is_config_named || !named.is_empty() && named.iter().all(is_remote) {
            return Ok(None);
        }
        let Some(elsewhere) = Elsewhere::unless_here(&self.settings.haproxy_config) else { return Ok(None) };
        let (contained, unknown) = self.held(elsewhere).await?;
        let mut left_out = Vec::new();
        let mut candidates = Candidates { found: Vec::new(), unread: Vec::new(), unknown };
        for haproxy in contained {
            match self.looked_at(haproxy) {
                // Many a container has a HAProxy in it that balances nothing of ours, as before the engine's own socket.
                Ok(it) if !it.has_socket => left_out.push(it.contained),
                Ok(it) if named.is_empty() || it.is_reached_by(&named) => candidates.found.push(it),
                Ok(_) => {}
                Err(error) => candidates.unread.push(error),
            }
        }
        let name = |it: &InContainer| it.contained.container().to_owned();
        let meant = candidates.the_one_that_is_meant(!named.is_empty(), name)?;
        if meant.is_none() {
            for it in &left_out {
                self.note_left_out(it);
            }
        }
        Ok(meant)
    }

    /// Those in a container that an engine of the settings lists, and why the others are in none.
    async fn held(&self, elsewhere: Elsewhere) -> Result<(Vec<Contained>, Vec<Uncounted>), Error> {
        let (mut contained, mut unknown) = (Vec::new(), elsewhere.unknown);
        if elsewhere.contained.is_empty() {
            return Ok((contained, unknown));
        }
        let environment = environment::variables();
        let default = self.settings.docker.as_deref();
        let endpoints = [default].into_iter().chain(self.settings.places.named_engines().map(Some));
        let mut engines = Vec::new();
        for endpoint in endpoints {
            engines.push(DockerEngine::connect(Endpoint::read(endpoint, &environment)?).await?);
        }
        for process in elsewhere.contained {
            match held_by(&engines, process).await? {
                Ok(found) => contained.push(found),
                Err(reason) => unknown.push(reason),
            }
        }
        Ok((contained, unknown))
    }

    fn looked_at(&self, contained: Contained) -> Result<InContainer, NotReached> {
        let files = contained.files()?;
        let version = self.settings.read_as.unwrap_or(haproxy_binary::NEWEST);
        let environment = Environment::new(variables_of(&contained.process, &files), version);
        let configuration = cfg::interpret(&cfg::read(files.clone(), &environment));
        let sockets = configuration.stats_sockets.iter().filter_map(connectable);
        let sockets = sockets.filter_map(|socket| contained.socket(&socket).ok()).collect();
        Ok(InContainer { has_socket: !configuration.stats_sockets.is_empty(), contained, files, sockets })
    }

    fn note_left_out(&self, contained: &Contained) {
        self.say_once(&format!(
            "note: the HAProxy in container {} is left out: its configuration has no `stats socket`",
            contained.container()
        ));
    }

    /// What is known of it.
    pub(super) async fn known_in_container(&self, found: InContainer) -> Known {
        let InContainer { contained, files, sockets, .. } = found;
        let paths = contained.process.invocation.files();
        let names: Vec<String> = paths.iter().map(|path| shown(path)).collect();
        self.say_once(&format!(
            "note: HAProxy runs in container {}, and its {} is read there",
            contained.container(),
            names.join(" and ")
        ));
        let running = Running::in_container(contained, &sockets).await;
        Known::new(&paths, &files, self.settings.haproxy.as_deref(), None, running)
    }

    /// Says which servers are not where they seem to be: to HAProxy in a network of its own, loopback is its container.
    pub(super) fn note_own_loopback(&self, configuration: &Configuration, contained: &Contained) {
        if contained.process.shares_network {
            return;
        }
        let servers = at_loopback(configuration);
        if !servers.is_empty() {
            self.say_once(&format!(
                "note: container {} has a network of its own: HAProxy reaches {} there, and not at 127.0.0.1 of this host",
                contained.container(),
                servers.join(", ")
            ));
        }
    }

    /// Refuses the socket of a configuration that was named where only a HAProxy in a container has it.
    pub(super) async fn refuse_socket_elsewhere(&self, socket: &SocketAddress) -> Result<(), Error> {
        let SocketAddress::Unix(path) = socket else { return Ok(()) };
        if path.exists() {
            return Ok(());
        }
        let elsewhere = Elsewhere::unless_here(&[]).unwrap_or_default();
        // What cannot be asked here is asked again by those who need it.
        let (contained, _) = self.held(elsewhere).await.unwrap_or_default();
        match contained.iter().find_map(|it| Some((it, it.on_host(path)?))) {
            None => Ok(()),
            Some((it, here)) => Err(NotReached::SocketElsewhere {
                container: it.container().to_owned(),
                socket: socket.to_string(),
                here: shown(&here),
            }
            .into()),
        }
    }
}

impl InContainer {
    fn is_reached_by(&self, named: &[SocketAddress]) -> bool {
        let real = |socket: &SocketAddress| match socket {
            SocketAddress::Unix(path) => path.canonicalize().map(SocketAddress::Unix).ok(),
            SocketAddress::Abstract(_) | SocketAddress::Tcp { .. } => Some(socket.clone()),
        };
        let named: Vec<_> = named.iter().filter_map(real).collect();
        self.sockets.iter().filter_map(real).any(|socket| named.contains(&socket))
    }
}

/// What was found in containers, one of which may be meant.
struct Candidates<T> {
    /// Those whose configuration was read, and whose socket is the one that was named if there is one.
    found: Vec<T>,
    /// Those whose configuration cannot be read.
    unread: Vec<NotReached>,
    /// Those in containers that no engine of the settings lists.
    unknown: Vec<Uncounted>,
}

impl<T> Candidates<T> {
    /// The only one; none where the usual file of this host cannot be taken for another one's.
    fn the_one_that_is_meant(
        mut self,
        is_socket_named: bool,
        name: impl Fn(&T) -> String,
    ) -> Result<Option<T>, NotReached> {
        if self.found.len() > 1 {
            return Err(NotReached::Several { containers: self.found.iter().map(name).collect() });
        }
        // One that cannot be read may be the one that is meant, unless a socket says which it is.
        if (self.found.is_empty() || !is_socket_named)
            && let Some(error) = self.unread.pop()
        {
            return Err(error);
        }
        match self.unknown.into_iter().next() {
            Some(reason) if self.found.is_empty() => Err(NotReached::Unknown { reason }),
            Some(_) | None => Ok(self.found.pop()),
        }
    }
}

/// The servers that are reached through loopback.
fn at_loopback(configuration: &Configuration) -> Vec<String> {
    let is_loopback = |address: &Address| matches!(address, Address::Inet { host: Host::Ip(ip), .. } if ip.to_canonical().is_loopback());
    let servers = with_servers(configuration).flat_map(|proxy| {
        let own = proxy.servers.iter().filter(|server| is_loopback(&server.address));
        own.map(|server| format!("{}/{}", proxy.name, server.name))
    });
    servers.collect()
}

/// The HAProxy of a process, in the container of one of these engines; or why it is in none of theirs.
async fn held_by(engines: &[DockerEngine], process: Process) -> Result<Result<Contained, Uncounted>, Error> {
    let mut reason = Uncounted::Elsewhere { pid: process.pid };
    let Some(id) = &process.container else { return Ok(Err(reason)) };
    for engine in engines {
        let Some(holder) = engine.holder(id).await? else { continue };
        match Contained::new(process.clone(), holder) {
            Ok(found) => return Ok(Ok(found)),
            Err(other) => reason = other,
        }
    }
    Ok(Err(reason))
}

/// Refuses to install a file of a container, and says where it is on this host.
pub(super) fn refuse_to_install(running: &Running, file: &Path) -> Result<(), NotReached> {
    let Some(haproxy) = &running.container else { return Ok(()) };
    let named = shown(file);
    let advice = match haproxy.on_host(file) {
        None => format!("Mount a directory of this host over the one that {named} is in"),
        Some(here) if haproxy.is_mounted_alone(file) => format!(
            "{named} is {} on this host, but it is mounted alone: HAProxy would go on reading the old one when it is replaced. \
             Mount its directory",
            shown(&here)
        ),
        Some(here) => format!(
            "{named} is {} on this host: name that with -f, and the socket with --socket",
            shown(&here)
        ),
    };
    Err(haproxy.read_only(advice))
}

/// Refuses to ask a HAProxy of this host about the files of a container.
pub(super) fn refuse_to_check(running: &Running) -> Result<(), NotReached> {
    let Some(haproxy) = &running.container else { return Ok(()) };
    let files = haproxy.process.invocation.files();
    let files: Vec<String> = files.iter().map(|file| shown(file)).collect();
    let mut words = vec!["docker", "exec", haproxy.container(), "haproxy", "-c"];
    words.extend(files.iter().flat_map(|file| ["-f", file]));
    Err(haproxy.read_only(format!("Ask it by `{}`", shell(&words))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration;

    /// What comes of these names, of as many that cannot be read, and of as many in unknown containers.
    fn chosen(found: &[&str], unread: usize, unknown: usize, is_socket_named: bool) -> String {
        let unreadable = |_| NotReached::Unreadable {
            container: "shut".to_owned(),
            path: "/h.cfg".to_owned(),
            reason: "no".to_owned(),
        };
        let candidates = Candidates {
            found: found.to_vec(),
            unread: (0..unread).map(unreadable).collect(),
            unknown: (0..unknown).map(|_| Uncounted::Elsewhere { pid: 7 }).collect(),
        };
        let name = |name: &&str| (*name).to_owned();
        match candidates.the_one_that_is_meant(is_socket_named, name) {
            Ok(found) => found.unwrap_or("the usual file").to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_usual_file_is_not_read_in_the_place_of_a_container_s() {
        assert_eq!(chosen(&[], 0, 0, false), "the usual file");
        assert_eq!(chosen(&["lb"], 0, 0, false), "lb");
        // Every user can start a process that looks like HAProxy in a container.
        assert_eq!(chosen(&["lb"], 0, 9, false), "lb");
        for (found, unread, unknown, is_named, says) in [
            (&["lb", "other"][..], 0, 0, false, "in 2 containers (lb, other)"),
            (&["lb"], 1, 0, false, "/h.cfg cannot be read there"),
            (&[], 1, 0, true, "/h.cfg cannot be read there"),
            (&[], 0, 1, false, "the haproxy.cfg of this host need not be"),
            (&[], 0, 1, true, "the haproxy.cfg of this host need not be"),
        ] {
            let told = chosen(found, unread, unknown, is_named);
            assert!(told.contains(says), "{says}: {told}");
        }
        assert_eq!(chosen(&["lb"], 1, 1, true), "lb");
    }

    #[test]
    fn servers_at_loopback_are_named() {
        let text = "backend b\n    server a 127.0.0.1:1\n    server b 10.0.0.1:1\n    server c [::1]:1\n    server d d:1\n";
        assert_eq!(at_loopback(&configuration(text)), ["b/a", "b/c"]);
    }
}
