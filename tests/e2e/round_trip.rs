//! Recreation of containers: the new container has every setting that the operator gave the old one, and none that
//! only came from the old image. A table in docs/reference shows the result for each engine and setting.

mod table;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use drainswap::adapters::docker::{DockerEngine, Endpoint};
use drainswap::model::ids::ContainerId;
use drainswap::model::image::Image;
use drainswap::observation::Pinned;
use drainswap::ports::{ContainerEngine, EngineError};
use drainswap::service::create_spec::{CreateSpec, SpecSource};
use serde_json::{Map, Value, json};

use self::table::{Cell, Column};
use crate::support::Stage;

/// The settings of an image, and those of its successor.
const OLD: &[&str] = &[
    "ENV FROM_IMAGE=old",
    "ENV SHARED=image",
    "LABEL from=old",
    "EXPOSE 8080",
    "VOLUME /data",
    "WORKDIR /old",
    "USER 1:1",
    "STOPSIGNAL SIGINT",
    "HEALTHCHECK --interval=40s --timeout=3s CMD [\"/app\", \"old\"]",
    "ENTRYPOINT [\"/app\"]",
    "CMD [\"old\"]",
];
const NEW: &[&str] = &[
    "ENV FROM_IMAGE=new",
    "ENV ONLY_NEW=1",
    "LABEL from=new",
    "EXPOSE 9090",
    "VOLUME /more",
    "WORKDIR /new",
    "USER 2:2",
    "STOPSIGNAL SIGTERM",
    "HEALTHCHECK --interval=50s --timeout=4s CMD [\"/app\", \"new\"]",
    "ENTRYPOINT [\"/app\"]",
    "CMD [\"new\"]",
];

/// A kind of setting as an operator gives it.
struct Case {
    name: &'static str,
    /// The arguments of `docker create` before the image. `{net}` and `{back}` are networks of the stage, `{named}` is
    /// a volume, `{other}` a running container and `{dir}` a directory.
    options: &'static str,
    /// The arguments after the image.
    command: &'static str,
    /// The first API version with the setting.
    since: (usize, usize),
}

/// The setting of the case; other settings are invented.
const CHOSEN_MAC: &str = "02:aa:bb:cc:dd:ee";

const fn case(name: &'static str, options: &'static str) -> Case {
    Case { name, options, command: "", since: (1, 40) }
}

