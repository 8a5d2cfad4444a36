//! How busy the servers are while a run works on them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use super::look::RealWorld;
use crate::event::{Event, Fact, Listener, Sample, VERSION};
use crate::ids::ServerId;
use crate::plan::Plan;
use crate::ports::{LoadBalancer, WallClock};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Looks once a second at all load balancers that answer, for as long as it is asked to.
pub(super) async fn sample(world: &RealWorld, plan: &Plan, listener: &mut impl Listener) -> Infallible {
    let backends = plan.backends();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut servers: BTreeMap<ServerId, Sample> = BTreeMap::new();
        for load_balancer in &world.load_balancers {
            // One that does not answer is the run's business.
            let Ok(seen) = load_balancer.glance(&backends).await else { continue };
            for server in seen.servers {
                let sample = servers.entry(server.id).or_default();
                sample.sessions += server.sessions;
                sample.sessions_total += server.sessions_total;
            }
        }
        if !servers.is_empty() {
            let (version, at, run) = (VERSION, world.clock.now(), plan.run.clone());
            listener.hear(&Event { version, at, run, fact: Fact::Sampled { servers } });
        }
    }
}
