//! Promotion of a digest from staging to production.

use std::path::PathBuf;

use crate::ends_with;
use crate::snapshot;
use crate::support::{Engine, Stage};
use crate::versions;

/// Writes the settings file of a stage.
fn settings(stage: &Stage) -> PathBuf {
    let file = stage.dir().join("drainswap.toml");
    let text = format!(
        "haproxy_config = \"{}\"\nstate_dir = \"{}/state\"\ndocker = \"{}\"\n",
        stage.haproxy.config().display(),
        stage.dir().display(),
        Engine::endpoint()
    );
    std::fs::write(&file, text).expect("write the settings");
    file
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_promotion_deploys_the_digest_that_runs_in_staging() {
    let (staging, production) = (Stage::pair().start().await, Stage::pair().start().await);
    let files = [settings(&staging), settings(&production)].map(|file| file.display().to_string());
    let promote = ["promote", "mobile", "--from", &files[0], "--to", &files[1], "--keep", "0"];
    let v2 = staging.image("v2", &[("VERSION", "v2")]).await;
    let before = snapshot(&production).await;
    // Only half of staging runs the image, so nothing happens.
    let flags = ["--image", &v2, "--on-failure", "stop", "--ready-timeout", "2s"];
    staging.haproxy.set_state("app1b", "maint").await;
    staging.drainswap(&promote).await.exits(4).says(&["mobile/app1b does not serve there"]);
    staging.haproxy.set_state("app1b", "ready").await;
    let bad = staging.image("bad", &[("FAIL", "exit")]).await;
    staging.drainswap(&["deploy", "mobile", "--image", &bad]).await.exits(10);
    staging.drainswap(&promote).await.exits(4).says(&["the last run there did not succeed"]);
    staging.drainswap(&[&["deploy", "mobile"], &flags[..]].concat()).await.exits(0);
    assert_eq!(snapshot(&production).await, before);
    // The tag moves afterwards, but staging still runs the old digest.
    staging.image("v2", &[("VERSION", "moved")]).await;
    let dry = staging.drainswap(&[&promote[..], &["--dry-run"]].concat()).await.exits(0);
    dry.prints(&["mobile/app1", "mobile:v2"]);
    assert_eq!(versions(&production).await, ["v1", "v1"]);
    staging
        .drainswap(&promote)
        .await
        .exits(0)
        .says(&["every server of mobile there runs ", "every one is in service"]);
    assert_eq!(versions(&production).await, ["v2", "v2"]);
    staging.drainswap(&promote).await.exits(0).says(&["nothing to do"]);
    ends_with("v2", production).await;
    staging.close().await;
}
