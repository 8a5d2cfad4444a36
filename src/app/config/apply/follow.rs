//! Servers that come and go while HAProxy runs, without a reload.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Wanted;
use crate::adapters::haproxy::HaproxySocket;
use crate::cfg::{Change, Version};
use crate::cli::ReloadFlags;
use crate::deploy::wait::{Waited, until};
use crate::error::Error;
use crate::ids::ServerId;
use crate::observation::AdminState;
use crate::ports::{LoadBalancer, LoadBalancerError};
use crate::settings::Settings;

/// Since this branch every HAProxy adds and removes servers.
pub(super) const SINCE: Version = Version::new(2, 6);

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// So long HAProxy may take to close what a server in maintenance still has open.
const REMOVABLE_WITHIN: Duration = Duration::from_secs(5);

/// Has a running HAProxy follow a change.
pub(super) struct Follower<'a> {
    pub socket: &'a HaproxySocket,
    pub settings: &'a Settings,
    pub flags: &'a ReloadFlags,
}

impl Follower<'_> {
    /// Drains the servers that go; one whose sessions do not end stays, and the others with it.
    pub async fn empty(&self, removed: &[ServerId]) -> Result<(), Error> {
        for (index, server) in removed.iter().enumerate() {
            if let Err(error) = self.empty_one(server).await {
                for emptied in &removed[..=index] {
                    self.socket.set_admin_state(emptied, AdminState::Ready).await?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn empty_one(&self, server: &ServerId) -> Result<(), Error> {
        self.socket.set_admin_state(server, AdminState::Drain).await?;
        let limit = self.settings.drain_timeout(self.flags.drain_timeout);
        let mut before = None;
        let never = CancellationToken::new();
        let emptied = until(LOOK_EVERY, limit, &never, async || {
            let seen = self.socket.look(std::slice::from_ref(&server.backend)).await?;
            let now = seen.server(server).map(|server| (server.sessions, server.sessions_total));
            // A request may still be on its way to the server, so zero must hold.
            let holds = now.is_some_and(|(sessions, _)| sessions == 0) && now == before;
            before = now;
            Ok::<_, Error>(holds.then_some(()))
        });
        match emptied.await? {
            Waited::Done(()) => Ok(()),
            Waited::TimedOut | Waited::Stopped => {
                Err(Error::NotEmpty { server: server.clone(), seconds: limit.as_secs() })
            }
        }
    }

    /// What the change says happens: servers are added, and those that were emptied go.
    pub async fn follow(&self, wanted: &Wanted) -> Result<(), Error> {
        let Change::Servers { added, removed } = wanted.change() else { return Ok(()) };
        for server in &added {
            self.socket.add_server(&server.server, &server.words).await?;
        }
        for server in &removed {
            self.remove(server).await?;
        }
        Ok(())
    }

    async fn remove(&self, server: &ServerId) -> Result<(), Error> {
        self.socket.set_admin_state(server, AdminState::Maint).await?;
        let never = CancellationToken::new();
        let removed = until(LOOK_EVERY, REMOVABLE_WITHIN, &never, async || {
            match self.socket.remove_server(server).await {
                Ok(()) => Ok(Some(())),
                // Pooled connections are closed a moment after the maintenance began.
                Err(LoadBalancerError::Refused { .. }) => Ok(None),
                Err(error) => Err(Error::from(error)),
            }
        });
        match removed.await? {
            Waited::Done(()) => Ok(()),
            // Once more, for its reason.
            Waited::TimedOut | Waited::Stopped => Ok(self.socket.remove_server(server).await?),
        }
    }

    /// The servers are again what they were: those that came go, those that were emptied are ready.
    pub async fn undo(&self, wanted: &Wanted) -> Result<(), Error> {
        let Change::Servers { added, removed } = wanted.change() else { return Ok(()) };
        let seen = self.socket.look(&[]).await?;
        for server in added.iter().map(|added| &added.server).filter(|id| seen.server(id).is_some()) {
            self.remove(server).await?;
        }
        for server in &removed {
            self.socket.set_admin_state(server, AdminState::Ready).await?;
        }
        Ok(())
    }
}
