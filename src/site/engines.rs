//! The container engines of a run, by name.

use super::unanswered::TrackedEngine;
use crate::observation::Container;
use crate::ports::{ContainerEngine, EngineError};
use crate::run::engine_call::EngineCall;

/// The engines, by the name under which their containers refer to them ([`Container::engine`]).
#[derive(Debug)]
pub struct Engines<E>(Vec<(String, TrackedEngine<E>)>);

impl<E: ContainerEngine> Engines<E> {
    /// Wraps these engines. The first one resolves tags.
    #[must_use]
    pub fn new(engines: Vec<(String, E)>) -> Self {
        Self(engines.into_iter().map(|(name, engine)| (name, TrackedEngine::new(engine))).collect())
    }

    /// Returns all engines with their names.
    pub fn all(&self) -> impl Iterator<Item = (&str, &TrackedEngine<E>)> {
        self.0.iter().map(|(name, engine)| (name.as_str(), engine))
    }

    /// Returns the calls that an engine may still carry out, each with the engine's name.
    #[must_use]
    pub fn unanswered(&self) -> Vec<(String, EngineCall)> {
        let calls = |(name, engine): (&str, &TrackedEngine<E>)| {
            engine.unanswered().into_iter().map(|call| (name.to_owned(), call)).collect::<Vec<_>>()
        };
        self.all().flat_map(calls).collect()
    }

    /// Returns the engine with this name.
    pub fn named(&self, name: &str) -> Result<&TrackedEngine<E>, EngineError> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, engine)| engine).ok_or_else(|| EngineError::Unreachable {
            endpoint: name.to_owned(),
            reason: "no server line uses it any more, according to [engines] in drainswap.toml".to_owned(),
        })
    }

    /// Returns the engine that a container is on.
    pub fn of(&self, container: &Container) -> Result<&TrackedEngine<E>, EngineError> {
        self.named(&container.engine)
    }

    /// Returns the engine that resolves tags.
    pub fn first(&self) -> Result<&TrackedEngine<E>, EngineError> {
        self.named(self.0.first().map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::memory::Memory;
    use crate::testing::{World, image};

    #[tokio::test(start_paused = true)]
    async fn engines_are_found_by_the_name_that_containers_use() {
        let world = World::pair();
        let memory = Memory::new(&world.configuration, 1, &image("v1"), 1);
        let names = ["", "ssh://app2"];
        let engines = Engines::new(Vec::from(names.map(|name| (name.to_owned(), memory.engine()))));
        assert_eq!(engines.all().map(|(name, _)| name).collect::<Vec<_>>(), names);
        assert!(std::ptr::eq(engines.first().unwrap(), engines.named("").unwrap()));
        let mut container = world.observation.containers[0].clone();
        container.engine = "ssh://app2".to_owned();
        assert!(std::ptr::eq(engines.of(&container).unwrap(), engines.named("ssh://app2").unwrap()));
        let error = engines.named("ssh://app3").err().unwrap().to_string();
        assert!(error.contains("no server line uses it any more"), "{error}");
        assert!(Engines::<crate::adapters::memory::MemoryEngine>::new(Vec::new()).first().is_err());
    }
}
