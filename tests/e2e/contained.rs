//! HAProxy in a container: its files are read there, and nothing of this host that is called so.

use std::path::Path;

use crate::on_real_parts;
use crate::support::{Ended, Stage, finish};

/// The program on a stage, with no configuration that is named, and the socket if there is one.
async fn drainswap(stage: &Stage, socket: Option<&str>, arguments: &[&str]) -> Ended {
    let mut command = stage.command(arguments);
    command.env_remove("DRAINSWAP_HAPROXY_CONFIG").envs(socket.map(|it| ("DRAINSWAP_SOCKET", it)));
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    finish(command.spawn().expect("start drainswap")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_haproxy_in_a_container_is_read_there_and_never_written() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::single().start().await;
    let haproxy = stage.haproxy_in_a_container().await;
    let shown = |path: &Path| path.display().to_string();
    let (config, socket) = (shown(&haproxy.etc.join("haproxy.cfg")), shown(&haproxy.run.join("admin.sock")));
    // Another test may have a HAProxy in a container at the same time.
    let on_socket = Some(&*socket);
    let there = format!("{}/haproxy.cfg", haproxy.etc_inside);
    let runs_in = format!("HAProxy runs in container {}", haproxy.name);

    let there_is = format!("{runs_in}; reading its {there} there");
    drainswap(&stage, on_socket, &["config", "check"]).await.expect(0).says(&[&there_is]);
    drainswap(&stage, on_socket, &["drain", "mobile/app1", "--floor", "0"]).await.expect(0);
    drainswap(&stage, on_socket, &["status"])
        .await
        .expect(0)
        .prints(&["DRAIN", &stage.container_name("app1")]);
    assert_eq!(stage.haproxy.status("app1").await, "UP", "the HAProxy of this host");

    // Nothing is written or executed there, and where it can be done is said.
    let apply = ["config", "apply", "--from", &config];
    drainswap(&stage, on_socket, &apply)
        .await
        .expect(3)
        .says(&[&format!("{there} is {config} on this host")]);
    let check = ["config", "check", "--with-haproxy"];
    let advice = format!("docker exec {} haproxy -c -f {there}", haproxy.name);
    drainswap(&stage, on_socket, &check).await.expect(3).says(&[&advice]);
    let elsewhere =
        format!("{runs_in}: its socket {}/admin.sock is {socket} on this host", haproxy.run_inside);
    drainswap(&stage, None, &["-f", &config, "status"]).await.expect(3).says(&[&elsewhere]);

    // A link leads to the container's file of that name, and it has none.
    std::fs::remove_file(&config).expect("remove a file");
    std::os::unix::fs::symlink(stage.haproxy.config(), &config).expect("make a link");
    drainswap(&stage, on_socket, &["status"]).await.expect(3).says(&[
        &runs_in,
        &there,
        "drainswap cannot read",
    ]);
    stage.close().await;
}
