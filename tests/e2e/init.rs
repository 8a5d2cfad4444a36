//! `drainswap init`: the written drainswap.toml is enough for all other commands.

use tokio::process::Command;

use crate::support::{Ended, Stage, finish, program};

/// Runs drainswap with only the given arguments.
async fn drainswap(arguments: &[&str]) -> Ended {
    let mut command = Command::new(program());
    command.args(arguments).env("NO_COLOR", "1").stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    finish(command.spawn().expect("start drainswap")).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn settings_from_init_are_enough_for_a_plan() {
    let stage = Stage::pair().start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let file = stage.dir().join("fresh/drainswap.toml");
    let file = file.to_str().expect("a path in UTF-8");
    let repository = v2.rsplit_once(':').expect("a tag").0;
    stage.drainswap(&["init", "--settings", file]).await.exits(0).says(&[
        &format!("wrote {file}"),
        &format!("drainswap plan mobile --image {repository}:TAG --settings {file}"),
    ]);
    let text = std::fs::read_to_string(file).expect("the settings");
    for name in ["app1", "app1b"] {
        let server = stage.server(name);
        let container = stage.container_name(name);
        let line = format!("#   {name}  {}  {container}  {}", server.address, stage.reference("v1"));
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains(&format!("here {}.", stage.dir().join("admin.sock").display())), "{text}");
    // No flags or variables are necessary.
    drainswap(&["--settings", file, "plan", "mobile", "--image", &v2])
        .await
        .exits(0)
        .prints(&["app1", "app1b"]);
    drainswap(&["--settings", file, "deploy", "mobile", "--image", &v2, "--keep", "0"]).await.exits(0);

    stage.drainswap(&["init", "--settings", file]).await.exits(4).says(&["already exists", "--force"]);
    assert_eq!(std::fs::read_to_string(file).expect("the settings"), text);
    let shown = stage.drainswap(&["init", "-"]).await.exits(0);
    assert!(shown.stdout.contains(&v2), "the running image is shown:\n{}", shown.stdout);
    stage.drainswap(&["init", file, "--force"]).await.exits(0);
    assert_eq!(std::fs::read_to_string(file).expect("the settings"), shown.stdout);
    crate::ends_with("v2", stage).await;
}

#[tokio::test]
#[ignore = "needs real parts: make test"]
async fn init_reports_obstacles_to_a_deploy() {
    let dir = tempfile::TempDir::with_prefix("drainswap-test-").expect("a temporary directory");
    let config = dir.path().join("haproxy.cfg");
    let config_name = config.to_str().expect("a path in UTF-8");
    drainswap(&["init", "-", "-f", config_name])
        .await
        .exits(3)
        .says(&["cannot read ", "haproxy.cfg: No such file"]);
    std::fs::write(&config, "backend mobile\n    server app1 127.0.0.1:1\n").expect("write haproxy.cfg");
    drainswap(&["init", "-", "-f", config_name])
        .await
        .exits(0)
        .says(&["no `stats socket`", "level admin"])
        .prints(&[
            "#   app1  127.0.0.1:1  could not be inspected",
            &format!("haproxy_config = {config_name:?}"),
        ]);
    let defaults = drainswap(&["init", "-", "--defaults"]).await.exits(0);
    assert!(defaults.stderr.is_empty() && defaults.stdout.contains("# haproxy_config = \"/etc/haproxy"));
}
