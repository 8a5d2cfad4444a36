//! The description of a stage, and its setup.

use super::engine::Engine;
use super::haproxy::{Haproxy, Processes, binary};
use super::http::get;
use super::layout::{Config, Layout, Mode, Server};
use super::ports::Ports;
use super::registry::Registry;
use super::stage::{START_LIMIT, Stage, make_image, run_server, until_healthy};
use super::sweeper::Sweeper;
use super::wait::wait_until;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use tempfile::TempDir;

/// The description of a stage.
#[derive(Clone)]
pub struct Builder {
    layout: Layout,
    config: Config,
    environment: Vec<String>,
    processes: Processes,
    binary: PathBuf,
}

impl Builder {
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            config: Config::default(),
            environment: Vec::new(),
            processes: Processes::One,
            binary: binary(),
        }
    }

    /// Sets an environment variable of every container, which overrides that of the image.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push(format!("{key}={value}"));
        self
    }

    /// Sets HAProxy's mode; the default is `mode http`.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// Sets the level of the stats socket; the default is `admin`.
    #[must_use]
    pub fn stats_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.config.stats_level);
        self
    }

    /// Replaces `option httpchk GET /health` by checks that only connect.
    #[must_use]
    pub fn connect_checks(mut self) -> Self {
        self.config.http_check = false;
        self
    }

    /// Sets the options of the `default-server` line; the default is `inter 500ms fall 3 rise 2`.
    #[must_use]
    pub fn default_server(mut self, options: &str) -> Self {
        options.clone_into(&mut self.config.default_server);
        self
    }

    /// Adds a line to the backend.
    #[must_use]
    pub fn backend_line(mut self, line: &str) -> Self {
        self.config.backend_lines.push(line.to_owned());
        self
    }

    /// Adds a `server-state-file`, from which a reload restores the servers' states.
    #[must_use]
    pub fn state_file(mut self) -> Self {
        self.config.state_file = true;
        self
    }

    /// Adds text at the end of haproxy.cfg. `{app1}` is the address of `app1`, and `{other}` that of a second frontend.
    #[must_use]
    pub fn extra(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config.extra);
        self
    }

    /// Sets how HAProxy runs; a reload needs a master and workers.
    #[must_use]
    pub fn processes(mut self, processes: Processes) -> Self {
        self.processes = processes;
        self
    }

    /// Sets up the stage with every server on image `v1`, and waits until all servers serve.
    pub async fn start(self) -> Stage {
        let dir = TempDir::with_prefix("drainswap-test-").expect("a temporary directory");
        let engine = Engine::connect().await.expect("connect to the Docker daemon");
        let sweeper = Sweeper::new();
        let own = self.layout.ports();
        let ports = Ports::reserve(own + 3);
        let servers = self.layout.place(ports.at(0));
        let local = |index| SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports.at(own + index));
        let registry = Registry::start(dir.path(), local(0)).await;
        let v1 = make_image(&engine, &registry, sweeper.stage(), "v1", &[("VERSION", "v1")]).await;
        for server in &servers {
            run_server(&engine, sweeper.stage(), server, &v1, &self.environment, None).await;
        }
        for server in &servers {
            until_healthy(server).await;
        }
        let frontend = local(1);
        let text = self.config.render(&dir.path().join("admin.sock"), frontend, &servers);
        let text = text.replace("{other}", &local(2).to_string());
        fs::write(dir.path().join("haproxy.cfg"), text).expect("write haproxy.cfg");
        let config = dir.path().join("haproxy.cfg");
        let haproxy = Haproxy::start(&self.binary, dir.path(), &config, self.processes).await;
        until_serving(&haproxy, frontend, &servers).await;
        Stage {
            haproxy,
            registry,
            engine,
            servers,
            environment: self.environment,
            frontend,
            other: local(2),
            sweeper,
            dir,
            ports,
        }
    }
}

/// Waits until HAProxy has finished the initial checks of every server (before that, the status is `UP 1/3`) and
/// serves a page.
async fn until_serving(haproxy: &Haproxy, frontend: SocketAddrV4, servers: &[Server]) {
    for Server { name, .. } in servers {
        wait_until(&format!("HAProxy has checked {name}"), START_LIMIT, async || {
            !haproxy.status(name).await.starts_with("UP ")
        })
        .await;
    }
    wait_until("a page comes through HAProxy", START_LIMIT, async || {
        get(frontend.into(), "/").await.is_ok_and(|answer| answer.is_success())
    })
    .await;
}
