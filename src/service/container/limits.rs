//! What the engine lets a container have, and what it does when it ends.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::form::{Scalar, Text};

/// `restart`: `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Scalar")]
pub enum Restart {
    /// Never.
    No,
    /// Whatever happens.
    Always,
    /// Unless a person stopped it.
    UnlessStopped,
    /// When it fails: so often, 0 for ever.
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
                "`{}` is no restart policy: write no, always, unless-stopped, on-failure or on-failure:3",
                text.escape_debug()
            )
        })
    }
}

/// One of `ulimits`, which the kernel enforces; -1 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(from = "UlimitForms")]
pub struct Ulimit {
    /// What holds.
    pub soft: i64,
    /// How far the process may raise it.
    pub hard: i64,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "write a number, or a table of soft and hard")]
enum UlimitForms {
    Both(i64),
    Each {
        /// What holds.
        soft: i64,
        /// How far the process may raise it.
        hard: i64,
    },
}

impl From<UlimitForms> for Ulimit {
    fn from(written: UlimitForms) -> Self {
        match written {
            UlimitForms::Both(limit) => Self { soft: limit, hard: limit },
            UlimitForms::Each { soft, hard } => Self { soft, hard },
        }
    }
}

/// `logging`: where its output goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// The engine's driver; its default one without.
    #[serde(default)]
    pub driver: String,
    /// The driver's options.
    #[serde(default)]
    pub options: BTreeMap<String, Text>,
}

/// One of `devices`: `HOST`, `HOST:CONTAINER` or `HOST:CONTAINER:rwm`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
pub struct Device {
    /// The path on the engine's host.
    pub host: String,
    /// The path inside.
    pub container: String,
    /// Whether it may be read (`r`), written (`w`) and made (`m`).
    pub permissions: String,
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("`{}` is no device: write /dev/HOST:/dev/CONTAINER:rwm", text.escape_debug());
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

/// One of `security_opt`: what the engine takes as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
pub struct SecurityOption(pub String);

impl TryFrom<String> for SecurityOption {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let seccomp = text.strip_prefix("seccomp").and_then(|rest| rest.strip_prefix(['=', ':']));
        match seccomp {
            // The engine takes a profile's text, and compose reads its file; this host may not have it.
            Some(profile) if !["unconfined", "builtin"].contains(&profile) => {
                Err("a seccomp profile of a file is not read: write seccomp=unconfined or seccomp=builtin"
                    .to_owned())
            }
            _ => Ok(Self(text)),
        }
    }
}
