//! Podman, which has Docker's API with some differences.

use crate::support::{Podman, Stage};
use crate::versions;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_podman_container_is_replaced_and_rolled_back() {
    let stage = Stage::single().start().await;
    let podman = Podman::start().await;
    let (v1, v2) = (podman.image("v1"), podman.image("v2"));
    // Move the container behind app1 to Podman.
    stage.remove("app1").await;
    let name = stage.container_name("app1");
    podman.run("app1", &name, stage.server("app1").address, &v1);
    stage.until_healthy("app1").await;
    let data = || podman.podman(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", &name]);
    let before = data();
    let may = || podman.podman(&["inspect", "-f", "{{.EffectiveCaps}}", &name]);
    assert_eq!(may(), "[CAP_CHOWN]");
    let endpoint = podman.endpoint();
    let with = |arguments: &[&str]| {
        let arguments = [arguments, &["--docker", &endpoint, "--floor", "0", "--keep", "1"]].concat();
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let stage = &stage;
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            stage.drainswap(&arguments).await
        }
    };
    // Podman does not ask a registry to resolve a tag.
    let elsewhere = with(&["deploy", "mobile", "--image", "127.0.0.1:1/mobile:v2"]).await.exits(5);
    elsewhere.says(&["Podman", "name the image by its digest"]);
    with(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    assert_eq!((versions(&stage).await, data()), (vec!["v2".to_owned()], before.clone()));
    assert_eq!(may(), "[CAP_CHOWN]");
    with(&["rollback", "mobile"]).await.exits(0);
    let digest = podman.podman(&["inspect", "-f", "{{.Digest}}", &v2]);
    with(&["deploy", "mobile", "--image", &format!("localhost/mobile@{digest}")]).await.exits(0);
    assert_eq!((versions(&stage).await, data()), (vec!["v2".to_owned()], before));
    drop(podman);
    stage.close().await;
}
