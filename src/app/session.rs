//! A command's session: everything that it reads before it decides.

use super::live_site::LiveSite;
use super::loaded_config::LoadedConfig;
use super::runtime_sockets::require_admin;
use super::{App, known_backend};
use crate::app::error::Error;
use crate::cfg::{Configuration, Level};
use crate::observation::Observation;
use crate::plan::LbQuorum;
use crate::topology::Topology;

/// What a command does at the load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It looks: a runtime socket of any level will do.
    Look,
    /// It shows changes: the runtime socket must be one that allows them.
    Plan,
    /// It makes changes: the load balancers must confirm that they allow them.
    Change,
}

impl Access {
    fn level(self) -> Level {
        match self {
            Self::Look => Level::User,
            Self::Plan | Self::Change => Level::Admin,
        }
    }
}

/// What a command works from: haproxy.cfg, the HAProxy that runs it, and the site behind both.
///
/// A command reads them once. It opens another session only where the first one may be out of date: after it has waited
/// for a lock, since the holder may have installed another haproxy.cfg, and each time that `status --watch` looks.
pub(super) struct Session {
    pub(super) loaded: LoadedConfig,
    pub(super) site: LiveSite,
    access: Access,
    backends: Vec<String>,
}

impl Session {
    pub(super) fn configuration(&self) -> &Configuration {
        &self.loaded.configuration
    }
}

impl App {
    /// Opens a session for these backends, or for all if none is named. The error names what is wrong in haproxy.cfg,
    /// or what does not answer.
    pub(super) async fn open(&self, access: Access, backends: &[String]) -> Result<Session, Error> {
        let loaded = self.load_config().await?;
        let load_balancers = self.connect(&loaded, access.level()).await?;
        for backend in backends {
            known_backend(&loaded.configuration, backend)?;
        }
        if access == Access::Change {
            require_admin(&load_balancers).await?;
        }
        let site = self.site(&loaded.configuration, backends, load_balancers).await?;
        Ok(Session { loaded, site, access, backends: backends.to_owned() })
    }

    /// Opens a session like this one, for what may have changed since.
    pub(super) async fn reopen(&self, session: &Session) -> Result<Session, Error> {
        self.open(session.access, &session.backends).await
    }

    /// Observes the site once, and relates the observation to the configuration.
    pub(super) async fn observe(
        &self,
        session: &Session,
        quorum: LbQuorum,
    ) -> Result<(Observation, Topology), Error> {
        Ok(session.site.observe(session.configuration(), &self.settings.places, quorum).await?)
    }
}
