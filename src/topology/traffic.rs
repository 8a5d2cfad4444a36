//! Predicts where `HAProxy` sends new requests, depending on which servers are usable.
//!
//! The rule was measured on 2.2, 2.6, 3.0 and 3.2: usable primaries share by weight. Without any, the first usable
//! backup takes everything, or with `option allbackups` all usable backups share.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cfg::Version;
use crate::model::ids::ServerId;
use crate::observation::LoadBalancerState;
use crate::topology::{Backend, Role};

/// The facts that decide where a backend's traffic goes and do not change during a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Balance {
    /// The backend's name.
    pub backend: String,
    /// Whether `option allbackups` is set.
    pub all_backups: bool,
    /// The servers, in the configuration's order.
    pub servers: Vec<(ServerId, Role)>,
}

impl Balance {
    /// Returns the balance of a backend.
    #[must_use]
    pub fn of(backend: &Backend) -> Self {
        let servers = backend.servers.iter().map(|server| (server.id.clone(), server.role)).collect();
        Self { backend: backend.name.clone(), all_backups: backend.all_backups, servers }
    }

    /// Returns the balance of a backend as the configuration has it.
    #[must_use]
    pub fn written(proxy: &crate::cfg::Proxy) -> Self {
        let servers =
            proxy.servers.iter().map(|server| (ServerId::new(&proxy.name, &server.name), Role::of(server)));
        Self { backend: proxy.name.clone(), all_backups: proxy.all_backups, servers: servers.collect() }
    }

    /// Returns where new requests go, by the states in `seen`, while the servers in `out` take none.
    #[must_use]
    pub fn forecast(&self, seen: &LoadBalancerState, out: &BTreeSet<ServerId>) -> Forecast {
        self.share(|id| seen.server(id).filter(|server| server.is_usable()).map(|server| server.weight), out)
    }

    /// Returns where new requests would go if the servers in `back` took some again, and those in `out` none.
    #[must_use]
    pub fn forecast_with(
        &self,
        seen: &LoadBalancerState,
        back: &BTreeSet<ServerId>,
        out: &BTreeSet<ServerId>,
    ) -> Forecast {
        let weight = |id: &ServerId| {
            let server = seen.server(id).filter(|server| server.is_usable() || back.contains(id));
            server.map(|server| server.weight)
        };
        self.share(weight, out)
    }

    /// Returns whether content switching sends the backend requests at a load balancer.
    #[must_use]
    pub fn is_published(&self, seen: &LoadBalancerState) -> bool {
        !seen.unpublished.contains(&self.backend)
    }

    /// Returns a note if content switching leaves the backend out at a load balancer. Such a backend keeps its
    /// sessions and its checks.
    #[must_use]
    pub fn unpublished(&self, load_balancers: &[LoadBalancerState]) -> Option<String> {
        let names: Vec<&str> = load_balancers
            .iter()
            .filter(|seen| !self.is_published(seen))
            .map(|seen| seen.name.as_str())
            .collect();
        let at = if names.len() < load_balancers.len() {
            format!(" at {}", names.join(", "))
        } else {
            String::new()
        };
        let backend = &self.backend;
        (!names.is_empty()).then(|| {
            format!("backend {backend} is unpublished{at}: HAProxy gives it no new requests until `publish backend {backend}`")
        })
    }

    /// Returns whether any of these servers belongs to the backend.
    #[must_use]
    pub fn has_any(&self, servers: &BTreeSet<ServerId>) -> bool {
        self.servers.iter().any(|(id, _)| servers.contains(id))
    }

    /// Returns how many requests wait in the backend's own queue.
    #[must_use]
    pub fn queued(&self, seen: &LoadBalancerState) -> u64 {
        seen.queued.get(&self.backend).copied().unwrap_or(0)
    }

    /// Returns a server that is free while requests wait in the backend's queue. `HAProxy` leaves them there if the
    /// last primary is taken out while they wait and only idle backups remain.
    #[must_use]
    pub fn stalled(&self, seen: &LoadBalancerState) -> Option<Stalled> {
        let queued = self.queued(seen);
        if queued == 0 || !can_be_woken(seen) {
            return None;
        }
        let takers = self.forecast(seen, &BTreeSet::new()).shares;
        let free = takers.into_iter().find_map(|share| {
            let state = seen.server(&share.server)?;
            state.limit.filter(|limit| state.sessions < *limit).map(|limit| (share.server, limit))
        });
        free.map(|(server, limit)| Stalled { server, limit, queued })
    }

