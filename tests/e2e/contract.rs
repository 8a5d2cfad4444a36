//! The contract of load balancers and engines: the same tests for real ones and for those in memory, so that the
//! simulation matches reality.

mod beside;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use drainswap::adapters::docker::{DockerEngine, Endpoint};
use drainswap::adapters::haproxy::HaproxySocket;
use drainswap::adapters::haproxy::address::SocketAddress;
use drainswap::adapters::haproxy::master::MasterSocket;
use drainswap::adapters::memory::Memory;
use drainswap::cfg::{self, Environment, SourceFile, Version};
use drainswap::model::ids::ServerId;
use drainswap::model::image::Image;
use drainswap::observation::{
    AdminState, Checker, Checking, Checks, Container, LoadBalancerState, Pinned, RestartPolicy, ServerState,
};
use drainswap::ports::{ContainerEngine, EngineError, LoadBalancer, LoadBalancerError};
use drainswap::service::create_spec::{CreateSpec, SpecSource};

use crate::support::{Load, Mix, Processes, Stage, wait_for, wait_until};

/// The maximum time for effects of checks and clients.
const SOON: Duration = Duration::from_secs(20);

/// The check options of the servers.
const CHECKS: &str = "inter 200ms rise 2 fall 2 weight 4";

/// A load balancer with clients, in front of a primary and its backup, each with a container.
struct Parts<L, E> {
    load_balancer: L,
    engine: E,
    /// The name of the container behind `mobile/app1`.
    app1: String,
    /// The name of the container behind `mobile/app1b`.
    app1b: String,
}

fn app1() -> ServerId {
    ServerId::new("mobile", "app1")
}

fn app1b() -> ServerId {
    ServerId::new("mobile", "app1b")
}

/// A container of the list as one inspection shows it: only the list has what nothing but a plan needs.
fn inspected_alone(listed: &Container) -> Container {
    Container { open_files: None, watchtower: None, ..listed.clone() }
}

impl<L: LoadBalancer, E: ContainerEngine> Parts<L, E> {
    async fn full_state(&self) -> LoadBalancerState {
        self.load_balancer.full_state(&["mobile".to_owned()]).await.expect("a look")
    }

    async fn server(&self, id: &ServerId) -> ServerState {
        self.full_state().await.server(id).expect("a server").clone()
    }

    async fn set(&self, id: &ServerId, state: AdminState) {
        self.load_balancer.set_admin_states(&[(id.clone(), state)]).await.expect("a state that is set");
    }

    async fn container(&self, name: &str) -> Container {
        let all = self.engine.containers().await.expect("containers");
        all.into_iter().find(|it| it.name == name).expect("a container of that name")
    }

    async fn until_up(&self, id: &ServerId, up: bool) {
        let what = format!("{id} is {}", if up { "up" } else { "down" });
        wait_until(&what, SOON, async || self.server(id).await.operational.is_up() == up).await;
    }

    /// Waits until a server has had more sessions than before.
    async fn until_asked(&self, id: &ServerId, before: &ServerState) {
        let is_asked = async || self.server(id).await.sessions_total > before.sessions_total + 2;
        wait_until(&format!("{id} gets requests"), SOON, is_asked).await;
    }

    /// Checks that states apply at once, even if set twice, and that a server is up right after maintenance.
    async fn states_are_taken(&self) {
        use AdminState::{Drain, Maint, Ready};
        for (state, is_up) in
            [(Drain, true), (Maint, false), (Drain, true), (Ready, true), (Maint, false), (Ready, true)]
        {
            for _ in 0..2 {
                self.set(&app1(), state).await;
                let seen = self.server(&app1()).await;
                assert_eq!((seen.admin.state(), seen.operational.is_up()), (state, is_up), "{seen:?}");
            }
        }
    }

    async fn unknown_servers_are_refused(&self) {
        let unknown = ServerId::new("mobile", "unknown");
        let set = self
            .load_balancer
            .set_admin_states(&[(unknown, AdminState::Drain), (app1(), AdminState::Drain)])
            .await;
        assert!(matches!(set, Err(LoadBalancerError::Refused { .. })), "{set:?}");
        assert_eq!(self.server(&app1()).await.admin.state(), AdminState::Drain, "the other servers are set");
        self.set(&app1(), AdminState::Ready).await;
        let look = self.load_balancer.full_state(&["nowhere".to_owned()]).await;
        assert!(matches!(look, Err(LoadBalancerError::NoSuchBackend { .. })), "{look:?}");
    }

    /// Checks that an idle server in drain gets no new requests, and that the backup gets requests only then.
    async fn clients_go_where_they_should(&self) {
        let before = self.server(&app1()).await;
        self.until_asked(&app1(), &before).await;
        self.set(&app1(), AdminState::Drain).await;
        let is_idle = async || self.load_balancer.sessions(&[app1()]).await.is_ok_and(|it| it.is_empty());
        wait_until("the last session ends", SOON, is_idle).await;
        let (primary, backup) = (self.server(&app1()).await, self.server(&app1b()).await);
        self.until_asked(&app1b(), &backup).await;
        let after = self.server(&app1()).await;
        assert_eq!((after.sessions, after.sessions_total), (0, primary.sessions_total));
        self.set(&app1(), AdminState::Ready).await;
        self.until_asked(&app1(), &primary).await;
    }

