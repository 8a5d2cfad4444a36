//! Replacement of twenty containers on two hosts with separate engines, under load. Measures the time before the first
//! drain relative to that of one engine for one container, the number of serving servers, and the memory.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark prints rough numbers")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use support::{Load, Mix, Stage, TlsEngine, wait_until};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() {
    let stage = Stage::fleet().start().await;
    let second = TlsEngine::start().await;
    let (v1, v2) = (stage.reference("v1"), stage.image("v2", &[("VERSION", "v2")]).await);
    move_half_to(&second, &stage).await;
    let settings = stage.dir().join("drainswap.toml");
    let engines = format!("[engines]\n\"127.0.0.2\" = \"unix://{}\"\n", second.socket().display());
    std::fs::write(&settings, engines).expect("write the settings");
    // The time for a single container on each engine.
    let first_alone = time_of_a_create(&v1, local);
    let second_alone = time_of_a_create(&v1, |arguments| second.docker(arguments).expect("docker"));

    let load = Load::start(stage.frontend(), Mix::full());
    load.answered(300).await;
    let settings = settings.to_str().expect("UTF-8");
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "--settings", settings, "-o", "json"]);
    let (mut serving, mut memory, mut events) = (Vec::new(), 0, Vec::new());
    let mut said = BufReader::new(deploy.stdout.take().expect("a pipe")).lines();
    while let Some(line) = said.next_line().await.expect("events") {
        events.push(serde_json::from_str::<Value>(&line).expect("an event"));
        memory = memory.max(peak_kib(deploy.id()));
        let mut up = 0;
        for server in stage.servers() {
            up += usize::from(stage.haproxy.status(server.name).await.starts_with("UP"));
        }
        serving.push(up);
    }
    let ended = deploy.wait_with_output().await.expect("its end");
    let report = load.stop().await;
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let ms = |from: &str, to: &str| between(&events, from, to);
    let one_by_one = 10.0 * (first_alone + second_alone);
    let created = ms("pulled", "lane_started");
    println!("pull, on both engines: {:.0} ms", ms("pull_started", "pulled"));
    println!(
        "create 20 containers: {created:.0} ms; sequential `docker create`: {one_by_one:.0} ms; ratio {:.2}",
        created / one_by_one
    );
    println!("replace 20 containers: {:.1} s", ms("lane_started", "run_ended") / 1e3);
    println!(
        "servers in service at each of {} events: at least {} of 20; {} requests, {} failed; peak memory {:.1} MiB",
        serving.len(),
        serving.iter().min().expect("events"),
        report.total(),
        report.failed(),
        memory as f64 / 1024.0
    );
    drop(second);
    stage.close().await;
}

/// Runs the containers of one of the hosts on a second engine.
async fn move_half_to(second: &TlsEngine, stage: &Stage) {
    let v1 = stage.reference("v1");
    for server in stage.servers().iter().filter(|server| server.address.ip().octets()[3] == 2) {
        stage.remove(server.name).await;
        let (name, publish) = (stage.container_name(server.name), format!("{}:8080", server.address));
        let run = ["run", "-d", "--restart", "unless-stopped", "--name", &name, "-p", &publish, &v1];
        second.docker(&run).expect("docker run on the second daemon");
        stage.until_healthy(server.name).await;
    }
    for server in stage.servers() {
        wait_until("all are up", Duration::from_secs(30), async || {
            stage.haproxy.status(server.name).await.starts_with("UP")
        })
        .await;
    }
}

/// Returns the milliseconds that an engine takes to create a container: the median of five.
fn time_of_a_create(image: &str, docker: impl Fn(&[&str]) -> String) -> f64 {
    let times = (0..5).map(|_| {
        let begun = Instant::now();
        let id = docker(&["create", image]);
        let took = begun.elapsed().as_secs_f64() * 1e3;
        docker(&["rm", &id]);
        took
    });
    median(times.collect())
}

/// Returns the milliseconds from the first event of one kind to the first of another.
fn between(events: &[Value], from: &str, to: &str) -> f64 {
    let at = |kind: &str| {
        let event = events.iter().find(|event| event["event"] == kind).expect("such an event");
        event["at"].as_str().expect("a time").parse::<Timestamp>().expect("a time")
    };
    at(to).duration_since(at(from)).as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the peak memory of a process, or 0 after it has exited.
fn peak_kib(process: Option<u32>) -> u64 {
    let status = process.and_then(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok());
    let line = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:").map(str::to_owned))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    status.and_then(line).unwrap_or(0)
}

/// Runs the `docker` client with the default engine, and returns its output.
fn local(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("run docker");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
