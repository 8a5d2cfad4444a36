//! The state of one server at a load balancer.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;

use serde::Deserialize;
use serde::Serialize;

use super::checks::Checking;
use super::checks::Checks;
use crate::model::ids::ServerId;

/// The state of one server, from `show servers state` and `show stat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerState {
    pub id: ServerId,
    /// The address of its traffic; `None` for a unix socket or an unresolved name.
    pub address: Option<SocketAddr>,
    pub admin: AdminBits,
    pub operational: Operational,
    /// The `status` column of `show stat`, for people only (`UP 1/3`, `MAINT (via b/s)`).
    pub status: String,
    /// The result of the last health check (`L7OK`, `L4CON` …), empty without one.
    pub check: String,
    /// The current weight. A server with weight 0 gets no balanced traffic.
    pub weight: u32,
    /// The weight of the server's line, as `HAProxy` has read it.
    #[serde(skip)]
    pub initial_weight: u32,
    /// Other current settings of the line; `None` before 2.4, which does not report them.
    #[serde(skip)]
    pub settings: Option<RunningSettings>,
    /// Whether its health checks and its agent are on.
    pub checks: Checks,
    /// The sessions in flight (`scur`): requests, tunnels and streams, but not idle connections.
    pub sessions: u64,
    /// The sessions since `HAProxy` started (`stot`).
    pub sessions_total: u64,
    /// The maximum number of sessions at once (`slim`, from `maxconn`); `None` if there is no limit.
    pub limit: Option<u64>,
}

/// Settings of a server's line that can change at runtime, and that a `server-state-file` keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunningSettings {
    pub ssl: bool,
    /// The port of the checks, if it is not the server's own.
    pub check_port: Option<u16>,
    /// The address of the checks, if it is not the server's own.
    pub check_address: Option<IpAddr>,
}

impl ServerState {
    /// Combines the states of the same server on two load balancers.
    pub(super) fn and(self, other: Self) -> Self {
        let badness = |state: &Self| (!state.is_usable(), state.admin.state(), state.operational);
        let sessions = self.sessions + other.sessions;
        let sessions_total = self.sessions_total + other.sessions_total;
        let limit = self.limit.zip(other.limit).map(|(a, b)| a + b);
        let worst = if badness(&other) > badness(&self) { other } else { self };
        Self { sessions, sessions_total, limit, ..worst }
    }

    /// Returns whether its last health check has passed (`L7OK`, `L4OK`, `L7OKC` …).
    #[must_use]
    pub fn has_passed_a_check(&self) -> bool {
        self.checks.health == Checking::On && self.check.contains("OK")
    }

    /// Returns whether its agent (`agent-check`) is on and may change its state.
    #[must_use]
    pub fn asks_agent(&self) -> bool {
        self.checks.agent == Checking::On
    }

    /// Returns whether its agent (`agent-check`) has reported it as down.
    #[must_use]
    pub fn is_down_by_agent(&self) -> bool {
        self.asks_agent() && self.status == "DOWN (agent)"
    }

    /// Returns whether its agent (`agent-check`) may have taken it out of service. The agent is on, and `HAProxy`
    /// does not keep the agent's answer.
    #[must_use]
    pub fn may_be_out_by_agent(&self) -> bool {
        self.asks_agent() && self.admin.state() != AdminState::Ready && !self.admin.is_inherited()
    }

    /// Returns whether the server may be given a new request now, according to `HAProxy`: no drain, no maintenance,
    /// operationally up (starting counts), and a weight.
    ///
    /// This is `srv_willbe_usable()` in `HAProxy`'s `include/haproxy/backend.h`.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.operational.is_up() && self.weight > 0 && self.admin.state() == AdminState::Ready
    }
}

/// The administrative state, as `set server … state` of the runtime API takes it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// In service.
    Ready,
    /// No balanced traffic; persistent clients still come, and checks go on.
    Drain,
    /// No traffic and no checks.
    Maint,
}

impl AdminState {
    /// Returns the bits that `HAProxy` has after this state is set.
    #[must_use]
    pub fn bits(self) -> AdminBits {
        AdminBits(match self {
            Self::Ready => 0,
            Self::Drain => 8,
            Self::Maint => 1,
        })
    }
}

impl fmt::Display for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        })
    }
}

/// The bit mask `srv_admin_state` of `show servers state`, which is printed in decimal.
///
/// The bits are those of `HAProxy`'s `include/haproxy/server-t.h`, the same from 2.2 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AdminBits(pub u32);

impl AdminBits {
    /// Forced or inherited maintenance, or an unresolved address.
    const MAINT: u32 = 0x01 | 0x02 | 0x20;
    /// `CMAINT`, which only marks a server that is `disabled` in the configuration. It stays after `ready`, and a
    /// `server-state-file` does not set it.
    const LINE: u32 = 0x04;
    /// Forced or inherited drain.
    const DRAIN: u32 = 0x08 | 0x10;
    /// Maintenance or drain that comes from a tracked server or from name resolution, and that `set server … state
    /// ready` does not end.
    const NOT_OURS: u32 = 0x02 | 0x10 | Self::UNRESOLVED;
    /// Maintenance because name resolution gives no address: a spare slot of a `server-template`.
    const UNRESOLVED: u32 = 0x20;

    /// Returns the state that the bits amount to.
    #[must_use]
    pub fn state(self) -> AdminState {
        if self.0 & Self::MAINT != 0 {
            AdminState::Maint
        } else if self.0 & Self::DRAIN != 0 {
            AdminState::Drain
        } else {
            AdminState::Ready
        }
    }

    /// Returns the state that was set for this server itself, without inherited states.
    #[must_use]
    pub fn own_state(self) -> AdminState {
        Self(self.0 & !Self::NOT_OURS).state()
    }

    /// Returns whether the state is inherited (from a tracked server or name resolution), so that setting this
    /// server's own state does not change it.
    #[must_use]
    pub fn is_inherited(self) -> bool {
        self.0 & Self::NOT_OURS != 0
    }

    /// Returns whether its line has `disabled`, as `HAProxy` has read it.
    #[must_use]
    pub fn is_disabled_by_its_line(self) -> bool {
        self.0 & Self::LINE != 0
    }

    /// Returns whether it is in maintenance because its name has no address.
    #[must_use]
    pub fn is_unresolved(self) -> bool {
        self.0 & Self::UNRESOLVED != 0
    }
}

/// The value of `srv_op_state` of `show servers state`, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operational {
    /// Value 2: up.
    Running,
    /// Value 1: up, in its slow start.
    Starting,
    /// Value 3: up for persistent clients only (`NOLB`).
    Stopping,
    /// Value 0: down.
    Stopped,
}

impl Operational {
    /// Returns whether it is up, including in its slow start.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Starting)
    }
}
