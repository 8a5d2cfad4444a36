//! A test of the tests: bugs are planted into a copy of the source, and the sweep must catch them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// The variable that activates a bug in the copy.
const VARIABLE: &str = "DRAINSWAP_PLANTED";

#[derive(Deserialize)]
struct Bugs {
    bug: Vec<Bug>,
}

#[derive(Deserialize)]
struct Bug {
    name: String,
    /// The cases that show the bug, if a few random faults rarely do.
    #[serde(default)]
    cases: Vec<String>,
    file: String,
    line: String,
    becomes: String,
}

#[test]
fn every_planted_bug_is_caught() {
    let bugs: Bugs = toml::from_str(include_str!("planted.toml")).expect("a list of bugs");
    assert!(bugs.bug.len() >= 10, "there are only {}", bugs.bug.len());
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    plant(&copy, &bugs.bug);
    let simulation = build(&copy);
    assert!(sweeps_clean(&simulation, ""), "the copy fails without a bug");
    for case in bugs.bug.iter().flat_map(|bug| &bug.cases) {
        assert!(replays_clean(&simulation, "", case), "the copy fails in {case} without a bug");
    }
    let is_missed = |bug: &&Bug| match &bug.cases[..] {
        [] => sweeps_clean(&simulation, &bug.name),
        cases => cases.iter().all(|case| replays_clean(&simulation, &bug.name, case)),
    };
    let missed: Vec<&str> = bugs.bug.iter().filter(is_missed).map(|bug| bug.name.as_str()).collect();
    println!("{} planted bugs, {} caught", bugs.bug.len(), bugs.bug.len() - missed.len());
    assert!(missed.is_empty(), "the sweep does not catch: {missed:#?}");
}

/// Copies the source with all bugs, each inactive.
fn plant(copy: &Path, bugs: &[Bug]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let _none_yet = fs::remove_dir_all(copy);
    for folder in ["src", "tests/simulation", "templates", "fixtures"] {
        copy_all(&root.join(folder), &copy.join(folder));
    }
    // Without the program, which would replace the real one.
    fs::remove_file(copy.join("src/main.rs")).expect("src/main.rs");
    // Cargo identifies packages by name and version: with the same ones, the copy would replace the package under test.
    for file in ["Cargo.toml", "Cargo.lock"] {
        let text = fs::read_to_string(root.join(file)).expect(file);
        let ours = format!("name = \"drainswap\"\nversion = \"{}\"", env!("CARGO_PKG_VERSION"));
        let planted = text.replacen(&ours, "name = \"drainswap\"\nversion = \"0.0.0\"", 1);
        assert_ne!(planted, text, "{file} has another version");
        fs::write(copy.join(file), only_simulation(&planted)).expect(file);
    }
    let lib = copy.join("src/lib.rs");
    let text = fs::read_to_string(&lib).expect("src/lib.rs");
    let planted = format!(
        "\n/// Whether this bug is tried.\npub fn planted(bug: &str) -> bool {{\n    \
         static TRIED: std::sync::OnceLock<String> = std::sync::OnceLock::new();\n    \
         TRIED.get_or_init(|| std::env::var(\"{VARIABLE}\").unwrap_or_default()) == bug\n}}\n"
    );
    fs::write(lib, text + &planted).expect("src/lib.rs");
    for bug in bugs {
        let file = copy.join(&bug.file);
        let text = fs::read_to_string(&file).expect("a source file");
        assert_eq!(text.matches(&bug.line).count(), 1, "`{}` is not once in {}", bug.line, bug.file);
        let call = format!("crate::planted({:?})", bug.name);
        fs::write(&file, text.replace(&bug.line, &bug.becomes.replace("PLANTED", &call)))
            .expect("a source file");
    }
}

/// Returns a manifest without the other tests, benchmarks and examples.
fn only_simulation(manifest: &str) -> String {
    let mut parts = manifest.split("\n\n").collect::<Vec<_>>();
    let is_other = |part: &&str| {
        let target =
            ["[[test]]", "[[bench]]", "[[example]]"].iter().any(|kind| part.trim_start().starts_with(kind));
        target && !part.contains("\"simulation\"")
    };
    parts.retain(|part| !is_other(part));
    parts.join("\n\n")
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_all(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("a file");
        }
    }
}

/// Builds the copy's simulation in the same target folder, so that dependencies are not rebuilt, and returns its path.
fn build(copy: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    // Variables that identify the package of this test would make build scripts run again.
    let of_this_test = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| name.starts_with(it));
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| of_this_test(name)).for_each(|name| {
        cargo.env_remove(name);
    });
    let built = cargo
        .args([
            "test",
            "--no-run",
            "--offline",
            "--locked",
            "--test",
            "simulation",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo");
    assert!(built.status.success(), "the copy with the planted bugs does not build");
    let messages = String::from_utf8_lossy(&built.stdout).into_owned();
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = artifacts.filter_map(|it| it["executable"].as_str().map(PathBuf::from));
    executables.next().expect("the simulation's executable")
}

/// Returns whether the copy's sweep finds nothing with a bug.
fn sweeps_clean(simulation: &Path, bug: &str) -> bool {
    let mut sweep = Command::new(simulation);
    sweep.arg("a_few_faults_of_every_kind").env_remove("DRAINSWAP_SCENARIO");
    is_clean(sweep, bug, " cases failed:")
}

/// Returns whether a case has no violations with a bug.
fn replays_clean(simulation: &Path, bug: &str, case: &str) -> bool {
    let mut replay = Command::new(simulation);
    replay.arg("a_case_that_is_replayed_tells_its_story").env("DRAINSWAP_SIMULATE", case);
    is_clean(replay, bug, "assertion `left == right` failed")
}

/// Returns whether the copy's test passes with a bug. A test that fails without the given words has not caught the bug.
fn is_clean(mut test: Command, bug: &str, caught: &str) -> bool {
    test.arg("--exact").env(VARIABLE, bug).env("RUST_BACKTRACE", "0");
    let output = test.output().expect("the copy's simulation");
    let is_clean = output.status.success();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(is_clean || told.contains(caught), "{bug:?} was not tried by {test:?}: {told}");
    is_clean
}
