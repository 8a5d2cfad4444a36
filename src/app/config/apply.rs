//! `drainswap config apply`: installs a new haproxy.cfg as a careful administrator would.
//!
//! All steps that can fail without leaving a trace come first: reading, rendering, drainswap's own check, and HAProxy's
//! check with the service's own arguments. Then drainswap replaces the file in one step, makes HAProxy run it, and
//! verifies what HAProxy runs. If HAProxy does not run the new file, drainswap restores the old file and makes HAProxy
//! run that.

mod reloader;
mod runtime_update;
mod states;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::backend_lock;
use super::super::contained::refuse_to_install;
use super::super::live_site::SystemClock;
use super::super::loaded_config::refuse_errors;
use super::super::{App, print_object};
use super::desired::DesiredConfig;
use super::diff::diff;
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::haproxy::state_file::{self, DroppedLines};
use crate::adapters::haproxy_binary;
use crate::adapters::haproxy_service::mount::{self, MountedFile};
use crate::adapters::haproxy_service::{HaproxyService, KnownService, ServiceSource, Unidentified};
use crate::adapters::install::{Candidate, InstallPaths, Installed};
use crate::adapters::journal_file::BackendDir;
use crate::adapters::lock_file::Lock;
use crate::app::error::{ApplyError, Error};
use crate::app::exit::Exit;
use crate::cfg::{self, ConfigChange, Configuration, SourceFile, Version};
use crate::cli::{DesiredConfigArgs, Output, ReloadFlags, ReloadWhen, Reloading};
use crate::model::ids::ServerId;
use crate::observation::LoadBalancerState;
use crate::output_file;
use crate::ports::{LoadBalancer, LoadBalancerError, WallClock};
use crate::site::late;
use reloader::Reloader;
use runtime_update::RuntimeUpdater;
use states::{ChangeSource, Mismatch, ReapplyReport, States};

/// The way in which HAProxy takes over a new file.
enum ApplyMethod {
    /// HAProxy already runs what the file says.
    None,
    /// Servers are added and removed at runtime. If HAProxy refuses that, it is reloaded, if that is allowed and
    /// possible.
    Runtime(Option<Reloader>),
    /// HAProxy reads its files again.
    Reload(Reloader),
}

impl App {
    pub(super) async fn config_apply(
        &self,
        wanted: &DesiredConfigArgs,
        flags: &ReloadFlags,
    ) -> Result<Exit, Error> {
        let _lock = self.lock_configuration()?;
        let asked = wanted;
        let wanted = self.desired_config(asked).await?;
        refuse_to_install(&wanted.known.running, &wanted.target)?;
        // A run would set servers at the same time.
        let _locks = self.lock_all(&backends(&wanted)).await?;
        let place = InstallPaths::new(&wanted.target)?;
        let mounted = mounted_file(&wanted, &place);
        if !wanted.is_changed() && !place.is_unfinished() {
            // The container sees an edit in place.
            refuse_mounted_file(&place, mounted.filter(|it| it.is_gone))?;
            return self.unchanged(&wanted, flags).await;
        }
        refuse_invalid(&wanted, asked)?;
        refuse_mounted_file(&place, mounted)?;
        let running = &wanted.known.running;
        let socket = self.socket(&wanted.old.1, running)?;
        let socket = saving_states(socket, &wanted.new.1);
        if self.socket(&wanted.new.1, running).ok().is_none_or(|new| new.address() != socket.address()) {
            return Err(ApplyError::SocketGone { socket: socket.address().to_string() }.into());
        }
        socket.require_admin().await?;
        let seen = socket.full_state(&[]).await?;
        refuse_other_files(&wanted)?;
        let reloading = self.settings.reloading(flags);
        let way =
            choose_method(&wanted, &place, self.reloader(&wanted.known, &reloading), &seen, reloading.when)?;
        self.note(diff(&wanted).trim_end());
        // From here on, requests to stop are ignored: the rest takes seconds, and ends with one file or the other.
        let _signals = ignore_signals()?;
        let candidate = place.write(&wanted.new_bytes)?;
        self.note_other_version(&wanted.known);
        let warnings = haproxy_accepts(&wanted.known.service, &candidate)?;
        for warning in warnings {
            self.note(&format!("haproxy -c warns: {warning}"));
        }
        let (before, policy) = (socket.full_state(&[]).await?, self.settings.written_policy());
        let follower = RuntimeUpdater { socket: &socket, reloading: &reloading, before, policy };
        let before = States::set_at_runtime(&follower.before, &wanted.old.1);
        let installed = candidate.install()?;
        self.activate(&wanted, way, installed, &follower, &before).await
    }

