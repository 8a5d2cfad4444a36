//! Registries that require a password, and a slow registry.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::ends_with;
use crate::snapshot;
use crate::support::{Ended, PASSWORD, Ports, Registry, Stage, TokenServer, USER, finish, wait_until};
use crate::versions;

/// Creates a folder with Docker's configuration.
fn docker_config(stage: &Stage, name: &str, content: &serde_json::Value) -> PathBuf {
    let folder = stage.dir().join(name);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("config.json"), content.to_string()).expect("write Docker's configuration");
    folder
}

/// Deploys with a Docker configuration, and checks that the output does not contain the password.
async fn deploy(stage: &Stage, image: &str, config: &PathBuf) -> Ended {
    deploy_with(stage, image, config, &[]).await
}

/// Deploys like [`deploy`], with additional arguments.
async fn deploy_with(stage: &Stage, image: &str, config: &PathBuf, more: &[&str]) -> Ended {
    let path = format!("{}:{}", stage.dir().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = stage.command(&[&["deploy", "mobile", "--image", image, "-v"], more].concat());
    command.env("DOCKER_CONFIG", config).env("PATH", path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = finish(command.spawn().expect("start drainswap")).await;
    assert!(!ended.stdout.contains(PASSWORD) && !ended.stderr.contains(PASSWORD), "{}", ended.stderr);
    ended
}

/// Starts a stage whose images v2 and v3 are also in a registry with a password. Returns the registry and its port.
async fn guarded() -> (Stage, Registry, Ports) {
    let stage = Stage::pair().start().await;
    let ports = Ports::reserve(1);
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports.at(0));
    let guarded = Registry::start_guarded(stage.dir(), address).await;
    for version in ["v2", "v3"] {
        stage.image(version, &[("VERSION", version)]).await;
    }
    (stage, guarded, ports)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_registry_gets_the_password_from_the_docker_configuration() {
    let (stage, guarded, _ports) = guarded().await;
    let address = guarded.address();
    let image = |version: &str| format!("{}:{version}", guarded.repository());
    let before = snapshot(&stage).await;
    let auths = |password: &str| {
        // Base64 of `user:password`.
        let known = [(PASSWORD, "ZGVwbG95ZXI6cGxhbnRlZC03ZDFl"), ("wrong", "ZGVwbG95ZXI6d3Jvbmc=")];
        let auth = known.iter().find(|(known, _)| *known == password).expect("a known password").1;
        json!({ "auths": { address.to_string(): { "auth": auth } } })
    };
    let nothing = docker_config(&stage, "nothing", &json!({}));
    deploy(&stage, &image("v2"), &nothing).await.exits(5).says(&["from its registry", "docker login"]);
    let wrong = docker_config(&stage, "wrong", &auths("wrong"));
    deploy(&stage, &image("v2"), &wrong).await.exits(5).says(&["from its registry"]);
    // A credential helper with a wrong answer and then the right one: every login calls it again.
    let answer = stage.dir().join("answer.json");
    let helper = stage.dir().join("docker-credential-x");
    // Like every helper, it must read the registry's name, because the pipe would break otherwise.
    let script = format!("#!/bin/sh\ncat >/dev/null\ncat {}\n", answer.display());
    fs::write(&helper, script).expect("write the helper");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("make it a program");
    let by_helper = docker_config(&stage, "helped", &json!({ "credHelpers": { address.to_string(): "x" } }));
    let say = |secret: &str| {
        let text = json!({ "ServerURL": address.to_string(), "Username": USER, "Secret": secret });
        fs::write(&answer, text.to_string()).expect("write the answer");
    };
    say("wrong");
    deploy(&stage, &image("v2"), &by_helper).await.exits(5);
    assert_eq!(snapshot(&stage).await, before);
    say(PASSWORD);
    deploy(&stage, &image("v2"), &by_helper).await.exits(0);
    let right = docker_config(&stage, "right", &auths(PASSWORD));
    deploy(&stage, &image("v3"), &right).await.exits(0);
    for entry in fs::read_dir(stage.dir().join("state/mobile")).expect("the state directory") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        assert!(!text.contains(PASSWORD), "a journal contains the secret");
    }
    ends_with("v3", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_login_in_the_settings_has_precedence_and_its_password_is_read_at_each_login() {
    let (stage, guarded, _ports) = guarded().await;
    let address = guarded.address();
    let image = |version: &str| format!("{}:{version}", guarded.repository());
    let (file, password) = (stage.dir().join("drainswap.toml"), stage.dir().join("password"));
    let write = |text: &str, mode| {
        fs::write(&password, text).expect("write the password");
        fs::set_permissions(&password, fs::Permissions::from_mode(mode)).expect("set its mode");
    };
    let before = snapshot(&stage).await;
    // Base64 of `deployer:wrong`.
    let auths = json!({ "auths": { address.to_string(): { "auth": "ZGVwbG95ZXI6d3Jvbmc=" } } });
    let docker = docker_config(&stage, "docker", &auths);
    let try_it = async |entry: &str, version: &str| {
        let text = format!("[registries]\n\"{address}\" = {{ username = \"{USER}\", {entry} }}\n");
        fs::write(&file, text).expect("write the settings");
        let settings = ["--settings", file.to_str().expect("UTF-8")];
        deploy_with(&stage, &image(version), &docker, &settings).await
    };
    let by_file = format!("password_file = {password:?}");
    let by_command = format!("password_command = 'cat {}'", password.display());

    try_it(&format!("password = \"{PASSWORD}\""), "v2").await.exits(3).says(&["with password_file"]);
    try_it(&by_file, "v2").await.exits(3).says(&["cannot read its password_file"]);
    write(PASSWORD, 0o644);
    try_it(&by_file, "v2").await.exits(3).says(&["accessible to all users", "chmod o-rwx"]);
    try_it("password_command = 'exit 3'", "v2").await.exits(5).says(&["password_command failed"]);
    write("wrong", 0o640);
    for entry in [&by_file, &by_command] {
        let says = ["from its registry", "the login of [registries] in drainswap.toml"];
        try_it(entry, "v2").await.exits(5).says(&says);
    }
    assert_eq!(snapshot(&stage).await, before);
    write(PASSWORD, 0o640);
    try_it(&by_file, "v2").await.exits(0);
    try_it(&by_command, "v3").await.exits(0);
    ends_with("v3", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_expired_token_fails_the_deploy_without_changes() {
    let stage = Stage::pair().start().await;
    let (ports, tokens) = (Ports::reserve(1), TokenServer::start(stage.dir()).await);
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports.at(0));
    let guarded = Registry::start_by_tokens(stage.dir(), address, &tokens).await;
    stage.image("v2", &[("VERSION", "v2")]).await;
    let image = format!("{}:v2", guarded.repository());
    let before = snapshot(&stage).await;
    // Base64 of `user:password`.
    let auths = |auth: &str| json!({ "auths": { address.to_string(): { "auth": auth } } });
    let login = docker_config(&stage, "login", &auths("ZGVwbG95ZXI6cGxhbnRlZC03ZDFl"));
    let wrong = docker_config(&stage, "wrong", &auths("ZGVwbG95ZXI6d3Jvbmc="));

    let advice = ["unauthorized", "the login in Docker's configuration", "expired", "`docker login"];
    deploy(&stage, &image, &wrong).await.exits(5).says(&advice);
    assert_eq!(tokens.given(), 0, "a wrong password got a token");
    deploy(&stage, &image, &login).await.exits(5).says(&advice);
    let to_resolve = tokens.given();
    assert!(to_resolve > 0, "the registry requires no token");
    // The token expires after the tag is resolved and before the pull.
    tokens.gives(to_resolve);
    let ended = deploy(&stage, &image, &login).await.exits(5).says(&["pull ", "nothing was touched"]);
    // containerd does not report the reason.
    ended.says(if stage.engine.is_on_containerd().await { &advice[1..] } else { &advice });
    assert_eq!(snapshot(&stage).await, before);
    tokens.gives(1000);
    deploy(&stage, &image, &login).await.exits(0);
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn each_engine_gets_the_image_for_its_platform_or_the_deploy_is_refused() {
    let stage = Stage::pair().start().await;
    for version in ["v2", "v3", "v4", "v5"] {
        stage.image(version, &[("VERSION", version)]).await;
    }
    let own = platform_of_the_engine();
    let (own, foreign) = if own == "amd64" { ("amd64", "arm64") } else { ("arm64", "amd64") };
    let before = snapshot(&stage).await;
    // Only the platforms in the manifests matter here, and not the program itself.
    stage.registry.index("foreign", &[(foreign, "v2")]).await;
    stage.registry.index("both", &[(foreign, "v2"), (own, "v3")]).await;
    stage.registry.index("more", &[(own, "v4"), (foreign, "v5")]).await;
    let file = stage.dir().join("drainswap.toml");
    let write = |platform: &str| {
        let text = format!(
            "[services.mobile]\nhosts = [\"127.0.0.1\"]\nprimary_port = 1\ncontainer_port = 8080\n\
             container_name = \"{0}-mobile-{{server}}\"\nrestart = \"unless-stopped\"\n\
             labels = {{ \"drainswap.test\" = \"{0}\" }}\n{platform}\n",
            stage.id()
        );
        fs::write(&file, text).expect("write the settings");
    };
    let settings = file.to_str().expect("UTF-8");
    let deploy = async |tag: &str| {
        let image = stage.reference(tag);
        stage.drainswap(&["deploy", "mobile", "--image", &image, "--settings", settings]).await
    };
    let (is_for, is) = (format!("is built for linux/{foreign}"), format!("runs linux/{own}"));

    write("");
    deploy("foreign").await.exits(4).says(&["nothing was touched", &is_for, &is, "`platform`"]);
    write("platform = \"linux/s390x\"");
    let (one, other) = (format!("linux/{foreign}"), format!("linux/{own}"));
    deploy("both").await.exits(4).says(&["must run linux/s390x", &one, &other]);
    assert_eq!(snapshot(&stage).await, before);

    write("");
    deploy("both").await.exits(0);
    assert_eq!(versions(&stage).await, ["v3"; 2]);
    // The engine has the image for its own platform, and the deploy asks for the other one. Docker's classic image
    // store holds only one of them.
    stage.engine.pull(&stage.reference("more")).await;
    write(&format!("platform = \"linux/{foreign}\""));
    let plan = ["plan", "mobile", "--image", &stage.reference("both"), "--settings", settings];
    let change = format!("Platform: linux/{own} → linux/{foreign}");
    stage.drainswap(&plan).await.exits(0).prints(&[&change]);
    if !stage.engine.is_on_containerd().await {
        deploy("more").await.exits(5).says(&["can hold only one of the two", "`docker image rm"]);
        assert_eq!(versions(&stage).await, ["v3"; 2]);
        stage.engine.forget(&stage.reference("more")).await;
    }
    deploy("more").await.exits(0);
    ends_with("v5", stage).await;
}

fn platform_of_the_engine() -> String {
    crate::round_trip::docker("version --format {{.Server.Arch}}").trim().to_owned()
}

/// Runs a proxy that forwards a registry's responses up to a number of bytes and holds back the rest.
async fn slow(listener: TcpListener, registry: SocketAddrV4, most: u64) {
    // The connections end with the proxy, like those of a registry that dies.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (from, mut to) = TcpStream::connect(registry).await?.into_split();
            let up = copy(&mut from_client, &mut to);
            let down = async {
                copy(&mut from.take(most), &mut to_client).await?;
                // The rest never arrives, and the connection stays open.
                std::future::pending::<std::io::Result<()>>().await
            };
            tokio::try_join!(up, down).map(drop)
        });
    }
}

/// Starts a deploy whose pull has received part of a layer and then stalls.
struct HalfPulled {
    deploy: Child,
    events: Lines<BufReader<ChildStdout>>,
    registry: JoinHandle<()>,
}

impl HalfPulled {
    async fn start(stage: &Stage) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        // The engine shares the pull of a layer between all requests, so this layer must be unique.
        let image = format!("{}/mobile:{}", listener.local_addr().expect("an address"), stage.id());
        stage.large_image(stage.id(), 4).await;
        // Manifests are small, but the layer is large, because containerd only reports progress per MiB.
        let registry = tokio::spawn(slow(listener, stage.registry.address(), 3 << 20));
        let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &image, "-o", "json"]);
        let mut events = BufReader::new(deploy.stdout.take().expect("a pipe")).lines();
        wait_until("part of the layer has arrived", Duration::from_secs(30), async || {
            let line = events.next_line().await.expect("events").expect("more of them");
            line.contains("pull_progressed")
        })
        .await;
        Self { deploy, events, registry }
    }

    /// Returns the rest of the output on both streams, and the exit code.
    async fn end(mut self) -> (String, Option<i32>) {
        let mut said = String::new();
        while let Ok(Some(line)) = self.events.next_line().await {
            said += &(line + "\n");
        }
        let mut errors = self.deploy.stderr.take().expect("a pipe");
        errors.read_to_string(&mut said).await.expect("read stderr");
        let code = self.deploy.wait().await.expect("an end").code();
        self.registry.abort();
        (said, code)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_stalled_pull_can_be_cancelled_without_changes() {
    let stage = Stage::pair().start().await;
    let before = snapshot(&stage).await;
    let pull = HalfPulled::start(&stage).await;
    let id = pull.deploy.id().expect("it runs").to_string();
    let asked = std::process::Command::new("kill").args(["-INT", &id]).status();
    assert!(asked.is_ok_and(|status| status.success()), "kill -INT");
    let (said, code) = pull.end().await;
    assert_eq!(code, Some(12), "{said}");
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_registry_that_dies_during_a_pull_fails_the_deploy_without_changes() {
    let mut stage = Stage::pair().start().await;
    let before = snapshot(&stage).await;
    let pull = HalfPulled::start(&stage).await;
    stage.registry.kill();
    pull.registry.abort();
    // With its classic image store, the engine retries five times by itself, after 5, 10, 15, 20 and 25 s.
    let tries_again = if stage.engine.is_on_containerd().await { "" } else { "the engine retries" };
    let (said, code) = timeout(Duration::from_secs(120), pull.end()).await.expect("it ends");
    assert_eq!(code, Some(5), "{said}");
    for text in [tries_again, "\"refused\"", "from its registry", "when it answers"] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(said.lines().count() < 20, "it repeats itself: {said}");
    assert_eq!(snapshot(&stage).await, before);
    stage.close().await;
}
