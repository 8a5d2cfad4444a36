//! Volumes: data is kept, and the volumes of a failed run are removed.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::at_each_event;
use crate::round_trip::{build, docker, inspect};
use crate::support::{Stage, wait_until};

/// Returns the volumes of a container, by their target.
fn volumes(container: &str) -> BTreeMap<String, String> {
    let text = |mount: &serde_json::Value, key: &str| mount[key].as_str().expect("a text").to_owned();
    let mounts = inspect(container)["Mounts"].as_array().cloned().expect("mounts");
    mounts.iter().map(|mount| (text(mount, "Destination"), text(mount, "Name"))).collect()
}

fn is_there(volume: &str) -> bool {
    let mut inspect = Command::new("docker");
    inspect.args(["volume", "inspect", volume]).stdout(Stdio::null()).stderr(Stdio::null());
    inspect.status().expect("run docker").success()
}

/// The volumes of a test, which are removed at its end with their containers.
pub(super) struct Volumes(pub(super) String);

impl Drop for Volumes {
    fn drop(&mut self) {
        let remove = "docker rm -fv $(docker ps -aqf label=drainswap.test=$0); docker volume rm $0-named";
        let _gone = Command::new("sh").args(["-c", remove, &self.0]).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_failed_deploy_leaves_no_volume_and_a_replaced_volume_stays_until_prune() {
    let stage = Stage::single().start().await;
    let (id, repository) = (stage.id().to_owned(), stage.registry.repository());
    let volumes_of_its_own = Volumes(id.clone());
    let (broken, v2) =
        (stage.image("broken", &[("FAIL", "exit")]).await, stage.image("v2", &[("VERSION", "v2")]).await);
    build(&format!("{repository}:stores"), &format!("FROM {repository}:v1\nVOLUME /data\n"));
    for (tag, from) in [("broken-stores", &broken), ("stores-more", &v2)] {
        build(&format!("{repository}:{tag}"), &format!("FROM {from}\nVOLUME /data /more\n"));
    }
    stage.remove("app1").await;
    let (name, address) = (stage.container_name("app1"), stage.server("app1").address);
    docker(&format!(
        "run -d --name {name} --label drainswap.test={id} -p {address}:8080 -v {id}-named:/named/ {repository}:stores"
    ));
    stage.until_healthy("app1").await;
    let is_up = async || {
        wait_until("app1 is in service", Duration::from_secs(20), async || {
            stage.haproxy.status("app1").await.starts_with("UP")
        })
        .await;
    };
    is_up().await;
    let before = volumes(&name);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["/data", "/named"]);

    fail_to_deploy(&stage, &before).await;
    assert_eq!(volumes(&name), before);
    is_up().await;
    renew_and_prune(&stage, &before).await;
    drop(volumes_of_its_own);
    stage.close().await;
}

/// Deploys an image that ends at once, with a volume of its own, and checks what happens to the volumes of app1.
async fn fail_to_deploy(stage: &Stage, before: &BTreeMap<String, String>) {
    let name = stage.container_name("app1");
    let image = format!("{}:broken-stores", stage.registry.repository());
    let mut deploy = stage.spawn(&["deploy", "mobile", "--image", &image, "--floor", "0", "-o", "json"]);
    let mut of_candidate = BTreeMap::new();
    let said = at_each_event(&mut deploy, async |event| {
        if event == "created" {
            let candidate = docker(&format!("ps -a --format {{{{.Names}}}} --filter name={name}.new-"));
            of_candidate = volumes(&candidate);
        }
    })
    .await;
    assert_eq!(deploy.wait().await.expect("its end").code(), Some(10), "{said}");
    assert!(said.contains("which hide the new image's files there"), "{said}");
    assert_eq!(
        (&of_candidate["/data"], &of_candidate["/named"]),
        (&before["/data"], &before["/named"]),
        "the data is kept"
    );
    assert!(!is_there(&of_candidate["/more"]), "the volume of the failed container is removed");
}

/// Deploys an image with new volumes for app1. The old ones stay until they are pruned.
async fn renew_and_prune(stage: &Stage, before: &BTreeMap<String, String>) {
    let name = stage.container_name("app1");
    let image = format!("{}:stores-more", stage.registry.repository());
    let deploy =
        ["deploy", "mobile", "--image", &image, "--floor", "0", "--renew-anon-volumes", "--keep", "0"];
    stage
        .drainswap(&deploy)
        .await
        .exits(0)
        .says(&["will get new volumes at /data", "until `drainswap prune`"]);
    let now = volumes(&name);
    assert_eq!(now["/named"], before["/named"], "a named volume is never renewed");
    assert_ne!(now["/data"], before["/data"]);
    assert!(is_there(&before["/data"]), "the old data is kept");
    let prune = ["prune", "--keep", "0"];
    stage.drainswap(&prune).await.exits(0).says(&["with its data at /data, which no other container uses"]);
    assert!(!is_there(&before["/data"]), "until a person prunes");
    assert!(now.values().all(|volume| is_there(volume)));
}
