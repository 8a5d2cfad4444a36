//! Checks that enough servers serve while a lane is out.

use std::collections::BTreeSet;

use crate::model::ids::ServerId;
use crate::observation::LoadBalancerState;
use crate::plan::refusal::Refusal;
use crate::plan::{Lane, Policy};
use crate::topology::traffic::{Balance, Forecast, Share};

/// Checks that a backend can do without the servers in `out`.
///
/// Servers that take no traffic now can always be taken out, because that makes nothing worse. This is how a backend
/// that is down altogether can be served again.
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
    let (backend, forecast) = (balance.backend.clone(), after.clone());
    Err(Refusal::Floor { backend, out, forecast, floor, stays_out: Vec::new() })
}

/// Where the traffic goes while servers are out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Takeover {
    /// The distribution for each backend at each load balancer.
    pub forecasts: Vec<Forecast>,
    /// The servers that must answer before the others leave.
    pub carriers: BTreeSet<ServerId>,
}

/// Checks that these backends can do without the servers in `out` at each load balancer: that floor and headroom hold.
/// The servers in `dead` do not serve now, whatever `HAProxy` reports.
pub fn require_capacity<'a>(
    balances: impl IntoIterator<Item = &'a Balance>,
    seen: &[LoadBalancerState],
    out: &BTreeSet<ServerId>,
    dead: &BTreeSet<ServerId>,
    policy: &Policy,
) -> Result<Takeover, Refusal> {
    let mut takeover = Takeover::default();
    for balance in balances {
        for seen in seen {
            let (before, after) = (balance.forecast(seen, dead), balance.forecast(seen, out));
            check(balance, &before, &after, out, policy.floor)?;
            check_room(balance, &before, &after, seen, policy)?;
            takeover.carriers.extend(takeover_servers(&before, &after, policy.floor).cloned());
            takeover.forecasts.push(after);
        }
    }
    Ok(takeover)
}

/// Returns the servers that must answer before others leave: all that carry the traffic afterwards, if the
/// distribution changes. Without a floor no server needs to answer.
pub fn takeover_servers<'a>(
    before: &Forecast,
    after: &'a Forecast,
    floor: usize,
) -> impl Iterator<Item = &'a ServerId> + use<'a> {
    let goes_elsewhere = before.shares != after.shares && floor > 0;
    after.shares.iter().filter(move |_| goes_elsewhere).map(|share| &share.server)
}

/// Returns whether `HAProxy` may give a new request to any server of a backend except those in `out`; `None` if
/// `seen` does not include the backend.
#[must_use]
pub fn serves(seen: &LoadBalancerState, backend: &str, out: &BTreeSet<ServerId>) -> Option<bool> {
    let mut servers = seen.servers.iter().filter(|server| server.id.backend == backend).peekable();
    servers.peek()?;
    Some(servers.any(|server| server.is_usable() && !out.contains(&server.id)))
}

/// Returns the backends that the plan promises to keep served while a lane is out. A backend in which the lane's
/// servers did not serve before is left out, because putting them back would not help it.
pub fn promised<'a>(lane: &'a Lane, policy: &Policy) -> impl Iterator<Item = &'a str> + use<'a> {
    let has_floor = policy.floor > 0;
    let is_served = |it: &&Forecast| !it.shares.is_empty();
    let served = |backend: &str| lane.servers.iter().any(|it| it.served && it.id.backend == backend);
    let served = lane.forecasts.iter().filter(is_served).filter(move |it| has_floor && served(&it.backend));
    served.map(|forecast| forecast.backend.as_str())
}

