//! A stage for a single test: a registry, containers with images from it, and an HAProxy in front of them.

use super::builder::Builder;
use super::engine::{Container, Engine, LABEL, NewContainer, image_labels};
use super::haproxy::{Haproxy, Processes};
use super::http::{Answer, Connection, Loss, get};
use super::image::{instructions, large_root_fs, root_fs};
use super::layout::{Layout, Server};
use super::ports::Ports;
use super::registry::Registry;
use super::sweeper::Sweeper;
use super::wait::wait_until;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The maximum time for any part of the stage to start.
pub const START_LIMIT: Duration = Duration::from_secs(60);

/// A registry, containers, and an HAProxy in front of them. Dropping the stage stops and removes them all.
pub struct Stage {
    pub haproxy: Haproxy,
    pub registry: Registry,
    pub engine: Engine,
    pub(super) servers: Vec<Server>,
    pub(super) environment: Vec<String>,
    pub(super) frontend: std::net::SocketAddrV4,
    pub(super) other: std::net::SocketAddrV4,
    pub(super) sweeper: Sweeper,
    pub(super) dir: TempDir,
    #[expect(dead_code, reason = "the ports stay reserved until the stage is dropped")]
    pub(super) ports: Ports,
}

/// A second load balancer of a stage.
pub struct SecondBalancer {
    pub haproxy: Haproxy,
    pub frontend: SocketAddr,
    _ports: Ports,
    _dir: TempDir,
}

impl Stage {
    /// Describes a stage with two primaries and two backups.
    pub fn origin() -> Builder {
        Builder::new(Layout::origin())
    }

    /// Describes a stage with one primary and one backup.
    pub fn pair() -> Builder {
        Builder::new(Layout::pair())
    }

    /// Describes a stage with two primaries.
    pub fn primaries() -> Builder {
        Builder::new(Layout::primaries())
    }

    /// Describes a stage with twenty servers on two hosts.
    pub fn fleet() -> Builder {
        Builder::new(Layout::fleet())
    }

    /// Describes a stage with one primary.
    pub fn single() -> Builder {
        Builder::new(Layout::single())
    }

    /// Returns the id that makes this stage's names unique.
    pub fn id(&self) -> &str {
        self.sweeper.stage()
    }

    /// Returns a directory for the test's files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the address of the frontend.
    pub fn frontend(&self) -> SocketAddr {
        self.frontend.into()
    }

    /// Returns the address of an optional second frontend: `{other}` in the extra text.
    pub fn other_frontend(&self) -> SocketAddr {
        self.other.into()
    }

    /// Returns the servers in the order of haproxy.cfg.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Returns a server by its name in haproxy.cfg.
    pub fn server(&self, name: &str) -> &Server {
        let found = self.servers.iter().find(|server| server.name == name);
        found.unwrap_or_else(|| panic!("no server {name} on this stage"))
    }

    /// Returns the name of the container behind a server: `t0123456789ab-mobile-app1`.
    pub fn container_name(&self, server: &str) -> String {
        container_name(self.id(), server)
    }

    /// Returns the current state of a server's container, if it exists.
    pub async fn container(&self, server: &str) -> Option<Container> {
        self.engine.container(&self.container_name(server)).await
    }

    /// Returns all containers of this stage, including stopped ones and those from other programs.
    pub async fn containers(&self) -> Vec<Container> {
        self.engine.containers(self.id()).await.expect("list containers")
    }

    /// Returns the reference of an image in this stage's registry, which need not exist.
    pub fn reference(&self, tag: &str) -> String {
        reference(&self.registry, tag)
    }

    /// Pushes an image to the registry and removes it from the engine, so that it must be pulled. Returns its
    /// reference.
    pub async fn image(&self, tag: &str, environment: &[(&str, &str)]) -> String {
        let reference = make_image(&self.engine, &self.registry, self.id(), tag, environment).await;
        self.engine.forget(&reference).await;
        reference
    }

    /// Pushes an image with additional megabytes, like [`Self::image`].
    pub async fn large_image(&self, tag: &str, megabytes: usize) -> String {
        let root_fs = large_root_fs(tag, megabytes);
        let reference = make_image_of(root_fs, &self.engine, &self.registry, self.id(), tag, &[]).await;
        self.engine.forget(&reference).await;
        reference
    }

    /// Creates an image that only the engine has, and not the registry. Returns its reference.
    pub async fn local_image(&self, tag: &str, environment: &[(&str, &str)]) -> String {
        let repository = self.registry.repository();
        import(root_fs(tag), &self.engine, &repository, self.id(), tag, environment).await;
        self.reference(tag)
    }

    /// Creates an image with a label that only the engine has. Returns its reference.
    pub async fn labelled_image(&self, tag: &str, label: (&str, &str)) -> String {
        let own = image_labels(self.id());
        let mut labels: Vec<_> = own.iter().map(|(key, value)| (*key, value.as_str())).collect();
        labels.push(label);
        self.engine.import(&self.registry.repository(), tag, root_fs(tag), instructions(&[], &labels)).await;
        self.reference(tag)
    }

    /// Runs a container that haproxy.cfg does not refer to, at the address of the second frontend.
    pub async fn run_stranger(&self, name: &str, image: &str) {
        let (name, stage) = (container_name(self.id(), name), self.id());
        let environment = vec!["NAME=stranger".to_owned()];
        let new = NewContainer { name: &name, image, address: self.other, environment, mount: None, stage };
        self.engine.run(new).await;
    }

