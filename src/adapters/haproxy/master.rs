//! The master process, which reloads its workers.

use super::socket::{DEADLINE, ExchangeError, SocketAddress, exchange_with_master};
use crate::ports::LoadBalancerError;

/// How a reload was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2.2 to 2.6 say nothing: the new worker comes, or it does not.
    Silence,
    /// The new worker runs.
    Succeeded,
    /// The old worker goes on; what the new one said.
    Failed(String),
}

/// The master socket (`haproxy -S`).
#[derive(Clone, Debug)]
pub struct MasterSocket {
    address: SocketAddress,
}

impl MasterSocket {
    /// Nothing is asked of it yet.
    #[must_use]
    pub fn new(address: SocketAddress) -> Self {
        Self { address }
    }

    /// Has the configuration read again by new workers.
    pub async fn reload(&self) -> Result<Answer, LoadBalancerError> {
        match exchange_with_master(&self.address, "reload\n", DEADLINE).await {
            Ok(answer) => Ok(read_answer(&String::from_utf8_lossy(&answer))),
            // The master executes itself anew, and its connections end with that.
            Err(ExchangeError::Empty) => Ok(Answer::Silence),
            Err(ExchangeError::System(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                Ok(Answer::Silence)
            }
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// How many reloads have failed, as far as this version counts them: 2.2 does not.
    pub async fn failed_reloads(&self) -> Result<Option<u32>, LoadBalancerError> {
        let answer = exchange_with_master(&self.address, "show proc\n", DEADLINE).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        Ok(failed(&String::from_utf8_lossy(&answer)))
    }

    fn unreachable(&self, error: &ExchangeError) -> LoadBalancerError {
        LoadBalancerError::Unreachable { socket: self.address.to_string(), reason: error.to_string() }
    }
}

fn read_answer(text: &str) -> Answer {
    let (verdict, log) = text.split_once("--\n").unwrap_or((text, ""));
    match verdict.trim() {
        "Success=1" => Answer::Succeeded,
        "Success=0" => Answer::Failed(log.trim().to_owned()),
        _ => Answer::Silence,
    }
}

/// Of the master's line: `1234 master 1 [failed: 0] 0d00h00m06s 2.6.12`.
fn failed(processes: &str) -> Option<u32> {
    let master = processes.lines().find(|line| line.split_whitespace().nth(1) == Some("master"))?;
    let (_, count) = master.split_once("[failed: ")?;
    count.split(']').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_versions_are_read() {
        assert_eq!(read_answer("Success=1\n--\n[NOTICE] x\n"), Answer::Succeeded);
        let failed = read_answer("Success=0\n--\n[ALERT] parsing [h.cfg:3] : unknown keyword\n\n");
        assert_eq!(failed, Answer::Failed("[ALERT] parsing [h.cfg:3] : unknown keyword".to_owned()));
        assert_eq!(read_answer("\n"), Answer::Silence);
    }

    #[test]
    fn failed_reloads_are_counted_where_the_version_does() {
        let of_2_6 = "#<PID> <type> <reloads> <uptime> <version>\n25627           master          1 [failed: 3]   \
                      0d00h00m06s     2.6.12-1+deb12u4\n# workers\n26064 worker 0 0d00h00m01s 2.6.12\n";
        let of_2_2 = "#<PID> <type> <relative PID> <reloads> <uptime> <version>\n25591           master          0               \
                      1               0d00h00m05s     2.2.9-2+deb11u6\n# workers\n";
        assert_eq!((failed(of_2_6), failed(of_2_2), failed("")), (Some(3), None, None));
    }
}
