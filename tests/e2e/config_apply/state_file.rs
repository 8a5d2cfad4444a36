//! A `server-state-file`, from which HAProxy takes settings at a reload, even those that haproxy.cfg no longer has.

use std::fs;
use std::path::PathBuf;

use super::port;
use crate::support::Site;

/// Returns the site's configuration with a `server-state-file` and the given backend lines, and the state file's path.
fn with_state_file(site: &Site, backend: &str) -> (String, PathBuf) {
    let kept = site.dir().join("kept-states");
    let text = site
        .text(backend)
        .replacen("global\n", &format!("global\n    server-state-file {}\n", kept.display()), 1)
        .replacen("\nbackend mobile\n", "\nbackend mobile\n    load-server-state-from-file global\n", 1);
    assert!(text.contains("server-state-file") && text.contains("load-server-state-from-file"), "{text}");
    (text, kept)
}

/// HAProxy takes the port of a checked server from its `server-state-file`, even if haproxy.cfg has another one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_state_file_does_not_keep_old_settings() {
    let site = Site::here().await;
    let [app1, app2, app2b] = ["app1", "app2", "app2b"].map(|name| site.servers(&[name]));
    let (text, kept) = with_state_file(&site, &(app1.clone() + &app2));
    site.apply(&text, &["--reload", "always"]).await.exits(0);
    let keep =
        async || fs::write(&kept, site.haproxy.command("show servers state").await).expect("keep the states");
    keep().await;
    // app2 gets another application's address.
    let moved = app2b.replace("app2b", "app2").replace(" backup", "");
    let wanted = moved
        .split_ascii_whitespace()
        .nth(2)
        .and_then(|it| it.rsplit(':').next())
        .expect("a port")
        .to_owned();
    assert_ne!(port(&site, "app2").await, wanted);
    let (text, _) = with_state_file(&site, &(app1.clone() + &moved));
    let ended = site.apply(&text, &[]).await.exits(0).says(&["installed, and HAProxy runs it"]);
    assert!(!ended.stderr.contains("set again"), "the reload itself took it: {}", ended.stderr);
    assert_eq!(port(&site, "app2").await, wanted);
    // The result is the same if the reload itself rewrites the state file with an earlier state.
    keep().await;
    let stale = fs::read_to_string(&kept)
        .expect("the states")
        .replace(" app1 127.0.0.1 2 0 ", " app1 127.0.0.1 0 1 ");
    let other = site.write("stale-states", &stale);
    let reload =
        format!("cp {} {} && kill -USR2 {}", other.display(), kept.display(), site.haproxy.process());
    let (text, _) = with_state_file(&site, &(app1.clone() + &app2));
    let ended = site.apply(&text, &["--reload-by", &reload]).await.exits(0);
    let first = app2.split_ascii_whitespace().nth(2).expect("an address");
    ended.says(&[
        "set again: mobile/app1: ready, not maint",
        &format!("set again: mobile/app2: address {first}, not 127.0.0.1:{wanted}"),
    ]);
    assert!(site.haproxy.status("app1").await.starts_with("UP"));
    assert!(first.ends_with(&format!(":{}", port(&site, "app2").await)));
    // After a failed reload, the state file contains the removed lines again.
    let before = fs::read_to_string(&kept).expect("the states");
    let (moved, _) = with_state_file(&site, &(app1.clone() + &moved));
    site.apply(&moved, &["--reload-by", "false"]).await.exits(10);
    assert_eq!(fs::read_to_string(&kept).expect("the states"), before);
    // A server that is removed without a reload leaves no line in the state file.
    assert!(before.contains(" app2 "), "{before}");
    let (fewer, _) = with_state_file(&site, &app1);
    site.apply(&fewer, &[]).await.exits(0);
    let after = fs::read_to_string(&kept).expect("the states");
    assert!(after.contains(" app1 ") && !after.contains(" app2 "), "{after}");
    // The same for a file that was edited by hand.
    let (edited, _) = with_state_file(&site, &(app1.replace(" check", " check weight 5") + &app2));
    fs::write(site.haproxy.config(), &edited).expect("write haproxy.cfg by hand");
    site.apply(&edited, &["--reload-by", "false"]).await.exits(11);
    assert_eq!(fs::read_to_string(&kept).expect("the states"), after);
}

/// After a reload, a server that is down in the state file gets no requests, and without a check never again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_state_file_does_not_keep_that_a_server_was_down() {
    let site = Site::here().await;
    let servers = site.servers(&["app1", "app2"]).replacen(" check\n", "\n", 1);
    let (text, kept) = with_state_file(&site, &servers);
    site.apply(&text, &["--reload", "always"]).await.exits(0);
    site.haproxy.command("set server mobile/app1 health down").await;
    assert_eq!(site.haproxy.status("app1").await, "DOWN");
    site.drainswap(&["drain", "mobile/app2", "--floor", "0"]).await.exits(0);
    assert!(fs::read_to_string(&kept).expect("the states").contains(" app1 127.0.0.1 1 0 "));
    site.haproxy.reload().await;
    assert_eq!(site.haproxy.status("app1").await, "no check");
    assert!(site.haproxy.status("app2").await.starts_with("DRAIN"));
}
