//! The tables `show servers state` and `show stat`, and the columns that drainswap reads.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::{ReplyError, bad, value};
use crate::model::ids::ServerId;
use crate::observation::{AdminBits, Checks, Operational, RunningSettings};

/// A server's numeric IDs: the backend's and its own. Before HAProxy 3.2 a listen section and a backend may share a
/// name, but never an ID.
pub type Key = (u32, u32);

/// A row of `show servers state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// `be_id` and `srv_id`.
    pub key: Key,
    /// `be_name` and `srv_name`.
    pub id: ServerId,
    /// `srv_addr` and `srv_port`; `None` without an address (`-`) or without a port (0: a Unix socket, or a server that
    /// uses its client's port).
    pub address: Option<SocketAddr>,
    /// `srv_admin_state`, a bit mask in decimal.
    pub admin: AdminBits,
    /// `srv_op_state`.
    pub operational: Operational,
    /// `srv_uweight`: the configured or last set weight, without the effect of a slow start.
    pub weight: u32,
    /// `srv_iweight`.
    pub initial_weight: u32,
    /// `srv_use_ssl`, `srv_check_port` and `srv_check_addr`, since 2.4.
    pub settings: Option<RunningSettings>,
    /// `srv_check_state` and `srv_agent_state`.
    pub checks: Checks,
}

/// The answer to `show stat` with the mask 6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub servers: HashMap<Key, ServerStat>,
    /// `qcur` of each backend.
    pub queued: BTreeMap<String, u64>,
    /// The backends with `UNPUB` in their `status`.
    pub unpublished: BTreeSet<String>,
}

/// A server of `show stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStat {
    /// `status`.
    pub status: String,
    /// `check_status`, without the `* ` that marks a check in progress.
    pub check: String,
    /// `scur`.
    pub sessions: u64,
    /// `stot`.
    pub sessions_total: u64,
    /// `slim`; empty without a limit.
    pub limit: Option<u64>,
}

/// The kind of a row of `show stat`, from its column `type`. A server may be named `BACKEND`, so its name does not
/// tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Backend,
    Server,
    /// A frontend or a listener.
    Other,
}

/// A column of a table, found by its name because positions differ between versions.
#[derive(Clone, Copy, Debug)]
struct Column {
    name: &'static str,
    index: usize,
}

impl Column {
    fn find(header: &[&str], name: &'static str) -> Result<Self, ReplyError> {
        let index = header.iter().position(|column| *column == name).ok_or(ReplyError::Missing { name })?;
        Ok(Self { name, index })
    }

    fn of<'a>(self, fields: &[&'a str]) -> Result<&'a str, ReplyError> {
        fields.get(self.index).copied().ok_or(ReplyError::Missing { name: self.name })
    }

    fn number<T: FromStr>(self, fields: &[&str]) -> Result<T, ReplyError> {
        value(self.name, self.of(fields)?)
    }

    /// Reads a current count. HAProxy counts in 32 bits, so a sum in 64 bits cannot overflow.
    fn count(self, fields: &[&str]) -> Result<u64, ReplyError> {
        self.number::<u32>(fields).map(u64::from)
    }
}

/// The positions of the columns of `show servers state`.
pub struct StateColumns {
    be_id: Column,
    be_name: Column,
    srv_id: Column,
    srv_name: Column,
    addr: Column,
    port: Column,
    admin: Column,
    operational: Column,
    weight: Column,
    initial_weight: Column,
    check: Column,
    agent: Column,
    settings: Option<SettingsColumns>,
}

/// The columns that HAProxy has since 2.4.
struct SettingsColumns {
    ssl: Column,
    check_port: Column,
    check_address: Column,
}

impl SettingsColumns {
    fn find(header: &[&str]) -> Result<Self, ReplyError> {
        Ok(Self {
            ssl: Column::find(header, "srv_use_ssl")?,
            check_port: Column::find(header, "srv_check_port")?,
            check_address: Column::find(header, "srv_check_addr")?,
        })
    }

    fn read(&self, fields: &[&str]) -> Result<RunningSettings, ReplyError> {
        Ok(RunningSettings {
            // `no-ssl` on the line is -1.
            ssl: self.ssl.of(fields)? == "1",
            check_port: Some(self.check_port.number(fields)?).filter(|port| *port != 0),
            check_address: match self.check_address.of(fields)? {
                "-" => None,
                _ => Some(self.check_address.number::<IpAddr>(fields)?.to_canonical()),
            },
        })
    }
}

