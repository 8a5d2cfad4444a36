//! Adds and removes servers at runtime, without a reload.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::DesiredConfig;
use super::states::{ChangeSource, States, admin_of_line};
use crate::adapters::haproxy::HaproxySocket;
use crate::adapters::http_probe::HttpProber;
use crate::app::error::{ApplyError, Error};
use crate::cfg::{Added, ConfigChange, Version};
use crate::cli::Reloading;
use crate::deploy::single_move::{MoveError, MoveRun};
use crate::deploy::{StopRequest, Tracked};
use crate::model::ids::ServerId;
use crate::observation::{AdminState, LoadBalancerState};
use crate::plan::Policy;
use crate::plan::single_move::{MoveGoal, build};
use crate::ports::{LoadBalancer, LoadBalancerError};
use crate::site::wait::{Waited, until};

/// The first branch in which every HAProxy can add and remove servers at runtime.
pub(super) const SINCE: Version = Version::new(2, 6);

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The longest time for HAProxy to close the connections of a server in maintenance.
const REMOVABLE_WITHIN: Duration = Duration::from_secs(5);

/// Applies a change to a running HAProxy.
pub(super) struct RuntimeUpdater<'a> {
    pub socket: &'a HaproxySocket,
    pub reloading: &'a Reloading,
    /// HAProxy's state before the change.
    pub before: LoadBalancerState,
    pub policy: Policy,
}

impl RuntimeUpdater<'_> {
    /// Returns the server's state before the change, or `None` if it did not exist.
    fn admin_before(&self, server: &ServerId) -> Option<AdminState> {
        self.before.server(server).map(|server| server.admin.own_state())
    }

    /// Drains a server until its last session has ended, with the steps of a single move.
    async fn drain(&self, server: &ServerId) -> Result<(), Error> {
        let before = [self.socket.full_state(&[]).await?];
        // A drain would send persistent clients to a server in maintenance.
        let state = match self.admin_before(server) {
            Some(AdminState::Maint) => AdminState::Maint,
            Some(AdminState::Ready | AdminState::Drain) | None => AdminState::Drain,
        };
        let policy = Policy { drain_timeout: self.reloading.drain_timeout, ..self.policy.clone() };
        let goal = MoveGoal::new(BTreeMap::from([(server.clone(), 0)]), state, policy);
        let goal = MoveGoal { wait: true, ..goal };
        // The new haproxy.cfg decides which servers remain, so no capacity is checked.
        let plan = build(&goal, &[], Vec::new(), &before)?;
        let (all, prober) = ([Tracked::new(self.socket.clone())], HttpProber::new()?);
        let run = MoveRun::new(&plan, &before, &all, &prober, StopRequest::default(), &|_| {});
        match Box::pin(run.run()).await {
            Ok(_moved) => Ok(()),
            Err(MoveError::TimedOut { server, .. }) => {
                Err(ApplyError::NotEmpty { server, limit: self.reloading.drain_timeout }.into())
            }
            // The whole change is undone, so nothing stays uncertain.
            Err(MoveError::Uncertain { failure, .. }) => Err((*failure).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds the new servers, and, once they serve, drains and removes the old ones.
    pub async fn apply(&self, wanted: &DesiredConfig) -> Result<(), Error> {
        let ConfigChange::Servers { added, removed } = &wanted.change else { return Ok(()) };
        for added in added {
            self.socket.add_server(added).await?;
            let state = admin_of_line(added.settings.disabled);
            self.socket.set_admin_states(&[(added.server.clone(), state)]).await?;
        }
        if !removed.is_empty() {
            for added in added.iter().filter(|added| added.settings.check && !added.settings.disabled) {
                self.wait_until_checked(&added.server).await?;
            }
        }
        for server in removed {
            self.drain(server).await?;
            self.remove(server).await?;
        }
        Ok(())
    }

    /// Waits until a new server has passed a check, before an old one is removed: it counts as up before its first
    /// check.
    async fn wait_until_checked(&self, server: &ServerId) -> Result<(), Error> {
        let (never, limit) = (CancellationToken::new(), self.reloading.timeout);
        let checked = until(LOOK_EVERY, limit, &never, async || {
            let seen = self.socket.full_state(std::slice::from_ref(&server.backend)).await?;
            let passed = seen.server(server).is_some_and(|server| server.check.ends_with("OK"));
            Ok::<_, Error>(passed.then_some(()))
        });
        match checked.await? {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut | Waited::Stopped => {
                Err(ApplyError::NewServerNotUp { server: server.clone(), limit }.into())
            }
        }
    }

    async fn remove(&self, server: &ServerId) -> Result<(), Error> {
        self.socket.set_admin_states(&[(server.clone(), AdminState::Maint)]).await?;
        let never = CancellationToken::new();
        let removed = until(LOOK_EVERY, REMOVABLE_WITHIN, &never, async || {
            match self.socket.remove_server(server).await {
                Ok(()) => Ok(Some(())),
                // HAProxy closes pooled connections a moment after maintenance begins.
                Err(LoadBalancerError::Refused { .. }) => Ok(None),
                Err(error) => Err(Error::from(error)),
            }
        });
        match removed.await? {
            Waited::Done(()) => Ok(()),
            // Tries once more, to get the reason.
            Waited::TimedOut | Waited::Stopped => Ok(self.socket.remove_server(server).await?),
        }
    }

    /// Undoes the change: removes the added servers, adds the removed ones behind the others, and restores all states.
    pub async fn undo(&self, wanted: &DesiredConfig, states: &States) -> Result<(), Error> {
        let ConfigChange::Servers { added, .. } = &wanted.change else { return Ok(()) };
        let seen = self.socket.full_state(&[]).await?;
        let is_new = |id: &&ServerId| seen.server(id).is_some() && self.before.server(id).is_none();
        for server in added.iter().map(|added| &added.server).filter(is_new) {
            self.remove(server).await?;
        }
        let missing = ConfigChange::missing(&wanted.new.1, &wanted.old);
        let were_there = missing.iter().filter(|missing| self.before.server(&missing.server).is_some());
        let (emptied, gone): (Vec<&Added>, Vec<&Added>) =
            were_there.partition(|missing| seen.server(&missing.server).is_some());
        self.set_as_before(&emptied).await?;
        for added in &gone {
            self.socket.add_server(added).await?;
        }
        let added_again: BTreeSet<ServerId> = gone.iter().map(|added| added.server.clone()).collect();
        states.reapply(self.socket, &wanted.old.1, ChangeSource::Added(&added_again)).await?.complete()?;
        // An agent may have set a state that the server's line does not have.
        self.set_as_before(&gone).await
    }

    async fn set_as_before(&self, servers: &[&Added]) -> Result<(), Error> {
        let state = |it: &&Added| Some((it.server.clone(), self.admin_before(&it.server)?));
        Ok(self.socket.set_admin_states(&servers.iter().filter_map(state).collect::<Vec<_>>()).await?)
    }
}
