//! That a container is behind its server is proved: its address falls silent with it, and its successor has that address.

use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use crate::on_real_parts;
use crate::support::{Application, Stage, get, wait_until};

/// Runs a container of this stage that looks like this; returns its name.
async fn run(stage: &Stage, name: &str, body: ContainerCreateBody) -> String {
    let name = format!("{}-{name}", stage.id());
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let docker = stage.engine.docker();
    docker.create_container(Some(options), body).await.expect("create a container");
    docker.start_container(&name, None).await.expect("start a container");
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_at_whose_address_another_process_answers_is_not_replaced() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::single().extra("\nbackend web\n    server one {other} check inter 200ms\n").start().await;
    let std::net::SocketAddr::V4(address) = stage.other_frontend() else { unreachable!("the stage has IPv4") };
    let _api = Application::start("api", address).await;
    let v1 = stage.reference("v1");
    let labels = [("drainswap.server".to_owned(), "web/one".to_owned())].into();
    let body =
        ContainerCreateBody { image: Some(v1.clone()), labels: Some(labels), ..ContainerCreateBody::default() };
    let web = run(&stage, "web", body).await;
    let before = stage.engine.container(&web).await.expect("it runs");
    let is_up = async || {
        let states = stage.haproxy.command("show stat").await;
        states.lines().any(|line| line.starts_with("web,one,") && line.contains(",UP,"))
    };
    wait_until("HAProxy has it up", Duration::from_secs(10), is_up).await;

    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let ended = stage.drainswap(&["deploy", "web", "--image", &v2, "--floor", "0"]).await.expect(10);
    ended.says(&[
        &format!("{address} of web/one still answers although {web} is stopped: another process answers there"),
        "silence_check = false",
        "rolled back",
    ]);
    let after = stage.engine.container(&web).await.expect("it is there");
    assert_eq!((after.id, after.state.as_str()), (before.id, "running"));
    assert!(is_up().await);

    // Where a relay is known to answer there, the container is replaced.
    let flags = ["deploy", "web", "--image", &v2, "--floor", "0", "--silence-check", "false"];
    stage.drainswap(&flags).await.expect(0);
    assert!(stage.engine.container(&web).await.expect("it is there").image.starts_with(&v2));
    assert!(get(address.into(), "/").await.is_ok());
    stage.close().await;
}
