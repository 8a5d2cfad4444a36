//! Back to what ran before.

use crate::support::{Load, Mix, Stage};
use crate::{assert_in_service, on_real_parts, versions};

#[tokio::test(flavor = "multi_thread")]
async fn rollback_goes_back_a_deploy_at_a_time_and_loses_nothing() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().start().await;
    for version in ["v2", "v3"] {
        let image = stage.image(version, &[("VERSION", version)]).await;
        stage.drainswap(&["deploy", "mobile", "--image", &image]).await.expect(0);
    }
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(150).await;
    stage.drainswap(&["rollback", "mobile", "--dry-run"]).await.expect(0);
    assert_eq!(versions(&stage).await, ["v3", "v3"]);
    stage.drainswap(&["rollback", "mobile"]).await.expect(0);
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    stage.drainswap(&["rollback", "mobile"]).await.expect(0);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    load.answered(150).await;
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_in_service(&stage).await;
    stage
        .drainswap(&["rollback", "mobile"])
        .await
        .expect(4)
        .says(&["nothing to roll back on backend mobile"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_returns_to_a_version_whose_image_is_in_no_registry_any_more() {
    if !on_real_parts().await {
        return;
    }
    let mut stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.expect(0);
    stage.registry.kill();
    stage.drainswap(&["rollback", "mobile"]).await.expect(0);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    stage.close().await;
}
