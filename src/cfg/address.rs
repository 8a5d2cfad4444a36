//! Addresses of servers and sockets: `10.0.0.1:80`, `[::1]:80`, `*:80`, `unix@/run/app.sock`, `app.local:+1`.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use super::environment::Environment;
use super::version::Version;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Inet {
        host: Host,
        port: Port,
    },
    /// A path. `HAProxy` connects to it after its `chroot`, so the path is inside the jail.
    Unix(String),
    /// A host and a port for datagrams, which only `mode log` uses.
    Datagram {
        host: Host,
        port: Port,
    },
    /// A host and a port for QUIC, since 3.3.
    Quic {
        host: Host,
        port: Port,
    },
    /// Another family, as written: `abns@name`, `sockpair@3`, `rhttp@`.
    Other(String),
}

/// The host of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IP address. `*` and an empty host are 0.0.0.0: the address that the client connected to.
    Ip(IpAddr),
    /// A name that `HAProxy` resolves, or an SRV record (`_http._tcp.app.local`).
    Name(String),
}

/// Returns whether an address means a different host on each machine: loopback, unspecified or link-local.
#[must_use]
pub fn is_of_one_host(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local(),
    }
}

/// The port of an address.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    Fixed(u16),
    /// No port, or 0: the port that the client connected to.
    Client,
    /// `+N` or `-N`: the client's port, shifted.
    ClientOffset(i32),
}

/// The address at which `HAProxy`'s runtime API listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocketAddress {
    /// A path, outside of the `chroot`.
    Unix(String),
    /// A name in Linux's abstract namespace.
    Abstract(String),
    /// A host and a port.
    Inet(Host, u16),
    /// A file descriptor that `HAProxy` inherits: other processes cannot connect to it by this address.
    Fd(u32),
    /// Another family, as written.
    Other(String),
}

/// The reason why a text is not an address.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    #[error("invalid empty address: expected an address; is an environment variable unset?")]
    Empty,
    /// The port is not a number or an offset, or it is a range.
    #[error("invalid port `{0}`: expected a number, +N or -N")]
    Port(String),
    /// The port is larger than 65535.
    #[error("invalid port `{0}`: expected a number up to 65535")]
    PortTooLarge(String),
    /// The address does not belong to the family of its prefix.
    #[error(
        "invalid address `{0}`: expected an address of the family that its prefix names, such as ipv4@10.0.0.1"
    )]
    Family(String),
    /// The host is neither an IP address nor a host name.
    #[error("invalid address `{0}`: expected an IP address or a host name")]
    Host(String),
    /// A server cannot be reached over this family.
    #[error(
        "invalid address family `{0}` for a server: expected an IP address, a host name or a unix socket"
    )]
    NotForServers(String),
    #[error("invalid socket address: expected a fixed port, such as 127.0.0.1:9999")]
    SocketPort,
}

/// The IP family that a prefix selects.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Family {
    Any,
    V4,
    V6,
}

