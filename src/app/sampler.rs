//! Samples how busy the servers are during a run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use super::live_site::LiveSite;
use crate::model::ids::ServerId;
use crate::plan::Plan;
use crate::ports::{LoadBalancer, WallClock};
use crate::run::event::{Event, EventKind, Reporter, Sample, VERSION};

/// The interval between samples.
const EVERY: Duration = Duration::from_secs(1);

/// Samples all load balancers that answer once a second, until it is cancelled.
pub(super) async fn sample(site: &LiveSite, plan: &Plan, listener: &mut impl Reporter) -> Infallible {
    let backends = plan.backends();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut servers: BTreeMap<ServerId, Sample> = BTreeMap::new();
        for load_balancer in &site.load_balancers {
            // The run itself deals with a load balancer that does not answer.
            let Ok(seen) = load_balancer.state(&backends).await else { continue };
            for server in seen.servers {
                let sample = servers.entry(server.id).or_default();
                sample.sessions += server.sessions;
                sample.sessions_total += server.sessions_total;
            }
        }
        if !servers.is_empty() {
            let (version, at, run) = (VERSION, site.clock.now(), plan.run.clone());
            let kind = EventKind::Sampled { servers };
            listener.report(&Event { version, at, run, lane: None, kind });
        }
    }
}
