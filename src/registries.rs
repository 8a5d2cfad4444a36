//! `[registries]` of drainswap.toml: who one is at a registry, and where the password is. It is never in the settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use crate::command_line::shell;
use crate::secret::shown;

/// What Docker Hub is called as a key; images from there name no registry.
const HUB: &str = "docker.io";

/// The logins, by the registry's host and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "BTreeMap<String, Value>")]
#[schemars(with = "BTreeMap<String, Keys>")]
pub struct Registries(BTreeMap<String, RegistryLogin>);

/// The keys of an entry, for those who ask for its form: [`login`] reads them.
#[derive(schemars::JsonSchema)]
#[schemars(deny_unknown_fields,
    rename = "RegistryLogin", extend("oneOf" = [{ "required": ["password_file"] }, { "required": ["password_command"] }]))]
#[expect(dead_code, reason = "its form is all that is wanted")]
struct Keys {
    /// The user's name.
    #[schemars(length(min = 1))]
    username: String,
    /// A file with the password, alone on its line.
    #[schemars(length(min = 1))]
    password_file: Option<String>,
    /// A command of the shell that prints the password.
    #[schemars(length(min = 1))]
    password_command: Option<String>,
}

/// Who one is at a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The user's name.
    pub username: String,
    /// Where the password is.
    pub password: PasswordSource,
}

/// Where a password is. It is asked for anew at each login, since it may be over in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// In a file, alone.
    File(PathBuf),
    /// A command of the shell prints it.
    Command(String),
}

/// Why there is no password. None of these repeats what was read or printed, nor the command.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoPassword {
    /// The file cannot be read.
    #[error("its password_file {path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Everybody may read or write the file.
    #[error("its password_file {path} is open to everybody (mode {mode:o}): `{}`", shell(&["chmod", "o-rwx", .path]))]
    Open {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds something else than one line.
    #[error("its password_file {path} is not one line with a password in it")]
    NotALine {
        /// The file.
        path: String,
    },
    /// The command cannot be run, or failed.
    #[error("its password_command {reason}")]
    Command {
        /// What went wrong: how it ended, or what the system said.
        reason: String,
    },
    /// The command took too long.
    #[error("its password_command had not ended within {} s", .limit.as_secs_f32())]
    TooSlow {
        /// How long it may take.
        limit: Duration,
    },
}

impl NoPassword {
    /// Whether what drainswap.toml names is wrong, rather than away.
    #[must_use]
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Open { .. } | Self::NotALine { .. } => true,
            Self::Command { .. } | Self::TooSlow { .. } => false,
        }
    }
}

impl Registries {
    /// The login for a registry, `None` being Docker Hub.
    #[must_use]
    pub fn login(&self, registry: Option<&str>) -> Option<&RegistryLogin> {
        let registry = registry.filter(|name| *name != "index.docker.io").unwrap_or(HUB);
        self.0.get(registry)
    }
}

impl TryFrom<BTreeMap<String, Value>> for Registries {
    type Error = String;

    /// The values are read by hand: whatever was written in the wrong place may be the password.
    fn try_from(written: BTreeMap<String, Value>) -> Result<Self, Self::Error> {
        let read = |(name, value): (String, Value)| {
            let login = legal_key(&name).and_then(|()| login(value));
            login
                .map(|login| (name.clone(), login))
                .map_err(|reason| format!("registries.\"{}\": {reason}", shown(&name).escape_debug()))
        };
        written.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

fn legal_key(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(|c: char| c == '/' || c == '@' || c.is_whitespace()) {
        return Err("write the registry's host as images name it, with its port if it has one".to_owned());
    }
    if name == "index.docker.io" {
        return Err(format!("Docker Hub is called {HUB} here"));
    }
    Ok(())
}

fn login(value: Value) -> Result<RegistryLogin, String> {
    const FORM: &str = "write { username = \"…\", password_file = \"…\" } or, in its place, password_command";
    let Value::Table(mut table) = value else { return Err(FORM.to_owned()) };
    if table.contains_key("password") {
        return Err(
            "a password does not belong into the settings: write it into a file that only you may read, \
             and name that with password_file"
                .to_owned(),
        );
    }
    let username = text(&mut table, "username")?.ok_or(FORM)?;
    let file = text(&mut table, "password_file")?;
    let command = text(&mut table, "password_command")?;
    if let Some(unknown) = table.keys().next() {
        return Err(format!("there is no key `{}`: {FORM}", unknown.escape_debug()));
    }
    let password = match (file, command) {
        (Some(file), None) => PasswordSource::File(file.into()),
        (None, Some(command)) => PasswordSource::Command(command),
        (Some(_), Some(_)) => {
            return Err("it has password_file and password_command: leave one of them out".to_owned());
        }
        (None, None) => return Err(FORM.to_owned()),
    };
    Ok(RegistryLogin { username, password })
}

fn text(table: &mut Table, key: &str) -> Result<Option<String>, String> {
    match table.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(format!("{key} is no text with something in it")),
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
    fn what_is_wrong_is_said_and_nothing_secret_with_it() {
        for (entry, says) in [
            ("{ username = \"u\", password = \"hunter2\" }", "name that with password_file"),
            ("{ username = \"u\", password = [\"hunter2\"] }", "name that with password_file"),
            ("\"u:hunter2\"", "write { username"),
            ("{ username = \"u\", passwd = \"hunter2\", password_file = \"/p\" }", "no key `passwd`"),
            ("{ username = \"u\", password_file = [\"hunter2\"] }", "password_file is no text"),
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
