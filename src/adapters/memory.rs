//! All ports in memory: a realistic HAProxy, a container engine behind it, clients in front of it, and faults.
//!
//! Time is tokio's clock, which a test pauses. Each call first processes everything that was due since the previous
//! call, in order of time. All random choices come from the seed.

mod call;
mod clients;
mod engine;
mod engine_api;
mod fault;
mod haproxy;
mod hooks;
mod journal;
mod prober;
mod runtime_api;
mod schedule;
mod server_line;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

pub use call::Part;
pub use clients::{Loss, SimulatedSession};
pub use engine::{ContainerRecord, EndedBy, ImageBehavior, ImageCheck, SimulatedEngine};
pub use engine_api::MemoryEngine;
pub use fault::{Fault, When};
pub use haproxy::{Haproxy, SimulatedWorker};
pub use hooks::MemoryHooks;
pub use journal::{MemoryClock, MemoryJournal};
pub use prober::MemoryProber;
pub use runtime_api::MemoryHaproxy;
pub use schedule::ScheduledEvent;
pub use server_line::{Agent, CheckTiming, ServerLine};

use crate::cfg::Configuration;
use crate::model::hook::HookContext;
use crate::model::ids::{ContainerId, ServerId};
use crate::observation::AdminState;
use crate::run::journal::Record;
use crate::topology;
use clients::Clients;
use schedule::Schedule;

/// Milliseconds since the start of the simulation.
pub type Millis = u64;

/// A site in memory. All its ports share the same [`SimulatedSite`].
#[derive(Clone)]
pub struct Memory {
    site: Arc<Mutex<SimulatedSite>>,
    /// Notified when the process under test is to die.
    dies: Arc<Notify>,
}

/// The state of the simulation: load balancers, an engine, clients, and the journal of the run under test.
pub struct SimulatedSite {
    /// The current time.
    pub now: Millis,
    /// The load balancers, all with the same configuration.
    pub haproxies: Vec<Haproxy>,
    pub engine: SimulatedEngine,
    /// The exit code of a hook; `None` if there is no such hook.
    pub hook: fn(&HookContext) -> Option<i32>,
    /// The records of the run that are on disk.
    pub journal: Vec<Record>,
    /// Cancelled by a stop fault: the first stop request and the second.
    pub stops: [tokio_util::sync::CancellationToken; 2],
    /// The calls so far: the part that was called, and the call.
    pub calls: Vec<(Part, &'static str)>,
    /// The error of the wall clock, in milliseconds.
    pub clock_jump: i64,
    /// The time of the last change to traffic that did not come from the run: a reload, or a person.
    pub external_change_at: Option<Millis>,
    /// Addresses where another process answers whenever no container has them.
    pub strangers: BTreeSet<SocketAddr>,
    /// The longest time that a queue stalled although a server was free.
    pub longest_stall: Millis,
    /// The time when the last run was closed.
    pub ended_at: Option<Millis>,
    /// The events of a case, for debugging; `None` unless a test sets it.
    pub story: Option<Vec<String>>,
    began: Instant,
    rng: fastrand::Rng,
    clients: Clients,
    calendar: Schedule,
    faults: Vec<(When, Fault)>,
    /// The server that was changed last, which faults refer to.
    subject: ServerId,
    /// The parts that do not answer, and until when.
    away: Vec<(Part, Millis)>,
    witness: Option<Box<dyn EffectObserver>>,
}

/// A change that the process under test made to the site. [`Self::Lost`] is a consequence instead.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A server's state was set, at the load balancer with this index.
    Set(usize, ServerId, AdminState),
    /// A server's state was set after the caller had given up, at the load balancer with this index.
    SetLate(usize, ServerId, AdminState),
    /// A server was added at the load balancer with this index.
    Joined(usize, ServerId),
    /// A server was deleted at the load balancer with this index.
    Deleted(usize, ServerId),
    /// A server was marked as healthy.
    Healed(ServerId),
    SessionEnded(ServerId),
    /// HAProxy crashed because of a command.
    HaproxyEnded,
    Created(ContainerId),
    Started(ContainerId),
    /// A running container was stopped, with this many sessions on it.
    Stopped(ContainerId, usize),
    /// A container was given this name.
    Renamed(ContainerId, String),
    Removed(ContainerId),
    /// A record was written to disk.
    Recorded(Box<Record>),
    Lost(Loss),
}

/// An observer of every effect.
pub trait EffectObserver: Send {
    /// Handles an effect, right after it happened.
    fn observe(&mut self, site: &SimulatedSite, effect: &Effect);
}

