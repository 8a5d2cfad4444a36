//! HAProxy in a container: drainswap reads its files in the container, and not files of the host with the same names.

use std::path::Path;

use crate::support::{Ended, Stage, finish};

/// Runs drainswap on a stage without a given configuration, and with a socket if there is one.
async fn drainswap(stage: &Stage, socket: Option<&str>, arguments: &[&str]) -> Ended {
    let mut command = stage.command(arguments);
    command.env_remove("DRAINSWAP_HAPROXY_CONFIG").envs(socket.map(|it| ("DRAINSWAP_SOCKET", it)));
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    finish(command.spawn().expect("start drainswap")).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_haproxy_in_a_container_is_read_there_and_never_written() {
    let stage = Stage::single().start().await;
    let haproxy = stage.haproxy_in_a_container().await;
    let shown = |path: &Path| path.display().to_string();
    let (config, socket) = (shown(&haproxy.etc.join("haproxy.cfg")), shown(&haproxy.run.join("admin.sock")));
    // Another test may run a HAProxy in a container at the same time.
    let on_socket = Some(&*socket);
    let there = format!("{}/haproxy.cfg", haproxy.etc_inside);
    let runs_in = format!("HAProxy runs in container {}", haproxy.name);

    let there_is = format!("{runs_in}; reading its {there} there");
    drainswap(&stage, on_socket, &["config", "check"]).await.exits(0).says(&[&there_is]);
    drainswap(&stage, on_socket, &["drain", "mobile/app1", "--floor", "0"]).await.exits(0);
    drainswap(&stage, on_socket, &["status"])
        .await
        .exits(0)
        .prints(&["DRAIN", &stage.container_name("app1")]);
    assert_eq!(stage.haproxy.status("app1").await, "UP", "the HAProxy of this host");

    // drainswap writes and executes nothing in the container, and says where to do it instead.
    let apply = ["config", "apply", "--from", &config];
    drainswap(&stage, on_socket, &apply).await.exits(3).says(&[&format!("{there} is {config} on this host")]);
    let check = ["config", "check", "--with-haproxy"];
    let advice = format!("docker exec {} haproxy -c -f {there}", haproxy.name);
    drainswap(&stage, on_socket, &check).await.exits(3).says(&[&advice]);
    let elsewhere =
        format!("{runs_in}: its socket {}/admin.sock is {socket} on this host", haproxy.run_inside);
    drainswap(&stage, None, &["-f", &config, "status"]).await.exits(3).says(&[&elsewhere]);

    // drainswap follows a link inside the container, which does not have this file.
    std::fs::remove_file(&config).expect("remove a file");
    std::os::unix::fs::symlink(stage.haproxy.config(), &config).expect("make a link");
    drainswap(&stage, on_socket, &["status"]).await.exits(3).says(&[
        &runs_in,
        &there,
        "drainswap cannot read",
    ]);
    stage.close().await;
}
