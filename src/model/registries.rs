//! The `[registries]` table of drainswap.toml: the user name for each registry and the source of its password. The
//! settings
//! never contain the password itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use crate::model::command_line::shell;
use crate::model::secret::redact;

/// The key for Docker Hub; images from Docker Hub name no registry.
const HUB: &str = "docker.io";

/// Registry logins, by the registry's host and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "BTreeMap<String, Value>")]
#[schemars(with = "BTreeMap<String, LoginKeys>")]
pub struct Registries(BTreeMap<String, RegistryLogin>);

/// A registry login: a user name and the source of its password.
// Only for the JSON Schema: `login` parses entries.
#[derive(schemars::JsonSchema)]
#[schemars(deny_unknown_fields,
    rename = "RegistryLogin", extend("oneOf" = [{ "required": ["password_file"] }, { "required": ["password_command"] }]))]
#[expect(dead_code, reason = "only its JSON Schema is used")]
struct LoginKeys {
    /// The user name for the registry.
    #[schemars(length(min = 1))]
    username: String,
    /// A file with one line that contains only the password.
    #[schemars(length(min = 1))]
    password_file: Option<String>,
    /// A shell command that prints the password.
    #[schemars(length(min = 1))]
    password_command: Option<String>,
}

/// A login for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLogin {
    pub username: String,
    pub password: PasswordSource,
}

/// The source of a password. Each login reads it again, because the password may expire within an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// A file that contains only the password.
    File(PathBuf),
    /// A shell command that prints the password.
    Command(String),
}

/// A failure to get a password. No message repeats the file's content, the command or the command's output.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoPassword {
    #[error(
        "cannot read its password_file {path}: {reason}. Correct the path, or let the user that runs drainswap read the file"
    )]
    Unreadable { path: String, reason: String },
    #[error(
        "its password_file {path} is accessible to all users (mode {mode:o}): run `{}`",
        shell(&["chmod", "o-rwx", .path])
    )]
    Open { path: String, mode: u32 },
    #[error(
        "its password_file {path} must contain one line with the password, and nothing else: write it again"
    )]
    NotALine { path: String },
    /// The command could not be started or failed; the reason is its exit status or the system's error.
    #[error(
        "its password_command {reason}. Correct the command in drainswap.toml, or run it by hand to see why"
    )]
    Command { reason: String },
    #[error("its password_command did not finish within {} s. Run it by hand to see what it waits for", .limit.as_secs_f32())]
    TooSlow { limit: Duration },
}

impl NoPassword {
    /// Returns whether drainswap.toml or a file that it names is wrong, rather than a command failing.
    #[must_use]
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Open { .. } | Self::NotALine { .. } => true,
            Self::Command { .. } | Self::TooSlow { .. } => false,
        }
    }
}

impl Registries {
    /// Returns the login for a registry; `None` means Docker Hub.
    #[must_use]
    pub fn login(&self, registry: Option<&str>) -> Option<&RegistryLogin> {
        let registry = registry.filter(|name| *name != "index.docker.io").unwrap_or(HUB);
        self.0.get(registry)
    }
}

impl TryFrom<BTreeMap<String, Value>> for Registries {
    type Error = String;

    /// Parses the values by hand: serde's messages would repeat a misplaced value, which may be the password.
    fn try_from(written: BTreeMap<String, Value>) -> Result<Self, Self::Error> {
        let read = |(name, value): (String, Value)| {
            let login = legal_key(&name).and_then(|()| login(value));
            login
                .map(|login| (name.clone(), login))
                .map_err(|reason| format!("registries.\"{}\": {reason}", redact(&name).escape_debug()))
        };
        written.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

fn legal_key(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(|c: char| c == '/' || c == '@' || c.is_whitespace()) {
        return Err(
            "invalid registry: expected its host, and its port if it has one, as in image names".to_owned()
        );
    }
    if name == "index.docker.io" {
        return Err(format!("invalid registry: use {HUB} for Docker Hub"));
    }
    Ok(())
}

fn login(value: Value) -> Result<RegistryLogin, String> {
    const FORM: &str =
        "expected { username = \"…\", password_file = \"…\" }, or password_command instead of password_file";
    let Value::Table(mut table) = value else { return Err(FORM.to_owned()) };
    if table.contains_key("password") {
        return Err(
            "the settings must not contain a password: write it to a file that no other user can read, \
             and name that file with password_file"
                .to_owned(),
        );
    }
    let username = text(&mut table, "username")?.ok_or(FORM)?;
    let file = text(&mut table, "password_file")?;
    let command = text(&mut table, "password_command")?;
    if let Some(unknown) = table.keys().next() {
        return Err(format!("unknown key `{}`: {FORM}", unknown.escape_debug()));
    }
    let password = match (file, command) {
        (Some(file), None) => PasswordSource::File(file.into()),
        (None, Some(command)) => PasswordSource::Command(command),
        (Some(_), Some(_)) => {
            return Err(
                "password_file and password_command cannot both be set: remove one of them".to_owned()
            );
        }
        (None, None) => return Err(FORM.to_owned()),
    };
    Ok(RegistryLogin { username, password })
}

fn text(table: &mut Table, key: &str) -> Result<Option<String>, String> {
    match table.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(format!("invalid {key}: expected a non-empty string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Registries, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_registry_is_found_as_images_name_it() {
        let registries = read(
            "\"r.io:5000\" = { username = \"u\", password_file = \"/p\" }\n\
             \"docker.io\" = { username = \"h\", password_command = \"pass hub\" }",
        )
        .unwrap();
        let user = |name| registries.login(name).map(|login| login.username.as_str());
        assert_eq!((user(Some("r.io:5000")), user(Some("r.io"))), (Some("u"), None));
        assert_eq!((user(None), user(Some("index.docker.io"))), (Some("h"), Some("h")));
    }

    #[test]
    fn an_error_names_the_mistake_and_reveals_no_secret() {
        for (entry, says) in [
            ("{ username = \"u\", password = \"hunter2\" }", "name that file with password_file"),
            ("{ username = \"u\", password = [\"hunter2\"] }", "name that file with password_file"),
            ("\"u:hunter2\"", "expected { username"),
            ("{ username = \"u\", passwd = \"hunter2\", password_file = \"/p\" }", "unknown key `passwd`"),
            ("{ username = \"u\", password_file = [\"hunter2\"] }", "invalid password_file"),
            ("{ username = \"u\", password_file = \"/p\", password_command = \"echo hunter2\" }", "one of"),
            ("{ username = \"u\" }", "password_command"),
            ("{ password_file = \"/p\" }", "username"),
        ] {
            let error = read(&format!("\"r.io\" = {entry}")).unwrap_err();
            assert!(error.contains(says) && !error.contains("hunter2"), "{entry}: {error}");
            assert!(error.contains("registries.\"r.io\""), "{error}");
        }
        for key in ["u:hunter2@r.io", "https://u:hunter2@r.io"] {
            let error =
                read(&format!("{key:?} = {{ username = \"u\", password_file = \"/p\" }}")).unwrap_err();
            assert!(error.contains("u:********@r.io") && !error.contains("hunter2"), "{error}");
        }
        for key in ["https://r.io", "r.io/team", "", "index.docker.io"] {
            let entry = "{ username = \"u\", password_file = \"/p\" }";
            assert!(read(&format!("{key:?} = {entry}")).is_err(), "{key}");
        }
    }
}
