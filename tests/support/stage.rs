//! A stage: a registry, containers from it, and an HAProxy before them, for one test alone.

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

/// How long anything on the stage may take to start.
pub const START_LIMIT: Duration = Duration::from_secs(60);

/// A registry, containers from it, and an HAProxy before them. Dropping it ends and removes them all.
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
    #[expect(dead_code, reason = "the ports stay reserved as long as the stage stands")]
    pub(super) ports: Ports,
}

/// A second load balancer of a stage.
pub struct Second {
    pub haproxy: Haproxy,
    pub frontend: SocketAddr,
    _ports: Ports,
    _dir: TempDir,
}

impl Stage {
    /// Two primaries and two backups, as in the origin.
    pub fn origin() -> Builder {
        Builder::new(Layout::origin())
    }

    /// One primary and one backup.
    pub fn pair() -> Builder {
        Builder::new(Layout::pair())
    }

    /// Two primaries, and nobody else.
    pub fn primaries() -> Builder {
        Builder::new(Layout::primaries())
    }

    /// Twenty servers on two hosts.
    pub fn fleet() -> Builder {
        Builder::new(Layout::fleet())
    }

    /// One primary, and nobody else.
    pub fn single() -> Builder {
        Builder::new(Layout::single())
    }

    /// What makes this stage's names unique.
    pub fn id(&self) -> &str {
        self.sweeper.stage()
    }

    /// A directory for the test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where HAProxy takes requests.
    pub fn frontend(&self) -> SocketAddr {
        self.frontend.into()
    }

    /// Where a second frontend may take requests: `{other}` in the extra text.
    pub fn other_frontend(&self) -> SocketAddr {
        self.other.into()
    }

    /// The servers, in the order of haproxy.cfg.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// A server by its name in haproxy.cfg.
    pub fn server(&self, name: &str) -> &Server {
        let found = self.servers.iter().find(|server| server.name == name);
        found.unwrap_or_else(|| panic!("no server {name} on this stage"))
    }

    /// The name of the container behind a server: `t0123456789ab-mobile-app1`.
    pub fn container_name(&self, server: &str) -> String {
        container_name(self.id(), server)
    }

    /// The container of that name as it is now, if there is one.
    pub async fn container(&self, server: &str) -> Option<Container> {
        self.engine.container(&self.container_name(server)).await
    }

    /// All containers of this stage, whoever made them, stopped ones too.
    pub async fn containers(&self) -> Vec<Container> {
        self.engine.containers(self.id()).await.expect("list containers")
    }

    /// The reference of an image on this stage's registry, whether it exists or not.
    pub fn reference(&self, tag: &str) -> String {
        reference(&self.registry, tag)
    }

    /// Puts an image into the registry, and only there, so that it must be pulled. Returns its reference.
    pub async fn image(&self, tag: &str, environment: &[(&str, &str)]) -> String {
        let reference = make_image(&self.engine, &self.registry, self.id(), tag, environment).await;
        self.engine.forget(&reference).await;
        reference
    }

    /// The same, larger by so many megabytes.
    pub async fn large_image(&self, tag: &str, megabytes: usize) -> String {
        let root_fs = large_root_fs(tag, megabytes);
        let reference = make_image_of(root_fs, &self.engine, &self.registry, self.id(), tag, &[]).await;
        self.engine.forget(&reference).await;
        reference
    }

    /// Makes an image that only the engine has: the registry does not know the tag. Returns its reference.
    pub async fn local_image(&self, tag: &str, environment: &[(&str, &str)]) -> String {
        let repository = self.registry.repository();
        import(root_fs(tag), &self.engine, &repository, self.id(), tag, environment).await;
        self.reference(tag)
    }

    /// Makes an image with this label that only the engine has. Returns its reference.
    pub async fn labelled_image(&self, tag: &str, label: (&str, &str)) -> String {
        let own = image_labels(self.id());
        let mut labels: Vec<_> = own.iter().map(|(key, value)| (*key, value.as_str())).collect();
        labels.push(label);
        self.engine.import(&self.registry.repository(), tag, root_fs(tag), instructions(&[], &labels)).await;
        self.reference(tag)
    }

    /// Runs a container that haproxy.cfg knows nothing of, at the address of the second frontend.
    pub async fn run_stranger(&self, name: &str, image: &str) {
        let (name, stage) = (container_name(self.id(), name), self.id());
        let environment = vec!["NAME=stranger".to_owned()];
        let new = NewContainer { name: &name, image, address: self.other, environment, mount: None, stage };
        self.engine.run(new).await;
    }

    /// Creates a container that never runs, with this label beside the stage's own, or with none.
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

    /// Another load balancer before the same containers, by the same binary.
    pub async fn second(&self) -> Second {
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
        Second { haproxy, frontend: frontend.into(), _ports: ports, _dir: dir }
    }

    /// Runs a container for a server that has lost its own, as the stage did at its start, but without waiting.
    pub async fn run(&self, server: &str, image: &str) {
        run_server(&self.engine, self.id(), self.server(server), image, &self.environment, None).await;
    }

    /// The same with a directory of the host mounted.
    pub async fn run_with_mount(&self, server: &str, image: &str, mount: &Path) {
        run_server(&self.engine, self.id(), self.server(server), image, &self.environment, Some(mount)).await;
    }

    /// Opens a stream through HAProxy and waits for its first bytes.
    pub async fn open_stream(&self, seconds: u64) -> Connection {
        let mut connection = Connection::open(self.frontend()).await.expect("connect to HAProxy");
        connection.begin(&format!("/stream?s={seconds}")).await.expect("the stream begins");
        connection
    }

    /// Waits until a server's container answers its health check.
    pub async fn until_healthy(&self, server: &str) {
        until_healthy(self.server(server)).await;
    }

    /// Waits until a server's container runs this image, answering or not.
    pub async fn until_started(&self, server: &str, image: &str) {
        wait_until(&format!("the new {server} boots"), Duration::from_secs(30), async || {
            let new = self.container(server).await;
            new.is_some_and(|new| new.state == "running" && new.image.starts_with(image))
        })
        .await;
    }

    /// Removes a server's container, running or not.
    pub async fn remove(&self, server: &str) {
        self.engine.remove(&self.container_name(server)).await.expect("remove a container");
    }

    /// Asks a server's container directly, past HAProxy.
    pub async fn get(&self, server: &str, path: &str) -> Result<Answer, Loss> {
        get(self.server(server).address.into(), path).await
    }

    /// Ends everything and fails where something cannot be removed. Dropping does the same, but only prints.
    pub async fn close(mut self) {
        self.sweeper.sweep(&self.engine).await;
    }
}

impl Drop for Stage {
    /// After a panic: what HAProxy had to say, for whoever reads the failure.
    #[expect(clippy::print_stderr, reason = "part of the report of a failed test")]
    fn drop(&mut self) {
        if thread::panicking() {
            let output = self.haproxy.output();
            let lines: Vec<_> = output.lines().collect();
            eprintln!("HAProxy's last words:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

/// Makes an image and pushes it to the stage's registry.
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

/// Waits until the application behind a server answers its health check.
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
