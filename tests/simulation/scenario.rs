//! The sites for simulated deploys.

mod configurations;
mod preparations;

use std::collections::BTreeMap;
use std::time::Duration;

use drainswap::adapters::memory::{ImageBehavior, ImageCheck, Memory, SimulatedSite};
use drainswap::cfg::{self, Configuration, Environment, SourceFile, Version};
use drainswap::model::hook::{HookContext, HookPoint, SKIP};
use drainswap::model::image::Image;
use drainswap::plan::{LbQuorum, OnDrainTimeout, OnFailure, Policy};
use drainswap::service::Container;
use drainswap::service::container::Restart;

use configurations::{
    AGENTS, CROWDED, FIVE, FORGOTTEN, ONE, ORIGIN, OWN_CHECK, PAIR, PRIMARIES, SHARED, SORRY, TIED,
};
use preparations::{
    forgotten, gone, in_maint, left_in_maint, sorry, stopped, with_kept, with_random_ports, without_agents,
};
pub use preparations::{is_forgotten, is_left};

/// A site with the settings for a deploy of `mobile`.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The name for replays.
    pub name: &'static str,
    haproxy_cfg: &'static str,
    load_balancers: usize,
    /// The behaviour of containers with the new image.
    new: ImageBehavior,
    version: &'static str,
    has_master: bool,
    /// The mean time between two requests, in milliseconds.
    requests_every: u64,
    policy: fn(&mut Policy),
    /// How many lanes may run at the same time.
    parallel: usize,
    /// Whether all lanes are in one wave, although the plan would not allow that: only the gate between them is left.
    is_one_wave: bool,
    /// The exit code of each hook, or `None` if there is no hook.
    hook: fn(&HookContext) -> Option<i32>,
    /// Changes the site before the run.
    before: fn(&mut SimulatedSite),
    request: Request,
    /// Whether drainswap.toml describes the containers.
    is_described: bool,
}

/// The goal of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A deploy of v2, which is resumed if it is not finished.
    Deploy,
    /// A deploy of v2, which is rolled back if it is not finished.
    DeployOrUndo,
    /// A rollback to v2, whose containers an earlier run kept.
    Rollback,
}

const WELL: ImageBehavior = ImageBehavior {
    boots: 60,
    accepts: false,
    serves: true,
    ends: None,
    out_of_memory: false,
    healthcheck: None,
};

/// A healthcheck that passes as soon as the container serves.
const CHECK: Option<ImageCheck> = Some(ImageCheck { every: 0, passes: true });

fn usual(_: &mut Policy) {}

/// Enables servers that the operator took out of service.
fn enable(policy: &mut Policy) {
    policy.scope.enable = true;
}

const BASE: Scenario = Scenario {
    name: "pair",
    haproxy_cfg: PAIR,
    load_balancers: 1,
    new: WELL,
    version: "3.0.11",
    has_master: true,
    requests_every: 20,
    policy: usual,
    parallel: 1,
    is_one_wave: false,
    hook: |_| None,
    before: |_| {},
    request: Request::Deploy,
    is_described: false,
};

const TIES: Scenario = Scenario {
    name: "tied",
    haproxy_cfg: TIED,
    policy: |policy| {
        policy.on_drain_timeout = OnDrainTimeout::Maint;
        policy.drain_timeout = Duration::from_secs(3);
    },
    ..BASE
};

/// A new container that boots longer than an outage may last.
const LONG_BOOT: Scenario =
    Scenario { name: "long-boot", new: ImageBehavior { boots: 6_000, ..WELL }, ..BASE };

/// A new container that accepts connections before it serves, which only HAProxy's own check can show.
const OWN_CHECKED: Scenario = Scenario {
    name: "own-check",
    haproxy_cfg: OWN_CHECK,
    new: ImageBehavior { accepts: true, boots: 700, ..WELL },
    ..BASE
};

const CROWD: Scenario = Scenario { name: "crowded", haproxy_cfg: CROWDED, requests_every: 20, ..BASE };

/// Hooks at every moment, all of which succeed.
const HOOKED: Scenario = Scenario { name: "hooked", hook: |_| Some(0), ..BASE };

/// Clients that return with a cookie until the drain times out.
const STUBBORN: Scenario = Scenario {
    name: "fails-to-drain",
    haproxy_cfg: TIED,
    requests_every: 2,
    policy: |policy| policy.drain_timeout = Duration::from_secs(1),
    ..BASE
};

