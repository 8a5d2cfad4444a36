//! drainswap replaces the Docker containers behind an `HAProxy` backend without losing a request.
//!
//! ```text
//! haproxy.cfg bytes ─► cfg::Document ─► Topology ─► Plan ─► deploy ─► Event ─► reporters
//!                      cfg::Configuration  ▲       (pure)  (effects   (facts)  progress · text · json
//!                                          │               through
//!                       Observation ───────┘               ports)  ─► Journal (not a reporter: it may stop a run)
//!            (runtime socket, engine and our own probes, looked at once, stamped)
//! ```
//!
//! Decide first, print what was decided, then act. Every stage is a value that prints and serialises; the
//! next stage takes only that value.
//!
//! - [`cfg`], [`observation`], [`probe`], [`topology`], [`plan`], [`engine_call`], [`journal`], [`event`], [`history`], [`retention`], [`promotion`], [`engines`], [`places`], [`registries`], [`trust`] are pure: values in,
//!   values out, no clock, no files, no network.
//! - [`look`] looks at the world, and [`deploy`] works a plan off through the [`ports`]; it never meets an adapter.
//! - [`doctor`] names what was left behind, from the same values; the commands that it prints are [`command_line`]'s.
//! - [`adapters`] are the real world behind the ports, and one in memory; they know nothing of plan and deploy.
//! - [`service`] is what `drainswap.toml` describes; it becomes a backend, which [`cfg::edit`] puts into haproxy.cfg.
//! - [`schema`] has the forms of what is written and read.
//! - [`output_file`] writes what others read: with whose owner and mode.
//! - [`foreign`] cleans what others have written, where it enters and where it is printed.
//! - [`report`] sees only events. Only [`app`] knows everybody.
//! - [`ansible`] stands before all that: a task of Ansible's becomes a command line, and what that prints the task's answer.

pub mod adapters;
pub mod ansible;
pub mod app;
pub mod cfg;
pub mod cli;
pub mod command_line;
pub mod deploy;
pub mod doctor;
pub mod engine_call;
pub mod engines;
pub mod error;
pub mod event;
pub mod exit;
pub mod foreign;
pub mod history;
pub mod hook;
pub mod ids;
pub mod image;
pub mod journal;
pub mod look;
mod millis;
pub mod observation;
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
