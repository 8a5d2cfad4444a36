//! A deploy must not lose a request, whatever the application is like.

use crate::support::{Load, Mix, Need, Report, Stage, requirements};

/// Deploys `environment` as v2 under load and returns what the load saw.
async fn deploy_under_load(stage: &Stage, mix: Mix, environment: &[(&str, &str)]) -> Report {
    let mut v2 = vec![("VERSION", "v2")];
    v2.extend(environment);
    let image = stage.image("v2", &v2).await;
    let load = Load::start(stage.frontend(), mix);
    load.answered(300).await;
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &image]).await;
    eprintln!("{}{}", ended.stdout, ended.stderr);
    ended.expect(0);
    load.answered(300).await;
    let report = load.stop().await;
    eprintln!("{report}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn four_polite_containers_are_replaced_without_a_lost_request() {
    if !requirements(Need::ALL).await {
        return;
    }
    let stage = Stage::origin().start().await;
    let report = deploy_under_load(&stage, Mix::default(), &[]).await;
    assert_eq!(report.failed(), 0, "{report}");
    stage.close().await;
}