    /// Makes HAProxy run a file that is already installed. HAProxy may differ from it: an edit by hand is not loaded
    /// yet, a `server-state-file` has other values, or a server's address was changed at runtime.
    async fn unchanged(&self, wanted: &DesiredConfig, flags: &ReloadFlags) -> Result<Exit, Error> {
        const NOTHING: &str = "nothing to change";
        const RUNS_NOW: &str = "already installed, and HAProxy runs it now";
        let new = &wanted.new.1;
        let Ok(socket) = self.socket(&wanted.old.1, &wanted.known.running) else {
            return self.applied(wanted, NOTHING);
        };
        let socket = saving_states(socket, new);
        let Ok(seen) = socket.full_state(&[]).await else { return self.applied(wanted, NOTHING) };
        let before = States::set_at_runtime(&seen, &wanted.old.1);
        let mismatches = before.mismatches(&seen, new, ChangeSource::Reload);
        let other_servers = reloader::runs_configuration(&seen, new).err();
        if mismatches.is_empty() && other_servers.is_none() {
            return self.applied(wanted, NOTHING);
        }
        refuse_errors(&wanted.new.0, new)?;
        refuse_other_files(wanted)?;
        socket.require_admin().await?;
        let reloading = self.settings.reloading(flags);
        let may_stay = other_servers.is_none() && reloading.when != ReloadWhen::Always;
        let reloader = if reloading.when == ReloadWhen::Never {
            Err(ApplyError::ReloadNeeded { change: other_servers.unwrap_or_default() }.into())
        } else {
            self.reloader(&wanted.known, &reloading)
        };
        let _signals = ignore_signals()?;
        let reloader = if may_stay {
            let ReapplyReport { set, refused } = before.reapply(&socket, new, ChangeSource::Edit).await?;
            self.note_set(&set);
            if refused.is_empty() {
                return self.applied(
                    wanted,
                    &differing_settings_note(&mismatches).unwrap_or_else(|| RUNS_NOW.to_owned()),
                );
            }
            // Settings that cannot change at runtime need a reload.
            reloader.map_err(|_| ApplyError::EditNotLoaded { not_so: refused })?
        } else {
            reloader?
        };
        let seen = socket.full_state(&[]).await.unwrap_or(seen);
        let differing =
            before.mismatches(&seen, new, ChangeSource::Reload).into_iter().map(|(server, _)| server);
        let file = wanted.target.display().to_string();
        let came = self.reload(&reloader, &socket, new, &differing.collect(), reloading.timeout).await;
        came.map_err(|reason| ApplyError::NotReloaded { file, reason })?;
        self.reapply(&before, &socket, new, ChangeSource::Reload).await?;
        self.applied(wanted, RUNS_NOW)
    }

