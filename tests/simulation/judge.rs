//! The rules that must hold after every effect and at the end.

mod at_the_end;
mod surge;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use drainswap::adapters::memory::{
    ContainerRecord, Effect, EffectObserver, EndedBy, Fault, Haproxy, Loss, Part, ServerLine, SimulatedSite,
};
use drainswap::model::ids::{ContainerId, ServerId};
use drainswap::model::image::Image;
use drainswap::observation::AdminState;
use drainswap::plan::{LbQuorum, OnDrainTimeout, Plan, Step};
use drainswap::run::journal::{Record, Run, SurgeStep};
use drainswap::run::outcome::Outcome;

use crate::case::Case;
use crate::scenario::{Request, image, is_forgotten, is_left, sites};

/// The maximum time in ms until the run corrects a state that another process set, and until its requests have arrived.
const GRACE: u64 = 60;

/// The time in ms before a stop in which another process may cause a request that is not visible yet.
const UNSEEN: u64 = 30;

/// The maximum time in ms until a draining server is put back after the other servers fail.
const PUT_BACK_WITHIN: u64 = 100;

/// The maximum time in ms without a serving server, if an old container can be put back or started.
const SERVED_WITHIN: u64 = 4_000;

/// The time in ms without a lost request after which a backend counts as served.
const QUIET: u64 = 500;

/// The judge: it observes every effect and records violations.
pub struct Judge {
    /// The calls of the first deploy.
    pub calls: Vec<(Part, &'static str)>,
    pub violations: Vec<String>,
    /// The warnings for the operator.
    pub warnings: Vec<String>,
    /// The outcome of the last run, if it finished.
    pub outcome: Option<Outcome>,
    case: Case,
    /// The traffic address of each server.
    addresses: BTreeMap<ServerId, SocketAddr>,
    /// The servers that did not serve before the run.
    out_before: BTreeSet<ServerId>,
    /// The servers that the operator or haproxy.cfg took out of service, and that must stay out.
    kept_out: BTreeSet<ServerId>,
    plan: Option<Plan>,
    begun: BTreeMap<usize, BTreeSet<Step>>,
    /// The lanes that this process has undone.
    undone: BTreeSet<usize>,
    /// The last recorded step of each surge server.
    surge: BTreeMap<ServerId, SurgeStep>,
    /// Where the traffic of surge servers goes.
    addresses_of_surge: BTreeMap<ServerId, SocketAddr>,
    stop_asked: Option<u64>,
    /// Whether the run finished with a call that the engine may still execute, so that an undo is not possible.
    is_unanswered: bool,
    /// The time since which requests find no server although a draining server could serve them.
    unserved_since: Option<u64>,
    /// The backends without a serving server, by load balancer, with the time of the first and of the last lost
    /// request.
    outages: BTreeMap<(usize, String), (u64, u64)>,
}

/// A handle to the judge for the site.
pub struct SharedJudge(pub Arc<Mutex<Judge>>);

impl EffectObserver for SharedJudge {
    fn observe(&mut self, site: &SimulatedSite, effect: &Effect) {
        self.0.lock().expect("a judge").observe(site, effect);
    }
}

impl Judge {
    pub fn new(case: &Case, site: &SimulatedSite) -> Self {
        let workers = site.haproxies.iter().flat_map(Haproxy::workers);
        let lines: Vec<&ServerLine> = workers.flat_map(|worker| &worker.lines).collect();
        let is_out =
            |line: &&&ServerLine| line.admin.state() != AdminState::Ready || !site.serves(line.address);
        let is_kept_out = |line: &&&ServerLine| line.admin.state() != AdminState::Ready;
        let enables = case.scenario.policy().scope.enable;
        Self {
            kept_out: lines
                .iter()
                .filter(is_kept_out)
                .filter(|_| !enables)
                .map(|line| line.id.clone())
                .collect(),
            out_before: lines.iter().filter(is_out).map(|line| line.id.clone()).collect(),
            calls: Vec::new(),
            violations: Vec::new(),
            warnings: Vec::new(),
            outcome: None,
            case: case.clone(),
            addresses: lines.iter().map(|line| (line.id.clone(), line.address)).collect(),
            plan: None,
            begun: BTreeMap::new(),
            undone: BTreeSet::new(),
            surge: BTreeMap::new(),
            addresses_of_surge: BTreeMap::new(),
            stop_asked: None,
            is_unanswered: false,
            unserved_since: None,
            outages: BTreeMap::new(),
        }
    }

