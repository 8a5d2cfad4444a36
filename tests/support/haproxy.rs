//! A real HAProxy in the foreground and its runtime socket.

use super::layout::BACKEND;
use super::process::{Process, installed};
use super::under_test::named;
use super::wait::{wait_for, wait_until};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Returns the binary under test.
pub fn binary() -> PathBuf {
    named().unwrap_or_else(|| installed("haproxy"))
}

/// A variable that is only set in HAProxy's environment, and its value.
pub const VARIABLE: &str = "ONLY_HAPROXY_KNOWS";
pub const VALUE: &str = "42";

/// The process model of HAProxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    /// One process, which cannot be reloaded.
    One,
    /// A master with workers, without a master socket: a signal reloads it.
    Workers,
    /// A master with workers and a master socket.
    WorkersAndSocket,
}

/// A running HAProxy.
pub struct Haproxy {
    binary: PathBuf,
    command: Command,
    log: PathBuf,
    process: Process,
    config: PathBuf,
    socket: PathBuf,
    /// The socket of the master process in master-worker mode.
    master_socket: Option<PathBuf>,
}

impl Haproxy {
    /// Starts a binary with a configuration file or directory, whose stats socket must be `admin.sock` in `dir`.
    pub async fn start(binary: &Path, dir: &Path, config: &Path, processes: Processes) -> Self {
        let config = config.to_owned();
        let socket = dir.join("admin.sock");
        let has_socket = processes == Processes::WorkersAndSocket;
        let master_socket = has_socket.then(|| dir.join("master.sock"));
        let mut command = Command::new(binary);
        command.arg("-db").arg("-f").arg(&config).env(VARIABLE, VALUE);
        if processes != Processes::One {
            command.arg("-W");
        }
        if let Some(master_socket) = &master_socket {
            command.arg("-S").arg(master_socket);
        }
        let log = dir.join("haproxy.log");
        let process = Process::start(&mut command, &log);
        let mut haproxy =
            Self { binary: binary.to_owned(), command, log, process, config, socket, master_socket };
        haproxy.until_it_answers().await;
        haproxy
    }

