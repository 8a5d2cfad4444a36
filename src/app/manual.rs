//! `drainswap schema`, `completions` and `man`: output that is generated from drainswap's own definitions.

use std::path::Path;

use super::print_as_is;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cli::{Command, manual};

/// Runs a command that explains drainswap or its settings, and so must work even if the settings are wrong. Returns
/// `None` for every other command.
pub(super) fn explain(command: &Command) -> Result<Option<Exit>, Error> {
    if let Command::Schema { form } = command {
        print_as_is(&form.text())?;
    } else if let Command::Completions { shell } = command {
        print_as_is(&manual::completions(*shell))?;
    } else if let Command::Man { dir: None } = command {
        print_as_is(&manual::page()?.text)?;
    } else if let Command::Man { dir: Some(dir) } = command {
        let not_written = |error: std::io::Error| Error::NotWritten {
            path: dir.display().to_string(),
            reason: error.to_string(),
        };
        write_pages(dir).map_err(not_written)?;
    } else {
        return Ok(None);
    }
    Ok(Some(Exit::Done))
}

/// Writes one page per command into this directory, and creates the directory if it is missing.
fn write_pages(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    manual::pages()?.into_iter().try_for_each(|page| std::fs::write(dir.join(page.file), page.text))
}