impl Memory {
    /// Creates the site of a haproxy.cfg, behind this many load balancers, in a healthy state.
    ///
    /// Every server is up and has a container `BACKEND-SERVER` that runs `image`. A server line with the address of an
    /// earlier one shares its container.
    #[must_use]
    pub fn new(
        configuration: &Configuration,
        load_balancers: usize,
        image: &crate::model::image::Image,
        seed: u64,
    ) -> Self {
        let mut engine = SimulatedEngine::default();
        let mut lines: Vec<ServerLine> = Vec::new();
        for proxy in topology::with_servers(configuration) {
            for server in &proxy.servers {
                let id = ServerId::new(&proxy.name, &server.name);
                let Some(address) = server.address.fixed() else { continue };
                engine.add_running(format!("{}-{}", id.backend, id.server), address, image);
                lines.push(ServerLine::of(id, address, proxy, server));
            }
        }
        let subject = lines.first().map_or_else(|| ServerId::new("", ""), |line| line.id.clone());
        let haproxies = (0..load_balancers).map(|index| Haproxy::new(index, lines.clone())).collect();
        let mut site = SimulatedSite {
            now: 0,
            haproxies,
            engine,
            hook: |_| None,
            journal: Vec::new(),
            stops: Default::default(),
            calls: Vec::new(),
            clock_jump: 0,
            external_change_at: None,
            strangers: BTreeSet::new(),
            longest_stall: 0,
            ended_at: None,
            story: None,
            began: Instant::now(),
            rng: fastrand::Rng::with_seed(seed),
            clients: Clients::default(),
            calendar: Schedule::default(),
            faults: Vec::new(),
            subject,
            away: Vec::new(),
            witness: None,
        };
        site.open();
        Self { site: Arc::new(Mutex::new(site)), dies: Arc::default() }
    }

    /// Returns the current site, after processing everything that is due.
    pub fn site(&self) -> MutexGuard<'_, SimulatedSite> {
        let mut site = self.site.lock().unwrap_or_else(PoisonError::into_inner);
        site.run_due_events();
        site
    }

    /// Returns the load balancers.
    #[must_use]
    pub fn load_balancers(&self) -> Vec<MemoryHaproxy> {
        let names: Vec<String> = self.site().haproxies.iter().map(|it| it.name.clone()).collect();
        names
            .into_iter()
            .enumerate()
            .map(|(index, name)| MemoryHaproxy::new(self.clone(), index, name))
            .collect()
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> MemoryEngine {
        MemoryEngine(self.clone())
    }

    /// Returns the prober of the servers.
    #[must_use]
    pub fn prober(&self) -> MemoryProber {
        MemoryProber(self.clone())
    }

    /// Returns the hooks.
    #[must_use]
    pub fn hooks(&self) -> MemoryHooks {
        MemoryHooks(self.clone())
    }

    /// Returns the journal of the run.
    #[must_use]
    pub fn journal(&self) -> MemoryJournal {
        MemoryJournal(self.clone())
    }

    /// Returns the wall clock.
    #[must_use]
    pub fn clock(&self) -> MemoryClock {
        MemoryClock(self.clone())
    }

    /// Waits until a fault kills the process under test.
    pub async fn death(&self) {
        self.dies.notified().await;
    }
}

impl SimulatedSite {
    /// Schedules these faults, each at its call, counted from now.
    pub fn plan_faults(&mut self, faults: &[(When, Fault)]) {
        self.calls.clear();
        self.faults = faults.to_vec();
    }

    /// Reports every effect from now on to this witness.
    pub fn watch(&mut self, witness: impl EffectObserver + 'static) {
        self.witness = Some(Box::new(witness));
    }

    /// Returns whether a client's request to this address succeeds.
    #[must_use]
    pub fn serves(&self, address: SocketAddr) -> bool {
        self.engine.serving(address, self.now).is_some()
    }

    /// Returns whether a probe of this address passes, even if another process answers there.
    fn answers(&self, address: SocketAddr) -> bool {
        self.serves(address) || self.has_unknown_listener(address)
    }

    /// Returns whether this address accepts connections.
    fn accepts(&self, address: SocketAddr) -> bool {
        self.engine.accepts(address, self.now) || self.has_unknown_listener(address)
    }

    fn has_unknown_listener(&self, address: SocketAddr) -> bool {
        self.strangers.contains(&address) && self.engine.at(address).is_none()
    }

    fn effect(&mut self, effect: &Effect) {
        self.log(|| format!("{effect:?}"));
        if let Some(mut witness) = self.witness.take() {
            witness.observe(self, effect);
            self.witness = Some(witness);
        }
    }

    fn log(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(story) = &mut self.story {
            story.push(format!("{now:6} ms  {}", what()));
        }
    }
}
