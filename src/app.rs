//! Wires everything together: one function a command.

mod config;
mod doctor;
mod history;
mod hold;
mod look;
mod moves;
mod promote;
mod prune;
mod resume;
mod run;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::{Cli, Command, Globals, Output};
use crate::error::Error;
use crate::exit::Exit;
use crate::ids::ServerId;
use crate::plan::LbQuorum;
use crate::settings::Settings;

/// Runs what was typed, prints its result, and tells how the process ends.
pub async fn run(cli: Cli) -> ExitCode {
    let output = cli.globals.output;
    match Box::pin(dispatch(cli)).await {
        Ok(exit) => exit.into(),
        // Whoever read our output has read enough.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done.into(),
        // The run has told its own end.
        Err(error @ Error::Untouched(_)) => error.exit().into(),
        Err(error) => {
            let exit = error.exit();
            if output == Output::Json {
                let object = json!({ "version": 1, "event": "failed", "exit": exit.code(), "error": error.to_string() });
                let _gone = print(&format!("{object}\n"));
            }
            let style = anstyle::AnsiColor::Red.on_default().bold();
            let _gone = writeln!(anstream::stderr(), "{style}error{style:#}: {error}");
            exit.into()
        }
    }
}

async fn dispatch(cli: Cli) -> Result<Exit, Error> {
    let settings = Settings::read(&cli.globals)?;
    let app = App { settings, output: cli.globals.output, quiet: cli.globals.quiet };
    match cli.command {
        Command::Status { backends } => app.status(&backends).await,
        Command::Plan { goal, policy, exit_code } => app.plan(&goal, &policy, exit_code).await,
        Command::Deploy { goal, policy, resume_first } => {
            let left =
                if resume_first { app.resume_one(&goal.backend, false, false).await? } else { Exit::Done };
            if left == Exit::Done { app.deploy(&goal, &policy).await } else { Ok(left) }
        }
        Command::Rollback { backend, to, policy, dry_run } => {
            app.rollback(&backend, to.as_deref(), &policy, dry_run).await
        }
        Command::Resume { backend, undo, dry_run } => app.resume(backend.as_deref(), undo, dry_run).await,
        Command::Promote { backend, from, to, policy, dry_run } => {
            // What is typed or in the environment would mean both places.
            let at = |file: PathBuf| {
                let globals = Globals { settings: Some(file), ..Globals::default() };
                Ok::<_, Error>(App {
                    settings: Settings::read(&globals)?,
                    output: app.output,
                    quiet: app.quiet,
                })
            };
            Box::pin(at(to)?.promote(&at(from)?, &backend, &policy, dry_run)).await
        }
        Command::History { backend } => app.history(&backend).await,
        Command::Prune { backends, keep, dry_run } => app.prune(&backends, keep, dry_run).await,
        Command::Drain(it) => app.single(crate::observation::AdminState::Drain, &it).await,
        Command::Maint(it) => app.single(crate::observation::AdminState::Maint, &it).await,
        Command::Ready(it) => app.single(crate::observation::AdminState::Ready, &it).await,
        Command::Doctor { fix, keep, exit_code } => app.doctor(fix, keep, exit_code).await,
        Command::Config(command) => app.config(command).await,
    }
}

/// What every command works with.
struct App {
    settings: Settings,
    output: Output,
    quiet: bool,
}

impl App {
    async fn status(&self, wanted: &[String]) -> Result<Exit, Error> {
        let (configuration, load_balancers) = self.load_balancers().await?;
        for name in wanted {
            known_backend(&configuration, name)?;
        }
        let world = self.world(&configuration, wanted, load_balancers).await?;
        let (observation, topology) = self.observe(&configuration, &world, LbQuorum::All).await?;
        let shown = |backend: &&crate::topology::Backend| wanted.is_empty() || wanted.contains(&backend.name);
        let backends: Vec<_> = topology.backends.iter().filter(shown).collect();
        if let Err(error) = self.settings.described() {
            self.say(&format!("note: {error}"))?;
        }
        // Who may not read what a description is made of can still look at everything else.
        let drift = match world.drift(backends.iter().copied()).await {
            Ok(drift) => drift,
            Err(error) => {
                self.say(&format!("note: nobody can tell what is not as described: {error}"))?;
                BTreeMap::new()
            }
        };
        match self.output {
            Output::Json => {
                let haproxy = observation.load_balancers.iter().map(|seen| {
                    json!({ "socket": seen.name, "version": seen.version, "pid": seen.pid, "old_workers": seen.old_workers })
                });
                let haproxy: Vec<_> = haproxy.collect();
                let object = json!({ "version": 1, "at": observation.at, "haproxy": haproxy, "backends": backends, "drift": drift });
                print(&format!("{object}\n"))?;
            }
            Output::Text => {
                print(&crate::status::table(&backends))?;
                for seen in &observation.load_balancers {
                    for worker in seen.old_workers.iter().flatten() {
                        let held: u64 = worker.servers.iter().map(|server| server.sessions).sum();
                        let held = crate::outcome::sessions(held);
                        self.say(&format!("note: HAProxy's old worker {} still holds {held}", worker.pid))?;
                    }
                }
            }
        }
        for server in backends.iter().flat_map(|backend| &backend.servers) {
            let changes = server.container().and_then(|it| drift.get(&it.id)).map_or(0, Vec::len);
            if changes > 0 {
                let (server, backend) = (&server.id, &server.id.backend);
                self.say(&format!("note: {server} is not as drainswap.toml describes it; `drainswap plan {backend}` shows what differs"))?;
            }
        }
        for backend in &backends {
            self.warn_of_unfinished(&backend.name)?;
        }
        Ok(Exit::Done)
    }

    fn say(&self, text: &str) -> Result<(), Error> {
        if !self.quiet {
            writeln!(anstream::stderr(), "{text}")?;
        }
        Ok(())
    }
}

/// Writes a result to stdout. A reader that went away is told by the error's kind.
fn print(text: &str) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// The backend of that name, or the name that was probably meant.
fn known_backend<'a>(
    configuration: &'a crate::cfg::Configuration,
    name: &str,
) -> Result<&'a crate::cfg::Proxy, Error> {
    let with_servers = || crate::topology::with_servers(configuration);
    with_servers().find(|proxy| proxy.name == name).ok_or_else(|| {
        let known: Vec<String> = with_servers().map(|proxy| proxy.name.clone()).collect();
        Error::NoBackend { name: name.to_owned(), nearest: nearest(name, &known), known }
    })
}

/// That the server exists.
fn known_server(configuration: &crate::cfg::Configuration, server: &ServerId) -> Result<(), Error> {
    let proxy = known_backend(configuration, &server.backend)?;
    if proxy.servers.iter().any(|line| line.name == server.server) {
        return Ok(());
    }
    let known: Vec<String> = proxy.servers.iter().map(|line| line.name.clone()).collect();
    Err(Error::NoServer { server: server.clone(), nearest: nearest(&server.server, &known), known })
}

/// The name that was probably meant: at most a third of its letters are wrong.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let distance = |other: &String| strsim::damerau_levenshtein(name, other);
    known
        .iter()
        .min_by_key(|other| distance(other))
        .filter(|other| distance(other) * 3 <= other.len().max(3))
        .cloned()
}
