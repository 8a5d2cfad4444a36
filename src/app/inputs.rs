//! Connects to everything that the settings name, and observes it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::App;
use super::contained::hide_own_network;
use crate::adapters::docker::{DockerEngine, Endpoint};
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::haproxy::address::SocketAddress;
use crate::adapters::haproxy_service::{ExecError, KnownService, Running, ServiceSource, Unit, listed};
use crate::adapters::hook_command::HookCommands;
use crate::adapters::http_probe::HttpProber;
use crate::adapters::{config_files, environment, haproxy_binary};
use crate::app::error::Error;
use crate::cfg::{
    self, Build, Configuration, Document, Environment, Host, Level, Problem, Severity, SourceFile,
    StatsSocket, Version,
};
use crate::deploy::Tracked;
use crate::model::ids::ServerId;
use crate::observation::Observation;
use crate::plan::LbQuorum;
use crate::ports::{ContainerEngine, EngineError, LoadBalancerError, WallClock};
use crate::run::journal::SiteIdentity;
use crate::site::Site;
use crate::site::engines::Engines;
use crate::topology::engine_map::Engine;
use crate::topology::{self, Topology};

/// haproxy.cfg as it was read.
pub(super) struct LoadedConfig {
    /// The files, byte for byte.
    pub document: Document,
    /// The interpreted files.
    pub configuration: Configuration,
    /// The facts about the HAProxy that runs the files.
    pub known: KnownService,
}

/// The site with its real HAProxy, engines, probes, clock and hooks.
pub(super) type LiveSite = Site<HaproxySocket, DockerEngine, HttpProber, SystemClock, HookCommands>;

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemClock;

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Reads the files, and asks the binary about the conditions that only it can decide. A condition that is true may
/// reveal others.
fn decided(files: &[SourceFile], mut environment: Environment, binary: &Path) -> Document {
    /// The most conditions that the binary is asked about: each question starts a process.
    const MOST: usize = 64;
    let mut asked = BTreeSet::new();
    loop {
        let document = cfg::read(files.to_vec(), &environment);
        let Some(build) = &mut environment.build else { return document };
        let new: BTreeSet<_> = document.questions.difference(&asked).cloned().collect();
        if new.is_empty() || asked.len() + new.len() > MOST {
            return document;
        }
        let answers = haproxy_binary::answers(binary, environment.version, &new);
        asked.extend(new);
        build.answers.extend(answers);
    }
}

impl App {
    /// Returns the configuration and the load balancers that run it, for commands that set states: each with its master
    /// socket, if that is known.
    pub(super) async fn load_balancers(&self) -> Result<(Configuration, Vec<HaproxySocket>), Error> {
        self.load_balancers_at(Level::Admin).await
    }

    /// Returns the configuration and the load balancers for commands that only look: a socket of any level will do.
    pub(super) async fn load_balancers_to_look_at(
        &self,
    ) -> Result<(Configuration, Vec<HaproxySocket>), Error> {
        self.load_balancers_at(Level::User).await
    }