    /// Creates a container without starting it, optionally with an additional label.
    pub async fn create_idle(&self, name: &str, image: &str, label: Option<(&str, &str)>) {
        let labels = label.into_iter().chain([(LABEL, self.id())]);
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            labels: Some(labels),
            ..ContainerCreateBody::default()
        };
        let name = container_name(self.id(), name);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        self.engine.docker().create_container(Some(options), body).await.expect("create a container");
    }

    /// Starts another load balancer in front of the same containers, with the same binary.
    pub async fn second(&self) -> SecondBalancer {
        let dir = TempDir::with_prefix("drainswap-test-").expect("a temporary directory");
        let ports = Ports::reserve(1);
        let frontend = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, ports.at(0));
        let text = std::fs::read_to_string(self.haproxy.config()).expect("read haproxy.cfg");
        let own = dir.path().display().to_string();
        let text = text.replace(&self.dir().display().to_string(), &own);
        let text = text.replace(&format!("bind {}", self.frontend), &format!("bind {frontend}"));
        let config = dir.path().join("haproxy.cfg");
        std::fs::write(&config, text).expect("write haproxy.cfg");
        let haproxy =
            Haproxy::start(self.haproxy.binary(), dir.path(), &config, Processes::WorkersAndSocket).await;
        for server in &self.servers {
            wait_until("the second HAProxy has checked all servers", START_LIMIT, async || {
                !haproxy.status(server.name).await.starts_with("UP ")
            })
            .await;
        }
        SecondBalancer { haproxy, frontend: frontend.into(), _ports: ports, _dir: dir }
    }

    /// Runs a new container for a server without one, as at the start of the stage, but without waiting.
    pub async fn run(&self, server: &str, image: &str) {
        run_server(&self.engine, self.id(), self.server(server), image, &self.environment, None).await;
    }

    /// Runs a new container for a server, with a mounted directory of the host.
    pub async fn run_with_mount(&self, server: &str, image: &str, mount: &Path) {
        run_server(&self.engine, self.id(), self.server(server), image, &self.environment, Some(mount)).await;
    }

    /// Opens a stream through HAProxy and waits for its first bytes.
    pub async fn open_stream(&self, seconds: u64) -> Connection {
        let mut connection = Connection::open(self.frontend()).await.expect("connect to HAProxy");
        connection.begin(&format!("/stream?s={seconds}")).await.expect("the stream begins");
        connection
    }

    /// Waits until a server's container passes its health check.
    pub async fn until_healthy(&self, server: &str) {
        until_healthy(self.server(server)).await;
    }

    /// Waits until a server's container runs an image, without waiting for answers.
    pub async fn until_started(&self, server: &str, image: &str) {
        wait_until(&format!("the new {server} boots"), Duration::from_secs(30), async || {
            let new = self.container(server).await;
            new.is_some_and(|new| new.state == "running" && new.image.starts_with(image))
        })
        .await;
    }

    /// Removes a server's container, even if it is running.
    pub async fn remove(&self, server: &str) {
        self.engine.remove(&self.container_name(server)).await.expect("remove a container");
    }

    /// Sends a request directly to a server's container, bypassing HAProxy.
    pub async fn get(&self, server: &str, path: &str) -> Result<Answer, Loss> {
        get(self.server(server).address.into(), path).await
    }

    /// Stops and removes everything, and fails if that is not possible. Dropping the stage only prints such errors.
    pub async fn close(mut self) {
        self.sweeper.sweep(&self.engine).await;
    }
}

impl Drop for Stage {
    /// Prints HAProxy's output after a panic.
    #[expect(clippy::print_stderr, reason = "part of the report of a failed test")]
    fn drop(&mut self) {
        if thread::panicking() {
            let output = self.haproxy.output();
            let lines: Vec<_> = output.lines().collect();
            eprintln!("HAProxy's last lines:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

/// Creates an image and pushes it to the stage's registry.
pub async fn make_image(
    engine: &Engine,
    registry: &Registry,
    stage: &str,
    tag: &str,
    environment: &[(&str, &str)],
) -> String {
    make_image_of(root_fs(tag), engine, registry, stage, tag, environment).await
}

async fn make_image_of(
    root_fs: Vec<u8>,
    engine: &Engine,
    registry: &Registry,
    stage: &str,
    tag: &str,
    environment: &[(&str, &str)],
) -> String {
    let repository = registry.repository();
    import(root_fs, engine, &repository, stage, tag, environment).await;
    engine.push(&repository, tag).await;
    reference(registry, tag)
}

async fn import(
    root_fs: Vec<u8>,
    engine: &Engine,
    repository: &str,
    stage: &str,
    tag: &str,
    environment: &[(&str, &str)],
) {
    let labels = image_labels(stage);
    let labels: Vec<_> = labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
    engine.import(repository, tag, root_fs, instructions(environment, &labels)).await;
}

/// Runs the container behind a server.
pub async fn run_server(
    engine: &Engine,
    stage: &str,
    server: &Server,
    image: &str,
    environment: &[String],
    mount: Option<&Path>,
) {
    let mut environment = environment.to_vec();
    environment.push(format!("NAME={}", server.name));
    let name = container_name(stage, server.name);
    engine.run(NewContainer { name: &name, image, address: server.address, environment, mount, stage }).await;
}

/// Waits until the application behind a server passes its health check.
pub async fn until_healthy(server: &Server) {
    wait_until(&format!("{} is healthy", server.name), START_LIMIT, async || {
        get(server.address.into(), "/health").await.is_ok_and(|answer| answer.is_success())
    })
    .await;
}

fn container_name(stage: &str, server: &str) -> String {
    format!("{stage}-mobile-{server}")
}

fn reference(registry: &Registry, tag: &str) -> String {
    format!("{}:{tag}", registry.repository())
}
