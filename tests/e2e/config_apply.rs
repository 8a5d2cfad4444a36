//! Installation of a new haproxy.cfg for a real HAProxy: it succeeds, or everything stays as before.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::support::{Load, Loss, Mix, Outcome, Site, finish, get, wait_until};

/// The number of moments, spread over the duration of an apply.
const KILLS: u32 = 16;

/// The bit of `srv_agent_state` for an enabled agent.
const AGENT_ENABLED: u32 = 0x04;

/// Returns a load of quick requests only.
fn pages() -> Mix {
    Mix { slow_one_in: 0, connections: 10, ..Mix::default() }
}

/// Returns the text of the installed file.
fn installed(site: &Site) -> String {
    fs::read_to_string(site.haproxy.config()).expect("read haproxy.cfg")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_is_installed_and_run_without_a_lost_request() {
    let Some(site) = Site::here().await else { return };
    let load = Load::start(site.frontend(), pages());
    load.answered(50).await;
    let before = site.haproxy.worker().await;
    let new = site.original().replace("roundrobin", "leastconn");
    site.apply(&new, &[]).await.exits(0).says(&["installed, and HAProxy runs it"]);
    assert_eq!(installed(&site), new);
    let after = site.haproxy.worker().await;
    assert_ne!(after, before);
    // A second apply changes nothing and does not reload.
    site.apply(&new, &[]).await.exits(0).says(&["nothing to change"]);
    assert_eq!(site.haproxy.worker().await, after);
    load.answered(50).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_haproxy_refuses_touches_nothing() {
    let Some(site) = Site::here().await else { return };
    let worker = site.haproxy.worker().await;
    let inode = fs::metadata(site.haproxy.config()).expect("haproxy.cfg").ino();
    // drainswap accepts the first file and HAProxy refuses it; for the second file, it is the other way round.
    let file_of_its_own = site.original() + "    errorfile 503 /nowhere\n";
    let refused = site.apply(&file_of_its_own, &[]).await.exits(3);
    refused.says(&[
        "HAProxy would not start with the new file, nothing was touched",
        "/nowhere",
        "haproxy.cfg:",
    ]);
    let typo = site.original().replace("balance", "balanse");
    site.apply(&typo, &[]).await.exits(3).says(&["balanse"]);
    assert_eq!(fs::metadata(site.haproxy.config()).expect("haproxy.cfg").ino(), inode);
    assert_eq!(installed(&site), site.original());
    assert_eq!(site.haproxy.worker().await, worker);
    assert_eq!(left_over(&site), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_fails_brings_the_old_file_back() {
    let Some(site) = Site::here().await else { return };
    let load = Load::start(site.frontend(), pages());
    load.answered(50).await;
    // `haproxy -c` does not bind, so it does not notice that another process uses the port.
    let taken = TcpListener::bind(site.free_address()).expect("a free address");
    let second = format!("    bind {}\n    default_backend mobile", site.free_address());
    let new = site.original().replacen("    default_backend mobile", &second, 1);
    site.apply(&new, &["--reload-timeout", "20s"])
        .await
        .exits(10)
        .says(&["haproxy.cfg was restored, and HAProxy runs it"]);
    assert_eq!(installed(&site), site.original());
    assert_eq!(left_over(&site), Vec::<String>::new());
    // While a new process tries to bind an occupied port, HAProxy releases its own ports for a moment (SIGTTOU, until
    // SIGTTIN). It refuses new clients then and resets connections that it has not accepted yet. Other requests are
    // not lost.
    let report = load.stop().await;
    let is_of_the_port = |it: &Outcome| matches!(it, Outcome::Lost(Loss::Refused | Loss::ResetBeforeAnswer));
    assert!(report.failures().all(|it| is_of_the_port(&it.outcome)), "{report}");
    let load = Load::start(site.frontend(), pages());
    load.answered(50).await;
    // With the port free again, the same file is installed.
    drop(taken);
    site.apply(&new, &[]).await.exits(0).says(&["installed, and HAProxy runs it"]);
    assert!(get(site.free_address().into(), "/").await.is_ok_and(|answer| answer.is_success()));
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runtime_settings_are_restored_after_a_reload() {
    let Some(site) = Site::here().await else { return };
    let servers = site.servers(&["app1", "app1b", "app2", "app2b"]);
    site.apply(&site.text(&servers), &["--reload", "always"]).await.exits(0);
    site.haproxy.set_state("app1", "drain").await;
    site.haproxy.set_state("app1b", "maint").await;
    site.haproxy.command("set server mobile/app2 weight 7").await;
    site.haproxy.set_state("app2b", "maint").await;
    let fewer = site.text(&site.servers(&["app1", "app1b", "app2"])).replace("roundrobin", "leastconn");
    site.apply(&fewer, &[]).await.exits(0).says(&[
        "set again: mobile/app1: drain, not ready",
        "set again: mobile/app1b: maint, not ready",
        "set again: mobile/app2: weight 7, not 1",
    ]);
    assert!(site.haproxy.status("app1").await.starts_with("DRAIN"));
    assert_eq!(site.haproxy.status("app1b").await, "MAINT");
    assert_eq!(site.haproxy.stat("app2").await["weight"], "7");
}

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

/// Returns the port to which the running HAProxy sends a server's traffic.
async fn port(site: &Site, server: &str) -> String {
    site.haproxy.state(server).await["srv_port"].clone()
}

/// HAProxy takes the port of a checked server from its `server-state-file`, even if haproxy.cfg has another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_does_not_keep_old_settings() {
    let Some(site) = Site::here().await else { return };
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
async fn a_state_file_does_not_keep_that_a_server_was_down() {
    let Some(site) = Site::here().await else { return };
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

/// Applies a file that is already installed: a weight that was edited by hand is set. An address may have been set on
/// purpose, and HAProxy sends traffic to it, so it is reported and left alone unless a reload is requested.
#[tokio::test(flavor = "multi_thread")]
async fn an_installed_file_is_applied_except_for_addresses() {
    let Some(site) = Site::here().await else { return };
    let both = site.servers(&["app1", "app2"]);
    let text = site.text(&both);
    site.apply(&text, &["--reload", "always"]).await.exits(0);
    let worker = site.haproxy.worker().await;
    let address = both.split_ascii_whitespace().nth(2).expect("an address");
    let (ip, own) = address.rsplit_once(':').expect("a port");
    site.haproxy.command(&format!("set server mobile/app1 addr {ip} port 1")).await;
    site.haproxy.command("set server mobile/app1 check-port 81").await;
    // Runtime settings stay.
    site.haproxy.command("set server mobile/app2 weight 7").await;
    let heavier = text.replacen(" check\n", " check weight 9\n", 1);
    fs::write(site.haproxy.config(), &heavier).expect("write haproxy.cfg by hand");
    let ended = site.apply(&heavier, &[]).await.exits(0).says(&[
        &format!("HAProxy runs it except for mobile/app1: address {address}, not {ip}:1"),
        "set again: mobile/app1: weight 9, not 1",
    ]);
    // HAProxy 2.2 does not report it.
    assert_eq!(
        ended.stderr.contains("mobile/app1: no check port, not check port 81"),
        site.has_dynamic_servers()
    );
    assert_eq!((&*port(&site, "app1").await, site.haproxy.worker().await), ("1", worker));
    assert_eq!(site.haproxy.stat("app1").await["weight"], "9");
    site.apply(&heavier, &["--reload", "always"]).await.exits(0).says(&["HAProxy runs it now"]);
    assert_eq!(port(&site, "app1").await, own);
    assert_eq!(site.haproxy.stat("app2").await["weight"], "7");
    site.apply(&heavier, &[]).await.exits(0).says(&["nothing to change"]);
    // After a reload, the file's new weight applies, and not the weight that was set earlier because of the file.
    site.apply(&text.replacen(" check\n", " check weight 5\n", 1), &["--reload", "always"]).await.exits(0);
    assert_eq!(site.haproxy.stat("app1").await["weight"], "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_apply_of_an_installed_file_changes_no_server() {
    let Some(site) = Site::here().await else { return };
    let weight = async || site.haproxy.stat("app1").await["weight"].clone();
    let heavier = site.original().replacen(" check\n", " check weight 9\n", 1);
    // A copy has the same stats socket and server names, but HAProxy was not started with it.
    let copy = site.write("copy.cfg", &heavier);
    let copy = copy.to_str().expect("UTF-8");
    let mut apply = site.command(&["config", "apply", "--from", copy]);
    let apply = apply.env("DRAINSWAP_HAPROXY_CONFIG", copy).spawn().expect("start drainswap");
    finish(apply).await.exits(3).says(&["does not read", "copy.cfg"]);
    assert_eq!(weight().await, "1");
    let wrong = heavier.replace("balance", "balanse");
    fs::write(site.haproxy.config(), &wrong).expect("write haproxy.cfg by hand");
    site.apply(&wrong, &[]).await.exits(3).says(&["balanse"]);
    assert_eq!(weight().await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_another_drainswap_works_on_is_left_alone() {
    let Some(site) = Site::here().await else { return };
    site.apply(&site.original(), &[]).await.exits(0);
    let lock = fs::File::open(site.dir().join("state/mobile/lock")).expect("the lock of a backend");
    lock.lock().expect("lock it");
    let new = site.original().replace("roundrobin", "leastconn");
    for text in [&new, &site.original()] {
        site.apply(text, &[]).await.exits(6).says(&["another drainswap is working on mobile"]);
    }
    assert_eq!(installed(&site), site.original());
    drop(lock);
    site.apply(&new, &[]).await.exits(0);
}

/// Simulates a HAProxy in a container: a process with this name and its own mounts.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_container_has_mounted_by_itself_is_refused() {
    let Some(site) = Site::here().await else { return };
    let (file, point, program) =
        (site.write("copy.cfg", &site.original()), site.write("point", ""), site.dir().join("haproxy-there"));
    fs::copy("/bin/sleep", &program).expect("a program of that name");
    let script = "mount --bind \"$0\" \"$1\" && exec \"$2\" 100";
    let mut there = tokio::process::Command::new("unshare");
    there.args(["-m", "--propagation", "private", "sh", "-c", script]).args([&file, &point, &program]);
    let mut there = there.kill_on_drop(true).spawn().expect("start unshare");
    let comm = format!("/proc/{}/comm", there.id().expect("it runs"));
    wait_until("the mount exists or is not permitted", Duration::from_secs(10), async || {
        fs::read_to_string(&comm).is_ok_and(|name| name.starts_with("haproxy"))
            || there.try_wait().is_ok_and(|ended| ended.is_some())
    })
    .await;
    if there.try_wait().expect("its end").is_some() {
        // Only root can mount.
        return;
    }
    let apply = async |text: &str| {
        let wanted = site.write("wanted.txt", text);
        let mut apply = site.command(&["config", "apply", "--from", wanted.to_str().expect("UTF-8")]);
        finish(apply.env("DRAINSWAP_HAPROXY_CONFIG", &file).spawn().expect("start drainswap")).await
    };
    let (new, mounted) = (site.original().replace("roundrobin", "leastconn"), "itself is mounted into");
    apply(&site.original()).await.exits(0).says(&["nothing to change"]);
    apply(&new).await.exits(3).says(&[mounted]);
    fs::rename(site.write("new", &new), &file).expect("replace the file");
    apply(&new).await.exits(3).says(&[mounted]);
}

/// Checks that HAProxy reports for each of these lines what the line says.
#[tokio::test(flavor = "multi_thread")]
async fn lines_of_all_kinds_run_as_they_are_written() {
    let Some(site) = Site::here().await else { return };
    let lines = [
        "127.0.0.1:1 check port 2 weight 0",
        "127.0.0.1:1 check addr 127.0.0.5:2",
        "127.0.0.1:1 check addr 127.0.0.5 port 2 disabled",
        "127.0.0.1:1 port 2 backup",
        "127.0.0.1:1 agent-check agent-port 2",
        "127.0.0.1:1 ssl verify none check no-check-ssl weight 256",
        "127.0.0.1:1 check check-ssl verify none",
        "127.0.0.1:1 track s0",
        "127.0.0.1 check port 2",
        "127.0.0.1:+1 check port 2",
        "[::1]:1 check addr ipv6@[::1]",
        "::ffff:127.0.0.1:1 check addr unix@/nowhere",
        "*:1 check",
        "localhost:1 check",
        "unix@/nowhere check",
        "nothing.invalid:1 init-addr none check",
    ];
    let named = lines.iter().enumerate().map(|(number, line)| format!("    server s{number} {line}\n"));
    let text = site.text(&(named.collect::<String>() + &site.servers(&["app1"])));
    site.apply(&text, &[]).await.exits(0);
    site.apply(&text, &[]).await.exits(0).says(&["nothing to change"]);
    let told = site.drainswap(&["status"]).await.exits(0);
    assert!(!told.stdout.contains("haproxy.cfg says"), "{}", told.stdout);
}

/// A static balance algorithm accepts no weight at runtime, so a reload is needed if one is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn weights_that_cannot_be_set_at_runtime_need_a_reload() {
    let Some(site) = Site::here().await else { return };
    let text = site.original().replace("roundrobin", "static-rr");
    site.apply(&text, &[]).await.exits(0);
    let edited = text.replacen(" check\n", " check weight 3\n", 1);
    fs::write(site.haproxy.config(), &edited).expect("write haproxy.cfg by hand");
    let left = site.apply(&edited, &["--reload", "never"]).await.exits(11);
    left.says(&["mobile/app1: weight 3, not 1", "HAProxy has not read haproxy.cfg since it was edited"]);
    site.apply(&edited, &[]).await.exits(0).says(&["HAProxy runs it now"]);
    assert_eq!(site.haproxy.stat("app1").await["weight"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_owner_mode_and_attributes_stay() {
    let Some(site) = Site::here().await else { return };
    let (link, file) = (site.haproxy.config().to_owned(), site.dir().join("real.cfg"));
    fs::rename(&link, &file).expect("move haproxy.cfg");
    std::os::unix::fs::symlink(&file, &link).expect("make a link");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).expect("set the mode");
    let as_root = std::os::unix::fs::chown(&file, Some(12345), Some(54321)).is_ok();
    let new = site.original().replace("roundrobin", "leastconn");
    site.apply(&new, &[]).await.exits(0);
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&file).expect("the file behind the link"), new);
    let now = fs::metadata(&file).expect("the file behind the link");
    assert_eq!(now.mode() & 0o7777, 0o604);
    assert!(!as_root || (now.uid(), now.gid()) == (12345, 54321));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_added_and_removed_without_a_reload() {
    let Some(site) = Site::here().await else { return };
    let load = Load::start(site.frontend(), pages());
    load.answered(50).await;
    let before = site.haproxy.worker().await;
    let dynamic = site.has_dynamic_servers();
    let all = site.servers(&["app1", "app1b", "app2", "app2b"]);
    site.apply(&site.text(&all), &[]).await.exits(0);
    assert_eq!(site.haproxy.worker().await == before, dynamic);
    wait_until("app2 is checked and up", Duration::from_secs(10), async || {
        let stat = site.haproxy.stat("app2").await;
        stat["status"].starts_with("UP") && stat["check_status"].starts_with('L') && stat["stot"] != "0"
    })
    .await;
    let second = site.servers(&["app2", "app2b"]);
    site.apply(&site.text(&second), &[]).await.exits(0);
    assert_eq!(site.haproxy.worker().await == before, dynamic);
    assert_eq!(servers(&site).await, ["app2", "app2b"]);
    // All servers are replaced at once, and at least one serves at any time.
    let first = site.servers(&["app1", "app1b"]);
    site.apply(&site.text(&first), &[]).await.exits(0);
    assert_eq!(site.haproxy.worker().await == before, dynamic);
    assert_eq!(servers(&site).await, ["app1", "app1b"]);
    load.answered(50).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_waits_for_the_sessions_of_a_removed_server() {
    let Some(site) = Site::here().await else { return };
    if !site.has_dynamic_servers() {
        return;
    }
    let all = site.text(&site.servers(&["app1", "app2"]));
    site.apply(&all, &["--reload", "always"]).await.exits(0);
    let worker = site.haproxy.worker().await;
    let streams = [site.open_stream().await, site.open_stream().await];
    let fewer = site.text(&site.servers(&["app1"]));
    let refused = site.apply(&fewer, &["--reload", "never", "--drain-timeout", "300ms"]).await.exits(10);
    refused.says(&["mobile/app2 still had sessions after"]);
    assert_eq!((installed(&site), servers(&site).await), (all, vec!["app1".to_owned(), "app2".to_owned()]));
    assert!(site.haproxy.status("app2").await.starts_with("UP"));
    let apply = site.spawn_apply(&fewer, &["--reload", "never"]);
    wait_until("app2 drains", Duration::from_secs(10), async || {
        site.haproxy.status("app2").await.starts_with("DRAIN")
    })
    .await;
    drop(streams);
    finish(apply).await.exits(0);
    assert_eq!((servers(&site).await, site.haproxy.worker().await), (vec!["app1".to_owned()], worker));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_need_a_reload_are_refused_without_one() {
    let Some(site) = Site::here().await else { return };
    let new = site.original().replace("roundrobin", "leastconn");
    site.apply(&new, &["--reload", "never"]).await.exits(4).says(&["--reload never forbids it"]);
    assert_eq!(installed(&site), site.original());
    let comment = site.original() + "# a comment\n";
    let worker = site.haproxy.worker().await;
    site.apply(&comment, &["--reload", "never"]).await.exits(0).says(&["nothing changes for HAProxy"]);
    assert_eq!((installed(&site), site.haproxy.worker().await), (comment, worker));
}

/// Tests Debian's `conf.d`, and a reload through a fake systemd or a command.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_folder_is_installed_and_haproxy_reloaded_by_others() {
    let Some(site) = Site::with_file("conf.d/10-mobile.cfg").await else { return };
    let file = site.haproxy.config().join("10-mobile.cfg");
    let other = "backend other\n    server only 127.0.0.1:9\n";
    fs::write(site.haproxy.config().join("20-other.cfg"), other).expect("write a file");
    let reload = format!("kill -USR2 {}", site.haproxy.process());
    let systemctl =
        site.write("systemctl", &format!("#!/bin/sh\n[ \"$*\" = 'reload haproxy' ] && {reload}\n"));
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).expect("make it a program");
    let path = format!("{}:{}", site.dir().display(), std::env::var("PATH").expect("a path"));
    let apply = async |text: &str, by: &str| {
        let wanted = site.write("wanted.txt", text);
        let words = ["config", "apply", "--from", wanted.to_str().expect("UTF-8"), "--reload-by", by];
        let target = ["--target", file.to_str().expect("UTF-8")];
        let mut command = site.command(&[&words[..], &target[..]].concat());
        finish(command.env("PATH", &path).spawn().expect("start drainswap")).await
    };
    let load = Load::start(site.frontend(), pages());
    load.answered(50).await;
    let texts = [site.original(), site.original().replace("roundrobin", "leastconn")];
    for (text, by) in [(&texts[1], "systemd"), (&texts[0], &*reload)] {
        let before = site.haproxy.worker().await;
        apply(text, by).await.exits(0).says(&["installed, and HAProxy runs it"]);
        assert_eq!(fs::read_to_string(&file).expect("the file"), *text);
        assert_ne!(site.haproxy.worker().await, before);
    }
    // The other file's servers exist since the first reload.
    assert!(site.haproxy.command("show servers state other").await.contains(" only "));
    let refused = apply(&(site.original() + "    errorfile 503 /nowhere\n"), "systemd").await.exits(3);
    refused.says(&["HAProxy would not start with the new file, nothing was touched", "10-mobile.cfg:"]);
    let failed = apply(&texts[1], "echo no reload today >&2; false").await.exits(10);
    failed.says(&["no reload today", "was restored"]);
    assert_eq!(fs::read_to_string(&file).expect("the file"), texts[0]);
    let names = fs::read_dir(site.haproxy.config()).expect("the folder").count();
    assert_eq!(names, 2, "something was left in the folder");
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_read_with_the_environment_of_the_service() {
    let Some(site) = Site::here().await else { return };
    let weighted = site.original().replace("check\n", "check weight \"$ONLY_HAPROXY_KNOWS\"\n");
    assert_ne!(weighted, site.original());
    site.apply(&weighted, &[]).await.exits(0).says(&["installed, and HAProxy runs it"]);
    assert_eq!(site.haproxy.stat("app1").await["weight"], "42");
    site.drainswap(&["config", "show", "mobile", "-o", "json"]).await.exits(0).prints(&["\"weight\":42"]);
    site.drainswap(&["config", "check", "--with-haproxy"]).await.exits(0).prints(&["the running process"]);
}

/// A server that was removed at runtime is restored with its settings if a later step fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_is_restored_when_a_later_removal_fails() {
    let Some(site) = Site::here().await else { return };
    if !site.has_dynamic_servers() {
        return;
    }
    let all = site.text(&site.servers(&["app1", "app1b", "app2", "app2b"]));
    site.apply(&all, &["--reload", "always"]).await.exits(0);
    site.haproxy.set_state("app1", "drain").await;
    site.haproxy.command("set server mobile/app1 weight 7").await;
    let _stream = site.open_stream().await;
    site.haproxy.set_state("app2", "maint").await;
    // The stream is on app2, which is removed last.
    let fewer = site.text(&site.servers(&["app2b"]));
    let apply = finish(site.spawn_apply(&fewer, &["--reload", "never", "--drain-timeout", "500ms"]));
    let stays_in_maint = async {
        loop {
            assert_eq!(site.haproxy.status("app2").await, "MAINT");
        }
    };
    let refused = tokio::select! { it = apply => it, () = stays_in_maint => unreachable!() };
    refused.exits(10).says(&["mobile/app2 still had sessions after", "was restored"]);
    assert_eq!(installed(&site), all);
    assert_eq!(servers(&site).await, ["app1", "app1b", "app2", "app2b"]);
    for (server, status) in [("app1", "DRAIN"), ("app1b", "UP"), ("app2", "MAINT"), ("app2b", "UP")] {
        let now = site.haproxy.status(server).await;
        assert!(now.starts_with(status), "{server}: {now}");
    }
    assert_eq!(site.haproxy.stat("app1").await["weight"], "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_server_matches_its_line() {
    let Some(site) = Site::here().await else { return };
    if !site.has_dynamic_servers() {
        return;
    }
    let worker = site.haproxy.worker().await;
    let [out, asked] = ["app2", "app2b"].map(|name| site.servers(&[name]).trim_end().to_owned());
    let more = format!("{}{out} disabled\n{asked} agent-check agent-port 1\n", site.original());
    site.apply(&more, &["--reload", "never"]).await.exits(0);
    assert_eq!(site.haproxy.worker().await, worker);
    assert_eq!(site.haproxy.status("app2").await, "MAINT");
    let agent = site.haproxy.state("app2b").await["srv_agent_state"].parse::<u32>();
    assert_eq!(agent.expect("a bit mask") & AGENT_ENABLED, AGENT_ENABLED);
    site.haproxy.set_state("app2", "ready").await;
    wait_until("app2 is checked", Duration::from_secs(10), async || {
        site.haproxy.stat("app2").await["check_status"] == "L4OK"
    })
    .await;
    // The runtime API would end the command at this character, so a reload is needed.
    let third = format!("{more}{} cookie 'a;b'\n", out.replace("app2", "app3"));
    site.apply(&third, &[]).await.exits(0).says(&["reloading HAProxy instead", "HAProxy runs it"]);
}

/// The reload command may fail after it has reloaded HAProxy.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_the_new_file_does_not_outlive_it() {
    let Some(site) = Site::here().await else { return };
    let before = site.haproxy.worker().await;
    let again = site.dir().join("again");
    let command = format!(
        "mkfifo {again}; first=$?; kill -USR2 {}; [ $first = 0 ] || exit 0; read -r _ < {again}; exit 1",
        site.haproxy.process(),
        again = again.display()
    );
    let new = site.original().replace("check", "check weight 3");
    let apply = finish(site.spawn_apply(&new, &["--reload-by", &command]));
    let fail_late = async {
        // A master that has just started loses signals, but not after it has reaped the old worker.
        let old = PathBuf::from(format!("/proc/{before}"));
        wait_until("the old worker is gone", Duration::from_secs(10), async || !old.exists()).await;
        tokio::fs::write(&again, "\n").await.expect("write to the waiting command");
    };
    let (ended, ()) = tokio::join!(apply, fail_late);
    ended.exits(10).says(&["was restored, and HAProxy runs it"]);
    assert_eq!(installed(&site), site.original());
    assert_eq!(site.haproxy.stat("app1").await["weight"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_file_that_haproxy_has_not_read_is_loaded() {
    let Some(site) = Site::here().await else { return };
    let more = site.text(&site.servers(&["app1", "app1b", "app2"]));
    fs::write(site.haproxy.config(), &more).expect("write haproxy.cfg by hand");
    site.apply(&more, &["--reload", "never"]).await.exits(4).says(&["mobile/app2"]);
    site.apply(&more, &[]).await.exits(0).says(&["HAProxy runs it now"]);
    assert_eq!(servers(&site).await, ["app1", "app1b", "app2"]);
    site.apply(&more, &[]).await.exits(0).says(&["nothing to change"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_change_nothing() {
    let Some(site) = Site::here().await else { return };
    let worker = site.haproxy.worker().await;
    site.apply("", &[]).await.exits(4).says(&["the new file lacks the `stats socket`"]);
    let new = site.original().replace("roundrobin", "leastconn");
    site.apply(&new, &["--target", "/nowhere.cfg"]).await.exits(2).says(&["/nowhere.cfg"]);
    site.apply("what is this\n", &[]).await.exits(3).says(&["wanted.txt:1"]);
    let service = |name: &str| {
        format!("[services.{name}]\nbackend = \"mobile\"\nhosts = [\"127.0.0.1\"]\nprimary_port = 70\n")
    };
    let settings = site.write("services.toml", &(service("x") + &service("y")));
    let settings = settings.to_str().expect("UTF-8");
    for command in ["diff", "render", "apply"] {
        let ended = site.drainswap(&["config", command, "--settings", settings]).await.exits(3);
        ended.says(&["x and y both describe backend mobile"]);
    }
    assert_eq!((installed(&site), site.haproxy.worker().await), (site.original(), worker));
    assert_eq!(left_over(&site), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_request_leaves_no_partial_change() {
    let Some(site) = Site::here().await else { return };
    let new = site.original().replace("roundrobin", "leastconn");
    let apply = site.spawn_apply(&new, &[]);
    wait_until("the new file is there", Duration::from_secs(10), async || installed(&site) == new).await;
    let pid = apply.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.is_ok_and(|sent| sent.success()));
    finish(apply).await.exits(0).says(&["installed, and HAProxy runs it"]);
    assert_eq!((installed(&site), left_over(&site)), (new, Vec::<String>::new()));
}

/// Kills an apply with a reload at many moments: the file is always complete, HAProxy always serves, and the next apply
/// finishes the change.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_leaves_a_whole_file_and_haproxy_serving() {
    let Some(site) = Site::here().await else { return };
    let load = Load::start(site.frontend(), pages());
    load.answered(50).await;
    let texts = [site.original(), site.original().replace("roundrobin", "leastconn")];
    let started = Instant::now();
    site.apply(&texts[1], &[]).await.exits(0);
    let whole = started.elapsed();
    for kill in 0..KILLS {
        let mut apply = site.spawn_apply(&texts[kill as usize % 2], &[]);
        // The apply may already have exited.
        let _ended = timeout(whole * kill / KILLS, apply.wait()).await;
        let _gone = apply.kill().await;
        assert!(texts.contains(&installed(&site)), "kill {kill} left half a file:\n{}", installed(&site));
        assert!(site.haproxy.takes_its_config(), "kill {kill} left a file that HAProxy does not take");
    }
    site.apply(&texts[0], &[]).await.exits(0);
    assert_eq!((installed(&site), left_over(&site)), (texts[0].clone(), Vec::<String>::new()));
    load.answered(50).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
}

/// Returns the servers of the running HAProxy.
async fn servers(site: &Site) -> Vec<String> {
    let state = site.haproxy.command("show servers state mobile").await;
    let rows = state
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '1']) || line.starts_with("1 "));
    let mut names: Vec<_> = rows.filter_map(|row| row.split(' ').nth(3)).map(str::to_owned).collect();
    names.sort();
    names
}

/// Returns the files that apply left next to the configuration.
fn left_over(site: &Site) -> Vec<String> {
    let folder = site.haproxy.config().parent().expect("a folder");
    let entries = fs::read_dir(folder).expect("read the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    names.filter(|name| name.contains("drainswap")).collect()
}
