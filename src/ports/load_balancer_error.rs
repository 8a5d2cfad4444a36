//! The errors of HAProxy's runtime API, and what to do about each.

use std::net::SocketAddr;

use crate::model::ids::ServerId;
use crate::observation::AdminState;

/// An error of the runtime API.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoadBalancerError {
    #[error("at {name}: {error}")]
    At { name: String, error: Box<LoadBalancerError> },
    #[error("cannot reach HAProxy's runtime socket {socket}: {reason}")]
    Unreachable {
        socket: String,
        /// Includes the deadline if one expired.
        reason: String,
    },
    /// A process that is not trusted listens at the socket.
    #[error("refused to use HAProxy's socket {socket}: {reason}")]
    UntrustedListener {
        socket: String,
        /// Names the owner of the process, and says what to do.
        reason: String,
    },
    /// The connection of a command broke or was abandoned: `HAProxy` may still execute the command.
    #[error(
        "HAProxy's runtime socket {socket} did not answer `{command}`, which may still take effect: {reason}"
    )]
    Unanswered {
        socket: String,
        /// The first command of the line.
        command: String,
        /// Includes the deadline if one expired.
        reason: String,
    },
    /// The socket answers, but its level does not allow setting states.
    #[error(
        "HAProxy's runtime socket {socket} has level {level}, but setting a server's state needs level admin"
    )]
    NotAdmin {
        socket: String,
        /// `user` or `operator`.
        level: String,
    },
    /// The work is split between processes that do not know of each other (`nbproc`, until 2.4).
    #[error(
        "HAProxy runs {processes} processes (nbproc), but its runtime socket {socket} reaches only one of them: the others would keep their old state, and their sessions would not be counted"
    )]
    SeveralProcesses { socket: String, processes: u32 },
    #[error(
        "the master socket {master} belongs to another HAProxy: it has no process {pid}, which answers at {socket}. Name the right one with --master-socket"
    )]
    OtherMaster {
        master: String,
        socket: String,
        /// The process that answers at the runtime socket.
        pid: u32,
    },
    /// The running `HAProxy` lacks a backend of haproxy.cfg.
    #[error("the running HAProxy has no backend {backend}: {reply}")]
    NoSuchBackend { backend: String, reply: String },
    #[error("HAProxy refused `{command}`: {reply}")]
    Refused { command: String, reply: String },
    /// The command contains a name that would not be valid in haproxy.cfg.
    #[error("cannot send `{command}` to HAProxy: {reason}")]
    NotSent { command: String, reason: String },
    /// `HAProxy` accepted the command, but the server's state is a different one.
    #[error("HAProxy accepted `{command}`, but {server} is in {found}")]
    StateNotApplied {
        command: String,
        server: ServerId,
        /// The state that was read back.
        found: AdminState,
    },
    /// `HAProxy` accepted the command, but the server's address is a different one.
    #[error("HAProxy accepted `{command}`, but {server} has {}", .found.map_or("no address".to_owned(), |found| format!("the address {found}")))]
    AddressNotApplied {
        command: String,
        server: ServerId,
        /// The address that was read back.
        found: Option<SocketAddr>,
    },
    /// The process exited in the middle of an answer, as it does at a restart.
    #[error("HAProxy closed the connection in the middle of its answer to `{command}`")]
    CutShort { command: String },
    /// The answer is longer than any that `HAProxy` gives.
    #[error("invalid answer from HAProxy's socket {socket}: {reason}")]
    TooLong {
        socket: String,
        /// Names the limit.
        reason: String,
    },
    #[error("cannot parse HAProxy's answer to `{command}`: {reason}")]
    InvalidReply { command: String, reason: String },
}

impl LoadBalancerError {
    /// Returns what to do about the error, as sentences that follow it. It is empty if the error itself says it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::At { error, .. } => error.advice(),
            Self::Unreachable { .. } => {
                ". Is HAProxy running, and may this user open the socket? Name another one with --socket"
            }
            Self::NotAdmin { .. } => {
                ". Add `level admin` to its `stats socket` line and reload HAProxy, or name another with --socket"
            }
            Self::SeveralProcesses { .. } => ". Replace `nbproc` with `nbthread`, and restart HAProxy",
            Self::NoSuchBackend { .. } => {
                ". Reload HAProxy, or use --haproxy-config to name the configuration that it runs"
            }
            Self::Unanswered { .. } => {
                ". Check `drainswap status` once HAProxy answers, and set the server again if it changed"
            }
            Self::Refused { .. } => {
                ". Compare haproxy.cfg with what HAProxy runs (`drainswap doctor`), and reload HAProxy if they differ"
            }
            Self::NotSent { .. } => ". Give the backend and its servers short, plain names in haproxy.cfg",
            Self::StateNotApplied { .. } => {
                ". Check whether an agent check or another tool sets the server, then try again"
            }
            Self::AddressNotApplied { .. } => {
                ". Check whether HAProxy's resolvers or another tool set the address, then try again"
            }
            Self::CutShort { .. } => ". Check in HAProxy's log whether it crashed, then try again",
            Self::InvalidReply { .. } => ". Check that --socket names HAProxy's runtime socket",
            Self::TooLong { .. } => {
                ". Check that HAProxy listens at this socket, or name another one with --socket or --master-socket"
            }
            Self::UntrustedListener { .. } | Self::OtherMaster { .. } => "",
        }
    }

    /// Returns whether the load balancer did not answer at all.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Unanswered { .. } | Self::CutShort { .. } | Self::TooLong { .. }
        )
    }

    /// Adds the name of the load balancer if there are several (`among`). Errors for a missing answer already name
    /// it.
    #[must_use]
    pub fn at(self, name: String, among: usize) -> Self {
        if self.is_silence() || among == 1 {
            return self;
        }
        Self::At { name, error: Box::new(self) }
    }
}