    /// Starts judging a run of a plan.
    pub fn begin(&mut self, plan: &Plan) {
        self.plan = Some(plan.clone());
        self.begun.clear();
        self.undone.clear();
    }

    /// Continues judging an unfinished run.
    pub fn resume(&mut self, unfinished: &Run) {
        self.plan = Some(unfinished.plan.clone());
        self.undone.clear();
        self.begun = unfinished
            .progress
            .begun
            .iter()
            .map(|(lane, steps)| (*lane, steps.iter().copied().collect()))
            .collect();
    }

    /// Returns whether a fault of the case excuses a loss.
    fn is_excused(&self, may: impl Fn(Fault) -> bool) -> bool {
        self.case.faults.iter().any(|(_, fault)| may(*fault))
    }

    /// Returns whether a foreign container blocks recovery until it is moved away.
    pub fn is_in_the_way(&self) -> bool {
        let removed = |fault| matches!(fault, Fault::OldRemoved | Fault::OtherRemoved);
        let removed_later = self.case.faults.len() > 1 && self.is_excused(removed);
        // Without another server there is nothing left to copy.
        let has_nothing_to_copy = self.addresses.len() == 1 && self.is_excused(removed);
        self.is_excused(takes_the_place) || removed_later || has_nothing_to_copy
    }

    fn observe(&mut self, site: &SimulatedSite, effect: &Effect) {
        self.notice(site);
        match effect {
            Effect::Set(balancer, server, state) => {
                self.unserved_since = None;
                self.set(site, *balancer, server, *state);
            }
            Effect::Created(id) => self.needs(site, id, "created", &[Step::Create]),
            Effect::Started(id) => self.needs(site, id, "started", &[Step::Start, Step::Stop]),
            Effect::Renamed(id, _) => self.needs(site, id, "renamed", &[Step::Start, Step::Stop]),
            Effect::Stopped(id, cut) => {
                self.needs(site, id, "stopped", &[Step::Stop, Step::Start]);
                self.taken(site, id, *cut);
            }
            Effect::Removed(id) => self.needs(site, id, "removed", &[Step::Create, Step::Remove]),
            Effect::Recorded(record) => self.record(record),
            Effect::Lost(loss) => self.lost(site, loss),
            Effect::HaproxyEnded => self.violate(site, "HAProxy was ended by a command"),
            Effect::SetLate(balancer, server, state) => {
                if *state != AdminState::Ready {
                    self.floor(site, *balancer, server);
                }
            }
            Effect::Joined(_, server) => self.joined(site, server),
            Effect::Deleted(_, server) => self.deleted(site, server),
            Effect::Healed(_) | Effect::SessionEnded(_) => {}
        }
    }

    fn violate(&mut self, site: &SimulatedSite, what: impl std::fmt::Display) {
        self.violations.push(format!(
            "at {} ms, in call {}: {what}",
            site.now,
            site.calls.len().saturating_sub(1)
        ));
    }

    fn notice(&mut self, site: &SimulatedSite) {
        if self.stop_asked.is_none() && site.stops[0].is_cancelled() {
            self.stop_asked = Some(site.now);
        }
    }

    /// Returns whether another process has just changed the distribution of requests.
    fn was_meddled_with(site: &SimulatedSite, within: u64) -> bool {
        site.external_change_at.is_some_and(|at| site.now <= at + within)
    }

    fn record(&mut self, record: &Record) {
        match record {
            Record::Begun { lane, step, .. } => drop(self.begun.entry(*lane).or_default().insert(*step)),
            Record::Undone { lane, .. } => {
                self.begun.remove(lane);
                self.undone.insert(*lane);
            }
            Record::Unanswered { .. } => self.is_unanswered = true,
            Record::Surge { surge, step, .. } => {
                let servers = self.plan.iter().flat_map(|plan| &plan.surge[*surge].servers);
                let ids: Vec<ServerId> = servers.map(|server| server.id.clone()).collect();
                if let SurgeStep::Join { addresses } = step {
                    self.addresses_of_surge.extend(ids.iter().cloned().zip(addresses.iter().copied()));
                }
                self.surge.extend(ids.into_iter().map(|id| (id, step.clone())));
            }
            Record::Opened { .. }
            | Record::Done { .. }
            | Record::Created { .. }
            | Record::Closed { .. }
            | Record::Adopted { .. } => {}
        }
    }

