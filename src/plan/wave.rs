//! Decides which lanes run at the same time.

use std::collections::BTreeSet;

use crate::model::ids::ServerId;
use crate::plan::Lane;

/// Returns the number of lanes of each wave, in the order of the lanes; nothing if every lane runs alone.
///
/// A wave grows up to `parallel` lanes while `spares` holds for the servers of all its lanes together. A primary is
/// never in a wave with a backup, because the backup may have to take its traffic.
pub fn group(lanes: &[Lane], parallel: usize, spares: impl Fn(&BTreeSet<ServerId>) -> bool) -> Vec<usize> {
    let mut waves: Vec<usize> = Vec::new();
    let mut out: BTreeSet<ServerId> = BTreeSet::new();
    for (index, lane) in lanes.iter().enumerate() {
        let with_lane = &out | &lane.id_set();
        let fits = index > 0 && lanes[index - 1].role == lane.role && out.is_disjoint(&lane.id_set());
        if let Some(size) = waves.last_mut().filter(|size| **size < parallel && fits && spares(&with_lane)) {
            *size += 1;
            out = with_lane;
        } else {
            waves.push(1);
            out = lane.id_set();
        }
    }
    if waves.len() == lanes.len() { Vec::new() } else { waves }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use crate::topology::Role;

    /// Returns four lanes, of which the last one is a backup.
    fn lanes() -> Vec<Lane> {
        let plan = World::pair().plan("v2").unwrap();
        let lane = |name: &str, role: Role| {
            let mut lane = plan.lanes[0].clone();
            lane.servers[0].id = ServerId::new("mobile", name);
            Lane { role, ..lane }
        };
        let primaries = ["app1", "app2", "app3"].map(|name| lane(name, Role::Primary));
        primaries.into_iter().chain([lane("app4", Role::Backup)]).collect()
    }

    #[test]
    fn a_wave_grows_as_far_as_the_limit_and_the_capacity_allow() {
        let lanes = lanes();
        assert_eq!(group(&lanes, 1, |_| true), [0; 0]);
        assert_eq!(group(&lanes, 2, |_| true), [2, 1, 1]);
        assert_eq!(group(&lanes, 9, |_| true), [3, 1], "a backup runs after the primaries");
        assert_eq!(group(&lanes, 9, |out| out.len() < 3), [2, 1, 1]);
        assert_eq!(group(&lanes, 9, |_| false), [0; 0]);
        assert_eq!(group(&[], 9, |_| true), [0; 0]);
    }

    #[test]
    fn lanes_of_the_same_server_never_share_a_wave() {
        let mut lanes = lanes();
        lanes[1] = lanes[0].clone();
        assert_eq!(group(&lanes, 9, |_| true), [1, 2, 1]);
    }
}
