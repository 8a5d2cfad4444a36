//! The health checks and the agent of a server, and whether they are on.

use std::fmt;

use serde::Serialize;

/// The two mechanisms that monitor a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// Its health checks (`check`).
    pub health: Checking,
    /// The agent on its host (`agent-check`).
    pub agent: Checking,
    /// Whether a request to the agent is in progress. Its answer counts even if the agent is turned off before it
    /// arrives (measured on 2.2 to 3.4).
    #[serde(skip)]
    pub asks_agent: bool,
}

impl Checks {
    /// Reads `srv_check_state` and `srv_agent_state` of `show servers state`: bit masks of `HAProxy`'s
    /// `include/haproxy/check-t.h`, the same from 2.2 on.
    #[must_use]
    pub fn of_bits(health: u32, agent: u32) -> Self {
        let (health, asks_agent) = (Checking::of_bits(health), agent & Checking::IN_PROGRESS != 0);
        Self { health, agent: Checking::of_bits(agent), asks_agent }
    }

    /// Returns the state of one of the two.
    #[must_use]
    pub fn of(self, checker: Checker) -> Checking {
        match checker {
            Checker::Health => self.health,
            Checker::Agent => self.agent,
        }
    }
}

/// One of the two mechanisms that monitor a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checker {
    Health,
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

/// Whether a mechanism monitors a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checking {
    /// The line does not configure it.
    #[default]
    Absent,
    Off,
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
