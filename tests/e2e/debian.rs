//! The Debian package, installed, removed and purged in a tree of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Need, find, program, requirements};

/// A tree with a dpkg of its own.
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

    /// Runs dpkg there. Nothing else is installed, and the package's scripts are those of this system's shell.
    fn dpkg(&self, arguments: &[&str]) {
        // Where its helpers are; a user's path lacks it.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("dpkg");
        command.env("PATH", path);
        command.arg(format!("--root={}", self.0.path().display()));
        command.args(["--force-script-chrootless", "--force-depends", "--force-not-root", "--log=/dev/null"]);
        run(command.args(arguments));
    }
}

/// Runs a command to its good end, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("start a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The package of the program under test.
fn package(directory: &Path) -> PathBuf {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/deb"));
    // A debug build is large, and nobody keeps this package.
    script.arg(program()).arg(directory).env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    PathBuf::from(run(&mut script).trim())
}

/// Has systemd say how much the service may do: from 0, nothing, to 10. Without a sandbox it is more than 9.
fn judge(service: &Path) {
    if find("systemd-analyze").is_none() {
        return;
    }
    run(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=30"]).arg(service));
}

#[tokio::test]
async fn a_package_comes_and_goes_and_leaves_what_is_the_administrators() {
    if !requirements(&[Need::Dpkg]).await {
        return;
    }
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

    // The settings are read, and say nothing but defaults.
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
    assert!(tree.has("var/lib/drainswap/journal"), "what runs are known is kept");
    assert_eq!(fs::read_to_string(&settings).expect("the settings"), "keep = 3\n");
    tree.dpkg(&["--purge", "drainswap"]);
    assert!(!tree.has("etc/drainswap") && !tree.has("var/lib/drainswap"), "a purge leaves nothing");
}
