//! The time that drainswap itself keeps a server out of rotation, in addition to the unavoidable drain, the engine's
//! stop and start, and the application's boot. Reports medians, and ratios within one run, because machines differ and
//! are noisy.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

#[path = "../support/mod.rs"]
mod support;

use support::{Load, Mix, Stage};

/// The number of deploys, of four containers each.
const DEPLOYS: usize = 5;

#[tokio::main]
async fn main() {
    let stage = Stage::origin().start().await;
    let load = Load::start(stage.frontend(), Mix::full());
    load.answered(300).await;
    let mut lanes = Vec::new();
    for deploy in 0..DEPLOYS {
        let version = format!("v{}", deploy + 2);
        let image = stage.image(&version, &[("VERSION", &version), ("BOOT_MS", "500")]).await;
        let ended = stage.drainswap(&["deploy", "mobile", "--image", &image, "-o", "json"]).await.exits(0);
        let finished = |event: &serde_json::Value| event["event"] == "lane_finished";
        lanes.extend(ended.events().into_iter().filter(finished).map(|event| event["timing"].clone()));
    }
    let report = load.stop().await;
    let part = |name: &str| {
        sorted(lanes.iter().map(|timing| timing[name].as_u64().expect("milliseconds")).collect())
    };
    let whole = part("out_of_rotation_ms");
    let own = sorted(lanes.iter().map(own_ms).collect());
    println!(
        "{} servers out of rotation, median (worst) in ms; {} requests, {} failed",
        lanes.len(),
        report.total(),
        report.failed()
    );
    for (name, values) in [
        ("out of rotation", &whole),
        ("  drain", &part("drain_ms")),
        ("  engine", &part("engine_ms")),
        ("  boot", &part("boot_ms")),
        ("  drainswap itself", &own),
    ] {
        println!("{name:<20} {:>6} ({})", median(values), values.last().expect("a lane"));
    }
    let percent = 100 * median(&own) / median(&whole).max(1);
    println!("drainswap's share of the total: {percent} %; the goal is a median under 60 ms");
    idle_drains(&stage).await;
    stage.close().await;
}

/// Measures the time of a drain without requests in flight.
async fn idle_drains(stage: &Stage) {
    let mut drains = Vec::new();
    for deploy in 0..DEPLOYS {
        let version = format!("v{}", deploy + 2 + DEPLOYS);
        let image = stage.image(&version, &[("VERSION", &version)]).await;
        let ended = stage.drainswap(&["deploy", "mobile", "--image", &image, "-o", "json"]).await.exits(0);
        let drained = ended.events().into_iter().filter(|event| event["event"] == "drained");
        drains.extend(drained.map(|event| event["took_ms"].as_u64().expect("milliseconds")));
    }
    let drains = sorted(drains);
    println!(
        "a drain with nothing in flight: {} ({}) ms; the goal is a median under 120 ms",
        median(&drains),
        drains.last().expect("a drain")
    );
}

fn own_ms(timing: &serde_json::Value) -> u64 {
    let part = |name: &str| timing[name].as_u64().expect("milliseconds");
    part("out_of_rotation_ms").saturating_sub(part("drain_ms") + part("engine_ms") + part("boot_ms"))
}

fn sorted(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    values
}

fn median(sorted: &[u64]) -> u64 {
    sorted[sorted.len() / 2]
}
