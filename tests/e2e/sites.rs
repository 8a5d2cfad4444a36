//! Two sites that share a state directory do not mix up their runs.

use std::time::Duration;

use crate::assert_in_service;
use crate::ends_with;
use crate::snapshot;
use crate::support::{Ended, Stage, finish, wait_until};
use crate::versions;

/// Runs drainswap on one stage with the state directory of another.
async fn with_state_of(other: &Stage, stage: &Stage, arguments: &[&str]) -> Ended {
    let mut command = stage.command(arguments);
    command.env("DRAINSWAP_STATE_DIR", other.dir().join("state"));
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    finish(command.spawn().expect("start drainswap")).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn runs_of_another_site_are_not_history_and_not_resumed() {
    // Both have a backend mobile with servers of the same names, on the same engine.
    let (first, second) = (Stage::pair().start().await, Stage::pair().start().await);
    let v2 = first.image("v2", &[("VERSION", "v2")]).await;
    first.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    let v3 = first.image("v3", &[("VERSION", "v3"), ("BOOT_MS", "2000")]).await;
    let mut killed = first.spawn(&["deploy", "mobile", "--image", &v3]);
    first.until_started("app1", &v3).await;
    killed.kill().await.expect("kill drainswap");
    let before = snapshot(&second).await;
    let run = |arguments: &'static [&'static str]| with_state_of(&first, &second, arguments);
    for resume in [&["resume", "mobile"][..], &["resume", "mobile", "--undo"]] {
        run(resume).await.exits(6).says(&["belongs to another site", "drainswap resume --adopt "]);
    }
    run(&["resume"]).await.exits(0).says(&["belongs to another site", "no run was left unfinished"]);
    run(&["rollback", "mobile"]).await.exits(4).says(&["2 runs on mobile", "nothing to roll back"]);
    assert_eq!(snapshot(&second).await, before);
    // The other site's unfinished run does not block this site.
    let other = second.image("v2", &[("VERSION", "v2")]).await;
    with_state_of(&first, &second, &["deploy", "mobile", "--image", &other]).await.exits(0);
    assert_eq!(versions(&second).await, ["v2"; 2]);
    run(&["rollback", "mobile", "--dry-run"]).await.exits(0);
    // An operator may adopt a run for this site: here the first one, which has ended.
    let journals = std::fs::read_dir(first.dir().join("state/mobile")).expect("the journals");
    let names = journals.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let oldest = names.filter_map(|name| name.strip_suffix(".events.jsonl").map(str::to_owned)).min();
    let oldest = oldest.expect("a run");
    for said in ["now belongs to this site", "already belongs to this site"] {
        with_state_of(&first, &second, &["resume", "--adopt", &oldest]).await.exits(0).says(&[said]);
    }
    second.close().await;
    // The original site can still resume its run.
    first.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(6).says(&["was not finished"]);
    first.drainswap(&["resume", "mobile"]).await.exits(0);
    wait_until("all is in service", Duration::from_secs(10), async || versions(&first).await == ["v3"; 2])
        .await;
    assert_in_service(&first).await;
    ends_with("v3", first).await;
}
