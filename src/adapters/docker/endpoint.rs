//! The address of a container engine, read from a flag, the environment or Docker's contexts. This contacts no
//! engine.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::context;
pub use super::tunnel::Destination;
use crate::model::secret::redact;
use crate::ports::EngineError;

/// Docker's default socket on Linux.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Docker's port without TLS.
const PLAIN_PORT: u16 = 2375;
/// Docker's port with TLS.
const TLS_PORT: u16 = 2376;

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket on this host.
    Unix(PathBuf),
    Tcp {
        /// A name or an address; an IPv6 address without its brackets.
        host: String,
        port: u16,
        /// The directory of `ca.pem`, `cert.pem` and `key.pem`; `None` without TLS.
        certificates: Option<PathBuf>,
    },
    /// A unix socket on another host, reached over ssh.
    Ssh(Destination),
}

impl Endpoint {
    /// Reads an endpoint: the given text, else `DOCKER_HOST`, else `DOCKER_CONTEXT`, else the context that `docker
    /// context use` has chosen, else Docker's local socket.
    ///
    /// Accepts `unix:///path`, `/path`, `tcp://host[:port]`, `http://host[:port]`, `https://host[:port]`,
    /// `ssh://[user@]host[:port][/path/of/the.sock]` and `context:NAME`. A TCP endpoint uses TLS if
    /// `DOCKER_TLS_VERIFY` is set and not empty, or with `https`. Its certificates are in `DOCKER_CERT_PATH`, else in
    /// `~/.docker`, as for the `docker` command. A context has its own certificates.
    pub fn read(text: Option<&str>, environment: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let variable =
            |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let home = variable("HOME").map(|home| Path::new(home).join(".docker"));
        let directory = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| home.clone());
        let of_context = |name: &str| {
            let bad = |reason| EngineError::BadEndpoint { endpoint: format!("context:{name}"), reason };
            if name == context::DEFAULT {
                return Ok(Self::Unix(PathBuf::from(DEFAULT_SOCKET)));
            }
            let directory = directory.as_deref();
            let directory =
                directory.ok_or_else(|| bad("neither HOME nor DOCKER_CONFIG is set".to_owned()))?;
            let found = context::find(directory, name).map_err(bad)?;
            Self::parse(&found.host, |https| match found.certificates {
                None if https => Err("the context has no certificates"),
                certificates => Ok(certificates),
            })
        };
        if let Some(text) = text.or_else(|| variable("DOCKER_HOST")) {
            if let Some(name) = text.strip_prefix("context:") {
                return of_context(name);
            }
            return Self::parse(text, |https| match (variable("DOCKER_CERT_PATH"), home) {
                _ if !https && variable("DOCKER_TLS_VERIFY").is_none() => Ok(None),
                (Some(directory), _) => Ok(Some(PathBuf::from(directory))),
                (None, Some(home)) => Ok(Some(home)),
                (None, None) => {
                    Err("TLS needs DOCKER_CERT_PATH: set it to the directory of the certificates")
                }
            });
        }
        if let Some(name) = variable("DOCKER_CONTEXT") {
            return of_context(name);
        }
        let chosen = directory.as_deref().map_or(Ok(None), context::chosen);
        let chosen = chosen.map_err(|reason| EngineError::BadEndpoint {
            endpoint: "the current Docker context".to_owned(),
            reason,
        })?;
        of_context(chosen.as_deref().unwrap_or(context::DEFAULT))
    }

    /// Returns whether others can read the traffic to the engine on its way: TCP to another host, without TLS.
    #[must_use]
    pub fn is_unencrypted(&self) -> bool {
        let Self::Tcp { host, certificates: None, .. } = self else { return false };
        // A resolver decides the meaning of any other name, and it may change.
        host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Parses an address. `certificates` returns the directory of a TCP endpoint's certificates; its argument says
    /// whether they are required.
    fn parse(
        text: &str,
        certificates: impl FnOnce(bool) -> Result<Option<PathBuf>, &'static str>,
    ) -> Result<Self, EngineError> {
        let bad =
            |reason: &str| EngineError::BadEndpoint { endpoint: redact(text), reason: reason.to_owned() };
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        match scheme {
            "" | "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "" | "unix" => {
                Err(bad("expected unix:///path/to/docker.sock, tcp://host:port or ssh://user@host"))
            }
            "tcp" | "http" | "https" => {
                let certificates = certificates(scheme == "https").map_err(bad)?;
                let port = if certificates.is_some() { TLS_PORT } else { PLAIN_PORT };
                let (host, port) = host_and_port(rest, Some(port)).map_err(bad)?;
                let host = if host.is_empty() { "127.0.0.1".to_owned() } else { host };
                let port = port.unwrap_or(PLAIN_PORT);
                Ok(Self::Tcp { host, port, certificates })
            }
            "ssh" => destination(rest).map(Self::Ssh).map_err(bad),
            _ => Err(bad("expected the scheme unix, tcp, http, https or ssh")),
        }
    }
}

