//! A server line in an HAProxy process: its state, and the effect of checks and commands on it.

use std::net::SocketAddr;

use super::Millis;
use crate::cfg::{Proxy, Server};
use crate::model::duration::DurationArg;
use crate::model::ids::ServerId;
use crate::model::new_server::NewServer;
use crate::observation::{AdminBits, AdminState, Checking, Checks, Operational};

/// A server line as one process knows it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the facts are independent")]
pub struct ServerLine {
    pub id: ServerId,
    pub address: SocketAddr,
    /// Whether it only gets traffic if no other server is usable.
    pub backup: bool,
    /// Its backend's `option allbackups`.
    pub all_backups: bool,
    /// Whether a cookie ties clients to it.
    pub ties: bool,
    /// The current weight.
    pub weight: u32,
    /// The maximum number of sessions.
    pub limit: Option<u64>,
    pub check: Option<CheckTiming>,
    /// How long its weight grows after maintenance.
    pub slowstart: Millis,
    pub admin: AdminBits,
    pub up: bool,
    /// Since when it has been up after maintenance.
    pub up_since: Option<Millis>,
    /// HAProxy's health counter: passed checks while down, and how many checks may still fail while up.
    pub health: u32,
    /// Whether its checks are enabled.
    pub checking: bool,
    /// Whether it was added at runtime and has not left its first maintenance.
    pub is_new: bool,
    /// Whether its last check passed; `None` before the first one and in maintenance.
    pub passed: Option<bool>,
    pub agent: Option<Agent>,
    /// The weight from the configuration.
    pub written_weight: u32,
    /// Sessions since the process started.
    pub total: u64,
}

/// The timing of a server's checks.
#[derive(Clone, Copy, Debug)]
pub struct CheckTiming {
    /// The time between two checks.
    pub inter: Millis,
    /// How many checks must pass before it is up.
    pub rise: u32,
    /// How many checks must fail before it is down.
    pub fall: u32,
}

/// The agent of a server.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    /// Whether HAProxy asks it.
    pub is_on: bool,
    /// Whether its answer is pending.
    pub is_asked: bool,
    /// The state in its answers.
    pub says: AdminState,
}

impl ServerLine {
    /// Creates a line from the configuration, in the state up.
    pub(super) fn of(id: ServerId, address: SocketAddr, proxy: &Proxy, server: &Server) -> Self {
        let millis = |time: Option<std::time::Duration>, or| {
            time.map_or(or, |it| Millis::try_from(it.as_millis()).unwrap_or(or))
        };
        let check = server.check.then(|| CheckTiming {
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
            is_new: false,
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

    /// Creates a line that is added at runtime: in maint, and with its checks off.
    pub(super) fn added(server: &NewServer, all_backups: bool) -> Self {
        let value = |name: &str| {
            let at = server.words.iter().position(|word| word == name)?;
            server.words.get(at + 1).map(String::as_str)
        };
        let number = |name| value(name).and_then(|word| word.parse::<u32>().ok());
        let has = |name: &str| server.words.iter().any(|word| word == name);
        let inter = value("inter").and_then(|text| text.parse::<DurationArg>().ok());
        let weight = number("weight").unwrap_or(1);
        Self {
            id: server.id.clone(),
            address: server.address,
            backup: false,
            all_backups,
            ties: has("cookie"),
            weight,
            limit: number("maxconn").map(u64::from),
            check: has("check").then_some(CheckTiming {
                inter: inter.map_or(2_000, |it| Millis::try_from(it.0.as_millis()).unwrap_or(2_000)),
                rise: number("rise").unwrap_or(2),
                fall: number("fall").unwrap_or(3),
            }),
            slowstart: 0,
            admin: AdminState::Maint.bits(),
            up: false,
            up_since: None,
            health: 0,
            checking: false,
            is_new: true,
            passed: None,
            agent: None,
            written_weight: weight,
            total: 0,
        }
    }

    /// Returns whether it gets balanced requests.
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

    /// Sets the state as `set server … state` does.
    ///
    /// After maintenance a server is up at once, and the first failed check takes it down; after drain it keeps the
    /// state from its checks.
    pub(super) fn set(&mut self, state: AdminState, now: Millis) {
        let was = self.admin.state();
        self.is_new &= state == AdminState::Maint;
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

    /// Returns the result of the last check, as in `show stat`.
    pub(super) fn last_check(&self) -> &'static str {
        match (self.check, self.admin.state(), self.passed) {
            (None, ..) => "",
            (Some(_), AdminState::Maint, _) if !self.is_new => "",
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
