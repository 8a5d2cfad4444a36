//! Deploys that must not lose a request, with different applications and initial states.

use std::time::Duration;

use crate::assert_in_service;
use crate::support::{Builder, Ended, Load, Mix, Report, Stage, wait_until};
use crate::versions;

/// Deploys a v2 with an environment under load. Fails unless no request is lost and all servers run v2 and are in
/// service.
async fn deploy(stage: &Stage, mix: Mix, environment: &[(&str, &str)]) -> (Report, Ended) {
    let mut v2 = vec![("VERSION", "v2")];
    v2.extend(environment);
    let image = stage.image("v2", &v2).await;
    let load = Load::start(stage.frontend(), mix);
    load.answered(100).await;
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &image]).await.exits(0);
    load.answered(100).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}\n{}", ended.stderr);
    assert_eq!(report.client_retries(), 0, "{report}\n{}", ended.stderr);
    assert!(report.by_version().contains_key("v2"), "v2 served no request: {report}");
    assert!(versions(stage).await.iter().all(|version| version == "v2"));
    assert_in_service(stage).await;
    (report, ended)
}

/// Starts a stage, deploys under a load, and removes the stage.
async fn story(stage: Builder, mix: Mix, environment: &[(&str, &str)]) {
    let stage = stage.start().await;
    deploy(&stage, mix, environment).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn four_polite_containers_are_replaced_without_a_lost_request() {
    // The checks that HAProxy makes unless it is told otherwise.
    let stage = Stage::origin().default_server("inter 2s fall 3 rise 2");
    story(stage, Mix::full(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn four_rude_containers_are_replaced_without_a_lost_request() {
    story(Stage::origin().env("TERM_KIND", "rude"), Mix::default(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn one_primary_and_one_backup_are_enough() {
    story(Stage::pair(), Mix::default(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_application_may_boot_slowly() {
    story(Stage::origin(), Mix::default(), &[("BOOT_MS", "2500")]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_application_may_bind_its_port_only_when_booted() {
    story(Stage::origin(), Mix::default(), &[("BOOT_MS", "1500"), ("BOOT_KIND", "bind")]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn without_an_http_check_any_answer_but_503_proves_the_new_container() {
    story(Stage::origin().connect_checks(), Mix::default(), &[("BOOT_MS", "1500")]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn open_streams_end_whole() {
    let stage = Stage::origin().start().await;
    let (report, _) = deploy(&stage, Mix::default().with_streams(Duration::from_millis(500), 3), &[]).await;
    let (whole, cut) = report.streams();
    assert!(whole > 5 && cut == 0, "{report}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_broken_deploy_of_another_tool_is_repaired() {
    let stage = Stage::origin().start().await;
    stage.remove("app1").await;
    wait_until("HAProxy notices", Duration::from_secs(30), async || {
        stage.haproxy.status("app1").await == "DOWN"
    })
    .await;
    let (_, ended) = deploy(&stage, Mix::default(), &[]).await;
    ended.says(&["its container is gone"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_broken_backup_is_replaced_before_the_primary_leaves() {
    // docker-proxy passes a layer-4 check for an application that answers every request with 503.
    let stage = Stage::pair().connect_checks().start().await;
    let broken = stage.image("never-ready", &[("FAIL", "never-ready")]).await;
    stage.remove("app1b").await;
    stage.engine.pull(&broken).await;
    stage.run("app1b", &broken).await;
    wait_until("HAProxy has the backup up", Duration::from_secs(20), async || {
        stage.haproxy.status("app1b").await.starts_with("UP") && stage.get("app1b", "/").await.is_ok()
    })
    .await;
    let (_, ended) = deploy(&stage, Mix::default(), &[]).await;
    ended.says(&["[1/2] mobile/app1b", "[2/2] mobile/app1"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_container_behind_two_backends_is_drained_in_both() {
    let other = "\nbackend other\n    option httpchk GET /health\n    server one {app1} check\n    server two {app2} check\n";
    let stage = Stage::origin().extra(other).start().await;
    let (_, ended) = deploy(&stage, Mix::default(), &[]).await;
    ended.says(&["mobile/app1, other/one", "mobile/app2, other/two"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_deploy_of_the_running_image_does_nothing() {
    let stage = Stage::pair().start().await;
    let before = crate::snapshot(&stage).await;
    let v1 = stage.reference("v1");
    stage.drainswap(&["deploy", "mobile", "--image", &v1]).await.exits(0).says(&["nothing to do"]);
    stage.drainswap(&["plan", "mobile", "--image", &v1, "--exit-code"]).await.exits(0);
    assert_eq!(crate::snapshot(&stage).await, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn every_event_is_one_json_object_and_the_last_is_the_outcome() {
    let stage = Stage::pair().start().await;
    let image = stage.image("v2", &[("VERSION", "v2")]).await;
    let plan =
        stage.drainswap(&["plan", "mobile", "--image", &image, "-o", "json", "--exit-code"]).await.exits(20);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).expect("one object");
    assert_eq!(plan["lanes"].as_array().map(Vec::len), Some(2));
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &image, "-o", "json"]).await.exits(0);
    let events = ended.events();
    let form = stage.drainswap(&["schema", "event"]).await.exits(0).stdout;
    let form: serde_json::Value = serde_json::from_str(&form).expect("a schema");
    let id = form["$id"].as_str().expect("its name").to_owned();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource(&id, form).expect("a schema");
    let form = compiler.compile(&id, &mut schemas).expect("a schema");
    for event in &events {
        let objection = schemas.validate(event, form).err().map(|error| format!("{error:#}\nin {event:#}"));
        assert_eq!(objection, None, "an event has its form");
    }
    assert!(
        events
            .iter()
            .all(|event| event["version"] == 2 && event["at"].is_string() && event["run"].is_string())
    );
    let last = events.last().expect("an outcome");
    assert_eq!((&last["event"], &last["outcome"]), (&"run_ended".into(), &"deployed".into()));
    let kinds: Vec<_> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    for kind in
        ["pulled", "created", "drained", "container_kept", "became_ready", "confirmed", "lane_finished"]
    {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
    stage.close().await;
}
