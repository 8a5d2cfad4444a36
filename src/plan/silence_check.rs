//! The setting that requires a server's address to stop answering when its container stops.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The setting `silence_check`, for every backend or by backend. A backend that the table does not name is checked.
#[derive(Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(untagged)]
pub enum SilenceCheck {
    /// The same for every backend.
    Everywhere(bool),
    /// By the backend's name.
    ByBackend(BTreeMap<String, bool>),
}

impl SilenceCheck {
    /// Returns whether this is the default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether this excludes a backend that `other` checks.
    #[must_use]
    pub fn leaves_out_more_than(&self, other: &Self) -> bool {
        match self {
            Self::Everywhere(is_made) => !is_made && *other != Self::Everywhere(false),
            Self::ByBackend(backends) => {
                backends.iter().any(|(backend, is_made)| !is_made && other.is_made_for(backend))
            }
        }
    }

    /// Returns whether the servers of a backend are checked.
    #[must_use]
    pub fn is_made_for(&self, backend: &str) -> bool {
        match self {
            Self::Everywhere(is_made) => *is_made,
            Self::ByBackend(backends) => backends.get(backend).copied().unwrap_or(true),
        }
    }
}

impl Default for SilenceCheck {
    fn default() -> Self {
        Self::Everywhere(true)
    }
}

impl fmt::Display for SilenceCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(is_made) => is_made.fmt(f),
            Self::ByBackend(backends) => {
                let each = backends.iter().map(|(backend, is_made)| format!("{backend} = {is_made}"));
                f.write_str(&each.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Serialize for SilenceCheck {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Everywhere(is_made) => is_made.serialize(serializer),
            Self::ByBackend(backends) => backends.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SilenceCheck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = SilenceCheck;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or a table of backends with true or false")
            }

            fn visit_bool<E>(self, is_made: bool) -> Result<SilenceCheck, E> {
                Ok(SilenceCheck::Everywhere(is_made))
            }

            fn visit_map<A: MapAccess<'de>>(self, backends: A) -> Result<SilenceCheck, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(backends)).map(SilenceCheck::ByBackend)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_one_value_or_a_table_in_json() {
        let some = SilenceCheck::ByBackend([("pay".to_owned(), false)].into());
        for (json, check) in [
            (json!(true), SilenceCheck::Everywhere(true)),
            (json!(false), SilenceCheck::Everywhere(false)),
            (json!({ "pay": false }), some),
            (json!({}), SilenceCheck::ByBackend(BTreeMap::new())),
        ] {
            assert_eq!(serde_json::to_value(&check).unwrap(), json);
            assert_eq!(serde_json::from_value::<SilenceCheck>(json).unwrap(), check);
        }
        let wrong = serde_json::from_value::<SilenceCheck>(json!("no")).unwrap_err().to_string();
        assert_eq!(
            wrong,
            "invalid type: string \"no\", expected true, false, or a table of backends with true or false"
        );
    }

    #[test]
    fn a_backend_is_checked_unless_it_is_named() {
        let some = SilenceCheck::ByBackend([("pay".to_owned(), false)].into());
        assert!(!some.is_made_for("pay") && some.is_made_for("mobile"));
        assert!(SilenceCheck::default().is_made_for("pay"));
        assert!(!SilenceCheck::Everywhere(false).is_made_for("pay"));
        assert!(some.leaves_out_more_than(&SilenceCheck::default()) && !some.leaves_out_more_than(&some));
    }

    #[test]
    fn a_backend_that_is_already_left_out_is_not_left_out_by_another_setting() {
        let table = |backends: &[(&str, bool)]| {
            SilenceCheck::ByBackend(backends.iter().map(|(name, is)| ((*name).to_owned(), *is)).collect())
        };
        let pay = table(&[("pay", false)]);
        assert!(!pay.leaves_out_more_than(&SilenceCheck::Everywhere(false)));
        assert!(table(&[("pay", false), ("web", false)]).leaves_out_more_than(&pay));
        assert!(!table(&[("pay", true)]).leaves_out_more_than(&SilenceCheck::default()));
        assert!(SilenceCheck::Everywhere(false).leaves_out_more_than(&pay));
    }

    #[test]
    fn it_is_printed_as_in_the_settings() {
        assert_eq!(SilenceCheck::Everywhere(false).to_string(), "false");
        let two = SilenceCheck::ByBackend([("pay".to_owned(), false), ("web".to_owned(), true)].into());
        assert_eq!(two.to_string(), "pay = false, web = true");
    }
}
