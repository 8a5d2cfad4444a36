//! Reasons to refuse a plan. Nothing has been changed when a plan is refused.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::ids::ServerId;
use crate::model::words::list;
use crate::observation::{AdminState, Owner};
use crate::plan::text::seconds;
use crate::topology::matching::NoMatch;
use crate::topology::traffic::Forecast;

/// A reason to refuse a plan. Every message says what is wrong, where, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No container matches a server line.
    #[error(
        "no container is behind {server} ({place}, {address}){}. {}. {}",
        no_match_reason(.why, .address),
        candidates_sentence(.candidates),
        remedy(.why, .server, .address)
    )]
    Unmatched {
        server: ServerId,
        place: String,
        address: String,
        why: NoMatch,
        /// The containers that come closest.
        candidates: Vec<String>,
    },
    /// The server has no address to probe.
    #[error(
        "{server} ({place}) has no address to probe: its address is a unix socket or an unresolved name, or it has no port. Give it an address and a port, and reload HAProxy"
    )]
    NoAddress { server: ServerId, place: String },
    /// Several containers match a server line.
    #[error("{server} ({place}) could be any of: {}. Name the right one in drainswap.toml: [servers] \"{server}\" = {{ container = \"NAME\" }}", .candidates.join("; "))]
    Ambiguous { server: ServerId, place: String, candidates: Vec<String> },
    /// A server that is not in haproxy.cfg reaches the container too.
    #[error(
        "HAProxy also sends requests to {container} as {unlisted} ({status}, {}), which is not in haproxy.cfg, so it cannot be drained together with {server}. Reload HAProxy if {unlisted} was removed from haproxy.cfg, use --haproxy-config to name the file that has it, or take it out of service: `set server {unlisted} state maint` at {load_balancer}",
        crate::model::words::sessions(*.sessions)
    )]
    Unlisted {
        server: ServerId,
        container: String,
        unlisted: ServerId,
        /// The state, as `HAProxy` prints it.
        status: String,
        sessions: u64,
        load_balancer: String,
    },
    /// Another server line reaches the container at a port that its description does not have.
    #[error(
        "{container} is behind {server} and, at another port, behind {other}, but a container described in drainswap.toml has only one port. Give {other} its own container, or do not describe this one (leave container_port out)"
    )]
    OtherPort { server: ServerId, container: String, other: ServerId },
    /// Clients would be sent to a container that is not ready.
    #[error(
        "only HAProxy's own check can tell whether a container serves as {server} ({place}; {why}), but option persist or force-persist sends clients there before that check has passed. Take the line out of the backend during the deploy, or give the backend a check that drainswap can run too (option httpchk)"
    )]
    PersistentClients {
        server: ServerId,
        place: String,
        /// What its check does that drainswap cannot do.
        why: String,
    },
    /// The running process does not know the server.
    #[error(
        "{server} is in haproxy.cfg ({place}), but the running HAProxy does not know it. Reload HAProxy, or use --haproxy-config to name the configuration that it runs"
    )]
    UnknownToHaproxy { server: ServerId, place: String },
    /// The server's state is inherited.
    #[error(
        "{server} is in {status}, which comes from a tracked server or from name resolution, so drainswap cannot end it. Bring that server up, or correct the name resolution, first"
    )]
    StateInherited {
        server: ServerId,
        /// The state, as `HAProxy` prints it.
        status: String,
    },
    /// The server is in service at one load balancer and out of service at another.
    #[error(
        "{server} is in {state} at {out_at}, but in service at another load balancer, and drainswap cannot know which is intended. Set the same state everywhere (`drainswap ready {server}` or `drainswap maint {server}`), or put it in service with --enable"
    )]
    MixedStates {
        server: ServerId,
        state: AdminState,
        /// A load balancer that has the server in that state.
        out_at: String,
    },
    /// Too few servers would serve.
    #[error(
        "without {} {} serve backend {backend}, and the floor is {floor}. {}Bring more servers up, or lower the floor with --floor",
        list(.out),
        remaining_servers(.forecast),
        servers_to_enable(.stays_out)
    )]
    Floor {
        backend: String,
        out: Vec<ServerId>,
        /// Where the traffic would go.
        forecast: Forecast,
        floor: usize,
        /// The servers of the backend that a person or haproxy.cfg took out of service, and that the plan leaves
        /// there.
        stays_out: Vec<ServerId>,
    },
    /// A surge server was asked for or would help, but cannot join.
    #[error("{0}")]
    NoSurge(NoSurge),
    /// The servers that would take over have too little room.
    #[error(
        "the remaining servers ({forecast}) would have room for {} (maxconn), but backend {} has {running} now{}. Try again when there are fewer, raise maxconn, or use --floor 0 to accept that requests queue or fail",
        crate::model::words::sessions(*.room),
        .forecast.backend,
        if *.headroom == 0 { String::new() } else { format!(", with a headroom of {headroom} %") }
    )]
    InsufficientCapacity {
        /// Where the traffic would go.
        forecast: Forecast,
        /// The number of sessions that those servers may have.
        room: u64,
        /// The number of sessions that the backend has now.
        running: u64,
        /// The spare capacity required, in percent.
        headroom: u32,
    },
    /// A server that would take over does not answer.
    #[error(
        "{carrier} would take over while {server} is out, but it fails its probe: {answer}. Fix it first, or use --floor 0 to accept an outage"
    )]
    TakeoverServerDown {
        server: ServerId,
        /// The server that would take over.
        carrier: ServerId,
        answer: String,
    },
    /// The container behind a server is not running, but something answers there.
    #[error(
        "{server} answers although its container {container} is not running, so something else serves there. Give the right container the label drainswap.server={server}, or remove {container}"
    )]
    UnknownListener { server: ServerId, container: String },
    /// The container has an address that the engine assigns to no container on request.
    #[error(
        "{server} ({place}) has the address {address}, which Docker chose for {container} in its default network and assigns to no container on request, so neither a new container nor the old one may get it again. Publish the port (-p) and use the published address, put the container in a network with a subnet (docker network create --subnet, docker run --network … --ip {address}), or use its name instead of {address}"
    )]
    AddressNotKept { server: ServerId, place: String, container: String, address: IpAddr },
    /// The engine would delete the container when it stops.
    #[error(
        "container {container} behind {server} was started with --rm: Docker deletes it when it stops, and drainswap could not bring it back. Start it without --rm first"
    )]
    AutoRemove { server: ServerId, container: String },
    /// Other containers share the container's namespaces.
    #[error(
        "{} a namespace (network, IPC or PID) with {container} behind {server} and would lose it when {container} stops. Stop {} first and recreate {} after the deploy. If such a container is the one that serves, and {container} only provides its network, as a VPN does, give it the label drainswap.server={server}",
        sharing(.dependents),
        it_or_them(.dependents),
        it_or_them(.dependents)
    )]
    SharedNamespaces { server: ServerId, container: String, dependents: Vec<String> },
    /// A running container has a port or an address that the new one needs.
    #[error(
        "cannot start the new container {container} behind {server}: container {holder} has {what}. Give one of the two another port or address, or stop {holder} if nothing needs it"
    )]
    ResourceTaken {
        server: ServerId,
        container: String,
        /// The port or the address.
        what: String,
        holder: String,
    },
    /// The host or the engine lacks something that the new container needs.
    #[error("cannot start the new container {container} behind {server}: {what}")]
    WouldNotStart {
        server: ServerId,
        container: String,
        /// The problem, and what to do.
        what: String,
    },
    /// Docker would not report the new container as healthy in time.
    #[error(
        "Docker first runs the healthcheck of {container} behind {server} {} after a start, but a new container must be healthy within {} (--ready-timeout), so it would fail. Use a longer --ready-timeout, or give the container a shorter interval (--health-interval) or, from Docker 25 on, a start period (--health-start-period)",
        seconds(*.first_check),
        seconds(*.ready_timeout)
    )]
    HealthyTooLate {
        server: ServerId,
        container: String,
        /// The time from a start to the first check.
        first_check: Duration,
        ready_timeout: Duration,
    },
    /// A run that this state directory does not know is at work.
    #[error(
        "container {container} belongs to another run, which put it aside and works on {server} or was killed there. Let that run finish, or finish it with `drainswap resume` and its --state-dir. `drainswap doctor` lists what may be removed"
    )]
    ConcurrentRun {
        server: ServerId,
        /// The container that reveals the other run.
        container: String,
    },
    /// Another tool would start another container.
    #[error(
        "container {container} behind {server} belongs to {owner}, which starts another as soon as this one stops. {own_way}"
    )]
    ManagedByOther {
        server: ServerId,
        container: String,
        owner: Owner,
        /// The owner's own way to change an image.
        own_way: String,
    },
}