impl StateColumns {
    /// Finds the columns in the table's header.
    pub fn find(header: &[&str]) -> Result<Self, ReplyError> {
        let find = |name| Column::find(header, name);
        Ok(Self {
            be_id: find("be_id")?,
            be_name: find("be_name")?,
            srv_id: find("srv_id")?,
            srv_name: find("srv_name")?,
            addr: find("srv_addr")?,
            port: find("srv_port")?,
            admin: find("srv_admin_state")?,
            operational: find("srv_op_state")?,
            weight: find("srv_uweight")?,
            initial_weight: find("srv_iweight")?,
            check: find("srv_check_state")?,
            agent: find("srv_agent_state")?,
            settings: SettingsColumns::find(header).ok(),
        })
    }

    /// Reads a row.
    pub fn row(&self, fields: &[&str]) -> Result<StateRow, ReplyError> {
        let port: u16 = self.port.number(fields)?;
        let address = match self.addr.of(fields)? {
            "-" => None,
            _ if port == 0 => None,
            // Use 10.0.0.1 for `::ffff:10.0.0.1`: no other source writes the address in this form.
            _ => Some(SocketAddr::new(self.addr.number::<IpAddr>(fields)?.to_canonical(), port)),
        };
        let operational = match self.operational.of(fields)? {
            "0" => Operational::Stopped,
            "1" => Operational::Starting,
            "2" => Operational::Running,
            "3" => Operational::Stopping,
            other => return Err(bad(self.operational.name, other)),
        };
        Ok(StateRow {
            key: (self.be_id.number(fields)?, self.srv_id.number(fields)?),
            id: ServerId::new(self.be_name.of(fields)?, self.srv_name.of(fields)?),
            address,
            admin: AdminBits(self.admin.number(fields)?),
            operational,
            weight: self.weight.number(fields)?,
            initial_weight: self.initial_weight.number(fields)?,
            settings: self.settings.as_ref().map(|columns| columns.read(fields)).transpose()?,
            checks: Checks::of_bits(self.check.number(fields)?, self.agent.number(fields)?),
        })
    }
}

/// The positions of the columns of `show stat`.
pub struct StatColumns {
    proxy: Column,
    kind: Column,
    iid: Column,
    sid: Column,
    queued: Column,
    status: Column,
    check: Column,
    sessions: Column,
    sessions_total: Column,
    limit: Column,
}

impl StatColumns {
    /// Finds the columns in the table's header.
    pub fn find(header: &[&str]) -> Result<Self, ReplyError> {
        let find = |name| Column::find(header, name);
        Ok(Self {
            proxy: find("pxname")?,
            kind: find("type")?,
            iid: find("iid")?,
            sid: find("sid")?,
            queued: find("qcur")?,
            status: find("status")?,
            check: find("check_status")?,
            sessions: find("scur")?,
            sessions_total: find("stot")?,
            limit: find("slim")?,
        })
    }

    /// Returns the kind of a row.
    pub fn kind(&self, fields: &[&str]) -> Result<Kind, ReplyError> {
        Ok(match self.kind.of(fields)? {
            "1" => Kind::Backend,
            "2" => Kind::Server,
            _ => Kind::Other,
        })
    }

    /// Reads a backend's row: its name and the number of queued requests.
    pub fn queue(&self, fields: &[&str]) -> Result<(String, u64), ReplyError> {
        Ok((self.proxy.of(fields)?.to_owned(), self.queued.count(fields)?))
    }

    /// Returns whether `unpublish backend` took the backend of this row out of content switching: `UP (UNPUB)`, since
    /// 3.4.
    pub fn is_unpublished(&self, fields: &[&str]) -> Result<bool, ReplyError> {
        Ok(self.status.of(fields)?.contains("UNPUB"))
    }

    /// Reads a server's row.
    pub fn server(&self, fields: &[&str]) -> Result<(Key, ServerStat), ReplyError> {
        let check = unquoted(self.check.of(fields)?);
        let server = ServerStat {
            status: unquoted(self.status.of(fields)?).into_owned(),
            check: check.strip_prefix("* ").unwrap_or(&check).to_owned(),
            sessions: self.sessions.count(fields)?,
            sessions_total: self.sessions_total.number(fields)?,
            limit: match self.limit.of(fields)? {
                "" => None,
                _ => Some(self.limit.count(fields)?),
            },
        };
        Ok(((self.iid.number(fields)?, self.sid.number(fields)?), server))
    }
}

fn unquoted(field: &str) -> Cow<'_, str> {
    match field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\"").into(),
        None => field.into(),
    }
}
