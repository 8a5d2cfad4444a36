//! Two drainswaps at once, on backends that share containers.

use crate::support::{Load, Mix, Stage, finish};
use crate::{assert_in_service, ends_with, on_real_parts, versions};

/// A second backend on the containers of the first.
const TABLET: &str = "\nbackend tablet\n    option httpchk GET /health\n    server one {app1} check\n    \
                      server two {app1b} check backup\n";

#[tokio::test(flavor = "multi_thread")]
async fn backends_that_share_containers_are_deployed_one_after_the_other() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().extra(TABLET).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "1500")]).await;
    let (v1, wait) = (stage.reference("v1"), ["--lock-wait", "2m"]);
    let load = Load::start(stage.frontend(), Mix { rate: 100, slow_one_in: 0, ..Mix::default() });
    load.answered(100).await;
    for (first, second) in [("mobile", "tablet"), ("tablet", "mobile")] {
        let under_way = stage.spawn(&["deploy", first, "--image", &v2]);
        stage.until_started("app1", &v2).await;
        let busy = "another drainswap works on";
        stage.drainswap(&["deploy", second, "--image", &v1]).await.expect(6).says(&[busy]);
        let waited =
            stage.drainswap(&[&["deploy", second, "--image", &v1][..], &wait].concat()).await.expect(0);
        waited.says(&["waiting 120 s at most", busy]);
        finish(under_way).await.expect(0);
        assert_eq!(versions(&stage).await, ["v1"; 2], "{first}, then {second}");
    }
    // Begun at the same moment, each with its own backend first: nobody waits for who waits for him.
    for _ in 0..3 {
        let both = ["mobile", "tablet"].map(|backend| {
            stage.spawn(
                &[&["deploy", backend, "--image", if backend == "mobile" { &v2 } else { &v1 }][..], &wait]
                    .concat(),
            )
        });
        for run in both {
            finish(run).await.expect(0);
        }
        let now = versions(&stage).await;
        assert_eq!(now[0], now[1], "half of one and half of the other");
        assert_in_service(&stage).await;
    }
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_killed_on_a_backend_is_resumed_before_another_shares_its_containers() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().extra(TABLET).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "2000")]).await;
    let mut killed = stage.spawn(&["deploy", "tablet", "--image", &v2]);
    stage.until_started("app1", &v2).await;
    killed.kill().await.expect("kill drainswap");
    let refused = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.expect(6);
    refused.says(&["on backend tablet was not finished", "`drainswap resume tablet`"]);
    stage.drainswap(&["resume"]).await.expect(0);
    ends_with("v2", stage).await;
}
