//! Deploys of broken images: no request may be lost, and the error must show the reason.

use std::time::Duration;

use crate::assert_in_service;
use crate::at_each_event;
use crate::round_trip::{docker, inspect};
use crate::snapshot;
use crate::support::{Ended, Load, Mix, Stage, program, wait_until};
use crate::versions;
use crate::volumes::Volumes;

/// Deploys an image with an environment under load. Fails unless the deploy exits with the given code, no request is
/// lost, and every server runs the old version.
async fn failing_deploy(stage: &Stage, environment: &[(&str, &str)], flags: &[&str], code: i32) -> Ended {
    let image = stage.image("broken", environment).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(150).await;
    let mut arguments = vec!["deploy", "mobile", "--image", &image];
    arguments.extend(flags);
    let ended = stage.drainswap(&arguments).await.exits(code);
    load.answered(150).await;
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}\n{}", ended.stderr);
    assert!(versions(stage).await.iter().all(|version| version == "v1"));
    assert_in_service(stage).await;
    ended
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_image_that_exits_at_once_is_rolled_back_and_its_log_shown() {
    let stage = Stage::pair().start().await;
    let ended = failing_deploy(&stage, &[("FAIL", "exit")], &[], 10).await;
    ended.says(&["the container exited with code 3", "fatal: FAIL=exit, giving up", "rolled back"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_image_that_never_gets_ready_is_rolled_back_and_its_last_answer_shown() {
    let stage = Stage::origin().start().await;
    let ended = failing_deploy(&stage, &[("FAIL", "never-ready")], &["--ready-timeout", "3s"], 10).await;
    ended.says(&["did not answer within 3 s (--ready-timeout)", "503", "log |", "rolled back"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_image_whose_health_check_answers_500_is_rolled_back() {
    let stage = Stage::origin().start().await;
    let ended = failing_deploy(&stage, &[("FAIL", "unhealthy")], &["--ready-timeout", "3s"], 10).await;
    ended.says(&["GET /health → 500", "rolled back"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn probe_and_rise_find_failures_that_the_check_misses() {
    let stage = Stage::origin().start().await;
    let asked = ["--probe", "/", "--ready-timeout", "3s"];
    failing_deploy(&stage, &[("FAIL", "pages")], &asked, 10).await.says(&["GET / → 500", "rolled back"]);
    let in_a_row = ["--rise", "2", "--ready-timeout", "3s"];
    failing_deploy(&stage, &[("FAIL", "flapping")], &in_a_row, 10).await.says(&["503", "rolled back"]);
    // A probe that no new container passes does not affect the old containers.
    let in_vain = ["--rise", "1000", "--ready-timeout", "3s"];
    let ended = failing_deploy(&stage, &[("VERSION", "v2")], &in_vain, 10).await;
    ended.says(&["of 1000 times in a row (--rise)", "rolled back"]);
    // Every server is probed at its own address, several times.
    let image = stage.image("v2", &[("VERSION", "v2")]).await;
    let probe = "http://{address}:{port}/slow?ms=1";
    let flags = ["deploy", "mobile", "--image", &image, "--probe", probe, "--rise", "3"];
    stage.drainswap(&flags).await.exits(0).says(&["GET /slow?ms=1 → 200"]);
    // The old version may not support the probe.
    stage.drainswap(&["rollback", "mobile", "--probe", "/unknown"]).await.exits(0);
    stage.drainswap(&["plan", "mobile", "--image", &image, "--probe", "ready"]).await.exits(2);
    assert!(versions(&stage).await.iter().all(|version| version == "v1"));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn servers_replaced_before_the_failure_are_rolled_back_too() {
    let stage = Stage::origin().start().await;
    let broken = [("VERSION", "v2"), ("FAIL", "exit"), ("FAIL_ONLY", "app2")];
    let ended = failing_deploy(&stage, &broken, &[], 10).await;
    ended.says(&["[1/4] mobile/app1", "[2/4] mobile/app2", "undone   mobile/app1 is as it was"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn on_failure_stop_keeps_replaced_servers() {
    let stage = Stage::origin().start().await;
    let image = stage.image("broken", &[("VERSION", "v2"), ("FAIL", "exit"), ("FAIL_ONLY", "app2")]).await;
    let flags = ["deploy", "mobile", "--image", &image, "--on-failure", "stop"];
    stage
        .drainswap(&flags)
        .await
        .exits(10)
        .says(&["mobile/app1 keeps the new container", "the container exited with code 3"]);
    assert_eq!(versions(&stage).await, ["v2", "v1", "v1", "v1"]);
    assert_in_service(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_image_that_cannot_be_pulled_changes_nothing() {
    let stage = Stage::pair().start().await;
    let before = snapshot(&stage).await;
    let missing = stage.reference("no-such-tag");
    stage.drainswap(&["deploy", "mobile", "--image", &missing]).await.exits(5).says(&[
        "cannot find image",
        "no-such-tag",
        &format!(". mobile runs {}", stage.reference("v1")),
    ]);
    let mistyped = missing.replace("/mobile", "/mobil");
    assert_ne!(mistyped, missing);
    stage
        .drainswap(&["plan", "mobile", "--image", &mistyped])
        .await
        .exits(5)
        .says(&[&format!(". Did you mean {missing}? mobile runs ")]);
    let elsewhere = "127.0.0.1:1/mobile:v2";
    stage
        .drainswap(&["deploy", "mobile", "--image", elsewhere])
        .await
        .exits(5)
        .says(&["127.0.0.1:1/mobile:v2"]);
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_container_that_cannot_be_recreated_stays_unchanged() {
    let stage = Stage::pair().start().await;
    let source = stage.dir().join("source");
    std::fs::create_dir(&source).expect("a directory to mount");
    stage.remove("app1b").await;
    stage.run_with_mount("app1b", &stage.reference("v1"), &source).await;
    stage.until_healthy("app1b").await;
    // The directory goes away after the plan was made: the engine refuses.
    let settings = stage.dir().join("drainswap.toml");
    std::fs::write(&settings, format!("[hooks]\nbefore_run = 'rmdir {}'", source.display()))
        .expect("settings");
    let flags = ["--settings", settings.to_str().expect("UTF-8")];
    let ended = failing_deploy(&stage, &[("VERSION", "v2")], &flags, 5).await;
    ended.says(&["nothing was touched", "the engine refused to create", "bind source path does not exist"]);
    // The next plan sees that it is gone, unless the engine has another root directory.
    if std::env::var_os("DRAINSWAP_ENGINE_PID").is_none() {
        let ended = failing_deploy(&stage, &[("VERSION", "v2")], &[], 4).await;
        ended.says(&["nothing was touched", &format!("{} does not exist", source.display())]);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_drain_that_does_not_end_is_undone_or_forced() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let mut stream = stage.open_stream(60).await;
    let deploy = ["deploy", "mobile", "--image", &v2, "--drain-timeout", "1s"];
    stage.drainswap(&deploy).await.exits(10).says(&["1 session had not ended within 1 s (--drain-timeout)"]);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    assert_in_service(&stage).await;
    assert!(stream.still_streams().await, "the stream was cut");
    let forced = [&deploy[..], &["--on-drain-timeout", "force"]].concat();
    stage.drainswap(&forced).await.exits(0).says(&["1 session cut"]);
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    stage.close().await;
}

/// Makes a deploy end stuck: the backup's container needs a directory that is removed right before the container
/// stops, so that neither the old nor the new one starts. Returns the directory.
async fn stuck(stage: &Stage, image: &str) -> (std::path::PathBuf, String) {
    let mounted = stage.dir().join("mounted");
    std::fs::create_dir(&mounted).expect("a directory");
    stage.remove("app1b").await;
    stage.run_with_mount("app1b", &stage.reference("v1"), &mounted).await;
    stage.until_healthy("app1b").await;
    let is_up = async || stage.haproxy.status("app1b").await == "UP";
    wait_until("app1b is up", Duration::from_secs(20), is_up).await;
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", image, "-o", "json"]);
    let mut drained = 0;
    let said = at_each_event(&mut deploy, async |event| {
        drained += usize::from(event == "drained");
        if event == "drained" && drained == 2 {
            std::fs::remove_dir(&mounted).expect("it is empty");
        }
    })
    .await;
    assert_eq!(deploy.wait().await.expect("its end").code(), Some(11), "{said}");
    (mounted, said)
}

/// Returns the last event of a run that ended stuck, and the commands that it prints for its server.
fn stuck_end(said: &str) -> (serde_json::Value, Vec<String>) {
    let last: serde_json::Value =
        serde_json::from_str(said.lines().last().expect("an event")).expect("an event");
    let commands = last["servers"][0]["commands"].as_array().expect("commands");
    let commands = commands.iter().filter_map(|it| it.as_str()).map(str::to_owned).collect();
    (last, commands)
}

/// Runs printed commands unchanged.
fn run_printed(commands: &[String]) {
    let folder = program().parent().expect("a folder").display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").expect("PATH"));
    let done = std::process::Command::new("sh")
        .args(["-exc", &commands.join("\n")])
        .env("PATH", path)
        .output()
        .expect("run the commands");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_stuck_run_can_be_resumed() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let (mounted, _) = stuck(&stage, &v2).await;
    stage.drainswap(&["status"]).await.exits(0).says(&["is stuck: it could not put back mobile/app1b"]);
    std::fs::create_dir(&mounted).expect("a directory");
    stage.drainswap(&["resume", "mobile"]).await.exits(0).says(&["every one is in service"]);
    stage.drainswap(&["resume", "mobile"]).await.exits(0).says(&["there is nothing to resume"]);
    crate::ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_stuck_run_prints_commands_for_manual_recovery() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    let (mounted, said) = stuck(&stage, &v2).await;
    let (last, commands) = stuck_end(&said);
    assert_eq!(last["kept"], serde_json::json!(["mobile/app1"]), "{last}");
    let journal = last["journal"].as_str().expect("a path");
    assert!(std::fs::read_to_string(journal).expect("the journal").contains("\"stuck\""), "{journal}");
    stage
        .drainswap(&["doctor"])
        .await
        .exits(0)
        .prints(&["could not put everything back: mobile/app1b is in ", "; docker start "]);
    // No other run starts before that.
    let over = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(6);
    over.says(&["is stuck: it could not put back mobile/app1b", "drainswap resume mobile "]);
    // The operator fixes the cause and runs the printed commands unchanged.
    std::fs::create_dir(&mounted).expect("a directory");
    run_printed(&commands);
    stage.until_healthy("app1b").await;
    assert_eq!(versions(&stage).await, ["v2", "v1"]);
    let doctor = stage.drainswap(&["doctor"]).await.exits(0);
    assert!(!doctor.stdout.contains("could not put everything back"), "{}", doctor.stdout);
    // A server that keeps the new container can be rolled back as after any deploy.
    stage.drainswap(&["rollback", "mobile"]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    assert_in_service(&stage).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    // Then doctor finds nothing for this stage. Leftovers of other tests on this engine do not count.
    let doctor = stage.drainswap(&["doctor"]).await.exits(0);
    assert!(!doctor.stdout.contains("mobile/") && !doctor.stdout.contains(stage.id()), "{}", doctor.stdout);
    stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    stage.close().await;
}

/// Another tool may clean up stopped containers in the middle of a run (`docker container prune`).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_server_whose_old_container_was_removed_gets_its_own_settings_again() {
    let stage = Stage::primaries().start().await;
    let (id, v1, name) = (stage.id().to_owned(), stage.reference("v1"), stage.container_name("app1"));
    let _volumes = Volumes(id.clone());
    stage.remove("app1").await;
    docker(&format!(
        "run -d --name {name} --label drainswap.test={id} --restart unless-stopped -p {}:8080 -e ROLE=leader -v {id}-named:/named --memory 100m {v1}",
        stage.server("app1").address
    ));
    stage.until_healthy("app1").await;
    let is_up = async || stage.haproxy.status("app1").await == "UP";
    wait_until("app1 is up", Duration::from_secs(20), is_up).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(50).await;

    let broken = stage.image("broken", &[("FAIL", "never-ready")]).await;
    let deploy = ["deploy", "mobile", "--image", &broken, "--ready-timeout", "3s", "-o", "json"];
    let mut deploy = stage.spawn(&deploy);
    let said = at_each_event(&mut deploy, async |event| {
        if event == "container_started" {
            let kept = docker(&format!("ps -aq --filter name={name}.old-"));
            docker(&format!("rm {kept}"));
        }
    })
    .await;
    assert_eq!(deploy.wait().await.expect("its end").code(), Some(11), "{said}");
    run_printed(&stuck_end(&said).1);
    load.answered(50).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");

    assert_eq!(versions(&stage).await, ["v1", "v1"]);
    let now = inspect(&name);
    let environment = now["Config"]["Env"].as_array().expect("an environment");
    assert!(environment.contains(&"ROLE=leader".into()), "{environment:?}");
    assert!(environment.iter().all(|it| it.as_str() != Some("FAIL=never-ready")), "{environment:?}");
    assert_eq!(now["HostConfig"]["Binds"], serde_json::json!([format!("{id}-named:/named")]));
    assert_eq!(now["HostConfig"]["Memory"], 100 << 20);
    assert_eq!(now["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
    wait_until("app1 is up", Duration::from_secs(20), is_up).await;
    let doctor = stage.drainswap(&["doctor"]).await.exits(0);
    assert!(!doctor.stdout.contains("mobile/"), "{}", doctor.stdout);
    stage.close().await;
}

/// A second server line for the first container, whose check has never passed.
const FORGOTTEN: &str =
    "\nbackend forgotten\n    option httpchk GET /gone\n    server old {app1} check inter 200ms fall 1\n";

/// Returns whether HAProxy has the second line ready and down.
async fn is_down(stage: &Stage) -> bool {
    let stat = stage.haproxy.command("show stat forgotten 4 -1").await;
    stat.lines().any(|line| line.starts_with("forgotten,old,") && line.contains(",DOWN,"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_line_that_never_answered_fails_neither_a_deploy_nor_its_undo() {
    let stage = Stage::pair().extra(FORGOTTEN).start().await;
    wait_until("the forgotten line is down", Duration::from_secs(20), async || is_down(&stage).await).await;
    failing_deploy(&stage, &[("FAIL", "exit")], &[], 10).await.says(&[
        "forgotten/old (",
        "does not answer (GET /gone → 404",
        "failed and rolled back, the old container of mobile/app1 serves as before",
    ]);
    assert!(is_down(&stage).await, "{}", stage.haproxy.command("show stat forgotten 4 -1").await);
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    assert_in_service(&stage).await;
    assert!(is_down(&stage).await, "{}", stage.haproxy.command("show stat forgotten 4 -1").await);
    stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0).says(&["nothing to do"]);
    stage.close().await;
}
