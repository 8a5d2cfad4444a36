//! A container engine: names, ports, images, and containers that boot, serve and exit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::call::Part;
use super::{Effect, Memory, Millis, ScheduledEvent, SimulatedSite};
use crate::model::ids::{ContainerId, ImageId};
use crate::model::image::{Image, ImageReference, Platform};
use crate::observation::ContainerChange;
use crate::observation::{
    Attachment, Container, ContainerState, Health, Healthcheck, Host, Published, RestartPolicy,
};
use crate::ports::{ContainerEngine, ContainerStatus, EngineError, PullProgress};
use crate::run::engine_call::EngineCall;
use crate::service::create_spec::{CreateSpec, SpecSource};

/// How long a supervisor takes to restart a container.
const SUPERVISED_RESTART: Millis = 5;

/// How long a container that ignores its stop signal takes to stop.
const STOP: Millis = 10_000;

/// How long the engine takes to restart.
const RESTART: Millis = 2_000;

/// The behaviour of an image's containers.
#[derive(Clone, Copy, Debug)]
pub struct ImageBehavior {
    /// How long a container boots.
    pub boots: Millis,
    /// Whether it accepts connections from its start, before it serves.
    pub accepts: bool,
    /// Whether it serves after booting.
    pub serves: bool,
    /// When it exits without being stopped, from its start.
    pub ends: Option<Millis>,
    /// Whether the kernel kills it then, because it is out of memory.
    pub out_of_memory: bool,
    pub healthcheck: Option<ImageCheck>,
}

/// A healthcheck of an image, which decides the container's health in the engine.
#[derive(Clone, Copy, Debug)]
pub struct ImageCheck {
    /// When it runs first after the start, and its interval from then on.
    pub every: Millis,
    /// Whether it passes while the container serves; a broken one never does.
    pub passes: bool,
}

impl Default for ImageBehavior {
    fn default() -> Self {
        Self { boots: 60, accepts: false, serves: true, ends: None, out_of_memory: false, healthcheck: None }
    }
}

/// The cause of a container's exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The process under test.
    Us,
    /// The container itself, a person, or the engine.
    Others,
}

/// A container, with the facts that only the engine knows.
#[derive(Clone, Debug)]
pub struct ContainerRecord {
    /// The container as `inspect` shows it.
    pub container: Container,
    pub started_at: Millis,
    /// Whether the engine chooses a new port at each start.
    pub floats: bool,
    /// The cause of its exit, if it has exited.
    pub ended_by: Option<EndedBy>,
    exit_code: i64,
    out_of_memory: bool,
}

/// The state of the engine.
#[derive(Default)]
pub struct SimulatedEngine {
    /// All containers, running or not.
    pub containers: Vec<ContainerRecord>,
    /// The behaviour of images, by digest; the default is an image that soon serves.
    pub builds: BTreeMap<String, ImageBehavior>,
    /// The containers that a supervisor restarts as soon as they stop.
    pub supervised: BTreeSet<ContainerId>,
    /// Whether the registry interrupts the next pull.
    pub registry_breaks_off: bool,
    /// The digests of the pulled images.
    pulled: BTreeSet<String>,
    /// The tags of images.
    pub tags: BTreeMap<String, ImageId>,
    count: u32,
}

impl ContainerRecord {
    /// Returns the address that it publishes.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.container.published.first().map(|it| SocketAddr::new(it.ip, it.port))
    }

    fn runs(&self) -> bool {
        self.container.state == ContainerState::Running
    }
}

impl SimulatedEngine {
    pub(super) fn add_running(&mut self, name: String, address: SocketAddr, image: &Image) {
        if self.at(address).is_none() {
            let id = self.create(
                name,
                address,
                image,
                RestartPolicy { name: "unless-stopped".to_owned(), maximum_retries: 0 },
            );
            if let Some(place) = self.find_mut(&id) {
                place.container.state = ContainerState::Running;
            }
        }
    }

