//! The requirements of a test, and its behaviour if one is missing.

use super::ansible::are_installed;
use super::engine::Engine;
use super::process::find;

/// A real part that a test may need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    Haproxy,
    Registry,
    Docker,
    /// OpenSSH's server and client.
    Ssh,
    Podman,
    /// Docker Compose as a standalone program.
    Compose,
    /// A headless browser.
    Chromium,
    /// Renders manual pages.
    Groff,
    /// Builds and installs Debian packages.
    Dpkg,
    /// The oldest and the newest ansible-core.
    Ansible,
}

impl Need {
    /// The requirements of a complete stage.
    pub const ALL: &[Self] = &[Self::Haproxy, Self::Registry, Self::Docker];

    /// Returns the reason why the part is missing, if it is.
    async fn missing(self) -> Option<String> {
        match self {
            Self::Haproxy => missing_program("haproxy"),
            Self::Registry => missing_program("docker-registry"),
            Self::Podman => missing_program("podman"),
            Self::Compose => missing_program("docker-compose"),
            Self::Chromium => missing_program("chromium"),
            Self::Dpkg => missing_program("dpkg-deb"),
            Self::Ansible => {
                (!are_installed()).then(|| "Ansible is not installed in target/ansible".to_owned())
            }
            Self::Groff => missing_program("groff"),
            Self::Ssh => missing_program("sshd").or_else(|| missing_program("ssh")),
            Self::Docker => {
                let error = Engine::connect().await.err()?;
                Some(format!("no Docker daemon answers at {}: {error}", Engine::endpoint()))
            }
        }
    }
}

pub fn missing_program(name: &str) -> Option<String> {
    find(name).is_none().then(|| format!("{name} is not installed"))
}

/// Returns whether the test can run. If not, prints the reason, and the test must return. With `REQUIRE_E2E=1`, a
/// missing part is a failure.
pub async fn requirements(needs: &[Need]) -> bool {
    let mut missing = Vec::new();
    for need in needs {
        missing.extend(need.missing().await);
    }
    may_run(&missing)
}

/// Returns whether the test can run, given the reasons why parts are missing.
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
pub fn may_run(missing: &[String]) -> bool {
    if missing.is_empty() {
        return true;
    }
    let reasons = missing.join("; ");
    let required = std::env::var("REQUIRE_E2E").is_ok_and(|value| value == "1");
    assert!(!required, "REQUIRE_E2E=1, but {reasons}");
    eprintln!("skipped: {reasons} (`make test` provides it)");
    false
}