    /// Makes HAProxy run the installed file, or restores both.
    async fn activate(
        &self,
        wanted: &DesiredConfig,
        way: ApplyMethod,
        installed: Installed,
        follower: &RuntimeUpdater<'_>,
        before: &States,
    ) -> Result<Exit, Error> {
        let (what, since) = match way {
            ApplyMethod::None => {
                installed.confirm()?;
                return self.applied(wanted, "installed; nothing changes for HAProxy");
            }
            ApplyMethod::Runtime(fallback) => match (follower.apply(wanted).await, fallback) {
                (Ok(()), _) => {
                    // A later server of the same name is another server.
                    self.drop_state_file_lines(&wanted.new.1, &states::changed(&wanted.old.1, &wanted.new.1));
                    ("installed; HAProxy changed its servers without a reload", ChangeSource::Runtime)
                }
                (
                    Err(
                        error @ Error::LoadBalancer {
                            error: LoadBalancerError::Refused { .. } | LoadBalancerError::NotSent { .. },
                        },
                    ),
                    Some(reloader),
                ) => {
                    self.note(&format!("{error}; reloading HAProxy instead"));
                    return Box::pin(self.activate(
                        wanted,
                        ApplyMethod::Reload(reloader),
                        installed,
                        follower,
                        before,
                    ))
                    .await;
                }
                (Err(error), _) => {
                    return roll_back_at_runtime(wanted, installed, follower, before, error).await;
                }
            },
            ApplyMethod::Reload(reloader) => {
                let (new, changed) = (&wanted.new.1, states::changed(&wanted.old.1, &wanted.new.1));
                let limit = follower.reloading.timeout;
                match self.reload(&reloader, follower.socket, new, &changed, limit).await {
                    Ok(()) => ("installed, and HAProxy runs it", ChangeSource::Reload),
                    Err(reason) => {
                        return roll_back(wanted, installed, &reloader, follower, before, reason).await;
                    }
                }
            }
        };
        let set = self.reapply(before, follower.socket, &wanted.new.1, since).await;
        installed.confirm()?;
        set?;
        self.applied(wanted, what)
    }

    /// Reloads HAProxy, without the states of these servers in a state file. The error says why HAProxy does not run
    /// the file.
    async fn reload(
        &self,
        reloader: &Reloader,
        socket: &HaproxySocket,
        configuration: &Configuration,
        servers: &BTreeSet<ServerId>,
        limit: Duration,
    ) -> Result<(), String> {
        let forgotten = self.drop_state_file_lines(configuration, servers);
        let came = reloader.reload(socket, configuration, limit).await;
        came.map_err(|reason| match forgotten.into_iter().try_for_each(DroppedLines::restore) {
            Ok(()) => reason,
            Err(error) => format!("{reason}; the state file lacks the changed servers: {error}"),
        })
    }

    /// Removes servers from the state files. A reload restores what they contain, such as the old port of a changed
    /// server.
    fn drop_state_file_lines(
        &self,
        configuration: &Configuration,
        servers: &BTreeSet<ServerId>,
    ) -> Vec<DroppedLines> {
        let mut all = Vec::new();
        for file in configuration.state_files() {
            match state_file::drop_lines(&file, servers) {
                Ok(forgotten) => all.extend(forgotten),
                // The states that a reload takes from the file are corrected afterwards.
                Err(error) => {
                    self.note(&format!(
                        "note: cannot remove the changed servers from {}: {error}",
                        file.display()
                    ));
                }
            }
        }
        all
    }

    /// Restores the states that a reload has lost or has not taken from haproxy.cfg, and reports them.
    async fn reapply(
        &self,
        before: &States,
        socket: &HaproxySocket,
        configuration: &Configuration,
        since: ChangeSource<'_>,
    ) -> Result<(), Error> {
        let done = before.reapply(socket, configuration, since).await?;
        self.note_set(&done.set);
        done.complete()
    }

    fn note_set(&self, set: &[String]) {
        for set in set {
            self.note(&format!("set again: {set}"));
        }
    }

    fn reloader(&self, known: &KnownService, reloading: &Reloading) -> Result<Reloader, Error> {
        Reloader::choose(
            reloading.by.as_deref(),
            self.settings.master_sockets.first().map(String::as_str),
            known,
        )
    }

    /// Notes a binary whose version differs from that of the running HAProxy, for a check of the file.
    pub(super) fn note_other_version(&self, known: &KnownService) {
        let checks = haproxy_binary::build(&known.service.binary)
            .and_then(|build| build.version.parse::<Version>().ok());
        if let (Some(checks), Some(runs)) = (checks, known.running.version)
            && checks != runs
        {
            self.note(&format!(
                "note: HAProxy {runs} is running, but {} is {checks}: name the binary that runs with --haproxy",
                known.service.binary.display()
            ));
        }
    }

    /// Locks the configuration against another `config apply`.
    fn lock_configuration(&self) -> Result<Lock, Error> {
        let dir = BackendDir::new(&self.settings.state_dir, ".configuration");
        Ok(dir.lock("the configuration", &backend_lock::now())?)
    }

