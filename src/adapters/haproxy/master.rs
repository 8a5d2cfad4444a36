//! The master process, which reloads its workers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use super::address::SocketAddress;
use super::command::Command;
use super::past_reload::past_reload;
use super::reply::{Replies, ReplyError};
use super::socket::{CHANGE_DEADLINE, DEADLINE, Endpoint, ExchangeError};
use crate::model::ids::ServerId;
use crate::model::sanitize;
use crate::observation::{OldServer, OldWorker, Session};
use crate::ports::LoadBalancerError;

/// The answer to a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadReply {
    /// 2.2 to 2.6 do not answer: the new worker starts, or it does not.
    Silence,
    /// The new worker runs.
    Succeeded,
    /// The old worker continues. Carries the new worker's output.
    Failed(String),
}

/// The master socket (`haproxy -S`).
#[derive(Clone, Debug)]
pub struct MasterSocket {
    endpoint: Endpoint,
}

/// An error while asking a worker through its master.
#[derive(Debug)]
enum MasterError {
    /// The answer is incomplete. The worker may have exited; asking again shows that.
    BrokenOff,
    Failed(LoadBalancerError),
}

impl From<LoadBalancerError> for MasterError {
    fn from(error: LoadBalancerError) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for MasterSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.address().fmt(f)
    }
}

impl MasterSocket {
    /// Returns a socket for this address, without connecting.
    #[must_use]
    pub fn new(address: SocketAddress) -> Self {
        Self { endpoint: Endpoint::master(address) }
    }

    /// Also accepts this user as the owner of the listening process, because HAProxy is known to run as that user.
    #[must_use]
    pub fn owned_by(self, owner: Option<u32>) -> Self {
        Self { endpoint: self.endpoint.owned_by(owner) }
    }

