//! Secrets must not leak through plans, status, events, journals, logs or errors.

use std::fs;

use crate::support::{Ended, Stage};

/// The secret that must not appear anywhere.
const SECRET: &str = "planted-6c9f0b7a";

fn assert_silent(what: &str, ended: &Ended) {
    for (stream, text) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        assert!(!text.contains(SECRET), "{what} tells it on {stream}:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn secrets_of_a_container_are_never_printed() {
    let stage =
        Stage::pair().env("TOKEN", SECRET).env("DATABASE_URL", "postgres://u:planted-6c9f0b7a@db/x").start();
    let stage = stage.await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("API_KEY", SECRET)]).await;
    let bad = stage.image("bad", &[("FAIL", "exit"), ("API_KEY", SECRET)]).await;
    let json = ["-o", "json"];
    for (command, exit) in [
        (vec!["status"], 0),
        (vec!["plan", "mobile", "--image", &v2], 0),
        (vec!["deploy", "mobile", "--image", &bad], 10),
        (vec!["deploy", "mobile", "--image", &v2, "--keep", "1"], 0),
        (vec!["history", "mobile"], 0),
        (vec!["doctor"], 0),
        (vec!["rollback", "mobile", "--dry-run"], 0),
        (vec!["rollback", "mobile"], 0),
        (vec!["deploy", "mobile", "--image", &v2], 0),
    ] {
        for more in [&["-v"][..], &json] {
            let ended = stage.drainswap(&[&command[..], more].concat()).await;
            assert_silent(&command.join(" "), &ended);
            // One of the two runs replaces the containers, and the other has nothing to do.
            let is_so = ended.code == exit || ended.code == 0 || command[0] == "rollback";
            assert!(is_so, "{command:?} ends with {}: {}", ended.code, ended.stderr);
        }
    }
    let runs = stage.dir().join("state/mobile");
    let mut journals = 0;
    for entry in fs::read_dir(&runs).expect("the state directory") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        assert!(!text.contains(SECRET), "a journal contains the secret");
        journals += usize::from(text.contains("opened"));
    }
    assert!(journals > 3, "there were runs: {journals}");
    stage.close().await;
}