/// Checks that the servers that carry the traffic have room for the current load plus the policy's headroom. Servers
/// without a `maxconn` have unlimited room.
pub fn check_room(
    balance: &Balance,
    before: &Forecast,
    after: &Forecast,
    seen: &LoadBalancerState,
    policy: &Policy,
) -> Result<(), Refusal> {
    // Without a floor no server needs to carry the traffic.
    if before.shares == after.shares || policy.floor == 0 {
        return Ok(());
    }
    let limit = |share: &Share| seen.server(&share.server)?.limit;
    let Some(room) = after.shares.iter().map(limit).sum::<Option<u64>>() else { return Ok(()) };
    let servers = balance.servers.iter().filter_map(|(id, _)| seen.server(id));
    let running = servers.map(|server| server.sessions).sum::<u64>() + balance.queued(seen);
    if running.saturating_mul(100 + u64::from(policy.headroom)) <= room.saturating_mul(100) {
        return Ok(());
    }
    Err(Refusal::InsufficientCapacity { forecast: after.clone(), room, running, headroom: policy.headroom })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::AdminState;
    use crate::testing::{World, plan_file};

    fn balance(world: &World) -> Balance {
        Balance::of(world.topology().backend("mobile").unwrap())
    }

    fn out(server: &str) -> BTreeSet<ServerId> {
        BTreeSet::from([server.parse().unwrap()])
    }

    #[test]
    fn a_check_returns_the_servers_that_carry_the_traffic_or_a_refusal() {
        let world = World::origin().server("mobile/app2", |it| it.limit = Some(100));
        let seen = &world.observation.load_balancers;
        let fresh = |out: &BTreeSet<ServerId>, dead: &BTreeSet<ServerId>, floor, headroom| {
            let policy = Policy { floor, headroom, ..world.policy.clone() };
            require_capacity(&[balance(&world)], seen, out, dead, &policy)
        };
        let (app1, none) = (out("mobile/app1"), BTreeSet::new());
        let takeover = fresh(&app1, &none, 1, 0).unwrap();
        assert_eq!(takeover.forecasts[0].shares[0].server.to_string(), "mobile/app2");
        assert_eq!(takeover.carriers, out("mobile/app2"));
        assert!(matches!(fresh(&app1, &none, 2, 0), Err(Refusal::Floor { floor: 2, .. })));
        // Without a floor no server needs to answer or to have room.
        assert!(matches!(fresh(&app1, &none, 1, 10_000), Err(Refusal::InsufficientCapacity { .. })));
        assert_eq!(fresh(&app1, &none, 0, 10_000).unwrap().carriers, none);
        // A server that takes no traffic now is not needed.
        assert!(fresh(&out("mobile/app1b"), &none, 9, 0).is_ok());
        let both = BTreeSet::from(["mobile/app1".parse().unwrap(), "mobile/app2".parse().unwrap()]);
        let backups = BTreeSet::from(["mobile/app1b".parse().unwrap(), "mobile/app2b".parse().unwrap()]);
        let all = both.union(&backups).cloned().collect();
        assert!(fresh(&all, &both, 1, 0).is_err());
        // A dead server is not needed either, whatever state HAProxy reports.
        assert!(fresh(&all, &all, 1, 0).is_ok());
    }

    #[test]
    fn a_backend_is_served_if_haproxy_would_give_any_server_a_request() {
        let none = BTreeSet::new();
        let world = World::pair().maint("mobile/app1b");
        let seen = &world.observation.load_balancers[0];
        assert_eq!(serves(seen, "mobile", &none), Some(true));
        assert_eq!(serves(seen, "mobile", &out("mobile/app1")), Some(false), "the backup is in maint");
        assert_eq!(serves(seen, "tablet", &none), None, "the look was at other backends");
        // A draining server still has sessions, but gets no new ones.
        let draining = world.server("mobile/app1", |it| it.admin = AdminState::Drain.bits());
        assert_eq!(serves(&draining.observation.load_balancers[0], "mobile", &none), Some(false));
    }

    #[test]
    fn the_plan_promises_the_backends_that_it_has_counted_on() {
        let mut world = World::shared();
        let plan = plan_file(&world).plan;
        let both = plan.lanes.iter().find(|lane| lane.backends().len() == 2).expect("a lane of two backends");
        let backends = |lane: &Lane, policy: &Policy| promised(lane, policy).collect::<Vec<_>>().join(" ");
        assert_eq!(backends(both, &world.policy), "mobile tablet");
        let mut unserved = both.clone();
        unserved.forecasts.iter_mut().filter(|it| it.backend == "tablet").for_each(|it| it.shares.clear());
        assert_eq!(backends(&unserved, &world.policy), "mobile", "nothing was to serve tablet");
        let mut silent = both.clone();
        silent.servers.iter_mut().filter(|it| it.id.backend == "mobile").for_each(|it| it.served = false);
        assert_eq!(backends(&silent, &world.policy), "tablet", "its own server did not serve mobile before");
        world.policy.floor = 0;
        assert_eq!(backends(both, &world.policy), "");
    }

    #[test]
    fn impossible_numbers_do_not_make_room() {
        let mut world = World::pair()
            .server("mobile/app1", |it| it.sessions = u64::from(u32::MAX))
            .server("mobile/app1b", |it| it.limit = Some(u64::from(u32::MAX)));
        world.policy.headroom = u32::MAX;
        let (seen, balance) = (&world.observation.load_balancers[0], balance(&world));
        let (before, after) =
            (balance.forecast(seen, &BTreeSet::new()), balance.forecast(seen, &out("mobile/app1")));
        let room = |after| check_room(&balance, &before, after, seen, &world.policy);
        assert!(matches!(room(&after), Err(Refusal::InsufficientCapacity { .. })));
        // A server that this load balancer does not know may have any limit.
        let mut elsewhere = after.clone();
        elsewhere.shares[0].server = "mobile/app9".parse().unwrap();
        assert!(room(&elsewhere).is_ok());
    }
}
