//! A realistic world for unit tests: a haproxy.cfg that is really parsed, with healthy servers behind it.
//!
//! A test starts from it and changes what it tests:
//! `World::origin().down("mobile/app1").gone("mobile-app1").plan("v2")`.

pub mod bytes;
pub mod facts;
#[path = "../tests/support/markdown.rs"]
#[allow(dead_code, reason = "the commands of a page need real parts")]
pub mod markdown;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use jiff::Timestamp;

use crate::cfg::{self, Address, Configuration, Environment, Host, Port, SourceFile, Version};
use crate::model::hook::HookPoint;
use crate::model::ids::{ContainerId, ImageId, ServerId};
use crate::model::image::Image;
use crate::model::probe::Question;
use crate::observation::watchtower::{UpdateLabels, Watchtower};
use crate::observation::{
    AdminBits, Answer, Attachment, Checking, Checks, Container, ContainerState, LabelSource,
    LoadBalancerState, Observation, Operational, Published, RestartPolicy, ServerState, SurgeLabel,
};
use crate::plan::file::{PlanBasis, PlanFile, ReadFile, seen_servers};
use crate::plan::refusal::Refusal;
use crate::plan::scope::Scope;
use crate::plan::surge::SurgeSetting;
use crate::plan::{Goal, Plan, Policy, RollbackTarget, RunKind, Target, build};
use crate::topology::{self, Topology};

/// Two hosts, each with a primary and its backup.
const ORIGIN: &str = "
backend mobile
    mode http
    option httpchk GET /health
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
    server app2 127.0.0.2:50000 check
    server app2b 127.0.0.2:50001 check backup
";

/// One host of [`ORIGIN`].
const PAIR: &str = "
backend mobile
    mode http
    option httpchk GET /health
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
";

/// Two backends, one of which has the container of `mobile/app1` as its backup.
const SHARED: &str = "
backend mobile
    mode http
    option httpchk GET /health
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
backend tablet
    mode http
    server one 127.0.0.1:50000 check backup
    server two 127.0.0.3:50000 check
";

/// A configuration, an observation of the world that it describes, and a policy.
#[derive(Clone, Debug)]
pub struct World {
    pub configuration: Configuration,
    pub observation: Observation,
    pub policy: Policy,
}

impl World {
    /// Returns two primaries and two backups, each with its own container.
    pub fn origin() -> Self {
        Self::of(ORIGIN)
    }

    /// Returns one primary and its backup.
    pub fn pair() -> Self {
        Self::of(PAIR)
    }

    /// Returns a world in which one container serves two backends.
    pub fn shared() -> Self {
        Self::of(SHARED)
    }

    /// Returns the world of a haproxy.cfg in which every server with an address is up and has a container
    /// `BACKEND-SERVER` that runs v1, publishes that address and answers. A server line with the address of an
    /// earlier one shares its container.
    pub fn of(config: &str) -> Self {
        let configuration = configuration(config);
        let mut servers = Vec::new();
        let mut containers: Vec<Container> = Vec::new();
        for proxy in topology::with_servers(&configuration) {
            for server in &proxy.servers {
                let state =
                    up(ServerId::new(&proxy.name, &server.name), address(&server.address), server.weight);
                containers.extend(container_of(&state, &containers));
                servers.push(state);
            }
        }
        let load_balancer = LoadBalancerState {
            name: "/run/haproxy/admin.sock".to_owned(),
            version: "2.6.12".to_owned(),
            pid: 4711,
            servers: servers.into(),
            queued: BTreeMap::new(),
            unpublished: BTreeSet::new(),
            old_workers: Some(Vec::new()),
        };
        let answers = topology::probes(&configuration, &load_balancer)
            .into_iter()
            .map(|(id, probe)| (id, Answer::Ready(proof(&probe.question))));
        let observation = Observation {
            at: at(),
            containers,
            engines: BTreeMap::new(),
            named: BTreeMap::new(),
            described: BTreeMap::new(),
            drift: BTreeMap::new(),
            host_addresses: topology::addresses(&configuration, &load_balancer),
            answers: answers.collect(),
            occupied: BTreeSet::new(),
            left_out: BTreeSet::new(),
            known_runs: BTreeSet::new(),
            hosts: BTreeMap::new(),
            load_balancers: vec![load_balancer],
        };
        Self { configuration, observation, policy: policy() }
    }