    /// Returns the lane of a container's address.
    fn lane_at(&self, address: Option<SocketAddr>) -> Option<usize> {
        let is_there = |id: &ServerId| self.addresses.get(id).copied() == address && address.is_some();
        let lanes = &self.plan.as_ref()?.lanes;
        lanes.iter().position(|lane| lane.servers.iter().any(|server| is_there(&server.id)))
    }

    /// Checks that the record was written before the effect.
    fn needs(&mut self, site: &SimulatedSite, id: &ContainerId, what: &str, steps: &[Step]) {
        let Some(place) = site.engine.find(id) else { return };
        if place.container.surge.run().is_some() {
            return self.needs_surge(site, place, what);
        }
        let lane = self.lane_at(place.address());
        // The container came back at a port chosen by the engine, which no server line has.
        if place.floats && lane.is_none() {
            return;
        }
        let has_begun = lane
            .and_then(|lane| self.begun.get(&lane))
            .is_some_and(|it| steps.iter().any(|step| it.contains(step)));
        if !has_begun {
            let name = &place.container.name;
            self.violate(site, format!("{name} was {what} before the journal knew of it"));
        }
    }

    /// Checks that a removed container could not get traffic and had no sessions.
    fn taken(&mut self, site: &SimulatedSite, id: &ContainerId, cut: usize) {
        let Some(place) = site.engine.find(id) else { return };
        let (name, address) = (place.container.name.clone(), place.address());
        if cut > 0 && !self.may_cut(site, place) {
            self.violate(site, format!("{name} was stopped with {cut} sessions on it"));
        }
        // The container has stopped by now. Whether it ran before does not matter for requests to it.
        if site
            .engine
            .containers
            .iter()
            .any(|it| it.address() == address && it.container.id != *id && is_running(it))
        {
            return;
        }
        let lines =
            site.haproxies.iter().filter_map(|it| it.worker.as_ref()).flat_map(|worker| &worker.lines);
        let open =
            lines.filter(|line| Some(line.address) == address && line.admin.state() != AdminState::Maint);
        let open: Vec<String> = open.map(|line| line.id.to_string()).collect();
        let was_never_started = place.started_at == 0 && place.container.name.contains(".new-");
        let never_served = is_new(place) && !self.case.scenario.new_is_good();
        if !open.is_empty()
            && !was_never_started
            && !never_served
            && !self.is_unseen()
            && !Self::was_meddled_with(site, GRACE)
        {
            self.violate(
                site,
                format!("{name} was stopped while {} could be given requests", open.join(", ")),
            );
        }
    }

    /// Returns whether a load balancer does not answer and `--lb-quorum reachable` ignores it.
    fn is_unseen(&self) -> bool {
        let reachable = self.case.scenario.policy().lb_quorum == LbQuorum::Reachable;
        reachable && self.is_excused(|fault| matches!(fault, Fault::Away(_)))
    }

    /// Returns whether an observation is slow while another process changes the site.
    fn is_looked_at_late(&self) -> bool {
        let changes = |fault| matches!(fault, Fault::Reload | Fault::HaproxyRestart | Fault::Person(_));
        self.is_excused(|fault| matches!(fault, Fault::Hangs | Fault::Slow)) && self.is_excused(changes)
    }

    /// Returns whether sessions may be cut, because a failed new container loses them in any case.
    fn may_cut(&self, site: &SimulatedSite, place: &ContainerRecord) -> bool {
        Self::was_meddled_with(site, UNSEEN)
            || self.is_unseen()
            || self.case.scenario.policy().on_drain_timeout == OnDrainTimeout::Force
            || !self.case.scenario.new_is_good() && is_new(place)
            || self.is_excused(|fault| meddles(fault) || fault == Fault::Reload) && is_new(place)
    }

    fn set(&mut self, site: &SimulatedSite, balancer: usize, server: &ServerId, state: AdminState) {
        let Some(plan) = &self.plan else { return };
        if let Some(step) = self.surge.get(server).cloned() {
            return self.surge_is_set(site, balancer, (server, &step), state);
        }
        let lane = plan.lanes.iter().position(|lane| lane.servers.iter().any(|it| it.id == *server));
        let touches = |step: &Step| step.touches_traffic();
        let has_begun =
            lane.and_then(|lane| self.begun.get(&lane)).is_some_and(|begun| begun.iter().any(touches));
        // The printed commands also enable the forgotten server.
        let is_back = state == AdminState::Ready && (lane.is_some() || is_forgotten(server));
        // A command that was late for the undo is set back to the state that the undo gave.
        let is_former =
            |lane: usize| plan.lanes[lane].servers.iter().any(|it| it.id == *server && it.was == state);
        let is_set_back = lane.is_some_and(|lane| self.undone.contains(&lane) && is_former(lane));
        if !has_begun && !is_back && !is_set_back {
            self.violate(site, format!("{server} was set to {state} before the journal knew of it"));
        }
        if state != AdminState::Ready {
            self.floor(site, balancer, server);
        }
    }