    async fn load_balancers_at(&self, needed: Level) -> Result<(Configuration, Vec<HaproxySocket>), Error> {
        let LoadedConfig { document, configuration, known } = self.load_config().await?;
        refuse_errors(&document, &configuration)?;
        if self.settings.sockets.is_empty() && known.running.container.is_none() {
            let socket = stats_socket(&configuration, needed)?;
            if matches!(&socket, SocketAddress::Unix(path) if !path.exists()) {
                self.refuse_where_a_container_is_meant(format!("there is no socket {socket}")).await?;
            }
        }
        let mut sockets = Vec::new();
        for (index, socket) in self.sockets(&configuration, &known.running, needed)?.into_iter().enumerate() {
            let socket = match self.settings.master_sockets.get(index) {
                Some(named) => match socket.clone().with_master(known.named_master(named.parse()?)).await {
                    // One of several may be unreachable; `look` decides what that means.
                    Err(LoadBalancerError::Unreachable { .. }) if self.settings.sockets.len() > 1 => socket,
                    result => result?,
                },
                None => match known.master() {
                    // A master socket that was found, not named, may belong to another HAProxy.
                    Some(found) => socket.clone().with_master(found).await.unwrap_or(socket),
                    None => socket,
                },
            };
            sockets.push(socket);
        }
        // The file is on this host, and so is the first load balancer, if any of them is.
        if let Some(file) = configuration.saved_states_file()
            && let Some(first) = sockets.first_mut()
        {
            *first = first.clone().saving_states_in(file.to_owned());
        }
        Ok((configuration, sockets))
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

    /// Reads haproxy.cfg. Returns its bytes and their interpretation.
    pub(super) async fn document(&self) -> Result<(Document, Configuration), Error> {
        let LoadedConfig { document, configuration, .. } = self.load_config().await?;
        Ok((document, configuration))
    }

    /// Reads haproxy.cfg and identifies the HAProxy that runs it.
    pub(super) async fn load_config(&self) -> Result<LoadedConfig, Error> {
        let (files, known) = self.files().await?;
        let build = haproxy_binary::build(&known.service.binary);
        if self.settings.haproxy.is_some() && build.is_none() {
            let reason = "its answer to -vv is not that of HAProxy".to_owned();
            return Err(ExecError { binary: known.service.binary.display().to_string(), reason }.into());
        }
        let document = decided(&files, self.environment(&known, build), &known.service.binary);
        if let Some(question) = document.questions.first() {
            self.undecided.call_once(|| {
                self.note(&format!(
                    "note: cannot decide {question} in a condition of .if, which counts as false: HAProxy may run something else. \
                     Name the binary that runs with --haproxy"
                ));
            });
        }
        let mut configuration = cfg::interpret(&document);
        if let Some(contained) = &known.running.container {
            // The container can replace this file with anything, so drainswap does not write it.
            configuration.server_state_file = None;
            if !contained.process.shares_network {
                self.note_own_network(&hide_own_network(&mut configuration), contained);
            }
        }
        Ok(LoadedConfig { document, configuration, known })
    }

    /// Returns the files of haproxy.cfg, and what is known about the HAProxy that runs them.
    async fn files(&self) -> Result<(Vec<SourceFile>, KnownService), Error> {
        if let Some(found) = self.in_container().await? {
            let known = self.known_in_container(&found).await;
            return Ok((found.files, known));
        }
        let files = match config_files::read(&self.settings.haproxy_config) {
            Err(error) if !self.settings.is_config_named && self.settings.sockets.is_empty() => {
                self.refuse_where_a_container_is_meant(error.to_string()).await?;
                return Err(error.into());
            }
            files => files?,
        };
        let known = self.known(&files).await;
        Ok((files, known))
    }

    /// Returns the version that haproxy.cfg is read as, even if it cannot be read.
    pub(super) async fn version(&self) -> Version {
        let known = match self.files().await {
            Ok((_, known)) => known,
            Err(_) => self.known(&[]).await,
        };
        let build = haproxy_binary::build(&known.service.binary);
        self.environment(&known, build).version
    }

    /// Returns the environment that haproxy.cfg is read with: the service's variables, and the version of `--as`, of
    /// the named binary, of the running HAProxy, or of the installed one, in this order.
    fn environment(&self, known: &KnownService, build: Option<Build>) -> Environment {
        let installed = build.as_ref().and_then(|build| build.version.parse().ok());
        let named = installed.filter(|_| self.settings.haproxy.is_some());
        let version = self.settings.read_as.or(named).or(known.running.version).or(installed);
        let version = version.unwrap_or(haproxy_binary::NEWEST);
        // A binary of another version, or of a container, may have other build options.
        let is_its_own = known.running.container.is_none() || self.settings.haproxy.is_some();
        let build = build.filter(|_| installed == Some(version) && is_its_own);
        Environment { build, ..Environment::new(known.variables.clone(), version) }
    }

    /// Identifies the HAProxy that runs these files, or notes once that this is impossible.
    async fn known(&self, files: &[SourceFile]) -> KnownService {
        let paths = &self.settings.haproxy_config;
        let listed = listed(paths);
        let unit = Unit::installed().filter(|unit| unit.invocation.reads(&listed));
        let running = Running::find(&self.first_sockets(files, unit.as_ref()), &listed).await;
        let known = KnownService::new(paths, files, self.settings.haproxy.as_deref(), unit, running);
        if let (Some(reason), ServiceSource::Settings) = (&known.running.unidentified, &known.service.source)
        {
            self.unidentified.call_once(|| {
                self.note(&format!(
                    "note: cannot identify the HAProxy that answers ({reason}). The files are read as given and checked with {}; \
                     a master socket is only used if --master-socket names it",
                    known.service.binary.display()
                ));
            });
        }
        known
    }

    /// Returns the sockets that may lead to the HAProxy, before its environment is known. Errors in them are reported
    /// where they are used.
    pub(super) fn first_sockets(&self, files: &[SourceFile], unit: Option<&Unit>) -> Vec<SocketAddress> {
        if !self.settings.sockets.is_empty() {
            return self.named_sockets().unwrap_or_default();
        }
        let variables = unit.map_or_else(environment::variables, |unit| unit.environment.clone());
        let version = self.settings.read_as.unwrap_or(haproxy_binary::NEWEST);
        let document = cfg::read(files.to_vec(), &Environment::new(variables, version));
        let configuration = cfg::interpret(&document);
        stats_socket(&configuration, Level::User).into_iter().collect()
    }

    /// Connects to everything that a run needs. The error names what does not answer.
    ///
    /// Connects only to the engines behind these backends, or to all engines if none is named.
    pub(super) async fn site(
        &self,
        configuration: &Configuration,
        backends: &[String],
        load_balancers: Vec<HaproxySocket>,
    ) -> Result<LiveSite, Error> {
        let proxies = topology::with_servers(configuration)
            .filter(|proxy| backends.is_empty() || backends.contains(&proxy.name));
        let servers = proxies.flat_map(|proxy| proxy.servers.iter().map(move |server| (proxy, server)));
        let default =
            Engine { endpoint: String::new(), allow_plain_password: self.settings.allow_plain_password };
        let mut engines: BTreeMap<String, bool> = BTreeMap::new();
        for (proxy, server) in servers {
            let id = ServerId::new(&proxy.name, &server.name);
            let engine = self.settings.places.engine(&id, &server.address).unwrap_or_else(|| default.clone());
            *engines.entry(engine.endpoint).or_default() |= engine.allow_plain_password;
        }
        if engines.is_empty() {
            engines.insert(default.endpoint, default.allow_plain_password);
        }
        let environment = environment::variables();
        let connect = async |(name, allow_plain_password): (String, bool)| {
            let text =
                Some(name.as_str()).filter(|name| !name.is_empty()).or(self.settings.docker.as_deref());
            let engine = DockerEngine::connect(Endpoint::read(text, &environment)?).await?;
            // Without an engine's ID, the site is still recognized by its other marks.
            let id = engine.id().await.ok().flatten();
            let registries = self.settings.registries.clone();
            Ok::<_, EngineError>((id, (name, engine.with_logins(registries, allow_plain_password))))
        };
        let connected = try_join_all(engines.into_iter().map(connect)).await?;
        let (ids, engines): (Vec<_>, Vec<_>) = connected.into_iter().unzip();
        let engines = Engines::new(engines);
        let identity = SiteIdentity {
            engines: ids.into_iter().flatten().collect(),
            ..self.site_identity(configuration, &load_balancers)
        };
        let hooks = HookCommands { commands: self.settings.hooks.clone(), limit: self.settings.hook_timeout };
        Ok(Site {
            load_balancers: load_balancers.into_iter().map(Tracked::new).collect(),
            engines,
            prober: HttpProber::new()?,
            clock: SystemClock,
            hooks,
            descriptions: self.settings.descriptions(),
            typed: self.typed.clone(),
            identity,
        })
    }

    /// Returns the marks of this site that distinguish it from others, without the IDs of its engines.
    pub(super) fn site_identity(
        &self,
        configuration: &Configuration,
        load_balancers: &[HaproxySocket],
    ) -> SiteIdentity {
        let real =
            |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string();
        let servers = topology::with_servers(configuration).flat_map(|proxy| {
            let id = |name: &str| ServerId::new(&*proxy.name, name);
            proxy.servers.iter().map(move |server| (id(&server.name), server.address.to_string()))
        });
        let sockets = load_balancers.iter().map(|socket| match socket.address() {
            SocketAddress::Unix(path) => real(path),
            address @ (SocketAddress::Abstract(_) | SocketAddress::Tcp { .. }) => address.to_string(),
        });
        SiteIdentity {
            servers: servers.collect(),
            sockets: sockets.collect(),
            engines: BTreeSet::new(),
            files: self.settings.haproxy_config.iter().map(|path| real(path)).collect(),
        }
    }

    /// Observes the site once, and relates the observation to the configuration.
    pub(super) async fn observe(
        &self,
        configuration: &Configuration,
        site: &LiveSite,
        quorum: LbQuorum,
    ) -> Result<(Observation, Topology), Error> {
        Ok(site.observe(configuration, &self.settings.places, quorum).await?)
    }
}

/// Refuses a configuration that HAProxy would not start with. The error shows each problem with its line and a caret.
pub(super) fn refuse_errors(document: &Document, configuration: &Configuration) -> Result<(), Error> {
    if !configuration.has_errors() {
        return Ok(());
    }
    let errors = configuration.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let problems: Vec<Problem> = errors.cloned().collect();
    let shown = cfg::reports(&problems, document);
    Err(Error::Configuration { problems, shown })
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
fn stats_socket(configuration: &Configuration, needed: Level) -> Result<SocketAddress, Error> {
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
