//! The available HAProxy binaries, and the result of `haproxy -c` for a file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use drainswap::cfg::{Build, Version};

use crate::corpus::{self, Sample};
use crate::under_test::named;

/// An HAProxy binary.
pub struct Binary {
    pub path: PathBuf,
    pub build: Build,
    pub version: Version,
}

/// Returns the binary under test: the one in `TEST_HAPROXY`, or else the installed one, or the newest fetched one if
/// that is older than `since`. Returns `None` if no binary is new enough.
pub fn tested(since: Version) -> Option<Binary> {
    let is_new = |binary: &Binary| binary.version >= since;
    if let Some(named) = named() {
        return Binary::ask(named).filter(is_new);
    }
    let installed = Binary::ask(drainswap::adapters::haproxy_binary::find()).filter(is_new);
    installed.or_else(|| fetched().filter(is_new).max_by_key(|binary| binary.version))
}

/// Returns the binaries that `.ci/haproxy-versions` fetched.
fn fetched() -> impl Iterator<Item = Binary> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(target, PathBuf::from).join("haproxy");
    let folders = std::fs::read_dir(target).into_iter().flatten().filter_map(Result::ok);
    folders.filter_map(|folder| Binary::ask(folder.path().join("haproxy")))
}

/// The result of `haproxy -c`.
pub struct Verdict {
    pub accepted: bool,
    pub alerts: Vec<String>,
}

impl Binary {
    fn ask(path: PathBuf) -> Option<Self> {
        let build = drainswap::adapters::haproxy_binary::build(&path)?;
        let version = build.version.parse().ok()?;
        Some(Self { path, build, version })
    }

    /// Returns a command for HAProxy whose environment only has the variables of the samples.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_clear().envs(corpus::variables()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str], sample: &Sample) -> Output {
        let file = sample.write();
        let output = self.command().args(arguments).arg("-f").arg(file.path()).output();
        output.expect("HAProxy runs")
    }

    pub fn check(&self, sample: &Sample) -> Verdict {
        let output = self.run(&["-c", "-dr"], sample);
        let text = String::from_utf8_lossy(&output.stderr);
        let alerts = text.lines().filter(|line| line.contains("[ALERT]")).map(str::to_owned).collect();
        // 2 means that there is no listener, which is not an error in a fragment.
        Verdict { accepted: matches!(output.status.code(), Some(0 | 2)), alerts }
    }
}

impl Verdict {
    /// Returns the first alert about something that drainswap's reader checks.
    pub fn ours(&self) -> Option<&str> {
        let ours = [
            "unmatched quote",
            "unmatched brace",
            "too many words",
            "Missing LF",
            "Stray NUL",
            "unknown directive",
            "unterminated '.if'",
            "is not permitted in server name",
            "out of section",
            "another server named",
            "unable to find server",
            "unable to find required",
            "unable to find the server",
            "'server' not allowed",
            "unexpected extra argument 's' after value",
            "in 'timeout",
        ];
        self.alerts.iter().find(|alert| ours.iter().any(|part| alert.contains(part))).map(String::as_str)
    }
}

/// Returns the subject of HAProxy's first alert, without names.
pub fn reason<'t>(mut lines: impl Iterator<Item = &'t str>) -> String {
    let Some(alert) = lines.find(|line| line.contains("[ALERT]")) else { return "without a word".to_owned() };
    let place = alert.find("cfg:").and_then(|at| alert[at..].split_once(": "));
    let text = place.or_else(|| alert.split_once(" : ")).map_or(alert, |(_, text)| text);
    let quoted = text.split('\'').enumerate().map(|(index, part)| if index % 2 == 0 { part } else { "…" });
    quoted.collect::<Vec<_>>().join("'").trim_end_matches('.').chars().take(90).collect()
}
