//! `drainswap`, the program: reads the command line and leaves the rest to [`drainswap::app`].

use std::io::IsTerminal;
use std::process::ExitCode;

use drainswap::cli::Cli;
use drainswap::report::stderr::{self, Stderr};

fn main() -> ExitCode {
    if let Some(exit) = drainswap::ansible::called(&std::env::args_os().collect::<Vec<_>>()) {
        return exit;
    }
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|told| told.exit());
    // Not bollard's own log: it prints whole requests, and with them what containers have in their environment.
    let level = if cli.globals.verbose { "drainswap=debug" } else { "drainswap=error" };
    tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(|| Stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let exit = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(drainswap::app::run(cli)),
        Err(error) => {
            tracing::error!("no runtime: {error}");
            drainswap::exit::Exit::Bug.into()
        }
    };
    stderr::settle();
    exit
}