/// Two lanes at a time, then one.
const TWO_LANES: Scenario = Scenario { name: "two-lanes", haproxy_cfg: PRIMARIES, parallel: 2, ..BASE };

/// Three lanes at a time, then two, with a floor that allows no more.
const THREE_LANES: Scenario = Scenario {
    name: "three-lanes",
    haproxy_cfg: FIVE,
    parallel: 3,
    policy: |policy| policy.floor = 2,
    ..BASE
};

/// One server, which a surge server stands in for.
const SURGE: Scenario = Scenario { name: "surge", haproxy_cfg: ONE, ..BASE };

/// Primaries without backups, none of which can be spared.
const SURGE_OF_PRIMARIES: Scenario = Scenario { name: "surge-of-primaries", haproxy_cfg: PRIMARIES, ..BASE };

fn surge_of_2(policy: &mut Policy) {
    policy.floor = 3;
    policy.surge = "2".parse().expect("a setting");
}

/// Scenarios that are played less often, each for one special case.
pub const MORE: &[Scenario] = &[
    Scenario {
        name: "surge-never-ready",
        new: ImageBehavior { serves: false, ..WELL },
        policy: |policy| policy.ready_timeout = Duration::from_secs(1),
        ..SURGE
    },
    Scenario {
        name: "lanes-that-fail",
        new: ImageBehavior { serves: false, ..WELL },
        policy: |policy| {
            policy.floor = 2;
            policy.ready_timeout = Duration::from_secs(2);
        },
        ..THREE_LANES
    },
    Scenario { name: "lanes-undone", request: Request::DeployOrUndo, ..TWO_LANES },
    Scenario {
        name: "left-out",
        hook: |it| Some(if it.hook == HookPoint::BeforeRun { SKIP } else { 0 }),
        ..HOOKED
    },
    Scenario {
        name: "one-left-out",
        hook: |it| Some(if it.hook == HookPoint::BeforeDrain && is_app1(it) { SKIP } else { 0 }),
        ..HOOKED
    },
    Scenario {
        name: "hook-fails",
        hook: |it| Some(if it.hook == HookPoint::AfterEnable && !is_app1(it) { SKIP } else { 0 }),
        ..HOOKED
    },
    Scenario {
        name: "hook-fails-and-stop",
        hook: |it| Some(i32::from(it.hook == HookPoint::BeforeDrain && !is_app1(it))),
        policy: |policy| policy.on_failure = OnFailure::Stop,
        ..HOOKED
    },
    Scenario {
        name: "out-of-memory",
        new: ImageBehavior { ends: Some(30), serves: false, out_of_memory: true, ..WELL },
        ..BASE
    },
    Scenario { name: "unhealthy", new: ImageBehavior { healthcheck: CHECK, serves: false, ..WELL }, ..BASE },
    Scenario { name: "random-ports", before: with_random_ports, ..BASE },
    Scenario {
        name: "random-ports-never-ready",
        before: with_random_ports,
        new: ImageBehavior { serves: false, ..WELL },
        policy: |policy| policy.ready_timeout = Duration::from_secs(1),
        ..BASE
    },
    Scenario { name: "breaks-off", before: |site| site.engine.registry_breaks_off = true, ..BASE },
    STUBBORN,
    Scenario {
        name: "long-drain",
        requests_every: 1,
        policy: |policy| policy.drain_timeout = Duration::from_secs(12),
        ..STUBBORN
    },
    Scenario {
        name: "forced",
        policy: |policy| {
            policy.on_drain_timeout = OnDrainTimeout::Force;
            policy.drain_timeout = Duration::from_secs(1);
        },
        ..STUBBORN
    },
    Scenario { name: "no-floor", policy: |policy| policy.floor = 0, ..BASE },
    Scenario { name: "long-boot-no-floor", policy: |policy| policy.floor = 0, ..LONG_BOOT },
    Scenario {
        name: "no-room",
        haproxy_cfg: CROWDED,
        requests_every: 6,
        policy: |policy| policy.headroom = 200,
        ..BASE
    },
];

fn is_app1(facts: &HookContext) -> bool {
    facts.servers.iter().any(|server| server.server == "app1")
}

