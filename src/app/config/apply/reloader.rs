//! Who reloads HAProxy, and how it is seen that it runs what it should.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::haproxy::master::{Answer, MasterSocket};
use crate::adapters::haproxy_service::{Known, Source, run_command, unit_is_active};
use crate::cfg::Configuration;
use crate::deploy::wait::{Waited, until};
use crate::error::Error;
use crate::ports::LoadBalancer;

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Who reloads HAProxy.
pub(super) enum Reloader {
    /// Its master process.
    Master(MasterSocket),
    /// `systemctl reload haproxy`.
    Systemd,
    /// A command of the administrator's, run by the shell.
    Command(String),
}

impl Reloader {
    /// Who was named, or who is there.
    pub fn choose(by: Option<&str>, master_socket: Option<&str>, known: &Known) -> Result<Self, Error> {
        let source = &known.service.source;
        let found = match master_socket {
            Some(named) => Some(known.named_master(named.parse()?)),
            None => known.master(),
        };
        let has_master = found.is_some();
        let master = || -> Result<Self, Error> {
            found.map(Self::Master).ok_or_else(|| Error::NoReloader { service: source.to_string() })
        };
        match by {
            Some("master") => master(),
            Some("systemd") => Ok(Self::Systemd),
            Some(command) => Ok(Self::Command(command.to_owned())),
            None if has_master => master(),
            // Debian's service has a mount namespace of its own, so that its process is known by its unit alone.
            None if *source != Source::Settings && unit_is_active() => Ok(Self::Systemd),
            None => master(),
        }
    }

    /// Has HAProxy read its files again, and waits until a new worker runs them; or tells why it does not.
    pub async fn reload(
        &self,
        socket: &HaproxySocket,
        configuration: &Configuration,
        limit: Duration,
    ) -> Result<(), String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        // After a failed reload 2.2 leaves its runtime socket with nobody behind it; the next worker makes it anew.
        let before = socket.look(&[]).await.ok().map(|seen| seen.pid);
        let mut failures = None;
        match self {
            Self::Master(master) => {
                failures = master.failed_reloads().await.map_err(|error| text(&error))?;
                match master.reload().await.map_err(|error| text(&error))? {
                    Answer::Failed(log) => return Err(format!("HAProxy did not start with it:\n{log}")),
                    Answer::Succeeded | Answer::Silence => {}
                }
            }
            Self::Systemd => run_command("systemctl", &["reload", "haproxy"]).await?,
            Self::Command(command) => run_command("sh", &["-c", command]).await?,
        }
        let mut last = String::from("the old worker goes on");
        let never = CancellationToken::new();
        let waited = until(LOOK_EVERY, limit, &never, async || {
            if let (Self::Master(master), Some(failures)) = (self, failures)
                && master.failed_reloads().await.ok().flatten().is_some_and(|now| now > failures)
            {
                return Err("HAProxy did not start with it, and its log says why".to_owned());
            }
            let seen = match socket.look(&[]).await {
                Ok(seen) if Some(seen.pid) == before => return Ok(None),
                Ok(seen) => seen,
                Err(error) => {
                    last = error.to_string();
                    return Ok(None);
                }
            };
            is_that(&seen, configuration).map(Some)
        });
        match waited.await? {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut | Waited::Stopped => {
                Err(format!("no new worker within {} s (--reload-timeout): {last}", limit.as_secs()))
            }
        }
    }
}

/// Whether this worker is still the one that runs, with the servers of this configuration. Another one has read its files
/// since, and by its servers' names alone two files are not told apart.
pub(super) async fn goes_on(socket: &HaproxySocket, pid: u32, configuration: &Configuration) -> bool {
    let seen = socket.look(&[]).await;
    seen.is_ok_and(|seen| seen.pid == pid && is_that(&seen, configuration).is_ok())
}

/// Whether the running HAProxy has the servers of this configuration.
pub(super) fn is_that(
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
