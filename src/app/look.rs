//! From the settings to the world, and one look at it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::App;
use crate::adapters::docker::{DockerEngine, Endpoint};
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::haproxy::master::MasterSocket;
use crate::adapters::haproxy::socket::SocketAddress;
use crate::adapters::haproxy_service::{NotRun, Service};
use crate::adapters::hook_command::HookCommands;
use crate::adapters::http_probe::HttpProber;
use crate::adapters::{config_files, environment, haproxy_binary};
use crate::cfg::{
    self, Build, Configuration, Document, Environment, Host, Level, Problem, Severity, StatsSocket,
};
use crate::deploy::World;
use crate::deploy::engines::Engines;
use crate::error::Error;
use crate::observation::Observation;
use crate::plan::LbQuorum;
use crate::ports::{EngineError, LoadBalancerError, WallClock};
use crate::topology::{self, Topology};

/// The world as it really is.
pub(super) type RealWorld = World<HaproxySocket, DockerEngine, HttpProber, SystemClock, HookCommands>;

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemClock;

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl App {
    /// The configuration, and the load balancers that run it, each with its master where that is known.
    pub(super) async fn load_balancers(&self) -> Result<(Configuration, Vec<HaproxySocket>), Error> {
        let configuration = self.configuration()?;
        let found = self.service().master_socket();
        let mut sockets = Vec::new();
        for (index, socket) in self.sockets(&configuration)?.into_iter().enumerate() {
            let socket = match self.settings.master_sockets.get(index) {
                Some(named) => match socket.clone().with_master(MasterSocket::new(named.parse()?)).await {
                    // One of several may be away; what that means is decided by who looks.
                    Err(LoadBalancerError::Unreachable { .. }) if self.settings.sockets.len() > 1 => socket,
                    result => result?,
                },
                None => match found.clone() {
                    // One that was only found need not be of this HAProxy.
                    Some(found) => {
                        socket.clone().with_master(MasterSocket::new(found)).await.unwrap_or(socket)
                    }
                    None => socket,
                },
            };
            sockets.push(socket);
        }
        let keeps_states = configuration.proxies.iter().any(|proxy| proxy.keeps_state);
        // The file is on this host, and so is the first load balancer, if any is.
        if let (Some(file), true) = (configuration.server_state_file.clone(), keeps_states)
            && let Some(first) = sockets.first_mut()
        {
            *first = first.clone().keeping_states_in(file);
        }
        Ok((configuration, sockets))
    }

    /// The runtime sockets that were named, or the one that the configuration has.
    fn sockets(&self, configuration: &Configuration) -> Result<Vec<HaproxySocket>, Error> {
        let socket = |address| {
            let socket = HaproxySocket::new(address);
            match configuration.stats_timeout {
                Some(timeout) => socket.with_stats_timeout(timeout),
                None => socket,
            }
        };
        if self.settings.sockets.is_empty() {
            return Ok(vec![socket(admin_socket(configuration)?)]);
        }
        let mut sockets: Vec<HaproxySocket> = Vec::new();
        for text in &self.settings.sockets {
            let address = text.parse()?;
            // One that is named twice would be counted twice.
            if sockets.iter().all(|known| *known.address() != address) {
                sockets.push(socket(address));
            }
        }
        Ok(sockets)
    }

    /// The runtime socket of the HAProxy that runs haproxy.cfg here.
    pub(super) fn socket(&self, configuration: &Configuration) -> Result<HaproxySocket, Error> {
        let mut sockets = self.sockets(configuration)?;
        Ok(sockets.remove(0))
    }

    /// haproxy.cfg with every byte, and what it says.
    pub(super) fn document(&self) -> Result<(Document, Configuration), Error> {
        let files = config_files::read(&self.settings.haproxy_config)?;
        let service = self.service();
        let build = haproxy_binary::build(&service.binary);
        if self.settings.haproxy.is_some() && build.is_none() {
            let reason = "it does not answer to -vv as HAProxy does".to_owned();
            return Err(NotRun { binary: service.binary.display().to_string(), reason }.into());
        }
        let document = cfg::read(files, &self.environment_of(service, build));
        let configuration = cfg::interpret(&document);
        Ok((document, configuration))
    }

    /// What haproxy.cfg is read with, as the service has it: its variables and its binary, unless a version was asked
    /// for.
    pub(super) fn environment(&self) -> Environment {
        let service = self.service();
        let build = haproxy_binary::build(&service.binary);
        self.environment_of(service, build)
    }

    fn environment_of(&self, service: Service, build: Option<Build>) -> Environment {
        let installed = build.as_ref().and_then(|build| build.version.parse().ok());
        let version = self.settings.read_as.or(installed).unwrap_or(haproxy_binary::NEWEST);
        // Another version's binary was built in a way that nobody knows.
        let build = build.filter(|_| installed == Some(version));
        Environment { build, ..Environment::new(service.environment, version) }
    }

    /// The service that reads haproxy.cfg, as far as it can be found.
    pub(super) fn service(&self) -> Service {
        let service = Service::reading(&self.settings.haproxy_config, &self.haproxy());
        match &self.settings.haproxy {
            Some(binary) => Service { binary: binary.clone(), ..service },
            None => service,
        }
    }

    /// `HAProxy`'s binary.
    fn haproxy(&self) -> PathBuf {
        self.settings.haproxy.clone().unwrap_or_else(haproxy_binary::find)
    }

    /// haproxy.cfg as `HAProxy` would read it, or everything that keeps it from doing so.
    fn configuration(&self) -> Result<Configuration, Error> {
        let (document, configuration) = self.document()?;
        refuse_errors(&document, &configuration)?;
        Ok(configuration)
    }

    /// The world behind the ports: everything answers, or the error says what does not.
    ///
    /// Only the engines behind these backends (all, where none is named) are asked.
    pub(super) async fn world(
        &self,
        configuration: &Configuration,
        backends: &[String],
        load_balancers: Vec<HaproxySocket>,
    ) -> Result<RealWorld, Error> {
        let proxies = topology::with_servers(configuration)
            .filter(|proxy| backends.is_empty() || backends.contains(&proxy.name));
        let servers = proxies.flat_map(|proxy| &proxy.servers);
        let mut names: BTreeSet<String> = servers
            .map(|server| self.settings.engines.endpoint(&server.address).unwrap_or_default())
            .collect();
        if names.is_empty() {
            names.insert(String::new());
        }
        let environment = environment::variables();
        let connect = async |name: String| {
            let text =
                Some(name.as_str()).filter(|name| !name.is_empty()).or(self.settings.docker.as_deref());
            let engine = DockerEngine::connect(Endpoint::read(text, &environment)?).await?;
            Ok::<_, EngineError>((name, engine.with_logins(self.settings.registries.clone())))
        };
        let engines = Engines::new(try_join_all(names.into_iter().map(connect)).await?);
        let hooks = HookCommands { commands: self.settings.hooks.clone(), limit: self.settings.hook_timeout };
        Ok(World {
            load_balancers,
            engines,
            prober: HttpProber::new()?,
            clock: SystemClock,
            hooks,
            descriptions: self.settings.descriptions(),
            typed: self.typed.clone(),
        })
    }

    /// One stamped look at the world, and what it means for the configuration.
    pub(super) async fn observe(
        &self,
        configuration: &Configuration,
        world: &RealWorld,
        quorum: LbQuorum,
    ) -> Result<(Observation, Topology), Error> {
        Ok(world.observe(configuration, &self.settings.engines, quorum).await?)
    }
}

