//! A real registry for a stage.

use super::http::get;
use super::process::{Process, installed};
use super::token_server::TokenServer;
use super::wait::wait_until;
use reqwest::Method;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The user of a guarded registry.
pub const USER: &str = "deployer";
pub const PASSWORD: &str = "planted-7d1e";
/// The bcrypt hash of the password for htpasswd.
const HASH: &str = "$2b$04$LD993HKUibtIMViTX/EikuPNTHX/nPOoQNsQXfvdZzyKXS5MfO6hS";

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The media type that an engine with the containerd image store pushes.
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold("sha256:".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// A running `docker-registry`.
pub struct Registry {
    process: Process,
    address: SocketAddrV4,
}

impl Registry {
    /// Starts a registry with its configuration and storage in `dir`, and waits until it answers.
    pub async fn start(dir: &Path, address: SocketAddrV4) -> Self {
        Self::start_with(dir, address, "registry.yml", "", 200).await
    }

    /// Starts a registry on the same storage that requires a login: [`USER`] with [`PASSWORD`].
    pub async fn start_guarded(dir: &Path, address: SocketAddrV4) -> Self {
        let users = dir.join("htpasswd");
        fs::write(&users, format!("{USER}:{HASH}\n")).expect("write the passwords");
        let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display());
        Self::start_with(dir, address, "guarded.yml", &auth, 401).await
    }

    /// Starts a registry on the same storage that only accepts the tokens of a token server.
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
        let program = installed("docker-registry");
        let mut command = Command::new(program);
        let process = Process::start(command.arg("serve").arg(config), &dir.join("registry.log"));
        wait_until("the registry answers", Duration::from_secs(20), async || {
            get(address.into(), "/v2/").await.is_ok_and(|answer| answer.status == status)
        })
        .await;
        Self { process, address }
    }

    /// Returns the repository of the images: `127.0.0.1:25000/mobile`.
    pub fn repository(&self) -> String {
        format!("{}/mobile", self.address)
    }

    /// Tags an index of existing images, given by architecture and tag.
    pub async fn index(&self, tag: &str, images: &[(&str, &str)]) {
        let mut manifests = Vec::new();
        for (architecture, of) in images {
            let mut manifest: Value = self.json(&format!("manifests/{of}")).await;
            let config = manifest["config"]["digest"].as_str().expect("a digest");
            let mut config: Value = self.json(&format!("blobs/{config}")).await;
            config["architecture"] = json!(architecture);
            let config = config.to_string();
            manifest["config"]["digest"] = json!(digest(&config));
            manifest["config"]["size"] = json!(config.len());
            let begun = self.send(Method::POST, "blobs/uploads/", "", String::new()).await;
            let upload = begun.headers()["location"].to_str().expect("an address").to_owned();
            let upload = format!("{upload}&digest={}", digest(&config));
            self.send(Method::PUT, &upload, "application/octet-stream", config).await;
            let kind = manifest["mediaType"].as_str().expect("a kind").to_owned();
            let manifest = manifest.to_string();
            self.send(Method::PUT, &format!("manifests/{}", digest(&manifest)), &kind, manifest.clone())
                .await;
            manifests.push(json!({
                "mediaType": kind, "digest": digest(&manifest), "size": manifest.len(),
                "platform": { "os": "linux", "architecture": architecture },
            }));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string();
        self.send(Method::PUT, &format!("manifests/{tag}"), INDEX, index).await;
    }

    async fn json(&self, path: &str) -> Value {
        let either = format!("{MANIFEST}, {OCI_MANIFEST}");
        let answer = self.send(Method::GET, path, &either, String::new()).await;
        serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: String) -> reqwest::Response {
        // A second call fails, because a provider is already installed.
        let _there = rustls::crypto::ring::default_provider().install_default();
        let base = format!("http://{}/v2/mobile/", self.address);
        let url = if path.starts_with("http") { path.to_owned() } else { base + path };
        let request = reqwest::Client::new().request(method, url);
        let answer = request.header("accept", kind).header("content-type", kind).body(body).send().await;
        answer.and_then(reqwest::Response::error_for_status).expect("the registry accepts the request")
    }

    /// Returns the address of the registry.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Kills the registry, to test the behaviour without one.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Returns the registry's output.
    pub fn output(&self) -> String {
        self.process.output()
    }
}