const CASES: &[Case] = &[
    case("nothing", ""),
    case("environment", "-e OWN=1 -e FROM_IMAGE=mine -e SHARED=image"),
    Case { command: "another command", ..case("command", "") },
    Case { command: "with this", ..case("entrypoint", "--entrypoint /app") },
    case("volumes", "-v {named}:/named:ro -v /anonymous -v {dir}:/bind:ro --tmpfs /tmp:size=1m"),
    case(
        "mounts",
        "--mount type=volume,src={named},dst=/named,volume-nocopy --mount type=tmpfs,dst=/t,tmpfs-size=4096 \
         --mount type=bind,src={dir},dst=/bind,bind-propagation=private --mount type=volume,dst=/anonymous",
    ),
    Case {
        since: (1, 45),
        ..case("subpath", "--mount type=volume,src={named},dst=/part,volume-subpath=part")
    },
    Case { since: (1, 48), ..case("image-mount", "--mount type=image,src={image},dst=/image") },
    case("networks", "--network {net} --network-alias web --network-alias www --ip 10.199.{octet}.77"),
    case("mac-address", "--mac-address 02:aa:bb:cc:dd:ee"),
    case("devices", "--device /dev/null:/dev/nothing:r"),
    case("healthcheck", "--health-cmd true --health-interval 9s --health-retries 5"),
    case("health-interval", "--health-interval 9s"),
    Case {
        since: (1, 44),
        ..case("health-start", "--health-cmd true --health-start-period 9s --health-start-interval 2s")
    },
    case("no-healthcheck", "--no-healthcheck"),
    case("restart-on-failure", "--restart on-failure:3"),
    case("restart-always", "--restart always"),
    case("restart-unless-stopped", "--restart unless-stopped"),
    case("log", "--log-driver json-file --log-opt max-size=1m"),
    case("no-log", "--log-driver none"),
    case("user", "--user 3:4 --group-add 7 --cap-add NET_ADMIN"),
    case("hardened", "--init --read-only --tmpfs /run --security-opt no-new-privileges"),
    case("labels", "-l own=1 -l from=old -l com.example.x=y"),
    Case { since: (1, 43), ..case("annotations", "--annotation com.example.x=y") },
    case("host-network", "--network host -e PORT=0"),
    case("no-network", "--network none"),
    case("ports", "-p 127.0.0.1:{port}:8080 -p 127.0.0.2:{port}:8081/udp -p 9000"),
    case("all-ports", "-P --expose 7000"),
    case("capabilities", "--cap-add NET_ADMIN --cap-drop MKNOD"),
    case("privileged", "--privileged"),
    case("unconfined", "--security-opt systempaths=unconfined --security-opt seccomp=unconfined"),
    case(
        "names",
        "--hostname web --domainname example.org --add-host db:1.2.3.4 --dns 127.0.0.9 --dns-search example.org \
         --dns-option ndots:2",
    ),
    case(
        "limits",
        "--ulimit nofile=100:200 --ulimit nproc=900:1000 --sysctl net.ipv4.ip_default_ttl=77 --memory 64m \
         --memory-reservation 32m --memory-swap 96m --shm-size 32m --pids-limit 50 --oom-score-adj 100",
    ),
    case("cpus", "--cpus 0.5"),
    case("cpu-time", "--cpu-period 50000 --cpu-quota 20000 --cpu-shares 100 --cpuset-cpus 0"),
    case("stop", "--stop-signal SIGQUIT --stop-timeout 3 --workdir /mine"),
    case("terminal", "-t -i"),
    case("container-network", "--network container:{other} -e PORT=9999"),
    case("host-namespaces", "--ipc host --pid host --uts host --cgroupns host"),
    case("link", "--link {other}:database"),
    case("volumes-from", "--volumes-from {other}:ro"),
];

/// The settings that are also tested with an image that has different ones.
const IN_A_NEW_IMAGE: &[&str] =
    &["nothing", "environment", "command", "healthcheck", "health-interval", "labels", "stop"];

pub(super) fn docker(arguments: &str) -> String {
    try_docker(arguments).unwrap_or_else(|error| panic!("docker {arguments}: {error}"))
}

