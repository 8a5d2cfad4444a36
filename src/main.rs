//! The `drainswap` binary: parses the command line and leaves the rest to [`drainswap::app`].

use std::io::IsTerminal;
use std::process::ExitCode;

use drainswap::adapters::environment;
use drainswap::app::bug;
use drainswap::app::exit::Exit;
use drainswap::cli::Cli;
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
        Err(error) if error.use_stderr() => {
            stderr::print_line(error.render().ansi().to_string().trim_end());
            stderr::flush();
            return Exit::Usage.into();
        }
        Err(help) => help.exit(),
    };
    // Excludes bollard's own log: it prints whole requests, including the environment variables of containers.
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
            tracing::error!(
                "cannot start the async runtime: {error}. Raise the limits on processes and open files (ulimit -u, ulimit -n), then try again"
            );
            Exit::Bug.into()
        }
    };
    stderr::flush();
    exit
}

/// Makes a panic in any thread end the process, as `kill -9` would.
///
/// The run's journal is the truth, and a task that goes on without the thread that panicked might not follow it. The
/// panic message is not printed, because it may quote a secret.
#[expect(clippy::exit, reason = "code that runs while unwinding cannot be trusted to finish the run")]
fn exit_at_a_panic(report: impl Fn(&str) -> String + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        stderr::print_line(&report(&place));
        stderr::flush();
        std::process::exit(i32::from(Exit::Bug.code()));
    }));
}
