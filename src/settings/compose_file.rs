//! Reading of the Compose file that drainswap.toml names, with the file `.env` next to it and the process's variables.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::SettingsError;
use crate::service::Service;
use crate::service::compose::{self, ComposeError};
use crate::service::interpolate::Variables;

/// The maximum size of a Compose file.
const MOST_BYTES: u64 = 1 << 20;

/// Reads the services with the key `x-drainswap` from a Compose file.
pub(super) fn services(path: &Path) -> Result<BTreeMap<String, Service>, SettingsError> {
    let unreadable = |error: &std::io::Error| SettingsError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let missing =
        || SettingsError::Unreadable { path: path.display().to_string(), reason: "no such file".to_owned() };
    let text = read(path)?.ok_or_else(missing)?;
    let whole = std::path::absolute(path).map_err(|error| unreadable(&error))?;
    let folder = whole.parent().unwrap_or(&whole);
    let dotenv = folder.join(".env");
    let process = std::env::vars_os().filter_map(|(name, value)| {
        // A text cannot refer to variables that are not UTF-8.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    });
    let variables = Variables::new(process, &read(&dotenv)?.unwrap_or_default())
        .map_err(|reason| SettingsError::Bad { path: dotenv.display().to_string(), reason })?;
    compose::services(&text, folder, variables)
        .map_err(|error: ComposeError| SettingsError::Compose { path: path.display().to_string(), error })
}

/// Returns the text of a file, or `None` if it does not exist.
fn read(path: &Path) -> Result<Option<String>, SettingsError> {
    let name = || path.display().to_string();
    let mut text = Vec::new();
    let found = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text));
    match found {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(SettingsError::Unreadable { path: name(), reason: error.to_string() });
        }
    }
    if text.len() as u64 > MOST_BYTES {
        let reason = format!("longer than {MOST_BYTES} bytes");
        return Err(SettingsError::Bad { path: name(), reason });
    }
    let text = String::from_utf8(text);
    text.map(Some).map_err(|_| SettingsError::Bad { path: name(), reason: "not UTF-8".to_owned() })
}