fn try_docker(arguments: &str) -> Result<String, String> {
    let output = Command::new("docker").args(arguments.split_whitespace()).output().expect("run docker");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Builds an image without files.
pub(super) fn build(reference: &str, text: &str) {
    let build = ["build", "--quiet", "--tag", reference, "-"];
    let mut command = Command::new("docker");
    // Every version of the client has this builder.
    command.args(build).env("DOCKER_BUILDKIT", "0").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("run docker");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("give the instructions");
    assert!(child.wait().is_ok_and(|status| status.success()), "docker build {reference}");
}

pub(super) fn inspect(name: &str) -> Value {
    let all: Vec<Value> = serde_json::from_str(&docker(&format!("inspect {name}"))).expect("an inspection");
    all.into_iter().next().expect("a container")
}

/// The parts of an inspection that differ between any two containers.
const GENERATED: &[&str] = &[
    "Id",
    "Created",
    "State",
    "Image",
    "ResolvConfPath",
    "HostnamePath",
    "HostsPath",
    "LogPath",
    "GraphDriver",
    "RestartCount",
    "ExecIDs",
    // The image again.
    "ImageManifestDescriptor",
];

/// Removes values that differ between any two containers: identity, times, paths in the file system, and generated
/// addresses.
fn normalised(mut found: Value) -> Value {
    let id = found["Id"].as_str().expect("an id").to_owned();
    let volumes = anonymous_volumes(&found);
    let object = found.as_object_mut().expect("an object");
    for key in GENERATED {
        object.remove(*key);
    }
    object["Config"].as_object_mut().expect("a configuration").remove("Image");
    if object["Config"]["Hostname"] == id[..12] {
        object["Config"]["Hostname"] = json!("(made of the id)");
    }
    let env = object["Config"]["Env"].as_array_mut().expect("an environment");
    for variable in env.iter_mut().filter(|it| it.as_str() == Some(&format!("HOSTNAME={}", &id[..12]))) {
        *variable = json!("HOSTNAME=(made of the id)");
    }
    env.sort_by_key(ToString::to_string);
    object["Config"]["Labels"].as_object_mut().expect("labels").remove("tag");
    // The new container gets an anonymous volume by name.
    if let Some(mounts) = object["HostConfig"]["Mounts"].as_array_mut() {
        mounts.retain(|mount| !volumes.iter().any(|volume| mount["Source"] == volume.as_str()));
        mounts.retain(|mount| mount["Type"] != "volume" || mount.get("Source").is_some());
        if mounts.is_empty() {
            object["HostConfig"].as_object_mut().expect("a configuration").remove("Mounts");
        }
    }
    // Podman lists each volume there as well.
    if let Some(binds) = object["HostConfig"]["Binds"].as_array_mut() {
        binds.retain(|bind| {
            !volumes.iter().any(|volume| bind.as_str().is_some_and(|it| it.starts_with(volume)))
        });
        if binds.is_empty() {
            object["HostConfig"]["Binds"] = Value::Null;
        }
    }
    let mounts = object["Mounts"].as_array_mut().expect("a list");
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    for mount in mounts {
        // The requested mode does not matter once the mount exists.
        mount.as_object_mut().expect("a mount").remove("Mode");
        if mount["Type"] == "image" {
            mount.as_object_mut().expect("a mount").remove("Source");
        }
    }
    let networks = object["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
    let networks: Map<String, Value> =
        networks.into_iter().map(|(name, it)| (name, endpoint(it, &id))).collect();
    let ports = object["NetworkSettings"]["Ports"].as_object().cloned().unwrap_or_default();
    let ports: Vec<&String> = ports.keys().collect();
    object["NetworkSettings"] = json!({ "Networks": networks, "Ports": ports });
    found
}

/// Returns an endpoint in a network without generated values.
fn endpoint(mut endpoint: Value, id: &str) -> Value {
    let object = endpoint.as_object_mut().expect("an endpoint");
    let is_chosen = object["IPAMConfig"]["IPv4Address"].is_string();
    for key in ["NetworkID", "EndpointID", "Gateway", "IPPrefixLen", "DNSNames"] {
        object.remove(key);
    }
    if object["MacAddress"] != CHOSEN_MAC {
        object.remove("MacAddress");
    }
    if !is_chosen {
        object.remove("IPAddress");
        // The engine writes missing values in two ways.
        object.remove("IPAMConfig");
    }
    let aliases = object["Aliases"].as_array().cloned().unwrap_or_default();
    let aliases: BTreeSet<String> = aliases
        .iter()
        .filter_map(Value::as_str)
        .filter(|alias| *alias != &id[..12])
        .map(str::to_owned)
        .collect();
    object.insert("Aliases".to_owned(), json!(aliases));
    if object["DriverOpts"].as_object().is_none_or(Map::is_empty) {
        object.remove("DriverOpts");
    }
    endpoint
}

/// Returns the anonymous volumes.
fn anonymous_volumes(found: &Value) -> Vec<String> {
    let mounts = found["Mounts"].as_array().cloned().unwrap_or_default();
    let names = mounts.iter().filter_map(|mount| mount["Name"].as_str());
    let mut names: Vec<String> = names.filter(|name| name.len() == 64).map(str::to_owned).collect();
    names.sort();
    names
}

/// Collects the differences between two inspections, by path.
fn differences(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let (one, other) =
                    (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
                differences(&format!("{path}.{key}"), one, other, found);
            }
        }
        (Value::Array(one), Value::Array(other)) if path.ends_with(".Env") => {
            let left = |of: &[Value], than: &[Value]| {
                let left = of.iter().filter(|it| !than.contains(it)).filter_map(Value::as_str);
                left.map(str::to_owned).collect::<Vec<_>>().join(" ")
            };
            let (gone, new) = (left(one, other), left(other, one));
            if gone != new {
                found.push(format!("{path}: {gone} -> {new}"));
            }
        }
        (one, other) if one != other => found.push(format!("{path}: {one} -> {other}")),
        _ => {}
    }
}

