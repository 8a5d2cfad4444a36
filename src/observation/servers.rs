//! The servers of one observation, with a lookup by name.

use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use serde::Serialize;

use super::ServerState;
use crate::model::ids::ServerId;

/// The servers of one observation, in `HAProxy`'s order.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Servers {
    all: Vec<ServerState>,
    /// The positions sorted by name, computed at the first lookup: a run over a thousand lines looks each of them up.
    #[serde(skip)]
    by_name: OnceLock<Vec<usize>>,
}

impl Servers {
    /// Returns the server with that name, or the first one if `HAProxy` lists two.
    #[must_use]
    pub fn find(&self, id: &ServerId) -> Option<&ServerState> {
        let by_name = self.by_name.get_or_init(|| {
            let mut places: Vec<usize> = (0..self.all.len()).collect();
            places.sort_by_key(|place| &self.all[*place].id);
            places
        });
        let place = by_name.partition_point(|place| self.all[*place].id < *id);
        by_name.get(place).map(|place| &self.all[*place]).filter(|server| server.id == *id)
    }
}

impl From<Vec<ServerState>> for Servers {
    fn from(all: Vec<ServerState>) -> Self {
        Self { all, by_name: OnceLock::new() }
    }
}

impl FromIterator<ServerState> for Servers {
    fn from_iter<I: IntoIterator<Item = ServerState>>(servers: I) -> Self {
        Vec::from_iter(servers).into()
    }
}

impl PartialEq for Servers {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Eq for Servers {}

impl Deref for Servers {
    type Target = Vec<ServerState>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

/// Drops the index, because a change may move or rename the servers.
impl DerefMut for Servers {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.by_name.take();
        &mut self.all
    }
}

impl IntoIterator for Servers {
    type Item = ServerState;
    type IntoIter = std::vec::IntoIter<ServerState>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

impl<'a> IntoIterator for &'a Servers {
    type Item = &'a ServerState;
    type IntoIter = std::slice::Iter<'a, ServerState>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn a_server_is_found_by_its_name_after_every_change() {
        let mut servers = World::origin().observation.load_balancers.remove(0).servers;
        let names = |servers: &Servers| -> Vec<ServerId> { servers.iter().map(|it| it.id.clone()).collect() };
        let all = names(&servers);
        assert!(all.iter().all(|id| servers.find(id).is_some_and(|found| found.id == *id)));
        servers.reverse();
        let mut twin = servers.remove(0);
        assert_eq!(servers.find(&twin.id), None);
        twin.id = all[0].clone();
        twin.weight = 77;
        servers.push(twin);
        assert_ne!(servers.find(&all[0]).unwrap().weight, 77, "the first of two");
        assert!(names(&servers).iter().all(|id| servers.find(id).is_some_and(|found| found.id == *id)));
        assert_eq!(servers.find(&ServerId::new("zzz", "none")), None);
    }
}
