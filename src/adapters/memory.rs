//! All ports in memory: a believable `HAProxy`, a container engine behind it, clients in front of it, and faults.
//!
//! Time is tokio's clock, which a test pauses. What happens between two calls is worked off, in the order of its time,
//! when the next call comes. Whatever is left to chance is drawn from the seed.

mod call;
mod clients;
mod engine;
mod fault;
mod happening;
mod haproxy;
mod hooks;
mod journal;
mod line;
mod prober;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

pub use call::Part;
pub use clients::{Loss, Session};
pub use engine::{Build, EndedBy, Engine, ImageCheck, MemoryEngine, Place};
pub use fault::{Fault, When};
pub use happening::Happening;
pub use haproxy::{Haproxy, MemoryHaproxy, Worker};
pub use hooks::MemoryHooks;
pub use journal::{MemoryClock, MemoryJournal};
pub use line::{Agent, Check, Line};
pub use prober::MemoryProber;

use crate::cfg::Configuration;
use crate::hook::HookFacts;
use crate::ids::{ContainerId, ServerId};
use crate::journal::Record;
use crate::observation::AdminState;
use crate::topology;
use clients::Clients;
use happening::Calendar;

/// Milliseconds since the site began.
pub type Millis = u64;

/// A site in memory: every port of it works on the same one.
#[derive(Clone)]
pub struct Memory {
    site: Arc<Mutex<Site>>,
    /// Told when the process under test is to die.
    dies: Arc<Notify>,
}

/// Everything that there is: load balancers, an engine, clients, and the journal of whoever works on it.
pub struct Site {
    /// Now.
    pub now: Millis,
    /// The load balancers, all with the same configuration.
    pub haproxies: Vec<Haproxy>,
    /// The engine.
    pub engine: Engine,
    /// With which code a hook ends; none where there is no hook.
    pub hook: fn(&HookFacts) -> Option<i32>,
    /// The records of the run, all that were made durable.
    pub journal: Vec<Record>,
    /// What a fault that stops the process cancels: the first wish to stop, and the second.
    pub stops: [tokio_util::sync::CancellationToken; 2],
    /// The calls so far: of whom, and what.
    pub calls: Vec<(Part, &'static str)>,
    /// How far the wall clock is from what it should be, in milliseconds.
    pub clock_jump: i64,
    /// When somebody else last changed who gets requests: a reload, or a person.
    pub meddled_at: Option<Millis>,
    /// Addresses at which another process answers whenever no container has them.
    pub strangers: BTreeSet<SocketAddr>,
    /// How long a queue stood still at the most, although a server was free.
    pub longest_stall: Millis,
    /// When the last run was closed.
    pub ended_at: Option<Millis>,
    /// What happened, for whoever looks at a case that failed; empty unless it is wanted.
    pub story: Option<Vec<String>>,
    began: Instant,
    rng: fastrand::Rng,
    clients: Clients,
    calendar: Calendar,
    faults: Vec<(When, Fault)>,
    /// The server that was set last.
    subject: ServerId,
    /// Until when a part does not answer.
    away: Vec<(Part, Millis)>,
    witness: Option<Box<dyn Witness>>,
}

/// Something that was done to the site, by whoever is tested; but for a loss, which is what came of it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A server's state was set, at the load balancer of that index.
    Set(usize, ServerId, AdminState),
    /// The same, after whoever asked for it had given up.
    SetLate(usize, ServerId, AdminState),
    /// A server was counted as healthy again.
    Healed(ServerId),
    /// A session was ended.
    SessionEnded(ServerId),
    /// `HAProxy` was ended by a command that it does not survive.
    HaproxyEnded,
    /// A container was created.
    Created(ContainerId),
    /// A container was started.
    Started(ContainerId),
    /// A container that ran was stopped, with so many sessions on it.
    Stopped(ContainerId, usize),
    /// A container got another name.
    Renamed(ContainerId, String),
    /// A container was removed.
    Removed(ContainerId),
    /// A record was made durable.
    Recorded(Box<Record>),
    /// A client lost its request.
    Lost(Loss),
}

/// Sees every effect right after it.
pub trait Witness: Send {
    /// Takes an effect.
    fn see(&mut self, site: &Site, effect: &Effect);
}

