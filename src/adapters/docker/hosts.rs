//! Checks which addresses belong to the engine's host.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Returns whether an address belongs to this host. The unspecified address does not.
///
/// A socket can be bound only to an address of this host, unless `ip_nonlocal_bind` is set, which is common with
/// keepalived. In that case, the kernel's own list decides.
pub(super) fn is_own(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return address.is_loopback();
    }
    if UdpSocket::bind((address, 0)).is_err() {
        return false;
    }
    let switch = match address {
        IpAddr::V4(_) => "/proc/sys/net/ipv4/ip_nonlocal_bind",
        IpAddr::V6(_) => "/proc/sys/net/ipv6/ip_nonlocal_bind",
    };
    let binds_anything = std::fs::read_to_string(switch).is_ok_and(|value| value.trim() == "1");
    !binds_anything || listed().contains(&address)
}

/// Returns the kernel's list of this host's addresses; empty without `/proc`.
fn listed() -> BTreeSet<IpAddr> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let v4 = local_v4(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::V4);
    v4.chain(local_v6(&read("/proc/net/if_inet6")).into_iter().map(IpAddr::V6)).collect()
}

/// Parses `/proc/net/fib_trie`: an address line (`|-- 10.0.0.5`) followed by its routes (`/32 host LOCAL`).
fn local_v4(trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut address: Option<Ipv4Addr> = None;
    let mut found = BTreeSet::new();
    for line in trie.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("|-- ") {
            address = text.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(address);
        }
    }
    found
}

/// Parses `/proc/net/if_inet6`: 32 hexadecimal digits at the start of each line.
fn local_v6(table: &str) -> BTreeSet<Ipv6Addr> {
    let address = |line: &str| u128::from_str_radix(line.get(..32)?, 16).ok().map(Ipv6Addr::from_bits);
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_own_and_a_documentation_address_is_not() {
        assert!(is_own("127.0.0.7".parse().unwrap()) && is_own("::1".parse().unwrap()));
        assert!(!is_own("0.0.0.0".parse().unwrap()) && !is_own("::".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()) && !is_own("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn the_kernel_s_lists_are_read() {
        let trie = "Local:\n  +-- 10.0.0.0/24 2 0 2\n     |-- 10.0.0.0\n        /24 link UNICAST\n     \
             |-- 10.0.0.5\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(trie), BTreeSet::from(["10.0.0.5".parse().unwrap()]));
        let table = "fe800000000000000000000000000001 02 40 20 80     eth0\n";
        assert_eq!(local_v6(table), BTreeSet::from(["fe80::1".parse().unwrap()]));
    }
}
