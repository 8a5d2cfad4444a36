//! Installation of a new haproxy.cfg for a real HAProxy: it succeeds, or everything stays as before.

mod at_runtime;
mod state_file;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::support::{Load, Loss, Mix, Outcome, Site, finish, get, wait_until};

/// The number of moments, spread over the duration of an apply.
const KILLS: u32 = 16;

/// Returns a load of quick requests only.
fn pages() -> Mix {
    Mix { slow_one_in: 0, connections: 10, ..Mix::default() }
}

/// Returns the text of the installed file.
fn installed(site: &Site) -> String {
    fs::read_to_string(site.haproxy.config()).expect("read haproxy.cfg")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_new_file_is_installed_and_run_without_a_lost_request() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn a_file_that_haproxy_refuses_touches_nothing() {
    let site = Site::here().await;
    let worker = site.haproxy.worker().await;
    let inode = fs::metadata(site.haproxy.config()).expect("haproxy.cfg").ino();
    // drainswap accepts the first file and HAProxy refuses it; for the second file, it is the other way round.
    let file_of_its_own = site.original() + "    errorfile 503 /nowhere\n";
    let refused = site.apply(&file_of_its_own, &[]).await.exits(3);
    refused.says(&[
        "nothing was touched: HAProxy would not start with the new file",
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
#[ignore = "needs real parts: make test"]
async fn a_reload_that_fails_brings_the_old_file_back() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn runtime_settings_are_restored_after_a_reload() {
    let site = Site::here().await;
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

/// Returns the port to which the running HAProxy sends a server's traffic.
async fn port(site: &Site, server: &str) -> String {
    site.haproxy.state(server).await["srv_port"].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_refused_apply_of_an_installed_file_changes_no_server() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn a_backend_that_another_drainswap_works_on_is_left_alone() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn a_file_that_a_container_has_mounted_by_itself_is_refused() {
    let site = Site::here().await;
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn links_owner_mode_and_attributes_stay() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn changes_that_need_a_reload_are_refused_without_one() {
    let site = Site::here().await;
    let new = site.original().replace("roundrobin", "leastconn");
    site.apply(&new, &["--reload", "never"]).await.exits(4).says(&["`--reload never` forbids that"]);
    assert_eq!(installed(&site), site.original());
    let comment = site.original() + "# a comment\n";
    let worker = site.haproxy.worker().await;
    site.apply(&comment, &["--reload", "never"]).await.exits(0).says(&["nothing changes for HAProxy"]);
    assert_eq!((installed(&site), site.haproxy.worker().await), (comment, worker));
}

/// Tests Debian's `conf.d`, and a reload through a fake systemd or a command.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_file_of_a_folder_is_installed_and_haproxy_reloaded_by_others() {
    let site = Site::with_file("conf.d/10-mobile.cfg").await;
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
    refused.says(&["nothing was touched: HAProxy would not start with the new file", "10-mobile.cfg:"]);
    let failed = apply(&texts[1], "echo no reload today >&2; false").await.exits(10);
    failed.says(&["no reload today", "was restored"]);
    assert_eq!(fs::read_to_string(&file).expect("the file"), texts[0]);
    let names = fs::read_dir(site.haproxy.config()).expect("the folder").count();
    assert_eq!(names, 2, "something was left in the folder");
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_configuration_is_read_with_the_environment_of_the_service() {
    let site = Site::here().await;
    let weighted = site.original().replace("check\n", "check weight \"$ONLY_HAPROXY_KNOWS\"\n");
    assert_ne!(weighted, site.original());
    site.apply(&weighted, &[]).await.exits(0).says(&["installed, and HAProxy runs it"]);
    assert_eq!(site.haproxy.stat("app1").await["weight"], "42");
    site.drainswap(&["config", "show", "mobile", "-o", "json"]).await.exits(0).prints(&["\"weight\":42"]);
    site.drainswap(&["config", "check", "--with-haproxy"]).await.exits(0).prints(&["the running process"]);
}

/// The reload command may fail after it has reloaded HAProxy.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_worker_of_the_new_file_does_not_outlive_it() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn an_installed_file_that_haproxy_has_not_read_is_loaded() {
    let site = Site::here().await;
    let more = site.text(&site.servers(&["app1", "app1b", "app2"]));
    fs::write(site.haproxy.config(), &more).expect("write haproxy.cfg by hand");
    site.apply(&more, &["--reload", "never"]).await.exits(4).says(&["mobile/app2"]);
    site.apply(&more, &[]).await.exits(0).says(&["HAProxy runs it now"]);
    assert_eq!(servers(&site).await, ["app1", "app1b", "app2"]);
    site.apply(&more, &[]).await.exits(0).says(&["nothing to change"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn mistakes_change_nothing() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn a_stop_request_leaves_no_partial_change() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn killed_at_any_moment_it_leaves_a_whole_file_and_haproxy_serving() {
    let site = Site::here().await;
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