/// A word after its prefixes.
enum Form<'t> {
    Inet(Family, &'t str),
    Datagram(Family, &'t str),
    Quic(Family, &'t str),
    Unix(&'t str),
    Abstract(&'t str),
    Fd(&'t str),
    /// Another family: its prefix, including the `@`.
    Other(&'t str),
}

/// Returns the form that the prefixes select. Without a prefix it is TCP, or a stream socket for a path.
fn form(text: &str) -> Form<'_> {
    if let Some(inner) = text.strip_prefix("quic+") {
        return match form(inner) {
            Form::Inet(family, body) => Form::Quic(family, body),
            other @ (Form::Datagram(..)
            | Form::Quic(..)
            | Form::Unix(_)
            | Form::Abstract(_)
            | Form::Fd(_)
            | Form::Other(_)) => other,
        };
    }
    let text = ["stream+", "dgram+"].iter().find_map(|p| text.strip_prefix(p)).unwrap_or(text);
    let Some((prefix, body)) = text.split_once('@') else {
        return if text.starts_with('/') { Form::Unix(text) } else { Form::Inet(Family::Any, text) };
    };
    match prefix {
        "ip" | "tcp" | "mptcp" => Form::Inet(Family::Any, body),
        "ipv4" | "tcp4" | "mptcp4" => Form::Inet(Family::V4, body),
        "ipv6" | "tcp6" | "mptcp6" => Form::Inet(Family::V6, body),
        "udp" => Form::Datagram(Family::Any, body),
        "udp4" => Form::Datagram(Family::V4, body),
        "udp6" => Form::Datagram(Family::V6, body),
        "quic4" => Form::Quic(Family::V4, body),
        "quic6" => Form::Quic(Family::V6, body),
        "unix" | "uxst" => Form::Unix(body),
        "abns" => Form::Abstract(body),
        "fd" => Form::Fd(body),
        _ if text.starts_with('/') => Form::Unix(text),
        _ => Form::Other(&text[..=prefix.len()]),
    }
}

/// The families that `HAProxy` knows beside the common ones.
const OTHER_FAMILIES: &[&str] = &["abnsz@", "sockpair@", "rhttp@", "uxdg@"];

/// The first branch in which a server may be a log server, reached by datagrams.
const LOG_SERVERS_SINCE: Version = Version::new(2, 9);

impl Address {
    /// Parses a server's address as `HAProxy` does: `$NAME` is expanded here even in unquoted words.
    ///
    /// # Errors
    /// Returns what is wrong with the address. Names are not resolved.
    pub fn parse(word: &str, environment: &Environment) -> Result<Self, AddressError> {
        // The shortcut for the form that nearly all addresses have; the rest goes through the full parser.
        if let Ok(plain) = word.parse::<SocketAddrV4>()
            && plain.port() != 0
        {
            return Ok(Self::Inet { host: Host::Ip((*plain.ip()).into()), port: Port::Fixed(plain.port()) });
        }
        let text = expand(word, environment)?;
        if text.starts_with("dgram+") {
            return Err(AddressError::NotForServers("dgram+".to_owned()));
        }
        match form(&text) {
            Form::Inet(family, body) => {
                let (host, port) = split_port(body);
                Ok(Self::Inet { host: Host::parse(host, family)?, port: Port::parse(port)? })
            }
            Form::Datagram(family, body) if environment.version >= LOG_SERVERS_SINCE => {
                let (host, port) = split_port(body);
                Ok(Self::Datagram { host: Host::parse(host, family)?, port: Port::parse(port)? })
            }
            Form::Datagram(..) => Err(AddressError::NotForServers("udp@".to_owned())),
            Form::Quic(family, body) => {
                let (host, port) = split_port(body);
                Ok(Self::Quic { host: Host::parse(host, family)?, port: Port::parse(port)? })
            }
            Form::Unix(path) => Ok(Self::Unix(path.to_owned())),
            Form::Fd(_) => Err(AddressError::NotForServers("fd@".to_owned())),
            Form::Other("uxdg@") => Err(AddressError::NotForServers("uxdg@".to_owned())),
            Form::Other(family) if !OTHER_FAMILIES.contains(&family) => {
                Err(AddressError::Host(text.into_owned()))
            }
            Form::Abstract(_) | Form::Other(_) => Ok(Self::Other(text.into_owned())),
        }
    }
}

impl SocketAddress {
    /// Parses the address of a `stats socket`.
    ///
    /// # Errors
    /// Returns what is wrong with the address.
    pub fn parse(word: &str, environment: &Environment) -> Result<Self, AddressError> {
        let text = expand(word, environment)?;
        match form(&text) {
            Form::Inet(family, body) => {
                let (host, port) = split_port(body);
                match Port::parse(port)? {
                    Port::Fixed(port) => Ok(Self::Inet(Host::parse(host, family)?, port)),
                    Port::Client | Port::ClientOffset(_) => Err(AddressError::SocketPort),
                }
            }
            Form::Unix(path) => Ok(Self::Unix(path.to_owned())),
            Form::Abstract(name) => Ok(Self::Abstract(name.to_owned())),
            Form::Fd(number) => {
                number.parse().map(Self::Fd).map_err(|_| AddressError::Family(text.to_string()))
            }
            Form::Other(family) if !OTHER_FAMILIES.contains(&family) => {
                Err(AddressError::Host(text.into_owned()))
            }
            Form::Datagram(..) | Form::Quic(..) | Form::Other(_) => Ok(Self::Other(text.into_owned())),
        }
    }
}

fn expand<'w>(word: &'w str, environment: &Environment) -> Result<Cow<'w, str>, AddressError> {
    let text = environment.expand(word);
    if text.is_empty() { Err(AddressError::Empty) } else { Ok(text) }
}

/// Splits at the last `:`, unless a `]` comes later: `::1:80` is `::1`, port 80.
fn split_port(body: &str) -> (&str, &str) {
    match body.rfind([':', ']']) {
        Some(at) if body[at..].starts_with(':') => (&body[..at], &body[at + 1..]),
        _ => (body, ""),
    }
}

impl Address {
    /// Returns the address and the port, if both are numbers and neither depends on the client.
    #[must_use]
    pub fn fixed(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet { host: Host::Ip(ip), port: Port::Fixed(port) } => {
                Some((ip.to_canonical(), *port).into())
            }
            Self::Inet { .. }
            | Self::Datagram { .. }
            | Self::Quic { .. }
            | Self::Unix(_)
            | Self::Other(_) => None,
        }
    }
}

impl Host {
    fn parse(text: &str, family: Family) -> Result<Self, AddressError> {
        let fail = || AddressError::Host(text.to_owned());
        let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
        if bare.is_empty() || bare == "*" {
            let any = if family == Family::V6 {
                Ipv6Addr::UNSPECIFIED.into()
            } else {
                Ipv4Addr::UNSPECIFIED.into()
            };
            return Ok(Self::Ip(any));
        }
        let ip = bare.parse::<IpAddr>().ok().or_else(|| inet_aton(bare).map(IpAddr::V4));
        match (ip, family) {
            (Some(IpAddr::V4(_)), Family::V6) | (Some(IpAddr::V6(_)), Family::V4) => {
                Err(AddressError::Family(text.to_owned()))
            }
            (Some(ip), _) => Ok(Self::Ip(ip)),
            (None, _) if is_host_name(bare) => Ok(Self::Name(bare.to_owned())),
            (None, _) => Err(fail()),
        }
    }
}

/// Returns whether a text is a name of labels of at most 63 bytes. A text of digits and dots alone is a
/// mistyped address, which no resolver finds.
fn is_host_name(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(letter);
    let text = text.strip_suffix('.').unwrap_or(text);
    let numeric = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.len() <= 255 && !numeric && text.split('.').all(label)
}

/// Parses the short forms of libc: `127.1`, `0x7f000001`, `017700000001`.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let part = |part: &str| -> Option<u32> {
        let (digits, radix) = match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
            Some(hex) => (hex, 16),
            None if part.len() > 1 && part.starts_with('0') => (&part[1..], 8),
            None => (part, 10),
        };
        if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
    };
    let parts = text.split('.').map(part).collect::<Option<Vec<u32>>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|p| *p > 255) {
        return None;
    }
    // The last part fills all remaining bytes.
    let bits_left = 32 - 8 * u32::try_from(first.len()).ok()?;
    if bits_left < 32 && *last >= 1 << bits_left {
        return None;
    }
    let high = first.iter().fold(0u64, |sum, p| (sum << 8) | u64::from(*p)) << bits_left;
    u32::try_from(high | u64::from(*last)).ok().map(Ipv4Addr::from)
}