    /// Checks that a server without a running container is up after maintenance until its checks fail, and down after
    /// a drain.
    async fn checks_take_their_time(&self) {
        let id = self.container(&self.app1).await.id;
        self.set(&app1(), AdminState::Maint).await;
        self.engine.stop(&id).await.expect("a stop");
        self.set(&app1(), AdminState::Ready).await;
        assert!(self.server(&app1()).await.operational.is_up(), "maint to ready is up at once");
        self.until_up(&app1(), false).await;
        self.set(&app1(), AdminState::Drain).await;
        self.set(&app1(), AdminState::Ready).await;
        assert!(!self.server(&app1()).await.operational.is_up(), "drain to ready stays down");
        self.set(&app1(), AdminState::Maint).await;
        self.load_balancer
            .set_unproven(&[(app1(), AdminState::Ready)])
            .await
            .expect("a server that is checked");
        let unproven = self.server(&app1()).await;
        assert_eq!(unproven.admin.state(), AdminState::Ready);
        assert!(!unproven.operational.is_up(), "maint to ready without proof is down");
        self.load_balancer.set_healthy(&app1()).await.expect("a server that is checked");
        assert!(self.server(&app1()).await.operational.is_up(), "it is counted as healthy");
        self.until_up(&app1(), false).await;
        self.set(&app1(), AdminState::Maint).await;
        self.load_balancer
            .set_unproven(&[(app1(), AdminState::Ready)])
            .await
            .expect("a server that is checked");
        self.engine.start(&id).await.expect("a start");
        self.until_up(&app1(), true).await;
    }

    /// Checks that an address is set when the call returns, even if set twice.
    async fn addresses_are_taken(&self) {
        self.set(&app1(), AdminState::Maint).await;
        let written = self.server(&app1()).await.address.expect("an address");
        let other = SocketAddr::new([127, 0, 0, 9].into(), written.port());
        for address in [other, other, written] {
            self.load_balancer.set_address(&app1(), address).await.expect("an address that is set");
            assert_eq!(self.server(&app1()).await.address, Some(address));
        }
        assert!(self.load_balancer.set_address(&ServerId::new("mobile", "unknown"), other).await.is_err());
        self.set(&app1(), AdminState::Ready).await;
        self.until_up(&app1(), true).await;
    }

    /// Checks weights as numbers and percentages; a server with weight 0 gets no requests.
    async fn weights_are_taken(&self) {
        let weigh = async |weight: &str, number: u32| {
            let weight = weight.parse().expect("a weight");
            for _ in 0..2 {
                self.load_balancer.set_weight(&app1(), weight).await.expect("a weight that is set");
                let seen = self.server(&app1()).await;
                assert_eq!((seen.weight, seen.is_usable()), (number, number > 0), "{seen:?}");
            }
        };
        weigh("8", 8).await;
        weigh("50%", 2).await;
        weigh("0", 0).await;
        let backup = self.server(&app1b()).await;
        self.until_asked(&app1b(), &backup).await;
        weigh("100%", 4).await;
    }

    /// Checks that a server keeps its state while its checks are off, and that an agent without `agent-check` does not
    /// exist.
    async fn checks_are_turned_off_and_on(&self) {
        let turn = async |on| {
            for _ in 0..2 {
                let set = self.load_balancer.set_checking(&app1(), Checker::Health, on).await;
                set.expect("checks that are turned");
                let health = if on { Checking::On } else { Checking::Off };
                assert_eq!(
                    self.server(&app1()).await.checks,
                    Checks { health, agent: Checking::Absent, asks_agent: false }
                );
            }
        };
        let id = self.container(&self.app1).await.id;
        turn(false).await;
        self.engine.stop(&id).await.expect("a stop");
        self.set(&app1(), AdminState::Drain).await;
        // The checks of the other server continue.
        let other = self.container(&self.app1b).await.id;
        self.engine.stop(&other).await.expect("a stop");
        self.until_up(&app1b(), false).await;
        assert!(self.server(&app1()).await.operational.is_up(), "its checks are off");
        turn(true).await;
        self.until_up(&app1(), false).await;
        for id in [&id, &other] {
            self.engine.start(id).await.expect("a start");
        }
        self.set(&app1(), AdminState::Ready).await;
        self.until_up(&app1(), true).await;
        self.until_up(&app1b(), true).await;
        let agent = async |on| self.load_balancer.set_checking(&app1(), Checker::Agent, on).await;
        agent(false).await.expect("there is none");
        assert!(matches!(agent(true).await, Err(LoadBalancerError::Refused { .. })));
    }