/// The networks and volumes of a test, which are removed at its end.
struct Surroundings {
    id: String,
    octet: u16,
}

impl Surroundings {
    fn new(id: &str) -> Self {
        let octet = u16::from_str_radix(&id[id.len() - 2..], 16).expect("hexadecimal");
        let it = Self { id: id.to_owned(), octet };
        docker(&format!("network create --subnet 10.199.{octet}.0/25 {id}-net"));
        docker(&format!("network create --subnet 10.199.{octet}.128/25 {id}-back"));
        docker(&format!("volume create {id}-named"));
        it
    }

    fn fill(&self, text: &str, port: u16, dir: &str) -> String {
        let id = &self.id;
        text.replace("{net}", &format!("{id}-net"))
            .replace("{named}", &format!("{id}-named"))
            .replace("{other}", &format!("{id}-other"))
            .replace("{octet}", &self.octet.to_string())
            .replace("{port}", &port.to_string())
            .replace("{dir}", dir)
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        let remove = "docker rm -fv $(docker ps -aqf name=$0-rt- -f name=$0-other); \
                      docker network rm $0-net $0-back; docker volume rm $0-named";
        let _gone = Command::new("sh").args(["-c", remove, &self.id]).output();
    }
}

/// Returns the recipe for a container like this one, with an image.
fn copy_of(name: &str, image: &Image) -> CreateSpec {
    let like = ContainerId(inspect(name)["Id"].as_str().expect("an id").to_owned());
    CreateSpec {
        model: SpecSource::CopyOf(like),
        image: image.clone(),
        name: format!("{name}.new-20261126T100000.000Z"),
        platform: None,
        publish: None,
        pinned: Pinned::default(),
        renew_volumes: false,
        beside: None,
    }
}

/// Replaces the container of a case by one with another image. Returns the old and the new inspection, or the error.
async fn replaced(engine: &DockerEngine, name: &str, image: &Image) -> Result<(Value, Value), EngineError> {
    if name.contains("-rt-networks-") {
        let back = name.split("-rt-").next().expect("an id").to_owned() + "-back";
        docker(&format!("network connect --alias behind {back} {name}"));
    }
    let old = inspect(name);
    let id = ContainerId(old["Id"].as_str().expect("an id").to_owned());
    let new = engine.create(&copy_of(name, image)).await?;
    // The container's stop signal is not the one that the application handles.
    docker(&format!("stop --time 0 {name}"));
    engine.rename(&id, &format!("{name}.old-20261126T100000.000Z")).await.expect("rename");
    engine.rename(&new, name).await.expect("rename");
    engine.start(&new).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    Ok((old, inspect(name)))
}

