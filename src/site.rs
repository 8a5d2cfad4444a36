//! A site: its load balancers and engines behind the ports, as deploys, single moves and `config apply` use them.

pub mod engines;
pub mod idle;
pub mod late;
pub mod lateness;
pub mod observe;
pub mod unanswered;
pub mod wait;
