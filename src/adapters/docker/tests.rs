use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;

/// An engine's list: one container that it can show, and one that it cannot.
const LIST: &str = r#"[
    {"Id": "67e7a6c29d15", "Names": ["/app1"], "Image": "mobile:v1", "ImageID": "sha256:01", "State": "running"},
    {"Id": "broken", "Names": ["/odd"], "Image": "odd:v1", "ImageID": "sha256:02", "State": "running",
     "Labels": {"drainswap.server": "odd/a"}, "HostConfig": {"NetworkMode": "front"},
     "Ports": [{"IP": "127.0.0.1", "PrivatePort": 8080, "PublicPort": 57920, "Type": "tcp"},
               {"PrivatePort": 53, "Type": "udp"}],
     "NetworkSettings": {"Networks": {"front": {"IPAddress": "172.29.7.12"}}}}
]"#;

/// An engine that answers by path, with one connection per call.
async fn engine(answer: fn(&str) -> (u16, String)) -> (tempfile::TempDir, DockerEngine) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, answer));
        }
    });
    let engine = DockerEngine::connect(Endpoint::Unix(socket)).await.unwrap();
    (directory, engine)
}

async fn serve(mut client: UnixStream, answer: fn(&str) -> (u16, String)) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        client.read_buf(&mut request).await.unwrap();
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split([' ', '?']).nth(1).unwrap();
    let (status, body) = match path {
        "/version" => (200, r#"{"ApiVersion": "1.41"}"#.to_owned()),
        path => answer(path.strip_prefix("/v1.41").unwrap_or(path)),
    };
    let head = format!("HTTP/1.1 {status} It\r\nConnection: close\r\n\r\n");
    // The client may have read enough and closed.
    let _gone = client.write_all((head + &body).as_bytes()).await;
}

#[tokio::test]
async fn a_container_that_cannot_be_inspected_is_shown_as_listed() {
    let answer = |path: &str| match path {
        "/containers/json" => (200, LIST.to_owned()),
        "/containers/67e7a6c29d15/json" => {
            (200, include_str!("../../../fixtures/docker/running.json").to_owned())
        }
        "/containers/broken/json" => (500, r#"{"message": "layer does not exist"}"#.to_owned()),
        _ => (404, r#"{"message": "no such image"}"#.to_owned()),
    };
    let (_directory, engine) = engine(answer).await;
    let found = engine.containers().await.unwrap();
    let [app1, odd] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((app1.name.as_str(), app1.published.len()), ("app1", 2));
    assert_eq!((odd.name.as_str(), odd.state), ("odd", ContainerState::Running));
    assert_eq!(odd.claims, ["odd/a"]);
    let published = odd.published.iter().map(|port| (port.ip.to_string(), port.port)).collect::<Vec<_>>();
    assert_eq!(published, [("127.0.0.1".to_owned(), 57920)]);
    assert_eq!(odd.networks[0].addresses, ["172.29.7.12".parse::<IpAddr>().unwrap()]);
}

/// With containerd's image store, every name of an image has a digest, which is also the image's identifier.
#[tokio::test]
async fn an_image_of_containerd_s_store_is_the_only_copy_unless_its_registry_says_otherwise() {
    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    fn answer(path: &str, registry: u16) -> (u16, String) {
        if path.starts_with("/distribution/") {
            assert!(!path.contains("drainswap"), "{path}: no registry has drainswap's own names");
            return (registry, format!(r#"{{"Descriptor": {{"digest": "{DIGEST}"}}, "Platforms": []}}"#));
        }
        if path.contains("/mobile") {
            return (404, r#"{"message": "no such image"}"#.to_owned());
        }
        let names = format!(r#"["r.invalid/mobile@{DIGEST}", "drainswap/mobile@{DIGEST}"]"#);
        let tags = r#"["r.invalid/mobile:v2", "drainswap/mobile:app1-previous"]"#;
        (200, format!(r#"{{"Id": "{DIGEST}", "RepoDigests": {names}, "RepoTags": {tags}}}"#))
    }
    let reference = "r.invalid/mobile:v1".parse().unwrap();
    let image = Image::Registry { reference, digest: DIGEST.to_owned() };
    let kept = Some("r.invalid/mobile:v2".to_owned());
    for (answer, expected) in [
        ((|path| answer(path, 200)) as fn(&str) -> _, None),
        (|path| answer(path, 404), kept.clone()),
        (|path| answer(path, 500), kept),
    ] {
        let (_directory, engine) = engine(answer).await;
        // Its own name has moved to another image: it is found by its digest.
        assert!(engine.has(&image).await.unwrap());
        assert_eq!(engine.only_copy(&image).await.unwrap(), expected);
        let (id, digests) = engine.named("drainswap:app1-previous").await.unwrap().unwrap();
        assert_eq!((id.0.as_str(), digests.is_empty()), (DIGEST, expected.is_some()));
    }
}

/// Docker refused to start it after `docker network rm`, and also after `docker network create` with the same
/// name.
#[tokio::test]
async fn a_stopped_container_has_lost_a_network_that_was_removed_or_recreated() {
    fn stopped(path: &str, networks: &str) -> (u16, String) {
        let list = r#"[{"Id": "8765ca24d4cf", "Names": ["/app1"], "State": "exited"}]"#;
        let inspection = || serde_json::to_string(&fixture::inspect::<serde_json::Value>("stopped.json"));
        match path {
            "/containers/json" => (200, list.to_owned()),
            "/containers/8765ca24d4cf/json" => (200, inspection().unwrap()),
            "/networks" if networks.is_empty() => (500, r#"{"message": "it is busy"}"#.to_owned()),
            "/networks" => (200, networks.to_owned()),
            _ => (404, r#"{"message": "no such image"}"#.to_owned()),
        }
    }
    const ID: &str = "7213239d6d7e37eb3f9fc58091cf0ec517569ae609583e5d2265848fa3ac6223";
    type Answers = fn(&str) -> (u16, String);
    let answers: [(Answers, (bool, bool)); 4] = [
        (|path| stopped(path, &format!(r#"[{{"Name": "front", "Id": "{ID}"}}]"#)), (false, false)),
        (|path| stopped(path, r#"[{"Name": "front", "Id": "0e6138d4ab24"}]"#), (true, false)),
        (|path| stopped(path, "[]"), (true, true)),
        (|path| stopped(path, ""), (false, false)),
    ];
    for (answer, lost) in answers {
        let (_directory, engine) = engine(answer).await;
        let found = engine.containers().await.unwrap();
        let [Container { networks, .. }] = found.as_slice() else { panic!("{found:?}") };
        let [network] = networks.as_slice() else { panic!("{networks:?}") };
        assert_eq!((network.is_gone, network.is_missing), lost);
    }
}

#[tokio::test]
async fn an_overlong_answer_is_not_read_to_its_end() {
    let (_directory, engine) = engine(|_| (200, " ".repeat(transport::LONGEST_ANSWER + 1))).await;
    let error = engine.containers().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the engine refused to list its containers: its answer is longer than 64 MiB. Find the cause (docker inspect, journalctl -u docker) and correct it, then try again"
    );
}