/// Returns the inspection of a container with the same arguments and the new image. A setting that equals the old
/// image's default cannot be distinguished from it and follows the image.
fn fresh(name: &str, create: &str) -> Value {
    let create = create.replace(name, &format!("{name}-fresh")).replace(":old ", ":new ");
    docker(&create.replace("-e SHARED=image", "").replace("-l from=old", ""));
    docker(&format!("start {name}-fresh"));
    let mut fresh = inspect(&format!("{name}-fresh"));
    fresh["Name"] = json!(format!("/{name}"));
    fresh
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
#[ignore = "needs real parts: make test"]
async fn a_new_container_has_all_settings_that_the_old_one_was_given() {
    let stage = Stage::pair().start().await;
    let (id, repository) = (stage.id(), stage.registry.repository());
    for (tag, instructions) in [("old", OLD), ("same", OLD), ("new", NEW)] {
        // Two images with the same settings are still two images.
        let text = format!("FROM {repository}:v1\nLABEL tag={tag}\n{}\n", instructions.join("\n"));
        build(&format!("{repository}:{tag}"), &text);
    }
    let image = |tag: &str| {
        let reference = format!("{repository}:{tag}");
        let found = inspect(&reference)["Id"].as_str().expect("an id").to_owned();
        Image::Local { reference, id: drainswap::model::ids::ImageId(found) }
    };
    let endpoint = Endpoint::read(None, &std::env::vars().collect()).expect("an endpoint");
    let engine = Arc::new(DockerEngine::connect(endpoint).await.expect("an engine"));
    let api = stage.engine.docker().client_version();
    let around = Surroundings::new(id);
    let dir = stage.dir().display().to_string();
    docker(&format!(
        "run -d --name {id}-other -v /lent -v {id}-named:/named -v /named/part {repository}:old"
    ));
    let ports = crate::support::Ports::reserve(1);
    let mut cases = Vec::new();
    for case in CASES.iter().filter(|case| case.since <= (api.major_version, api.minor_version)) {
        let Case { name: kind, options, command, .. } = case;
        let tags: &[&str] = if IN_A_NEW_IMAGE.contains(kind) { &["same", "new"] } else { &["same"] };
        for tag in tags {
            let name = format!("{id}-rt-{kind}-{tag}");
            let options = around.fill(options, ports.at(0), &dir).replace("{image}", &stage.reference("v1"));
            let create = format!("create --name {name} {options} {repository}:old {command}");
            let (engine, image) = (Arc::clone(&engine), image(tag));
            cases.push((*kind, tokio::spawn(async move { cell(&engine, &name, &create, &image).await })));
        }
    }
    let mut column = Column::new(stage.engine.name().await);
    for (kind, work) in cases {
        column.add(kind, work.await.expect("a case"));
    }
    column.check(CASES, IN_A_NEW_IMAGE);
    keep_volumes_of_a_removed_container(&engine, id, &image("same")).await;
    refuse_the_network_of_a_stopped_container(&engine, id, &image("same")).await;
    drop(around);
    stage.close().await;
}

/// Creates and replaces the container of a case, and returns what differs from what it should be.
async fn cell(engine: &DockerEngine, name: &str, create: &str, image: &Image) -> Cell {
    if let Err(reason) = try_docker(create).and_then(|_| try_docker(&format!("start {name}"))) {
        return Cell::Missing(reason);
    }
    let (old, new) = match replaced(engine, name, image).await {
        Ok(both) => both,
        Err(error) => return Cell::Refused(error.to_string()),
    };
    let stays = anonymous_volumes(&new);
    assert!(anonymous_volumes(&old).iter().all(|it| stays.contains(it)), "{name}: the data stays");
    let is_same = image.to_string().contains(":same");
    let wanted = if is_same { old } else { fresh(name, create) };
    let mut found = Vec::new();
    differences("", &normalised(wanted), &normalised(new), &mut found);
    if !is_same {
        // The old image's volume is kept for its data, and the new image's volume is added.
        found.retain(|it| !it.starts_with(".Mounts"));
    }
    if found.is_empty() { Cell::Equal } else { Cell::Other(found) }
}

/// Checks that a container keeps the volumes from a removed container, without asking the engine for that container.
async fn keep_volumes_of_a_removed_container(engine: &DockerEngine, id: &str, image: &Image) {
    let borrower = format!("{id}-rt-volumes-from-same");
    let lent = anonymous_volumes(&inspect(&borrower));
    docker(&format!("rename {id}-other {id}-lender"));
    let recipe = CreateSpec { renew_volumes: true, ..copy_of(&borrower, image) };
    let alone = engine.create(&recipe).await.expect("a container without the removed one");
    let has = anonymous_volumes(&inspect(&alone.0));
    assert!(lent.iter().any(|it| has.contains(it)), "{lent:?}, {has:?}");
    engine.remove_with_volumes(&alone, &lent.into_iter().collect()).await.expect("a removal");
    docker(&format!("rename {id}-lender {id}-other"));
}

/// Checks that a container in another container's network is not recreated while that container is down.
async fn refuse_the_network_of_a_stopped_container(engine: &DockerEngine, id: &str, image: &Image) {
    docker(&format!("stop --time 0 {id}-other"));
    let lodger = format!("{id}-rt-container-network-same");
    let refused = engine.create(&copy_of(&lodger, image)).await.expect_err("its owner is down").to_string();
    assert!(refused.contains("is not running; start that container first"), "{refused}");
}
