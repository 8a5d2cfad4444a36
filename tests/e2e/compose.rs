//! Containers of a Compose project: the effect of its own commands after a deploy.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::assert_in_service;
use crate::support::{Engine, LABEL, Load, Mix, Stage, wait_until};
use crate::versions;

/// Replaces the stage's containers by those of a Compose project with the image v1.
async fn project() -> Stage {
    let stage = Stage::pair().start().await;
    let services = stage.servers().iter().map(|server| {
        format!(
            "  {name}:\n    image: {image}\n    container_name: {container}\n    network_mode: bridge\n    restart: unless-stopped\n    ports: [\"{address}:8080\"]\n    environment: [NAME={name}]\n    labels: {{{LABEL}: {stage}}}\n",
            name = server.name,
            image = stage.reference("v1"),
            container = stage.container_name(server.name),
            address = server.address,
            stage = stage.id(),
        )
    });
    let text: String = std::iter::once("version: \"2.4\"\nservices:\n".to_owned()).chain(services).collect();
    std::fs::write(stage.dir().join("compose.yaml"), text).expect("write compose.yaml");
    for server in stage.servers() {
        stage.remove(server.name).await;
    }
    up(&stage).await;
    for server in stage.servers() {
        stage.until_healthy(server.name).await;
        wait_until("HAProxy reports it up", Duration::from_secs(20), async || {
            stage.haproxy.status(server.name).await.starts_with("UP")
        })
        .await;
    }
    stage
}

async fn up(stage: &Stage) {
    let file = stage.dir().join("compose.yaml");
    let mut command = Command::new("docker-compose");
    command.env("DOCKER_HOST", Engine::endpoint()).stdin(Stdio::null()).args(["-p", stage.id(), "-f"]);
    let done = command.arg(file).args(["up", "-d"]).output().await.expect("run docker-compose");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Returns the name and identifier of every container of the stage.
async fn all(stage: &Stage) -> Vec<(String, String)> {
    let all = stage.containers().await.into_iter().map(|it| (it.name, it.id));
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn compose_up_keeps_deployed_containers_and_a_rollback_needs_only_the_image() {
    let mut stage = project().await;
    let load = Load::start(stage.frontend(), Mix::default());
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let kept = ["app1", "app1b"].map(|server| format!("drainswap/mobile:{server}-previous"));
    stage
        .drainswap(&["deploy", "mobile", "--image", &v2, "--keep", "1"])
        .await
        .exits(0)
        .says(&["belong to the Compose project"]);
    let deployed = all(&stage).await;
    assert_eq!(deployed.len(), 2, "none is put aside: {deployed:?}");
    up(&stage).await;
    assert_eq!(all(&stage).await, deployed, "up has touched them");
    assert_eq!(versions(&stage).await, ["v2", "v2"]);

    stage.registry.kill();
    for name in &kept {
        stage.engine.docker().inspect_image(name).await.expect("the previous image has a name");
    }
    let rollback = stage.drainswap(&["rollback", "mobile", "--keep", "1", "-o", "json"]).await.exits(0);
    let run = rollback.events()[0]["run"].as_str().expect("a run").to_owned();
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    load.answered(50).await;
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}");
    assert_in_service(&stage).await;

    stage.drainswap(&["prune", "mobile"]).await.exits(0).says(&[&kept[0], &kept[1]]);
    for name in &kept {
        assert!(stage.engine.docker().inspect_image(name).await.is_err(), "{name} is still there");
    }
    // A run that ended earlier leaves the container itself.
    let left = format!("{}.old-{run}", stage.container_name("app1"));
    let label = format!("com.docker.compose.project={}", stage.id());
    let mut create = Command::new("docker");
    create.env("DOCKER_HOST", Engine::endpoint()).args(["create", "--name", &left, "--label", &label]);
    let made = create.arg(stage.reference("v1")).output().await.expect("run docker");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    stage.drainswap(&["doctor", "--fix", "--keep", "1"]).await.exits(0).says(&["; removed it"]);
    assert!(all(&stage).await.iter().all(|(name, _)| *name != left));
    stage.engine.docker().inspect_image(&kept[0]).await.expect("a rollback needs it");
    stage.drainswap(&["prune", "mobile"]).await.exits(0).says(&[&kept[0]]);
    stage.close().await;
}
