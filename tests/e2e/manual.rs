//! Shell completions and manual pages, tested with real shells and groff.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::program;

fn drainswap(arguments: &[&str]) -> Output {
    let output = Command::new(program()).args(arguments).output().expect("start drainswap");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs a program that must succeed without a warning, and returns its output.
fn quiet(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("start a program");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{program} {arguments:?}: {complaints}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a path in UTF-8")
}

#[test]
fn bash_loads_the_completion_and_uses_it() {
    let dir = TempDir::with_prefix("drainswap-test-").expect("a temporary directory");
    let script = dir.path().join("drainswap.bash");
    std::fs::write(&script, drainswap(&["completions", "bash"]).stdout).expect("write the script");
    quiet("bash", &["-n", path(&script)]);
    let complete = |words: &str, at: usize| {
        let last = words.split(' ').next_back().unwrap_or_default();
        let text = format!(
            "source {}; COMP_WORDS=({words}) COMP_CWORD={at}; _drainswap drainswap '{last}' ''; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            path(&script)
        );
        quiet("bash", &["--norc", "-c", &text])
    };
    assert_eq!(complete("drainswap stat", 1), "status\n");
    assert_eq!(complete("drainswap deploy --on-fail", 2), "--on-failure\n");
    assert_eq!(complete("drainswap config ap", 2), "apply\n");
    assert!(
        quiet("bash", &["-c", &format!("source {}; complete -p drainswap", path(&script))]).contains("-F")
    );
}

#[test]
fn every_shell_has_a_completion() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = drainswap(&["completions", shell]).stdout;
        assert!(String::from_utf8_lossy(&script).contains("on-drain-timeout"), "{shell}");
    }
}

#[tokio::test]
#[ignore = "needs real parts: make test"]
async fn the_manual_pages_render_without_warnings() {
    let dir = TempDir::with_prefix("drainswap-test-").expect("a temporary directory");
    let pages = dir.path().join("man1");
    drainswap(&["man", path(&pages)]);
    let mut names = Vec::new();
    for page in std::fs::read_dir(&pages).expect("the pages") {
        let page = page.expect("a page").path();
        let text = quiet("groff", &["-K", "utf8", "-man", "-Tutf8", "-ww", "-P-cbu", path(&page)]);
        assert!(
            text.contains("EXAMPLES\n") && text.contains("NOTES\n"),
            "{} has no examples:\n{text}",
            page.display()
        );
        names.push(page.file_name().expect("a name").to_string_lossy().into_owned());
    }
    for name in ["drainswap.1", "drainswap-deploy.1", "drainswap-config-apply.1"] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    let main = std::fs::read(pages.join("drainswap.1")).expect("the page of the program");
    assert_eq!(String::from_utf8_lossy(&main), String::from_utf8_lossy(&drainswap(&["man"]).stdout));
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    for arguments in [&["man"][..], &["completions", "bash"], &["schema", "event"]] {
        let mut child = Command::new(program())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start drainswap");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("wait for drainswap");
        assert!(ended.status.success() && ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn an_unwritable_path_is_named() {
    let output = Command::new(program()).args(["man", "/proc/nowhere"]).output().expect("start drainswap");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot write /proc/nowhere: "), "{said}");
}