    /// Returns how many lanes have their servers in maint.
    fn lanes_out(&self) -> usize {
        let is_out = |begun: &&BTreeSet<Step>| begun.contains(&Step::Maint) && !begun.contains(&Step::Ready);
        self.begun.values().filter(is_out).count()
    }

    /// Checks that enough servers serve without the one that was just taken out, if it served.
    fn floor(&mut self, site: &SimulatedSite, balancer: usize, server: &ServerId) {
        let Some(worker) = &site.haproxies[balancer].worker else { return };
        let Some(line) = worker.line(server) else { return };
        let serving =
            worker.usable_servers(&server.backend).iter().filter(|line| site.serves(line.address)).count();
        let floor = self.plan.as_ref().map_or(0, |plan| plan.goal.policy.floor);
        let answers = site.serves(line.address);
        // A reload puts the servers of several lanes into rotation. They are taken out again one after the other.
        let forgets = |fault| matches!(fault, Fault::Reload | Fault::HaproxyRestart);
        let is_set_again = self.lanes_out() > 1 && self.is_excused(forgets);
        // A reload at that very moment forgets the surge server that stands in. The next look brings it back.
        let is_forgotten = !self.surge.is_empty() && Self::was_meddled_with(site, GRACE);
        let is_ours = self.case.scenario.new_is_good()
            && !is_set_again
            && !is_forgotten
            && !self.is_excused(meddles)
            && !self.is_unseen();
        if answers && serving < floor && is_ours {
            self.violate(site, format!("{server} was taken out, and {serving} of {} serve", server.backend));
        }
    }

    fn lost(&mut self, site: &SimulatedSite, loss: &Loss) {
        let is_ours = match loss {
            Loss::NoServer(backend) if self.was_unserved(backend) => false,
            // The server did not answer before the run either.
            Loss::WrongAnswer(server) | Loss::NoAnswer(server) if is_forgotten(server) || is_left(server) => {
                false
            }
            // Until the next look brings a surge server back.
            Loss::NoServer(_) if !self.surge.is_empty() && Self::was_meddled_with(site, GRACE) => false,
            Loss::NoServer(_) | Loss::WaitedInVain(_) => {
                !self.is_excused(meddles) && !self.is_unseen() && self.case.scenario.new_is_good()
            }
            // Sessions that were shut down are judged at that call.
            Loss::Cut(..) => false,
            // A restarted process does not know yet that the server is out.
            Loss::WrongAnswer(server) => !Self::was_meddled_with(site, GRACE) && self.is_ours(site, server),
            Loss::NoAnswer(server) => {
                let is_seen = !self.is_unseen() && !self.is_looked_at_late();
                !Self::was_meddled_with(site, GRACE) && is_seen && self.is_ours(site, server)
            }
        };
        if is_ours {
            self.violate(site, format!("a request was lost: {loss:?}"));
        }
        if let Loss::NoServer(backend) = loss {
            self.missed(site, backend);
            for balancer in 0..site.haproxies.len() {
                self.outage(site, balancer, backend);
            }
        }
    }

    /// Handles a request without a server. If the floor requires a server and the other servers have failed, the old
    /// container must be put back or started again soon.
    fn outage(&mut self, site: &SimulatedSite, balancer: usize, backend: &str) {
        let Some(worker) = &site.haproxies[balancer].worker else { return };
        let key = (balancer, backend.to_owned());
        if !worker.usable_servers(backend).is_empty() {
            self.outages.remove(&key);
            return;
        }
        let (since, last) = self.outages.entry(key).or_insert((site.now, site.now));
        if site.now > *last + QUIET {
            *since = site.now;
        }
        *last = site.now;
        let since = *since;
        let lines = worker.lines.iter().filter(|line| line.id.backend == backend);
        let could = lines.filter(|line| self.could_serve(site, line)).map(|line| &line.id).next();
        let promised = self.case.scenario.policy().floor > 0;
        let is_taken = |fault| matches!(fault, Fault::PersonElsewhere | Fault::OtherRemoved);
        let [(_, fault)] = self.case.faults[..] else { return };
        if let Some(server) = could
            && promised
            && is_taken(fault)
            && site.now > since + SERVED_WITHIN
        {
            self.violate(site, format!("no server serves since {since} ms, and {server} could"));
        }
    }

