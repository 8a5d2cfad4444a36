//! The password of a registry in drainswap.toml, read again for each login.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::fs::{File, metadata};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::adapters::shell::{self, Group};
use crate::model::registries::{NoPassword, PasswordSource};

/// The time limit for a command; it may query another host.
const LIMIT: Duration = Duration::from_secs(20);
/// The maximum length of a password in bytes: some are signed tokens.
const LONGEST: u64 = 64 * 1024;
/// The permissions of other users: read and write.
const EVERYBODY: u32 = 0o006;

/// Reads the password from its file or from the output of its command.
pub(super) async fn ask(source: &PasswordSource) -> Result<String, NoPassword> {
    match source {
        PasswordSource::File(path) => of_file(path).await,
        PasswordSource::Command(text) => of_command(text, LIMIT).await,
    }
}

async fn of_file(path: &Path) -> Result<String, NoPassword> {
    let name = || path.display().to_string();
    let unreadable =
        |error: std::io::Error| NoPassword::Unreadable { path: name(), reason: error.to_string() };
    // Reading from a pipe or a terminal might never end.
    if !metadata(path).await.map_err(unreadable)?.is_file() {
        return Err(unreadable(ErrorKind::InvalidInput.into()));
    }
    let file = File::open(path).await.map_err(unreadable)?;
    let mode = file.metadata().await.map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & EVERYBODY != 0 {
        return Err(NoPassword::Open { path: name(), mode });
    }
    let text = read(file).await.map_err(unreadable)?;
    one_line(&text).ok_or_else(|| NoPassword::NotALine { path: name() })
}

/// Returns the standard output of a command. Its standard error is not passed on: it might quote the password.
async fn of_command(text: &str, limit: Duration) -> Result<String, NoPassword> {
    let failed = |reason: String| NoPassword::Command { reason };
    let not_run = |error: std::io::Error| failed(format!("cannot be run: {error}"));
    let mut command = shell::command(text);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut group = Group(command.spawn().map_err(not_run)?);
    let ended = timeout(limit, async {
        let text = match group.0.stdout.take() {
            Some(output) => read(output).await?,
            None => Vec::new(),
        };
        Ok((text, group.0.wait().await?))
    });
    let (text, status) = ended.await.map_err(|_elapsed| NoPassword::TooSlow { limit })?.map_err(not_run)?;
    if !status.success() {
        return Err(failed(format!("failed ({status})")));
    }
    one_line(&text).ok_or_else(|| failed("does not print one line with a password in it".to_owned()))
}

async fn read(from: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(LONGEST + 1).read_to_end(&mut text).await?;
    Ok(text)
}

/// Returns the only line, without its line end.
fn one_line(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    let is_whole = !line.is_empty() && line.len() as u64 <= LONGEST && !line.contains(char::is_control);
    is_whole.then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[tokio::test]
    async fn a_password_of_a_file_is_its_only_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let ask = async |text: &str, mode| {
            write(&path, text).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            ask(&PasswordSource::File(path.clone())).await
        };
        assert_eq!(ask("hunter 2\n", 0o600).await.unwrap(), "hunter 2");
        assert_eq!(ask("hunter2\r\n", 0o640).await.unwrap(), "hunter2");
        for text in ["", "\n", "hunter2\nmore\n", &"h".repeat(70_000)] {
            let error = ask(text, 0o600).await.unwrap_err();
            assert!(matches!(error, NoPassword::NotALine { .. }), "{error}");
        }
        let error = ask("hunter2", 0o644).await.unwrap_err().to_string();
        assert!(error.contains("mode 644") && error.contains("chmod o-rwx /"), "{error}");
        for path in [folder.path().join("none"), folder.path().to_owned(), "/dev/zero".into()] {
            let error = super::ask(&PasswordSource::File(path)).await.unwrap_err();
            assert!(matches!(error, NoPassword::Unreadable { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn a_password_of_a_command_is_what_it_prints() {
        assert_eq!(of_command("echo noise >&2; echo hunter2", LIMIT).await.unwrap(), "hunter2");
        for (text, says) in [
            ("echo hunter2; exit 3", "exit status: 3"),
            ("kill -9 $$ # hunter2", "signal: 9"),
            ("echo hunter2; echo hunter2", "does not print one line"),
            ("true", "does not print one line"),
            ("yes hunter2", "failed ("),
        ] {
            let error = of_command(text, LIMIT).await.unwrap_err();
            assert!(!error.is_of_settings());
            let error = error.to_string();
            assert!(error.contains(says) && !error.contains("hunter2"), "{text}: {error}");
        }
        let limit = Duration::from_millis(200);
        let error = of_command("echo hunter2; sleep 1000", limit).await.unwrap_err();
        assert_eq!(error, NoPassword::TooSlow { limit });
    }
}
