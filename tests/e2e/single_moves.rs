//! drain, maint, ready by hand; and what status shows of it.

use std::time::Duration;

use crate::on_real_parts;
use crate::support::{Stage, finish, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_moves_a_server_and_waits_for_its_sessions() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().start().await;
    let stream = stage.open_stream(60).await;
    let drain = stage.spawn(&["drain", "mobile/app1", "--wait"]);
    wait_until("it drains", Duration::from_secs(10), async || stage.haproxy.status("app1").await == "DRAIN")
        .await;
    let late = stage.drainswap(&["status", "mobile"]).await.expect(0);
    let row = late.stdout.lines().find(|line| line.contains("mobile/app1 ")).expect("a row").to_owned();
    assert!(row.contains("DRAIN") && row.contains("mobile:v1") && row.ends_with("ready"), "{row}");
    drop(stream);
    finish(drain).await.expect(0).says(&["mobile/app1 has no session left"]);
    stage.drainswap(&["maint", "mobile/app1"]).await.expect(0);
    assert_eq!(stage.haproxy.status("app1").await, "MAINT");
    // Nobody is sent to a server that does not answer.
    stage.remove("app1").await;
    let ready = ["ready", "mobile/app1", "--wait", "--drain-timeout", "500ms"];
    stage.drainswap(&ready).await.expect(11).says(&["mobile/app1 did not answer: ", "It stays in maint"]);
    assert_eq!(stage.haproxy.status("app1").await, "MAINT");
    stage.run("app1", &stage.reference("v1")).await;
    stage.drainswap(&["ready", "mobile/app1", "--wait"]).await.expect(0).says(&["mobile/app1 is up"]);
    assert!(stage.haproxy.status("app1").await.starts_with("UP"));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_takes_too_long_says_what_is_left() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().start().await;
    let stream = stage.open_stream(60).await;
    let drain =
        stage.drainswap(&["drain", "mobile/app1", "--wait", "--drain-timeout", "500ms"]).await.expect(11);
    drain.says(&["mobile/app1 still had 1 session", "--drain-timeout", "It stays in drain"]);
    drop(stream);
    stage.close().await;
}
