//! The API of the engine in memory: its calls, and the changes that they make, in time or late.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::call::Part;
use super::engine::{ContainerRecord, EndedBy, digest_of};
use super::{Effect, Memory, Millis, ScheduledEvent, SimulatedSite};
use crate::model::ids::{ContainerId, ImageId};
use crate::model::image::{Image, ImageReference, Platform};
use crate::observation::{Container, ContainerChange, Host, RestartPolicy, SurgeLabel};
use crate::ports::{ContainerEngine, ContainerStatus, EngineError, PullProgress};
use crate::run::engine_call::EngineCall;
use crate::service::create_spec::{Beside, CreateSpec, SpecSource};

/// How long a supervisor takes to restart a container.
const SUPERVISED_RESTART: Millis = 5;

/// How long a container that ignores its stop signal takes to stop.
const STOP: Millis = 10_000;

/// A change requested from the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineRequest {
    Create(Box<CreateSpec>),
    Change(EngineCall),
}

impl SimulatedSite {
    /// Executes a call whose caller has given up and never sees the result.
    pub(super) fn late_call(&mut self, called: &EngineRequest) {
        let error = match called {
            EngineRequest::Create(recipe) => self.create_by(recipe).err(),
            EngineRequest::Change(call) => self.carry_out(call).err(),
        };
        self.log(|| {
            let what = match called {
                EngineRequest::Create(recipe) => format!("create {}", recipe.name),
                EngineRequest::Change(call) => call.to_string(),
            };
            format!("the engine executes late: {what}{}", error.map_or(String::new(), |it| format!(", {it}")))
        });
    }

    /// Continues a stop whose caller has died, if it waits for the container's exit.
    pub(super) fn continue_request(&mut self, called: &EngineRequest) {
        let EngineRequest::Change(EngineCall::Stop { container }) = called else { return };
        if let Some(started_at) = self.engine.find(container).filter(|it| it.runs()).map(|it| it.started_at) {
            self.schedule(STOP, ScheduledEvent::Stopped(container.clone(), started_at));
        }
    }

    /// Finishes a continued stop, unless the container was stopped in another way.
    pub(super) fn stop_ends(&mut self, id: &ContainerId, started_at: Millis) {
        if self.engine.find(id).is_some_and(|it| it.started_at == started_at) {
            self.log(|| format!("a stop of {} finishes", id.short()));
            self.stop(id);
        }
    }

    fn create_by(&mut self, recipe: &CreateSpec) -> Result<ContainerId, EngineError> {
        let (all, restart) = match &recipe.model {
            SpecSource::CopyOf(id) => {
                let like = self
                    .engine
                    .find(id)
                    .map(|place| &place.container)
                    .ok_or_else(|| refused("create", &recipe.name, "the container to copy is gone"))?;
                let pinned = &recipe.pinned.ports;
                let all = if pinned.is_empty() { like.published.clone() } else { pinned.clone() };
                (all, like.restart.clone())
            }
            SpecSource::Described { wanted, .. } => {
                (Vec::new(), wanted.described().map_or_else(RestartPolicy::never, |it| it.restart))
            }
        };
        self.remove_leftover(recipe)?;
        if let Some(beside) = &recipe.beside {
            return Ok(self.create_beside(recipe, beside));
        }
        let address = recipe.publish.or(all.first().copied()).map(|it| SocketAddr::new(it.ip, it.port));
        let address = address.ok_or_else(|| refused("create", &recipe.name, "it publishes no port"))?;
        let id = self.engine.create(recipe.name.clone(), address, &recipe.image, restart);
        let floats = match &recipe.model {
            SpecSource::CopyOf(like) => self.engine.find(like).is_some_and(|like| like.floats),
            SpecSource::Described { .. } => false,
        };
        if let Some(new) = self.engine.find_mut(&id) {
            new.floats = floats && recipe.pinned.ports.is_empty();
            new.container.published.extend(all.iter().skip(1));
        }
        self.effect(&Effect::Created(id.clone()));
        Ok(id)
    }

    /// Removes the container that an earlier attempt left under the new one's name.
    fn remove_leftover(&mut self, recipe: &CreateSpec) -> Result<(), EngineError> {
        if let Some(leftover) = self.engine.named(&recipe.name) {
            if leftover.container.image.0 != digest_of(&recipe.image) {
                return Err(refused("create", &recipe.name, "the name is in use"));
            }
            let id = leftover.container.id.clone();
            self.engine.containers.retain(|place| place.container.id != id);
        }
        Ok(())
    }

    fn create_beside(&mut self, recipe: &CreateSpec, beside: &Beside) -> ContainerId {
        let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let never = RestartPolicy::never();
        let id = self.engine.create(recipe.name.clone(), anywhere, &recipe.image, never);
        if let Some(new) = self.engine.find_mut(&id) {
            new.container.surge = SurgeLabel::Of(beside.run.clone());
            new.asked_for = Some(beside.publish.clone());
            new.give_back();
        }
        self.effect(&Effect::Created(id.clone()));
        id
    }

