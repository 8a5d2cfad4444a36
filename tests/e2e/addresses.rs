//! Proof that a container is behind its server: its address stops answering with it, and its successor gets the
//! address.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use crate::support::{Application, Stage, get, wait_until};

/// Starts a stage with an additional backend, whose server `one` has the other frontend's address until a test sets it.
/// Also returns the backend's name, which must be unique because labels are read on the whole engine.
async fn stage_with_web() -> (Stage, String) {
    let backend = format!("web-{:x}", RandomState::new().hash_one(0));
    let extra = format!("\nbackend {backend}\n    server one {{other}} check inter 200ms\n");
    (Stage::single().extra(&extra).start().await, backend)
}

/// Runs a container `web` with image v1 and the given settings, and returns its name.
async fn run_web(stage: &Stage, body: ContainerCreateBody) -> String {
    let name = format!("{}-web", stage.id());
    let body = ContainerCreateBody { image: Some(stage.reference("v1")), ..body };
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let docker = stage.engine.docker();
    docker.create_container(Some(options), body).await.expect("create a container");
    docker.start_container(&name, None).await.expect("start a container");
    name
}

/// Runs a container `web` that publishes a port chosen by Docker (`-p 127.0.0.1::8080`), and sends the traffic of the
/// server `one` there. Returns the container's name and address.
async fn serve_web(stage: &Stage, backend: &str) -> (String, SocketAddr) {
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: None };
    let host = HostConfig {
        port_bindings: Some(HashMap::from([("8080/tcp".to_owned(), Some(vec![binding]))])),
        ..HostConfig::default()
    };
    let body = ContainerCreateBody { host_config: Some(host), ..ContainerCreateBody::default() };
    let web = run_web(stage, body).await;
    let address = published(stage, &web).await;
    let set = format!("set server {backend}/one addr 127.0.0.1 port {}", address.port());
    stage.haproxy.command(&set).await;
    until_up(stage, backend).await;
    (web, address)
}

/// Returns the published address of a container.
async fn published(stage: &Stage, name: &str) -> SocketAddr {
    let found = stage.engine.docker().inspect_container(name, None).await.expect("inspect a container");
    let ports = found.network_settings.and_then(|it| it.ports).expect("ports");
    let binding = ports["8080/tcp"].as_ref().expect("it is published")[0].clone();
    let port = binding.host_port.expect("a port").parse().expect("a number");
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()
}

async fn is_up(stage: &Stage, backend: &str) -> bool {
    let states = stage.haproxy.command("show stat").await;
    let row = format!("{backend},one,");
    states.lines().any(|line| line.starts_with(&row) && line.contains(",UP,"))
}

async fn until_up(stage: &Stage, backend: &str) {
    wait_until("HAProxy reports it up", Duration::from_secs(10), async || is_up(stage, backend).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_container_at_whose_address_another_process_answers_is_not_replaced() {
    let (stage, backend) = stage_with_web().await;
    let SocketAddr::V4(address) = stage.other_frontend() else { unreachable!("the stage has IPv4") };
    // The other process answers more slowly than drainswap waits for a container that has just stopped.
    let _api = Application::start_slow("api", address, Duration::from_millis(400)).await;
    let labels = [("drainswap.server".to_owned(), format!("{backend}/one"))].into();
    let body = ContainerCreateBody { labels: Some(labels), ..ContainerCreateBody::default() };
    let web = run_web(&stage, body).await;
    let before = stage.engine.container(&web).await.expect("it runs");
    until_up(&stage, &backend).await;

    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let deploy = ["deploy", &backend, "--image", &v2, "--floor", "0"];
    let answers =
        format!("{address} of {backend}/one still answers although {web} is stopped: another process");
    stage.drainswap(&deploy).await.exits(10).says(&[&answers, "silence_check = false", "rolled back"]);
    let after = stage.engine.container(&web).await.expect("it is there");
    assert_eq!((after.id, after.state.as_str()), (before.id, "running"));
    until_up(&stage, &backend).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_port_chosen_by_docker_is_kept_and_restored() {
    let (stage, backend) = stage_with_web().await;
    let (web, address) = serve_web(&stage, &backend).await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    stage.drainswap(&["deploy", &backend, "--image", &v2, "--floor", "0"]).await.exits(0);
    assert_eq!(published(&stage, &web).await, address);
    stage.drainswap(&["rollback", &backend, "--floor", "0"]).await.exits(0);
    assert_eq!(published(&stage, &web).await, address);

    // A stopped old container would come back with another port.
    stage.engine.remove(&web).await.expect("remove a container");
    let (web, address) = serve_web(&stage, &backend).await;
    let broken = stage.image("broken", &[("FAIL", "exit")]).await;
    let ended = stage.drainswap(&["deploy", &backend, "--image", &broken, "--floor", "0"]).await.exits(10);
    ended.says(&["A copy that requests the old port replaces it", "rolled back"]);
    assert_eq!(published(&stage, &web).await, address);
    let answer = get(address, "/").await.expect("the old version answers");
    assert_eq!(answer.version.as_deref(), Some("v1"));
    until_up(&stage, &backend).await;
    stage.close().await;
}
