//! Containers that are created from their description in drainswap.toml.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use drainswap::adapters::docker::{DockerEngine, Endpoint};
use drainswap::cli::Globals;
use drainswap::model::ids::{ContainerId, ImageId};
use drainswap::model::image::Image;
use drainswap::observation::{Pinned, Published};
use drainswap::ports::ContainerEngine;
use drainswap::service::Container;
use drainswap::service::container::{Networks, Texts};
use drainswap::service::create_spec::{CreateSpec, SpecSource};
use drainswap::settings::Settings;
use serde_json::{Value, json};

use crate::ends_with;
use crate::round_trip::{docker, inspect};
use crate::support::{Ports, Stage, wait_until};
use crate::versions;

/// Two networks, a volume, and all containers named after the stage.
struct Surroundings {
    id: String,
}

impl Surroundings {
    fn new(id: &str) -> Self {
        let surroundings = Self { id: format!("{id}-described") };
        docker(&format!("network create {id}-described-front"));
        docker(&format!("network create {id}-described-back"));
        surroundings
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        let remove = "docker rm -fv $(docker ps -aqf name=^/$0); docker network rm $0-front $0-back; \
                      docker volume rm $0-cache";
        let _gone = Command::new("sh").args(["-c", remove, &self.id]).output();
    }
}

