//! Why a plan is refused: nothing has been touched, and nothing will be.

use std::net::IpAddr;
use std::time::Duration;

use crate::ids::ServerId;
use crate::observation::{AdminState, Owner};
use crate::outcome::list;
use crate::plan::text::seconds;
use crate::topology::matching::NoMatch;
use crate::topology::traffic::Forecast;

/// One reason to refuse. Every message says what, where, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No container fits a server line.
    #[error(
        "no container is behind {server} ({place}, {address}){}. {}. {}",
        why_none(.why, .address),
        candidates_sentence(.candidates),
        remedy(.why, .server, .address)
    )]
    Unmatched {
        /// The server line.
        server: ServerId,
        /// Where it is written.
        place: String,
        /// Its address.
        address: String,
        /// Why the one that may be meant does not fit.
        why: NoMatch,
        /// The containers that come nearest.
        candidates: Vec<String>,
    },
    /// Nobody can be asked whether the server serves.
    #[error(
        "{server} ({place}) has no address that could be asked whether it serves: it is a unix socket, a name that is not resolved, or has no port of its own. Give it an address and a port, and reload HAProxy"
    )]
    NoAddress {
        /// The server line.
        server: ServerId,
        /// Where it is written.
        place: String,
    },
    /// Several containers fit a server line.
    #[error("{server} ({place}) could be any of: {}. Name the right one in drainswap.toml: [servers] \"{server}\" = {{ container = \"NAME\" }}", .candidates.join("; "))]
    Ambiguous {
        /// The server line.
        server: ServerId,
        /// Where it is written.
        place: String,
        /// Those that fit.
        candidates: Vec<String>,
    },
    /// A server that haproxy.cfg lacks reaches the container too.
    #[error(
        "HAProxy also sends requests to {container} as {unlisted} ({status}, {}), which haproxy.cfg lacks: it cannot be drained together with {server}. Reload HAProxy if {unlisted} was removed from haproxy.cfg, name the file that has it with --haproxy-config, or take it out of service: `set server {unlisted} state maint` at {load_balancer}",
        crate::outcome::sessions(*.sessions)
    )]
    Unlisted {
        /// The server line.
        server: ServerId,
        /// The container's name.
        container: String,
        /// The server that haproxy.cfg lacks.
        unlisted: ServerId,
        /// `HAProxy`'s own word for its state.
        status: String,
        /// How many sessions it has.
        sessions: u64,
        /// The load balancer that runs it.
        load_balancer: String,
    },
    /// Another server line reaches a port of the container that its description does not have.
    #[error(
        "{container} is behind {server} and, at another port, behind {other}; a container that drainswap.toml describes has one port. Give {other} a container of its own, or do not describe this one (leave container_port out)"
    )]
    OtherPort {
        /// The server line whose backend is described.
        server: ServerId,
        /// The container.
        container: String,
        /// The other server line.
        other: ServerId,
    },
    /// Clients would be sent to a container that is not ready.
    #[error(
        "whether a container serves as {server} ({place}) only HAProxy's own check can tell ({why}), and option persist or force-persist sends clients there before that has passed. Take that line out of the backend for the time of the deploy, or give the backend a check that drainswap can ask too (option httpchk)"
    )]
    Persisted {
        /// The server line.
        server: ServerId,
        /// Where it is written.
        place: String,
        /// What its check does that drainswap cannot.
        why: String,
    },
    /// The running process does not know the server.
    #[error(
        "{server} is written at {place}, but the running HAProxy does not know it. Reload HAProxy, or give the configuration that it runs with --haproxy-config"
    )]
    UnknownToHaproxy {
        /// The server line.
        server: ServerId,
        /// Where it is written.
        place: String,
    },
    /// The server's state comes from elsewhere.
    #[error(
        "{server} is in {status}, which comes from a tracked server or from name resolution and cannot be ended by drainswap. Mend that first"
    )]
    Inherited {
        /// The server line.
        server: ServerId,
        /// `HAProxy`'s own word for it.
        status: String,
    },
    /// One load balancer has the server in service, and another one has not.
    #[error(
        "{server} is in {state} at {out_at}, and in service at another load balancer: only you know which it is to be. Set it everywhere alike (`drainswap ready {server}` or `drainswap maint {server}`), or put it in service with --enable"
    )]
    Torn {
        /// The server.
        server: ServerId,
        /// The state that it is in.
        state: AdminState,
        /// A load balancer that has it in that state.
        out_at: String,
    },
    /// Taking the servers out leaves too few.
    #[error(
        "without {} {} serve backend {backend}, and the floor is {floor}. {}Bring more servers up, or lower it with --floor if you accept that",
        list(.out),
        who_would(.forecast),
        who_stays_out(.stays_out)
    )]
    Floor {
        /// The backend.
        backend: String,
        /// The servers that would be out.
        out: Vec<ServerId>,
        /// Where the traffic would go.
        forecast: Forecast,
        /// How many servers must serve.
        floor: usize,
        /// Servers of the backend that a person or haproxy.cfg took out of service, and that the plan leaves there.
        stays_out: Vec<ServerId>,
    },
    /// The servers that would carry the traffic have no room for it.
    #[error(
        "{forecast} would have room for {} (maxconn), and backend {} has {running} now{}. Try again when there are fewer, or raise maxconn",
        crate::outcome::sessions(*.room),
        .forecast.backend,
        if *.headroom == 0 { String::new() } else { format!(", with a headroom of {headroom} %") }
    )]
    NoRoom {
        /// Where the traffic would go.
        forecast: Forecast,
        /// How many sessions those servers may have.
        room: u64,
        /// How many the backend has now.
        running: u64,
        /// How many per cent more there must be room for.
        headroom: u32,
    },
    /// A server that would carry the traffic does not answer.
    #[error(
        "{carrier} would carry the traffic while {server} is out, and it does not answer: {answer}. Mend it first, or accept with --floor 0 that nobody may serve meanwhile"
    )]
    CarrierSilent {
        /// The server that would be out.
        server: ServerId,
        /// The server that would carry its traffic.
        carrier: ServerId,
        /// What it answered.
        answer: String,
    },
    /// The container behind a server does not run, and something answers there all the same.
    #[error(
        "{server} answers, although the container {container} that would be behind it does not run: something else serves there. Give the right container the label drainswap.server={server}, or remove {container}"
    )]
    Impostor {
        /// The server line.
        server: ServerId,
        /// The stopped container's name.
        container: String,
    },
    /// The container's address is one that nobody can ask the engine for.
    #[error(
        "{server} ({place}) has the address {address}, which Docker has chosen for {container} in its default network and gives to no container on request: neither a new container nor the old one may come back to it. Publish the port (-p) and write that address, put the container into a network with a subnet (docker network create --subnet, docker run --network … --ip {address}), or write its name in the place of {address}"
    )]
    AddressNotKept {
        /// The server line.
        server: ServerId,
        /// Where it is written.
        place: String,
        /// The container's name.
        container: String,
        /// The address.
        address: IpAddr,
    },
    /// The container would vanish when it is stopped.
    #[error(
        "the container {container} behind {server} was started with --rm: it vanishes when it is stopped, and nothing could bring it back. Start it without --rm first"
    )]
    AutoRemove {
        /// The server line.
        server: ServerId,
        /// The container's name.
        container: String,
    },
    /// Others live in the container.
    #[error(
        "{} in the network, IPC or process namespace of the container {container} behind {server}, and would lose it when that is stopped. Stop them first, and create them again for the new one. Where one of them is what serves, and {container} only gives it its network as a VPN does, give that one the label drainswap.server={server}",
        if .lodgers.len() == 1 { format!("{} lives", .lodgers[0]) } else { format!("{} live", .lodgers.join(", ")) }
    )]
    Lodgers {
        /// The server line.
        server: ServerId,
        /// The container's name.
        container: String,
        /// The names of those that live in it.
        lodgers: Vec<String>,
    },
    /// A container that runs has what the new one would have.
    #[error(
        "the new container {container} behind {server} could not be started: the container {holder} has {what}. Give one of the two another port or address, or stop {holder} if nothing needs it"
    )]
    Taken {
        /// The server line.
        server: ServerId,
        /// The new container's name.
        container: String,
        /// What both would have: a port or an address.
        what: String,
        /// The container that has it.
        holder: String,
    },
    /// The new container would fail to start: its host or its engine lacks something.
    #[error("the new container {container} behind {server} could not be started: {what}")]
    WouldNotStart {
        /// The server line.
        server: ServerId,
        /// The new container's name.
        container: String,
        /// What is in the way, and what to do.
        what: String,
    },
    /// Docker would not call the new container healthy in time.
    #[error(
        "Docker asks the healthcheck of {container} behind {server} for the first time {} after a start, and a new container must be healthy within {} (--ready-timeout): it would fail. Use a longer --ready-timeout, or give the container a shorter interval (--health-interval) or, from Docker 25 on, a start period (--health-start-period)",
        seconds(*.first_check),
        seconds(*.ready_timeout)
    )]
    HealthyTooLate {
        /// The server line.
        server: ServerId,
        /// The new container's name.
        container: String,
        /// How long after its start it is asked first.
        first_check: Duration,
        /// How long it may take.
        ready_timeout: Duration,
    },
    /// Another run, of which this state directory does not know, is at work.
    #[error(
        "the container {container} was put aside by another run, which works on {server} or was killed there. Let it end, or end it by `drainswap resume` with the --state-dir that it has; `drainswap doctor` tells what may be removed"
    )]
    OtherRun {
        /// The lane's first server.
        server: ServerId,
        /// The container by which it is known.
        container: String,
    },
    /// Another tool would start another one.
    #[error(
        "the container {container} behind {server} belongs to {owner}, which starts another as soon as this one stops. {own_way}"
    )]
    Managed {
        /// The server line.
        server: ServerId,
        /// The container's name.
        container: String,
        /// To what it belongs.
        owner: Owner,
        /// How that changes an image.
        own_way: String,
    },
}