    /// Changes what `HAProxy` reports for a server.
    pub fn server(mut self, id: &str, change: impl FnOnce(&mut ServerState)) -> Self {
        let servers = &mut self.observation.load_balancers[0].servers;
        change(servers.iter_mut().find(|server| server.id.to_string() == id).unwrap());
        self
    }

    /// Changes a container.
    pub fn container(mut self, name: &str, change: impl FnOnce(&mut Container)) -> Self {
        let containers = &mut self.observation.containers;
        change(containers.iter_mut().find(|container| container.name == name).unwrap());
        self
    }

    /// Makes a check fail: `HAProxy` has the server down, and it does not answer drainswap either.
    pub fn down(self, id: &str) -> Self {
        let down = |server: &mut ServerState| {
            server.operational = Operational::Stopped;
            server.status = "DOWN".to_owned();
            server.check = "L4CON".to_owned();
        };
        self.server(id, down).silent(id)
    }

    /// Stops a server from answering drainswap, whatever `HAProxy` reports.
    pub fn silent(mut self, id: &str) -> Self {
        let answers = &mut self.observation.answers;
        let (_, answer) = answers.iter_mut().find(|(server, _)| server.to_string() == id).unwrap();
        *answer = Answer::NotReady("connection refused".to_owned());
        self
    }

    /// Sets the server to maint, as a person would.
    pub fn maint(self, id: &str) -> Self {
        self.server(id, |server| {
            server.admin = AdminBits(1);
            server.operational = Operational::Stopped;
            server.status = "MAINT".to_owned();
        })
    }

    /// Records that a run of this site has left the server out of service.
    pub fn left_out(mut self, id: &str) -> Self {
        self.observation.left_out.insert(id.parse().unwrap());
        self
    }

    /// Takes the address of the server's name away from `HAProxy`.
    pub fn unresolved(self, id: &str) -> Self {
        self.server(id, |server| {
            server.address = None;
            server.admin = AdminBits(32);
            server.operational = Operational::Stopped;
            server.status = "MAINT (resolution)".to_owned();
            server.check.clear();
        })
    }

    /// Sets the server to drain, as a person would.
    pub fn drain(self, id: &str) -> Self {
        self.server(id, |server| {
            server.admin = AdminBits(8);
            server.status = "DRAIN".to_owned();
        })
    }

    /// Adds a server that `HAProxy` runs but the configuration lacks.
    pub fn unlisted(mut self, id: &str, address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        self.observation.host_addresses.insert(address.ip());
        self.observation.load_balancers[0].servers.push(up(id.parse().unwrap(), Some(address), 1));
        self
    }

    /// Removes the container.
    pub fn gone(mut self, name: &str) -> Self {
        self.observation.containers.retain(|container| container.name != name);
        self
    }

    /// Stops the container.
    pub fn stopped(self, name: &str) -> Self {
        self.container(name, |container| {
            container.state = ContainerState::Stopped;
            container.networks.iter_mut().for_each(|network| network.addresses.clear());
        })
    }

    /// Adds a container like an existing one, under another name and with the changes of `change`.
    pub fn another(mut self, like: &str, name: &str, change: impl FnOnce(&mut Container)) -> Self {
        let containers = &mut self.observation.containers;
        let mut twin = containers.iter().find(|container| container.name == like).unwrap().clone();
        twin.id = container_id(containers.len());
        name.clone_into(&mut twin.name);
        change(&mut twin);
        containers.push(twin);
        self
    }