    /// Returns whether a server that the run took out could serve with its old container, running or startable.
    fn could_serve(&self, site: &SimulatedSite, line: &ServerLine) -> bool {
        let at = |place: &&ContainerRecord| place.address() == Some(line.address);
        let is_free = site.engine.containers.iter().filter(at).all(|it| !is_running(it) || is_new(it));
        let mut old = site.engine.containers.iter().filter(at).filter(|place| !is_new(place));
        let could = old.any(|it| {
            is_running(it) || is_free && it.ended_by == Some(EndedBy::Us) && !site.serves(line.address)
        });
        could && line.admin.state() != AdminState::Ready && !self.out_before.contains(&line.id)
    }

    /// Returns whether no server of the backend served before the run.
    fn was_unserved(&self, backend: &str) -> bool {
        let mut servers = self.addresses.keys().filter(|server| server.backend == backend);
        servers.all(|server| self.out_before.contains(server))
    }

    /// Handles a request without a server. A draining server that still serves must be put back soon.
    fn missed(&mut self, site: &SimulatedSite, backend: &str) {
        let lines = site.haproxies.iter().filter_map(|it| it.worker.as_ref()).flat_map(|it| &it.lines);
        let could = lines.filter(|it| it.id.backend == backend && it.admin.state() == AdminState::Drain);
        let could: Vec<&ServerId> =
            could.filter(|line| site.serves(line.address)).map(|line| &line.id).collect();
        let [_] = self.case.faults[..] else { return };
        if could.is_empty()
            || !self.is_excused(|fault| matches!(fault, Fault::PersonElsewhere | Fault::OtherRemoved))
        {
            return;
        }
        let since = *self.unserved_since.get_or_insert(site.now);
        if site.now > since + PUT_BACK_WITHIN {
            self.violate(
                site,
                format!("no server has served since {since} ms, and {} is kept out", could[0]),
            );
        }
    }

    /// Returns whether a server does not answer because of the run under test.
    fn is_ours(&self, site: &SimulatedSite, server: &ServerId) -> bool {
        let known = self.addresses.get(server).or_else(|| self.addresses_of_surge.get(server));
        let Some(address) = known else { return false };
        let there: Vec<&ContainerRecord> =
            site.engine.containers.iter().filter(|it| it.address() == Some(*address)).collect();
        let by_others = there
            .iter()
            .any(|it| it.ended_by == Some(EndedBy::Others) || it.container.name == "somebody-else");
        // A dead process cannot guard the server.
        let dies = self.is_excused(Fault::kills) && self.is_excused(|fault| !fault.kills());
        !by_others && !self.is_excused(ends_containers) && self.case.scenario.new_is_good() && !dies
    }
}

/// Returns whether a fault stops or removes containers.
fn ends_containers(fault: Fault) -> bool {
    let removed =
        matches!(fault, Fault::OldRemoved | Fault::OtherRemoved | Fault::NewRemoved | Fault::NewEnds);
    removed || fault == Fault::EngineRestart { live_restore: false }
}

/// Returns whether a fault is an operator who sets states.
fn sets_states(fault: Fault) -> bool {
    matches!(fault, Fault::Person(_) | Fault::PersonElsewhere)
}

/// Returns whether a fault permanently changes the serving containers, which excuses losses.
fn meddles(fault: Fault) -> bool {
    ends_containers(fault) || sets_states(fault) || matches!(fault, Fault::HaproxyRestart | Fault::LateCheck)
}

/// Returns whether a fault puts a foreign container in place of a server's container.
fn takes_the_place(fault: Fault) -> bool {
    matches!(fault, Fault::NameTaken | Fault::PortTaken)
}

fn is_running(place: &ContainerRecord) -> bool {
    place.container.state == drainswap::observation::ContainerState::Running
}

fn is_new(place: &ContainerRecord) -> bool {
    matches!(image("v2"), Image::Registry { digest, .. } if digest == place.container.image.0)
}
