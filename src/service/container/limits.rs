//! The resources of a container and its restart policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use toml::Value;

use super::form::{Scalar, Text};
use crate::service::by_type::by_type;

/// The `restart` key: `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Scalar")]
pub enum Restart {
    No,
    Always,
    UnlessStopped,
    /// The maximum number of restarts; 0 means unlimited.
    OnFailure(u32),
}

impl TryFrom<Scalar> for Restart {
    type Error = String;

    fn try_from(written: Scalar) -> Result<Self, String> {
        let text = written.text();
        match text.as_str() {
            "no" | "false" => return Ok(Self::No),
            "always" => return Ok(Self::Always),
            "unless-stopped" => return Ok(Self::UnlessStopped),
            "on-failure" => return Ok(Self::OnFailure(0)),
            _ => {}
        }
        let times = text.strip_prefix("on-failure:").and_then(|times| times.parse().ok());
        times.map(Self::OnFailure).ok_or_else(|| {
            format!(
                "invalid restart policy `{}`: expected no, always, unless-stopped, on-failure or on-failure:3",
                text.escape_debug()
            )
        })
    }
}

/// An entry of `ulimits`; -1 means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(from = "UlimitForms")]
pub struct Ulimit {
    /// The limit that the kernel enforces.
    pub soft: i64,
    /// The maximum to which the process may raise its soft limit.
    pub hard: i64,
}

#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
enum UlimitForms {
    Both(i64),
    Each {
        /// The limit that the kernel enforces.
        soft: i64,
        /// The maximum to which the process may raise its soft limit.
        hard: i64,
    },
}

impl UlimitForms {
    fn of(value: Value) -> Option<Self> {
        match value {
            Value::Integer(both) => Some(Self::Both(both)),
            Value::Table(each) => {
                let limit = |key: &str| each.get(key)?.as_integer();
                Some(Self::Each { soft: limit("soft")?, hard: limit("hard")? })
            }
            Value::String(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) => {
                None
            }
        }
    }
}

impl<'de> Deserialize<'de> for UlimitForms {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        by_type(from, "a number, or a table with soft and hard", Self::of)
    }
}

impl From<UlimitForms> for Ulimit {
    fn from(written: UlimitForms) -> Self {
        match written {
            UlimitForms::Both(limit) => Self { soft: limit, hard: limit },
            UlimitForms::Each { soft, hard } => Self { soft, hard },
        }
    }
}

/// The `logging` key: the logging driver and its options.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// The logging driver; the default is the engine's default driver.
    #[serde(default)]
    pub driver: String,
    /// The options of the logging driver.
    #[serde(default)]
    pub options: BTreeMap<String, Text>,
}

/// An entry of `devices`: `HOST`, `HOST:CONTAINER` or `HOST:CONTAINER:rwm`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
pub struct Device {
    /// The path on the engine's host.
    pub host: String,
    /// The path inside the container.
    pub container: String,
    /// The permissions to read (`r`), write (`w`) and create the device node (`m`).
    pub permissions: String,
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad =
            || format!("invalid device `{}`: expected /dev/HOST:/dev/CONTAINER:rwm", text.escape_debug());
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, permissions) = match parts.as_slice() {
            [host] => (*host, *host, "rwm"),
            [host, container] => (*host, *container, "rwm"),
            [host, container, permissions] => (*host, *container, *permissions),
            _ => return Err(bad()),
        };
        let is_known = !permissions.is_empty() && permissions.chars().all(|it| "rwm".contains(it));
        if !host.starts_with('/') || !container.starts_with('/') || !is_known {
            return Err(bad());
        }
        let [host, container, permissions] = [host, container, permissions].map(str::to_owned);
        Ok(Self { host, container, permissions })
    }
}

/// An entry of `security_opt`, passed to the engine unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
pub struct SecurityOption(pub String);

impl TryFrom<String> for SecurityOption {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let seccomp = text.strip_prefix("seccomp").and_then(|rest| rest.strip_prefix(['=', ':']));
        match seccomp {
            // The engine expects the text of a profile. Compose reads the file, but this host may not have it.
            Some(profile) if !["unconfined", "builtin"].contains(&profile) => {
                Err("cannot use a seccomp profile from a file: use seccomp=unconfined or seccomp=builtin"
                    .to_owned())
            }
            _ => Ok(Self(text)),
        }
    }
}
