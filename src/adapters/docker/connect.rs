//! Connects to an engine.

use std::path::PathBuf;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_util::client::legacy::connect::HttpConnector;

use super::raw::Raw;
use super::transport::{self, Transport};
use super::tunnel::Tunnel;
use super::{DockerEngine, Endpoint, call, recreate, tls};
use crate::model::registries::Registries;
use crate::ports::EngineError;

/// The time limit for the engine's first answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The client's own time limit. It is longer than all others here: a shorter one would cut off a long stop.
const CLIENT_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

impl DockerEngine {
    /// Connects and negotiates the API version within ten seconds. An ssh connection gets twenty seconds more.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, EngineError> {
        let limit = CLIENT_LIMIT.as_secs();
        let unreachable = |reason| EngineError::Unreachable { endpoint: endpoint.to_string(), reason };
        let tunnel = match &endpoint {
            Endpoint::Ssh(destination) => Some(Tunnel::open(destination).await.map_err(unreachable)?),
            Endpoint::Unix(_) | Endpoint::Tcp { .. } => None,
        };
        let client = match &endpoint {
            Endpoint::Unix(path) => by_socket(path.clone(), limit),
            Endpoint::Tcp { certificates: None, .. } => {
                let address = endpoint.to_string().replacen("tcp://", "http://", 1);
                let way = Transport::Tcp(HttpConnector::new());
                transport::connect(&way, &address, limit, API_DEFAULT_VERSION)
            }
            Endpoint::Tcp { certificates: Some(directory), .. } => {
                let address = endpoint.to_string().replacen("tcp://", "https://", 1);
                let way = Transport::Tls(tls::connector(directory).map_err(unreachable)?);
                transport::connect(&way, &address, limit, API_DEFAULT_VERSION)
            }
            Endpoint::Ssh(_) => by_socket(tunnel.as_ref().map(Tunnel::socket).unwrap_or_default(), limit),
        };
        let (client, raw) = client.map_err(|error| unreachable(call::unreachable(&endpoint, &error)))?;
        let client = client.with_request_modifier(with_url_safe_login);
        let greeting = async {
            let client = client.negotiate_version().await?;
            let components = client.version().await?.components.unwrap_or_default();
            let is_podman = components.iter().any(|it| it.name.starts_with("Podman"));
            Ok::<_, bollard::errors::Error>((client, is_podman))
        };
        match tokio::time::timeout(CONNECT_LIMIT, greeting).await {
            Ok(Ok((client, is_podman))) => {
                let registries = Registries::default();
                Ok(Self { client, raw, endpoint, tunnel, is_podman, registries, allow_plain_password: false })
            }
            Ok(Err(error)) => {
                let complaint = match (&endpoint, &tunnel) {
                    (Endpoint::Ssh(destination), Some(tunnel)) => tunnel.error_output(destination).await,
                    _ => None,
                };
                Err(unreachable(complaint.unwrap_or_else(|| call::unreachable(&endpoint, &error))))
            }
            Err(_) => Err(unreachable(format!("no answer within {} s", CONNECT_LIMIT.as_secs()))),
        }
    }

    /// Returns the properties of the engine that decide how it creates containers.
    pub(super) fn dialect(&self) -> recreate::Dialect {
        let version = self.client.client_version();
        let api = (version.major_version, version.minor_version);
        recreate::Dialect { api, is_podman: self.is_podman }
    }
}

/// Returns a client for an engine that listens on a socket.
fn by_socket(path: PathBuf, limit: u64) -> Result<(Docker, Raw), bollard::errors::Error> {
    transport::connect(&Transport::Unix(path), "http://localhost", limit, API_DEFAULT_VERSION)
}

/// Rewrites the login header. The engine reads the login as URL-safe base64, but the client writes the other
/// alphabet: a password with `~`, `>` or `?` in it would be dropped without a message.
fn with_url_safe_login(mut request: BollardRequest) -> BollardRequest {
    if let Some(login) = request.headers_mut().get_mut("X-Registry-Auth") {
        let text = login.to_str().unwrap_or_default().replace('+', "-").replace('/', "_");
        if let Ok(value) = text.parse() {
            *login = value;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_engine_times_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let _silent = tokio::net::UnixListener::bind(&path).unwrap();
        let error = DockerEngine::connect(Endpoint::Unix(path)).await.unwrap_err();
        assert!(error.to_string().contains("no answer within 10 s."), "{error}");
    }

    #[test]
    fn a_login_is_sent_in_the_alphabet_that_the_engine_reads() {
        let mut request = BollardRequest::new(bollard::body_full(Vec::new().into()));
        request.headers_mut().insert("X-Registry-Auth", "a+b/c==".parse().unwrap());
        assert_eq!(with_url_safe_login(request).headers()["X-Registry-Auth"], "a-b_c==");
    }
}