    fn create(
        &mut self,
        name: String,
        address: SocketAddr,
        image: &Image,
        restart: RestartPolicy,
    ) -> ContainerId {
        self.count += 1;
        let id = ContainerId(
            format!("{:016x}", u64::from(self.count).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4),
        );
        let (image_reference, repo_digests) = match image {
            Image::Registry { reference, digest } => {
                (image.pinned(), vec![format!("{}@{digest}", reference.repository)])
            }
            Image::Local { reference, .. } => (reference.clone(), Vec::new()),
        };
        let container = Container {
            image_reference,
            image: ImageId(digest_of(image)),
            repo_digests,
            state: ContainerState::Created,
            published: vec![Published { ip: address.ip(), port: address.port(), container_port: 8080 }],
            networks: vec![Attachment {
                network: "bridge".to_owned(),
                addresses: Vec::new(),
                given: Vec::new(),
                is_gone: false,
                is_missing: false,
                aliases: Vec::new(),
            }],
            exposed: vec![8080],
            id: id.clone(),
            ..Container::described(name, restart, String::new())
        };
        self.containers.push(ContainerRecord {
            container,
            started_at: 0,
            floats: false,
            ended_by: None,
            exit_code: 0,
            out_of_memory: false,
        });
        id
    }

    /// Returns the running container at an address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<&ContainerRecord> {
        self.containers.iter().find(|place| place.runs() && place.address() == Some(address))
    }

    /// Returns the running container at an address if it already serves.
    #[must_use]
    pub fn serving(&self, address: SocketAddr, now: Millis) -> Option<&ContainerRecord> {
        let place = self.at(address)?;
        let build = self.build(&place.container);
        (build.serves && (place.started_at == 0 || now >= place.started_at + build.boots)).then_some(place)
    }

    /// Returns whether the container at an address accepts connections.
    #[must_use]
    pub fn accepts(&self, address: SocketAddr, now: Millis) -> bool {
        let accepts = |place: &ContainerRecord| self.build(&place.container).accepts;
        self.at(address).is_some_and(accepts) || self.serving(address, now).is_some()
    }

    /// Returns how a container behaves.
    #[must_use]
    pub fn build(&self, container: &Container) -> ImageBehavior {
        self.builds.get(&container.image.0).copied().unwrap_or_default()
    }

    /// Returns the health of a running container and the output of its last healthcheck, if its image has one.
    fn health(&self, place: &ContainerRecord, now: Millis) -> Option<(Health, String)> {
        let build = self.build(&place.container);
        let check = build.healthcheck.filter(|_| place.runs())?;
        // The checks of a container that ran before the test began have passed long ago.
        let is_asked = place.started_at == 0 || now >= place.started_at + build.boots.max(check.every);
        let (health, output) = match (is_asked, build.serves && check.passes) {
            (false, _) => (Health::Starting, "exit 7"),
            (true, true) => (Health::Healthy, "exit 0"),
            (true, false) => (Health::Unhealthy, "exit 7"),
        };
        Some((health, output.to_owned()))
    }

    /// Returns a container as `inspect` shows it now.
    fn inspected(&self, place: &ContainerRecord, now: Millis) -> Container {
        let check = self.build(&place.container).healthcheck;
        let first = |check: ImageCheck| Duration::from_millis(check.every);
        let healthcheck = check.map(|check| Healthcheck { first_check: first(check), is_given: false });
        let health = self.health(place, now).map(|(health, _)| health);
        Container { health, healthcheck, ..place.container.clone() }
    }

    /// Returns the container with an ID.
    #[must_use]
    pub fn find(&self, id: &ContainerId) -> Option<&ContainerRecord> {
        self.containers.iter().find(|place| place.container.id == *id)
    }

    pub(super) fn find_mut(&mut self, id: &ContainerId) -> Option<&mut ContainerRecord> {
        self.containers.iter_mut().find(|place| place.container.id == *id)
    }

    fn named(&self, name: &str) -> Option<&ContainerRecord> {
        self.containers.iter().find(|place| place.container.name == name)
    }

    /// Adds a stopped container that an earlier run replaced and kept under this name.
    pub fn add_kept(&mut self, name: &str, address: SocketAddr, image: &Image) {
        let id = self.create(name.to_owned(), address, image, RestartPolicy::never());
        if let Some(place) = self.find_mut(&id) {
            place.container.state = ContainerState::Stopped;
        }
    }

    /// Adds a foreign container that has taken a name or an address.
    pub(super) fn add_foreign(&mut self, name: String, address: SocketAddr, runs: bool) {
        let reference = "registry.example.org/other:v1".to_owned();
        let image = Image::Local { reference, id: ImageId("sha256:other".to_owned()) };
        let id = self.create(name, address, &image, RestartPolicy::never());
        self.builds.insert(digest_of(&image), ImageBehavior { serves: false, ..ImageBehavior::default() });
        if let Some(place) = self.find_mut(&id).filter(|_| runs) {
            place.container.state = ContainerState::Running;
        }
    }
}

/// Returns the next port that the engine chooses.
fn next_port(port: u16) -> u16 {
    port.checked_add(1_000).unwrap_or(1_024)
}

