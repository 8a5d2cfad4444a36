//! Plan files: an approved plan is applied unchanged, or refused with all differences.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::assert_in_service;
use crate::support::{Ended, Processes, Stage, finish};
use crate::versions;

/// Applies a plan file.
async fn apply(stage: &Stage, path: &str) -> Ended {
    stage.drainswap(&["deploy", "--plan", path]).await
}

/// Applies a plan from stdin.
async fn apply_text(stage: &Stage, text: &str) -> Ended {
    let mut command = stage.command(&["deploy", "--plan", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start drainswap");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).await.expect("write the plan");
    drop(stdin);
    finish(child).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_plan_is_applied_as_approved_or_refused_with_all_differences() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let file = stage.dir().join("plan.json");
    let path = file.display().to_string();
    let plan = stage.drainswap(&["plan", "mobile", "--image", &v2, "--save", &path, "--floor", "0"]).await;
    plan.exits(0).prints(&["deploy mobile to", "1. mobile/app1"]);
    assert_eq!(file.metadata().expect("the file").permissions().mode() & 0o7777, 0o600);

    // Changes since the plan was saved.
    stage.haproxy.set_state("app1b", "maint").await;
    let config = std::fs::read_to_string(stage.haproxy.config()).expect("read haproxy.cfg");
    let changed = config.replace("backend mobile\n", "backend mobile\n    fullconn 200\n");
    assert_ne!(changed, config);
    std::fs::write(stage.haproxy.config(), &changed).expect("write haproxy.cfg");
    stage.image("v2", &[("VERSION", "v2"), ("MORE", "1")]).await;
    let refused = apply(&stage, &path).await.exits(7);
    let config_says = format!("{} has changed", stage.haproxy.config().display());
    refused.says(&[
        "cannot apply the plan in ",
        "Nothing was touched. Plan again with",
        &config_says,
        "mobile/app1b is now maint, down,",
        "it was ready, up,",
        "the image is now ",
        "Plan again with `drainswap plan … --save",
    ]);
    assert!(versions(&stage).await.iter().all(|version| version == "v1"), "nothing was touched");

    // A comment or a reload does not matter.
    stage.haproxy.set_state("app1b", "ready").await;
    std::fs::write(stage.haproxy.config(), format!("# mine\n{config}")).expect("write haproxy.cfg");
    stage.haproxy.reload().await;
    let other = stage.drainswap(&["deploy", "--plan", &path, "--floor", "1"]).await.exits(2);
    other.says(&["is a plan for floor 0, but the command line asks for floor 1"]);
    stage.drainswap(&["deploy", "other", "--plan", &path]).await.exits(2).says(&["for backend mobile"]);
    let never = ["deploy", "--plan", &path, "--approved", &"0".repeat(64)];
    stage.drainswap(&never).await.exits(7).says(&["is not the approved plan file"]);
    stage.drainswap(&["deploy", "--plan", "/nowhere"]).await.exits(2).says(&["cannot read /nowhere: "]);

    let saved = stage.drainswap(&["plan", "mobile", "--image", &v2, "--save", "-"]).await.exits(0);
    let saved = saved.says(&["deploy mobile to"]);
    let planned: Value = serde_json::from_str(&saved.stdout).expect("a plan file");
    stage.haproxy.reload().await;
    apply_text(&stage, &saved.stdout).await.exits(0).says(&["applying the plan made at", "done: "]);
    assert!(versions(&stage).await.iter().all(|version| version == "v2"));
    let history = stage.drainswap(&["history", "mobile", "-o", "json"]).await.exits(0);
    let told: Value = serde_json::from_str(&history.stdout).expect("an object");
    assert_eq!(told["states"][0]["approved"]["at"], planned["plan"]["at"], "{told}");
    stage.drainswap(&["history", "mobile"]).await.exits(0).prints(&["by the plan of "]);

    let again = apply_text(&stage, &saved.stdout).await.exits(7);
    again.says(&["nothing is left to do for mobile/app1", "nothing is left to do for mobile/app1b"]);
    apply_text(&stage, &saved.stdout[..99]).await.exits(2).says(&["stdin: not a plan file"]);
    assert_in_service(&stage).await;
    stage.close().await;
}
