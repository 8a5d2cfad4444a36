//! The proof that enough servers serve while a lane is out.

use std::collections::BTreeSet;

use crate::ids::ServerId;
use crate::observation::LoadBalancerState;
use crate::plan::refusal::Refusal;
use crate::topology::traffic::{Balance, Forecast};

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
