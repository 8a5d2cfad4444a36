//! Validation of names, hosts and ports.

use std::net::IpAddr;

/// The maximum length of a name. HAProxy accepts longer names, but the buffers of its runtime API are limited.
const LONGEST_NAME: usize = 255;

/// Checks the name of a backend, a server or a cookie.
pub(super) fn legal_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    match name.chars().find(|c| !legal(*c)) {
        None if name.is_empty() => Err("a name cannot be empty".to_owned()),
        None if name.len() > LONGEST_NAME => {
            Err(format!("the name `{}…` is longer than {LONGEST_NAME} characters", &name[..20]))
        }
        None => Ok(()),
        Some(bad) => Err(format!(
            "invalid name `{}`: it contains `{}`, expected letters, digits and _ . : -",
            name.escape_debug(),
            bad.escape_debug()
        )),
    }
}

/// Returns an address or a host name as written before a port. Refuses wildcard addresses, at which every server would
/// answer.
pub(super) fn legal_host(host: &str) -> Result<String, String> {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside.unwrap_or(host).parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => {
            Err(format!("invalid host `{host}`: expected the address of one host"))
        }
        Ok(IpAddr::V6(ip)) => Ok(format!("[{ip}]")),
        Ok(IpAddr::V4(ip)) if inside.is_none() => Ok(ip.to_string()),
        _ if is_host_name(host) => Ok(host.to_owned()),
        _ => Err(format!("invalid host `{}`: expected an address or a host name", host.escape_debug())),
    }
}

/// Returns whether a text is a host name: labels of letters and digits. The C library reads `127.1` and `0x7f.1` as
/// addresses, and HAProxy reads `_http._tcp.x` as a service record, so these are not host names.
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
        Err("invalid port 0: HAProxy would use the client's destination port; use the container's port"
            .to_owned())
    } else {
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_unambiguous_address_or_name() {
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