impl Memory {
    /// The site of a haproxy.cfg, behind so many load balancers, in which all is well: each server is up, and has a
    /// container `BACKEND-SERVER` behind it that runs `image`. A server line with the address of an earlier one has
    /// that one's container.
    #[must_use]
    pub fn new(
        configuration: &Configuration,
        load_balancers: usize,
        image: &crate::image::Image,
        seed: u64,
    ) -> Self {
        let mut engine = Engine::default();
        let mut lines: Vec<Line> = Vec::new();
        for proxy in topology::with_servers(configuration) {
            for server in &proxy.servers {
                let id = ServerId::new(&proxy.name, &server.name);
                let Some(address) = server.address.fixed() else { continue };
                engine.add_running(format!("{}-{}", id.backend, id.server), address, image);
                lines.push(Line::of(id, address, proxy, server));
            }
        }
        let subject = lines.first().map_or_else(|| ServerId::new("", ""), |line| line.id.clone());
        let haproxies = (0..load_balancers).map(|index| Haproxy::new(index, lines.clone())).collect();
        let mut site = Site {
            now: 0,
            haproxies,
            engine,
            hook: |_| None,
            journal: Vec::new(),
            stops: Default::default(),
            calls: Vec::new(),
            clock_jump: 0,
            meddled_at: None,
            strangers: BTreeSet::new(),
            longest_stall: 0,
            ended_at: None,
            story: None,
            began: Instant::now(),
            rng: fastrand::Rng::with_seed(seed),
            clients: Clients::default(),
            calendar: Calendar::default(),
            faults: Vec::new(),
            subject,
            away: Vec::new(),
            witness: None,
        };
        site.open();
        Self { site: Arc::new(Mutex::new(site)), dies: Arc::default() }
    }

    /// The site as it is at this moment.
    pub fn site(&self) -> MutexGuard<'_, Site> {
        let mut site = self.site.lock().unwrap_or_else(PoisonError::into_inner);
        site.catch_up();
        site
    }

    /// The load balancers.
    #[must_use]
    pub fn load_balancers(&self) -> Vec<MemoryHaproxy> {
        let names: Vec<String> = self.site().haproxies.iter().map(|it| it.name.clone()).collect();
        names
            .into_iter()
            .enumerate()
            .map(|(index, name)| MemoryHaproxy::new(self.clone(), index, name))
            .collect()
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> MemoryEngine {
        MemoryEngine(self.clone())
    }

    /// Who asks servers whether they serve.
    #[must_use]
    pub fn prober(&self) -> MemoryProber {
        MemoryProber(self.clone())
    }

    /// Who runs hooks there.
    #[must_use]
    pub fn hooks(&self) -> MemoryHooks {
        MemoryHooks(self.clone())
    }

    /// The journal of the run that works on it.
    #[must_use]
    pub fn journal(&self) -> MemoryJournal {
        MemoryJournal(self.clone())
    }

    /// What time it is there.
    #[must_use]
    pub fn clock(&self) -> MemoryClock {
        MemoryClock(self.clone())
    }

    /// Ends when a fault ends the process under test.
    pub async fn death(&self) {
        self.dies.notified().await;
    }
}

impl Site {
    /// These faults come, each at its call, counted from now.
    pub fn plan_faults(&mut self, faults: &[(When, Fault)]) {
        self.calls.clear();
        self.faults = faults.to_vec();
    }

    /// Somebody sees every effect from now on.
    pub fn watch(&mut self, witness: impl Witness + 'static) {
        self.witness = Some(Box::new(witness));
    }

    /// Whether a client that is sent to this address gets an answer.
    #[must_use]
    pub fn serves(&self, address: SocketAddr) -> bool {
        self.engine.serving(address, self.now).is_some()
    }

    /// Whether a probe that is sent to this address passes, whoever answers there.
    fn answers(&self, address: SocketAddr) -> bool {
        self.serves(address) || self.is_strangers(address)
    }

    /// Whether a connection to this address is accepted.
    fn accepts(&self, address: SocketAddr) -> bool {
        self.engine.accepts(address, self.now) || self.is_strangers(address)
    }

    fn is_strangers(&self, address: SocketAddr) -> bool {
        self.strangers.contains(&address) && self.engine.at(address).is_none()
    }

    fn effect(&mut self, effect: &Effect) {
        self.tell(|| format!("{effect:?}"));
        if let Some(mut witness) = self.witness.take() {
            witness.see(self, effect);
            self.witness = Some(witness);
        }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(story) = &mut self.story {
            story.push(format!("{now:6} ms  {}", what()));
        }
    }
}
