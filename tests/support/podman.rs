//! A separate Podman service with Docker's API on a socket. Its containers use the host's network.

use super::image::root_fs;
use super::process::{Process, find, installed};
use super::wait::wait_until;
use std::io::Write;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A Podman service with separate storage. It needs root.
pub struct Podman {
    service: Process,
    dir: TempDir,
}

impl Podman {
    /// Starts the service and waits until it answers.
    pub async fn start() -> Self {
        // The directory also contains Podman's sockets, for which Podman accepts a path of at most 50 characters.
        let dir = TempDir::with_prefix_in("drainswap-test-", "/tmp").expect("a temporary directory");
        let socket = dir.path().join("podman.sock");
        let mut command = command(&dir);
        command.args(["system", "service", "--time=0", &format!("unix://{}", socket.display())]);
        let service = Process::start(&mut command, &dir.path().join("podman.log"));
        let podman = Self { service, dir };
        wait_until("Podman answers", Duration::from_secs(60), async || {
            tokio::net::UnixStream::connect(podman.socket()).await.is_ok()
        })
        .await;
        podman
    }

    /// Returns the endpoint: `unix:///tmp/…/podman.sock`.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("podman.sock")
    }

    /// Creates an image of the demonstration application, `localhost/mobile:TAG`, with the tag as its version.
    pub fn image(&self, tag: &str) -> String {
        let reference = format!("localhost/mobile:{tag}");
        let mut import = command(&self.dir);
        import.args([
            "import",
            "-c",
            &format!("ENV VERSION={tag}"),
            "-c",
            "ENTRYPOINT [\"/app\"]",
            "-",
            &reference,
        ]);
        let mut import = import
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("run podman");
        import.stdin.take().expect("a pipe").write_all(&root_fs(tag)).expect("give the file system");
        assert!(import.wait().is_ok_and(|status| status.success()), "podman import {reference}");
        reference
    }

    /// Runs the application behind a server, with limits and devices, which Podman reports differently than Docker.
    pub fn run(&self, server: &str, name: &str, address: SocketAddrV4, image: &str) {
        let (port, claim) = (address.port(), format!("drainswap.server=mobile/{server}"));
        let (at, on) = (format!("ADDRESS={}", address.ip()), format!("PORT={port}"));
        self.podman(&[
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "host",
            "--label",
            &claim,
            "-e",
            &on,
            "-e",
            &at,
            "--restart",
            "unless-stopped",
            "-v",
            "/data",
            "--ulimit",
            "nofile=1000:1000",
            "--ulimit",
            "nproc=1000:1000",
            "--user",
            "3:4",
            "--cap-add",
            "CHOWN",
            "--device",
            "/dev/null:/dev/nothing",
            image,
        ]);
    }

    /// Runs the `podman` program and returns its output.
    pub fn podman(&self, arguments: &[&str]) -> String {
        let output = command(&self.dir).args(arguments).output().expect("run podman");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Podman {
    /// Removes the containers first, because their mounts would outlive the service.
    fn drop(&mut self) {
        let _gone = command(&self.dir).args(["rm", "--all", "--force", "--volumes", "--time", "2"]).output();
        self.service.end();
    }
}

/// Returns a `podman` command for the storage in a directory.
fn command(dir: &TempDir) -> Command {
    let at = |name: &str| dir.path().join(name).display().to_string();
    let mut command = Command::new(installed("podman"));
    command.args(["--root", &at("root"), "--runroot", &at("run"), "--tmpdir", &at("tmp")]);
    command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
    // Podman prefers crun if both are installed, but crun cannot start containers with hybrid control groups.
    let named = std::env::var_os("TEST_PODMAN_RUNTIME").map(PathBuf::from);
    if let Some(runtime) = named.or_else(|| find("runc")) {
        command.arg("--runtime").arg(runtime);
    }
    command
}
