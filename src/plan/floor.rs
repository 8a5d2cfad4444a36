//! The proof that enough servers serve while a lane is out.

use std::collections::BTreeSet;

use crate::ids::ServerId;
use crate::observation::LoadBalancerState;
use crate::plan::Policy;
use crate::plan::refusal::Refusal;
use crate::topology::traffic::{Balance, Forecast, Share};

/// Whether a backend can spare the servers in `out`.
///
/// Where they take no traffic now, taking them out makes nothing worse and is always allowed: this
/// is how a backend that is down altogether gets served again.
pub fn check(
    balance: &Balance,
    before: &Forecast,
    after: &Forecast,
    out: &BTreeSet<ServerId>,
    floor: usize,
) -> Result<(), Refusal> {
    let (had, left) = (before.shares.len(), after.shares.len());
    let spared = left >= floor || left >= had && before.shares == after.shares;
    if spared {
        return Ok(());
    }
    let out = out.iter().cloned().collect();
    Err(Refusal::Floor { backend: balance.backend.clone(), out, forecast: after.clone(), floor })
}

/// As [`check`], on a fresh look at the load balancer. Returns who carries the traffic.
pub fn check_fresh(
    balance: &Balance,
    seen: &LoadBalancerState,
    out: &BTreeSet<ServerId>,
    floor: usize,
) -> Result<Forecast, Refusal> {
    let before = balance.forecast(seen, &BTreeSet::new());
    let after = balance.forecast(seen, out);
    check(balance, &before, &after, out, floor)?;
    Ok(after)
}

/// Whether those who carry the traffic have room for what runs now, and for so much more as the policy asks. Servers
/// without a `maxconn` have room for everything.
pub fn check_room(
    balance: &Balance,
    before: &Forecast,
    after: &Forecast,
    seen: &LoadBalancerState,
    policy: &Policy,
) -> Result<(), Refusal> {
    // Without a floor nobody needs to carry anything.
    if before.shares == after.shares || policy.floor == 0 {
        return Ok(());
    }
    let limit = |share: &Share| seen.server(&share.server)?.limit;
    let Some(room) = after.shares.iter().map(limit).sum::<Option<u64>>() else { return Ok(()) };
    let servers = balance.servers.iter().filter_map(|(id, _)| seen.server(id));
    let running = servers.map(|server| server.sessions).sum::<u64>() + balance.queued(seen);
    if running * (100 + u64::from(policy.headroom)) <= room * 100 {
        return Ok(());
    }
    Err(Refusal::NoRoom { forecast: after.clone(), room, running, headroom: policy.headroom })
}
