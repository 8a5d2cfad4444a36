use super::*;
use crate::cfg::Version;

fn environment() -> Environment {
    Environment::new([("IP".to_owned(), "10.0.0.1".to_owned())].into(), Version::new(2, 6))
}

#[test]
fn server_addresses_print_as_haproxy_understands_them() {
    for (word, printed) in [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("10.0.0.1:", "10.0.0.1"),
        ("10.0.0.1:0", "10.0.0.1"),
        ("10.0.0.1:+5", "10.0.0.1:+5"),
        ("10.0.0.1:-5", "10.0.0.1:-5"),
        ("10.0.0.1:80x", "10.0.0.1:80"),
        ("*:80", "0.0.0.0:80"),
        (":80", "0.0.0.0:80"),
        ("ipv6@:80", "[::]:80"),
        ("::1:80", "[::1]:80"),
        ("[::1]:80", "[::1]:80"),
        ("[::1]", "[::1]"),
        ("127.1:80", "127.0.0.1:80"),
        ("127.0.513:80", "127.0.2.1:80"),
        ("017700000001:80", "127.0.0.1:80"),
        ("2130706433:80", "127.0.0.1:80"),
        ("app_1.local.:80", "app_1.local.:80"),
        ("stream+ipv4@app:80", "app:80"),
        ("/run/app@1.sock", "/run/app@1.sock"),
        ("unix@app.sock", "unix@app.sock"),
        ("abns@app", "abns@app"),
        ("mptcp4@10.0.0.1:80", "10.0.0.1:80"),
        ("quic4@10.0.0.1:443", "quic4@10.0.0.1:443"),
        ("quic+ip@10.0.0.1:443", "quic4@10.0.0.1:443"),
        ("quic6@[::1]:443", "quic6@[::1]:443"),
        ("quic+ipv6@::1:443", "quic6@[::1]:443"),
        ("quic4@app:443", "quic+ip@app:443"),
        ("$IP:80", "10.0.0.1:80"),
        ("${IP}:80", "10.0.0.1:80"),
        ("${NO}:80", "0.0.0.0:80"),
        ("${IP:80", "10.0.0.1:80"),
    ] {
        assert_eq!(Address::parse(word, &environment()).unwrap().to_string(), printed, "{word}");
    }
}

#[test]
fn what_prints_is_read_as_the_same() {
    for word in
        ["10.0.0.1:80", "[::1]:+3", "app", "unix@x", "/x", "sockpair@3", "quic6@[::1]:3", "quic+ip@app:3"]
    {
        let address = Address::parse(word, &environment()).unwrap();
        assert_eq!(Address::parse(&address.to_string(), &environment()), Ok(address));
    }
}

#[test]
fn bad_addresses_are_errors() {
    for word in [
        "",
        "$NO",
        "1.2.3.4:99999",
        "1.2.3.4:80-90",
        "1.2.3.4:http",
        "1.2.3.256:80",
        "127.0.0.08:80",
        "a..b:80",
        "a b:80",
        "fd@3",
        "udp@1.2.3.4:80",
        "dgram+1.2.3.4:80",
        "what@1.2.3.4:80",
        "ipv4@[::1]:80",
        "quic4@[::1]:80",
        "ipv6@1.2.3.4:80",
        "4294967296:80",
        "1.2.3.4.5:80",
        "+1:80",
        "é:80",
    ] {
        assert!(Address::parse(word, &environment()).is_err(), "{word} was accepted");
    }
}

#[test]
fn sockets_need_a_port() {
    let parse = |word: &str| SocketAddress::parse(word, &environment());
    assert_eq!(parse("/run/a.sock"), Ok(SocketAddress::Unix("/run/a.sock".to_owned())));
    assert_eq!(parse("fd@4"), Ok(SocketAddress::Fd(4)));
    assert_eq!(parse("abns@haproxy"), Ok(SocketAddress::Abstract("haproxy".to_owned())));
    assert_eq!(parse("ipv4@*:9999").map(|a| a.to_string()), Ok("0.0.0.0:9999".to_owned()));
    assert_eq!(parse("127.0.0.1"), Err(AddressError::SocketPort));
    assert!(parse("fd@x").is_err());
}
