//! Identification of the HAProxy process: it is the process behind the runtime socket, whatever other processes claim.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Ended, Haproxy, Process, Processes, Stage, binary, finish, program, wait_until};

/// A program that calls itself HAProxy. It listens on a master socket and records all requests.
const IMPOSTOR: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static void trace(const char *what) {
    FILE *file = fopen(TRACE, "a");
    if (file) { fprintf(file, "%s as uid %d\n", what, (int)getuid()); fclose(file); }
}
int main(int count, char **words) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    for (int at = 1; at < count; at++) {
        if (!strcmp(words[at], "-c") || !strcmp(words[at], "-vv")) { trace(words[at]); return 0; }
        if (!strcmp(words[at], "-S")) strncpy(address.sun_path, words[at + 1], sizeof address.sun_path - 1);
    }
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) return 1;
    for (;;) {
        char line[64];
        int stream = accept(listener, 0, 0);
        if (read(stream, line, sizeof line) > 0) trace("its socket was asked");
        close(stream);
    }
}
"#;

/// A library that is loaded into every program with the impostor's environment.
const PRELOADED: &str = r#"
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
    FILE *file = fopen(TRACE, "a");
    if (file && getuid() == 0) fprintf(file, "loaded as uid 0\n");
    if (file) fclose(file);
}
"#;

/// The running impostor, as the user `nobody`.
struct Impostor {
    dir: TempDir,
    process: Process,
}

impl Impostor {
    async fn start(config: &Path) -> Self {
        // The user `nobody` has no access to root's directory for temporary files.
        let dir = TempDir::with_prefix_in("drainswap-test-", "/tmp").expect("a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("give all users access");
        let trace = format!("-DTRACE=\"{}\"", dir.path().join("trace").display());
        for (name, text, flags) in
            [("haproxy", IMPOSTOR, &[][..]), ("preloaded.so", PRELOADED, &["-shared", "-fPIC"])]
        {
            let source = dir.path().join(name).with_extension("c");
            fs::write(&source, text).expect("write a program");
            let mut compiler = Command::new("cc");
            compiler.arg(&trace).args(flags).arg(&source).arg("-o").arg(dir.path().join(name));
            let built = compiler.status();
            assert!(built.is_ok_and(|status| status.success()), "cc builds {name}");
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(dir.path().join("haproxy"));
        command.arg("-W").arg("-f").arg(config).arg("-S").arg(dir.path().join("master.sock"));
        command.env("LD_PRELOAD", dir.path().join("preloaded.so"));
        let process = Process::start(&mut command, &dir.path().join("log"));
        let impostor = Self { dir, process };
        wait_until("the impostor listens", Duration::from_secs(10), async || impostor.socket().exists())
            .await;
        fs::write(impostor.trace(), "").expect("clear the trace of setpriv");
        fs::set_permissions(impostor.trace(), fs::Permissions::from_mode(0o666))
            .expect("let all users write");
        impostor
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("master.sock")
    }

    fn trace(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    #[track_caller]
    fn was_left_alone(&mut self, by: &str) {
        assert!(self.process.is_running(), "the impostor ended: {}", self.process.output());
        let asked = fs::read_to_string(self.trace()).expect("the impostor's trace");
        assert_eq!(asked, "", "after `{by}`");
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}

/// Another user's program has HAProxy's name, haproxy.cfg among its arguments, and a lower process id. drainswap does
/// not execute its binary, use its environment, or query its master socket.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_process_that_calls_itself_haproxy_is_left_alone() {
    // The impostor belongs to another user.
    assert!(is_root(), "only root can start a process of another user");
    let mut stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let mut impostor = Impostor::start(stage.haproxy.config()).await;
    stage.haproxy.restart().await;
    for command in [&["status", "-o", "json"][..], &["doctor"], &["config", "check", "--with-haproxy"]] {
        let ended = stage.drainswap(command).await.exits(0);
        impostor.was_left_alone(&command.join(" "));
        if command[0] == "status" {
            // HAProxy's real master reported its old workers.
            ended.prints(&["\"old_workers\":[]"]);
        }
    }
    // A given socket whose process is not HAProxy gets no command; drainswap only checks the process's identity.
    let socket = impostor.socket();
    let named = ["status", "--master-socket", socket.to_str().expect("a path in UTF-8")];
    stage
        .drainswap(&named)
        .await
        .exits(5)
        .says(&["uid 65534", "neither root, nor this user, nor the user of the HAProxy"]);
    impostor.was_left_alone("status --master-socket");
    stage.close().await;
}

/// Runs `config check` for a HAProxy.
async fn checked(dir: &Path, haproxy: &Haproxy) -> Ended {
    let mut command = tokio::process::Command::new(program());
    command.args(["config", "check", "--with-haproxy"]).env("NO_COLOR", "1");
    command.env("DRAINSWAP_HAPROXY_CONFIG", haproxy.config()).env("DRAINSWAP_HAPROXY", haproxy.binary());
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().expect("start drainswap")).await
}

/// Starts a HAProxy with additional lines in its `global` section.
async fn haproxy(dir: &Path, global: &str, processes: Processes) -> Haproxy {
    let socket = dir.join("admin.sock");
    let text = format!(
        "global\n    stats socket {} level admin\n{global}\
         defaults\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n\
         backend mobile\n    server app1 127.0.0.1:9\n",
        socket.display()
    );
    let config = dir.join("haproxy.cfg");
    fs::write(&config, text).expect("write haproxy.cfg");
    Haproxy::start(&binary(), dir, &config, processes).await
}

mod sweep {
    use super::*;

    /// Checks that drainswap finds the master for every way to start HAProxy, before and after a reload.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "sweep: HAProxy started in every way"]
    async fn the_process_behind_the_socket_is_found_in_every_mode() {
        for processes in [Processes::One, Processes::Workers, Processes::WorkersAndSocket] {
            for user in ["", "    user nobody\n", "    user nobody\n    chroot /\n"] {
                let dir = TempDir::with_prefix("drainswap-test-").expect("a temporary directory");
                let haproxy = haproxy(dir.path(), user, processes).await;
                let has_given_root_up = processes == Processes::One && !user.is_empty() && is_root();
                // The arguments of another user's process are not used.
                let found = if has_given_root_up {
                    "the files that were named, accepts".to_owned()
                } else {
                    format!("the running process {}, accepts", haproxy.process())
                };
                let ended = checked(dir.path(), &haproxy).await.exits(0);
                ended.prints(&[&found]);
                if processes != Processes::One {
                    haproxy.reload().await;
                    checked(dir.path(), &haproxy).await.exits(0).prints(&[&found]);
                }
            }
        }
    }
}
