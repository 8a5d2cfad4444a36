//! A container is created anew as another one has it: whatever a person gave is there, and nothing that only came from
//! the old image.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use drainswap::adapters::docker::{DockerEngine, Endpoint};
use drainswap::ids::ContainerId;
use drainswap::image::Image;
use drainswap::observation::Pinned;
use drainswap::ports::{ContainerEngine, Model, Recipe};
use serde_json::{Map, Value, json};

use crate::on_real_parts;
use crate::support::Stage;

/// What an image gives, and what its successor gives in its place.
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

/// What is given to `docker create` before the image, and after it. `{net}`, `{back}` are networks of the stage's,
/// `{named}` a volume, `{other}` a container that lives, `{dir}` a directory.
const CASES: &[(&str, &str, &str)] = &[
    ("plain", "", ""),
    ("environment", "-e OWN=1 -e FROM_IMAGE=mine -e SHARED=image", ""),
    ("command", "", "another command"),
    ("entrypoint", "--entrypoint /app", "with this"),
    ("volumes", "-v {named}:/named:ro -v /anonymous -v {dir}:/bind:ro --tmpfs /tmp:size=1m", ""),
    (
        "mounts",
        "--mount type=volume,src={named},dst=/named,volume-nocopy --mount type=tmpfs,dst=/t,tmpfs-size=4096 \
         --mount type=bind,src={dir},dst=/bind,bind-propagation=private --mount type=volume,dst=/anonymous",
        "",
    ),
    ("networks", "--network {net} --network-alias web --network-alias www --ip 10.199.{octet}.77", ""),
    (
        "devices",
        "--device /dev/null:/dev/nothing:r --ulimit nofile=100:200 --sysctl net.ipv4.ip_default_ttl=77",
        "",
    ),
    ("own-check", "--health-cmd true --health-interval 9s --health-retries 5", ""),
    ("check-interval", "--health-interval 9s", ""),
    ("no-check", "--no-healthcheck", ""),
    ("restart-on-failure", "--restart on-failure:3", ""),
    ("restart-always", "--restart always", ""),
    ("restart-unless-stopped", "--restart unless-stopped", ""),
    ("log", "--log-driver json-file --log-opt max-size=1m --log-opt max-file=2", ""),
    ("no-log", "--log-driver none", ""),
    (
        "hardened",
        "--init --user 3:4 --read-only --tmpfs /run --security-opt no-new-privileges --group-add 7",
        "",
    ),
    ("labels", "-l own=1 -l from=old -l com.example.x=y", ""),
    ("host-network", "--network host -e PORT=0", ""),
    ("no-network", "--network none", ""),
    ("ports", "-p 127.0.0.1:{port}:8080 -p 127.0.0.2:{port}:8081/udp -p 9000", ""),
    ("all-ports", "-P --expose 7000", ""),
    ("capabilities", "--cap-add NET_ADMIN --cap-drop MKNOD --privileged=false", ""),
    ("privileged", "--privileged", ""),
    ("unconfined", "--security-opt systempaths=unconfined --security-opt seccomp=unconfined", ""),
    (
        "names",
        "--hostname web --domainname example.org --add-host db:1.2.3.4 --dns 127.0.0.9 --dns-search example.org \
         --dns-option ndots:2",
        "",
    ),
    (
        "limits",
        "--memory 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 100 --cpuset-cpus 0 --pids-limit 50 \
         --shm-size 32m --oom-score-adj 100 --blkio-weight 0",
        "",
    ),
    ("stop", "--stop-signal SIGQUIT --stop-timeout 3 --workdir /mine", ""),
    ("terminal", "-t -i", ""),
    ("other-s-network", "--network container:{other} -e PORT=9999", ""),
    ("host-namespaces", "--ipc host --pid host --uts host --cgroupns host", ""),
    ("link", "--link {other}:database", ""),
    ("volumes-from", "--volumes-from {other}:ro", ""),
];

/// Those that are also tried with an image that gives something else.
const IN_A_NEW_IMAGE: &[&str] =
    &["plain", "environment", "command", "own-check", "check-interval", "labels", "stop"];

