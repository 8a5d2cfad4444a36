//! The Debian package: installed, removed and purged in a separate tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{find, program};

/// A directory tree with its own dpkg database.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(TempDir::with_prefix("drainswap-test-").expect("a temporary directory"));
        for folder in ["var/lib/dpkg/updates", "var/lib/dpkg/info"] {
            fs::create_dir_all(tree.path(folder)).expect("make a folder");
        }
        fs::write(tree.path("var/lib/dpkg/status"), "").expect("write a file");
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Runs dpkg on the tree. It has no other packages, and the shell of this system runs the package's scripts.
    fn dpkg(&self, arguments: &[&str]) {
        // dpkg needs its helpers in /sbin, which a user's PATH may lack.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("dpkg");
        command.env("PATH", path);
        command.arg(format!("--root={}", self.0.path().display()));
        command.args(["--force-script-chrootless", "--force-depends", "--force-not-root", "--log=/dev/null"]);
        run(command.args(arguments));
    }
}

/// Runs a command that must succeed, and returns its output.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("start a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Builds the package of the program under test.
fn package(directory: &Path) -> PathBuf {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/deb"));
    // A debug build is large, so the package is not compressed.
    script.arg(program()).arg(directory).env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    PathBuf::from(run(&mut script).trim())
}

/// Checks the exposure level that systemd computes for the service, from 0 to 10. Without a sandbox, it is above 9.
fn judge(service: &Path) {
    if find("systemd-analyze").is_none() {
        return;
    }
    run(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=30"]).arg(service));
}

#[tokio::test]
#[ignore = "needs real parts: make test"]
async fn the_package_is_installed_and_removed_and_keeps_the_settings() {
    let built = TempDir::with_prefix("drainswap-test-").expect("a temporary directory");
    let package = package(built.path());
    let name = package.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(name.starts_with(concat!("drainswap_", env!("CARGO_PKG_VERSION"), "_")), "{name}");
    let tree = Tree::new();
    tree.dpkg(&["--install", package.to_str().expect("a path in UTF-8")]);
    for file in [
        "usr/bin/drainswap",
        "usr/lib/systemd/system/drainswap-doctor.service",
        "usr/lib/systemd/system/drainswap-doctor.timer",
        "usr/share/man/man1/drainswap.1.gz",
        "usr/share/man/man1/drainswap-config-apply.1.gz",
        "usr/share/bash-completion/completions/drainswap",
        "usr/share/zsh/vendor-completions/_drainswap",
        "usr/share/fish/vendor_completions.d/drainswap.fish",
        "usr/share/doc/drainswap/copyright",
        "usr/share/doc/drainswap/changelog.gz",
        "var/lib/drainswap",
    ] {
        assert!(tree.has(file), "{file} is not installed");
    }
    judge(&tree.path("usr/lib/systemd/system/drainswap-doctor.service"));
    tree.dpkg(&["--verify", "drainswap"]);

    // The installed settings are valid and only contain defaults.
    let settings = tree.path("etc/drainswap/drainswap.toml");
    let config = built.path().join("haproxy.cfg");
    fs::write(&config, "backend mobile\n    server app1 127.0.0.1:1\n").expect("write haproxy.cfg");
    let mut drainswap = Command::new(tree.path("usr/bin/drainswap"));
    run(drainswap.args(["config", "show", "--settings"]).arg(&settings).arg("-f").arg(&config));
    assert_eq!(
        fs::read_to_string(&settings).expect("the settings"),
        run(Command::new(program()).args(["init", "-", "--defaults"]))
    );

    fs::write(&settings, "keep = 3\n").expect("write the settings");
    fs::write(tree.path("var/lib/drainswap/journal"), "").expect("write a journal");
    tree.dpkg(&["--install", package.to_str().expect("a path in UTF-8")]);
    assert_eq!(fs::read_to_string(&settings).expect("the settings"), "keep = 3\n");
    tree.dpkg(&["--remove", "drainswap"]);
    assert!(!tree.has("usr/bin/drainswap") && !tree.has("usr/share/doc/drainswap"));
    assert!(tree.has("var/lib/drainswap/journal"), "journals are kept");
    assert_eq!(fs::read_to_string(&settings).expect("the settings"), "keep = 3\n");
    tree.dpkg(&["--purge", "drainswap"]);
    assert!(!tree.has("etc/drainswap") && !tree.has("var/lib/drainswap"), "a purge leaves nothing");
}
