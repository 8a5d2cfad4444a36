//! The rules that must hold when a run has ended: everything serves, or the outcome says what does not.

use super::*;

/// The maximum time in ms until a run stops on request, if the engine answers. CI systems kill soon afterwards.
const STOPS_WITHIN: u64 = 7_000;

/// The maximum time in ms for which a queue may be stuck.
const WOKEN_WITHIN: u64 = 150;

impl Judge {
    /// Checks that every server serves, or that the outcome describes it correctly.
    pub fn at_the_end(&mut self, site: &SimulatedSite) {
        self.notice(site);
        if let (Some(at), Some(Outcome::Cancelled { .. })) = (self.stop_asked, &self.outcome)
            && self.case.faults.len() == 1
            && let Some(ended) = site.ended_at
            && ended > at + STOPS_WITHIN
        {
            self.violate(site, format!("asked to stop at {at} ms, it ended at {ended} ms only"));
        }
        let watches = |fault: Fault| matches!(fault, Fault::Slow | Fault::ClockJump(_) | Fault::DiskFull(_));
        if site.longest_stall > WOKEN_WITHIN && self.case.faults.iter().all(|(_, fault)| watches(*fault)) {
            self.violate(site, format!("a queue stood still for {} ms", site.longest_stall));
        }
        self.addresses_at_the_end(site);
        for place in &site.engine.containers {
            self.container_at_the_end(site, place);
        }
        self.surge_at_the_end(site);
        let has_succeeded =
            matches!(self.outcome, Some(Outcome::Deployed { .. } | Outcome::Unchanged { .. }));
        if self.is_to_succeed() && !has_succeeded && self.outcome.is_some() {
            self.violate(site, format!("it ended otherwise than well: {:?}", self.outcome));
        }
        if let Some(Outcome::Stuck { reason, .. }) = self.outcome.clone()
            && !self.may_get_stuck()
        {
            self.violate(site, format!("it got stuck, and undo was possible: {reason}"));
        }
    }

    /// Checks a resumed run that is stuck again: this is only allowed if no usable container is left or a foreign one
    /// blocks it.
    pub fn stuck_again(&mut self, outcome: &Outcome) {
        let has_nothing_to_return = self.case.scenario.request() == Request::DeployOrUndo
            && self.is_excused(|fault| {
                // Beside a surge server, the other container is the old one.
                fault == Fault::OldRemoved || fault == Fault::OtherRemoved && !self.surge.is_empty()
            });
        // A surge server stays while it is all that serves.
        let is_needed = !self.surge.is_empty() && self.is_excused(ends_containers);
        if !self.is_in_the_way() && !is_needed && !has_nothing_to_return && self.case.scenario.new_is_good() {
            self.violations.push(format!("a run that was resumed is stuck again: {outcome}"));
        }
    }

    /// Checks that the outcome is still correct.
    pub fn a_minute_later(&mut self, site: &SimulatedSite) {
        let before = self.violations.len();
        self.addresses_at_the_end(site);
        for place in &site.engine.containers {
            self.container_at_the_end(site, place);
        }
        for later in &mut self.violations[before..] {
            later.push_str(", a minute later");
        }
    }

    /// Checks the outcome of a run that could not be recorded, before it is resumed.
    pub fn left_open(&mut self, site: &SimulatedSite, outcome: &Outcome) {
        if self.case.faults.len() > 1 {
            return;
        }
        self.outcome = Some(outcome.clone());
        self.addresses_at_the_end(site);
        self.outcome = None;
    }

    /// Checks that a plan after a success is empty, unless another process has changed the site since.
    pub fn planned_again(&mut self, plan: Option<&Plan>) {
        let is_whole = match &self.outcome {
            Some(Outcome::Deployed { skipped, .. }) => skipped.is_empty(),
            Some(Outcome::Unchanged { .. }) => true,
            _ => false,
        };
        if is_whole
            && self.case.scenario.new_is_good()
            && !self.is_excused(|fault| meddles(fault) || matches!(fault, Fault::Away(_)))
            && plan.is_none_or(|it| !it.is_empty())
        {
            self.violations.push("a plan after the success has something to do".to_owned());
        }
    }