    /// Adds a Watchtower with these settings.
    pub fn watched(self, settings: Watchtower) -> Self {
        let like = self.observation.containers[0].name.clone();
        self.another(&like, "watchtower", |it| {
            it.published.clear();
            it.networks.clear();
            it.watchtower = Some(Box::new(settings));
        })
    }

    /// Makes the container run this version.
    pub fn runs(self, name: &str, tag: &str) -> Self {
        self.container(name, |container| run_image(container, tag))
    }

    /// Sets how many servers must serve at any moment.
    pub fn floor(mut self, floor: usize) -> Self {
        self.policy.floor = floor;
        self
    }

    /// Joins the configuration with the observation.
    pub fn topology(&self) -> Topology {
        Topology::new(&self.configuration, &self.observation)
    }

    /// Plans a deploy of a version on the backend mobile.
    pub fn plan(&self, tag: &str) -> Result<Plan, Vec<Refusal>> {
        self.plan_for(RunKind::Deploy, Target::Everywhere(image(tag)))
    }

    /// Changes which server lines a run works on.
    pub fn scope(mut self, change: impl FnOnce(&mut Scope)) -> Self {
        change(&mut self.policy.scope);
        self
    }

    /// Plans a rollback of these servers of the backend mobile to these versions.
    pub fn plan_rollback(&self, tags: &[(&str, &str)]) -> Result<Plan, Vec<Refusal>> {
        let returned = |tag| RollbackTarget { image: image(tag), container: None, engine: String::new() };
        let each = tags.iter().map(|(server, tag)| (server.parse().unwrap(), returned(tag))).collect();
        self.plan_for(RunKind::Rollback, Target::Each(each))
    }

    /// Plans a goal on the backend mobile.
    pub fn plan_for(&self, purpose: RunKind, target: Target) -> Result<Plan, Vec<Refusal>> {
        let goal = Goal::new("mobile", purpose, target, self.policy.clone());
        Ok(build::build(&self.topology(), &self.observation, &goal)?.finish(BTreeMap::new()))
    }
}

/// Reads a haproxy.cfg without errors.
pub fn configuration(config: &str) -> Configuration {
    let file = SourceFile { path: "haproxy.cfg".into(), bytes: config.as_bytes().to_vec() };
    let environment = Environment::new(BTreeMap::new(), Version::new(2, 6));
    let configuration = cfg::interpret(&cfg::read(vec![file], &environment));
    assert!(!configuration.has_errors(), "{:?}", configuration.problems);
    configuration
}

/// Returns the image of a version: a tag whose digest repeats the tag's last digit.
pub fn image(tag: &str) -> Image {
    let reference = format!("registry.example.org/mobile:{tag}").parse().unwrap();
    Image::Registry { reference, digest: digest(tag) }
}

/// Returns a plan file for a deploy of v2 in a world.
pub fn plan_file(world: &World) -> PlanFile {
    let plan = world.plan("v2").unwrap();
    PlanFile::new(plan_basis(world, &plan), &plan)
}

/// Returns the facts on which a deploy of v2 in a world is based.
pub fn plan_basis(world: &World, plan: &Plan) -> PlanBasis {
    let read = |file: &str, sha256: &str| ReadFile { file: file.to_owned(), sha256: sha256.repeat(16) };
    PlanBasis {
        image: image("v2"),
        configuration: vec![
            read("/etc/haproxy/haproxy.cfg", "c0de"),
            read("/etc/haproxy/conf.d/10-mobile.cfg", "d00d"),
        ],
        servers: seen_servers(&world.observation.load_balancers, plan),
        settings: world.policy.clone(),
        description: None,
        hooks: [(HookPoint::BeforeRun, "f00d".repeat(16))].into(),
    }
}

/// Returns the time of the observation.
pub fn at() -> Timestamp {
    "2026-11-23T22:15:00Z".parse().unwrap()
}

/// Returns the default policy, but without containers that are kept for a rollback and without surge servers.
fn policy() -> Policy {
    Policy { keep: 0, surge: SurgeSetting::Never, ..Policy::default() }
}

