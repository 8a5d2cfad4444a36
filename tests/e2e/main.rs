//! End-to-end tests with real parts: HAProxy, Docker, a registry, and a load that notices every lost request.
//!
//! They are ignored unless they are asked for: `.ci/parts test` installs the parts and runs them. A missing part fails a
//! test. Those in a module `sweep` run in `make sweep` only.

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
mod session;
mod signals;
mod single_moves;
mod sites;
mod state_directory;
mod surge;
mod trust;
mod two_at_once;
mod versions;
mod volumes;

use std::collections::BTreeMap;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use support::{Stage, wait_until};

/// Returns the version that each server answers directly, without HAProxy.
async fn versions(stage: &Stage) -> Vec<String> {
    let mut versions = Vec::new();
    for server in stage.servers() {
        let answer = stage.get(server.name, "/").await.expect("the server answers");
        versions.push(answer.version.unwrap_or_default());
    }
    versions
}

/// Calls a function at each printed event of a deploy, and returns the whole output.
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

/// Ends a test: checks that every server is in service with the given version.
async fn ends_with(version: &str, stage: Stage) {
    assert_eq!(versions(&stage).await, vec![version; stage.servers().len()]);
    assert_in_service(&stage).await;
    stage.close().await;
}

/// Checks that HAProxy has every server in service and that no additional container exists.
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

/// Returns everything that a refused command must not change: the identity and state of each container, and the state
/// of each server.
async fn snapshot(stage: &Stage) -> BTreeMap<String, String> {
    let containers = stage.containers().await.into_iter();
    let mut all: BTreeMap<_, _> = containers.map(|it| (it.name, format!("{} {}", it.id, it.state))).collect();
    for server in stage.servers() {
        // `UP 1/3` is up: on a busy machine a check may come late.
        let status = stage.haproxy.status(server.name).await;
        let word = status.split(' ').next().unwrap_or_default();
        all.insert(server.name.to_owned(), word.to_owned());
    }
    all
}
