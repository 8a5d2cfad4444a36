//! A server line as a process of `HAProxy` has it: its state, and what a check or a command makes of it.

use std::net::SocketAddr;

use super::Millis;
use crate::cfg::{Proxy, Server};
use crate::ids::ServerId;
use crate::observation::{AdminBits, AdminState, Checking, Checks, Operational};

/// What a process knows of a server.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub struct Line {
    /// Which server.
    pub id: ServerId,
    /// Where its traffic goes.
    pub address: SocketAddr,
    /// Whether it only gets traffic when no other server can.
    pub backup: bool,
    /// Its backend's `option allbackups`.
    pub all_backups: bool,
    /// Whether a cookie ties clients to it.
    pub ties: bool,
    /// Its weight.
    pub weight: u32,
    /// The most sessions at once.
    pub limit: Option<u64>,
    /// How it is checked.
    pub check: Option<Check>,
    /// Over how long its weight grows after maintenance.
    pub slowstart: Millis,
    /// The administrative state.
    pub admin: AdminBits,
    /// Whether it is up.
    pub up: bool,
    /// Since when it has been up after maintenance.
    pub up_since: Option<Millis>,
    /// The checks that passed, and how many may still fail.
    pub health: u32,
    /// Whether its checks are at work.
    pub checking: bool,
    /// Whether its last check passed; nothing before the first one, and in maintenance.
    pub passed: Option<bool>,
    /// The agent on its host.
    pub agent: Option<Agent>,
    /// The weight that is written.
    pub written_weight: u32,
    /// Sessions since the process started.
    pub total: u64,
}

/// The rhythm of a server's checks.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Time between two.
    pub inter: Millis,
    /// How many must pass before it is up.
    pub rise: u32,
    /// How many must fail before it is down.
    pub fall: u32,
}

/// An agent that is asked about a server.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    /// Whether it is asked.
    pub is_on: bool,
    /// Whether its answer is under way.
    pub is_asked: bool,
    /// The state that it answers with.
    pub says: AdminState,
}

impl Line {
    /// A line as it is written, up.
    pub(super) fn of(id: ServerId, address: SocketAddr, proxy: &Proxy, server: &Server) -> Self {
        let millis = |time: Option<std::time::Duration>, or| {
            time.map_or(or, |it| Millis::try_from(it.as_millis()).unwrap_or(or))
        };
        let check = server.check.then(|| Check {
            inter: millis(server.inter, 2_000),
            rise: server.rise.unwrap_or(2),
            fall: server.fall.unwrap_or(3),
        });
        Self {
            id,
            address,
            backup: server.backup,
            all_backups: proxy.all_backups,
            ties: server.cookie.is_some(),
            weight: server.weight,
            limit: server.maxconn.map(u64::from),
            check,
            slowstart: millis(server.slowstart, 0),
            admin: if server.disabled { AdminState::Maint.bits() } else { AdminBits(0) },
            up: !server.disabled,
            up_since: None,
            health: check.filter(|_| !server.disabled).map_or(0, |check| check.rise + check.fall - 1),
            checking: true,
            passed: (!server.disabled).then_some(true),
            agent: server.agent_check.then_some(Agent {
                is_on: true,
                is_asked: false,
                says: AdminState::Ready,
            }),
            written_weight: server.weight,
            total: 0,
        }
    }

    /// Whether balanced requests are given to it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.admin.state() == AdminState::Ready && self.up && self.weight > 0
    }

    pub(super) fn operational(&self, now: Millis) -> Operational {
        match (self.up, self.up_since) {
            (false, _) => Operational::Stopped,
            (true, Some(since)) if now < since + self.slowstart => Operational::Starting,
            (true, _) => Operational::Running,
        }
    }

    /// As `set server … state` does it: from maintenance a server is up at once, and the first check that fails has it
    /// down; from drain it stays what its checks say.
    pub(super) fn set(&mut self, state: AdminState, now: Millis) {
        let was = self.admin.state();
        let rise = self.check.map_or(0, |check| check.rise);
        self.admin = state.bits();
        match (was, state) {
            (_, AdminState::Maint) => {
                (self.up, self.health, self.up_since, self.passed) = (false, 0, None, None);
            }
            (AdminState::Maint, AdminState::Ready | AdminState::Drain) => {
                (self.up, self.health, self.up_since) = (true, rise, Some(now));
            }
            (AdminState::Ready | AdminState::Drain, AdminState::Ready | AdminState::Drain) => {}
        }
    }

    pub(super) fn checks(&self) -> Checks {
        let health = match (self.check, self.checking) {
            (None, _) => Checking::Absent,
            (Some(_), false) => Checking::Off,
            (Some(_), true) => Checking::On,
        };
        let agent = match self.agent {
            None => Checking::Absent,
            Some(Agent { is_on: false, .. }) => Checking::Off,
            Some(Agent { is_on: true, .. }) => Checking::On,
        };
        Checks { health, agent, asks_agent: self.agent.is_some_and(|agent| agent.is_asked) }
    }

    /// What the last check said, as `show stat` has it.
    pub(super) fn last_check(&self) -> &'static str {
        match (self.check, self.admin.state(), self.passed) {
            (None, ..) | (Some(_), AdminState::Maint, _) => "",
            (Some(_), _, None) => "INI",
            (Some(_), _, Some(true)) => "L7OK",
            (Some(_), _, Some(false)) => "L4CON",
        }
    }

    pub(super) fn status(&self) -> &'static str {
        match (self.admin.state(), self.up, self.check) {
            (AdminState::Maint, ..) => "MAINT",
            (_, false, _) => "DOWN",
            (AdminState::Drain, true, _) => "DRAIN",
            (AdminState::Ready, true, Some(_)) => "UP",
            (AdminState::Ready, true, None) => "no check",
        }
    }
}