fn digest(tag: &str) -> String {
    format!("sha256:{}", tag[tag.len() - 1..].repeat(64))
}

fn container_id(number: usize) -> ContainerId {
    ContainerId(format!("{:02x}", number + 0xa1).repeat(32))
}

fn run_image(container: &mut Container, tag: &str) {
    let Image::Registry { reference, digest } = image(tag) else { unreachable!("a registry's image") };
    container.image_reference = reference.to_string();
    container.image = ImageId(format!("sha256:{}", "ab".repeat(32)));
    container.repo_digests = vec![format!("{}@{digest}", reference.repository)];
}

fn address(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Inet { host: Host::Ip(ip), port: Port::Fixed(port) } => Some((*ip, *port).into()),
        Address::Inet { .. }
        | Address::Datagram { .. }
        | Address::Quic { .. }
        | Address::Unix(_)
        | Address::Other(_) => None,
    }
}

fn up(id: ServerId, address: Option<SocketAddr>, weight: u32) -> ServerState {
    ServerState {
        id,
        address,
        admin: AdminBits(0),
        operational: Operational::Running,
        status: "UP".to_owned(),
        check: "L7OK".to_owned(),
        weight,
        initial_weight: weight,
        settings: None,
        checks: Checks { health: Checking::On, agent: Checking::Absent, asks_agent: false },
        sessions: 2,
        sessions_total: 1234,
        limit: None,
    }
}

/// Returns the container behind a server, unless an earlier server already has it.
fn container_of(server: &ServerState, known: &[Container]) -> Option<Container> {
    let address = server.address?;
    let published = Published { ip: address.ip(), port: address.port(), container_port: 8080 };
    if known.iter().any(|container| container.published.contains(&published)) {
        return None;
    }
    let number = known.len();
    let mut container = Container {
        id: container_id(number),
        name: format!("{}-{}", server.id.backend, server.id.server),
        image_reference: String::new(),
        image: ImageId(String::new()),
        repo_digests: Vec::new(),
        state: ContainerState::Running,
        health: None,
        healthcheck: None,
        published: vec![published],
        published_udp: Vec::new(),
        networks: vec![Attachment {
            network: "bridge".to_owned(),
            addresses: vec![format!("172.17.0.{}", number + 2).parse().unwrap()],
            given: Vec::new(),
            is_gone: false,
            is_missing: false,
            aliases: Vec::new(),
        }],
        host_network: false,
        exposed: vec![8080],
        claims: Vec::new(),
        claimed_by: LabelSource::Container,
        restart: RestartPolicy { name: "unless-stopped".to_owned(), maximum_retries: 0 },
        auto_remove: false,
        owner: None,
        lives_in: Vec::new(),
        watchtower: None,
        update_labels: UpdateLabels::default(),
        image_is_gone: false,
        hostname: None,
        links: Vec::new(),
        named_volumes: Vec::new(),
        unnamed_volumes: Some(Vec::new()),
        needs_paths: Vec::new(),
        surge: SurgeLabel::None,
        alone: Vec::new(),
        open_files: None,
        engine: String::new(),
    };
    run_image(&mut container, "v1");
    Some(container)
}

/// Returns what the real prober reports for a healthy application.
fn proof(question: &Question) -> String {
    match question {
        Question::Http { method, uri, .. } => format!("{method} {uri} → 200"),
        Question::AnyHttp => "GET / → 200".to_owned(),
        Question::Tcp => "connected, and the connection stays open".to_owned(),
    }
}

/// Checks that a text which cannot be written in full is an error, wherever the writer fails.
pub fn fails_with_its_writer(text: &impl std::fmt::Display) {
    struct Room(usize);
    impl std::fmt::Write for Room {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(std::fmt::Error)?;
            Ok(())
        }
    }
    let length = text.to_string().len();
    for room in 0..=length {
        let written = std::fmt::Write::write_fmt(&mut Room(room), format_args!("{text}"));
        assert_eq!(written.is_ok(), room == length, "{room} of {length} bytes");
    }
}