pub(super) fn docker(arguments: &str) -> String {
    let output = Command::new("docker").args(arguments.split_whitespace()).output().expect("run docker");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes an image without files of its own.
pub(super) fn build(reference: &str, text: &str) {
    let build = ["build", "--quiet", "--tag", reference, "-"];
    let mut command = Command::new("docker");
    // The builder that every version of the client has.
    command.args(build).env("DOCKER_BUILDKIT", "0").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("run docker");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("give the instructions");
    assert!(child.wait().is_ok_and(|status| status.success()), "docker build {reference}");
}

pub(super) fn inspect(name: &str) -> Value {
    let all: Vec<Value> = serde_json::from_str(&docker(&format!("inspect {name}"))).expect("an inspection");
    all.into_iter().next().expect("a container")
}

/// Without what is another container's by nature: identity, times, places in the file system, generated addresses.
fn normalised(mut found: Value) -> Value {
    let id = found["Id"].as_str().expect("an id").to_owned();
    let volumes = anonymous_volumes(&found);
    let object = found.as_object_mut().expect("an object");
    for key in [
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
    ] {
        object.remove(key);
    }
    object["Config"].as_object_mut().expect("a configuration").remove("Image");
    if object["Config"]["Hostname"] == id[..12] {
        object["Config"]["Hostname"] = json!("(made of the id)");
    }
    let env = object["Config"]["Env"].as_array_mut().expect("an environment");
    env.sort_by_key(ToString::to_string);
    object["Config"]["Labels"].as_object_mut().expect("labels").remove("tag");
    // An anonymous volume is given to the new container by name.
    if let Some(mounts) = object["HostConfig"]["Mounts"].as_array_mut() {
        mounts.retain(|mount| !volumes.iter().any(|volume| mount["Source"] == volume.as_str()));
        mounts.retain(|mount| mount["Type"] != "volume" || mount.get("Source").is_some());
        if mounts.is_empty() {
            object["HostConfig"].as_object_mut().expect("a configuration").remove("Mounts");
        }
    }
    let mounts = object["Mounts"].as_array_mut().expect("a list");
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    for mount in mounts {
        // How it was asked for does not matter once it is there.
        mount.as_object_mut().expect("a mount").remove("Mode");
    }
    let networks = object["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
    let networks: Map<String, Value> =
        networks.into_iter().map(|(name, it)| (name, endpoint(it, &id))).collect();
    let ports = object["NetworkSettings"]["Ports"].as_object().cloned().unwrap_or_default();
    let ports: Vec<&String> = ports.keys().collect();
    object["NetworkSettings"] = json!({ "Networks": networks, "Ports": ports });
    found
}

/// A place in a network, without what the engine gave it.
fn endpoint(mut endpoint: Value, id: &str) -> Value {
    let object = endpoint.as_object_mut().expect("an endpoint");
    let is_chosen = object["IPAMConfig"]["IPv4Address"].is_string();
    for key in ["NetworkID", "EndpointID", "Gateway", "IPPrefixLen", "MacAddress", "DNSNames"] {
        object.remove(key);
    }
    if !is_chosen {
        object.remove("IPAddress");
        // Nothing chosen is written in two ways.
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

/// Volumes that nobody has named.
fn anonymous_volumes(found: &Value) -> Vec<String> {
    let mounts = found["Mounts"].as_array().cloned().unwrap_or_default();
    let names = mounts.iter().filter_map(|mount| mount["Name"].as_str());
    let mut names: Vec<String> = names.filter(|name| name.len() == 64).map(str::to_owned).collect();
    names.sort();
    names
}

/// Where two inspections differ, by path.
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
        (one, other) if one != other => found.push(format!("{path}: {one} -> {other}")),
        _ => {}
    }
}

/// Networks and volumes of one test, removed at its end.
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
        let remove = "docker rm -fv $(docker ps -aqf name=^/$0-rt- -f name=^/$0-other$); \
                      docker network rm $0-net $0-back; docker volume rm $0-named";
        let _gone = Command::new("sh").args(["-c", remove, &self.id]).output();
    }
}

/// The container of a case, replaced by one with this image: what it was, and what it is.
async fn replaced(engine: &DockerEngine, name: &str, create: &str, image: &Image) -> (Value, Value) {
    docker(create);
    if name.ends_with("networks") {
        let back = name.split("-rt-").next().expect("an id").to_owned() + "-back";
        docker(&format!("network connect --alias behind {back} {name}"));
    }
    docker(&format!("start {name}"));
    let old = inspect(name);
    let id = ContainerId(old["Id"].as_str().expect("an id").to_owned());
    let candidate = format!("{name}.new-20261126T100000.000Z");
    let recipe = Recipe {
        model: Model::Like(id.clone()),
        image: image.clone(),
        name: candidate,
        platform: None,
        publish: None,
        pinned: Pinned::default(),
        renew_volumes: false,
    };
    let new = engine.create(&recipe).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    // Its signal to stop is another one than the application hears.
    docker(&format!("stop --time 0 {name}"));
    engine.rename(&id, &format!("{name}.old-20261126T100000.000Z")).await.expect("rename");
    engine.rename(&new, name).await.expect("rename");
    engine.start(&new).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let new = inspect(name);
    (old, new)
}

