//! Parses one of the values of an enum.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StringDeserializer};

/// Returns a parser of an enum, whose values have the names and the meaning that the settings file has for them.
pub(super) fn choice<T>() -> impl TypedValueParser<Value = T>
where
    T: for<'de> Deserialize<'de> + JsonSchema + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(values::<T>())
        .try_map(|name| T::deserialize::<StringDeserializer<Error>>(name.into_deserializer()))
}

/// Returns the values of an enum, from its JSON Schema.
fn values<T: JsonSchema>() -> Vec<PossibleValue> {
    let schema = schema_for!(T).to_value();
    let values = schema["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
    let value = |value: &serde_json::Value| {
        let meaning = value["description"].as_str().unwrap_or_default().replace('\n', " ");
        let value = PossibleValue::new(value["const"].as_str()?.to_owned());
        Some(value.help(meaning.trim_end_matches('.').to_owned()))
    };
    values.iter().filter_map(value).collect()
}