/// Returns the digest that identifies an image's containers.
fn digest_of(image: &Image) -> String {
    match image {
        Image::Registry { digest, .. } => digest.clone(),
        Image::Local { id, .. } => id.0.clone(),
    }
}

impl SimulatedSite {
    /// Stops a container, and returns the number of sessions on it.
    fn end_container(&mut self, id: &ContainerId, by: EndedBy, exit_code: i64) -> usize {
        let Some(place) = self.engine.find_mut(id).filter(|place| place.runs()) else { return 0 };
        place.container.state = ContainerState::Stopped;
        (place.ended_by, place.exit_code) = (Some(by), exit_code);
        let address = place.address();
        address.map_or(0, |address| self.cut(address, by))
    }

    /// Makes a container exit; its restart policy may start it again.
    pub(super) fn container_ends(&mut self, id: &str, started_at: Millis) {
        let id = ContainerId(id.to_owned());
        let Some(place) = self.engine.find(&id).filter(|it| it.runs() && it.started_at == started_at) else {
            return;
        };
        let restarts = matches!(place.container.restart.name.as_str(), "always" | "unless-stopped");
        let container = place.container.clone();
        self.log(|| format!("the container {} exits", id.short()));
        let out_of_memory = self.engine.build(&container).out_of_memory;
        self.end_container(&id, EndedBy::Others, if out_of_memory { 137 } else { 1 });
        if let Some(place) = self.engine.find_mut(&id) {
            place.out_of_memory = out_of_memory;
        }
        if restarts {
            self.run(&id);
        }
    }

    /// Makes a supervisor start a stopped container, if its address is free.
    pub(super) fn supervisor_starts(&mut self, id: &str) {
        let id = ContainerId(id.to_owned());
        let Some(place) = self.engine.find(&id).filter(|place| !place.runs()) else { return };
        if place.address().is_none_or(|address| self.engine.at(address).is_none()) {
            self.log(|| format!("a supervisor starts {}", id.short()));
            self.run(&id);
        }
    }

    fn run(&mut self, id: &ContainerId) {
        let now = self.now;
        let Some(place) = self.engine.find_mut(id) else { return };
        place.container.state = ContainerState::Running;
        if place.floats {
            place.container.published.iter_mut().for_each(|it| it.port = next_port(it.port));
        }
        (place.started_at, place.ended_by, place.out_of_memory) = (now, None, false);
        let container = place.container.clone();
        if let Some(after) = self.engine.build(&container).ends {
            self.schedule(after, ScheduledEvent::ContainerEnds(id.0.clone(), now));
        }
    }

    /// Makes a person remove a container, running or not.
    pub(super) fn person_removes(&mut self, id: &ContainerId) {
        self.log(|| format!("a person removes the container {}", id.short()));
        self.end_container(id, EndedBy::Others, 137);
        self.engine.containers.retain(|place| place.container.id != *id);
    }

    /// Restarts the engine. Without live-restore it stops its containers, and later starts those again that have such a
    /// restart policy.
    pub(super) fn restart_engine(&mut self, live_restore: bool) {
        self.log(|| format!("the engine is restarted, live-restore {live_restore}"));
        self.be_away(Part::Engine, RESTART);
        if live_restore {
            return;
        }
        let running = self.engine.containers.iter().filter(|place| place.runs());
        for id in running.map(|place| place.container.id.clone()).collect::<Vec<_>>() {
            self.end_container(&id, EndedBy::Others, 137);
            if let Some(place) = self.engine.find_mut(&id) {
                place.container.state = ContainerState::Restarting;
            }
        }
        self.schedule(RESTART, ScheduledEvent::EngineStarts);
    }

    pub(super) fn start_engine(&mut self) {
        let ended =
            self.engine.containers.iter().filter(|it| it.container.state == ContainerState::Restarting);
        for (id, policy) in
            ended.map(|it| (it.container.id.clone(), it.container.restart.name.clone())).collect::<Vec<_>>()
        {
            if matches!(policy.as_str(), "always" | "unless-stopped") {
                self.run(&id);
            } else if let Some(place) = self.engine.find_mut(&id) {
                place.container.state = ContainerState::Stopped;
            }
        }
    }
}

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
        if let Some(leftover) = self.engine.named(&recipe.name) {
            if leftover.container.image.0 != digest_of(&recipe.image) {
                return Err(refused("create", &recipe.name, "the name is in use"));
            }
            let id = leftover.container.id.clone();
            self.engine.containers.retain(|place| place.container.id != id);
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
