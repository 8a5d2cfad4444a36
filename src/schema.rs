//! The forms of what drainswap writes and reads, as JSON Schemas (draft 2020-12) that are made from the types themselves.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::event::{self, Event, NoRun};
use crate::plan::file::{self, PlanFile};
use crate::settings;

/// What has a form that others may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A line of --events, and of a run's -o json
    Event,
    /// drainswap.toml
    Settings,
    /// What `plan --save` writes
    Plan,
}

/// A line that is told: of a run, or of a command that came to none.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "its form is all that is wanted")]
enum Line {
    Event(Box<Event>),
    NoRun(NoRun),
}

impl Form {
    /// The schema.
    #[must_use]
    pub fn schema(self) -> Schema {
        match self {
            Self::Event => schema::<Line>("event", "A line of drainswap's events", event::VERSION),
            Self::Settings => schema::<settings::File>("settings", "drainswap.toml", settings::VERSION),
            Self::Plan => schema::<PlanFile>("plan", "A plan file of drainswap", file::VERSION),
        }
    }

    /// The schema as text. Its keys come in the order of the alphabet, so that two versions can be compared.
    #[must_use]
    pub fn text(self) -> String {
        format!("{:#}\n", self.schema().to_value())
    }
}

/// What is read is described, not what is written: a field that was added later may be missing.
fn schema<T: JsonSchema>(name: &str, title: &str, version: u32) -> Schema {
    let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), format!("urn:drainswap:schema:{name}:{version}").into());
    schema.insert("title".to_owned(), format!("{title}, version {version}").into());
    RecursiveTransform(for_everybody).transform(&mut schema);
    schema
}

/// The documentation is written for those who read the source, where names are links.
fn for_everybody(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace("[`", "`").replace("`]", "`");
    }
}

#[cfg(test)]
mod tests;
