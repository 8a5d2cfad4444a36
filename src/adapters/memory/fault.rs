//! The faults, and the calls at which they happen.

use std::net::SocketAddr;

use super::call::Part;
use super::{Millis, ScheduledEvent, SimulatedSite};
use crate::model::ids::{ContainerId, ServerId};
use crate::observation::AdminState;

/// The call at which a fault happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The call with this number, from 0.
    Call(usize),
    /// The call with this name, after this many calls with the same name.
    Nth(String, usize),
}

/// A fault at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no answer, and the call has no effect.
    Unheard,
    /// The call takes effect, but its answer is lost.
    ReplyLost,
    /// The call is refused permanently.
    Refused,
    /// There is no answer until the call's deadline.
    Hangs,
    /// The call takes effect only after its caller has given up.
    LateEffect,
    /// The call takes long: three seconds, or half of that for a probe.
    Slow,
    /// The process under test dies before the effect.
    DiesBefore,
    /// The process under test dies right after the effect.
    DiesAfter,
    /// The called part does not answer for this long.
    Away(Millis),
    /// The disk is full for this long, so no record can be written.
    DiskFull(Millis),
    Reload,
    /// HAProxy is killed, and started again.
    HaproxyRestart,
    EngineRestart {
        /// Whether its containers keep running.
        live_restore: bool,
    },
    /// A person sets the server that the run works on.
    Person(AdminState),
    /// A person sets another server of its backend to maint, and back after a while.
    PersonElsewhere,
    /// A person removes the container that is to be replaced.
    OldRemoved,
    /// A person removes the container of another server of its backend.
    OtherRemoved,
    /// A person removes the new container.
    NewRemoved,
    /// The new container exits.
    NewEnds,
    /// A check of the server that the run works on hangs, and fails much later.
    LateCheck,
    /// A foreign container takes the name that the next new one is to have.
    NameTaken,
    /// A foreign container takes the address as soon as it is free.
    PortTaken,
    /// From then on another process answers at the address whenever no container has it.
    StrangerAnswers,
    /// From then on a supervisor restarts the container at the address as soon as it stops.
    Supervised,
    /// The wall clock jumps by this many milliseconds.
    ClockJump(i64),
    /// A person asks the run to stop.
    Stop,
    /// A person asks the run to stop twice.
    StopTwice,
}

impl Fault {
    /// All kinds of faults.
    pub const ALL: [Self; 34] = [
        Self::Unheard,
        Self::ReplyLost,
        Self::Refused,
        Self::Hangs,
        Self::LateEffect,
        Self::Slow,
        Self::DiesBefore,
        Self::DiesAfter,
        Self::Away(300),
        Self::Away(5_000),
        Self::Away(25_000),
        Self::Away(40_000),
        Self::DiskFull(300),
        Self::DiskFull(3_600_000),
        Self::Reload,
        Self::HaproxyRestart,
        Self::EngineRestart { live_restore: true },
        Self::EngineRestart { live_restore: false },
        Self::Person(AdminState::Ready),
        Self::Person(AdminState::Drain),
        Self::Person(AdminState::Maint),
        Self::PersonElsewhere,
        Self::OldRemoved,
        Self::OtherRemoved,
        Self::NewRemoved,
        Self::NewEnds,
        Self::LateCheck,
        Self::NameTaken,
        Self::PortTaken,
        Self::ClockJump(-3_600_000),
        Self::Stop,
        Self::StopTwice,
        Self::StrangerAnswers,
        Self::Supervised,
    ];

    /// Returns whether it kills the process under test.
    #[must_use]
    pub fn kills(self) -> bool {
        matches!(self, Self::DiesBefore | Self::DiesAfter)
    }
}

impl SimulatedSite {
    /// Returns the fault that is scheduled for this call, if there is one.
    pub(super) fn fault(&mut self, call: usize, what: &str) -> Option<Fault> {
        let is_now = |(when, _): &(When, Fault)| match when {
            When::Call(planned) => *planned == call,
            When::Nth(name, before) => *before == 0 && name == what,
        };
        let at = self.faults.iter().position(is_now);
        for (when, _) in &mut self.faults {
            if let When::Nth(name, before) = when
                && name == what
            {
                *before = before.saturating_sub(1);
            }
        }
        at.map(|at| self.faults.remove(at).1)
    }