    fn addresses_at_the_end(&mut self, site: &SimulatedSite) {
        let addresses: BTreeSet<SocketAddr> = self.addresses.values().copied().collect();
        for address in addresses {
            self.address_at_the_end(site, address);
        }
    }

    /// Checks that no surge server is left in a load balancer.
    fn surge_at_the_end(&mut self, site: &SimulatedSite) {
        let workers = site.haproxies.iter().filter_map(|haproxy| haproxy.worker.as_ref());
        let left = workers.flat_map(|worker| &worker.lines).map(|line| line.id.clone());
        let left: Vec<ServerId> = left.filter(|id| self.surge.contains_key(id)).collect();
        let is_stuck = matches!(self.outcome, Some(Outcome::Stuck { .. }));
        if let (Some(server), false) = (left.first(), is_stuck || self.is_unseen()) {
            self.violate(site, format!("at the end there is still {server}"));
        }
    }

    /// Returns whether the deploy must succeed: without faults, or with one fault that it can survive.
    fn is_to_succeed(&self) -> bool {
        // A slow call may exceed a short limit.
        let is_hurried = self.case.scenario.policy().on_drain_timeout != OnDrainTimeout::Fail;
        let goes_on = |fault: Fault| {
            let slow = fault == Fault::Slow && !is_hurried;
            let restarted =
                matches!(fault, Fault::Reload | Fault::HaproxyRestart) && self.case.scenario.has_master();
            let is_taken_back = self.case.scenario.request() == Request::DeployOrUndo;
            slow || restarted && !is_hurried
                || fault.kills() && !is_taken_back
                || matches!(fault, Fault::ClockJump(_) | Fault::LateCheck)
        };
        let comes_to_its_end = || sites().iter().any(|site| site.name == self.case.scenario.name);
        let is_disturbed = match self.case.faults.len() {
            0 => !comes_to_its_end(),
            1 => !self.is_excused(goes_on),
            _ => true,
        };
        self.case.scenario.new_is_good() && !is_disturbed
    }

    /// Returns whether the undo may be impossible: the engine or `HAProxy` is away or refuses permanently, or another
    /// process removes a container.
    fn may_get_stuck(&self) -> bool {
        let refuses = |fault| matches!(fault, Fault::Away(40_000) | Fault::Refused | Fault::Hangs);
        self.is_unanswered
            || self.is_excused(|fault| {
                refuses(fault)
                    || takes_the_place(fault)
                    || ends_containers(fault)
                    || fault == Fault::HaproxyRestart
            })
    }

    fn address_at_the_end(&mut self, site: &SimulatedSite, address: SocketAddr) {
        let runs: Vec<&ContainerRecord> = site
            .engine
            .containers
            .iter()
            .filter(|it| it.address() == Some(address) && is_running(it))
            .collect();
        let is_by_others = self.is_excused(|fault| ends_containers(fault) || takes_the_place(fault));
        let dies_again = !self.case.scenario.new_is_good() && runs.iter().any(|it| is_new(it));
        let is_as_before = self.addresses.iter().any(|(id, at)| *at == address && self.may_be_out(id));
        if !site.serves(address) && !is_by_others && !dies_again && !is_as_before {
            return self.violate(site, format!("at the end, no container answers at {address}"));
        }
        let expected = self.expected(address);
        if let ([place], Some(new)) = (&runs[..], expected)
            && self.is_replaced(place) != new
            && !is_by_others
        {
            let name = &place.container.name;
            self.violate(
                site,
                format!("at the end {name} is {}", if new { "not replaced" } else { "replaced" }),
            );
        }
        for haproxy in &site.haproxies {
            for line in
                haproxy.worker.iter().flat_map(|worker| &worker.lines).filter(|line| line.address == address)
            {
                self.line_at_the_end(site, line, &haproxy.name);
            }
        }
    }

    /// Returns whether a container is not the one that the run was to replace, but has the new image. An old container
    /// that did not answer may have that image too, so its ID decides.
    fn is_replaced(&self, place: &ContainerRecord) -> bool {
        let lane =
            self.plan.as_ref().zip(self.lane_at(place.address())).map(|(plan, lane)| &plan.lanes[lane]);
        let old = lane.and_then(|lane| lane.replacement.as_ref()).and_then(|it| it.old.as_ref());
        is_new(place) && old.is_none_or(|old| old.id != place.container.id)
    }

