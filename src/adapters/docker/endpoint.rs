//! Where a container engine is reached: read from a flag's text or from the environment, nothing opened.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::ports::EngineError;

/// Docker's own default on Linux.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Docker's port without TLS.
const PLAIN_PORT: u16 = 2375;
/// Docker's port with TLS.
const TLS_PORT: u16 = 2376;

/// An engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket on this host.
    Unix(PathBuf),
    /// A TCP address.
    Tcp {
        /// A name or an address; an IPv6 address without its brackets.
        host: String,
        /// The port.
        port: u16,
        /// With TLS: the directory that holds `ca.pem`, `cert.pem` and `key.pem`.
        certificates: Option<PathBuf>,
    },
}

impl Endpoint {
    /// Reads an endpoint: the text given, else `DOCKER_HOST`, else Docker's local socket.
    ///
    /// `unix:///path`, `/path`, `tcp://host[:port]`, `http://host[:port]` and
    /// `https://host[:port]` are understood. A TCP endpoint speaks TLS where
    /// `DOCKER_TLS_VERIFY` is set and not empty, or with `https`; its certificates are in
    /// `DOCKER_CERT_PATH`, else in `~/.docker`, as the `docker` command has it.
    pub fn read(text: Option<&str>, environment: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let variable =
            |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let Some(text) = text.or_else(|| variable("DOCKER_HOST")) else {
            return match variable("DOCKER_CONTEXT") {
                // Falling back to the local socket here would act on another engine than `docker` does.
                Some(context) if context != "default" => Err(EngineError::BadEndpoint {
                    endpoint: format!("DOCKER_CONTEXT={context}"),
                    reason: "Docker contexts are not read; give the Host that `docker context inspect` shows"
                        .to_owned(),
                }),
                _ => Ok(Self::Unix(PathBuf::from(DEFAULT_SOCKET))),
            };
        };
        let bad =
            |reason: &str| EngineError::BadEndpoint { endpoint: text.to_owned(), reason: reason.to_owned() };
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        match scheme {
            "" | "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "" | "unix" => Err(bad("write unix:///path/to/docker.sock or tcp://host:port")),
            "tcp" | "http" | "https" => {
                let tls = scheme == "https" || variable("DOCKER_TLS_VERIFY").is_some();
                let certificates = match (tls, variable("DOCKER_CERT_PATH"), variable("HOME")) {
                    (false, _, _) => None,
                    (true, Some(directory), _) => Some(PathBuf::from(directory)),
                    (true, None, Some(home)) => Some(PathBuf::from(home).join(".docker")),
                    (true, None, None) => {
                        return Err(bad("TLS needs DOCKER_CERT_PATH, the directory of its certificates"));
                    }
                };
                let (host, port) =
                    host_and_port(rest, if tls { TLS_PORT } else { PLAIN_PORT }).map_err(bad)?;
                Ok(Self::Tcp { host, port, certificates })
            }
            // A forwarded socket is no way out: it would pass for an engine on this host, with its addresses.
            "ssh" => {
                Err(bad("ssh is not supported yet; run drainswap on that host, or let its engine listen \
                 with TLS and give tcp://HOST:2376 with DOCKER_TLS_VERIFY=1"))
            }
            _ => Err(bad("its scheme is none of unix, tcp, http and https")),
        }
    }
}

/// Splits `host[:port][/]`; an empty host is this one, as Docker has it.
fn host_and_port(text: &str, default: u16) -> Result<(String, u16), &'static str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.contains(['/', '@', '?']) {
        return Err("only a host and a port are understood after the scheme");
    }
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, rest))) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        Some(None) => return Err("a [ is never closed"),
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address is written in brackets, as [::1]:2375");
            }
            Some(split) => split,
            None => (text, ""),
        },
    };
    let port = match port {
        "" => default,
        digits => {
            digits.parse().ok().filter(|port| *port != 0).ok_or("its port is no number from 1 to 65535")?
        }
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok((host.to_owned(), port))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
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
    fn every_spelling_is_understood() {
        assert_eq!(printed("unix:///run/d.sock"), "unix:///run/d.sock");
        assert_eq!(printed("tcp://engine"), "tcp://engine:2375");
        assert_eq!(printed("http://engine:99/"), "tcp://engine:99");
        assert_eq!(printed("tcp://[fd00::1]:2375"), "tcp://[fd00::1]:2375");
        assert_eq!(printed("tcp://:2375"), "tcp://127.0.0.1:2375");
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
        assert!(reason("ssh://root@host").contains("not supported yet; run drainswap on that host"));
        assert!(reason("tcp://fd00::1:2375").contains("in brackets"));
        for text in
            ["", "docker.sock", "unix://relative", "tcp://e:0", "tcp://e:x", "tcp://u@e:1", "npipe:////./x"]
        {
            assert!(read(Some(text), &[]).is_err(), "{text} was taken");
        }
        assert!(read(None, &[("DOCKER_CONTEXT", "prod")]).is_err());
        assert!(read(None, &[("DOCKER_CONTEXT", "default")]).is_ok());
    }
}