/// What a person gets who gives the same to the new image. What equals what the old image gave cannot be told apart
/// from that, and follows the image.
fn fresh(name: &str, create: &str) -> Value {
    let create = create.replace(name, &format!("{name}-fresh")).replace(":old ", ":new ");
    docker(&create.replace("-e SHARED=image", "").replace("-l from=old", ""));
    let mut fresh = inspect(&format!("{name}-fresh"));
    fresh["Name"] = json!(format!("/{name}"));
    fresh
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn a_new_container_has_all_that_a_person_gave_the_old_one() {
    if !on_real_parts().await {
        return;
    }
    let stage = Stage::pair().start().await;
    let (id, repository) = (stage.id(), stage.registry.repository());
    for (tag, instructions) in [("old", OLD), ("same", OLD), ("new", NEW)] {
        // Two that give the same are two images all the same.
        let text = format!("FROM {repository}:v1\nLABEL tag={tag}\n{}\n", instructions.join("\n"));
        build(&format!("{repository}:{tag}"), &text);
    }
    let image = |tag: &str| {
        let reference = format!("{repository}:{tag}");
        let found = inspect(&reference)["Id"].as_str().expect("an id").to_owned();
        Image::Local { reference, id: drainswap::ids::ImageId(found) }
    };
    let endpoint = Endpoint::read(None, &std::env::vars().collect()).expect("an endpoint");
    let engine = Arc::new(DockerEngine::connect(endpoint).await.expect("an engine"));
    let around = Surroundings::new(id);
    let dir = stage.dir().display().to_string();
    docker(&format!("run -d --name {id}-other -v /lent {repository}:old"));
    let ports = crate::support::Ports::reserve(1);
    let mut cases = Vec::new();
    for (case, options, command) in CASES {
        let tags: &[&str] = if IN_A_NEW_IMAGE.contains(case) { &["same", "new"] } else { &["same"] };
        for tag in tags {
            let name = format!("{id}-rt-{case}-{tag}");
            let options = around.fill(options, ports.at(0), &dir);
            let create = format!("create --name {name} {options} {repository}:old {command}");
            let (engine, image) = (Arc::clone(&engine), image(tag));
            let work = async move {
                let (old, new) = replaced(&engine, &name, &create, &image).await;
                let stays = anonymous_volumes(&new);
                assert!(
                    anonymous_volumes(&old).iter().all(|it| stays.contains(it)),
                    "{name}: the data stays"
                );
                let is_same = image.to_string().contains(":same");
                let wanted = if is_same { old } else { fresh(&name, &create) };
                (wanted, new)
            };
            cases.push((format!("{case}, {tag}"), tokio::spawn(work)));
        }
    }
    let mut failures = Vec::new();
    for (case, work) in cases {
        let (wanted, new) = work.await.expect("a case");
        let mut found = Vec::new();
        differences("", &normalised(wanted), &normalised(new), &mut found);
        failures.extend(found.into_iter().map(|it| format!("{case}: {it}")));
    }
    // The old image's volume is carried for its data; the new image's own comes beside it. A fresh one does not run.
    failures.retain(|it| !it.contains(", new: .Mounts") && !it.contains(", new: .NetworkSettings.Ports"));
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
    // A container that has volumes of one that is gone keeps them, and the engine is not asked for that one.
    let borrower = format!("{id}-rt-volumes-from-same");
    let lent = anonymous_volumes(&inspect(&borrower));
    docker(&format!("rename {id}-other {id}-lender"));
    let like = ContainerId(inspect(&borrower)["Id"].as_str().expect("an id").to_owned());
    let recipe = Recipe {
        model: Model::Like(like),
        image: image("same"),
        name: format!("{borrower}.new-20261126T100000.000Z"),
        platform: None,
        publish: None,
        pinned: Pinned::default(),
        renew_volumes: true,
    };
    let alone = engine.create(&recipe).await.expect("without the lender");
    let has = anonymous_volumes(&inspect(&alone.0));
    assert!(lent.iter().any(|it| has.contains(it)), "{lent:?}, {has:?}");
    engine.remove_with_volumes(&alone, &lent.into_iter().collect()).await.expect("a removal");
    docker(&format!("rename {id}-lender {id}-other"));
    // Who lives in another's network cannot be created anew while that one is down.
    docker(&format!("stop --time 0 {id}-other"));
    let lodger = format!("{id}-rt-other-s-network-same");
    let like = ContainerId(inspect(&lodger)["Id"].as_str().expect("an id").to_owned());
    let name = format!("{lodger}.new-20261126T100000.000Z");
    let recipe = Recipe {
        model: Model::Like(like),
        image: image("same"),
        name,
        platform: None,
        publish: None,
        pinned: Pinned::default(),
        renew_volumes: false,
    };
    let refused = engine.create(&recipe).await.expect_err("its owner is down").to_string();
    assert!(refused.contains("does not run; start that one first"), "{refused}");
    drop(around);
    stage.close().await;
}
