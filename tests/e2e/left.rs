//! Server lines without a container, and servers that an operator has taken out of service.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::ends_with;
use crate::support::{Load, Mix, Stage, wait_until};
use crate::versions;

/// Starts a server that answers every request with an error page, and so fails every check.
async fn sorry_server(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("a free port");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _asked = client.read(&mut [0; 4096]).await;
                let answer = b"HTTP/1.1 503 Sorry\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _told = client.write_all(answer).await;
            });
        }
    });
}

/// Common lines without a container: a sorry server, a placeholder, and spare slots for later servers.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn servers_without_a_container_or_in_manual_maint_are_left_alone() {
    let stage = Stage::origin()
        .backend_line("server sorry {other} check backup")
        .backend_line("server slot 127.0.0.1:1 check disabled")
        .backend_line("server-template spare 1-2 spare.invalid:80 check resolvers nobody init-addr none")
        .extra("\nresolvers nobody\n    nameserver one 127.0.0.1:1\n")
        .start()
        .await;
    sorry_server(stage.other_frontend()).await;
    wait_until("HAProxy's check fails at the sorry server", Duration::from_secs(30), async || {
        stage.haproxy.status("sorry").await == "DOWN"
    })
    .await;
    stage.haproxy.set_state("app2", "maint").await;
    stage.drainswap(&["status", "mobile"]).await.exits(0).prints(&["spare slot", "none found"]);

    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    load.answered(100).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}\n{}", ended.stderr);
    ended.says(&[
        "done: 4 replaced, 4 left: mobile/sorry has no container; mobile/slot, mobile/spare1, mobile/spare2 are spare slots; mobile/app2 stays in maint",
    ]);
    assert_eq!(versions(&stage).await, ["v2"; 4]);
    let mut states = Vec::new();
    for server in ["app2", "slot", "spare1"] {
        states.push(stage.haproxy.status(server).await);
    }
    assert_eq!(states, ["MAINT", "MAINT", "MAINT (resolution)"]);
    assert_eq!(stage.containers().await.len(), 4, "none was created for a line without one");

    // The server is only enabled on request.
    let again = ["deploy", "mobile", "--image", &v2];
    stage.drainswap(&again).await.exits(0).says(&["nothing to do", "mobile/app2 stays in maint"]);
    assert_eq!(stage.haproxy.status("app2").await, "MAINT");
    let enabled = stage.drainswap(&[&again[..], &["--enable"]].concat()).await.exits(0);
    enabled.says(&["done: 1 put back, 4 left: "]);
    ends_with("v2", stage).await;
}
