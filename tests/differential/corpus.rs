//! The files to read: the fixtures, and HAProxy's examples and regression tests if they were fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::NamedTempFile;

/// A configuration, adapted so that it can run on any machine.
pub struct Sample {
    /// The origin of the configuration.
    pub name: String,
    pub bytes: Vec<u8>,
    /// The directory to which its relative paths refer.
    home: Option<PathBuf>,
}

/// Returns the environment variables for the samples.
pub fn variables() -> BTreeMap<String, String> {
    [("HOST", "10.0.0.5"), ("PATH", "/usr/bin:/bin"), ("HOME", "/root")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

impl AsRef<Sample> for Sample {
    fn as_ref(&self) -> &Sample {
        self
    }
}

impl Sample {
    pub fn new(name: String, bytes: Vec<u8>) -> Self {
        Self { name, bytes, home: None }
    }

    /// Writes the configuration to a temporary file.
    pub fn write(&self) -> NamedTempFile {
        let mut builder = tempfile::Builder::new();
        builder.prefix("sample-").suffix(".cfg");
        let file = match &self.home {
            Some(home) => builder.tempfile_in(home),
            None => builder.tempfile(),
        };
        let mut file = file.expect("a file");
        file.write_all(&self.bytes).expect("a file");
        file
    }
}

pub fn all() -> Vec<Sample> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let mut samples = Vec::new();
    let mut known = BTreeSet::new();
    for directory in ["valid", "invalid", "corpus"] {
        walk(&root.join("fixtures/cfg").join(directory), &mut samples, &mut known);
    }
    walk(&target.join("haproxy/sources"), &mut samples, &mut known);
    assert!(samples.len() > 10, "the fixtures are missing");
    samples
}

/// Returns unusually large configurations and those with unusual endings.
pub fn extremes() -> Vec<Sample> {
    let words = |count: usize| format!("global\n    description{}\n", " x".repeat(count - 1));
    [
        ("a word of 1 MB", format!("global\n    description {}\n", "x".repeat(1 << 20))),
        ("a comment of 1 MB", format!("global\n    maxconn 9 # {}\n", "x".repeat(1 << 20))),
        ("100 000 sections", "global\n    maxconn 9\n".repeat(100_000)),
        ("64 words", words(64)),
        ("65 words", words(65)),
        ("a carriage return in a word", "global\n    maxconn 9\rx\n".to_owned()),
        ("only carriage returns", "global\r    maxconn 9\r".to_owned()),
        ("a NUL byte", "global\n    maxconn \09\n".to_owned()),
        ("a byte order mark", "\u{feff}global\n    maxconn 9\n".to_owned()),
        ("no line feed at the end", "global\n    maxconn 9".to_owned()),
    ]
    .map(|(name, text)| Sample::new(name.to_owned(), text.into_bytes()))
    .into()
}

/// Reads a directory recursively, without duplicates of files from other versions' sources.
fn walk(directory: &Path, samples: &mut Vec<Sample>, known: &mut BTreeSet<Vec<u8>>) {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path).display().to_string();
        if path.is_dir() {
            walk(&path, samples, known);
        } else if path.extension().is_some_and(|extension| extension == "cfg") {
            let bytes = std::fs::read(&path).expect("a sample");
            if !known.insert(bytes.clone()) {
                continue;
            }
            let is_fit =
                ["valid", "invalid"].iter().any(|kind| name.starts_with(&format!("fixtures/cfg/{kind}/")));
            let bytes = if is_fit { bytes } else { runnable(&bytes) };
            samples.push(Sample { name, bytes, home: None });
        } else if path.extension().is_some_and(|extension| extension == "vtc") {
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a test")).into_owned();
            let home = path.parent().map(Path::to_path_buf);
            for (index, block) in configurations(&text).into_iter().enumerate() {
                if !known.insert(block.clone().into_bytes()) {
                    continue;
                }
                let bytes = runnable(expand(&block, directory).as_bytes());
                samples.push(Sample { name: format!("{name}#{index}"), bytes, home: home.clone() });
            }
        }
    }
}

/// Returns the blocks after `-conf`, `-conf-BAD {…}` and similar in a regression test.
fn configurations(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-conf") {
        let (options, _) = after.split_once('\n').unwrap_or((after, ""));
        let skipped = if options.starts_with("-BAD") {
            after.split_once('}').map_or("", |(_, rest)| rest)
        } else {
            after
        };
        let Some((_, body)) = skipped.split_once('{') else { break };
        let mut depth = 1;
        let end = body.find(|c| {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            depth == 0
        });
        let Some(end) = end else { break };
        blocks.push(body[..end].trim_start_matches('\n').to_owned());
        rest = &body[end..];
    }
    blocks.into_iter().filter(|block| block.contains('\n')).map(|block| block + "\n").collect()
}

/// Expands the macros of HAProxy's test program.
fn expand(text: &str, directory: &Path) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut port = 20_000;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else { break };
        port += 1;
        let value = match name {
            "testdir" => directory.display().to_string(),
            "tmpdir" => "/tmp".to_owned(),
            name if name.ends_with("_addr") => "127.0.0.1".to_owned(),
            name if name.ends_with("_port") => port.to_string(),
            name if name.ends_with("_sock") => format!("127.0.0.1:{port}"),
            name => format!("${{{name}}}"),
        };
        out.push_str(&value);
        rest = tail;
    }
    out + rest
}

const TAKEN_OUT: &[&str] = &[
    "dgram-bind",
    "daemon",
    "chroot",
    "user",
    "group",
    "uid",
    "gid",
    "pidfile",
    "nbproc",
    "ulimit-n",
    "master-worker",
    "localpeer",
];

/// Replaces the address of a listener by an unused abstract socket, which leaves no file.
fn bound(line: &str) -> Option<String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let start = line.find(|c: char| !c.is_whitespace())?;
    let rest = line[start..].strip_prefix("bind")?;
    let address = rest.find(|c: char| !c.is_whitespace()).filter(|at| *at > 0)?;
    let settings = rest[address..].find(char::is_whitespace).map_or("\n", |at| &rest[address + at..]);
    let unique = NEXT.fetch_add(1, Ordering::Relaxed);
    Some(format!("{}bind abns@drainswap-{}-{unique}{settings}", &line[..start], std::process::id()))
}

/// Removes everything that uses resources of this machine: ports, users, directories and daemon mode.
fn runnable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let words: Vec<&str> = text.split_whitespace().collect();
        let taken = match words.as_slice() {
            ["maxconn", limit] => limit.parse::<u32>().is_ok_and(|limit| limit > 1000),
            ["stats", second, ..] => ["socket", "bind-process"].contains(second),
            [first, ..] => TAKEN_OUT.contains(first),
            [] => false,
        };
        if taken {
            out.extend_from_slice(b"\n");
        } else if let Some(line) = bound(&text) {
            out.extend_from_slice(line.as_bytes());
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}