/// All scenarios of a sweep.
pub const ALL: &[Scenario] = &[
    BASE,
    Scenario { name: "origin", haproxy_cfg: ORIGIN, policy: |policy| policy.keep = 1, ..BASE },
    Scenario { name: "shared", haproxy_cfg: SHARED, ..BASE },
    TIES,
    Scenario { name: "rarely-tied", requests_every: 60, ..TIES },
    CROWD,
    Scenario { name: "crowded-2.2", version: "2.2.9", ..CROWD },
    Scenario { name: "no-master", has_master: false, ..BASE },
    Scenario { name: "two-balancers", load_balancers: 2, ..BASE },
    Scenario {
        name: "reachable",
        load_balancers: 2,
        policy: |policy| policy.lb_quorum = LbQuorum::Reachable,
        ..BASE
    },
    Scenario { name: "slow-boot", new: ImageBehavior { boots: 700, ..WELL }, ..BASE },
    Scenario {
        name: "never-ready",
        new: ImageBehavior { serves: false, ..WELL },
        policy: |policy| policy.ready_timeout = Duration::from_secs(1),
        ..BASE
    },
    OWN_CHECKED,
    Scenario {
        name: "own-check-never-rises",
        new: ImageBehavior { accepts: true, serves: false, ..WELL },
        policy: |policy| policy.ready_timeout = Duration::from_secs(1),
        ..OWN_CHECKED
    },
    Scenario { name: "crash-loop", new: ImageBehavior { ends: Some(150), serves: false, ..WELL }, ..BASE },
    Scenario {
        name: "stop-on-failure",
        haproxy_cfg: SHARED,
        new: ImageBehavior { ends: Some(1_200), ..WELL },
        policy: |policy| policy.on_failure = OnFailure::Stop,
        ..BASE
    },
];

/// Scenarios with features that only some deploys have, and in which every deploy finishes.
const SOMETIMES: &[Scenario] = &[
    HOOKED,
    Scenario {
        name: "healthcheck",
        new: ImageBehavior { healthcheck: CHECK, boots: 400, ..WELL },
        policy: |policy| policy.rise = 3,
        ..BASE
    },
    Scenario {
        name: "shut-down",
        requests_every: 5,
        policy: |policy| {
            policy.on_drain_timeout = OnDrainTimeout::Shutdown;
            policy.drain_timeout = Duration::from_secs(1);
        },
        ..STUBBORN
    },
    Scenario { name: "undone", haproxy_cfg: SHARED, request: Request::DeployOrUndo, ..BASE },
    Scenario {
        name: "rolled-back",
        before: with_kept,
        policy: |policy| policy.keep = 1,
        request: Request::Rollback,
        ..BASE
    },
    Scenario { name: "in-maint", haproxy_cfg: ORIGIN, before: in_maint, ..BASE },
    Scenario { name: "enabled", before: in_maint, policy: enable, ..BASE },
    Scenario { name: "left-in-maint", before: left_in_maint, policy: enable, ..BASE },
    Scenario { name: "sorry", haproxy_cfg: SORRY, before: sorry, ..BASE },
    Scenario { name: "stopped", before: stopped, ..BASE },
    Scenario { name: "gone", before: gone, ..BASE },
    Scenario { name: "described", before: gone, is_described: true, ..BASE },
    Scenario { name: "forgotten", haproxy_cfg: FORGOTTEN, before: forgotten, ..BASE },
    Scenario { name: "agents", haproxy_cfg: AGENTS, ..BASE },
    Scenario { name: "new-agents", haproxy_cfg: AGENTS, before: without_agents, ..BASE },
    Scenario {
        name: "agents-reachable",
        haproxy_cfg: AGENTS,
        load_balancers: 2,
        policy: |policy| policy.lb_quorum = LbQuorum::Reachable,
        ..BASE
    },
    Scenario { name: "floor-2", haproxy_cfg: PRIMARIES, policy: |policy| policy.floor = 2, ..BASE },
    Scenario { name: "kept-alive", before: SimulatedSite::keep_alive, ..BASE },
    LONG_BOOT,
    TWO_LANES,
    THREE_LANES,
    SURGE,
    Scenario { name: "surge-two-balancers", load_balancers: 2, ..SURGE },
    Scenario { name: "surge-no-master", has_master: false, ..SURGE },
    Scenario { name: "surge-lanes", policy: surge_of_2, parallel: 2, ..SURGE_OF_PRIMARIES },
    Scenario { name: "surge-undone", request: Request::DeployOrUndo, ..SURGE },
    Scenario { name: "lanes-and-backups", haproxy_cfg: ORIGIN, parallel: 2, ..BASE },
    Scenario { name: "lanes-without-room", haproxy_cfg: PRIMARIES, is_one_wave: true, ..BASE },
];

