//! `drainswap`, the program: reads the command line and leaves the rest to [`drainswap::app`].

use std::process::ExitCode;

use clap::Parser;
use drainswap::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.globals.verbose {
        0 => "off",
        1 => "drainswap=info",
        _ => "drainswap=trace",
    };
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).init();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(drainswap::app::run(cli)),
        Err(error) => {
            tracing::error!("no runtime: {error}");
            drainswap::exit::Exit::Bug.into()
        }
    }
}