    async fn until_it_answers(&mut self) {
        let Self { process, socket, .. } = self;
        wait_until("HAProxy answers on its socket", Duration::from_secs(20), async || {
            assert!(process.is_running(), "HAProxy exited: {}", process.output());
            UnixStream::connect(&*socket).await.is_ok()
        })
        .await;
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub fn master_socket(&self) -> &Path {
        self.master_socket.as_deref().expect("it has a master socket")
    }

    /// Returns the id of the started process, which is the master in master-worker mode.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Returns the path of the configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Returns whether `haproxy -c` accepts the current configuration.
    pub fn takes_its_config(&self) -> bool {
        let output = Command::new(&self.binary).arg("-c").arg("-f").arg(&self.config).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// Returns the path of the stats socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the output so far: warnings, state changes and failed requests.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Kills HAProxy, to test the behaviour without a load balancer.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills HAProxy and starts it again, without a reload.
    pub async fn restart(&mut self) {
        let before = self.worker().await;
        self.process.kill();
        self.start_again().await;
        wait_until("the new process answers", Duration::from_secs(20), async || {
            self.process_that_answers().await.is_some_and(|now| now != before)
        })
        .await;
    }

    /// Starts HAProxy after it was killed.
    pub async fn start_again(&mut self) {
        self.process = Process::start(&mut self.command, &self.log);
        self.until_it_answers().await;
    }

    /// Sends a command to the runtime socket and returns the whole reply.
    pub async fn command(&self, line: &str) -> String {
        ask(&self.socket, line).await
    }

    /// Sends a command to the master and returns the reply, which a reload cuts off in old versions.
    pub async fn command_to_master(&self, line: &str) -> String {
        ask(self.master_socket(), line).await
    }

    /// Returns the number of queued requests in the stage's backend.
    pub async fn queued(&self) -> u64 {
        self.stat("BACKEND").await["qcur"].parse().expect("a number")
    }

    /// Returns the row of `show stat` for a server of the stage's backend, by column.
    pub async fn stat(&self, server: &str) -> HashMap<String, String> {
        // Right after a reload, a connection may still reach the old worker, which reports no servers in 2.2.
        wait_for(&format!("HAProxy reports {server}"), Duration::from_secs(5), async || {
            let reply = self.command("show stat").await;
            let mut lines = reply.trim_start_matches("# ").lines();
            let columns: Vec<_> = lines.next()?.split(',').collect();
            let mut rows = lines.map(|line| columns.iter().zip(line.split(',')).collect::<HashMap<_, _>>());
            let row = rows.find(|row| row.get(&"pxname") == Some(&BACKEND) && row[&"svname"] == server)?;
            Some(row.into_iter().map(|(column, value)| ((*column).to_owned(), value.to_owned())).collect())
        })
        .await
    }

    /// Returns the row of `show servers state` for a server of the stage's backend, by column.
    pub async fn state(&self, server: &str) -> HashMap<String, String> {
        let reply = self.command(&format!("show servers state {BACKEND}")).await;
        let mut lines = reply.lines().skip(1);
        let columns: Vec<&str> = lines.next().expect("the columns").split(' ').skip(1).collect();
        let mut rows =
            lines.map(|line| columns.iter().copied().zip(line.split(' ')).collect::<HashMap<_, _>>());
        let row = rows.find(|row| row.get("srv_name") == Some(&server)).expect("a server of that name");
        row.into_iter().map(|(column, value)| (column.to_owned(), value.to_owned())).collect()
    }

    /// Returns the `status` column of `show stat`: `UP`, `DRAIN`, `MAINT`, `DOWN`, …
    pub async fn status(&self, server: &str) -> String {
        self.stat(server).await["status"].clone()
    }

    /// Waits until a server of the stage's backend is in drain.
    pub async fn until_draining(&self, server: &str) {
        wait_until(&format!("{server} drains"), Duration::from_secs(30), async || {
            self.status(server).await == "DRAIN"
        })
        .await;
    }

    /// Sets a server of the stage's backend to `ready`, `drain` or `maint`.
    pub async fn set_state(&self, server: &str, state: &str) {
        let reply = self.command(&format!("set server {BACKEND}/{server} state {state}")).await;
        assert_eq!(reply, "\n", "HAProxy refused to set {server} to {state}");
    }

    /// Returns the id of the process that answers on the runtime socket, which changes with a reload.
    pub async fn worker(&self) -> String {
        self.process_that_answers().await.expect("`show info` has a Pid")
    }

    /// Returns the id of the process that answers, or `None` while a killed process is exiting.
    async fn process_that_answers(&self) -> Option<String> {
        let info = self.command("show info").await;
        info.lines().find_map(|line| line.strip_prefix("Pid: ")).map(str::to_owned)
    }

    /// Reloads the configuration and waits until the new worker answers.
    pub async fn reload(&self) {
        let before = self.worker().await;
        match &self.master_socket {
            Some(socket) => drop(ask(socket, "reload").await),
            None => self.process.signal("USR2"),
        }
        wait_until("the new worker answers", Duration::from_secs(20), async || {
            UnixStream::connect(&self.socket).await.is_ok() && self.worker().await != before
        })
        .await;
    }
}

pub(super) async fn ask(socket: &Path, line: &str) -> String {
    // While the master re-executes itself, no process listens for a moment.
    let mut stream = wait_for("HAProxy's socket accepts a connection", Duration::from_secs(5), async || {
        UnixStream::connect(socket).await.ok()
    })
    .await;
    stream.write_all(format!("{line}\n").as_bytes()).await.expect("send a command");
    let mut reply = String::new();
    // A reload resets the connections of the master socket.
    let _ = stream.read_to_string(&mut reply).await;
    reply
}