    fn applied(&self, wanted: &DesiredConfig, what: &str) -> Result<Exit, Error> {
        let file = wanted.target.display();
        match self.output {
            Output::Text => self.note(&format!("{file}: {what}")),
            Output::Json => {
                let at: Timestamp = SystemClock.now();
                let object = serde_json::json!({
                    "version": 1, "at": at, "file": wanted.target, "changed": wanted.is_changed(),
                    "change": wanted.change.to_string(), "result": what,
                });
                print_object(&object)?;
            }
        }
        Ok(Exit::Done)
    }
}

/// Makes the socket save restored states in the `server-state-file`, from which the lines of changed servers are
/// removed.
fn saving_states(socket: HaproxySocket, configuration: &Configuration) -> HaproxySocket {
    match configuration.saved_states_file() {
        Some(file) => socket.saving_states_in(file.to_owned()),
        None => socket,
    }
}

/// Refuses a file that HAProxy would not start with. Problems are shown in the file of `--from`.
fn refuse_invalid(wanted: &DesiredConfig, asked: &DesiredConfigArgs) -> Result<(), Error> {
    let Some(from) = asked.from.as_ref().filter(|_| wanted.new.1.has_errors()) else {
        return refuse_errors(&wanted.new.0, &wanted.new.1);
    };
    let named = |file: &cfg::File| SourceFile {
        path: if *file.path == *wanted.target { from.clone() } else { file.path.to_path_buf() },
        bytes: file.bytes.clone(),
    };
    let files = wanted.new.0.files.iter().map(named).collect();
    let document = cfg::read(files, &wanted.new.0.environment);
    let configuration = cfg::interpret(&document);
    refuse_errors(&document, &configuration)
}

/// Refuses to install a file that the running HAProxy does not read.
fn refuse_other_files(wanted: &DesiredConfig) -> Result<(), ApplyError> {
    if let Some(Unidentified::OtherFiles { pid, arguments }) = &wanted.known.running.unidentified {
        return Err(ApplyError::FileNotUsedByHaproxy {
            file: wanted.target.display().to_string(),
            service: ServiceSource::Process(*pid).to_string(),
            arguments: arguments.clone(),
        });
    }
    Ok(())
}

/// Returns the mount of the file on its own in HAProxy's container. A HAProxy of this host has no such mount.
fn mounted_file(wanted: &DesiredConfig, place: &InstallPaths) -> Option<MountedFile> {
    let is_elsewhere = wanted.known.running.process.is_none();
    is_elsewhere.then(|| mount::of_file(place.target())).flatten()
}

/// Refuses a file that is mounted on its own into HAProxy's container, which would not see its replacement.
fn refuse_mounted_file(place: &InstallPaths, mounted: Option<MountedFile>) -> Result<(), ApplyError> {
    let Some(MountedFile { pid, point, .. }) = mounted else { return Ok(()) };
    Err(ApplyError::MountedFile {
        file: place.target().display().to_string(),
        directory: output_file::directory(place.target()).display().to_string(),
        pid,
        mounted_at: point.display().to_string(),
    })
}

/// Returns every backend that has servers before or after the change.
fn backends(wanted: &DesiredConfig) -> BTreeSet<String> {
    let proxies = [&wanted.old.1, &wanted.new.1].into_iter().flat_map(|it| &it.proxies);
    proxies.filter(|proxy| !proxy.servers.is_empty()).map(|proxy| proxy.name.clone()).collect()
}

/// Returns a message if servers keep settings that differ from the file: they may have been set on purpose, and traffic
/// depends on them.
fn differing_settings_note(mismatches: &[(ServerId, Mismatch)]) -> Option<String> {
    let is_setting = |it: &&(ServerId, Mismatch)| matches!(it.1, Mismatch::Setting(_));
    let left: Vec<_> = mismatches.iter().filter(is_setting).cloned().collect();
    let told = states::describe(&left).join(", ");
    (!left.is_empty()).then(|| {
        format!(
            "already installed, and HAProxy runs it except for {told}: if the file is right, add --reload always"
        )
    })
}

/// Ignores Ctrl-C and SIGTERM for as long as the result lives.
fn ignore_signals() -> std::io::Result<[Signal; 2]> {
    Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?])
}

