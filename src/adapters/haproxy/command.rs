//! What is said to the runtime API. No other file writes a command.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::ids::ServerId;
use crate::observation::{AdminState, Checker};
use crate::weight::Weight;

/// Stands before the commands of every line. With `severity-output` on its `stats socket` line, `HAProxy` begins each
/// answer with a severity, and this ends that for the connection, at every level (measured on 2.2 to 3.4). It is
/// answered by [`PLAIN_TAKEN`].
pub(super) const PLAIN: &str = "set severity-output none;";

/// The answer to [`PLAIN`].
pub(super) const PLAIN_TAKEN: &str = "\n";

/// The longest line that is sent, in bytes and without [`PLAIN`]. `HAProxy` 2.2 hangs on lines from about 16300 bytes
/// on, and later versions refuse those that do not fit into `tune.bufsize` (16384).
pub(super) const LONGEST_LINE: usize = 8000;

/// One command. It prints as it is sent, without the line's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `show info`: the process and its version.
    Info,
    /// `show cli level`: what this socket may do.
    Level,
    /// `show servers state`, of one backend or of all: addresses, weights and states.
    ServersState(Option<&'a str>),
    /// `show stat`, of one backend or of all: sessions and queues. The mask 6 asks for servers
    /// (4) and for the backend itself (2), -1 for every server.
    Stat(Option<&'a str>),
    /// `show sess`: every session, with the server that it is on.
    Sessions,
    /// `shutdown session`: ends one session, by the name that [`Command::Sessions`] gave it.
    ShutdownSession(&'a str),
    /// `set maxconn server …`.
    SetServerMaxconn(&'a ServerId, u64),
    /// `set server … state`.
    SetServerState(&'a ServerId, AdminState),
    /// `set server … addr … port`.
    SetServerAddress(&'a ServerId, SocketAddr),
    /// `set server … check-port`; 0 for that of the server.
    SetServerCheckPort(&'a ServerId, u16),
    /// `set server … check-addr`, since 2.4; 3.4.7 refuses each (measured).
    SetServerCheckAddress(&'a ServerId, IpAddr),
    /// `set server … ssl`, since 2.4.
    SetServerSsl(&'a ServerId, bool),
    /// `set server … weight`.
    SetServerWeight(&'a ServerId, Weight),
    /// `set server … health up`.
    SetServerHealthy(&'a ServerId),
    /// `set server … health down`. In maint it does nothing (measured on 2.2 to 3.2).
    SetServerDown(&'a ServerId),
    /// `add server`, since 2.6 for everybody: an address and settings; the server starts in maintenance.
    AddServer(&'a ServerId, &'a [String]),
    /// `enable` or `disable`, `health` or `agent`; neither asks an added server before it is enabled.
    SetChecking(&'a ServerId, Checker, bool),
    /// `del server`, of one that is in maintenance and has no connection left.
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
    /// The backend that the command is about, if it is about one.
    #[must_use]
    pub fn backend(self) -> Option<&'a str> {
        if let Self::ServersState(backend) | Self::Stat(backend) = self {
            return backend;
        }
        self.server().map(|server| server.backend.as_str())
    }

    /// Whether it changes something. Such a command keeps its connection until it is answered.
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

    /// The server that the command is about, if it is about one.
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

    /// Whether the names in the command are such as `HAProxy` takes. Any other letter could
    /// end the command and begin another one.
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

/// Whether the runtime API reads the byte as it is. It has quotes and escapes of its own, which need not be tried.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:/@,+=*%[]-".contains(&byte)
}

/// Why commands are not sent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unsendable {
    /// A name in it cannot be a name in haproxy.cfg.
    #[error("a name holds only letters, digits and . _ : -")]
    BadName {
        /// The command.
        command: String,
    },
    /// More than one line can hold.
    #[error("{length} bytes are more than the {LONGEST_LINE} of a line")]
    TooLong {
        /// The first command.
        command: String,
        /// The line's length in bytes.
        length: usize,
    },
}

/// One line that runs the commands in their order, in one process, behind [`PLAIN`]: `a;b\n`.
///
/// `HAProxy` 3.0 and later ignore everything after the first line of a connection, and no
/// version runs a line without its end.
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
    fn commands_are_these_bytes() {
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
    fn a_line_has_a_bound() {
        let commands = vec![Command::Stat(Some("mobile")); 1000];
        let command = "show stat mobile 6 -1".to_owned();
        assert_eq!(line(&commands), Err(Unsendable::TooLong { command, length: 22_000 }));
    }
}