    fn carry_out(&mut self, call: &EngineCall) -> Result<(), EngineError> {
        let there = |id: &ContainerId, what| match self.engine.find(id) {
            Some(_) => Ok(()),
            None => Err(refused(what, id.short(), "No such container")),
        };
        match call {
            EngineCall::Create { .. } => Ok(()),
            EngineCall::Start { container } => {
                there(container, "start")?;
                self.start(container)
            }
            EngineCall::Stop { container } => {
                there(container, "stop")?;
                self.stop(container);
                Ok(())
            }
            EngineCall::Rename { container, name } => {
                there(container, "rename")?;
                self.rename(container, name)
            }
            EngineCall::SetRestart { container, policy } => {
                there(container, "set the restart policy of")?;
                if let Some(place) = self.engine.find_mut(container) {
                    place.container.restart = policy.clone();
                }
                Ok(())
            }
            EngineCall::Remove { container } => {
                self.remove(container);
                Ok(())
            }
        }
    }

    fn start(&mut self, container: &ContainerId) -> Result<(), EngineError> {
        let Some(place) = self.engine.find(container).filter(|place| !place.runs()) else { return Ok(()) };
        if place.address().is_some_and(|address| self.engine.at(address).is_some()) {
            return Err(refused("start", container.short(), "port is already allocated"));
        }
        self.run(container);
        self.effect(&Effect::Started(container.clone()));
        Ok(())
    }

    fn stop(&mut self, container: &ContainerId) {
        if self.engine.find(container).is_some_and(ContainerRecord::runs) {
            let cut = self.end_container(container, EndedBy::Us, 143);
            self.effect(&Effect::Stopped(container.clone(), cut));
            if self.engine.supervised.contains(container) {
                self.schedule(SUPERVISED_RESTART, ScheduledEvent::SupervisorStarts(container.0.clone()));
            }
        }
    }

    fn rename(&mut self, container: &ContainerId, name: &str) -> Result<(), EngineError> {
        match self.engine.named(name) {
            Some(place) if place.container.id == *container => return Ok(()),
            Some(_) => {
                return Err(refused("rename", container.short(), format!("the name {name} is in use")));
            }
            None => {}
        }
        if let Some(place) = self.engine.find_mut(container) {
            name.clone_into(&mut place.container.name);
        }
        self.effect(&Effect::Renamed(container.clone(), name.to_owned()));
        Ok(())
    }

    fn remove(&mut self, container: &ContainerId) {
        let Some(place) = self.engine.find(container) else { return };
        if place.runs() {
            let cut = self.end_container(container, EndedBy::Us, 137);
            self.effect(&Effect::Stopped(container.clone(), cut));
        }
        self.effect(&Effect::Removed(container.clone()));
        self.engine.containers.retain(|place| place.container.id != *container);
    }
}

/// The engine's API.
pub struct MemoryEngine(pub(super) Memory);

fn refused(action: &'static str, subject: &str, reason: impl Into<String>) -> EngineError {
    EngineError::Refused { action, subject: subject.to_owned(), reason: reason.into() }
}

impl MemoryEngine {
    async fn ask<T: Send>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&mut SimulatedSite) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        self.0.call(Part::Engine, what, effect).await
    }

    async fn change(&self, what: &'static str, call: EngineCall) -> Result<(), EngineError> {
        let late = ScheduledEvent::LateCall(EngineRequest::Change(call.clone()));
        let change = |site: &mut SimulatedSite| site.carry_out(&call);
        self.0.call_or_late(Part::Engine, what, Some(late), change).await
    }

    /// Calls the engine about a container, and fails if that does not exist.
    async fn ask_of<T: Send>(
        &self,
        what: &'static str,
        id: &ContainerId,
        effect: impl FnOnce(&mut SimulatedSite) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        let ask = |site: &mut SimulatedSite| match site.engine.find(id) {
            Some(_) => effect(site),
            None => Err(refused(what, id.short(), "No such container")),
        };
        self.ask(what, ask).await
    }
}

impl ContainerEngine for MemoryEngine {
    async fn id(&self) -> Result<Option<String>, EngineError> {
        Ok(Some("memory".to_owned()))
    }

    fn late_effect_window(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        let list = |site: &mut SimulatedSite| {
            Ok(site.engine.containers.iter().map(|place| site.engine.inspected(place, site.now)).collect())
        };
        self.ask("list", list).await
    }

    async fn host_addresses(&self, addresses: BTreeSet<IpAddr>) -> Result<BTreeSet<IpAddr>, EngineError> {
        self.ask("host addresses", |_| Ok(addresses)).await
    }

    async fn host(&self, _paths: BTreeSet<String>) -> Host {
        Host::default()
    }

    async fn resolve(&self, reference: &ImageReference) -> Result<Image, EngineError> {
        let tag = reference.tag.clone().unwrap_or_default();
        let digit = tag.chars().last().filter(char::is_ascii_hexdigit).unwrap_or('0').to_string();
        let digest = format!("sha256:{}", digit.repeat(64));
        self.ask("resolve", |_| Ok(Image::Registry { reference: reference.clone(), digest })).await
    }