/// Chooses how HAProxy takes over the file, before anything is touched.
fn choose_method(
    wanted: &DesiredConfig,
    place: &InstallPaths,
    reloader: Result<Reloader, Error>,
    running: &LoadBalancerState,
    when: ReloadWhen,
) -> Result<ApplyMethod, Error> {
    let (change, is_whole) = (&wanted.change, !place.is_unfinished());
    let may_stay = is_whole && when != ReloadWhen::Always;
    let follows = running.version.parse::<Version>().is_ok_and(|version| version >= runtime_update::SINCE);
    match change {
        ConfigChange::Cosmetic if may_stay => Ok(ApplyMethod::None),
        ConfigChange::Servers { .. } if may_stay && follows => {
            Ok(ApplyMethod::Runtime(reloader.ok().filter(|_| when == ReloadWhen::Auto)))
        }
        _ if when == ReloadWhen::Never => Err(ApplyError::ReloadNeeded { change: change.to_string() }.into()),
        ConfigChange::Cosmetic | ConfigChange::Servers { .. } | ConfigChange::Reload { .. } => {
            reloader.map(ApplyMethod::Reload)
        }
    }
}

/// Removes the added servers, and restores the old file.
async fn roll_back_at_runtime(
    wanted: &DesiredConfig,
    installed: Installed,
    follower: &RuntimeUpdater<'_>,
    before: &States,
    error: Error,
) -> Result<Exit, Error> {
    let file = wanted.target.display().to_string();
    let reason = error.to_string();
    if matches!(&error, Error::LoadBalancer { error: LoadBalancerError::Unanswered { .. } }) {
        // A late command must not take effect after the undo.
        late::wait_out_commands(follower.socket).await;
    }
    let undone = follower.undo(wanted, before).await;
    installed.restore()?;
    match undone {
        Ok(()) => Err(ApplyError::ConfigRolledBack { file, reason }.into()),
        Err(undo) => {
            Err(ApplyError::NotReloaded { file, reason: format!("{reason}; and then: {undo}") }.into())
        }
    }
}

/// Checks the file with HAProxy itself. Returns its warnings.
fn haproxy_accepts(service: &HaproxyService, candidate: &Candidate) -> Result<Vec<String>, Error> {
    let verdict = service.check(Some((candidate.target(), candidate.path())))?;
    let Some(verdict) = verdict else {
        return Err(ApplyError::FileNotUsedByHaproxy {
            file: candidate.target().display().to_string(),
            service: service.source.to_string(),
            arguments: service.invocation.arguments.join(" "),
        }
        .into());
    };
    let messages = |alerts| {
        let of_level = verdict.messages.iter().filter(move |message| message.is_alert == alerts);
        of_level.map(ToString::to_string).collect()
    };
    if verdict.accepted {
        Ok(messages(false))
    } else {
        Err(ApplyError::HaproxyRefuses { alerts: messages(true) }.into())
    }
}

/// Restores the old file, and makes HAProxy run it again if it no longer does.
async fn roll_back(
    wanted: &DesiredConfig,
    installed: Installed,
    reloader: &Reloader,
    follower: &RuntimeUpdater<'_>,
    before: &States,
    reason: String,
) -> Result<Exit, Error> {
    let file = wanted.target.display().to_string();
    let kept = installed.kept().display().to_string();
    installed.restore().map_err(|error| ApplyError::ConfigRollbackFailed {
        file: kept.clone(),
        reason: format!("{reason}; and then: {error}"),
    })?;
    // A worker that still runs the old file only gets its states back; otherwise HAProxy is reloaded.
    let set = if reloader::still_runs(follower.socket, follower.before.pid, &wanted.old.1).await {
        follower.undo(wanted, before).await
    } else {
        let back = reloader.reload(follower.socket, &wanted.old.1, follower.reloading.timeout).await;
        back.map_err(|error| ApplyError::NotReloaded {
            file: file.clone(),
            reason: format!("{reason}; and then: {error}"),
        })?;
        let set = before.reapply(follower.socket, &wanted.old.1, ChangeSource::Reload).await;
        set.and_then(ReapplyReport::complete)
    };
    let reason = match set {
        Ok(()) => reason,
        Err(error) => format!("{reason}; and then: {error}"),
    };
    Err(ApplyError::ConfigRolledBack { file, reason }.into())
}
