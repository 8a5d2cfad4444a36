//! Who asks a server whether it is well, and whether anybody does now.

use std::fmt;

use serde::Serialize;

/// Who asks a server by itself whether it is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// Its health checks (`check`).
    pub health: Checking,
    /// The agent on its host (`agent-check`).
    pub agent: Checking,
}

impl Checks {
    /// One of the two.
    #[must_use]
    pub fn of(self, checker: Checker) -> Checking {
        match checker {
            Checker::Health => self.health,
            Checker::Agent => self.agent,
        }
    }
}

/// One of those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checker {
    /// The health checks.
    Health,
    /// The agent.
    Agent,
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Health => "health",
            Self::Agent => "agent",
        })
    }
}

/// Whether a server is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checking {
    /// Its line does not ask for it.
    #[default]
    Absent,
    /// It is turned off.
    Off,
    /// It is.
    On,
}

impl Checking {
    const CONFIGURED: u32 = 0x02;
    const ENABLED: u32 = 0x04;

    /// By `srv_check_state` or `srv_agent_state` of `show servers state`: bit masks of `HAProxy`'s
    /// `include/haproxy/check-t.h`, the same from 2.2 on.
    #[must_use]
    pub fn of_bits(bits: u32) -> Self {
        match (bits & Self::CONFIGURED, bits & Self::ENABLED) {
            (0, _) => Self::Absent,
            (_, 0) => Self::Off,
            (_, _) => Self::On,
        }
    }
}
