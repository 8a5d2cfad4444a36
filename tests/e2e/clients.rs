//! Different kinds of clients, and different ways in which haproxy.cfg refers to a container.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::ends_with;
use crate::support::{Connection, Load, Mix, Processes, Stage, finish, wait_until};
use crate::versions;

/// Server lines for the containers of the pair: in a listen section, from a template, with unusual names, and with
/// `track`.
const OTHERS: &str = "
listen other
    bind {other}
    option httpchk GET /health
    http-reuse always
    server a.b:c-1 {app1} check
    server-template tpl_ 2 {app1b} check backup

backend following
    server follows {app1} track mobile/app1
    server own {app1b} check
";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_container_leaves_by_every_line_that_reaches_it() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).extra(OTHERS).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "300")]).await;
    let mix = || Mix { rate: 100, ..Mix::default() };
    let loads = [Load::start(stage.frontend(), mix()), Load::start(stage.other_frontend(), mix())];
    for load in &loads {
        load.answered(50).await;
    }
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    for load in loads {
        load.answered(50).await;
        let report = load.stop().await;
        assert_eq!(report.failed(), 0, "{report}\n{}", ended.stderr);
    }
    ended.says(&[
        "mobile/app1, other/a.b:c-1, following/follows",
        "mobile/app1b, other/tpl_1, other/tpl_2, following/own",
    ]);
    ends_with("v2", stage).await;
}

/// Requests a stream over HTTP/2 and returns whether it was complete.
async fn http2_stream(frontend: SocketAddr, seconds: u64) -> bool {
    let tcp = TcpStream::connect(frontend).await.expect("connect");
    let (mut client, connection) = h2::client::handshake(tcp).await.expect("HTTP/2");
    let driver = tokio::spawn(connection);
    let uri = format!("http://stage/stream?s={seconds}");
    let request = http::Request::get(uri).body(()).expect("a request");
    let (answer, _) = client.send_request(request, true).expect("send");
    let Ok(answer) = answer.await else { return false };
    let mut body = answer.into_body();
    let mut ticks = 0;
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return false };
        ticks += data.len() / 5;
        let _closed = body.flow_control().release_capacity(data.len());
    }
    driver.abort();
    ticks as u64 == seconds * 10
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn websockets_and_http2_streams_end_whole() {
    let extra = "\nfrontend second\n    bind {other} proto h2\n    default_backend mobile\n";
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).extra(extra).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let mut websocket = Connection::websocket(stage.frontend()).await;
    let stream = tokio::spawn(http2_stream(stage.other_frontend(), 5));
    wait_until("both are in flight", Duration::from_secs(10), async || {
        stage.haproxy.stat("app1").await["scur"] == "2"
    })
    .await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    assert!(stream.await.expect("a task"), "the HTTP/2 stream was cut");
    // The websocket holds app1 until its client closes it.
    wait_until("only the websocket is left", Duration::from_secs(10), async || {
        stage.haproxy.stat("app1").await["scur"] == "1"
    })
    .await;
    assert!(websocket.echoes().await, "the websocket was cut");
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    drop(websocket);
    finish(deploy).await.exits(0);
    ends_with("v2", stage).await;
}
