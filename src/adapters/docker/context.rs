//! Docker contexts: the named endpoints that `docker context` has stored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The name of the context that means that no context is used.
pub(super) const DEFAULT: &str = "default";

/// A stored endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// Its address, in the form of `DOCKER_HOST`.
    pub host: String,
    /// The directory of its certificates, if it has any.
    pub certificates: Option<PathBuf>,
}

/// The required parts of a context's `meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    #[serde(default)]
    endpoints: BTreeMap<String, Stored>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    #[serde(default)]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// The required parts of `config.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    current_context: Option<String>,
}

/// Returns the context that `docker context use` has chosen, if there is one.
pub(super) fn chosen(directory: &Path) -> Result<Option<String>, String> {
    let path = directory.join("config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    // Docker accepts an empty file as one without settings.
    if text.trim().is_empty() {
        return Ok(None);
    }
    // The error's own text may quote the file, including a login in it.
    let config: Config = serde_json::from_str(&text)
        .map_err(|error| format!("cannot parse {} (line {})", path.display(), error.line()))?;
    Ok(config.current_context.filter(|name| !name.is_empty() && name != DEFAULT))
}

/// Finds a context in the store in Docker's configuration directory. The directory of a context is named after the
/// hash of its name, so this searches for the name in each `meta.json`.
pub(super) fn find(directory: &Path, name: &str) -> Result<Context, String> {
    let store = directory.join("contexts");
    let mut folders = std::fs::read_dir(store.join("meta")).into_iter().flatten().flatten();
    let found = folders.find_map(|folder| {
        let text = std::fs::read_to_string(folder.path().join("meta.json")).ok()?;
        let meta: Meta = serde_json::from_str(&text).ok()?;
        (meta.name == name).then_some((folder.file_name(), meta))
    });
    let (id, mut meta) = found.ok_or_else(|| {
        format!("no such context in {}; list the contexts with `docker context ls`", store.display())
    })?;
    let stored = meta.endpoints.remove("docker").filter(|stored| !stored.host.is_empty());
    let stored = stored.ok_or("the context has no Docker endpoint")?;
    if stored.skip_tls_verify {
        return Err("the context trusts any certificate (SkipTLSVerify); give it the right CA".to_owned());
    }
    let certificates = Some(store.join("tls").join(id).join("docker")).filter(|path| path.is_dir());
    Ok(Context { host: stored.host, certificates })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(meta: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("contexts/meta/ab12");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("meta.json"), meta).unwrap();
        directory
    }

    #[test]
    fn a_context_is_found_by_its_name_with_its_certificates() {
        let meta = r#"{"Name":"prod","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://e:2376","SkipTLSVerify":false}}}"#;
        let directory = store(meta);
        let host = "tcp://e:2376".to_owned();
        let plain = Context { host: host.clone(), certificates: None };
        assert_eq!(find(directory.path(), "prod").unwrap(), plain);
        let certificates = directory.path().join("contexts/tls/ab12/docker");
        std::fs::create_dir_all(&certificates).unwrap();
        let with_tls = Context { host, certificates: Some(certificates) };
        assert_eq!(find(directory.path(), "prod").unwrap(), with_tls);
        assert!(find(directory.path(), "other").unwrap_err().contains("docker context ls"));
    }

    #[test]
    fn a_context_that_trusts_any_certificate_is_refused() {
        let directory =
            store(r#"{"Name":"x","Endpoints":{"docker":{"Host":"tcp://e:2376","SkipTLSVerify":true}}}"#);
        assert!(find(directory.path(), "x").unwrap_err().contains("SkipTLSVerify"));
    }

    #[test]
    fn the_chosen_context_is_read_and_a_broken_file_quotes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(directory.path().join("config.json"), text).unwrap();
        assert_eq!(chosen(directory.path()), Ok(None));
        for empty in ["", "\n"] {
            write(empty);
            assert_eq!(chosen(directory.path()), Ok(None), "{empty:?}");
        }
        write(r#"{"currentContext":"prod","auths":{}}"#);
        assert_eq!(chosen(directory.path()), Ok(Some("prod".to_owned())));
        write(r#"{"currentContext":"default"}"#);
        assert_eq!(chosen(directory.path()), Ok(None));
        write(r#"{"currentContext":["hunter2"]}"#);
        assert!(!chosen(directory.path()).unwrap_err().contains("hunter2"));
    }
}
