//! The rules for surge servers: the journal knows of one before it does anything.

use super::*;

impl Judge {
    /// Checks that the journal knows of a server before it is added.
    pub(super) fn joined(&mut self, site: &SimulatedSite, server: &ServerId) {
        if !matches!(self.surge.get(server), Some(SurgeStep::Join { .. } | SurgeStep::Joined)) {
            self.violate(site, format!("{server} was added before the journal knew of it"));
        }
    }

    /// Checks that only servers which the run has added are deleted.
    pub(super) fn deleted(&mut self, site: &SimulatedSite, server: &ServerId) {
        if !self.surge.contains_key(server) {
            self.violate(site, format!("{server} was deleted, and the journal does not know of it"));
        }
    }

    /// Checks the same for the container of a surge server.
    pub(super) fn needs_surge(&mut self, site: &SimulatedSite, place: &ContainerRecord, what: &str) {
        // Taking it back needs no record: a resume does it again.
        let is_known = |step: &SurgeStep| {
            matches!(what, "stopped" | "removed") || !matches!(step, SurgeStep::Leave | SurgeStep::Gone)
        };
        if !self.surge.values().any(is_known) {
            let name = &place.container.name;
            self.violate(site, format!("{name} was {what} before the journal knew of it"));
        }
    }

    /// Checks that a surge server enters service only after its container has answered, and leaves it only where enough
    /// others serve.
    pub(super) fn surge_is_set(
        &mut self,
        site: &SimulatedSite,
        balancer: usize,
        (server, step): (&ServerId, &SurgeStep),
        state: AdminState,
    ) {
        let is_over = matches!(step, SurgeStep::Create | SurgeStep::Created { .. } | SurgeStep::Gone);
        if state == AdminState::Ready && is_over {
            self.violate(site, format!("{server} was set to {state} after {step:?}"));
        }
        if state != AdminState::Ready {
            self.floor(site, balancer, server);
        }
    }
}
