//! Reloads HAProxy, and verifies that it runs the new configuration.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::haproxy::master::{MasterSocket, ReloadReply};
use crate::adapters::haproxy_service::{KnownService, ServiceSource, run_command, unit_is_active};
use crate::app::error::{ApplyError, Error};
use crate::cfg::Configuration;
use crate::ports::LoadBalancer;
use crate::site::wait::{Waited, until};

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// The way to reload HAProxy.
pub(super) enum Reloader {
    /// Through the socket of its master process.
    Master(MasterSocket),
    /// With `systemctl reload haproxy`.
    Systemd,
    /// With a shell command of the administrator.
    Command(String),
}

impl Reloader {
    /// Returns the way that `--reload-by` names, or else the available one.
    pub fn choose(
        by: Option<&str>,
        master_socket: Option<&str>,
        known: &KnownService,
    ) -> Result<Self, Error> {
        let source = &known.service.source;
        let found = match master_socket {
            Some(named) => Some(known.named_master(named.parse()?)),
            None => known.master(),
        };
        let has_master = found.is_some();
        let master = || -> Result<Self, Error> {
            found
                .map(Self::Master)
                .ok_or_else(|| ApplyError::NoReloader { service: source.to_string() }.into())
        };
        match by {
            Some("master") => master(),
            Some("systemd") => Ok(Self::Systemd),
            Some(command) => Ok(Self::Command(command.to_owned())),
            None if has_master => master(),
            // Debian's service has its own mount namespace, so its process can only be identified by its unit.
            None if *source != ServiceSource::Settings && unit_is_active() => Ok(Self::Systemd),
            None => master(),
        }
    }

    /// Reloads HAProxy, and waits until a new worker runs its files. The error says why none does.
    pub async fn reload(
        &self,
        socket: &HaproxySocket,
        configuration: &Configuration,
        limit: Duration,
    ) -> Result<(), String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        // After a failed reload, HAProxy 2.2 leaves a dead runtime socket behind; the next worker creates a new one.
        let before = socket.full_state(&[]).await.ok().map(|seen| seen.pid);
        let mut failures = None;
        match self {
            Self::Master(master) => {
                failures = master.failed_reloads().await.map_err(|error| text(&error))?;
                match master.reload().await.map_err(|error| text(&error))? {
                    ReloadReply::Failed(log) => {
                        return Err(format!("HAProxy did not start with the file:\n{log}"));
                    }
                    ReloadReply::Succeeded | ReloadReply::Silence => {}
                }
            }
            Self::Systemd => run_command("systemctl", &["reload", "haproxy"]).await?,
            Self::Command(command) => run_command("sh", &["-c", command]).await?,
        }
        let mut last = String::from("the old worker still runs");
        let never = CancellationToken::new();
        let waited = until(LOOK_EVERY, limit, &never, async || {
            if let (Self::Master(master), Some(failures)) = (self, failures)
                && master.failed_reloads().await.ok().flatten().is_some_and(|now| now > failures)
            {
                return Err("HAProxy did not start with the file; its log says why".to_owned());
            }
            let seen = match socket.full_state(&[]).await {
                Ok(seen) if Some(seen.pid) == before => return Ok(None),
                Ok(seen) => seen,
                Err(error) => {
                    last = error.to_string();
                    return Ok(None);
                }
            };
            runs_configuration(&seen, configuration).map(Some)
        });
        match waited.await? {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut | Waited::Stopped => {
                Err(format!("no new worker within {} s (--reload-timeout): {last}", limit.as_secs()))
            }
        }
    }
}

/// Returns whether this worker still runs, with the servers of this configuration. Another worker may have read another
/// file, which the servers' names alone do not show.
pub(super) async fn still_runs(socket: &HaproxySocket, pid: u32, configuration: &Configuration) -> bool {
    let seen = socket.full_state(&[]).await;
    seen.is_ok_and(|seen| seen.pid == pid && runs_configuration(&seen, configuration).is_ok())
}

/// Checks that the running HAProxy has the servers of this configuration.
pub(super) fn runs_configuration(
    seen: &crate::observation::LoadBalancerState,
    configuration: &Configuration,
) -> Result<(), String> {
    let with_servers = configuration.proxies.iter().filter(|proxy| !proxy.disabled);
    let wanted: BTreeSet<(&str, &str)> = with_servers
        .flat_map(|proxy| proxy.servers.iter().map(|server| (&*proxy.name, &*server.name)))
        .collect();
    let disabled =
        |name: &str| configuration.proxies.iter().any(|proxy| proxy.disabled && proxy.name == name);
    let known: BTreeSet<(&str, &str)> = seen
        .servers
        .iter()
        .map(|server| (&*server.id.backend, &*server.id.server))
        .filter(|(backend, _)| !disabled(backend))
        .collect();
    match wanted.symmetric_difference(&known).next() {
        None => Ok(()),
        Some((backend, server)) if wanted.contains(&(*backend, *server)) => {
            Err(format!("the new worker does not know {backend}/{server}; it runs another configuration"))
        }
        Some((backend, server)) => {
            Err(format!("the new worker still has {backend}/{server}; it runs another configuration"))
        }
    }
}
