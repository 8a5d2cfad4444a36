//! `drainswap config diff`: shows what `apply` would change.

use serde_json::json;
use similar::TextDiff;

use super::super::{App, print, print_object};
use super::desired::DesiredConfig;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cfg::mask;
use crate::cli::{DesiredConfigArgs, Output};

impl App {
    pub(super) async fn config_diff(
        &self,
        wanted: &DesiredConfigArgs,
        exit_code: bool,
    ) -> Result<Exit, Error> {
        let wanted = self.desired_config(wanted).await?;
        let text = diff(&wanted);
        match self.output {
            Output::Text => print(&text)?,
            Output::Json => {
                let object = json!({
                    "version": 1, "file": wanted.target, "changed": wanted.is_changed(),
                    "change": wanted.change.to_string(), "diff": text,
                });
                print_object(&object)?;
            }
        }
        Ok(if exit_code && wanted.is_changed() { Exit::Pending } else { Exit::Done })
    }
}

/// Returns the lines that differ, with some context. Secrets are hidden.
pub(super) fn diff(wanted: &DesiredConfig) -> String {
    let of = |document: &crate::cfg::Document| {
        let file = document.files.iter().find(|file| *file.path == *wanted.target);
        file.map_or_else(String::new, mask::masked)
    };
    let (old, new) = (of(&wanted.old.0), of(&wanted.new.0));
    let name = wanted.target.display().to_string();
    let diff = TextDiff::from_lines(&old, &new);
    let shown = diff.unified_diff().context_radius(3).header(&name, &format!("{name} (new)")).to_string();
    if shown.is_empty() && wanted.is_changed() {
        return format!("{name}: only hidden secrets differ\n");
    }
    shown
}
