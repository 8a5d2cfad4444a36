//! The demonstration application as an image, compiled once and packed as a file system with two files.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/app/main.rs");

/// Returns a file system whose second file contains `tag`, so that every image has its own layer to pull.
pub fn root_fs(tag: &str) -> Vec<u8> {
    let app = fs::read(app()).expect("read the compiled application");
    let mut tar = Vec::new();
    append(&mut tar, "app", 0o755, &app);
    append(&mut tar, "tag", 0o644, tag.as_bytes());
    tar.extend([0; 1024]);
    tar
}

/// Returns a file system with additional incompressible megabytes.
pub fn large_root_fs(tag: &str, megabytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let noise: Vec<u8> = std::iter::repeat_with(next).take(megabytes << 17).flatten().collect();
    let mut tar = root_fs(tag);
    tar.truncate(tar.len() - 1024);
    append(&mut tar, "noise", 0o644, &noise);
    tar.extend([0; 1024]);
    tar
}

/// Returns a file system with HAProxy as the only program and the libraries that it needs.
pub fn haproxy_root_fs(binary: &Path) -> Vec<u8> {
    let listed = Command::new("ldd").arg(binary).output().expect("run ldd");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut tar = Vec::new();
    append(&mut tar, "haproxy", 0o755, &fs::read(binary).expect("read HAProxy"));
    for path in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        append(&mut tar, path.trim_start_matches('/'), 0o755, &fs::read(path).expect("read a library"));
    }
    tar.extend([0; 1024]);
    tar
}

/// Returns the Dockerfile instructions for an image of the application.
pub fn instructions(environment: &[(&str, &str)], labels: &[(&str, &str)]) -> Vec<String> {
    let environment = environment.iter().map(|(key, value)| format!("ENV {key}=\"{value}\""));
    let labels = labels.iter().map(|(key, value)| format!("LABEL {key}=\"{value}\""));
    let start = ["EXPOSE 8080", "ENTRYPOINT [\"/app\"]"].map(str::to_owned);
    environment.chain(labels).chain(start).collect()
}

/// Returns the path of the compiled application. The file is next to the test binaries and has the hash of its source
/// in its name. Tests that compile it at the same time each rename a complete file into place.
fn app() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    fs::read(SOURCE).expect("read fixtures/app/main.rs").hash(&mut hasher);
    let test = env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(2).expect("tests are in target/<profile>/deps");
    let app = target.join(format!("demo-app-{:016x}", hasher.finish()));
    if !app.exists() {
        // A separate directory, because rustc names intermediate files after the output.
        let dir = tempfile::tempdir_in(target).expect("a directory to compile in");
        let unfinished = dir.path().join("demo-app");
        compile(&unfinished);
        fs::rename(&unfinished, &app).expect("rename the compiled application");
    }
    app
}

fn compile(output: &Path) {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let done = Command::new(rustc)
        .args(["--edition", "2024", "--crate-name", "demo_app", "-C", "opt-level=2", "-C", "panic=abort"])
        .args(["-C", "strip=symbols", "-C", "target-feature=+crt-static", SOURCE, "-o"])
        .arg(output)
        .output()
        .expect("run rustc");
    assert!(done.status.success(), "fixtures/app: {}", String::from_utf8_lossy(&done.stderr));
}

/// Appends a file to a tar archive (ustar): a header of 512 bytes, then the content in blocks of 512.
fn append(tar: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}\0{:07o}\0{:07o}\0", 0, 0));
    put(124, &format!("{:011o}\0{:011o}\0", content.len(), 0));
    put(148, "        0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(header);
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
