//! OpenSSH's server on loopback, with keys of its own, and an `ssh` that knows them.

use super::ports::Ports;
use super::process::{Process, find};
use super::wait::wait_until;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A running `sshd` that lets root in by one key.
pub struct Sshd {
    process: Process,
    ports: Ports,
    dir: PathBuf,
}

impl Sshd {
    /// Starts it with its files in `dir`, and waits until it listens. `options` are more lines of its configuration.
    pub async fn start(dir: &Path, options: &str) -> Self {
        let ports = Ports::reserve(1);
        fs::create_dir_all(dir.join("bin")).expect("make a directory");
        // sshd wants it, whatever its configuration says; a service would make it.
        fs::create_dir_all("/run/sshd").expect("make /run/sshd");
        for key in ["host", "user", "stranger"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(key));
            assert!(keygen.status().expect("ssh-keygen runs").success(), "no {key} key");
        }
        let at = dir.display();
        let config = format!(
            "ListenAddress 127.0.0.1:{}\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nUsePAM no\n\
             StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nPidFile none\n\
             LogLevel VERBOSE\n{options}\n",
            ports.at(0)
        );
        fs::write(dir.join("sshd_config"), config).expect("write sshd's configuration");
        let mut command = Command::new(find("sshd").expect("sshd is installed"));
        command.args(["-D", "-e", "-f"]).arg(dir.join("sshd_config"));
        let process = Process::start(&mut command, &dir.join("sshd.log"));
        let sshd = Self { process, ports, dir: dir.to_owned() };
        wait_until("sshd listens", Duration::from_secs(20), async || {
            sshd.process.output().contains("Server listening")
        })
        .await;
        sshd.knows("host");
        sshd.shows("user");
        sshd
    }

    /// The host and port, as an endpoint has them.
    pub fn authority(&self) -> String {
        format!("root@127.0.0.1:{}", self.ports.at(0))
    }

    /// From now on the client has this key for the host: `host`, the right one, or `stranger`.
    pub fn knows(&self, key: &str) {
        let public = fs::read_to_string(self.dir.join(format!("{key}.pub"))).expect("read a key");
        let line = format!("[127.0.0.1]:{} {public}", self.ports.at(0));
        fs::write(self.dir.join("known_hosts"), line).expect("write known_hosts");
    }

    /// From now on the client knows no host.
    pub fn knows_nobody(&self) {
        fs::write(self.dir.join("known_hosts"), "").expect("write known_hosts");
    }

    /// From now on the client shows this key: `user`, the right one, or `stranger`.
    pub fn shows(&self, key: &str) {
        let at = self.dir.display();
        let config = format!(
            "IdentityFile {at}/{key}\nIdentitiesOnly yes\nUserKnownHostsFile {at}/known_hosts\n\
             GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n"
        );
        fs::write(self.dir.join("ssh_config"), config).expect("write ssh's configuration");
        let ssh = find("ssh").expect("ssh is installed");
        self.program("ssh", &format!("{} -F {at}/ssh_config", ssh.display()));
    }

    /// A program of the client's: this command, with what is typed behind it.
    fn program(&self, name: &str, command: &str) {
        let wrapper = self.dir.join("bin").join(name);
        fs::write(&wrapper, format!("#!/bin/sh\nexec {command} \"$@\"\n")).expect("write the wrapper");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("make it a program");
    }

    /// From now on the client finds it under a host's name, with `scp`, too.
    pub fn is_named(&self, host: &str) {
        let (at, port) = (self.dir.display(), self.ports.at(0));
        let place =
            format!("Host {host}\nHostName 127.0.0.1\nPort {port}\nHostKeyAlias [127.0.0.1]:{port}\n");
        let config = fs::read_to_string(self.dir.join("ssh_config")).expect("read ssh's configuration");
        fs::write(self.dir.join("ssh_config"), config + &place).expect("write ssh's configuration");
        let scp = find("scp").expect("scp is installed");
        self.program("scp", &format!("{} -S {at}/bin/ssh", scp.display()));
    }

    /// A `PATH` whose `ssh` knows the keys.
    pub fn path(&self) -> String {
        format!("{}:{}", self.dir.join("bin").display(), std::env::var("PATH").unwrap_or_default())
    }

    /// How many connections it has let in.
    pub fn logins(&self) -> usize {
        self.process.output().matches("Accepted publickey").count()
    }

    /// Whether an `ssh` of ours still runs.
    pub fn has_client(&self) -> bool {
        let ours = self.dir.join("ssh_config").display().to_string();
        let processes = fs::read_dir("/proc").expect("read /proc").flatten();
        let mut lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        lines.any(|line| String::from_utf8_lossy(&line).contains(&ours))
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}