fn text(id: &str, dir: &Path) -> String {
    format!(
        r#"
        [services.mobile]
        hosts = ["127.0.0.1"]
        primary_port = 50000
        container_port = 8080
        entrypoint = ["/app"]
        environment = {{ LOG = "debug", PORT = 8080 }}
        env_file = "{dir}/mobile.env"
        volumes = ["{dir}:/data:ro", "{id}-cache:/cache", {{ type = "tmpfs", target = "/memory" }}]
        tmpfs = "/run:size=1m"
        restart = "on-failure:3"
        healthcheck = {{ test = ["CMD", "/app", "check"], interval = "1m30s", retries = 3 }}
        labels = ["tier=web"]
        networks.{id}-back = {{}}
        networks.{id}-front = {{ aliases = ["mobile"] }}
        extra_hosts = ["db:10.0.0.9"]
        ulimits = {{ nofile = {{ soft = 512, hard = 1024 }} }}
        logging = {{ driver = "json-file", options = {{ max-file = 3 }} }}
        cap_drop = ["ALL"]
        stop_grace_period = "7s"
        init = false
        hostname = "mobile-one"
        mem_limit = "64m"
        cpus = 0.5
        "#,
        dir = dir.display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs real parts: make test"]
async fn a_described_container_has_all_described_settings() {
    let stage = Stage::pair().start().await;
    let around = Surroundings::new(stage.id());
    let (id, dir) = (around.id.as_str(), stage.dir());
    let path = dir.join("drainswap.toml");
    std::fs::write(&path, text(id, dir)).expect("write");
    std::fs::write(dir.join("mobile.env"), "LOG=info\nFROM_FILE=yes\n").expect("write");
    let settings = Settings::read(&Globals { settings: Some(path), ..Globals::default() });
    let settings = settings.unwrap_or_else(|error| panic!("{error}"));

    let endpoint = Endpoint::read(None, &std::env::vars().collect()).expect("an endpoint");
    let engine = DockerEngine::connect(endpoint).await.expect("an engine");
    let reference = format!("{}:v1", stage.registry.repository());
    let image = ImageId(inspect(&reference)["Id"].as_str().expect("an id").to_owned());
    let ports = Ports::reserve(1);
    let wanted = &settings.services["mobile"].container;
    let recipe = CreateSpec {
        model: SpecSource::Described { wanted: Box::new(wanted.clone()), instead_of: None },
        platform: None,
        image: Image::Local { reference, id: image.clone() },
        name: format!("{id}.new-20261126T100000.000Z"),
        publish: Some(Published {
            ip: "127.0.0.1".parse().expect("an address"),
            port: ports.at(0),
            container_port: 8080,
        }),
        pinned: Pinned::default(),
        renew_volumes: false,
        beside: None,
    };
    let mut elsewhere = wanted.clone();
    elsewhere.networks.0.insert(format!("{id}-nowhere"), drainswap::service::container::Endpoint::default());
    let elsewhere = CreateSpec {
        model: SpecSource::Described { wanted: Box::new(elsewhere), instead_of: None },
        ..recipe.clone()
    };
    let refused = engine.create(&elsewhere).await.expect_err("a network is missing").to_string();
    assert!(refused.contains(&format!("its network {id}-nowhere does not exist")), "{refused}");
    let first = engine.create(&recipe).await.unwrap_or_else(|error| panic!("{error}"));
    let new = engine.create(&recipe).await.unwrap_or_else(|error| panic!("{error}"));
    assert_ne!(first, new, "the container of an earlier attempt is replaced");
    engine.start(&new).await.unwrap_or_else(|error| panic!("{error}"));

    check_settings(&inspect(&recipe.name), id, &dir.display().to_string());
    let is = inspect(&recipe.name);
    assert_eq!(is["Image"], image.0);
    assert_eq!(is["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"], ports.at(0).to_string());
    check_that_it_does_not_differ(&engine, &recipe, wanted, &new).await;
    check_additions_of_the_engine(&engine, &recipe, wanted, id).await;
    drop(around);
    stage.close().await;
}

/// Checks that a container has every described setting.
fn check_settings(is: &Value, id: &str, dir: &str) {
    let at = |path: &str| is.pointer(path).cloned().unwrap_or(Value::Null);
    for (path, wanted) in [
        ("/State/Running", json!(true)),
        ("/Config/Entrypoint", json!(["/app"])),
        ("/Config/Hostname", json!("mobile-one")),
        ("/Config/Labels/tier", json!("web")),
        ("/Config/StopTimeout", json!(7)),
        ("/Config/Healthcheck/Test", json!(["CMD", "/app", "check"])),
        ("/Config/Healthcheck/Interval", json!(90_000_000_000_i64)),
        ("/HostConfig/RestartPolicy", json!({ "Name": "on-failure", "MaximumRetryCount": 3 })),
        ("/HostConfig/Binds", json!([format!("{dir}:/data:ro"), format!("{id}-cache:/cache:rw")])),
        ("/HostConfig/Mounts/0/Target", json!("/memory")),
        ("/HostConfig/Tmpfs", json!({ "/run": "size=1m" })),
        ("/HostConfig/ExtraHosts", json!(["db:10.0.0.9"])),
        ("/HostConfig/Ulimits", json!([{ "Name": "nofile", "Soft": 512, "Hard": 1024 }])),
        // The engine adds default options.
        ("/HostConfig/LogConfig/Type", json!("json-file")),
        ("/HostConfig/LogConfig/Config/max-file", json!("3")),
        ("/HostConfig/CapDrop", json!(["ALL"])),
        ("/HostConfig/Memory", json!(64 << 20)),
        ("/HostConfig/NanoCpus", json!(500_000_000)),
    ] {
        assert_eq!(at(path), wanted, "{path}");
    }
    let environment = at("/Config/Env");
    for variable in ["LOG=debug", "FROM_FILE=yes", "PORT=8080"] {
        assert!(environment.as_array().is_some_and(|all| all.contains(&json!(variable))), "{variable}");
    }
    let networks = at("/NetworkSettings/Networks");
    let names: Vec<&String> = networks.as_object().expect("networks").keys().collect();
    assert_eq!(names, [&format!("{id}-back"), &format!("{id}-front")]);
    let aliases = &networks[format!("{id}-front")]["Aliases"];
    assert!(aliases.as_array().is_some_and(|all| all.contains(&json!("mobile"))), "{aliases}");
}

/// Checks that a container does not differ from its description, in spite of the engine's additions.
async fn check_that_it_does_not_differ(
    engine: &DockerEngine,
    recipe: &CreateSpec,
    wanted: &Container,
    new: &ContainerId,
) {
    let compared = async |wanted: &Container| {
        let model = SpecSource::Described { wanted: Box::new(wanted.clone()), instead_of: Some(new.clone()) };
        let changes = engine.changes(&CreateSpec { model, ..recipe.clone() }).await;
        changes.unwrap_or_else(|error| panic!("{error}")).expect("both are here")
    };
    assert_eq!(compared(wanted).await, []);
    let other = Container { init: Some(true), tty: Some(true), ..wanted.clone() };
    let told: Vec<String> = compared(&other).await.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["Init: nothing → true", "Tty: nothing → true"]);
}

/// Checks that settings which the engine adds to some containers do not count as drift.
async fn check_additions_of_the_engine(
    engine: &DockerEngine,
    recipe: &CreateSpec,
    wanted: &Container,
    id: &str,
) {
    let plain = Container { volumes: Vec::new(), tmpfs: Texts::default(), ..wanted.clone() };
    let plain = Container { networks: Networks::default(), hostname: None, healthcheck: None, ..plain };
    for special in [
        Container { network_mode: Some("host".to_owned()), ..plain.clone() },
        Container { privileged: Some(true), cap_drop: Vec::new(), ..plain.clone() },
        Container { network_mode: Some("none".to_owned()), ..plain.clone() },
    ] {
        let model = |instead_of| SpecSource::Described { wanted: Box::new(special.clone()), instead_of };
        let name = format!("{id}.new-20261126T110000.000Z");
        let recipe = CreateSpec { model: model(None), name, publish: None, ..recipe.clone() };
        let made = engine.create(&recipe).await.unwrap_or_else(|error| panic!("{error}"));
        let again = CreateSpec { model: model(Some(made)), ..recipe };
        let changes = engine.changes(&again).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(changes, Some(Vec::new()), "{:?}", special.network_mode);
    }
    docker(&format!("rm -f {id}.new-20261126T110000.000Z"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_described_service_starts_on_empty_hosts() {
    let stage = Stage::origin().start().await;
    let v1 = stage.reference("v1");
    for server in stage.servers() {
        stage.remove(server.name).await;
    }
    for server in stage.servers() {
        wait_until("HAProxy reports it down", Duration::from_secs(30), async || {
            stage.haproxy.status(server.name).await.starts_with("DOWN")
        })
        .await;
    }
    let file = stage.dir().join("drainswap.toml");
    let text = format!(
        "[services.mobile]\nhosts = [\"127.0.0.1\"]\nprimary_port = 1\ncontainer_port = 8080\n\
         container_name = \"{0}-mobile-{{server}}\"\n\
         environment = {{ TOKEN = \"planted-1f\" }}\nrestart = \"always\"\n\
         labels = {{ \"drainswap.test\" = \"{0}\" }}\n",
        stage.id()
    );
    std::fs::write(&file, &text).expect("write the settings");
    let settings = ["--settings", file.to_str().expect("UTF-8")];
    let status = stage.drainswap(&[&["status"], &settings[..]].concat()).await.exits(0);
    assert_eq!(status.stdout.matches("not yet").count(), 4, "{}", status.stdout);
    let plan = stage.drainswap(&[&["plan", "mobile", "--image", &v1], &settings[..]].concat()).await.exits(0);
    let plan = plan.prints(&["as drainswap.toml describes it"]);
    assert!(!plan.stdout.contains("planted-1f"), "{}", plan.stdout);
    let deploy = [&["deploy", "mobile", "--image", &v1], &settings[..]].concat();
    stage.drainswap(&deploy).await.exits(0).says(&["4 containers replaced"]);
    assert_eq!(versions(&stage).await, ["v1"; 4]);
    let runs = stage.dir().join("state/mobile");
    for entry in std::fs::read_dir(runs).expect("the state directory") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        assert!(!text.contains("planted-1f"), "a journal contains the secret");
    }
    // There is nothing to roll back to.
    stage.drainswap(&[&["rollback", "mobile"], &settings[..]].concat()).await.exits(4);
    stage.drainswap(&deploy).await.exits(0).says(&["nothing to do"]);

    // A changed description is deployed even with the same image, and without naming an image.
    let text = text.replace("planted-1f", "planted-2e").replace("always", "unless-stopped");
    let text = format!("{text}image = \"{v1}\"\nhostname = \"mobile\"\n");
    std::fs::write(&file, &text).expect("write the settings");
    deploy_the_changed_description(&stage, &settings).await;
    describe_the_same_in_a_compose_file(&stage, &v1).await;

    // Docker's health check must pass too, and its last runs show the reason for a failure.
    let check = "healthcheck = { test = [\"CMD\", \"/nothing\"], interval = \"1s\", retries = 1 }\n";
    std::fs::write(&file, text + check).expect("write the settings");
    let hasty = [&["deploy", "mobile", "--ready-timeout", "4s"], &settings[..]].concat();
    let failed = stage.drainswap(&hasty).await.exits(10);
    failed.says(&["Docker's healthcheck says unhealthy", "health | exit code -1", "rolled back"]);
    ends_with("v1", stage).await;
}

/// Deploys a description that differs in several settings, rolls back, and deploys it again.
async fn deploy_the_changed_description(stage: &Stage, settings: &[&str]) {
    let run = async |command: &[&str]| stage.drainswap(&[command, settings].concat()).await.exits(0);
    run(&["status"]).await.says(&["note: mobile/app2b is not as drainswap.toml describes it"]);
    let plan = run(&["plan", "mobile"]).await.prints(&[
        "differs from its description in drainswap.toml",
        "environment variable TOKEN has a new value",
        "Hostname: nothing → mobile",
        "RestartPolicy: always → unless-stopped",
    ]);
    assert!(!plan.stdout.contains("planted-"), "{}", plan.stdout);
    // Such a deploy is in the history and can be rolled back.
    let events = run(&["deploy", "mobile", "--keep", "1", "-o", "json"]).await;
    assert!(!events.stdout.contains("planted-") && !events.stderr.contains("planted-"), "{}", events.stdout);
    run(&["rollback", "mobile", "--keep", "0"]).await.says(&["4 containers replaced"]);
    let name = format!("{}-mobile-app1b", stage.id());
    assert_ne!(inspect(&name)["Config"]["Hostname"], "mobile");
    run(&["deploy", "mobile"]).await.says(&["4 containers replaced"]);
    let status = run(&["status", "-o", "json"]).await;
    assert!(!status.stdout.contains("planted-"), "{}", status.stdout);
    let is = inspect(&name);
    assert_eq!(is["Config"]["Hostname"], "mobile");
    assert_eq!(is["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
    run(&["deploy", "mobile"]).await.says(&["nothing to do"]);
}

/// Describes the containers that run in a Compose file with variables, and changes a variable.
async fn describe_the_same_in_a_compose_file(stage: &Stage, v1: &str) {
    let compose = format!(
        "services:\n  mobile:\n    image: ${{IMAGE:?}}\n    network_mode: bridge\n    hostname: mobile\n    \
         environment: [TOKEN]\n    restart: ${{POLICY:-unless-stopped}}\n    labels: {{ drainswap.test: {0} }}\n    \
         ports: [\"50000:8080\"]\n    x-drainswap:\n      hosts: [127.0.0.1]\n      primary_port: 1\n      \
         container_name: {0}-mobile-{{server}}\n",
        stage.id()
    );
    std::fs::write(stage.dir().join("compose.yaml"), compose).expect("write");
    std::fs::write(stage.dir().join(".env"), format!("IMAGE={v1}\nTOKEN=planted-2e\n")).expect("write");
    let by_compose = stage.dir().join("by-compose.toml");
    std::fs::write(&by_compose, "compose = \"compose.yaml\"\n").expect("write");
    let same = ["deploy", "mobile", "--settings", by_compose.to_str().expect("UTF-8")];
    stage.drainswap(&same).await.exits(0).says(&["nothing to do"]);
    std::fs::write(stage.dir().join(".env"), format!("IMAGE={v1}\nTOKEN=planted-3d\n")).expect("write");
    let plan = [&["plan"], &same[1..]].concat();
    let plan = stage.drainswap(&plan).await.exits(0).prints(&["variable TOKEN has a new value"]);
    assert!(!plan.stdout.contains("planted-"), "{}", plan.stdout);
}