    /// Returns whether a server did not serve before the run and was not reached by it.
    fn may_be_out(&self, id: &ServerId) -> bool {
        let has_succeeded =
            matches!(self.outcome, Some(Outcome::Deployed { .. } | Outcome::Unchanged { .. }));
        self.out_before.contains(id) && (is_forgotten(id) || is_left(id) || !has_succeeded)
    }

    fn line_at_the_end(&mut self, site: &SimulatedSite, line: &ServerLine, name: &str) {
        let is_left_out = match &self.outcome {
            Some(Outcome::RolledBack { left_out, .. } | Outcome::Cancelled { left_out, .. }) => {
                left_out.contains(&line.id)
            }
            _ => false,
        };
        let was_told = self
            .warnings
            .iter()
            .any(|it| it.contains(name) && it.contains("did not answer before the run ended"));
        if line.agent.is_some_and(|agent| !agent.is_on) && !was_told && !self.is_in_the_way() {
            self.violate(site, format!("at the end the agent of {} is off", line.id));
        }
        let may_be_out = self.may_be_out(&line.id) && !is_forgotten(&line.id);
        let is_kept_out = self.kept_out.contains(&line.id);
        let forgets = |fault| sets_states(fault) || matches!(fault, Fault::Reload | Fault::HaproxyRestart);
        if is_kept_out && line.admin.state() == AdminState::Ready && !self.is_excused(forgets) {
            self.violate(site, format!("at the end {} is in service, and was taken out by hand", line.id));
        }
        let is_in = line.admin.state() == AdminState::Ready && (line.up || !site.serves(line.address));
        let is_known = is_left_out || was_told || may_be_out || is_kept_out;
        if !is_in && !is_known && !self.is_excused(sets_states) && !self.is_in_the_way() {
            self.violate(
                site,
                format!("at the end {} is in {}, up: {}", line.id, line.admin.state(), line.up),
            );
        }
    }

    /// Returns whether the outcome implies a new container at an address.
    fn expected(&self, address: SocketAddr) -> Option<bool> {
        let plan = self.plan.as_ref()?;
        let lane = &plan.lanes[self.lane_at(Some(address))?];
        lane.replacement.as_ref()?;
        let is_in = |all: &[ServerId]| lane.servers.iter().any(|server| all.contains(&server.id));
        match self.outcome.as_ref()? {
            Outcome::Deployed { skipped, .. } => Some(!is_in(skipped)),
            Outcome::Unchanged { .. } => Some(true),
            Outcome::RolledBack { kept, .. } => Some(is_in(kept)),
            Outcome::Cancelled { replaced, .. } => Some(is_in(replaced)),
            Outcome::Refused { .. } | Outcome::Skipped => Some(false),
            Outcome::Stuck { servers, kept, .. } => {
                let stranded: Vec<ServerId> =
                    servers.iter().map(|stranded| stranded.server.clone()).collect();
                (!is_in(&stranded)).then(|| is_in(kept))
            }
        }
    }

    fn container_at_the_end(&mut self, site: &SimulatedSite, place: &ContainerRecord) {
        let container = &place.container;
        let policy_is_back = !is_running(place)
            || container.name == "somebody-else"
            || container.restart.name == "unless-stopped";
        let told = |it: &String| {
            it.contains("is left")
                || it.contains("cannot discard a container that was never started")
                || it.contains("the original is kept as")
                || it.contains("the restart policy of its container was not restored")
                || it.contains("was not removed")
                || it.contains("is not removed")
        };
        let was_told = self.warnings.iter().any(told) || matches!(self.outcome, Some(Outcome::Stuck { .. }));
        if !policy_is_back && !was_told {
            self.violate(
                site,
                format!("at the end {} has the restart policy {}", container.name, container.restart.name),
            );
        }
        if container.name.contains(".old-") && container.restart.name != "no" && !was_told {
            self.violate(site, format!("{} is kept, and the engine would start it", container.name));
        }
        let keeps = self.case.scenario.policy().keep;
        let is_aside = container.name.contains(".new-")
            || container.name.contains(".old-") && (keeps == 0 || is_running(place));
        if is_aside && !was_told {
            self.violate(site, format!("at the end there is still the container {}", container.name));
        }
    }
}
