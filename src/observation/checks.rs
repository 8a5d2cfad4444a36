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
    /// Whether the agent is being asked at this moment: its answer counts although the agent is turned off meanwhile
    /// (measured on 2.2 to 3.4).
    #[serde(skip)]
    pub asks_agent: bool,
}

impl Checks {
    /// By `srv_check_state` and `srv_agent_state` of `show servers state`: bit masks of `HAProxy`'s
    /// `include/haproxy/check-t.h`, the same from 2.2 on.
    #[must_use]
    pub fn of_bits(health: u32, agent: u32) -> Self {
        let (health, asks_agent) = (Checking::of_bits(health), agent & Checking::IN_PROGRESS != 0);
        Self { health, agent: Checking::of_bits(agent), asks_agent }
    }

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
    const IN_PROGRESS: u32 = 0x01;
    const CONFIGURED: u32 = 0x02;
    const ENABLED: u32 = 0x04;

    fn of_bits(bits: u32) -> Self {
        match (bits & Self::CONFIGURED, bits & Self::ENABLED) {
            (0, _) => Self::Absent,
            (_, 0) => Self::Off,
            (_, _) => Self::On,
        }
    }
}
