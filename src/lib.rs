//! drainswap replaces the Docker containers behind an HAProxy backend without losing a request.
//!
//! ```text
//! haproxy.cfg ─► cfg ─► topology ─► plan ─► deploy ─► site ─► ports ◄─ adapters
//!                          ▲          │        │
//!                    observation ─────┘        └─► run: journal (may stop a run), progress, events ─► report
//! ```
//!
//! Decide first, print the decision, then act. Every stage is a value that can be printed and serialised; the
//! next stage takes only that value.
//!
//! Each room (a top-level module of src/) imports only the rooms in its row. A test compares the rows with the source.
//!
//! ```text
//! model
//! output_file
//! cfg          model
//! observation  model
//! service      model cfg observation
//! topology     model cfg observation
//! plan         model service observation topology
//! run          model cfg observation topology plan
//! ports        model service observation run
//! site         model cfg service observation topology plan run ports
//! deploy       model service observation topology plan run ports site
//! adapters     model cfg service observation topology run ports output_file
//! report       model observation topology plan run output_file
//! cli          model cfg plan report
//! settings     model cfg service topology plan cli adapters
//! app          every room but ansible
//! ansible      model cli app
//! ```
//!
//! - [`model`], [`cfg`], [`service`], [`observation`], [`topology`], [`plan`] and [`run`] are pure: values in, values out,
//!   no clock, no files, no network.
//! - [`site`] is the ports together: it observes the running system, calls its load balancers as one, and knows what may
//!   still take effect late.
//! - [`deploy`] executes a plan. The lanes of a run share its journal ([`run`]), which is its only memory. A single move
//!   has no journal, because it leaves nothing to resume.
//! - [`adapters`] implement the ports for the real system and, with the feature `simulation`, once more in memory.
//! - [`report`] sees only what a run emits. Only [`app`] depends on all rooms below it; [`ansible`] wraps it.

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
