//! Changes to many servers in few lines. Each line also reads the new states back, so that the same process applies and
//! reports them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::sleep;

use super::command::{Command, LONGEST_LINE};
use super::past_reload::past_reload;
use super::reply::{self, Replies};
use super::{HaproxySocket, READ_BACK_PAUSE, explain, garbled};
use crate::model::ids::ServerId;
use crate::observation::{AdminBits, AdminState};
use crate::ports::LoadBalancerError;

/// How often a new state is read back until it shows. A reader can see a half-applied state for some microseconds.
const READ_BACKS: u32 = 10;

/// The changes of one line.
pub(super) struct Batch<'a> {
    /// The wanted state of each server.
    states: Vec<(&'a ServerId, AdminState)>,
    changes: Vec<Command<'a>>,
    backends: BTreeSet<&'a str>,
    /// The length of the line, in bytes.
    length: usize,
}

/// A server whose state differs from the wanted one.
pub(super) struct NotApplied<'a> {
    pub server: &'a ServerId,
    pub wanted: AdminState,
    pub found: AdminState,
}

/// Packs the changes of all these servers into as few lines as possible, in their order.
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

impl HaproxySocket {
    /// Applies these changes to servers, until all of them have the wanted state.
    pub(super) async fn set_states<'a>(
        &self,
        states: &'a [(ServerId, AdminState)],
        changes: impl Fn(&'a ServerId, AdminState) -> Vec<Command<'a>>,
    ) -> Result<(), LoadBalancerError> {
        let batches = batches(states, changes);
        for batch in &batches {
            self.set_batch(batch).await?;
        }
        if !batches.is_empty() {
            self.save_states().await;
        }
        Ok(())
    }

    async fn set_batch(&self, batch: &Batch<'_>) -> Result<(), LoadBalancerError> {
        let mut untaken = past_reload(|| self.set_once(batch), is_refused_by_a_stopping_process).await?;
        let mut reads = 1;
        while let Some(NotApplied { server, wanted, found }) = untaken {
            if reads == READ_BACKS {
                let command = Command::SetServerState(server, wanted).to_string();
                return Err(LoadBalancerError::StateNotApplied { command, server: server.clone(), found });
            }
            reads += 1;
            #[expect(
                clippy::disallowed_methods,
                reason = "a bounded read-back of a state that may be half-applied"
            )]
            sleep(READ_BACK_PAUSE).await;
            untaken = batch.first_not_applied(&mut Replies::new(&self.ask(&batch.reads()).await?))?;
        }
        Ok(())
    }

    /// Changes servers and reads their states back with one line, so that the same process does both.
    async fn set_once<'a>(&self, batch: &Batch<'a>) -> Result<Option<NotApplied<'a>>, LoadBalancerError> {
        let answer = self.ask(&[batch.changes(), &batch.reads()].concat()).await?;
        let mut replies = Replies::new(&answer);
        batch.check_accepted(&mut replies)?;
        batch.first_not_applied(&mut replies)
    }
}

/// Returns whether a stopping process refused the command. A disabled backend causes the same answer, permanently.
fn is_refused_by_a_stopping_process<T>(result: &Result<T, LoadBalancerError>) -> bool {
    matches!(result, Err(LoadBalancerError::Refused { reply, .. }) if reply == reply::STOPPING)
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

    /// Returns the commands that change the servers.
    pub fn changes(&self) -> &[Command<'a>] {
        &self.changes
    }

    /// Returns the commands that read the states back.
    pub fn reads(&self) -> Vec<Command<'a>> {
        self.backends.iter().copied().map(read).collect()
    }

    /// Reads the answers to the changes. Fails with the first refusal; HAProxy has still applied the other changes.
    pub fn check_accepted(&self, replies: &mut Replies<'_>) -> Result<(), LoadBalancerError> {
        self.changes
            .iter()
            .try_for_each(|change| replies.set_server().map_err(|error| explain(*change, error)))
    }

    /// Reads the answers to [`Batch::reads`], and returns a server that does not have the wanted state, if there is
    /// one.
    pub fn first_not_applied(
        &self,
        replies: &mut Replies<'_>,
    ) -> Result<Option<NotApplied<'a>>, LoadBalancerError> {
        let mut rows: BTreeMap<ServerId, AdminBits> = BTreeMap::new();
        for read in self.reads() {
            let table = replies.servers_state().map_err(|error| explain(read, error))?;
            rows.extend(table.into_iter().map(|row| (row.id, row.admin)));
        }
        for &(server, wanted) in &self.states {
            let bits = rows.get(server).ok_or_else(|| garbled(read(&server.backend), server))?;
            if bits.state() != wanted && !bits.is_inherited() {
                return Ok(Some(NotApplied { server, wanted, found: bits.state() }));
            }
        }
        Ok(None)
    }
}

fn read(backend: &str) -> Command<'_> {
    Command::ServersState(Some(backend))
}

/// Returns the length of a command and its separator in a line.
fn length(command: Command<'_>) -> usize {
    command.to_string().len() + 1
}
