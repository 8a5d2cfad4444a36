//! What a site is like before a run: servers in maint, kept containers, containers that are gone.

use drainswap::adapters::memory::{ContainerRecord, ServerLine, SimulatedSite};
use drainswap::model::ids::ServerId;
use drainswap::model::image::Image;
use drainswap::observation::{AdminState, ContainerState};

use super::image;

/// The running process has no agents yet; a reload adds them.
pub fn without_agents(site: &mut SimulatedSite) {
    let workers = site.haproxies.iter_mut().filter_map(|it| it.worker.as_mut());
    workers.flat_map(|worker| &mut worker.lines).for_each(|line| line.agent = None);
}

/// Returns the name of the container that an earlier run kept for a server.
fn kept(name: &str) -> String {
    format!("{name}.old-20261120T201500.000Z")
}

/// Adds a kept container with v2 next to every container.
pub fn with_kept(site: &mut SimulatedSite) {
    let running = site.engine.containers.iter();
    let running: Vec<_> = running.filter_map(|it| Some((kept(&it.container.name), it.address()?))).collect();
    for (name, address) in running {
        site.engine.add_kept(&name, address, &image("v2"));
    }
}

/// Makes the engine choose a new port whenever a container starts.
pub fn with_random_ports(site: &mut SimulatedSite) {
    site.engine.containers.iter_mut().for_each(|place| place.floats = true);
}

/// Returns the server lines of the backup.
fn backups(site: &mut SimulatedSite) -> impl Iterator<Item = &mut ServerLine> {
    let workers = site.haproxies.iter_mut().filter_map(|it| it.worker.as_mut());
    workers.flat_map(|worker| &mut worker.lines).filter(|line| line.id.server == "app1b")
}

/// Returns the container of the backup.
fn backup(site: &mut SimulatedSite) -> &mut ContainerRecord {
    let mut all = site.engine.containers.iter_mut();
    all.find(|place| place.container.name == "mobile-app1b").expect("a backup")
}

/// Sets the backup to maint, as an operator would.
pub fn in_maint(site: &mut SimulatedSite) {
    for line in backups(site) {
        (line.admin, line.up, line.health) = (AdminState::Maint.bits(), false, 0);
    }
}

/// Removes the containers behind the last two lines.
pub fn sorry(site: &mut SimulatedSite) {
    site.engine.containers.truncate(2);
}

/// Returns whether a server has no container, before and after the run.
pub fn is_left(server: &ServerId) -> bool {
    server.server == "sorry" || server.server == "slot"
}

/// Makes the first container publish the port of the forgotten line without listening at it.
pub fn forgotten(site: &mut SimulatedSite) {
    let unused = site.engine.containers.pop().expect("a container at the forgotten address").container;
    site.engine.containers[0].container.published.extend(unused.published);
    let workers = site.haproxies.iter_mut().filter_map(|it| it.worker.as_mut());
    for line in workers.flat_map(|worker| &mut worker.lines).filter(|line| is_forgotten(&line.id)) {
        (line.up, line.health, line.passed) = (false, 0, Some(false));
    }
}

/// Returns whether a server has not served for a long time before the run.
pub fn is_forgotten(server: &ServerId) -> bool {
    server.backend == "forgotten"
}

/// Makes the backup run v2 and leaves it in maint.
pub fn left_in_maint(site: &mut SimulatedSite) {
    in_maint(site);
    let Image::Registry { reference, digest } = image("v2") else { unreachable!("a registry's image") };
    let container = &mut backup(site).container;
    container.repo_digests = vec![format!("{}@{digest}", reference.repository)];
    container.image.0 = digest;
}

/// Stops the backup's container, as seen by `HAProxy`.
pub fn stopped(site: &mut SimulatedSite) {
    backup(site).container.state = ContainerState::Stopped;
    backups(site).for_each(|line| (line.up, line.health) = (false, 0));
}

/// Removes the backup's container.
pub fn gone(site: &mut SimulatedSite) {
    stopped(site);
    site.engine.containers.retain(|place| place.container.name != "mobile-app1b");
}
