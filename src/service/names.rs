//! Names, hosts and ports: what may stand in them.

use std::net::IpAddr;

/// The longest name. HAProxy takes longer ones, but its runtime API answers in buffers that end somewhere.
const LONGEST_NAME: usize = 255;

/// The name of a backend, of a server or of a cookie.
pub(super) fn legal_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    match name.chars().find(|c| !legal(*c)) {
        None if name.is_empty() => Err("a name cannot be empty".to_owned()),
        None if name.len() > LONGEST_NAME => {
            Err(format!("the name `{}…` is longer than {LONGEST_NAME} letters", &name[..20]))
        }
        None => Ok(()),
        Some(bad) => Err(format!(
            "the name `{}` holds `{}`; letters, digits and _ . : - may stand in it",
            name.escape_debug(),
            bad.escape_debug()
        )),
    }
}

/// An address or a name as it stands before a port. What every server would answer at is no host.
pub(super) fn legal_host(host: &str) -> Result<String, String> {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside.unwrap_or(host).parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err(format!("`{host}` is every address; write the one of the host")),
        Ok(IpAddr::V6(ip)) => Ok(format!("[{ip}]")),
        Ok(IpAddr::V4(ip)) if inside.is_none() => Ok(ip.to_string()),
        _ if is_host_name(host) => Ok(host.to_owned()),
        _ => Err(format!("`{}` is neither an address nor a host's name", host.escape_debug())),
    }
}

/// Letters and digits in labels. `127.1` and `0x7f.1` are addresses to the C library, `_http._tcp.x` is a service
/// record to HAProxy: none of them is the name of a host.
fn is_host_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let legal = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        !label.is_empty() && label.len() <= 63 && label.chars().all(inner) && !label.starts_with(['-', '_'])
    };
    let last_starts_with_a_letter =
        name.rsplit('.').next().is_some_and(|label| label.starts_with(|c: char| c.is_ascii_alphabetic()));
    name.len() <= 253 && name.split('.').all(legal) && last_starts_with_a_letter
}

pub(super) fn legal_port(port: u16) -> Result<u16, String> {
    if port == 0 {
        Err("port 0 means the port that the client came to; write the container's".to_owned())
    } else {
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_name_and_nothing_that_is_read_as_another() {
        for (host, written) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "[::1]"),
            ("[2001:db8:0::1]", "[2001:db8::1]"),
            ("web-1.local", "web-1.local"),
            ("docker_1", "docker_1"),
            ("example.org.", "example.org."),
        ] {
            assert_eq!(legal_host(host), Ok(written.to_owned()));
        }
        for host in [
            "",
            ".",
            "0.0.0.0",
            "::",
            "127.1",
            "0x7f000001",
            "0x7f.1",
            "1.2.3.0x4",
            "010.0.0.1",
            "_http._tcp.x",
            "[10.0.0.1]",
            "[::1",
            "::1]",
            "[[::1]]",
            "a..b",
            "-a",
            "a b",
            "a:80",
            "$HOST",
            "unix@/x",
            "/x",
            "é",
            "*",
            "fe80::1%eth0",
            "a\n",
        ] {
            assert!(legal_host(host).is_err(), "{host:?}");
        }
    }
}