/// Parses `[user@]host[:port][/path]`.
fn destination(text: &str) -> Result<Destination, &'static str> {
    let (authority, socket) = match text.find('/') {
        Some(slash) if slash + 1 < text.len() => text.split_at(slash),
        Some(slash) => (&text[..slash], DEFAULT_SOCKET),
        None => (text, DEFAULT_SOCKET),
    };
    // ssh would expand or split anything else.
    if !socket.chars().all(|it| it.is_ascii_alphanumeric() || "/._-".contains(it)) {
        return Err("the socket's path may contain only letters, digits, `/`, `.`, `_` and `-`");
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => return Err("a password is not accepted here; use a key"),
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (host, port) = host_and_port(host, None)?;
    if host.is_empty() || host.starts_with('-') || user.is_some_and(|it| it.is_empty() || it.starts_with('-'))
    {
        return Err("expected ssh://[user@]host[:port][/path/to/docker.sock]");
    }
    let who = user.map_or_else(|| host.clone(), |user| format!("{user}@{host}"));
    Ok(Destination { who, port, socket: PathBuf::from(socket) })
}

/// Splits `host[:port][/]`; both parts are optional.
fn host_and_port(text: &str, default: Option<u16>) -> Result<(String, Option<u16>), &'static str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.contains(['/', '@', '?']) {
        return Err("expected only a host and a port after the scheme");
    }
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, rest))) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        Some(None) => return Err("missing `]`"),
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("write an IPv6 address in brackets, such as [::1]:2375");
            }
            Some(split) => split,
            None => (text, ""),
        },
    };
    let port = match port {
        "" => default,
        digits => {
            let port = digits.parse().ok().filter(|port| *port != 0);
            Some(port.ok_or("invalid port: expected a number from 1 to 65535")?)
        }
    };
    Ok((host.to_owned(), port))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
            Self::Ssh(Destination { who, port, socket }) => {
                write!(f, "ssh://{who}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
                if socket == Path::new(DEFAULT_SOCKET) { Ok(()) } else { write!(f, "{}", socket.display()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: Option<&str>, environment: &[(&str, &str)]) -> Result<Endpoint, EngineError> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Endpoint::read(text, &environment.collect())
    }

    fn printed(text: &str) -> String {
        read(Some(text), &[]).unwrap().to_string()
    }

    #[test]
    fn the_text_comes_first_then_docker_host_then_the_local_socket() {
        let environment = [("DOCKER_HOST", "tcp://10.0.0.5:2375")];
        assert_eq!(read(Some("/run/d.sock"), &environment).unwrap(), Endpoint::Unix("/run/d.sock".into()));
        assert_eq!(read(None, &environment).unwrap().to_string(), "tcp://10.0.0.5:2375");
        assert_eq!(read(None, &[("DOCKER_HOST", "")]).unwrap(), Endpoint::Unix(DEFAULT_SOCKET.into()));
    }

    #[test]
    fn docker_host_wins_over_contexts_and_a_named_context_over_the_chosen_one() {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, text: String| {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for name in ["one", "two"] {
            let meta = format!(r#"{{"Name":"{name}","Endpoints":{{"docker":{{"Host":"ssh://{name}"}}}}}}"#);
            write(&format!(".docker/contexts/meta/{name}/meta.json"), meta);
        }
        write(".docker/config.json", r#"{"currentContext":"one"}"#.to_owned());
        let home = ("HOME", home.path().to_str().unwrap());
        let (named, host) = (("DOCKER_CONTEXT", "two"), ("DOCKER_HOST", "tcp://e"));
        let printed = |text, environment: &[_]| read(text, environment).unwrap().to_string();
        assert_eq!(printed(None, &[home]), "ssh://one");
        assert_eq!(printed(None, &[home, named]), "ssh://two");
        assert_eq!(printed(None, &[home, named, host]), "tcp://e:2375");
        assert_eq!(printed(Some("context:one"), &[home, named, host]), "ssh://one");
        assert_eq!(printed(None, &[home, ("DOCKER_CONTEXT", "default")]), "unix:///var/run/docker.sock");
    }

    #[test]
    fn every_form_of_address_is_accepted() {
        assert_eq!(printed("unix:///run/d.sock"), "unix:///run/d.sock");
        assert_eq!(printed("tcp://engine"), "tcp://engine:2375");
        assert_eq!(printed("http://engine:99/"), "tcp://engine:99");
        assert_eq!(printed("tcp://[fd00::1]:2375"), "tcp://[fd00::1]:2375");
        assert_eq!(printed("tcp://:2375"), "tcp://127.0.0.1:2375");
        assert_eq!(printed("ssh://engine"), "ssh://engine");
        assert_eq!(printed("ssh://root@engine:22/var/run/docker.sock"), "ssh://root@engine:22");
        assert_eq!(printed("ssh://engine/run/d.sock"), "ssh://engine/run/d.sock");
        assert_eq!(printed("context:default"), "unix:///var/run/docker.sock");
    }

    #[test]
    fn tls_is_never_dropped_silently() {
        let verify = ("DOCKER_TLS_VERIFY", "1");
        let tls = |port, directory: &str| Endpoint::Tcp {
            host: "e".into(),
            port,
            certificates: Some(directory.into()),
        };
        assert_eq!(read(Some("tcp://e"), &[verify, ("DOCKER_CERT_PATH", "/c")]).unwrap(), tls(2376, "/c"));
        assert_eq!(read(Some("http://e:1"), &[verify, ("HOME", "/root")]).unwrap(), tls(1, "/root/.docker"));
        assert!(read(Some("https://e"), &[]).is_err());
    }

    #[test]
    fn what_cannot_be_reached_says_what_to_do() {
        let reason = |text: &str| read(Some(text), &[]).unwrap_err().to_string();
        assert!(reason("ssh://root:hunter2@host").contains("use a key"));
        for text in
            ["ssh://root:hunter2@host", "tcp://root:hunter2@host:2375", "tcp://host:2375?token=hunter2"]
        {
            assert!(!reason(text).contains("hunter2"), "{}", reason(text));
        }
        for text in ["ssh://", "ssh://-oProxyCommand=x", "ssh://-l@host", "ssh://host:0", "ssh://host/a:b"] {
            assert!(read(Some(text), &[]).is_err(), "{text} was accepted");
        }
        assert!(reason("tcp://fd00::1:2375").contains("in brackets"));
        for text in
            ["", "docker.sock", "unix://relative", "tcp://e:0", "tcp://e:x", "tcp://u@e:1", "npipe:////./x"]
        {
            assert!(read(Some(text), &[]).is_err(), "{text} was accepted");
        }
        assert!(read(None, &[("DOCKER_CONTEXT", "prod")]).is_err());
        assert!(read(Some("context:prod"), &[("HOME", "/nowhere")]).is_err());
        assert!(read(None, &[("DOCKER_CONTEXT", "default")]).is_ok());
    }
}
