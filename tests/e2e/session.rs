//! What a command reads, and when.

use std::fs;
use std::time::Duration;

use crate::support::{Reads, Stage, finish, wait_until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn haproxy_cfg_is_read_once_and_again_after_a_wait_for_a_lock() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "1500")]).await;
    let v1 = stage.reference("v1");
    let reads = Reads::of(stage.haproxy.config());
    let file = stage.dir().join("plan.json").display().to_string();
    let commands = [
        &["status"][..],
        &["plan", "mobile", "--image", &v2],
        &["plan", "mobile", "--image", &v2, "--save", &file],
        &["deploy", "--plan", &file],
        &["rollback", "mobile"],
        &["deploy", "mobile", "--image", &v1],
        &["history", "mobile"],
        &["drain", "app1b", "--dry-run"],
        &["doctor"],
        &["prune", "--dry-run"],
        &["config", "check"],
        &["config", "show"],
    ];
    for command in commands {
        stage.drainswap(command).await.exits(0);
        assert_eq!(reads.count(), 1, "{command:?}");
    }

    let first = stage.spawn(&["deploy", "mobile", "--image", &v2]);
    stage.until_started("app1", &v2).await;
    let second = stage.spawn(&["deploy", "mobile", "--image", &v1, "--lock-wait", "1m"]);
    let mut count = 0;
    wait_until("the second deploy has read haproxy.cfg", Duration::from_secs(30), async || {
        count += reads.count();
        count == 2
    })
    .await;
    let config = fs::read_to_string(stage.haproxy.config()).expect("read haproxy.cfg");
    fs::write(stage.haproxy.config(), config + "\nbackend other\n    balanse roundrobin\n")
        .expect("write haproxy.cfg");
    finish(first).await.exits(0);
    // The plan of the second deploy comes from the new file, not from the one before the wait.
    finish(second).await.exits(3).says(&["waiting up to 60 s", "balanse"]);
    stage.close().await;
}
