//! A real registry of the stage's own.

use super::http::get;
use super::process::{Process, find};
use super::token_server::TokenServer;
use super::wait::wait_until;
use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Who may ask a guarded registry.
pub const USER: &str = "deployer";
pub const PASSWORD: &str = "planted-7d1e";
/// The same for htpasswd: bcrypt.
const HASH: &str = "$2b$04$LD993HKUibtIMViTX/EikuPNTHX/nPOoQNsQXfvdZzyKXS5MfO6hS";

/// A running `docker-registry`.
pub struct Registry {
    process: Process,
    address: SocketAddrV4,
}

impl Registry {
    /// Starts it with its configuration and storage in `dir`, and waits until it answers.
    pub async fn start(dir: &Path, address: SocketAddrV4) -> Self {
        Self::start_with(dir, address, "registry.yml", "", 200).await
    }

    /// Starts one of the same storage that wants to know who asks: [`USER`] with [`PASSWORD`].
    pub async fn start_guarded(dir: &Path, address: SocketAddrV4) -> Self {
        let users = dir.join("htpasswd");
        fs::write(&users, format!("{USER}:{HASH}\n")).expect("write the passwords");
        let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display());
        Self::start_with(dir, address, "guarded.yml", &auth, 401).await
    }

    /// Starts one of the same storage that takes the tokens of this server, and nothing else.
    pub async fn start_by_tokens(dir: &Path, address: SocketAddrV4, tokens: &TokenServer) -> Self {
        Self::start_with(dir, address, "tokens.yml", &tokens.registry_auth(dir), 401).await
    }

    async fn start_with(dir: &Path, address: SocketAddrV4, config: &str, more: &str, status: u16) -> Self {
        let config = dir.join(config);
        let storage = dir.join("registry");
        let text = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  delete:\n    enabled: true\n  \
             filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{more}",
            storage.display()
        );
        fs::write(&config, text).expect("write the registry's configuration");
        let program = find("docker-registry").expect("docker-registry is installed");
        let mut command = Command::new(program);
        let process = Process::start(command.arg("serve").arg(config), &dir.join("registry.log"));
        wait_until("the registry answers", Duration::from_secs(20), async || {
            get(address.into(), "/v2/").await.is_ok_and(|answer| answer.status == status)
        })
        .await;
        Self { process, address }
    }

    /// The name under which images are kept here: `127.0.0.1:25000/mobile`.
    pub fn repository(&self) -> String {
        format!("{}/mobile", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Kills it, for a test of what happens without a registry.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}
