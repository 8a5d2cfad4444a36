//! Completion scripts and manual pages, generated from the command line's definition.

use std::io;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

/// A manual page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Such as `drainswap-deploy.1`.
    pub file: String,
    pub text: String,
}

/// Returns the completion script for a shell.
#[must_use]
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "drainswap", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Returns the page of the program itself.
///
/// # Errors
/// If the page cannot be rendered.
pub fn page() -> io::Result<Page> {
    rendered(command_with_globals())
}

/// Returns the pages of all commands.
///
/// # Errors
/// If a page cannot be rendered.
pub fn pages() -> io::Result<Vec<Page>> {
    fn collect(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
        let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set());
        inner.into_iter().try_for_each(|inner| collect(inner, pages))?;
        pages.push(rendered(command.clone())?);
        Ok(())
    }
    let mut pages = Vec::new();
    collect(&command_with_globals(), &mut pages)?;
    Ok(pages)
}

/// Returns the command line's definition, with the global options in each command.
fn command_with_globals() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

/// Renders a page, with the notes and the examples after the options under headings, one line per example.
fn rendered(command: Command) -> io::Result<Page> {
    let page = Man::new(command);
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH NOTES\n");
    let text = text.replace("\n\nExamples:\n", "\n.SH EXAMPLES\n.nf\n");
    Ok(Page { file: page.get_filename(), text })
}
