//! Stories on real parts: HAProxy, Docker, a registry, and a load that sees every lost request.

#[path = "../support/mod.rs"]
mod support;

mod deploys;
