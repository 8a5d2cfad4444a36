//! How a new container differs from the one that it replaces.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A difference between a new container and the one that it replaces. A value that may be secret is not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[schemars(rename = "Change")]
pub enum ContainerChange {
    /// A setting has another value.
    Value {
        /// The name of the setting.
        field: Cow<'static, str>,
        /// The old value; empty if there was none.
        from: String,
        /// The new value; empty if there is none.
        to: String,
    },
    /// A setting has another value, which may be secret.
    Hidden {
        /// The name of the setting.
        field: Cow<'static, str>,
    },
    /// A list, such as the environment variables, has a new entry.
    Added {
        /// The name of the list.
        field: Cow<'static, str>,
        /// The name of the entry.
        name: String,
    },
    /// A list has lost an entry.
    Gone {
        /// The name of the list.
        field: Cow<'static, str>,
        /// The name of the entry.
        name: String,
    },
    /// An entry of a list has another value.
    Changed {
        /// The name of the list.
        field: Cow<'static, str>,
        /// The name of the entry.
        name: String,
    },
}

impl fmt::Display for ContainerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
        match self {
            Self::Value { field, from, to } => write!(f, "{field}: {} → {}", shown(from), shown(to)),
            Self::Hidden { field } => write!(f, "{field} differs"),
            Self::Added { field, name } => write!(f, "{field} {name} is new"),
            Self::Gone { field, name } => write!(f, "{field} {name} is removed"),
            Self::Changed { field, name } => write!(f, "{field} {name} has a new value"),
        }
    }
}
