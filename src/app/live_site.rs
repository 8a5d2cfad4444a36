//! The site of the settings, with its real HAProxy, engines, probes, clock and hooks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::App;
use crate::adapters::docker::{DockerEngine, Endpoint};
use crate::adapters::environment;
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::haproxy::address::SocketAddress;
use crate::adapters::hook_command::HookCommands;
use crate::adapters::http_probe::HttpProber;
use crate::app::error::Error;
use crate::cfg::Configuration;
use crate::deploy::Tracked;
use crate::model::ids::ServerId;
use crate::ports::{ContainerEngine, EngineError, WallClock};
use crate::run::journal::SiteIdentity;
use crate::site::Site;
use crate::site::engines::Engines;
use crate::topology;
use crate::topology::engine_map::Engine;

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

impl App {
    /// Connects to everything that a run needs. The error names what does not answer.
    ///
    /// Connects only to the engines behind these backends, or to all engines if none is named.
    pub(super) async fn site(
        &self,
        configuration: &Configuration,
        backends: &[String],
        load_balancers: Vec<HaproxySocket>,
    ) -> Result<LiveSite, Error> {
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
        let engines = self.engines(configuration, backends);
        let connected = try_join_all(engines.into_iter().map(connect)).await?;
        let (ids, engines): (Vec<_>, Vec<_>) = connected.into_iter().unzip();
        let identity = SiteIdentity {
            engines: ids.into_iter().flatten().collect(),
            ..self.site_identity(configuration, &load_balancers)
        };
        let hooks = HookCommands { commands: self.settings.hooks.clone(), limit: self.settings.hook_timeout };
        Ok(Site {
            load_balancers: load_balancers.into_iter().map(Tracked::new).collect(),
            engines: Engines::new(engines),
            prober: HttpProber::new()?,
            clock: SystemClock,
            hooks,
            descriptions: self.settings.descriptions(),
            typed: self.typed.clone(),
            identity,
        })
    }

    /// Returns the engines behind these backends, each with whether a password may be sent in plain text through it.
    fn engines(&self, configuration: &Configuration, backends: &[String]) -> BTreeMap<String, bool> {
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
        engines
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
}
