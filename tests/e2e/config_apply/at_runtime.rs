//! Changes of servers that an apply makes in the running HAProxy, without a reload where that is possible.

use std::fs;
use std::time::Duration;

use super::{installed, pages, port, servers};
use crate::support::{Load, Site, finish, wait_until};

/// The bit of `srv_agent_state` for an enabled agent.
const AGENT_ENABLED: u32 = 0x04;

/// Applies a file that is already installed: a weight that was edited by hand is set. An address may have been set on
/// purpose, and HAProxy sends traffic to it, so it is reported and left alone unless a reload is requested.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_installed_file_is_applied_except_for_addresses() {
    let site = Site::here().await;
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

/// Checks that HAProxy reports for each of these lines what the line says.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn lines_of_all_kinds_run_as_they_are_written() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn weights_that_cannot_be_set_at_runtime_need_a_reload() {
    let site = Site::here().await;
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
#[ignore = "needs real parts: make test"]
async fn servers_are_added_and_removed_without_a_reload() {
    let site = Site::here().await;
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

/// Tests with an HAProxy that can add and remove servers: 2.6 and newer.
mod dynamic {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs real parts: make test"]
    async fn apply_waits_for_the_sessions_of_a_removed_server() {
        let site = Site::here().await;
        let all = site.text(&site.servers(&["app1", "app2"]));
        site.apply(&all, &["--reload", "always"]).await.exits(0);
        let worker = site.haproxy.worker().await;
        let streams = [site.open_stream().await, site.open_stream().await];
        let fewer = site.text(&site.servers(&["app1"]));
        let refused = site.apply(&fewer, &["--reload", "never", "--drain-timeout", "300ms"]).await.exits(10);
        refused.says(&["mobile/app2 still had sessions after"]);
        assert_eq!(
            (installed(&site), servers(&site).await),
            (all, vec!["app1".to_owned(), "app2".to_owned()])
        );
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

    /// A server that was removed at runtime is restored with its settings if a later step fails.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs real parts: make test"]
    async fn a_removed_server_is_restored_when_a_later_removal_fails() {
        let site = Site::here().await;
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
    #[ignore = "needs real parts: make test"]
    async fn an_added_server_matches_its_line() {
        let site = Site::here().await;
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
}
