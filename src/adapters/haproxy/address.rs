//! The address of a runtime API, as it is written on the command line and in haproxy.cfg.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::model::secret::redact;

/// The length of a Unix socket address's path on Linux. HAProxy pads an `abns@` name with zeros to this length, and the
/// zeros are part of the name.
const UNIX_PATH_LENGTH: usize = 108;

/// The address of a runtime API: that of a `stats socket` line, without its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// `/run/haproxy/admin.sock` or `unix@/run/haproxy/admin.sock`.
    Unix(PathBuf),
    /// `abns@haproxy`: a name in Linux's abstract namespace.
    Abstract(String),
    /// `127.0.0.1:9999`, `localhost:9999`, `[::1]:9999`, `ipv4@127.0.0.1:9999`.
    Tcp {
        /// A name or an IP address, without brackets. An empty host or `*` means every address to a listener, and
        /// `127.0.0.1` to drainswap.
        host: String,
        port: u16,
    },
}

/// A text that is not a valid [`SocketAddress`].
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid runtime socket `{0}`: expected a path with a slash, unix@/PATH, abns@NAME or HOST:PORT")]
pub struct NotASocketAddress(pub String);

impl FromStr for SocketAddress {
    type Err = NotASocketAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NotASocketAddress(redact(text));
        match text.split_once('@') {
            Some((_, "")) => Err(bad()),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("abns", name)) if name.len() < UNIX_PATH_LENGTH => Ok(Self::Abstract(name.to_owned())),
            Some(("ipv4" | "ipv6", rest)) => tcp(rest).ok_or_else(bad),
            // A URL contains slashes, but is not a path.
            _ if text.contains('/') && !text.contains("://") => Ok(Self::Unix(text.into())),
            _ => tcp(text).ok_or_else(bad),
        }
    }
}

/// Parses `HOST:PORT`. The port follows the last colon, so that IPv6 addresses need no brackets, as in haproxy.cfg.
fn tcp(text: &str) -> Option<SocketAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    if host.contains(|c: char| c.is_whitespace() || "@[]".contains(c)) {
        return None;
    }
    let host = if matches!(host, "" | "*") { "127.0.0.1" } else { host };
    Some(SocketAddress::Tcp { host: host.to_owned(), port: port.parse().ok().filter(|port| *port != 0)? })
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) if path.to_string_lossy().starts_with('/') => write!(f, "{}", path.display()),
            Self::Unix(path) => write!(f, "unix@{}", path.display()),
            Self::Abstract(name) => write!(f, "abns@{name}"),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Returns the path of a name in the abstract namespace: it starts with a zero byte.
pub(super) fn abstract_path(name: &str) -> PathBuf {
    let mut bytes = vec![0; UNIX_PATH_LENGTH];
    for (byte, letter) in bytes.iter_mut().skip(1).zip(name.bytes()) {
        *byte = letter;
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddress {
        text.parse().unwrap()
    }

    #[test]
    fn valid_addresses_are_parsed_and_printed() {
        for (text, printed) in [
            ("/run/haproxy/admin.sock", "/run/haproxy/admin.sock"),
            ("unix@/run/haproxy/admin.sock", "/run/haproxy/admin.sock"),
            ("./admin.sock", "unix@./admin.sock"),
            ("unix@admin.sock", "unix@admin.sock"),
            ("/odd:9999/a@b.sock", "/odd:9999/a@b.sock"),
            ("abns@haproxy", "abns@haproxy"),
            ("ipv4@127.0.0.1:9999", "127.0.0.1:9999"),
            ("lb.example.org:9999", "lb.example.org:9999"),
            ("[::1]:9999", "[::1]:9999"),
            ("ipv6@::1:9999", "[::1]:9999"),
            ("*:9999", "127.0.0.1:9999"),
            (":9999", "127.0.0.1:9999"),
        ] {
            assert_eq!(address(text).to_string(), printed);
            assert_eq!(address(printed), address(text), "{printed}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for text in
            ["", "admin.sock", "unix@", "abns@", "lb:0", "lb:99999", "lb:x", "ipv4@lb", "fd@3", "a b:1"]
        {
            assert_eq!(text.parse::<SocketAddress>(), Err(NotASocketAddress(text.to_owned())));
        }
        for text in ["admin:hunter2@10.0.0.1:9999", "tcp://admin:hunter2@10.0.0.1:9999"] {
            let refused = text.parse::<SocketAddress>().unwrap_err().to_string();
            assert!(refused.contains("admin:********@10.0.0.1:9999"), "{refused}");
        }
    }
}
