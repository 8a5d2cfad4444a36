//! The commands for the runtime API. No other file contains any.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::model::ids::ServerId;
use crate::model::weight::Weight;
use crate::observation::{AdminState, Checker};

/// The prefix of every line, which turns off severities in the answers.
///
/// With `severity-output` on its `stats socket` line, HAProxy puts a severity before each answer. This command stops
/// that for the connection, and every level may use it (measured on 2.2 to 3.4). The answer is [`PLAIN_TAKEN`].
pub(super) const PLAIN: &str = "set severity-output none;";

/// The answer to [`PLAIN`].
pub(super) const PLAIN_TAKEN: &str = "\n";

/// The longest line that drainswap sends, in bytes and without [`PLAIN`]. HAProxy 2.2 hangs on lines of about 16300
/// bytes and more, and later versions refuse lines that do not fit into `tune.bufsize` (16384).
pub(super) const LONGEST_LINE: usize = 8000;

/// A command. Its `Display` output is the command as sent, without the line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `show info`: the process and its version.
    Info,
    /// `show cli level`: the permissions of this socket.
    Level,
    /// `show servers state`, for one backend or for all: addresses, weights and states.
    ServersState(Option<&'a str>),
    /// `show stat`, for one backend or for all: sessions and queues. The mask 6 selects servers (4) and the backend
    /// itself (2), -1 every server.
    Stat(Option<&'a str>),
    /// `show sess`: every session, with its server.
    Sessions,
    /// `shutdown session`: ends one session, with the ID from [`Command::Sessions`].
    ShutdownSession(&'a str),
    /// `set maxconn server …`.
    SetServerMaxconn(&'a ServerId, u64),
    /// `set server … state`.
    SetServerState(&'a ServerId, AdminState),
    /// `set server … addr … port`.
    SetServerAddress(&'a ServerId, SocketAddr),
    /// `set server … check-port`; 0 is the server's port.
    SetServerCheckPort(&'a ServerId, u16),
    /// `set server … check-addr`, since 2.4; 3.4.7 refuses every address (measured).
    SetServerCheckAddress(&'a ServerId, IpAddr),
    /// `set server … ssl`, since 2.4.
    SetServerSsl(&'a ServerId, bool),
    /// `set server … weight`.
    SetServerWeight(&'a ServerId, Weight),
    /// `set server … health up`.
    SetServerHealthy(&'a ServerId),
    /// `set server … health down`. It has no effect in maint (measured on 2.2 to 3.2).
    SetServerDown(&'a ServerId),
    /// `add server`, since 2.6 without expert mode: an address and settings; the server starts in maintenance.
    AddServer(&'a ServerId, &'a [String]),
    /// `enable` or `disable`, `health` or `agent`. The checks of an added server only start once they are enabled.
    SetChecking(&'a ServerId, Checker, bool),
    /// `del server`, for a server that is in maintenance and has no connections left.
    DelServer(&'a ServerId),
}

impl fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Info => f.write_str("show info"),
            Self::Level => f.write_str("show cli level"),
            Self::ServersState(None) => f.write_str("show servers state"),
            Self::ServersState(Some(backend)) => write!(f, "show servers state {backend}"),
            Self::Stat(backend) => write!(f, "show stat {} 6 -1", backend.unwrap_or("-1")),
            Self::Sessions => f.write_str("show sess"),
            Self::ShutdownSession(session) => write!(f, "shutdown session {session}"),
            Self::SetServerMaxconn(server, limit) => write!(f, "set maxconn server {server} {limit}"),
            Self::SetServerState(server, state) => write!(f, "set server {server} state {state}"),
            Self::SetServerAddress(server, address) => {
                write!(f, "set server {server} addr {} port {}", address.ip(), address.port())
            }
            Self::SetServerCheckPort(server, port) => write!(f, "set server {server} check-port {port}"),
            Self::SetServerCheckAddress(server, address) => {
                write!(f, "set server {server} check-addr {address}")
            }
            Self::SetServerSsl(server, true) => write!(f, "set server {server} ssl on"),
            Self::SetServerSsl(server, false) => write!(f, "set server {server} ssl off"),
            Self::SetServerWeight(server, weight) => write!(f, "set server {server} weight {weight}"),
            Self::SetServerHealthy(server) => write!(f, "set server {server} health up"),
            Self::SetServerDown(server) => write!(f, "set server {server} health down"),
            Self::AddServer(server, words) => write!(f, "add server {server} {}", words.join(" ")),
            Self::SetChecking(server, checker, true) => write!(f, "enable {checker} {server}"),
            Self::SetChecking(server, checker, false) => write!(f, "disable {checker} {server}"),
            Self::DelServer(server) => write!(f, "del server {server}"),
        }
    }
}

impl<'a> Command<'a> {
    /// Returns the backend that the command is about, if there is one.
    #[must_use]
    pub fn backend(self) -> Option<&'a str> {
        if let Self::ServersState(backend) | Self::Stat(backend) = self {
            return backend;
        }
        self.server().map(|server| server.backend.as_str())
    }

    /// Returns whether the command changes something. Such a command keeps its connection until HAProxy has answered.
    #[must_use]
    pub fn is_change(self) -> bool {
        match self {
            Self::Info | Self::Level | Self::Sessions | Self::ServersState(_) | Self::Stat(_) => false,
            Self::ShutdownSession(_)
            | Self::SetServerMaxconn(..)
            | Self::SetServerState(..)
            | Self::SetServerWeight(..)
            | Self::SetServerAddress(..)
            | Self::SetServerCheckPort(..)
            | Self::SetServerCheckAddress(..)
            | Self::SetServerSsl(..)
            | Self::SetServerHealthy(_)
            | Self::SetServerDown(_)
            | Self::AddServer(..)
            | Self::SetChecking(..)
            | Self::DelServer(_) => true,
        }
    }

    /// Returns the server that the command is about, if there is one.
    #[must_use]
    pub fn server(self) -> Option<&'a ServerId> {
        match self {
            Self::SetServerState(server, _)
            | Self::SetServerWeight(server, _)
            | Self::SetServerAddress(server, _)
            | Self::SetServerCheckPort(server, _)
            | Self::SetServerCheckAddress(server, _)
            | Self::SetServerSsl(server, _)
            | Self::SetServerMaxconn(server, _)
            | Self::AddServer(server, _)
            | Self::SetChecking(server, ..)
            | Self::SetServerHealthy(server)
            | Self::SetServerDown(server)
            | Self::DelServer(server) => Some(server),
            Self::Info
            | Self::Level
            | Self::Sessions
            | Self::ShutdownSession(_)
            | Self::ServersState(_)
            | Self::Stat(_) => None,
        }
    }

    /// Returns whether HAProxy accepts the names in the command. Any other character could end the command and start
    /// another one.
    fn is_well_named(self) -> bool {
        let legal = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
        };
        let session = if let Self::ShutdownSession(session) = self { Some(session) } else { None };
        let server = self.server().map(|id| id.server.as_str()).or(session);
        let plain = |word: &String| !word.is_empty() && word.bytes().all(is_plain);
        let words = if let Self::AddServer(_, words) = self { words } else { &[] };
        self.backend().into_iter().chain(server).all(legal) && words.iter().all(plain)
    }
}

/// Returns whether the runtime API takes the byte literally. drainswap sends none of its quotes and escapes.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:/@,+=*%[]-".contains(&byte)
}

/// The reasons why commands are not sent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unsendable {
    #[error("a name may contain only letters, digits and . _ : -")]
    BadName { command: String },
    #[error("the line would have {length} bytes, and the maximum is {LONGEST_LINE}")]
    TooLong { command: String, length: usize },
}

/// Returns one line that runs the commands in this order, in one process, after [`PLAIN`]: `a;b\n`.
///
/// HAProxy 3.0 and later ignore everything after the first line of a connection, and no version runs a line without its
/// line end.
pub fn line(commands: &[Command<'_>]) -> Result<String, Unsendable> {
    if let Some(command) = commands.iter().find(|command| !command.is_well_named()) {
        return Err(Unsendable::BadName { command: command.to_string() });
    }
    let line = commands.iter().map(Command::to_string).collect::<Vec<_>>().join(";") + "\n";
    if line.len() > LONGEST_LINE {
        let command = commands.first().map(Command::to_string).unwrap_or_default();
        return Err(Unsendable::TooLong { command, length: line.len() });
    }
    Ok(PLAIN.to_owned() + &line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_sent_as_these_bytes() {
        let app1 = ServerId::new("mobile", "app1");
        let words = ["127.0.0.1:80", "check"].map(str::to_owned);
        for (command, bytes) in [
            (Command::Info, "show info\n"),
            (Command::Level, "show cli level\n"),
            (Command::ServersState(None), "show servers state\n"),
            (Command::ServersState(Some("mobile")), "show servers state mobile\n"),
            (Command::Stat(None), "show stat -1 6 -1\n"),
            (Command::Stat(Some("mobile")), "show stat mobile 6 -1\n"),
            (Command::SetServerState(&app1, AdminState::Ready), "set server mobile/app1 state ready\n"),
            (Command::SetServerState(&app1, AdminState::Drain), "set server mobile/app1 state drain\n"),
            (Command::SetServerState(&app1, AdminState::Maint), "set server mobile/app1 state maint\n"),
            (Command::SetServerWeight(&app1, Weight::Percent(70)), "set server mobile/app1 weight 70%\n"),
            (
                Command::SetServerAddress(&app1, "127.0.0.2:80".parse().unwrap()),
                "set server mobile/app1 addr 127.0.0.2 port 80\n",
            ),
            (Command::SetServerCheckPort(&app1, 0), "set server mobile/app1 check-port 0\n"),
            (
                Command::SetServerCheckAddress(&app1, "127.0.0.2".parse().unwrap()),
                "set server mobile/app1 check-addr 127.0.0.2\n",
            ),
            (Command::SetServerSsl(&app1, true), "set server mobile/app1 ssl on\n"),
            (Command::SetServerSsl(&app1, false), "set server mobile/app1 ssl off\n"),
            (Command::AddServer(&app1, &words), "add server mobile/app1 127.0.0.1:80 check\n"),
            (Command::Sessions, "show sess\n"),
            (Command::ShutdownSession("0x7f00"), "shutdown session 0x7f00\n"),
            (Command::SetServerMaxconn(&app1, 30), "set maxconn server mobile/app1 30\n"),
            (Command::SetChecking(&app1, Checker::Health, true), "enable health mobile/app1\n"),
            (Command::SetChecking(&app1, Checker::Agent, false), "disable agent mobile/app1\n"),
            (Command::SetServerHealthy(&app1), "set server mobile/app1 health up\n"),
            (Command::DelServer(&app1), "del server mobile/app1\n"),
        ] {
            assert_eq!(line(&[command]), Ok(format!("set severity-output none;{bytes}")));
        }
    }

    #[test]
    fn several_commands_share_a_line() {
        let commands = [Command::Info, Command::ServersState(Some("b")), Command::Stat(Some("b"))];
        let bytes = "set severity-output none;show info;show servers state b;show stat b 6 -1\n";
        assert_eq!(line(&commands).as_deref(), Ok(bytes));
    }

    #[test]
    fn a_name_cannot_smuggle_a_command() {
        for name in ["", "b;shutdown sessions server b/s", "b\nshow env", "a b", "b\\", "#3", "b/s"] {
            assert!(matches!(line(&[Command::Stat(Some(name))]), Err(Unsendable::BadName { .. })), "{name}");
            let server = ServerId::new("b", name);
            let set = Command::SetServerState(&server, AdminState::Maint);
            assert!(matches!(line(&[set]), Err(Unsendable::BadName { .. })), "{name}");
        }
    }

    #[test]
    fn a_line_has_a_maximum_length() {
        let commands = vec![Command::Stat(Some("mobile")); 1000];
        let command = "show stat mobile 6 -1".to_owned();
        assert_eq!(line(&commands), Err(Unsendable::TooLong { command, length: 22_000 }));
    }
}
