//! A site: its load balancers and engines behind the ports, as deploys, single moves and `config apply` use them.

pub mod engines;
pub mod fleet;
pub mod idle;
pub mod late;
pub mod lateness;
pub mod observe;
pub mod planning;
pub mod unanswered;
pub mod wait;

use std::collections::BTreeMap;

use engines::Engines;
use late::Tracked;

use crate::model::command_line::CommandLine;
use crate::run::journal;

/// The site that a run works on, seen through the ports.
#[derive(Debug)]
pub struct Site<L, E, P, C, H> {
    pub load_balancers: Vec<Tracked<L>>,
    pub engines: Engines<E>,
    pub prober: P,
    pub clock: C,
    pub hooks: H,
    /// Described containers, by backend. They hold secrets, which a plan must not contain.
    pub descriptions: BTreeMap<String, crate::service::Container>,
    /// Builds the `drainswap` commands that messages suggest.
    pub typed: CommandLine,
    pub identity: journal::SiteIdentity,
}