/// Returns every scenario in which a deploy without a fault succeeds.
pub fn sites() -> Vec<Scenario> {
    [ALL, SOMETIMES].concat()
}

impl Scenario {
    /// Returns the scenario with a name.
    pub fn named(name: &str) -> Self {
        *ALL.iter()
            .chain(SOMETIMES)
            .chain(MORE)
            .find(|it| it.name == name)
            .unwrap_or_else(|| panic!("no scenario {name}"))
    }

    /// Returns the configuration of the site.
    pub fn configuration(&self) -> Configuration {
        let text = format!("defaults\n    mode http\n{}", self.haproxy_cfg);
        let file = SourceFile { path: "haproxy.cfg".into(), bytes: text.into_bytes() };
        let environment = Environment::new(BTreeMap::new(), Version::new(2, 6));
        let configuration = cfg::interpret(&cfg::read(vec![file], &environment));
        assert!(!configuration.has_errors(), "{:?}", configuration.problems);
        configuration
    }

    /// Returns the initial site.
    pub fn site(&self, configuration: &Configuration, seed: u64) -> Memory {
        let memory = Memory::new(configuration, self.load_balancers, &image("v1"), seed);
        let mut site = memory.site();
        for haproxy in &mut site.haproxies {
            self.version.clone_into(&mut haproxy.version);
            haproxy.has_master = self.has_master;
        }
        let Image::Registry { digest, .. } = image("v2") else { unreachable!("a registry's image") };
        site.engine.builds.insert(digest, self.new);
        site.requests_every(self.requests_every);
        site.hook = self.hook;
        (self.before)(&mut site);
        drop(site);
        memory
    }

    /// Returns how many lanes may run at the same time.
    pub fn parallel(&self) -> usize {
        self.parallel
    }

    /// Returns whether all lanes are put into one wave.
    pub fn is_one_wave(&self) -> bool {
        self.is_one_wave
    }

    /// Returns the policy of the deploy.
    pub fn policy(&self) -> Policy {
        let mut policy = Policy {
            drain_timeout: Duration::from_secs(8),
            shutdown_over: Duration::from_secs(1),
            ready_timeout: Duration::from_secs(10),
            keep: 0,
            ..Policy::default()
        };
        (self.policy)(&mut policy);
        policy
    }

    /// Returns the moments with a hook in the plan: all of them, because a hook may no longer exist when it is due.
    pub fn hooks() -> Vec<HookPoint> {
        use HookPoint::{AfterDrain, AfterEnable, AfterRun, BeforeDrain, BeforeEnable, BeforeRun};
        vec![BeforeRun, BeforeDrain, AfterDrain, BeforeEnable, AfterEnable, AfterRun]
    }

    /// Returns the stride over calls and faults for a short sweep. The first site has a stride of one, and only skips
    /// identical polls.
    pub fn stride(&self) -> usize {
        if self.name == BASE.name { 1 } else { 146 }
    }

    /// Returns the descriptions in drainswap.toml, by backend.
    pub fn descriptions(&self) -> BTreeMap<String, Container> {
        let container = Container {
            container_port: Some(8080),
            restart: Some(Restart::UnlessStopped),
            platform: "linux/amd64".parse().ok(),
            ..Container::default()
        };
        [("mobile".to_owned(), container)].into_iter().filter(|_| self.is_described).collect()
    }

    /// Returns the goal of the case.
    pub fn request(&self) -> Request {
        self.request
    }

    /// Returns whether a master socket reports old workers.
    pub fn has_master(&self) -> bool {
        self.has_master
    }

    /// Returns whether containers of the new image serve and keep running.
    pub fn new_is_good(&self) -> bool {
        self.new.serves && self.new.ends.is_none()
    }
}

/// Returns the image of a version; its digest repeats the digit of the tag.
pub fn image(tag: &str) -> Image {
    let digest = format!("sha256:{}", tag[tag.len() - 1..].repeat(64));
    Image::Registry {
        reference: format!("registry.example.org/mobile:{tag}").parse().expect("a reference"),
        digest,
    }
}
