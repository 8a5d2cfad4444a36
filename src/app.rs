//! Wires the commands together: one function per command.

mod backend_lock;
pub mod bug;
mod config;
mod contained;
mod doctor;
pub mod error;
pub mod exit;
mod history;
mod init;
mod journals;
mod live_site;
mod loaded_config;
mod manual;
mod moves;
mod names;
mod plan_file;
mod promote;
mod prune;
mod report;
mod reporters;
mod resume;
mod run;
mod runtime_sockets;
mod sampler;
pub mod schema;
mod screen;
mod session;
mod signals;
mod status;
mod stop;
mod typed;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, Once};

use serde::Serialize;

use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cli::{CiFlags, Cli, Command, DeployGoal, DeployOrPlan, Globals, MaintFlags, Output, PolicyFlags};
use crate::model::command_line::CommandLine;
use crate::model::sanitize;
use crate::model::trust::Untrusted;
use crate::observation::AdminState;
use crate::report::ci::{self, Ci};
use crate::report::{Json, stderr};
use crate::run::event;
use crate::settings::{Settings, SettingsError};
use names::{known_backend, known_server};

/// Runs a command, prints its result, and returns the exit code of the process.
pub async fn run(cli: Cli) -> ExitCode {
    let (output, typed) = (cli.globals.output, typed::command_line(&cli.globals));
    let ci = reporters::ci(&cli.globals.ci);
    ci::read_by(ci);
    match Box::pin(dispatch(cli)).await {
        Ok(exit) => exit.into(),
        // The reader of our output has closed it.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done.into(),
        // The run has reported its own end.
        Err(error @ Error::Preflight(_)) => error.exit().into(),
        Err(error) => {
            let (exit, text) = (error.exit(), typed.completed(&error.to_string()));
            if output == Output::Json {
                let (version, error) = (event::VERSION, text.clone());
                Json::on_stdout().put(&event::CommandFailed::Failed { version, exit: exit.code(), error });
            }
            let style = anstyle::AnsiColor::Red.on_default().bold();
            stderr::print_line(&format!("{style}error{style:#}: {text}"));
            if ci == Ci::Github {
                reporters::annotate(&error, &text);
            }
            exit.into()
        }
    }
}

async fn dispatch(cli: Cli) -> Result<Exit, Error> {
    if let Some(exit) = manual::explain(&cli.command)? {
        return Ok(exit);
    }
    if let Command::Init(wanted) = &cli.command {
        return Box::pin(init::init(&cli.globals, wanted)).await;
    }
    let (settings, untrusted) = Settings::read_and_judge(&cli.globals)?;
    let app = App::new(settings, &cli.globals);
    app.require_trust(untrusted, matches!(cli.command, Command::Resume { .. }))?;
    match cli.command {
        Command::Status { backends, watch: None } => app.status(&backends).await,
        Command::Status { backends, watch: Some(every) } => app.watch(&backends, every.0).await,
        Command::Plan { goal, policy, exit_code, save } => {
            app.plan(&goal, &policy, exit_code, save.as_deref()).await
        }
        Command::Deploy { goal, policy, resume_first, dry_run } => {
            Box::pin(app.deploy_or_plan(goal, &policy, resume_first, dry_run)).await
        }
        Command::Rollback { backend, to, policy, dry_run } => {
            Box::pin(app.rollback(&backend, to.as_deref(), &policy, dry_run)).await
        }
        Command::Resume { adopt: Some(run), undo, policy, dry_run, .. } => {
            app.adopt(&run, undo, dry_run, &policy).await
        }
        Command::Resume { backend, undo, policy, dry_run, adopt: None } => {
            app.resume(backend.as_deref(), undo, dry_run, &policy).await
        }
        Command::Promote { backend, from, to, policy, dry_run } => {
            let at = |file| App::at(file, &cli.globals);
            Box::pin(at(to)?.promote(&at(from)?, &backend, &policy, dry_run)).await
        }
        Command::History { backend } => app.history(&backend).await,
        Command::Report { run, file } => app.report(run.as_deref(), file.as_deref()),
        Command::Stop { backend } => app.stop(&backend).await,
        Command::Prune { backends, keep, dry_run } => app.prune(&backends, keep, dry_run).await,
        Command::Drain(it) => app.move_servers(AdminState::Drain, &it, &MaintFlags::default()).await,
        Command::Maint { server, leave } => app.move_servers(AdminState::Maint, &server, &leave).await,
        Command::Ready(it) => app.move_servers(AdminState::Ready, &it, &MaintFlags::default()).await,
        Command::Doctor { fix, keep, exit_code } => app.doctor(fix, keep, exit_code).await,
        Command::Config(command) => app.config(command).await,
        // These need no settings and are done already.
        Command::Init(_) | Command::Schema { .. } | Command::Completions { .. } | Command::Man { .. } => {
            Ok(Exit::Done)
        }
    }
}

