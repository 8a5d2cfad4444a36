//! A container engine: names, ports, images, and containers that boot, serve and exit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::call::Part;
use super::{Millis, ScheduledEvent, SimulatedSite};
use crate::model::ids::{ContainerId, ImageId};
use crate::model::image::Image;
use crate::observation::{
    Attachment, Container, ContainerState, Health, Healthcheck, Published, RestartPolicy,
};

/// The first port that the engine chooses for a container that was created beside its model.
const FIRST_CHOSEN_PORT: u16 = 32_768;

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
    /// The ports that it asks for if it was created beside its model. The engine chooses a port that is 0, and the
    /// container's own address, at each start.
    pub(super) asked_for: Option<Vec<Published>>,
    /// The cause of its exit, if it has exited.
    pub ended_by: Option<EndedBy>,
    pub(super) exit_code: i64,
    pub(super) out_of_memory: bool,
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
    pub(super) pulled: BTreeSet<String>,
    /// The tags of images.
    pub tags: BTreeMap<String, ImageId>,
    count: u32,
}

impl ContainerRecord {
    /// Returns the address that it publishes, or else its own.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let own = self.container.networks.iter().find_map(|it| it.addresses.first());
        let own = || Some(SocketAddr::new(*own?, *self.container.exposed.first()?));
        self.container.published.first().map(|it| SocketAddr::new(it.ip, it.port)).or_else(own)
    }

    /// Takes away what the engine chose for it at its start.
    pub(super) fn give_back(&mut self) {
        if let Some(asked_for) = &self.asked_for {
            self.container.published = asked_for.iter().filter(|it| it.port > 0).copied().collect();
            self.container.networks.iter_mut().for_each(|it| it.addresses.clear());
        }
    }

    pub(super) fn runs(&self) -> bool {
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

    pub(super) fn create(
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
            asked_for: None,
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
    pub(super) fn health(&self, place: &ContainerRecord, now: Millis) -> Option<(Health, String)> {
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
    pub(super) fn inspected(&self, place: &ContainerRecord, now: Millis) -> Container {
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

    pub(super) fn named(&self, name: &str) -> Option<&ContainerRecord> {
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
pub(super) fn digest_of(image: &Image) -> String {
    match image {
        Image::Registry { digest, .. } => digest.clone(),
        Image::Local { id, .. } => id.0.clone(),
    }
}

impl SimulatedSite {
    /// Stops a container, and returns the number of sessions on it.
    pub(super) fn end_container(&mut self, id: &ContainerId, by: EndedBy, exit_code: i64) -> usize {
        let Some(place) = self.engine.find_mut(id).filter(|place| place.runs()) else { return 0 };
        place.container.state = ContainerState::Stopped;
        (place.ended_by, place.exit_code) = (Some(by), exit_code);
        let address = place.address();
        place.give_back();
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

    pub(super) fn run(&mut self, id: &ContainerId) {
        let now = self.now;
        let Some(place) = self.engine.find_mut(id) else { return };
        place.container.state = ContainerState::Running;
        if place.floats {
            place.container.published.iter_mut().for_each(|it| it.port = next_port(it.port));
        }
        (place.started_at, place.ended_by, place.out_of_memory) = (now, None, false);
        self.choose_addresses(id);
        let Some(place) = self.engine.find(id) else { return };
        let container = place.container.clone();
        if let Some(after) = self.engine.build(&container).ends {
            self.schedule(after, ScheduledEvent::ContainerEnds(id.0.clone(), now));
        }
    }

    /// Chooses the ports and the own address of a container that was created beside its model.
    fn choose_addresses(&mut self, id: &ContainerId) {
        let Some(asked_for) = self.engine.find(id).and_then(|place| place.asked_for.clone()) else { return };
        let all = || self.engine.containers.iter().map(|place| &place.container);
        let is_free = |port: &u16| {
            !all().flat_map(|it| &it.published).any(|it| it.port == *port)
                && !self.strangers.iter().any(|it| it.port() == *port)
        };
        let mut free = (FIRST_CHOSEN_PORT..=u16::MAX).filter(is_free);
        let published = asked_for
            .iter()
            .filter_map(|it| Some(if it.port > 0 { *it } else { Published { port: free.next()?, ..*it } }));
        let published: Vec<Published> = published.collect();
        let is_taken = |it: &IpAddr| all().flat_map(|it| &it.networks).any(|net| net.addresses.contains(it));
        let own = (2..=254).map(|last| IpAddr::from([172, 17, 0, last])).find(|it| !is_taken(it));
        if let Some(place) = self.engine.find_mut(id) {
            place.container.published = published;
            place.container.networks.iter_mut().for_each(|it| it.addresses = own.into_iter().collect());
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
