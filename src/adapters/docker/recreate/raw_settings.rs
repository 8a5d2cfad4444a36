//! Settings that the client's types do not have. They are carried over as the engine shows them.

use std::collections::BTreeMap;

use bollard::models::HostConfig;
use serde_json::Value;

use super::{ALL_AT_ONCE, ApiVersion, Dialect};

/// The first API version in which an engine no longer shows which MAC address was chosen, and no longer accepts one for
/// the container as a whole. <https://docs.docker.com/reference/api/engine/version-history/#v152-api-changes>
const HIDES_MAC: ApiVersion = (1, 52);

/// Returns the API version for the raw inspection of a container.
pub(in crate::adapters::docker) fn inspected_by(api: ApiVersion) -> ApiVersion {
    if api < HIDES_MAC { api } else { (HIDES_MAC.0, HIDES_MAC.1 - 1) }
}

/// The parts of a container that the client's types omit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawSettings {
    /// The MAC address that the user chose for its main network. An address that the engine generated is shown
    /// elsewhere.
    pub mac_address: Option<String>,
    /// The capabilities of its process, from Podman's own API. Through Docker's API, Podman omits those that a user
    /// other than root was given but that root has anyway.
    pub capabilities: Vec<String>,
    /// Settings, by the JSON pointer of their place in the body of a create call.
    settings: BTreeMap<String, Value>,
}

impl RawSettings {
    /// Reads a raw inspection.
    #[must_use]
    pub fn of(raw: &Value, dialect: Dialect) -> Self {
        // Podman also shows the same settings under other names, and accepts only settings that it knows.
        if dialect.is_podman {
            let capabilities = raw["EffectiveCaps"].as_array().into_iter().flatten();
            let capabilities = capabilities.filter_map(|it| Some(it.as_str()?.to_owned())).collect();
            return Self { capabilities, ..Self::default() };
        }
        let mut settings = BTreeMap::new();
        // For the rest of the configuration, it is unknown what came from the image.
        let raw_host = &raw["HostConfig"];
        let known = serde_json::from_value::<HostConfig>(raw_host.clone()).and_then(serde_json::to_value);
        if let Ok(known) = known {
            compare("/HostConfig", raw_host, &known, &mut settings);
        }
        let mac_address = raw["Config"]["MacAddress"].as_str().filter(|it| !it.is_empty());
        Self { mac_address: mac_address.map(str::to_lowercase), capabilities: Vec::new(), settings }
    }

    /// Inserts the settings into the body of a create call, if their parents are still there.
    pub fn apply_to(&self, body: &mut Value, dialect: Dialect) {
        for (pointer, value) in &self.settings {
            set(body, pointer, value.clone());
        }
        // Later engines take the address with the network.
        if let Some(mac) = self.mac_address.as_ref().filter(|_| dialect.api < ALL_AT_ONCE) {
            set(body, MAC_ADDRESS, mac.as_str().into());
        }
    }

    /// Returns the settings that differ in the other container, named as in an inspection: `HostConfig.NewSetting`.
    #[must_use]
    pub fn missing_from(&self, other: &Self) -> Vec<String> {
        let lost =
            self.settings.iter().filter(|(pointer, value)| other.settings.get(*pointer) != Some(value));
        let names = lost.map(|(pointer, _)| pointer.trim_start_matches('/').replace('/', "."));
        let mac = (self.mac_address.is_some() && self.mac_address != other.mac_address)
            .then(|| "the MAC address".to_owned());
        names.chain(mac).collect()
    }
}

const MAC_ADDRESS: &str = "/MacAddress";

/// Collects the parts of a value that its typed form does not have.
fn compare(at: &str, raw: &Value, known: &Value, found: &mut BTreeMap<String, Value>) {
    match (raw, known) {
        (Value::Object(raw), Value::Object(known)) => {
            for (name, value) in raw.iter().filter(|(_, value)| !value.is_null()) {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                match known.get(name) {
                    Some(known) => compare(&at, value, known, found),
                    None => drop(found.insert(at, value.clone())),
                }
            }
        }
        (Value::Array(raw), Value::Array(known)) => {
            for (index, (raw, known)) in raw.iter().zip(known).enumerate() {
                compare(&format!("{at}/{index}"), raw, known, found);
            }
        }
        _ => {}
    }
}

/// Sets a member of an object, if the object exists.
fn set(body: &mut Value, pointer: &str, value: Value) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    if let Some(Value::Object(parent)) = body.pointer_mut(parent) {
        parent.insert(name.replace("~1", "/").replace("~0", "~"), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OLD: Dialect = Dialect { api: (1, 41), is_podman: false };
    const NEW: Dialect = Dialect { api: (1, 51), is_podman: false };

    fn inspection() -> Value {
        json!({
            "Config": { "Hostname": "web", "Labels": { "any": "label" }, "MacAddress": "02:11:22:33:44:55", "Fresh": null },
            "HostConfig": {
                "Memory": 64,
                "TimeMode": "private",
                "LogConfig": { "Type": "local", "Config": { "any": "thing" } },
                "Mounts": [
                    { "Type": "volume", "Source": "one", "Target": "/one" },
                    { "Type": "volume", "Source": "two", "Target": "/two", "VolumeOptions": { "Newest": [1] } },
                ],
                "Sysctls": { "net.ipv4/x": "1" },
            },
        })
    }

    #[test]
    fn settings_outside_the_types_are_carried_over() {
        let raw = RawSettings::of(&inspection(), NEW);
        assert_eq!(raw.mac_address.as_deref(), Some("02:11:22:33:44:55"));
        let found: Vec<_> = raw.settings.keys().map(String::as_str).collect();
        assert_eq!(found, ["/HostConfig/Mounts/1/VolumeOptions/Newest", "/HostConfig/TimeMode"]);
        let mut body = json!({ "HostConfig": { "Mounts": [{}, { "VolumeOptions": {} }] } });
        raw.apply_to(&mut body, NEW);
        assert_eq!(
            body,
            json!({ "HostConfig": {
                "TimeMode": "private", "Mounts": [{}, { "VolumeOptions": { "Newest": [1] } }]
            } })
        );
        raw.apply_to(&mut body, OLD);
        assert_eq!(body["MacAddress"], "02:11:22:33:44:55");
    }

    #[test]
    fn settings_that_the_new_container_lacks_are_named() {
        let raw = RawSettings::of(&inspection(), NEW);
        assert_eq!(raw.missing_from(&raw), [""; 0]);
        let mut other = inspection();
        other["HostConfig"]["TimeMode"] = json!("host");
        other["Config"]["MacAddress"] = json!("");
        let other = RawSettings::of(&other, NEW);
        assert_eq!(raw.missing_from(&other), ["HostConfig.TimeMode", "the MAC address"]);
        assert_eq!(other.missing_from(&RawSettings::default()).len(), 2);
    }

    #[test]
    fn with_podman_only_capabilities_are_carried_over() {
        let podman = Dialect { is_podman: true, ..NEW };
        assert_eq!(RawSettings::of(&inspection(), podman), RawSettings::default());
        let shown = json!({ "EffectiveCaps": ["CAP_CHOWN"] });
        assert_eq!(RawSettings::of(&shown, podman).capabilities, ["CAP_CHOWN"]);
    }
}
