//! JSON Schemas (draft 2020-12) of the files and lines that drainswap reads and writes, generated from their types.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::cli::form::Form;
use crate::plan::file::{self, PlanFile};
use crate::run::event::{self, CommandFailed, Event};
use crate::settings;

/// A line of output: an event of a run, or the result of a command that started no run.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Line {
    Event(Box<Event>),
    NoRun(CommandFailed),
}

impl Form {
    /// Returns the schema.
    #[must_use]
    pub fn schema(self) -> Schema {
        match self {
            Self::Event => schema::<Line>("event", "A line of drainswap's events", event::VERSION),
            Self::Settings => schema::<settings::File>("settings", "drainswap.toml", settings::VERSION),
            Self::Plan => schema::<PlanFile>("plan", "A plan file of drainswap", file::VERSION),
        }
    }

    /// Returns the schema as text. Its keys are in alphabetical order, so that two versions can be compared.
    #[must_use]
    pub fn text(self) -> String {
        format!("{:#}\n", self.schema().to_value())
    }
}

/// Returns the schema for reading: a field that was added later may be missing.
fn schema<T: JsonSchema>(name: &str, title: &str, version: u32) -> Schema {
    let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), format!("urn:drainswap:schema:{name}:{version}").into());
    schema.insert("title".to_owned(), format!("{title}, version {version}").into());
    RecursiveTransform(without_links).transform(&mut schema);
    schema
}

/// Removes the links from descriptions: the doc comments link to names in the source.
fn without_links(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace("[`", "`").replace("`]", "`");
    }
}

#[cfg(test)]
mod tests;
