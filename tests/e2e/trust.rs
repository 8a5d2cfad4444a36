//! Files that other users can write are refused, and links that they prepared are not followed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::Stage;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn world_writable_files_are_refused_and_prepared_links_not_followed() {
    let stage = Stage::pair().state_file().start().await;
    let (directory, settings) = (stage.dir().join("state"), stage.dir().join("drainswap.toml"));
    fs::create_dir(&directory).expect("a state directory");
    fs::write(&settings, "[hooks]\nbefore_run = \"touch hooked\"\n").expect("settings");
    let file = settings.display().to_string();
    for (path, mode) in [(&directory, 0o777), (&settings, 0o666)] {
        set_mode(path, mode);
        let command = format!("`chmod o-w {}`", path.display());
        for command_line in [&["status"][..], &["deploy", "mobile", "--image", "v2"], &["resume"]] {
            let all = [command_line, &["--settings", &file]].concat();
            stage.drainswap(&all).await.exits(3).says(&["everyone can write it", &command]);
        }
        set_mode(path, mode & !0o022);
    }
    stage.drainswap(&["status", "--settings", &file]).await.exits(0);
    // The directory of the server-state-file is exempt, because it belongs to HAProxy.
    let states = stage.haproxy.config().with_file_name("states");
    let victim = stage.dir().join("victim");
    fs::write(&victim, "kept").expect("a file");
    let _there_already = fs::remove_file(&states);
    symlink(&victim, &states).expect("a link");
    stage.drainswap(&["maint", "mobile/app1b"]).await.exits(0);
    assert_eq!(fs::read_to_string(&victim).expect("the file"), "kept");
    assert!(fs::symlink_metadata(&states).expect("the state file").is_file());
    assert!(fs::read_to_string(&states).expect("the state file").contains("app1b"));
    stage.drainswap(&["ready", "mobile/app1b"]).await.exits(0);
    stage.close().await;
}