    /// Checks that another process answers after a reload and has forgotten runtime settings.
    async fn a_reload_forgets(&self, reload: impl AsyncFn()) {
        self.set(&app1(), AdminState::Maint).await;
        let before = self.full_state().await.pid;
        reload().await;
        let after = wait_for("another process", SOON, async || {
            let seen = self.load_balancer.full_state(&["mobile".to_owned()]).await.ok()?;
            (seen.pid != before).then_some(seen)
        })
        .await;
        let server = after.server(&app1()).expect("a server");
        assert_eq!((server.admin.state(), server.operational.is_up()), (AdminState::Ready, true));
        assert!(after.old_workers.is_some(), "the master reports old workers");
    }

    /// Checks that names and ports are unique, that repeated calls succeed, and that calls for missing containers fail
    /// except removal.
    async fn the_engine_keeps_its_promises(&self) {
        let engine = &self.engine;
        let old = self.container(&self.app1).await;
        assert_eq!(engine.container(&old.id).await.expect("a container"), inspected_alone(&old));
        let name = format!("{}.new-20261126T221500.000Z", self.app1);
        let recipe = CreateSpec {
            model: SpecSource::CopyOf(old.id.clone()),
            image: old.running_image(),
            name: name.clone(),
            platform: None,
            publish: None,
            pinned: Pinned::default(),
            renew_volumes: false,
            beside: None,
        };
        let first = engine.create(&recipe).await.expect("a container");
        let new = engine.create(&recipe).await.expect("the same container again");
        assert_ne!(first, new, "the earlier container is replaced");
        assert_eq!(self.container(&name).await.id, new);
        refused(&engine.status(&first).await.map(drop));
        assert!(!engine.status(&new).await.expect("a pulse").running);
        refused(&engine.start(&new).await);
        engine.rename(&new, &name).await.expect("rename it to its own name");
        refused(&engine.rename(&new, &self.app1b).await);
        engine.stop(&new).await.expect("stop a stopped container");
        engine.set_restart(&new, &RestartPolicy::never()).await.expect("a policy");
        assert_eq!(self.container(&name).await.restart.name, "no");
        engine.stop(&old.id).await.expect("a stop");
        engine.stop(&old.id).await.expect("a second one");
        assert!(!engine.status(&old.id).await.expect("a pulse").running);
        engine.start(&new).await.expect("the port is free now");
        engine.start(&new).await.expect("start a running container");
        refused(&engine.start(&old.id).await);
        engine.remove(&new).await.expect("a removal");
        engine.remove(&new).await.expect("remove a missing container");
        refused(&engine.status(&new).await.map(drop));
        refused(&engine.stop(&new).await);
        engine.start(&old.id).await.expect("the old one again");
        assert!(engine.status(&old.id).await.expect("a pulse").running);
    }

    async fn all(&self, reload: impl AsyncFn()) {
        self.states_are_taken().await;
        self.unknown_servers_are_refused().await;
        self.clients_go_where_they_should().await;
        self.checks_take_their_time().await;
        self.addresses_are_taken().await;
        self.weights_are_taken().await;
        self.checks_are_turned_off_and_on().await;
        self.a_reload_forgets(reload).await;
        self.the_engine_keeps_its_promises().await;
    }
}

fn refused(answer: &Result<(), EngineError>) {
    assert!(matches!(answer, Err(EngineError::Refused { .. })), "{answer:?}");
}

fn memory() -> Memory {
    let text = format!(
        "backend mobile\n    mode http\n    default-server {CHECKS}\n    server app1 127.0.0.1:50000 check\n    \
         server app1b 127.0.0.1:50001 check backup\n"
    );
    let file = SourceFile { path: PathBuf::from("haproxy.cfg"), bytes: text.into_bytes() };
    let configuration =
        cfg::interpret(&cfg::read(vec![file], &Environment::new(BTreeMap::new(), Version::new(2, 6))));
    let reference = "registry.example.org/mobile:v1".parse().expect("a reference");
    let image = Image::Registry { reference, digest: format!("sha256:{}", "1".repeat(64)) };
    Memory::new(&configuration, 1, &image, 1)
}

#[tokio::test]
async fn the_memory_keeps_the_contract() {
    let memory = memory();
    let parts = Parts {
        load_balancer: memory.load_balancers().remove(0),
        engine: memory.engine(),
        app1: "mobile-app1".to_owned(),
        app1b: "mobile-app1b".to_owned(),
    };
    parts.all(async || memory.site().reload(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_real_parts_keep_the_contract() {
    let builder = Stage::pair().default_server(CHECKS).processes(Processes::WorkersAndSocket);
    let stage = builder.start().await;
    let socket: SocketAddress = stage.haproxy.socket().display().to_string().parse().expect("a socket");
    let master = stage.haproxy.master_socket().display().to_string().parse().expect("a socket");
    let load_balancer = HaproxySocket::new(socket).with_master(MasterSocket::new(master)).await;
    let endpoint = Endpoint::read(None, &std::env::vars().collect()).expect("an endpoint");
    let parts = Parts {
        load_balancer: load_balancer.expect("a master"),
        engine: DockerEngine::connect(endpoint).await.expect("an engine"),
        app1: stage.container_name("app1"),
        app1b: stage.container_name("app1b"),
    };
    let load = Load::start(stage.frontend(), Mix::default());
    parts.all(async || stage.haproxy.reload().await).await;
    load.stop().await;
    stage.close().await;
}
