//! What the runtime API answers. The answers to one line's commands simply follow each other,
//! each with a blank line at its end, so they are read in the order that was asked.

mod tables;

use std::str::FromStr;

use crate::foreign;
use crate::ids::ServerId;
use crate::observation::{Session, SessionKind};

pub use self::tables::{Key, ServerStat, Stat, StateRow};
use self::tables::{Kind, StatColumns, StateColumns};

/// Why an answer is not what was asked for.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReplyError {
    /// `HAProxy` answered in words; it has no error codes.
    #[error("{reply}")]
    Refused {
        /// The words, in one line.
        reply: String,
    },
    /// The answer ends in its middle.
    #[error("it is cut short")]
    CutShort,
    /// A table without a column, or a list without a field.
    #[error("it has no {name}")]
    Missing {
        /// The column or field.
        name: &'static str,
    },
    /// A value that cannot be.
    #[error("its {name} is `{value}`")]
    BadValue {
        /// The column or field.
        name: &'static str,
        /// What stands there.
        value: String,
    },
}

/// Of `show info`: which process answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `Version`.
    pub version: String,
    /// `Pid`.
    pub pid: u32,
    /// `Stopping`: the process was told to end, and a newer one may have taken over.
    pub stopping: bool,
    /// `Nbproc`: as many processes share the work, and each knows only its own sessions and states. From 2.5 on it is 1.
    pub processes: u32,
}

/// The answers to one line, read one after the other.
#[derive(Clone, Debug)]
pub struct Replies<'a> {
    rest: &'a str,
}

impl<'a> Replies<'a> {
    /// The answers of one connection.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The lines up to the next blank one.
    fn block(&mut self) -> Result<&'a str, ReplyError> {
        if let Some(rest) = self.rest.strip_prefix('\n') {
            self.rest = rest;
            return Ok("");
        }
        let (block, rest) = self.rest.split_once("\n\n").ok_or(ReplyError::CutShort)?;
        self.rest = rest;
        Ok(block)
    }

    /// The answer to `set server … state`: success is an empty line, and any text is a refusal.
    pub fn set_server(&mut self) -> Result<(), ReplyError> {
        match self.block()? {
            "" => Ok(()),
            reply => Err(refused(reply)),
        }
    }

    /// The answer to `shutdown session`. One that has ended by itself is what was wanted.
    pub fn ended_session(&mut self) -> Result<(), ReplyError> {
        match self.block()? {
            "" => Ok(()),
            reply if reply.starts_with("No such session") => Ok(()),
            reply => Err(refused(reply)),
        }
    }

    /// The answer to `show cli level`: `admin`, `operator` or `user`.
    pub fn level(&mut self) -> Result<&'a str, ReplyError> {
        match self.block()? {
            level @ ("admin" | "operator" | "user") => Ok(level),
            reply => Err(refused(reply)),
        }
    }

    /// The answer to `show info`.
    pub fn info(&mut self) -> Result<Process, ReplyError> {
        let block = self.block()?;
        if !block.starts_with("Name: ") {
            return Err(refused(block));
        }
        let field = |name| {
            let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
            block.lines().find_map(value).ok_or(ReplyError::Missing { name })
        };
        Ok(Process {
            version: field("Version")?.to_owned(),
            pid: value("Pid", field("Pid")?)?,
            stopping: value::<u32>("Stopping", field("Stopping")?)? != 0,
            processes: field("Nbproc").map_or(Ok(1), |count| value("Nbproc", count))?,
        })
    }

    /// The answer to `show servers state`.
    pub fn servers_state(&mut self) -> Result<Vec<StateRow>, ReplyError> {
        let block = self.block()?;
        // The format's number, the columns' names, the rows.
        let Some((_, table)) = block.split_once("\n# ").filter(|(version, _)| version.parse::<u32>().is_ok())
        else {
            return Err(refused(block));
        };
        let mut lines = table.lines();
        let header: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
        let columns = StateColumns::find(&header)?;
        lines.map(|line| columns.row(&line.split(' ').collect::<Vec<_>>())).collect()
    }

    /// The answer to `show sess`: the server of every session that has one. Each session is a line of words like
    /// `be=mobile srv=app1`.
    pub fn sessions(&mut self) -> Result<Vec<Session>, ReplyError> {
        // The question is a session too, so there is always one.
        self.block()?.lines().map(session).filter_map(Result::transpose).collect()
    }

    /// The answer to `show stat … 6 -1`.
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

    /// One record of comma-separated fields. A field in quotes may hold commas and line ends.
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

/// `None` for a session that is not on a server, like the one that asks.
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

/// `AN_RES_HTTP_XFER_BODY` of `HAProxy`'s `include/haproxy/channel-t.h`: the answer's head is through.
const FORWARDING: u32 = 0x0400_0000;

/// Of `rq[f=1840000h,i=0,an=8000h,ax=]`: `an`.
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
    ReplyError::BadValue { name, value: foreign::line(value) }
}

/// What a process that is being replaced answers to `set server`.
pub const STOPPING: &str = "Proxy is disabled.";

/// Whether a refusal says that there is no such backend. Each command says it in its own words.
#[must_use]
pub fn is_unknown_backend(reply: &str) -> bool {
    matches!(reply, "No such backend." | "Can't find backend." | "No such proxy.")
}

/// Some refusals go on with a page of help; the first line says it.
fn refused(reply: &str) -> ReplyError {
    ReplyError::Refused { reply: foreign::line(reply.lines().next().unwrap_or_default()) }
}

#[cfg(test)]
mod tests;