impl Port {
    fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Ok(Self::Client);
        }
        let (digits, sign) = match text.split_at_checked(1) {
            Some(("+", digits)) => (digits, 1),
            Some(("-", digits)) => (digits, -1),
            _ => (text, 0),
        };
        // Like C's `atoi()`: letters after the number are ignored. A server cannot have a port range.
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        if end == 0 || digits.contains('-') {
            return Err(AddressError::Port(text.to_owned()));
        }
        let number: u16 =
            digits[..end].parse().map_err(|_| AddressError::PortTooLarge(digits[..end].to_owned()))?;
        Ok(match (sign, number) {
            (0, 0) => Self::Client,
            (0, number) => Self::Fixed(number),
            (sign, number) => Self::ClientOffset(sign * i32::from(number)),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet { host: Host::Ip(IpAddr::V6(ip)), port } => write!(f, "[{ip}]{port}"),
            Self::Inet { host, port } => write!(f, "{host}{port}"),
            Self::Datagram { host: Host::Ip(IpAddr::V6(ip)), port } => write!(f, "udp@[{ip}]{port}"),
            Self::Datagram { host, port } => write!(f, "udp@{host}{port}"),
            Self::Quic { host: Host::Ip(IpAddr::V6(ip)), port } => write!(f, "quic6@[{ip}]{port}"),
            Self::Quic { host: Host::Ip(ip), port } => write!(f, "quic4@{ip}{port}"),
            Self::Quic { host, port } => write!(f, "quic+ip@{host}{port}"),
            Self::Unix(path) if path.starts_with('/') => f.write_str(path),
            Self::Unix(path) => write!(f, "unix@{path}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Port {
    /// Prints the port with its colon, as it follows a host. Prints nothing for the client's own port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(port) => write!(f, ":{port}"),
            Self::Client => Ok(()),
            Self::ClientOffset(offset) => write!(f, ":{offset:+}"),
        }
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) if path.starts_with('/') => f.write_str(path),
            Self::Unix(path) => write!(f, "unix@{path}"),
            Self::Abstract(name) => write!(f, "abns@{name}"),
            Self::Inet(Host::Ip(IpAddr::V6(ip)), port) => write!(f, "[{ip}]:{port}"),
            Self::Inet(host, port) => write!(f, "{host}:{port}"),
            Self::Fd(number) => write!(f, "fd@{number}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests;
