//! drainswap replaces the Docker containers behind an HAProxy backend without losing a request.
//!
//! ```text
//! haproxy.cfg bytes ─► cfg::Document ─► Topology ─► Plan ─► deploy ─► Event ─► reporters
//!                      cfg::Configuration  ▲       (pure)  (effects   (facts)  progress · text · json
//!                                          │               through
//!                       Observation ───────┘               ports)  ─► Journal (not a reporter: it may stop a run)
//!            (runtime socket, engine and drainswap's probes, read once, with timestamps)
//! ```
//!
//! Decide first, print the decision, then act. Every stage is a value that can be printed and serialised; the
//! next stage takes only that value.
//!
//! - [`cfg`], [`observation`], [`probe`], [`topology`], [`plan`], [`engine_call`], [`journal`], [`event`], [`history`],
//!   [`retention`], [`promotion`], [`engine_map`], [`places`], [`registries`] and [`trust`] are pure: values in, values
//!   out, no clock, no files, no network.
//! - [`observe`] observes the running system, and [`deploy`] executes a plan through the [`ports`]; neither depends on an
//!   adapter.
//! - [`doctor`] lists what earlier runs left behind, from the same values; [`command_line`] builds the commands that it
//!   prints.
//! - [`adapters`] implement the ports for the real system, and once more in memory; they do not depend on plan
//!   and deploy.
//! - [`service`] is the service that `drainswap.toml` describes; it becomes a backend, which [`cfg::edit`] writes into
//!   haproxy.cfg.
//! - [`schema`] has the JSON schemas of the files that drainswap writes and reads.
//! - [`output_file`] writes files for other programs, and chooses their owner and mode.
//! - [`sanitize`] cleans text from outside, both where it enters and where drainswap prints it.
//! - [`report`] sees only events. Only [`app`] depends on all other modules.
//! - [`ansible`] wraps all of this: it turns an Ansible task into a command line, and the output into the task's
//!   result.

pub mod adapters;
pub mod ansible;
pub mod app;
pub mod cfg;
pub mod cli;
pub mod deploy;
pub mod model;
pub mod observation;
pub mod output_file;
pub mod plan;
pub mod ports;
pub mod report;
pub mod run;
pub mod service;
pub mod settings;
pub mod site;
#[cfg(test)]
mod testing;
pub mod topology;
