//! The seeds of the fuzzer, and damaged copies of them that are truncated or have a changed byte.

mod any_bytes;

use std::fs;
use std::path::{Path, PathBuf};

/// The number of damaged copies of each seed.
const DAMAGED: usize = 5;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn every_seed_is_read_whole_and_damaged() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rng = fastrand::Rng::with_seed(5);
    for target in files(&root.join("tests/fuzz/fuzz_targets")) {
        let name = target.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let seeds = files(&root.join("fixtures").join(name));
        assert!(!seeds.is_empty(), "no seed for {name}");
        for seed in seeds {
            let whole = fs::read(&seed).expect("a seed");
            any_bytes::read(name, &whole);
            for _ in 0..DAMAGED {
                let mut bytes = whole.clone();
                let at = rng.usize(..=bytes.len());
                if rng.bool() || at == bytes.len() {
                    bytes.truncate(at);
                } else {
                    bytes[at] = rng.u8(..);
                }
                any_bytes::read(name, &bytes);
            }
        }
    }
}
