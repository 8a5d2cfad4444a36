//! Comparison of real HAProxy and drainswap's reader on the same files.
//!
//! The tests run with the installed HAProxy, and in `make sweep` with each binary that `.ci/haproxy-versions` fetched.
//! The files are the fixtures and, if they were fetched, HAProxy's examples and regression tests. Each test prints
//! what it ran.

#![allow(clippy::print_stderr, reason = "what was compared is a part of the result")]

mod binary;
mod corpus;
mod rendered;
mod running;
mod tokens;
#[path = "../support/under_test.rs"]
mod under_test;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use binary::{Binary, reason};
use corpus::Sample;
use drainswap::cfg::{self, Configuration, Document, Environment, Severity, SourceFile, Version};

/// Every version of HAProxy.
const ANY: Version = Version::new(0, 0);

/// The number of files that are tested at the same time.
const THREADS: usize = 3;

fn read(sample: &Sample, binary: &Binary) -> (Document, Configuration) {
    let variables = corpus::variables();
    let build = Some(binary.build.clone());
    let environment = Environment { build, ..Environment::new(variables, binary.version) };
    let files = vec![SourceFile { path: sample.name.clone().into(), bytes: sample.bytes.clone() }];
    let document = cfg::read(files, &environment);
    let configuration = cfg::interpret(&document);
    (document, configuration)
}

/// The results of all samples with one binary.
#[derive(Default)]
struct Tally {
    files: usize,
    compared: usize,
    left_out: BTreeMap<String, usize>,
    differences: Vec<String>,
}

impl Tally {
    fn add(&mut self, sample: &Sample, result: Result<usize, Skipped>) {
        match result {
            Ok(count) => (self.files, self.compared) = (self.files + 1, self.compared + count),
            Err(Skipped::Because(reason)) => *self.left_out.entry(reason).or_default() += 1,
            Err(Skipped::Differs(text)) => self.differences.push(format!("{}: {text}", sample.name)),
        }
    }
}

/// Tests every sample, several at a time, and fails with all differences.
fn try_all<S: AsRef<Sample> + Sync>(
    what: &str,
    binary: &Binary,
    samples: &[S],
    test: impl Fn(&Binary, &S) -> Result<usize, Skipped> + Sync,
) {
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(sample) = samples.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = test(binary, sample);
                    tally.lock().expect("a lock").add(sample.as_ref(), result);
                }
            });
        }
    });
    let Tally { files, compared, left_out, differences } = tally.into_inner().expect("a lock");
    let name = &binary.build.version;
    let alone: usize = left_out.values().sum();
    eprintln!("HAProxy {name}: {files} files, {compared} {what} compared; {alone} files left out");
    for (reason, count) in left_out {
        eprintln!("  {count:4} {reason}");
    }
    assert!(files > 0, "HAProxy {name} took no file at all");
    let count = differences.len();
    assert!(
        differences.is_empty(),
        "HAProxy {name} and drainswap's reader differ {count} times:\n{}",
        differences.join("\n")
    );
}

/// Returns the HAProxy under test, which a test needs.
fn tested(since: Version) -> Binary {
    binary::tested(since).unwrap_or_else(|| panic!("no HAProxy {since} or later: `make parts` installs one"))
}

/// The reason why a sample was skipped.
enum Skipped {
    Because(String),
    Differs(String),
}

/// Checks that the reader reports no error for files that HAProxy accepts, and an error for files that HAProxy refuses
/// for a reason that the reader checks.
#[test]
#[ignore = "needs HAProxy: make test"]
fn the_verdicts_agree() {
    let binary = tested(ANY);
    let mut samples = corpus::all();
    samples.extend(corpus::extremes());
    try_all("verdicts", &binary, &samples, |binary, sample| {
        let (_, configuration) = read(sample, binary);
        let verdict = binary.check(sample);
        let errors: Vec<String> = configuration
            .problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| format!("  {problem}"))
            .collect();
        match (verdict.accepted, errors.is_empty()) {
            (true, false) => Err(Skipped::Differs(format!("accepted, but\n{}", errors.join("\n")))),
            (false, true) => match verdict.ours() {
                Some(alert) => Err(Skipped::Differs(format!("refused, and not noticed: {alert}"))),
                None => Err(Skipped::Because(reason(verdict.alerts.iter().map(String::as_str)))),
            },
            (true, true) | (false, false) => Ok(1),
        }
    });
}

#[test]
#[ignore = "needs HAProxy: make test"]
fn the_words_are_the_same() {
    // Older versions do not print the words.
    let binary = tested(tokens::SINCE);
    let mut samples = corpus::all();
    samples.extend(tokens::random_lines());
    try_all("lines", &binary, &samples, |binary, sample| {
        tokens::compare(binary, sample, &read(sample, binary).0)
    });
}

#[test]
#[ignore = "needs HAProxy: make test"]
fn the_servers_are_the_same() {
    let binary = tested(ANY);
    let samples = corpus::all();
    try_all("servers", &binary, &samples, |binary, sample| {
        running::compare(binary, sample, &read(sample, binary).1)
    });
}

/// Checks that HAProxy accepts rendered backends, and that they match their descriptions.
#[test]
#[ignore = "needs HAProxy: make test"]
fn rendered_backends_are_accepted() {
    let binary = tested(ANY);
    let (files, taken, tried) = rendered::all(binary.version);
    eprintln!("HAProxy {}: {taken} of {tried} descriptions were taken", binary.version);
    assert!(
        taken * 3 > tried && taken < tried,
        "only {taken} of {tried} were accepted: the test shows nothing"
    );
    try_all("servers", &binary, &files, |binary, file| {
        let (_, configuration) = read(&file.sample, binary);
        file.matches(&configuration).map_err(Skipped::Differs)?;
        let verdict = binary.check(&file.sample);
        if !verdict.accepted || !verdict.alerts.is_empty() {
            return Err(Skipped::Differs(format!("refused: {:?}", verdict.alerts)));
        }
        running::compare(binary, &file.sample, &configuration)
    });
}

/// Checks that a health check sends the described request in spite of quoting and escaping.
#[test]
#[ignore = "needs HAProxy: make test"]
fn rendered_checks_send_the_described_requests() {
    let binary = tested(ANY);
    let name = &binary.build.version;
    match rendered::compare_checks(&binary) {
        Ok(count) => eprintln!("HAProxy {name}: {count} requests were as described"),
        Err(reason) => panic!("HAProxy {name}: {reason}"),
    }
}
