//! Parsing of the `[services]` table. Errors name the path of the key.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use toml::{Table, Value};

use super::Service;
use super::container::Container;

/// Reads every service: its own keys and the keys of its container.
///
/// # Errors
/// Reports the first mistake with the path of its key and a fix. Values in `environment` are never repeated.
pub fn services<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Service>, D::Error> {
    let tables = BTreeMap::<String, Table>::deserialize(from)?;
    let read = |(name, table): (String, Table)| match service(table) {
        Ok(service) => Ok((name, service)),
        Err(ServiceError { key, reason }) => Err(D::Error::custom(format!("services.{name}{key}: {reason}"))),
    };
    tables.into_iter().map(read).collect()
}

/// A mistake in the description of a service.
pub(super) struct ServiceError {
    /// The path below the service, such as `.check.uri`; empty for the service itself.
    pub key: String,
    pub reason: String,
}

/// Reads one service: its own keys and the keys of its container.
pub(super) fn service(table: Table) -> Result<Service, ServiceError> {
    let (own, container) = (keys::<Service>(), keys::<Container>());
    let known = || own.iter().chain(container);
    if let Some(key) = table.keys().find(|key| !known().any(|known| known == key)) {
        let close = known().map(|known| (strsim::jaro_winkler(known, key), known));
        let closest = close.max_by(|one, other| one.0.total_cmp(&other.0));
        let hint = closest.filter(|(closeness, _)| *closeness > 0.8).map(|(_, known)| known);
        let reason = hint.map_or_else(
            || "unknown key: remove it".to_owned(),
            |known| format!("unknown key: did you mean `{known}`?"),
        );
        return Err(ServiceError { key: format!(".{key}"), reason });
    }
    let (container, own): (Table, Table) =
        table.into_iter().partition(|(key, _)| container.contains(&key.as_str()));
    let container: Container = value(container)?;
    if let Some((key, reason)) = container.contradiction() {
        return Err(ServiceError { key: format!(".{key}"), reason: reason.to_owned() });
    }
    Ok(Service { container, ..value(own)? })
}

fn value<T: DeserializeOwned>(table: Table) -> Result<T, ServiceError> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let path = error.path().to_string();
        let key = if path == "." { String::new() } else { format!(".{path}") };
        ServiceError { key, reason: error.inner().message().to_owned() }
    })
}

/// Returns the keys of a table that deserializes to a `T`, as serde reports them.
pub(crate) fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Names<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(Self::Error::custom("only the names are needed"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("not a table"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut names: &'static [&'static str] = &[];
    let _always_an_error = T::deserialize(Names(&mut names));
    names
}
