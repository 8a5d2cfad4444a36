//! Servers that are set together: few lines for many servers, each of which also reads back what it has set, so that one
//! process takes it and tells of it.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{Command, LONGEST_LINE};
use super::reply::Replies;
use super::{explain, garbled};
use crate::ids::ServerId;
use crate::observation::{AdminBits, AdminState};
use crate::ports::LoadBalancerError;

/// The servers that one line sets.
pub(super) struct Batch<'a> {
    /// Each with the state that it is to have.
    states: Vec<(&'a ServerId, AdminState)>,
    changes: Vec<Command<'a>>,
    backends: BTreeSet<&'a str>,
    /// The line's length in bytes.
    length: usize,
}

/// A server that has another state than the one that was set.
pub(super) struct Untaken<'a> {
    pub server: &'a ServerId,
    pub wanted: AdminState,
    pub found: AdminState,
}

/// As few lines as hold the changes of all these servers, in their order.
pub(super) fn batches<'a>(
    states: &'a [(ServerId, AdminState)],
    changes: impl Fn(&'a ServerId, AdminState) -> Vec<Command<'a>>,
) -> Vec<Batch<'a>> {
    let mut batches: Vec<Batch<'a>> = Vec::new();
    for (server, state) in states {
        let one = Batch::of(server, *state, changes(server, *state));
        match batches.last_mut().filter(|last| last.has_room_for(&one)) {
            Some(last) => last.take(one),
            None => batches.push(one),
        }
    }
    batches
}

impl<'a> Batch<'a> {
    fn of(server: &'a ServerId, state: AdminState, changes: Vec<Command<'a>>) -> Self {
        let length = changes.iter().copied().map(length).sum::<usize>() + length(read(&server.backend));
        let backends = BTreeSet::from([server.backend.as_str()]);
        Self { states: vec![(server, state)], changes, backends, length }
    }

    fn has_room_for(&self, other: &Self) -> bool {
        self.length + other.length <= LONGEST_LINE
    }

    fn take(&mut self, other: Self) {
        let known: usize = other.backends.intersection(&self.backends).copied().map(read).map(length).sum();
        self.length += other.length - known;
        self.states.extend(other.states);
        self.changes.extend(other.changes);
        self.backends.extend(other.backends);
    }

    /// What changes the servers.
    pub fn changes(&self) -> &[Command<'a>] {
        &self.changes
    }

    /// What reads them back.
    pub fn reads(&self) -> Vec<Command<'a>> {
        self.backends.iter().copied().map(read).collect()
    }

    /// The answers to the changes: the first refusal, if there is one. `HAProxy` has made the other changes all the same.
    pub fn taken(&self, replies: &mut Replies<'_>) -> Result<(), LoadBalancerError> {
        self.changes
            .iter()
            .try_for_each(|change| replies.set_server().map_err(|error| explain(*change, error)))
    }

    /// The answers to [`Batch::reads`]: a server that has another state than the wanted one, if there is one.
    pub fn untaken(&self, replies: &mut Replies<'_>) -> Result<Option<Untaken<'a>>, LoadBalancerError> {
        let mut rows: BTreeMap<ServerId, AdminBits> = BTreeMap::new();
        for read in self.reads() {
            let table = replies.servers_state().map_err(|error| explain(read, error))?;
            rows.extend(table.into_iter().map(|row| (row.id, row.admin)));
        }
        for &(server, wanted) in &self.states {
            let bits = rows.get(server).ok_or_else(|| garbled(read(&server.backend), server))?;
            if bits.state() != wanted && !bits.is_inherited() {
                return Ok(Some(Untaken { server, wanted, found: bits.state() }));
            }
        }
        Ok(None)
    }
}

fn read(backend: &str) -> Command<'_> {
    Command::ServersState(Some(backend))
}

/// The length of a command in a line, with what separates it from the next one.
fn length(command: Command<'_>) -> usize {
    command.to_string().len() + 1
}