    /// Reloads the configuration.
    pub async fn reload(&self) -> Result<ReloadReply, LoadBalancerError> {
        let answer = self.endpoint.change("reload\n", CHANGE_DEADLINE).await;
        match answer.map_err(ExchangeError::reason) {
            Ok(answer) => Ok(ReloadReply::read(&sanitize::lines(&answer))),
            // The master re-executes itself, which closes its connections.
            Err(ExchangeError::Empty) => Ok(ReloadReply::Silence),
            Err(ExchangeError::System(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                Ok(ReloadReply::Silence)
            }
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// Returns the number of failed reloads, if this version counts them: 2.2 does not.
    pub async fn failed_reloads(&self) -> Result<Option<u32>, LoadBalancerError> {
        Ok(failed(&self.processes().await?))
    }

    /// Returns whether this is the master of the process `pid`.
    pub async fn knows(&self, pid: u32) -> Result<bool, LoadBalancerError> {
        Ok(workers(&self.processes().await?).contains(&pid))
    }

    /// Returns the replaced workers and their sessions per server, without the worker `current`, which answers on the
    /// runtime socket.
    pub async fn old_workers(&self, current: u32) -> Result<Vec<OldWorker>, LoadBalancerError> {
        let look = async || {
            let mut old = Vec::new();
            for (pid, sessions) in self.held_by_old_workers(current).await? {
                let mut held: BTreeMap<(ServerId, Option<SocketAddr>), u64> = BTreeMap::new();
                for session in sessions {
                    *held.entry((session.server, session.address)).or_default() += 1;
                }
                let server = |((id, address), sessions)| OldServer { id, address, sessions };
                old.push(OldWorker { pid, servers: held.into_iter().map(server).collect() });
            }
            Ok(old)
        };
        past_reload(look, is_broken_off).await.map_err(|unheard| self.explain(unheard))
    }

    /// Returns the sessions of the replaced workers.
    pub async fn sessions_of_old_workers(&self, current: u32) -> Result<Vec<Session>, LoadBalancerError> {
        let look = async || self.held_by_old_workers(current).await;
        let held = past_reload(look, is_broken_off).await.map_err(|unheard| self.explain(unheard))?;
        Ok(held.into_iter().flat_map(|(_, sessions)| sessions).collect())
    }

    /// Returns each replaced worker with its sessions.
    ///
    /// After a failed reload, `show proc` lists the worker that continues among the old ones, so each worker is asked
    /// whether it is stopping. A worker that has exited has no sessions.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the methods have one lifetime only")]
    async fn held_by_old_workers(&self, current: u32) -> Result<Vec<(u32, Vec<Session>)>, MasterError> {
        let mut held = Vec::new();
        for pid in workers(&self.processes().await?).into_iter().filter(|pid| *pid != current) {
            let process = self.ask_worker(pid, Command::Info, |answer| answer.info()).await?;
            if !process.is_some_and(|process| process.stopping) {
                continue;
            }
            let sessions = self.ask_worker(pid, Command::Sessions, |answer| answer.sessions()).await?;
            let Some(sessions) = sessions else { continue };
            let mut rows = None;
            if !sessions.is_empty() {
                let state = Command::ServersState(None);
                rows = self.ask_worker(pid, state, |answer| answer.servers_state()).await?;
            }
            let address = |id: &ServerId| rows.iter().flatten().find(|row| row.id == *id)?.address;
            let of_worker = |session: Session| Session {
                worker: Some(pid),
                address: address(&session.server),
                ..session
            };
            held.push((pid, sessions.into_iter().map(of_worker).collect()));
        }
        Ok(held)
    }

    /// Ends a session of an old worker. Succeeds if the session has already ended.
    pub async fn end_session(&self, pid: u32, session: &str) -> Result<(), LoadBalancerError> {
        let command = Command::ShutdownSession(session);
        match self.ask_worker(pid, command, |answer| Ok(answer.ended_session())).await {
            Ok(Some(result)) => result.map_err(|error| LoadBalancerError::Refused {
                command: command.to_string(),
                reply: error.to_string(),
            }),
            Ok(None) | Err(MasterError::BrokenOff) => Ok(()),
            Err(MasterError::Failed(error)) => Err(error),
        }
    }

    /// Asks a worker through the master. Returns `None` if the worker has exited.
    ///
    /// The master itself would run any command after a `;`.
    async fn ask_worker<T>(
        &self,
        pid: u32,
        command: Command<'_>,
        read: impl FnOnce(&mut Replies<'_>) -> Result<T, ReplyError> + Send,
    ) -> Result<Option<T>, MasterError> {
        let line = format!("@!{pid} {command}");
        let text = format!("{line}\n");
        let answer = if command.is_change() {
            self.endpoint.change(&text, CHANGE_DEADLINE).await
        } else {
            self.endpoint.ask(&text, DEADLINE).await
        };
        let answer = match answer {
            Ok(answer) => sanitize::lines(&answer),
            Err(ExchangeError::Empty) => return Err(MasterError::BrokenOff),
            Err(error) => return Err(MasterError::Failed(self.unreachable(&error))),
        };
        if answer.starts_with(NO_SUCH_PROCESS) {
            return Ok(None);
        }
        read(&mut Replies::new(&answer)).map(Some).map_err(|error| match error {
            ReplyError::CutShort => MasterError::BrokenOff,
            error @ (ReplyError::Refused { .. }
            | ReplyError::Missing { .. }
            | ReplyError::BadValue { .. }) => MasterError::Failed(LoadBalancerError::InvalidReply {
                command: line,
                reason: error.to_string(),
            }),
        })
    }

    fn explain(&self, unheard: MasterError) -> LoadBalancerError {
        match unheard {
            MasterError::BrokenOff => self.unreachable(&ExchangeError::Empty),
            MasterError::Failed(error) => error,
        }
    }

    async fn processes(&self) -> Result<String, LoadBalancerError> {
        let answer = self.endpoint.ask("show proc\n", DEADLINE).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        Ok(sanitize::lines(&answer))
    }

    fn unreachable(&self, error: &ExchangeError) -> LoadBalancerError {
        let (socket, reason) = (self.to_string(), error.to_string());
        match error {
            ExchangeError::UntrustedPeer(_) => LoadBalancerError::UntrustedListener { socket, reason },
            ExchangeError::TooLong => LoadBalancerError::TooLong { socket, reason },
            ExchangeError::System(_)
            | ExchangeError::Empty
            | ExchangeError::Late { .. }
            | ExchangeError::Unanswered(_) => LoadBalancerError::Unreachable { socket, reason },
        }
    }
}

/// Returns whether the answer was cut off, by a worker that exits or by a master that re-executes itself.
fn is_broken_off<T>(result: &Result<T, MasterError>) -> bool {
    matches!(result, Err(MasterError::BrokenOff))
}

impl ReloadReply {
    /// Parses the answer to `reload`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let (verdict, log) = text.split_once("--\n").unwrap_or((text, ""));
        match verdict.trim() {
            "Success=1" => Self::Succeeded,
            "Success=0" => Self::Failed(log.trim().to_owned()),
            _ => Self::Silence,
        }
    }
}

/// The start of the master's answer if the worker has exited.
const NO_SUCH_PROCESS: &str = "Can't find the target PID";

/// Returns the PIDs of all workers, old and new, in an answer to `show proc`: `1234 worker …`.
#[must_use]
pub fn workers(processes: &str) -> Vec<u32> {
    let pid = |line: &str| {
        let mut words = line.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        (words.next()? == "worker").then_some(pid)
    };
    processes.lines().filter_map(pid).collect()
}

/// Returns the number of failed reloads in an answer to `show proc`: `1234 master 1 [failed: 0] 0d00h00m06s 2.6.12`.
#[must_use]
pub fn failed(processes: &str) -> Option<u32> {
    let master = processes.lines().find(|line| line.split_whitespace().nth(1) == Some("master"))?;
    let (_, count) = master.split_once("[failed: ")?;
    count.split(']').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_versions_are_read() {
        assert_eq!(ReloadReply::read("Success=1\n--\n[NOTICE] x\n"), ReloadReply::Succeeded);
        let failed = ReloadReply::read("Success=0\n--\n[ALERT] parsing [h.cfg:3] : unknown keyword\n\n");
        assert_eq!(failed, ReloadReply::Failed("[ALERT] parsing [h.cfg:3] : unknown keyword".to_owned()));
        assert_eq!(ReloadReply::read("\n"), ReloadReply::Silence);
    }

    #[test]
    fn failed_reloads_are_counted_where_the_version_does() {
        let of_2_6 = "#<PID> <type> <reloads> <uptime> <version>\n25627           master          1 [failed: 3]   \
                      0d00h00m06s     2.6.12-1+deb12u4\n# workers\n26064 worker 0 0d00h00m01s 2.6.12\n";
        let of_2_2 = "#<PID> <type> <relative PID> <reloads> <uptime> <version>\n25591           master          0               \
                      1               0d00h00m05s     2.2.9-2+deb11u6\n# workers\n";
        assert_eq!((failed(of_2_6), failed(of_2_2), failed("")), (Some(3), None, None));
        assert_eq!((workers(of_2_6), workers(of_2_2), workers("")), (vec![26064], vec![], vec![]));
    }
}
