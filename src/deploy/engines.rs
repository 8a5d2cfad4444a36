//! The engines of a run: each container is somewhere, and is spoken of there.

use crate::observation::Container;
use crate::ports::{ContainerEngine, EngineError};

/// The engines, by the name that their containers have them under ([`Container::engine`]).
#[derive(Debug)]
pub struct Engines<E>(Vec<(String, E)>);

impl<E: ContainerEngine> Engines<E> {
    /// These engines. The first one is asked what a tag means.
    #[must_use]
    pub fn new(engines: Vec<(String, E)>) -> Self {
        Self(engines)
    }

    /// All, each with its name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &E)> {
        self.0.iter().map(|(name, engine)| (name.as_str(), engine))
    }

    /// The one of that name.
    pub fn named(&self, name: &str) -> Result<&E, EngineError> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, engine)| engine).ok_or_else(|| EngineError::Unreachable {
            endpoint: name.to_owned(),
            reason: "no server line leads to it any more, by [engines] in drainswap.toml".to_owned(),
        })
    }

    /// The one that a container is on.
    pub fn of(&self, container: &Container) -> Result<&E, EngineError> {
        self.named(&container.engine)
    }

    /// Whoever is asked what a tag means.
    pub fn first(&self) -> Result<&E, EngineError> {
        self.named(self.0.first().map_or("", |(name, _)| name))
    }
}
