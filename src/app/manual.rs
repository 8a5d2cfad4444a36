//! `drainswap schema`, `completions` and `man`: output that is generated from the command line's definition.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::print_as_is;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cli::{Cli, Command};

/// Runs a command that explains drainswap or its settings, and so must work even if the settings are wrong. Returns
/// `None` for every other command.
pub(super) fn explain(command: &Command) -> Result<Option<Exit>, Error> {
    if let Command::Schema { form } = command {
        print_as_is(&form.text())?;
    } else if let Command::Completions { shell } = command {
        completions(*shell)?;
    } else if let Command::Man { dir } = command {
        dir.as_deref().map_or_else(page, pages)?;
    } else {
        return Ok(None);
    }
    Ok(Some(Exit::Done))
}

fn completions(shell: Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "drainswap", &mut script);
    print_as_is(&String::from_utf8_lossy(&script))
}

/// Returns the command line's definition, with the global options in each command.
fn command_with_globals() -> clap::Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

/// Prints the page of the program itself.
fn page() -> Result<(), Error> {
    print_as_is(&text_of(&Man::new(command_with_globals()))?)
}

/// Writes one page per command into this directory, and creates the directory if it is missing.
fn pages(dir: &Path) -> Result<(), Error> {
    let written = std::fs::create_dir_all(dir).and_then(|()| write_pages(&command_with_globals(), dir));
    written.map_err(|error| Error::NotWritten { path: dir.display().to_string(), reason: error.to_string() })
}

fn write_pages(command: &clap::Command, dir: &Path) -> std::io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write_pages(inner, dir)?;
    }
    let page = Man::new(command.clone());
    std::fs::write(dir.join(page.get_filename()), text_of(&page)?)
}

/// Renders a page, with the notes and the examples after the options under headings, one line per example.
fn text_of(page: &Man) -> std::io::Result<String> {
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH NOTES\n");
    Ok(text.replace("\n\nExamples:\n", "\n.SH EXAMPLES\n.nf\n"))
}
