//! The errors of a command that changes haproxy.cfg.

use std::time::Duration;

use crate::app::exit::Exit;
use crate::model::ids::ServerId;

/// The reason that haproxy.cfg was not changed, or that `HAProxy` does not run all of it.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The new file drops the socket that shows whether HAProxy runs it.
    #[error(
        "the new file lacks the `stats socket` at {socket}, which drainswap needs to see whether HAProxy runs the file. Keep it, or name a socket of the new file with --socket"
    )]
    SocketGone { socket: String },
    /// The running HAProxy does not read the file. `service` says how it was found.
    #[error(
        "HAProxy as {service} runs it (`{arguments}`) does not read {file}. Use --haproxy-config to name the file that it reads"
    )]
    FileNotUsedByHaproxy { file: String, service: String, arguments: String },
    /// The file is bind-mounted on its own into HAProxy's container, at `mounted_at`.
    #[error(
        "refused, nothing was touched: {file} itself is mounted into HAProxy's container (process {pid}, at {mounted_at}), which keeps the old file when a new one replaces it. \
         Mount its directory instead (`-v {directory}:…`) and recreate the container"
    )]
    MountedFile { file: String, directory: String, pid: u32, mounted_at: String },
    /// `haproxy -c` rejects the new file.
    #[error("nothing was touched: HAProxy would not start with the new file. Correct it:\n  {}", .alerts.join("\n  "))]
    HaproxyRefuses { alerts: Vec<String> },
    /// The change needs a reload, which `--reload never` forbids.
    #[error(
        "refused, nothing was touched: {change}, and `--reload never` forbids that. Allow the reload with --reload auto"
    )]
    ReloadNeeded { change: String },
    /// drainswap has no way to reload HAProxy. `service` says how HAProxy was found.
    #[error(
        "cannot reload HAProxy: {service} has no master socket (-S). Nothing was touched. Name one with --master-socket, or name a way to reload with --reload-by"
    )]
    NoReloader { service: String },
    /// A server that the new file drops still has sessions.
    #[error(
        "{server} still had sessions after {} s (--drain-timeout). Try again later, or raise --drain-timeout",
        .limit.as_secs_f32()
    )]
    NotEmpty { server: ServerId, limit: Duration },
    /// A server that the new file adds does not pass its check.
    #[error(
        "{server} had not passed a check after {} s (--reload-timeout), so drainswap kept the servers that it replaces. Correct the new server, or raise --reload-timeout",
        .limit.as_secs_f32()
    )]
    NewServerNotUp { server: ServerId, limit: Duration },
    /// HAProxy does not run the new file, and the old one was restored.
    #[error("the old {file} was restored, and HAProxy runs it: {reason}")]
    ConfigRolledBack { file: String, reason: String },
    /// The old file could not be restored. `file` is where it is.
    #[error("STUCK: {reason}. The old file is {file}: put it back by hand and reload HAProxy")]
    ConfigRollbackFailed { file: String, reason: String },
    /// The old file was restored, but HAProxy could not be reloaded.
    #[error("STUCK: {reason}. {file} is as it was before: reload HAProxy by hand")]
    NotReloaded { file: String, reason: String },
    /// HAProxy has read the new file, but does not run all of it.
    #[error(
        "STUCK: HAProxy has read haproxy.cfg, but runs these servers with other settings and refuses to change them at runtime: {}. \
         Remove their lines from the server-state-file, if there is one, and reload HAProxy; differences that remain need a restart. \
         Until then `drainswap doctor` lists them", .not_so.join(", ")
    )]
    RunningConfigDiffers { not_so: Vec<String> },
    /// HAProxy runs an earlier version of haproxy.cfg, and cannot be reloaded from here.
    #[error(
        "HAProxy has not read haproxy.cfg since it was edited, and refuses to change these servers at runtime: {}. Reload HAProxy, or allow \
         drainswap to do so (--reload auto, with --master-socket or --reload-by)", .not_so.join(", ")
    )]
    EditNotLoaded { not_so: Vec<String> },
}

impl ApplyError {
    /// Returns the code that the process exits with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::FileNotUsedByHaproxy { .. } | Self::HaproxyRefuses { .. } | Self::MountedFile { .. } => {
                Exit::Configuration
            }
            Self::ReloadNeeded { .. }
            | Self::SocketGone { .. }
            | Self::NoReloader { .. }
            | Self::NotEmpty { .. }
            | Self::NewServerNotUp { .. } => Exit::Refused,
            Self::ConfigRolledBack { .. } => Exit::RolledBack,
            Self::ConfigRollbackFailed { .. }
            | Self::NotReloaded { .. }
            | Self::EditNotLoaded { .. }
            | Self::RunningConfigDiffers { .. } => Exit::Stuck,
        }
    }
}
