//! An HAProxy in master-worker mode in front of applications in the test's process, without Docker and with any
//! HAProxy binary.

use super::application::Application;
use super::haproxy::{Haproxy, Processes, binary};
use super::http::{Connection, get};
use super::ports::Ports;
use super::tool::{Ended, finish, program};
use super::wait::wait_until;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The applications, in the order of their ports.
const APPLICATIONS: [&str; 4] = ["app1", "app1b", "app2", "app2b"];

/// An HAProxy and the applications behind it, which stop when the site is dropped.
pub struct Site {
    pub haproxy: Haproxy,
    binary: PathBuf,
    /// The configuration file or directory.
    config: PathBuf,
    ports: Ports,
    #[expect(dead_code, reason = "they serve until the site is dropped")]
    applications: Vec<Application>,
    dir: TempDir,
}

impl Site {
    /// Starts a site with `haproxy.cfg`.
    pub async fn here() -> Self {
        Self::with_file("haproxy.cfg").await
    }

    /// Starts a site with the configuration at another path below the site's directory.
    pub async fn with_file(file: &str) -> Self {
        Self::start(&binary(), file).await
    }

    /// Starts HAProxy with a file at the given path below the site's directory, and the applications.
    async fn start(binary: &Path, file: &str) -> Self {
        let dir = TempDir::with_prefix("drainswap-test-").expect("a temporary directory");
        let ports = Ports::reserve(6);
        let mut applications = Vec::new();
        for (index, name) in (0..).zip(APPLICATIONS) {
            applications.push(Application::start(name, local(&ports, index)).await);
        }
        let file = dir.path().join(file);
        let folder = file.parent().expect("a folder").to_owned();
        fs::create_dir_all(&folder).expect("make a folder");
        // HAProxy reads a file in a subdirectory together with its whole folder.
        let config = if folder == dir.path() { file.clone() } else { folder };
        fs::write(&file, text(dir.path(), &ports, &servers(&ports))).expect("write haproxy.cfg");
        let haproxy = Haproxy::start(binary, dir.path(), &config, Processes::WorkersAndSocket).await;
        let site = Self { haproxy, binary: binary.to_owned(), config, ports, applications, dir };
        site.until_it_serves().await;
        site
    }

    async fn until_it_serves(&self) {
        wait_until("a page comes through HAProxy", Duration::from_secs(20), async || {
            get(self.frontend(), "/").await.is_ok_and(|answer| answer.is_success())
        })
        .await;
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn frontend(&self) -> SocketAddr {
        local(&self.ports, 4).into()
    }

    /// Returns an address without a listener.
    pub fn free_address(&self) -> SocketAddrV4 {
        local(&self.ports, 5)
    }

    /// Returns the `server` lines for the given applications.
    pub fn servers(&self, names: &[&str]) -> String {
        names.iter().map(|name| server(&self.ports, name)).collect()
    }

    /// Returns whether this HAProxy supports dynamic servers.
    pub fn has_dynamic_servers(&self) -> bool {
        let output =
            std::process::Command::new(&self.binary).arg("-v").output().expect("HAProxy prints its version");
        !String::from_utf8_lossy(&output.stdout).contains("version 2.2.")
    }

    /// Returns the initial configuration.
    pub fn original(&self) -> String {
        self.text(&servers(&self.ports))
    }

    /// Returns the configuration with the given lines in its backend.
    pub fn text(&self, backend: &str) -> String {
        text(self.dir(), &self.ports, backend)
    }

    /// Writes a file for the test.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, text).expect("write a file");
        path
    }

    /// Opens a stream through HAProxy, whose session lasts until the stream is dropped.
    pub async fn open_stream(&self) -> Connection {
        let mut connection = Connection::open(self.frontend()).await.expect("connect to HAProxy");
        connection.begin("/stream").await.expect("the stream begins");
        connection
    }

    /// Returns a command that runs drainswap on this site.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("DRAINSWAP_HAPROXY_CONFIG", &self.config)
            .env("DRAINSWAP_HAPROXY", &self.binary)
            .env("DRAINSWAP_STATE_DIR", self.dir().join("state"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Starts drainswap without waiting for it.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("start drainswap")
    }

    /// Runs drainswap and waits until it exits.
    pub async fn drainswap(&self, arguments: &[&str]) -> Ended {
        finish(self.spawn(arguments)).await
    }

    /// Starts `config apply` with a text.
    pub fn spawn_apply(&self, text: &str, flags: &[&str]) -> Child {
        let file = self.write("wanted.txt", text);
        let from = ["config", "apply", "--from", file.to_str().expect("a path in UTF-8")];
        self.spawn(&[&from, flags].concat())
    }

    /// Runs `config apply` with a text.
    pub async fn apply(&self, text: &str, flags: &[&str]) -> Ended {
        finish(self.spawn_apply(text, flags)).await
    }
}

fn local(ports: &Ports, index: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports.at(index))
}

fn server(ports: &Ports, name: &str) -> String {
    let index = APPLICATIONS.iter().position(|known| *known == name).expect("an application's name");
    let backup = if name.ends_with('b') { " backup" } else { "" };
    let address = local(ports, u16::try_from(index).expect("a small number"));
    format!("    server {name} {address} check{backup}\n")
}

/// Returns the initial servers; tests add the second host.
fn servers(ports: &Ports) -> String {
    server(ports, "app1") + &server(ports, "app1b")
}

fn text(dir: &Path, ports: &Ports, backend: &str) -> String {
    format!(
        "global\n    stats socket {}/admin.sock mode 600 level admin\n    log stdout format raw daemon\n\n\
         defaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n\n\
         frontend www\n    bind {}\n    default_backend mobile\n\n\
         backend mobile\n    balance roundrobin\n{backend}",
        dir.display(),
        local(ports, 4),
    )
}
