//! Parses the answers of the runtime API.
//!
//! The answers to the commands of one line follow each other, each with a blank line at its end, so they are read in
//! the order of the commands.

mod tables;

use std::str::FromStr;

use crate::model::ids::ServerId;
use crate::model::sanitize;
use crate::observation::{Session, SessionKind};

pub use self::tables::{Key, ServerStat, Stat, StateRow};
use self::tables::{Kind, StatColumns, StateColumns};

/// The reasons why an answer is not the expected one.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReplyError {
    /// HAProxy answered with a message; it has no error codes.
    #[error("{reply}")]
    Refused {
        /// The first line of the message.
        reply: String,
    },
    #[error("it is cut short")]
    CutShort,
    #[error("it has no {name}")]
    Missing {
        /// The column or field.
        name: &'static str,
    },
    #[error("its {name} is `{value}`")]
    BadValue {
        /// The column or field.
        name: &'static str,
        value: String,
    },
}

/// The process that answered `show info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    pub version: String,
    pub pid: u32,
    /// `Stopping`: the process is exiting, and a newer one may have taken over.
    pub stopping: bool,
    /// `Nbproc`: so many processes share the work, and each knows only its own sessions and states. Always 1 since 2.5.
    pub processes: u32,
}

/// The answers to one line, read one after the other.
#[derive(Clone, Debug)]
pub struct Replies<'a> {
    rest: &'a str,
}

impl<'a> Replies<'a> {
    /// Starts with the first answer of a connection.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// Returns the lines up to the next blank one.
    fn block(&mut self) -> Result<&'a str, ReplyError> {
        if let Some(rest) = self.rest.strip_prefix('\n') {
            self.rest = rest;
            return Ok("");
        }
        let (block, rest) = self.rest.split_once("\n\n").ok_or(ReplyError::CutShort)?;
        self.rest = rest;
        Ok(block)
    }

    /// Reads the answer to `set server … state`: an empty line on success, any text is a refusal.
    pub fn set_server(&mut self) -> Result<(), ReplyError> {
        match self.block()? {
            "" => Ok(()),
            reply => Err(refused(reply)),
        }
    }

    /// Reads the answer to `shutdown session`. Succeeds if the session has already ended.
    pub fn ended_session(&mut self) -> Result<(), ReplyError> {
        match self.block()? {
            "" => Ok(()),
            reply if reply.starts_with("No such session") => Ok(()),
            reply => Err(refused(reply)),
        }
    }

    /// Reads the answer to `show cli level`: `admin`, `operator` or `user`.
    pub fn level(&mut self) -> Result<&'a str, ReplyError> {
        match self.block()? {
            level @ ("admin" | "operator" | "user") => Ok(level),
            reply => Err(refused(reply)),
        }
    }

    /// Reads the answer to `show info`.
    pub fn info(&mut self) -> Result<ProcessInfo, ReplyError> {
        let block = self.block()?;
        if !block.starts_with("Name: ") {
            return Err(refused(block));
        }
        let field = |name| {
            let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
            block.lines().find_map(value).ok_or(ReplyError::Missing { name })
        };
        Ok(ProcessInfo {
            version: field("Version")?.to_owned(),
            pid: value("Pid", field("Pid")?)?,
            stopping: value::<u32>("Stopping", field("Stopping")?)? != 0,
            processes: field("Nbproc").map_or(Ok(1), |count| value("Nbproc", count))?,
        })
    }

    /// Reads the answer to `show servers state`.
    pub fn servers_state(&mut self) -> Result<Vec<StateRow>, ReplyError> {
        let block = self.block()?;
        // The format version, the column names, then the rows.
        let Some((_, table)) = block.split_once("\n# ").filter(|(version, _)| version.parse::<u32>().is_ok())
        else {
            return Err(refused(block));
        };
        let mut lines = table.lines();
        let header: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
        let columns = StateColumns::find(&header)?;
        lines.map(|line| columns.row(&line.split(' ').collect::<Vec<_>>())).collect()
    }

    /// Reads the answer to `show sess`: every session that has a server. Each session is a line of words like
    /// `be=mobile srv=app1`.
    pub fn sessions(&mut self) -> Result<Vec<Session>, ReplyError> {
        // The asking connection is a session too, so the answer is never empty.
        self.block()?.lines().map(session).filter_map(Result::transpose).collect()
    }

    /// Reads the answer to `show stat … 6 -1`.
    pub fn stat(&mut self) -> Result<Stat, ReplyError> {
        let Some(table) = self.rest.strip_prefix("# ") else {
            return Err(refused(self.block()?));
        };
        self.rest = table;
        let columns = StatColumns::find(&self.record()?)?;
        let mut stat = Stat::default();
        loop {
            let fields = self.record()?;
            if fields == [""] {
                return Ok(stat);
            }
            match columns.kind(&fields)? {
                Kind::Backend => {
                    let (backend, queued) = columns.queue(&fields)?;
                    if columns.is_unpublished(&fields)? {
                        stat.unpublished.insert(backend.clone());
                    }
                    stat.queued.entry(backend).or_insert(queued);
                }
                Kind::Server => {
                    let (key, server) = columns.server(&fields)?;
                    stat.servers.insert(key, server);
                }
                Kind::Other => {}
            }
        }
    }

    /// Reads one record of comma-separated fields. A quoted field may contain commas and line ends.
    fn record(&mut self) -> Result<Vec<&'a str>, ReplyError> {
        let text = self.rest;
        let (mut fields, mut start, mut quoted) = (Vec::with_capacity(128), 0, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b',' | b'\n' if !quoted => {
                    fields.push(text.get(start..at).unwrap_or_default());
                    start = at + 1;
                    if byte == b'\n' {
                        self.rest = text.get(start..).unwrap_or_default();
                        return Ok(fields);
                    }
                }
                _ => {}
            }
        }
        Err(ReplyError::CutShort)
    }
}