/// The state that every command works with.
struct App {
    settings: Settings,
    /// Completes the commands that drainswap prints for people.
    typed: CommandLine,
    output: Output,
    quiet: bool,
    ci: CiFlags,
    /// The notes printed so far; each is printed once.
    said: Mutex<BTreeSet<String>>,
    /// The file for events, once it is open.
    events: OnceCell<Json>,
    /// Guards the note that the running HAProxy cannot be identified.
    unidentified: Once,
    /// Guards the note that a condition of `.if` cannot be decided.
    undecided: Once,
}

impl App {
    fn new(settings: Settings, globals: &Globals) -> Self {
        Self {
            settings,
            typed: typed::command_line(globals),
            output: globals.output,
            quiet: globals.quiet,
            ci: globals.ci.clone(),
            said: Mutex::default(),
            events: OnceCell::new(),
            unidentified: Once::new(),
            undecided: Once::new(),
        }
    }

    /// Creates the state of a command at another place, whose settings are in this file. Flags and environment variables
    /// of settings would apply to both places and are left out.
    fn at(settings: PathBuf, globals: &Globals) -> Result<Self, Error> {
        let Globals { trust_owner, lock_wait, events, output, quiet, ci, .. } = globals.clone();
        let place = Globals { settings: Some(settings), ..Globals::default() };
        let globals = Globals { trust_owner, lock_wait, events, output, quiet, ci, ..place };
        Ok(Self::new(Settings::read(&globals)?, &globals))
    }

    /// Deploys an image or a saved plan, or only shows what that would do.
    async fn deploy_or_plan(
        &self,
        goal: DeployOrPlan,
        policy: &PolicyFlags,
        resume_first: bool,
        dry_run: bool,
    ) -> Result<Exit, Error> {
        if let Some(path) = &goal.plan {
            return Box::pin(self.deploy_plan(path, &goal, policy, dry_run)).await;
        }
        let goal = DeployGoal { backend: goal.backend.unwrap_or_default(), image: goal.image };
        if dry_run {
            return self.plan(&goal, policy, false, None).await;
        }
        let left = if resume_first {
            Box::pin(self.resume_one(&goal.backend, None, false, false, &PolicyFlags::default())).await?
        } else {
            Exit::Done
        };
        if left == Exit::Done { self.deploy(&goal, policy).await } else { Ok(left) }
    }

    /// Refuses files that another user can write. A run that began before drainswap refused them may still be resumed.
    fn require_trust(&self, untrusted: Vec<Untrusted>, is_resume: bool) -> Result<(), Error> {
        for found in untrusted {
            if !(is_resume && self.has_old_unfinished_run()) {
                return Err(SettingsError::from(found).into());
            }
            self.note(&format!("warning: {found}. A run of an older drainswap is resumed anyway"));
        }
        Ok(())
    }

    /// Returns the file for events, if one is named. A command that starts a run opens it before anything else.
    fn events(&self) -> Result<Option<Json>, Error> {
        let Some(path) = &self.settings.events else { return Ok(None) };
        if let Some(open) = self.events.get() {
            return Ok(Some(open.clone()));
        }
        let not_open = |error: std::io::Error| Error::Events {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let opened = Json::appended_to(path).map_err(not_open)?;
        Ok(Some(self.events.get_or_init(|| opened).clone()))
    }

    /// Prints a text for people to stderr, unless `--quiet` is given.
    fn note(&self, text: &str) {
        if !self.quiet {
            stderr::print_line(text);
        }
    }
}

/// Writes a result for people to stdout, without control sequences that move the cursor.
fn print(text: &str) -> Result<(), Error> {
    print_as_is(&ci::printable(text))
}

/// Writes a result for programs to stdout: one object on one line.
fn print_object(object: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(object).map_err(std::io::Error::other)?;
    print_as_is(&(sanitize::json(&text) + "\n"))
}

/// Writes a text that drainswap generates, such as a file, to stdout unchanged. The error's kind says whether the
/// reader closed it.
fn print_as_is(text: &str) -> Result<(), Error> {
    // On a terminal, earlier messages on stderr come first.
    stderr::flush();
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
