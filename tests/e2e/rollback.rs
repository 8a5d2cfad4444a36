//! Rollbacks to earlier versions.

use bollard::query_parameters::TagImageOptionsBuilder;

use crate::assert_in_service;
use crate::support::{Load, Mix, Stage};
use crate::versions;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn rollback_goes_back_one_deploy_at_a_time_without_a_lost_request() {
    let stage = Stage::pair().start().await;
    for version in ["v2", "v3"] {
        let image = stage.image(version, &[("VERSION", version)]).await;
        stage.drainswap(&["deploy", "mobile", "--image", &image]).await.exits(0);
    }
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(150).await;
    stage.drainswap(&["rollback", "mobile", "--dry-run"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v3", "v3"]);
    stage.drainswap(&["rollback", "mobile"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    let back = stage.container("app1").await.expect("it runs");
    assert_eq!(back.image, stage.reference("v2"), "by the name that was asked for");
    stage.drainswap(&["rollback", "mobile"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    load.answered(150).await;
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_in_service(&stage).await;
    stage.drainswap(&["rollback", "mobile"]).await.exits(4).says(&["nothing to roll back on backend mobile"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_tag_that_has_moved_to_another_image_stays_there() {
    let stage = Stage::single().start().await;
    let moved = stage.image("moved", &[("VERSION", "v2")]).await;
    let docker = stage.engine.docker();
    let (repository, tag) = moved.rsplit_once(':').expect("a tag");
    let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
    docker.tag_image(&stage.reference("v1"), Some(options)).await.expect("give v1 the name");
    let before = docker.inspect_image(&moved).await.expect("it has the name").id;
    stage.drainswap(&["deploy", "mobile", "--image", &moved, "--floor", "0"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v2"]);
    assert_eq!(docker.inspect_image(&moved).await.expect("it has the name still").id, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn rollback_returns_to_a_version_that_is_no_longer_in_a_registry() {
    let mut stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    stage.registry.kill();
    stage.drainswap(&["rollback", "mobile"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    stage.close().await;
}

/// Returns the kept containers by name and state, and the serving container of each server.
async fn kept(stage: &Stage) -> Vec<String> {
    let all = stage.containers().await.into_iter().filter(|it| it.name.contains(".old-"));
    let mut kept: Vec<String> =
        all.map(|it| format!("{} {}", it.name.rsplit_once('-').expect("a run").0, it.state)).collect();
    kept.sort();
    kept
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_last_containers_are_kept_and_restored_unchanged() {
    let mut stage = Stage::pair().start().await;
    let deploy = async |version: &str, boot: &str| {
        let image = stage.image(version, &[("VERSION", version), ("BOOT_MS", boot)]).await;
        stage.drainswap(&["deploy", "mobile", "--image", &image, "--keep", "1"]).await.exits(0);
    };
    deploy("v2", "3000").await;
    deploy("v3", "0").await;
    let names = ["app1", "app1b"].map(|server| stage.container_name(server));
    assert_eq!(kept(&stage).await, names.each_ref().map(|name| format!("{name}.old exited")));
    let of_v2 =
        stage.containers().await.into_iter().find(|it| it.name.starts_with(&format!("{}.old-", names[0])));
    stage
        .drainswap(&["history", "mobile"])
        .await
        .exits(0)
        .prints(&["its containers are kept", "its images are here"]);
    let doctor = stage.drainswap(&["doctor", "--keep", "1"]).await.exits(0);
    assert!(!doctor.stdout.contains(stage.id()), "{}", doctor.stdout);
    stage.registry.kill();
    // A container that does not answer in time is stopped and kept again.
    let late = ["rollback", "mobile", "--keep", "1", "--ready-timeout", "1500ms"];
    stage.drainswap(&late).await.exits(10);
    assert_eq!(versions(&stage).await, ["v3", "v3"]);
    assert_eq!(kept(&stage).await, names.each_ref().map(|name| format!("{name}.old exited")));
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(50).await;
    stage.drainswap(&["rollback", "mobile", "--keep", "1"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    let now = stage.container("app1").await.expect("a container");
    assert_eq!(Some(&now.id), of_v2.map(|it| it.id).as_ref(), "it is the same container");
    assert_eq!(stage.engine.restart_policy(&names[0]).await.as_deref(), Some("unless-stopped"));
    // The containers of v1 are removed, but its image still exists.
    stage
        .drainswap(&["rollback", "mobile", "--keep", "1", "--to", "nonsense"])
        .await
        .exits(4)
        .says(&["no record that backend mobile ran nonsense"]);
    stage.drainswap(&["rollback", "mobile", "--keep", "1"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    stage.drainswap(&["prune", "mobile", "--keep", "0", "--dry-run"]).await.exits(0).says(&["would remove"]);
    assert_eq!(kept(&stage).await.len(), 2);
    stage.drainswap(&["prune", "mobile", "--keep", "0"]).await.exits(0).says(&["removed the container"]);
    assert_in_service(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_only_copy_of_an_image_is_never_removed() {
    let stage = Stage::pair().start().await;
    let local = stage.local_image("local", &[("VERSION", "local")]).await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    for image in [&local, &v2] {
        stage.drainswap(&["deploy", "mobile", "--image", image]).await.exits(0);
    }
    let kept = format!("note: keeping the image {local}: ");
    for dry_run in [&["--dry-run"][..], &[]] {
        let pruned =
            stage.drainswap(&[&["prune", "mobile", "--keep", "0"][..], dry_run].concat()).await.exits(0);
        // The image of v1 is removed, because the registry has it.
        pruned.says(&[&kept, "the image ", &stage.reference("v1")]);
    }
    stage.drainswap(&["rollback", "mobile"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["local", "local"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn rollback_accepts_a_run_or_a_digest() {
    let stage = Stage::pair().start().await;
    let mut runs = Vec::new();
    for version in ["v2", "v3", "v4"] {
        let image = stage.image(version, &[("VERSION", version)]).await;
        let deploy = ["deploy", "mobile", "--image", &image, "-o", "json", "--keep", "2"];
        runs.push(
            stage.drainswap(&deploy).await.exits(0).events()[0]["run"].as_str().expect("a run").to_owned(),
        );
    }
    // The first image is unused; kept containers or a rollback need the others.
    let pruned = stage.drainswap(&["prune", "--keep", "2", "--dry-run"]).await.exits(0);
    let image = |tag: &str| format!("would remove the image {}", stage.reference(tag));
    let is_pruned = |tag: &str| pruned.stderr.contains(&image(tag));
    assert_eq!(["v1", "v2", "v3", "v4"].map(is_pruned), [true, false, false, false], "{}", pruned.stderr);
    let dry = ["rollback", "mobile", "--dry-run", "--to", &runs[0]];
    stage.drainswap(&dry).await.exits(0).prints(&["mobile:v2", "app1 again"]);
    stage.drainswap(&["rollback", "mobile", "--keep", "2", "--to", &runs[0]]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    // A rolled-back run is not a state to return to.
    stage.drainswap(&["rollback", "mobile", "--to", &runs[1]]).await.exits(4);
    let states = stage.drainswap(&["history", "mobile", "-o", "json"]).await.exits(0);
    let states: serde_json::Value = serde_json::from_str(&states.stdout).expect("an object");
    let states = states["states"].as_array().expect("a list").clone();
    assert_eq!(states.len(), 2, "{states:?}");
    assert_eq!(states[0]["run"], runs[0].as_str());
    let digest = states[1]["images"][0]["digest"].as_str().expect("a digest").to_owned();
    stage.drainswap(&["rollback", "mobile", "--to", &digest[..20]]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    stage.close().await;
}