/// Everything that keeps `HAProxy` from reading it, each problem with its line and a caret.
pub(super) fn refuse_errors(document: &Document, configuration: &Configuration) -> Result<(), Error> {
    if !configuration.has_errors() {
        return Ok(());
    }
    let errors = configuration.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let problems: Vec<Problem> = errors.cloned().collect();
    let shown = cfg::reports(&problems, document);
    Err(Error::Configuration { problems, shown })
}

/// Of those who set states: that they may. One that does not answer is left to who looks at them next.
pub(super) async fn require_admin(load_balancers: &[HaproxySocket]) -> Result<(), Error> {
    for socket in load_balancers {
        match socket.require_admin().await {
            Err(LoadBalancerError::Unreachable { .. }) if load_balancers.len() > 1 => {}
            result => result?,
        }
    }
    Ok(())
}

/// The first socket of the configuration that has level admin and that we know how to open.
pub(super) fn admin_socket(configuration: &Configuration) -> Result<SocketAddress, Error> {
    let sockets = &configuration.stats_sockets;
    let admin = sockets.iter().filter(|socket| socket.level == Level::Admin);
    if let Some(address) = admin.clone().find_map(connectable) {
        return Ok(address);
    }
    let found = match sockets.first() {
        None => "the configuration has no `stats socket`".to_owned(),
        Some(StatsSocket { level, place, .. }) if *level != Level::Admin => {
            format!(
                "the `stats socket` at {place} has level {level}, and setting a server's state needs level admin"
            )
        }
        Some(StatsSocket { place, .. }) => {
            format!("the `stats socket` at {place} cannot be opened from outside HAProxy")
        }
    };
    Err(Error::NoAdminSocket { found })
}

fn connectable(socket: &StatsSocket) -> Option<SocketAddress> {
    match &socket.address {
        cfg::SocketAddress::Unix(path) => Some(SocketAddress::Unix(path.into())),
        cfg::SocketAddress::Abstract(name) => Some(SocketAddress::Abstract(name.clone())),
        cfg::SocketAddress::Inet(Host::Ip(ip), port) => {
            // What listens everywhere is reached at home.
            let host = if ip.is_unspecified() { "127.0.0.1".to_owned() } else { ip.to_string() };
            Some(SocketAddress::Tcp { host, port: *port })
        }
        cfg::SocketAddress::Inet(Host::Name(host), port) => {
            Some(SocketAddress::Tcp { host: host.clone(), port: *port })
        }
        cfg::SocketAddress::Fd(_) | cfg::SocketAddress::Other(_) => None,
    }
}