    /// Applies the effect of a fault on the site, which does not depend on the call.
    pub(super) fn inject(&mut self, fault: Fault, part: Part) {
        self.log(|| format!("fault: {fault:?}"));
        match fault {
            Fault::Unheard
            | Fault::ReplyLost
            | Fault::Refused
            | Fault::Hangs
            | Fault::LateEffect
            | Fault::Slow
            | Fault::DiesBefore
            | Fault::DiesAfter => {}
            Fault::Away(long) => self.be_away(part, long),
            Fault::DiskFull(long) => self.be_away(Part::Journal, long),
            Fault::Reload => (0..self.haproxies.len()).for_each(|balancer| self.reload(balancer)),
            Fault::HaproxyRestart => {
                (0..self.haproxies.len()).for_each(|balancer| self.end_haproxy(balancer));
            }
            Fault::EngineRestart { live_restore } => self.restart_engine(live_restore),
            Fault::Person(state) => self.person_sets(&self.subject.clone(), state),
            Fault::PersonElsewhere => self.person_elsewhere(),
            Fault::OldRemoved => self.remove_one(|name| !name.contains(".new-")),
            Fault::OtherRemoved => {
                if let Some(id) = self.other().and_then(|other| self.at(&other, |_| true)) {
                    self.person_removes(&id);
                }
            }
            Fault::NewRemoved => self.remove_one(|name| name.contains(".new-")),
            Fault::NewEnds => self.newest_ends(),
            Fault::LateCheck => {
                let server = self.subject.clone();
                self.schedule(1_500, ScheduledEvent::LateCheck(0, server));
            }
            Fault::NameTaken => self.take_name(),
            Fault::PortTaken => self.take_port(),
            Fault::StrangerAnswers => self.strangers.extend(self.subject_address()),
            Fault::Supervised => {
                let address = self.subject_address();
                let supervised = address.and_then(|address| self.engine.at(address));
                let supervised = supervised.map(|place| place.container.id.clone());
                self.engine.supervised.extend(supervised);
            }
            Fault::ClockJump(by) => self.clock_jump += by,
            Fault::Stop => self.stops[0].cancel(),
            Fault::StopTwice => self.stops.iter().for_each(tokio_util::sync::CancellationToken::cancel),
        }
    }

    pub(super) fn be_away(&mut self, part: Part, long: Millis) {
        self.away.push((part, self.now + long));
    }

    /// Makes everything answer again, and frees disk space.
    pub fn recover(&mut self) {
        self.away.clear();
    }

    pub(super) fn is_away(&self, part: Part) -> bool {
        self.away.iter().any(|(away, until)| *away == part && self.now < *until)
    }

    /// Returns another server of the backend that the run works on.
    fn other(&self) -> Option<ServerId> {
        let lines = self.haproxies[0].worker.iter().flat_map(|worker| &worker.lines);
        let mut others = lines
            .map(|line| &line.id)
            .filter(|id| id.backend == self.subject.backend && **id != self.subject);
        others.next().cloned()
    }

    fn person_elsewhere(&mut self) {
        if let Some(other) = self.other() {
            self.person_sets(&other, AdminState::Maint);
            self.schedule(700, ScheduledEvent::Person(other, AdminState::Ready));
        }
    }

    fn address_of(&self, server: &ServerId) -> Option<SocketAddr> {
        let mut lines =
            self.haproxies.iter().flat_map(|it| it.worker.iter().flat_map(|worker| &worker.lines));
        lines.find(|line| line.id == *server).map(|line| line.address)
    }

    /// Returns the address of the server that the run works on.
    fn subject_address(&self) -> Option<SocketAddr> {
        self.address_of(&self.subject)
    }

    fn at(&self, server: &ServerId, is_meant: impl Fn(&str) -> bool) -> Option<ContainerId> {
        let address = self.address_of(server)?;
        let places = self.engine.containers.iter().filter(|place| place.address() == Some(address));
        let mut meant = places.filter(|place| is_meant(&place.container.name));
        meant.next().map(|place| place.container.id.clone())
    }

    fn remove_one(&mut self, is_meant: impl Fn(&str) -> bool) {
        if let Some(id) = self.at(&self.subject, is_meant) {
            self.person_removes(&id);
        }
    }

    fn newest_ends(&mut self) {
        let address = self.subject_address();
        let places = self.engine.containers.iter().rev().filter(|place| place.started_at > 0);
        let newest = places.into_iter().find(|place| place.address() == address);
        if let Some((id, at)) = newest.map(|place| (place.container.id.0.clone(), place.started_at)) {
            self.container_ends(&id, at);
        }
    }

    fn take_name(&mut self) {
        let Some(address) = self.subject_address() else { return };
        let place = self.engine.containers.iter().find(|place| place.address() == Some(address));
        let Some(name) = place.map(|place| place.container.name.clone()) else { return };
        let of = name.split(".old-").next().unwrap_or_default().to_owned();
        let elsewhere = SocketAddr::from(([127, 0, 0, 9], 9));
        if self.engine.containers.iter().all(|place| place.container.name != of) {
            self.log(|| format!("a foreign container takes the name {of}"));
            self.engine.add_foreign(of, elsewhere, false);
        }
    }

    fn take_port(&mut self) {
        let Some(address) = self.subject_address() else { return };
        if self.engine.at(address).is_none() {
            self.log(|| format!("a foreign container takes the address {address}"));
            self.engine.add_foreign("somebody-else".to_owned(), address, true);
        }
    }
}
