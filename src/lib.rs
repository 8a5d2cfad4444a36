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
pub mod command_line;
pub mod deploy;
pub mod doctor;
pub mod engine_call;
pub mod engine_map;
pub mod error;
pub mod event;
pub mod exit;
pub mod history;
pub mod hook;
pub mod ids;
pub mod image;
pub mod journal;
mod millis;
pub mod observation;
pub mod observe;
pub mod outcome;
pub mod output_file;
pub mod places;
pub mod plan;
pub mod ports;
pub mod probe;
pub mod promotion;
pub mod registries;
pub mod report;
pub mod retention;
pub mod sanitize;
pub mod schema;
mod secret;
pub mod service;
pub mod settings;
pub mod status;
#[cfg(test)]
mod testing;
pub mod topology;
pub mod trust;
pub mod weight;