/// What keeps a container from being behind a server line, if one might be meant.
pub(super) fn why_none(why: &NoMatch, address: &str) -> String {
    match why {
        NoMatch::NoneFits => String::new(),
        NoMatch::NotThere { container } => {
            format!(": [servers] in drainswap.toml names {container}, and its engine has no such container")
        }
        NoMatch::OtherNetwork { keyword } => {
            format!(": with {keyword} on the line, the address is one of another network")
        }
        NoMatch::ResolvedElsewhere { container } => {
            format!(
                ": {container} has the name, but HAProxy has resolved it to {address}, where {container} is not"
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
            "If it is the right one all the same, give it the label drainswap.server={server}, or {settings}; if its \
             address has changed, reload HAProxy"
        ),
    }
}

fn candidates_sentence(candidates: &[String]) -> String {
    if candidates.is_empty() {
        "No container that runs on its engine publishes that port, has that address, or is labelled or named like it".to_owned()
    } else {
        format!("Candidates: {}", candidates.join("; "))
    }
}

fn who_would(forecast: &Forecast) -> String {
    match forecast.shares.len() {
        0 => "nobody would".to_owned(),
        1 => format!("only 1 server ({forecast}) would"),
        more => format!("only {more} servers ({forecast}) would"),
    }
}

/// What would help where servers are out of service by hand.
fn who_stays_out(servers: &[ServerId]) -> String {
    let (was, them) = if servers.len() == 1 { ("was", "it") } else { ("were", "them") };
    let told = || {
        format!(
            "{} {was} taken out of service by hand: --enable puts {them} in service first. ",
            list(servers)
        )
    };
    if servers.is_empty() { String::new() } else { told() }
}

#[cfg(test)]
mod tests;
