//! A separate Docker daemon on a socket and on TCP, where it requires client certificates. It can be restarted.

use super::ports::{Ports, random};
use super::process::{Process, find, installed};
use super::wait::wait_until;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

/// A Docker daemon with its own containerd and bridge. It needs root.
pub struct TlsEngine {
    containerd: Process,
    dockerd: Mutex<Process>,
    bridge: String,
    port: u16,
    /// Whether the data directory is a separate file system.
    is_mounted: bool,
    _ports: Ports,
    dir: TempDir,
}

/// The certificates of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// Certificates that the daemon trusts.
    Good,
    /// An expired client certificate.
    Expired,
    /// A client certificate from another authority.
    Foreign,
    /// Another authority, so that the client does not trust the daemon.
    WrongAuthority,
}

impl CertificateKind {
    const ALL: [Self; 4] = [Self::Good, Self::Expired, Self::Foreign, Self::WrongAuthority];

    fn folder(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes a certificate and its key under Docker's names; the certificate expires at the start of a year.
    fn issue(&self, dir: &Path, purpose: ExtendedKeyUsagePurpose, until: i32) {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        params.extended_key_usages = vec![purpose];
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::create_dir_all(dir).expect("a directory");
        fs::write(dir.join("cert.pem"), certificate.pem()).expect("write a certificate");
        fs::write(dir.join("key.pem"), key.serialize_pem()).expect("write a key");
    }
}

impl TlsEngine {
    /// Starts the daemon and waits until it answers trusted clients.
    pub async fn start() -> Self {
        Self::start_in(None).await
    }

    /// Starts a daemon with limited space for images and containers.
    pub async fn start_small(megabytes: u32) -> Self {
        Self::start_in(Some(megabytes)).await
    }

    async fn start_in(megabytes: Option<u32>) -> Self {
        let dir = TempDir::with_prefix("drainswap-test-").expect("a temporary directory");
        let (ours, others) = (Authority::new(), Authority::new());
        let server = dir.path().join("server");
        ours.issue(&server, ExtendedKeyUsagePurpose::ServerAuth, 2100);
        fs::write(server.join("ca.pem"), &ours.pem).expect("write a certificate");
        for papers in CertificateKind::ALL {
            let folder = dir.path().join(papers.folder());
            let issuer = if papers == CertificateKind::Foreign { &others } else { &ours };
            let until = if papers == CertificateKind::Expired { 2001 } else { 2100 };
            issuer.issue(&folder, ExtendedKeyUsagePurpose::ClientAuth, until);
            let trusted = if papers == CertificateKind::WrongAuthority { &others } else { &ours };
            fs::write(folder.join("ca.pem"), &trusted.pem).expect("write a certificate");
        }
        let root = dir.path().join("docker");
        fs::create_dir_all(&root).expect("a directory");
        if let Some(megabytes) = megabytes {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(&root);
            assert!(mount.status().is_ok_and(|status| status.success()), "mount");
        }
        let number = random() % 250;
        let (bridge, ports) = (format!("dt{:08x}", random() >> 32), Ports::reserve(1));
        for arguments in [
            vec!["link", "add", "name", &bridge, "type", "bridge"],
            vec!["addr", "add", &format!("10.214.{number}.1/24"), "dev", &bridge],
            vec!["link", "set", &bridge, "up"],
        ] {
            let done = Command::new(installed("ip")).args(&arguments).status();
            assert!(done.is_ok_and(|status| status.success()), "ip {arguments:?}");
        }
        let port = ports.at(0);
        let (containerd, dockerd) = daemons(dir.path(), &bridge, port);
        let (dockerd, is_mounted) = (Mutex::new(dockerd), megabytes.is_some());
        let engine = Self { containerd, dockerd, bridge, port, is_mounted, _ports: ports, dir };
        engine.until_it_answers().await;
        engine
    }

    async fn until_it_answers(&self) {
        wait_until("the second daemon answers", Duration::from_secs(60), async || {
            self.docker(&["version"]).is_some()
        })
        .await;
    }

    /// Restarts the daemon as a service manager does: containers stop, and their restart policies start them again.
    pub async fn restart(&self) {
        {
            let mut dockerd = self.dockerd.lock().expect("no thread has panicked");
            dockerd.end();
            *dockerd = dockerd_in(self.dir.path());
        }
        self.until_it_answers().await;
    }

    /// Returns the path of the socket, which needs no certificate.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Returns the TCP endpoint: `tcp://127.0.0.1:23456`.
    pub fn endpoint(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Returns the directory for `DOCKER_CERT_PATH`.
    pub fn certificates(&self, papers: CertificateKind) -> PathBuf {
        self.dir.path().join(papers.folder())
    }

    /// Runs the `docker` client and returns its output if it succeeds.
    pub fn docker(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("docker");
        command.args(arguments).env("DOCKER_HOST", self.endpoint()).env("DOCKER_TLS_VERIFY", "1");
        command.env("DOCKER_CERT_PATH", self.certificates(CertificateKind::Good)).stderr(Stdio::null());
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for TlsEngine {
    /// Removes the containers first, because their mounts would outlive the daemon.
    fn drop(&mut self) {
        let all = self.docker(&["ps", "-aq"]).unwrap_or_default();
        let ids: Vec<&str> = all.split_whitespace().collect();
        if !ids.is_empty() {
            let _gone = self.docker(&[&["rm", "-fv"], &ids[..]].concat());
        }
        if let Ok(mut dockerd) = self.dockerd.lock() {
            dockerd.end();
        }
        self.containerd.end();
        if self.is_mounted {
            let _gone = Command::new("umount").arg(self.dir.path().join("docker")).status();
        }
        let _gone = Command::new(find("ip").unwrap_or_default()).args(["link", "del", &self.bridge]).status();
    }
}

/// Starts containerd and dockerd. Traffic to a published port on 127.0.0.0/8 goes through docker-proxy, without
/// iptables.
fn daemons(dir: &Path, bridge: &str, port: u16) -> (Process, Process) {
    let at = |name: &str| dir.join(name).display().to_string();
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\n  address = {:?}\n",
        at("containerd"),
        at("containerd-state"),
        at("containerd.sock")
    );
    fs::write(at("containerd.toml"), config).expect("write a configuration");
    let mut containerd = Command::new(installed("containerd"));
    let containerd =
        Process::start(containerd.arg("--config").arg(at("containerd.toml")), &dir.join("containerd.log"));
    let config = serde_json::json!({
        "hosts": [format!("tcp://127.0.0.1:{port}"), format!("unix://{}", at("docker.sock"))],
        "tlsverify": true,
        "tlscacert": at("server/ca.pem"),
        "tlscert": at("server/cert.pem"),
        "tlskey": at("server/key.pem"),
        "containerd": at("containerd.sock"),
        "data-root": at("docker"),
        "exec-root": at("docker-exec"),
        "storage-driver": "vfs",
        "bridge": bridge,
        "iptables": false,
        "ip-forward": false,
        "ip-masq": false,
    });
    fs::write(at("daemon.json"), config.to_string()).expect("write a configuration");
    (containerd, dockerd_in(dir))
}

fn dockerd_in(dir: &Path) -> Process {
    let at = |name: &str| dir.join(name).display().to_string();
    let mut dockerd = Command::new(installed("dockerd"));
    dockerd.args(["--config-file", &at("daemon.json"), "--pidfile", &at("dockerd.pid")]);
    Process::start(&mut dockerd, &dir.join("dockerd.log"))
}
