//! The speed of reading haproxy.cfg, in comparison with `haproxy -c` on the same file, and the memory for it.
//!
//! Times are CPU times: the fastest of many rounds for this process, and the kernel's count for HAProxy.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark prints rough numbers")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use drainswap::cfg::{self, Environment, SourceFile, Version};

const BACKENDS: usize = 10_000;
const SERVERS: usize = 10;
/// The number of measurements; the best one had the least interference.
const ROUNDS: usize = 15;

fn main() {
    if let Some(path) = std::env::args().skip_while(|argument| argument != "--memory").nth(1) {
        return memory(Path::new(&path));
    }
    corpus();
    large_file();
}

/// Prints the speed of the reader in MB/s, on all configurations of `fixtures` and of HAProxy's sources.
fn corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for directory in ["fixtures/cfg/valid", "fixtures/cfg/corpus", "target/haproxy/sources"] {
        configurations(&root.join(directory), &mut paths);
    }
    let files: Vec<Vec<u8>> = paths.iter().filter_map(|path| fs::read(path).ok()).collect();
    let size: usize = files.iter().map(Vec::len).sum();
    let again = 20_000_000 / size.max(1);
    let seconds = best(|| {
        for _ in 0..again {
            for bytes in &files {
                read(bytes.clone());
            }
        }
    });
    let megabytes = (size * again) as f64 / 1e6;
    println!("{} files, {size} bytes, {again} times: read with {:.0} MB/s", files.len(), megabytes / seconds);
}

fn configurations(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            configurations(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "cfg") {
            found.push(path);
        }
    }
}

fn large_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("haproxy.cfg");
    let text = large();
    fs::write(&path, &text).expect("a file");
    let reading = best(|| drop(read(text.clone().into_bytes())));
    let both = best(|| drop(cfg::interpret(&read(text.clone().into_bytes()))));
    println!("{BACKENDS} backends with {SERVERS} servers each, {} bytes", text.len());
    println!(
        "read at {:.0} MB/s; read and resolved in {:.0} ms",
        text.len() as f64 / 1e6 / reading,
        both * 1e3
    );
    let haproxy = (0..ROUNDS / 3).filter_map(|_| haproxy(&path)).reduce(f64::min);
    match haproxy {
        Some(seconds) => {
            println!(
                "haproxy -c: {:.0} ms, {:.1} times as long (the goal is 10)",
                seconds * 1e3,
                seconds / both
            );
        }
        None => println!("haproxy -c: not installed here"),
    }
    let this = std::env::current_exe().expect("this program");
    let child = Command::new(this).arg("--memory").arg(&path).output().expect("this program runs");
    let kilobytes: usize = String::from_utf8_lossy(&child.stdout).trim().parse().expect("kilobytes");
    let times = kilobytes as f64 * 1024.0 / text.len() as f64;
    println!("memory: {kilobytes} kB at the most, {times:.1} times the file (the goal is 10)");
}

fn large() -> String {
    let mut text = "global\n    maxconn 1000\n\ndefaults\n    mode http\n    timeout connect 5s\n    \
                    timeout client 50s\n    timeout server 50s\n\nfrontend www\n    bind 127.0.0.1:18080\n    \
                    default_backend b0\n\n"
        .to_owned();
    for backend in 0..BACKENDS {
        let (high, low) = (backend / 250, backend % 250);
        write!(text, "backend b{backend}\n    balance roundrobin\n    option httpchk GET /health\n")
            .expect("text");
        for server in 0..SERVERS {
            let weight = server + 1;
            let line =
                format!("server app{server} 10.{high}.{low}.{server}:8080 check inter 2s weight {weight}");
            writeln!(text, "    {line} cookie c{server}").expect("text");
        }
        text.push('\n');
    }
    text
}

fn read(bytes: Vec<u8>) -> cfg::Document {
    let environment = Environment::new([].into(), Version::new(2, 6));
    cfg::read(vec![SourceFile { path: "haproxy.cfg".into(), bytes }], &environment)
}

/// Returns the seconds of the fastest round. For a thread that never waits, this is an upper bound of its CPU time. The
/// kernel's count for a thread is too coarse on some machines.
fn best(work: impl Fn()) -> f64 {
    let round = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// Returns the CPU seconds of child processes, in ticks of 10 ms: `cutime` and `cstime` of `stat`.
fn children_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").expect("stat");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().expect("ticks");
    (ticks(13) + ticks(14)) / 100.0
}

fn haproxy(path: &Path) -> Option<f64> {
    let before = children_seconds();
    let mut command = Command::new(drainswap::adapters::haproxy_binary::find());
    let quiet = command.arg("-c").arg("-f").arg(path).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().ok().filter(std::process::ExitStatus::success)?;
    Some(children_seconds() - before)
}

/// Reads and resolves the file, and prints the peak memory in kilobytes.
fn memory(path: &Path) {
    let configuration = cfg::interpret(&read(fs::read(path).expect("the file")));
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("{}", peak.and_then(|peak| peak.trim().strip_suffix(" kB")).expect("VmHWM"));
    assert_eq!(configuration.problems, []);
}
