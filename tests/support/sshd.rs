//! An OpenSSH server on loopback with its own keys, and an `ssh` client that knows them.

use super::ports::Ports;
use super::process::{Process, installed};
use super::wait::wait_until;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A running `sshd` that accepts one key for root.
pub struct Sshd {
    process: Process,
    ports: Ports,
    dir: PathBuf,
}

impl Sshd {
    /// Starts `sshd` with its files in `dir`, and waits until it listens. `options` are additional configuration lines.
    pub async fn start(dir: &Path, options: &str) -> Self {
        let ports = Ports::reserve(1);
        fs::create_dir_all(dir.join("bin")).expect("make a directory");
        // sshd always needs this directory, which its service normally creates.
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
        let mut command = Command::new(installed("sshd"));
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

    /// Returns the user, host and port for an endpoint.
    pub fn authority(&self) -> String {
        format!("root@127.0.0.1:{}", self.ports.at(0))
    }

    /// Sets the host key that the client knows: `host` is correct, `stranger` is wrong.
    pub fn knows(&self, key: &str) {
        let public = fs::read_to_string(self.dir.join(format!("{key}.pub"))).expect("read a key");
        let line = format!("[127.0.0.1]:{} {public}", self.ports.at(0));
        fs::write(self.dir.join("known_hosts"), line).expect("write known_hosts");
    }

    /// Removes all known hosts of the client.
    pub fn knows_no_host(&self) {
        fs::write(self.dir.join("known_hosts"), "").expect("write known_hosts");
    }

    /// Sets the key that the client uses: `user` is accepted, `stranger` is not.
    pub fn shows(&self, key: &str) {
        let at = self.dir.display();
        let config = format!(
            "IdentityFile {at}/{key}\nIdentitiesOnly yes\nUserKnownHostsFile {at}/known_hosts\n\
             GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n"
        );
        fs::write(self.dir.join("ssh_config"), config).expect("write ssh's configuration");
        let ssh = installed("ssh");
        self.program("ssh", &format!("{} -F {at}/ssh_config", ssh.display()));
    }

    /// Creates a client program that runs a command with additional arguments.
    fn program(&self, name: &str, command: &str) {
        let wrapper = self.dir.join("bin").join(name);
        fs::write(&wrapper, format!("#!/bin/sh\nexec {command} \"$@\"\n")).expect("write the wrapper");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("make it a program");
    }

    /// Makes the server reachable under a host name, also with `scp`.
    pub fn is_named(&self, host: &str) {
        let (at, port) = (self.dir.display(), self.ports.at(0));
        let place =
            format!("Host {host}\nHostName 127.0.0.1\nPort {port}\nHostKeyAlias [127.0.0.1]:{port}\n");
        let config = fs::read_to_string(self.dir.join("ssh_config")).expect("read ssh's configuration");
        fs::write(self.dir.join("ssh_config"), config + &place).expect("write ssh's configuration");
        let scp = installed("scp");
        self.program("scp", &format!("{} -S {at}/bin/ssh", scp.display()));
    }

    /// Returns a `PATH` with the `ssh` that knows the keys.
    pub fn path(&self) -> String {
        format!("{}:{}", self.dir.join("bin").display(), std::env::var("PATH").unwrap_or_default())
    }

    /// Returns the number of accepted logins.
    pub fn logins(&self) -> usize {
        self.process.output().matches("Accepted publickey").count()
    }

    /// Returns whether an `ssh` client of this server is still running.
    pub fn has_client(&self) -> bool {
        let ours = self.dir.join("ssh_config").display().to_string();
        let processes = fs::read_dir("/proc").expect("read /proc").flatten();
        let mut lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        lines.any(|line| String::from_utf8_lossy(&line).contains(&ours))
    }

    /// Returns the server's output.
    pub fn output(&self) -> String {
        self.process.output()
    }
}
