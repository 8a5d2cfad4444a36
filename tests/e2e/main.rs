//! Stories on real parts: HAProxy, Docker, a registry, and a load that sees every lost request.

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod agents;
mod ansible;
mod bad_engine;
mod bad_socket;
mod ci;
mod clients;
mod compose;
mod config_apply;
mod contained;
mod contract;
mod debian;
mod deploys;
mod described;
mod doctor;
mod drains;
mod engines;
mod events;
mod failures;
mod hooks;
mod identity;
mod init;
mod interrupted;
mod killed;
mod late_commands;
mod left;
mod load_balancers;
mod manual;
mod matching;
mod outages;
mod own_check;
mod pages;
mod plan_files;
mod podman;
mod promotion;
mod readme;
mod refusals;
mod registries;
mod reloads;
mod rollback;
mod round_trip;
mod secrets;
mod signals;
mod single_moves;
mod sites;
mod state_directory;
mod trust;
mod two_at_once;
mod versions;
mod volumes;

use std::collections::BTreeMap;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use support::{Need, Stage, requirements, wait_until};

/// Whether the story can be told here; says why not, or fails where it must be.
async fn on_real_parts() -> bool {
    requirements(Need::ALL).await
}

/// The image's version that each server answers with, asked past HAProxy.
async fn versions(stage: &Stage) -> Vec<String> {
    let mut versions = Vec::new();
    for server in stage.servers() {
        let answer = stage.get(server.name, "/").await.expect("the server answers");
        versions.push(answer.version.unwrap_or_default());
    }
    versions
}

/// Does something at each event of a deploy that prints them, and returns all that it printed.
async fn at_each_event(deploy: &mut Child, mut act: impl AsyncFnMut(String)) -> String {
    let mut events = BufReader::new(deploy.stdout.take().expect("a pipe")).lines();
    let mut said = String::new();
    while let Some(line) = events.next_line().await.expect("events") {
        let event: serde_json::Value = serde_json::from_str(&line).expect("an event");
        act(event["event"].as_str().expect("a name").to_owned()).await;
        said += &(line + "\n");
    }
    said
}

/// The end of a story: every server runs this version and is in service.
async fn ends_with(version: &str, stage: Stage) {
    assert_eq!(versions(&stage).await, vec![version; stage.servers().len()]);
    assert_in_service(&stage).await;
    stage.close().await;
}

/// Fails unless HAProxy has every server in service, and no container is left over.
async fn assert_in_service(stage: &Stage) {
    for server in stage.servers() {
        wait_until(&format!("{} is up", server.name), std::time::Duration::from_secs(10), async || {
            stage.haproxy.status(server.name).await.starts_with("UP")
        })
        .await;
    }
    let names: Vec<String> = stage.containers().await.into_iter().map(|container| container.name).collect();
    let mut expected: Vec<String> =
        stage.servers().iter().map(|server| stage.container_name(server.name)).collect();
    expected.sort();
    assert_eq!(names, expected, "containers");
    for name in names {
        let policy = stage.engine.restart_policy(&name).await;
        assert_eq!(policy.as_deref(), Some("unless-stopped"), "restart policy of {name}");
    }
}

/// Everything that a refused command must leave as it was: each container's identity and state, each
/// server's state.
async fn snapshot(stage: &Stage) -> BTreeMap<String, String> {
    let containers = stage.containers().await.into_iter();
    let mut all: BTreeMap<_, _> = containers.map(|it| (it.name, format!("{} {}", it.id, it.state))).collect();
    for server in stage.servers() {
        let status = stage.haproxy.status(server.name).await;
        all.insert(server.name.to_owned(), status);
    }
    all
}
