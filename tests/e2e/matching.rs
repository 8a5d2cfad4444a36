//! Matching of containers to servers, which does not rely on labels inside an image.

use std::collections::BTreeMap;

use drainswap::adapters::docker::{DockerEngine, Endpoint};
use drainswap::observation::LabelSource;
use drainswap::ports::ContainerEngine;

use crate::snapshot;
use crate::support::{Processes, Stage};

const LABEL: &str = "drainswap.server";

/// Reloads HAProxy with an additional section, and returns the previous haproxy.cfg.
async fn reload_with(stage: &Stage, section: &str) -> String {
    let text = std::fs::read_to_string(stage.haproxy.config()).expect("haproxy.cfg");
    std::fs::write(stage.haproxy.config(), format!("{text}\n{section}")).expect("write haproxy.cfg");
    stage.haproxy.reload().await;
    text
}

/// Another team's image claims to be behind this team's server.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_label_inside_an_image_claims_no_server() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    // Every stage on this engine has a mobile/app1, but this backend's name is unique.
    let pay = format!("pay-{}", stage.id());
    let [app1, app1b] = ["app1", "app1b"].map(|name| stage.server(name).address);
    let more = format!("server app1 {app1} check\n    server app1b {app1b} check backup\n");
    reload_with(&stage, &format!("backend {pay}\n    mode http\n    {more}")).await;
    let (claim, other_claim) = (format!("{pay}/app1"), format!("{pay}/app9"));

    let blog = stage.labelled_image("blog", (LABEL, &claim)).await;
    stage.run_stranger("blog", &blog).await;
    stage.create_idle("given", &blog, Some((LABEL, &other_claim))).await;
    let gone = stage.labelled_image("gone", (LABEL, &claim)).await;
    stage.create_idle("orphan", &gone, None).await;
    let orphan = stage.container("orphan").await.expect("a container");
    stage.engine.forget(&gone).await;

    let endpoint = Endpoint::read(None, &std::env::vars().collect()).expect("an endpoint");
    let engine = DockerEngine::connect(endpoint).await.expect("an engine");
    let containers = engine.containers().await.expect("containers");
    // containerd keeps an image without a name as long as a container uses it.
    let is_left = stage.engine.docker().inspect_image(&orphan.image_id).await.is_ok();
    let of_orphan = if is_left { LabelSource::Image } else { LabelSource::Unknown };
    let source: BTreeMap<_, _> =
        containers.into_iter().map(|it| (it.name, (it.claims.join(","), it.claimed_by))).collect();
    for (name, claim, expected) in [
        ("blog", &claim, LabelSource::Image),
        ("given", &other_claim, LabelSource::Container),
        ("orphan", &claim, of_orphan),
    ] {
        assert_eq!(source[&stage.container_name(name)], (claim.clone(), expected), "{name}");
    }

    let before = stage.container("blog").await.expect("blog's container");
    let old = stage.container("app1").await.expect("app1's container");
    stage.drainswap(&["deploy", &pay, "--image", &v2]).await.exits(0);
    assert_eq!(stage.container("blog").await.expect("blog's container").id, before.id);
    let new = stage.container("app1").await.expect("app1's container");
    assert!(new.id != old.id && new.state == "running", "{new:?}");
    stage.close().await;
}

/// A listen section was removed from haproxy.cfg, but HAProxy was not reloaded.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_server_that_only_haproxy_knows_keeps_its_container() {
    let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let (other, app1) = (stage.other_frontend(), stage.server("app1").address);
    let listen = format!("listen old\n    mode http\n    bind {other}\n    server one {app1}\n");
    let text = reload_with(&stage, &listen).await;
    std::fs::write(stage.haproxy.config(), text).expect("write haproxy.cfg");

    let before = snapshot(&stage).await;
    let refused = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(4);
    refused.says(&["as old/one", "which is not in haproxy.cfg", "set server old/one state maint"]);
    assert_eq!(snapshot(&stage).await, before);
    let found = stage.drainswap(&["doctor"]).await;
    assert!(found.stdout.contains("HAProxy runs old/one"), "{}", found.stdout);
    stage.haproxy.command("set server old/one state maint").await;
    stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    stage.close().await;
}