/// Parses one session. Returns `None` for a session without a server, such as the asking connection.
fn session(line: &str) -> Result<Option<Session>, ReplyError> {
    let (id, rest) =
        line.split_once(": ").filter(|(id, _)| id.starts_with("0x")).ok_or_else(|| refused(line))?;
    let field = |name: &'static str| {
        let value = |word: &str| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        rest.split(' ').find_map(value).ok_or(ReplyError::Missing { name })
    };
    let (backend, server) = (field("be")?, field("srv")?);
    if backend.starts_with('<') || server.starts_with('<') {
        return Ok(None);
    }
    let kind = match (analysers(rest, "rq")?, analysers(rest, "rp")?) {
        (0, 0) => SessionKind::Tunnel,
        (_, response) if response & FORWARDING != 0 => SessionKind::Answering,
        (_, _) => SessionKind::Waiting,
    };
    Ok(Some(Session {
        id: id.to_owned(),
        worker: None,
        server: ServerId::new(backend, server),
        address: None,
        kind,
    }))
}

/// `AN_RES_HTTP_XFER_BODY` in HAProxy's `include/haproxy/channel-t.h`: the response headers have been sent.
const FORWARDING: u32 = 0x0400_0000;

/// Returns `an` from a text such as `rq[f=1840000h,i=0,an=8000h,ax=]`.
fn analysers(line: &str, name: &'static str) -> Result<u32, ReplyError> {
    let missing = ReplyError::Missing { name };
    let (_, rest) = line.split_once(&format!(" {name}[")).ok_or_else(|| missing.clone())?;
    let (inner, _) = rest.split_once(']').ok_or_else(|| missing.clone())?;
    let digits =
        inner.split(',').find_map(|part| part.strip_prefix("an=")?.strip_suffix('h')).ok_or(missing)?;
    u32::from_str_radix(digits, 16).map_err(|_| bad(name, digits))
}

fn value<T: FromStr>(name: &'static str, text: &str) -> Result<T, ReplyError> {
    text.parse().map_err(|_| bad(name, text))
}

fn bad(name: &'static str, value: &str) -> ReplyError {
    ReplyError::BadValue { name, value: sanitize::line(value) }
}

/// The answer of a process that is being replaced to `set server`.
pub const STOPPING: &str = "Proxy is disabled.";

/// Returns whether a refusal means that the backend does not exist. Each command words it differently.
#[must_use]
pub fn is_unknown_backend(reply: &str) -> bool {
    matches!(reply, "No such backend." | "Can't find backend." | "No such proxy.")
}

/// Returns the refusal for a message. Some messages continue with a page of help, so only the first line is kept.
fn refused(reply: &str) -> ReplyError {
    ReplyError::Refused { reply: sanitize::line(reply.lines().next().unwrap_or_default()) }
}

#[cfg(test)]
mod tests;
