//! The modules that there are.

/// A module of Ansible's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// Deploys, rolls back, promotes.
    Deploy,
    /// Moves a single server, with the options of `community.general.haproxy`.
    Server,
    /// Tells what is there.
    Info,
    /// Installs or checks haproxy.cfg.
    Config,
}

impl Module {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Deploy, Self::Server, Self::Info, Self::Config];

    /// Its name in a task, without the collection's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deploy => "drainswap_deploy",
            Self::Server => "drainswap_server",
            Self::Info => "drainswap_info",
            Self::Config => "drainswap_config",
        }
    }

    /// By the name of a file, such as `AnsiballZ_drainswap_deploy`, or of an action, such as
    /// `drainswap.drainswap.drainswap_deploy`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let name = name.rsplit('.').next().unwrap_or(name);
        let name = name.strip_prefix("AnsiballZ_").unwrap_or(name);
        Self::ALL.into_iter().find(|module| module.name() == name)
    }
}
