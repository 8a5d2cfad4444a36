//! `drainswap`, the program: reads the command line and leaves the rest to [`drainswap::app`].

use std::io::IsTerminal;
use std::process::ExitCode;

use drainswap::adapters::environment;
use drainswap::app::bug;
use drainswap::cli::Cli;
use drainswap::exit::Exit;
use drainswap::report::ci::{self, Ci};
use drainswap::report::stderr::{self, Log};

fn main() -> ExitCode {
    exit_at_a_panic(bug::report);
    if let Some(exit) = drainswap::ansible::called(&std::env::args_os().collect::<Vec<_>>()) {
        return exit;
    }
    ci::read_by(Ci::of(&environment::variables()));
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(told) if told.use_stderr() => {
            stderr::say(told.render().ansi().to_string().trim_end());
            stderr::settle();
            return Exit::Usage.into();
        }
        Err(help) => help.exit(),
    };
    // Not bollard's own log: it prints whole requests, and with them what containers have in their environment.
    let level = if cli.globals.verbose { "drainswap=debug" } else { "drainswap=error" };
    tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(|| Log)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    exit_at_a_panic(bug::report_during(&cli));
    let exit = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(drainswap::app::run(cli)),
        Err(error) => {
            tracing::error!("no runtime: {error}");
            Exit::Bug.into()
        }
    };
    stderr::settle();
    exit
}

/// Ends the process at a panic of any thread, as `kill -9` would: the run's journal is the truth, and a task that goes on
/// without the one that panicked might not follow it. The panic's own words may quote a secret and stay unsaid.
#[expect(clippy::exit, reason = "nothing that unwinds can be trusted to do the rest")]
fn exit_at_a_panic(report: impl Fn(&str) -> String + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        stderr::say(&report(&place));
        stderr::settle();
        std::process::exit(i32::from(Exit::Bug.code()));
    }));
}
