//! Hooks: commands that run during a deploy.

use crate::assert_in_service;
use crate::snapshot;
use crate::support::{Ended, Load, Mix, Stage};
use crate::versions;

/// Deploys with the given hooks.
async fn deploy(stage: &Stage, image: &str, hooks: &str, flags: &[&str]) -> Ended {
    let file = stage.dir().join("drainswap.toml");
    std::fs::write(&file, format!("[hooks]\n{hooks}")).expect("write the settings");
    let settings = ["--settings", file.to_str().expect("UTF-8")];
    stage.drainswap(&[&["deploy", "mobile", "--image", image], &settings[..], flags].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn hooks_get_the_context_and_can_fail_or_skip() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let before = snapshot(&stage).await;
    // A failing before_run hook stops the run before any change. One that skips does the same without a failure.
    let failed = deploy(&stage, &v2, "before_run = 'echo no window today; exit 3'", &[]).await.exits(4);
    failed.says(&["| no window today", "the hook before_run exited with code 3"]);
    deploy(&stage, &v2, "before_run = 'exit 75'", &[]).await.exits(0).says(&["nothing was touched"]);
    let late = deploy(&stage, &v2, "before_run = 'sleep 1000'\ntimeout = '1s'", &[]).await.exits(4);
    late.says(&["before_run was killed"]);
    assert_eq!(snapshot(&stage).await, before);
    // A hook that fails for a later server rolls back the earlier ones.
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(50).await;
    let second = "before_drain = 'test $DRAINSWAP_SERVERS = mobile/app1'";
    deploy(&stage, &v2, second, &[]).await.exits(10).says(&["the hook before_drain exited with code 1"]);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    let after = "after_enable = 'exit 1'";
    deploy(&stage, &v2, after, &[]).await.exits(10).says(&["mobile/app1 is as it was"]);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    // The same applies to a hook before the new container gets traffic and one before the old container stops. There,
    // 75 is a failure.
    for hook in ["after_drain", "before_enable"] {
        let failing = format!("{hook} = 'exit 75'");
        let says = format!("the hook {hook} exited with code 75");
        deploy(&stage, &v2, &failing, &[]).await.exits(10).says(&[&says, "mobile/app1 is as it was"]);
        assert_eq!(versions(&stage).await, ["v1", "v1"]);
    }
    assert_in_service(&stage).await;
    skip_a_server(&stage, &v2).await;
    assert_in_service(&stage).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    stage.close().await;
}

/// Deploys with a hook that skips one server, which leaves the server and its container alone.
async fn skip_a_server(stage: &Stage, v2: &str) {
    let log = stage.dir().join("log");
    let tell = format!("echo $DRAINSWAP_HOOK $DRAINSWAP_SERVERS $DRAINSWAP_OUTCOME >> {}", log.display());
    let skip = format!(
        "before_drain = '{tell}; [ $DRAINSWAP_SERVERS = mobile/app1 ] || exit 75'\nafter_drain = '{tell}'\nbefore_enable = '{tell}'\nafter_enable = '{tell}'\nafter_run = '{tell}; exit 1'\nbefore_run = '{tell}'"
    );
    deploy(stage, v2, &skip, &[])
        .await
        .exits(0)
        .says(&["mobile/app1b left unchanged", "mobile/app1b skipped by a hook"]);
    assert_eq!(versions(stage).await, ["v2", "v1"]);
    let told = std::fs::read_to_string(&log).expect("the output of the hooks");
    let told: Vec<&str> = told.lines().map(str::trim).collect();
    assert_eq!(
        told,
        [
            "before_run mobile/app1 mobile/app1b",
            "before_drain mobile/app1",
            "after_drain mobile/app1",
            "before_enable mobile/app1",
            "after_enable mobile/app1",
            "before_drain mobile/app1b",
            "after_run mobile/app1 mobile/app1b deployed",
        ]
    );
}
