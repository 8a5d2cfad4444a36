//! The time that drainswap itself needs if one container is behind a thousand server lines: for a plan, for a deploy
//! of two containers without their stop, start and boot, and for single moves. The same with one line shows the cost
//! of the lines. After each container, a deploy waits one second for a first request, which no client sends here.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::time::Instant;

use support::{Ended, Stage};

/// The number of additional lines for the container of `app1`.
const LINES: usize = 1_000;

#[tokio::main]
async fn main() {
    let one = measure("1 line", "").await;
    // All lines in one backend, and each line in a separate backend.
    let mut together = "\nbackend many\n    option httpchk GET /health\n    server other {app2}\n".to_owned();
    let mut apart = String::new();
    for line in 0..LINES {
        writeln!(together, "    server app{line} {{app1}}").expect("writing to a String never fails");
        writeln!(apart, "\nbackend many-{line}\n    server app1 {{app1}}\n    server app2 {{app2}}")
            .expect("writing to a String never fails");
    }
    for (name, extra) in [("1 001 lines in two backends", together), ("1 001 lines in 1 001 backends", apart)]
    {
        let many = measure(name, &extra).await;
        println!("{:<32} {} ms more than with 1 line", "", many.saturating_sub(one));
    }
}

/// Returns the milliseconds of a deploy without those of its containers.
async fn measure(name: &str, extra: &str) -> u64 {
    let stage = Stage::primaries().extra(extra).start().await;
    let image = stage.image("v2", &[("VERSION", "v2")]).await;
    let timed = async |arguments: &[&str]| {
        let begun = Instant::now();
        let ended = stage.drainswap(arguments).await.exits(0);
        (u64::try_from(begun.elapsed().as_millis()).expect("a short time"), ended)
    };
    let (plan, _) = timed(&["plan", "mobile", "--image", &image]).await;
    let (deploy, ended) = timed(&["deploy", "mobile", "--image", &image, "-o", "json"]).await;
    let own = deploy.saturating_sub(of_containers(&ended));
    let (maint, _) = timed(&["maint", "app1"]).await;
    let (ready, _) = timed(&["ready", "app1"]).await;
    println!("{name:<32} plan {plan} ms, deploy {deploy} ms, of that drainswap itself {own} ms");
    println!("{:<32} maint of app1 in every backend {maint} ms, ready {ready} ms", "");
    stage.close().await;
    own
}

/// Returns the milliseconds for stopping, starting and booting the containers.
fn of_containers(ended: &Ended) -> u64 {
    let finished = ended.events().into_iter().filter(|event| event["event"] == "lane_finished");
    let parts =
        finished.flat_map(|event| ["engine_ms", "boot_ms"].map(|part| event["timing"][part].as_u64()));
    parts.map(|part| part.expect("milliseconds")).sum()
}