/// The reason why no surge server can stand in for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSurge {
    pub server: ServerId,
    pub why: String,
}

impl fmt::Display for NoSurge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no surge server can stand in for {}: {}", self.server, self.why)
    }
}

impl Refusal {
    /// Returns what is missing if the refusal is of capacity: the message without its advice.
    #[must_use]
    pub fn shortage(&self) -> Option<String> {
        if let Self::Floor { backend, out, forecast, floor, .. } = self {
            let (out, remaining) = (list(out), remaining_servers(forecast));
            return Some(format!(
                "without {out} {remaining} serve backend {backend}, and the floor is {floor}"
            ));
        }
        let Self::InsufficientCapacity { forecast, room, running, .. } = self else { return None };
        let (room, backend) = (crate::model::words::sessions(*room), &forecast.backend);
        Some(format!(
            "the remaining servers ({forecast}) would have room for {room}, but backend {backend} has {running} now"
        ))
    }
}

/// Returns why no container is behind a server line, if one might be intended.
pub(super) fn no_match_reason(why: &NoMatch, address: &str) -> String {
    match why {
        NoMatch::NoneFits => String::new(),
        NoMatch::NotThere { container } => {
            format!(": [servers] in drainswap.toml names {container}, but its engine has no such container")
        }
        NoMatch::OtherNetwork { keyword } => {
            format!(": {keyword} on the line puts its address in another network")
        }
        NoMatch::ResolvedElsewhere { container } => {
            format!(
                ": {container} has the name, but HAProxy has resolved it to {address}, which is not an address of {container}"
            )
        }
    }
}