    async fn has(&self, image: &Image) -> Result<bool, EngineError> {
        let digest = digest_of(image);
        self.ask("find image", |site: &mut SimulatedSite| Ok(site.engine.pulled.contains(&digest))).await
    }

    async fn only_copy(&self, _image: &Image) -> Result<Option<String>, EngineError> {
        // All images came from the registry.
        self.ask("find image", |_| Ok(None)).await
    }

    async fn tag(&self, image: &ImageId, name: &str) -> Result<(), EngineError> {
        let (image, name) = (image.clone(), name.to_owned());
        let tag = |site: &mut SimulatedSite| {
            site.engine.tags.insert(name, image);
            Ok(())
        };
        self.ask("tag", tag).await
    }

    async fn named(&self, name: &str) -> Result<Option<(ImageId, Vec<String>)>, EngineError> {
        let name = name.to_owned();
        let find = move |site: &mut SimulatedSite| {
            Ok(site.engine.tags.get(&name).map(|id| (id.clone(), Vec::new())))
        };
        self.ask("find image", find).await
    }

    async fn untag(&self, name: &str) -> Result<bool, EngineError> {
        let name = name.to_owned();
        self.ask("untag", move |site: &mut SimulatedSite| Ok(site.engine.tags.remove(&name).is_some())).await
    }

    async fn remove_image(&self, image: &Image) -> Result<bool, EngineError> {
        let digest = digest_of(image);
        self.ask("remove image", |site: &mut SimulatedSite| Ok(site.engine.pulled.remove(&digest))).await
    }

    async fn pull(
        &self,
        image: &Image,
        _platform: Option<&Platform>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        let breaks_off = std::mem::take(&mut self.0.site().engine.registry_breaks_off);
        for received in [100, 200].into_iter().filter(|_| breaks_off) {
            progress(PullProgress { received, expected: 1_000, is_retrying: true });
            self.ask("pull a part", |_| Ok(())).await?;
        }
        progress(PullProgress { received: 300, expected: 1_000, is_retrying: false });
        let digest = digest_of(image);
        let pull = |site: &mut SimulatedSite| {
            site.engine.pulled.insert(digest);
            Ok(())
        };
        self.ask("pull", pull).await
    }

    async fn create(&self, recipe: &CreateSpec) -> Result<ContainerId, EngineError> {
        let late = ScheduledEvent::LateCall(EngineRequest::Create(Box::new(recipe.clone())));
        let create = |site: &mut SimulatedSite| site.create_by(recipe);
        self.0.call_or_late(Part::Engine, "create", Some(late), create).await
    }

    async fn changes(&self, _recipe: &CreateSpec) -> Result<Option<Vec<ContainerChange>>, EngineError> {
        self.ask("compare", |_| Ok(None)).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.change("start", EngineCall::Start { container: container.clone() }).await
    }

    async fn stop(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.change("stop", EngineCall::Stop { container: container.clone() }).await
    }

    async fn rename(&self, container: &ContainerId, name: &str) -> Result<(), EngineError> {
        let call = EngineCall::Rename { container: container.clone(), name: name.to_owned() };
        self.change("rename", call).await
    }

    async fn set_restart(&self, container: &ContainerId, policy: &RestartPolicy) -> Result<(), EngineError> {
        let call = EngineCall::SetRestart { container: container.clone(), policy: policy.clone() };
        self.change("set the restart policy of", call).await
    }

    async fn remove(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.change("remove", EngineCall::Remove { container: container.clone() }).await
    }

    async fn remove_with_volumes(
        &self,
        container: &ContainerId,
        _but: &BTreeSet<String>,
    ) -> Result<(), EngineError> {
        // No container has a volume here.
        self.remove(container).await
    }

    async fn container(&self, container: &ContainerId) -> Result<Container, EngineError> {
        let inspect = |site: &mut SimulatedSite| {
            let place = site.engine.find(container);
            place
                .map(|it| site.engine.inspected(it, site.now))
                .ok_or_else(|| refused("inspect", container.short(), "No such container"))
        };
        self.ask_of("inspect", container, inspect).await
    }

    async fn status(&self, container: &ContainerId) -> Result<ContainerStatus, EngineError> {
        let pulse = |site: &mut SimulatedSite| {
            let place = site.engine.find(container);
            let place = place.ok_or_else(|| refused("inspect", container.short(), "No such container"))?;
            let health = site.engine.health(place, site.now);
            Ok(ContainerStatus {
                running: place.runs(),
                exit_code: place.exit_code,
                out_of_memory: place.out_of_memory,
                health_log: health.iter().map(|(_, output)| output.clone()).collect(),
                health,
            })
        };
        self.ask_of("inspect", container, pulse).await
    }

    async fn log_tail(&self, container: &ContainerId, _lines: usize) -> Result<Vec<String>, EngineError> {
        self.ask_of("read the log of", container, |_| Ok(vec!["it says nothing".to_owned()])).await
    }
}
