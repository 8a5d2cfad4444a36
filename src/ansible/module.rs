//! The Ansible modules.

/// An Ansible module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// Deploys, rolls back, promotes.
    Deploy,
    /// Moves a single server, with the options of `community.general.haproxy`.
    Server,
    /// Shows the state of the servers.
    Info,
    /// Installs or checks haproxy.cfg.
    Config,
}

impl Module {
    /// All modules.
    pub const ALL: [Self; 4] = [Self::Deploy, Self::Server, Self::Info, Self::Config];

    /// Returns the module's name in a task, without that of the collection.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deploy => "drainswap_deploy",
            Self::Server => "drainswap_server",
            Self::Info => "drainswap_info",
            Self::Config => "drainswap_config",
        }
    }

    /// Returns the module for the name of a file, such as `AnsiballZ_drainswap_deploy`, or of an action, such as
    /// `drainswap.drainswap.drainswap_deploy`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let name = name.rsplit('.').next().unwrap_or(name);
        let name = name.strip_prefix("AnsiballZ_").unwrap_or(name);
        Self::ALL.into_iter().find(|module| module.name() == name)
    }
}