fn remedy(why: &NoMatch, server: &ServerId, address: &str) -> String {
    let settings = format!("name it in drainswap.toml: [servers] \"{server}\" = {{ container = \"NAME\" }}");
    match why {
        NoMatch::NoneFits => format!(
            "Give the right one the label drainswap.server={server}, or publish {address} from it, or {settings}"
        ),
        NoMatch::NotThere { .. } => {
            format!(
                "Correct that entry, or leave it out and give the right one the label drainswap.server={server}"
            )
        }
        NoMatch::OtherNetwork { .. } => {
            format!("Give the right one the label drainswap.server={server}, or {settings}")
        }
        NoMatch::ResolvedElsewhere { .. } => format!(
            "If it is the right one anyway, give it the label drainswap.server={server}, or {settings}; if its \
             address has changed, reload HAProxy"
        ),
    }
}

fn candidates_sentence(candidates: &[String]) -> String {
    if candidates.is_empty() {
        "No running container on its engine publishes that port, has that address, or has a similar label or name".to_owned()
    } else {
        format!("Candidates: {}", candidates.join("; "))
    }
}

fn remaining_servers(forecast: &Forecast) -> String {
    match forecast.shares.len() {
        0 => "no server would".to_owned(),
        1 => format!("only 1 server ({forecast}) would"),
        more => format!("only {more} servers ({forecast}) would"),
    }
}

/// Suggests `--enable` if servers were taken out of service by hand.
fn servers_to_enable(servers: &[ServerId]) -> String {
    let (was, them) = if servers.len() == 1 { ("was", "it") } else { ("were", "them") };
    let advice = || {
        format!(
            "{} {was} taken out of service by hand: --enable puts {them} in service first. ",
            list(servers)
        )
    };
    if servers.is_empty() { String::new() } else { advice() }
}

/// Names containers as the subject of a sentence about what they share.
fn sharing(containers: &[String]) -> String {
    match containers {
        [only] => format!("container {only} shares"),
        all => format!("containers {} share", all.join(", ")),
    }
}

fn it_or_them(containers: &[String]) -> &'static str {
    if containers.len() == 1 { "it" } else { "them" }
}

#[cfg(test)]
mod tests;