    /// Does the same as [`Balance::forecast`], given the weight of each usable server.
    pub(crate) fn share(
        &self,
        weight: impl Fn(&ServerId) -> Option<u32>,
        out: &BTreeSet<ServerId>,
    ) -> Forecast {
        let usable = |role: Role| {
            let of_role = self.servers.iter().filter(move |(id, its)| *its == role && !out.contains(id));
            of_role
                .filter_map(|(id, _)| weight(id).map(|weight| (id.clone(), u64::from(weight))))
                .collect::<Vec<_>>()
        };
        let mut takers = usable(Role::Primary);
        if takers.is_empty() {
            takers = usable(Role::Backup);
            if !self.all_backups {
                takers.truncate(1);
            }
        }
        let sum: u64 = takers.iter().map(|(_, weight)| weight).sum();
        let shares = takers
            .into_iter()
            .map(|(server, weight)| Share { server, percent: percent(weight, sum) })
            .collect();
        Forecast { backend: self.backend.clone(), shares }
    }
}

/// Rounds to the nearest percent. Weights are at most 256, so nothing overflows.
fn percent(weight: u64, sum: u64) -> u8 {
    u8::try_from((weight * 200 + sum) / (sum.max(1) * 2)).unwrap_or(100)
}

/// Returns whether a server can be made to look into its backend's queue. The command crashes 2.2; versions before
/// 2.6 were not tried.
#[must_use]
pub fn can_be_woken(seen: &LoadBalancerState) -> bool {
    seen.version.parse::<Version>().is_ok_and(|version| version >= Version::new(2, 6))
}

/// A queue that does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalled {
    pub server: ServerId,
    /// The maximum number of sessions on the server.
    pub limit: u64,
    /// The number of requests that wait.
    pub queued: u64,
}

/// The prediction of which servers take a backend's new requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Forecast {
    /// The backend.
    pub backend: String,
    /// The share of each server. If empty, `HAProxy` itself answers 503.
    pub shares: Vec<Share>,
}

/// One server's share of a backend's new requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Share {
    /// The server.
    pub server: ServerId,
    /// The share in percent, rounded.
    pub percent: u8,
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shares.is_empty() {
            return write!(f, "no server serves {}", self.backend);
        }
        for (index, share) in self.shares.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} % → {}", share.percent, share.server)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn origin(all_backups: bool) -> Balance {
        let server = |name: &str, role| (ServerId::new("mobile", name), role);
        Balance {
            backend: "mobile".into(),
            all_backups,
            servers: vec![
                server("app1", Role::Primary),
                server("app1b", Role::Backup),
                server("app2", Role::Primary),
                server("app2b", Role::Backup),
            ],
        }
    }

    fn forecast(balance: &Balance, out: &[&str]) -> String {
        let out = out.iter().map(|name| ServerId::new("mobile", *name)).collect();
        balance.share(|_| Some(1), &out).to_string()
    }

    #[test]
    fn primaries_share_then_the_first_backup_takes_all() {
        let one = origin(false);
        assert_eq!(forecast(&one, &[]), "50 % → mobile/app1, 50 % → mobile/app2");
        assert_eq!(forecast(&one, &["app1"]), "100 % → mobile/app2");
        assert_eq!(forecast(&one, &["app1", "app2"]), "100 % → mobile/app1b");
        assert_eq!(forecast(&one, &["app1", "app2", "app1b"]), "100 % → mobile/app2b");
        assert_eq!(forecast(&one, &["app1", "app2", "app1b", "app2b"]), "no server serves mobile");
    }

    #[test]
    fn all_backups_share() {
        assert_eq!(forecast(&origin(true), &["app1", "app2"]), "50 % → mobile/app1b, 50 % → mobile/app2b");
    }

    /// Returns what HAProxy reports for a backend whose primary drains while three requests wait.
    fn waiting(version: &str, backup_sessions: u64) -> LoadBalancerState {
        let mut seen = crate::testing::World::pair().observation.load_balancers.remove(0);
        version.clone_into(&mut seen.version);
        seen.queued = [("mobile".to_owned(), 3)].into();
        seen.servers[0].admin = crate::observation::AdminBits(8);
        (seen.servers[1].limit, seen.servers[1].sessions) = (Some(2), backup_sessions);
        seen
    }

    #[test]
    fn a_queue_is_stalled_if_a_backup_is_free() {
        let pair = crate::testing::World::pair().topology();
        let balance = Balance::of(pair.backend("mobile").unwrap());
        let stalled = balance.stalled(&waiting("3.2.26", 0));
        assert_eq!(stalled, Some(Stalled { server: ServerId::new("mobile", "app1b"), limit: 2, queued: 3 }));
        assert_eq!(balance.stalled(&waiting("3.2.26", 2)), None);
        assert_eq!(balance.stalled(&waiting("2.2.9", 0)), None, "it would crash HAProxy");
        let without = LoadBalancerState { queued: BTreeMap::new(), ..waiting("2.6.12", 0) };
        assert_eq!(balance.stalled(&without), None);
    }

    #[test]
    fn weights_decide_the_share() {
        let weight = |id: &ServerId| Some(if id.server == "app1" { 200 } else { 100 });
        let forecast = origin(false).share(weight, &BTreeSet::new());
        assert_eq!(forecast.to_string(), "67 % → mobile/app1, 33 % → mobile/app2");
    }
}
