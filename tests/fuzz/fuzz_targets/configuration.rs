//! Any bytes are read without a panic, come back as they were, and are not moved by an edit that says nothing new.
//!
//! `cargo fuzz run --fuzz-dir tests/fuzz configuration`
#![no_main]

use drainswap::cfg::{self, Environment, SourceFile, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for (major, minor) in [(2, 2), (2, 6), (3, 2), (3, 3)] {
        let environment = Environment::new([("V".into(), "a b".into())].into(), Version::new(major, minor));
        let file = SourceFile { path: "haproxy.cfg".into(), bytes: bytes.to_vec() };
        let document = cfg::read(vec![file], &environment);
        assert_eq!(document.bytes(0), bytes);
        let configuration = cfg::interpret(&document);
        for proxy in &configuration.proxies {
            for server in &proxy.servers {
                let weight = server.weight.to_string();
                let _refused = document.set_setting(&proxy.name, &server.name, &["weight", &weight]);
            }
        }
    }
});
