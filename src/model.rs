//! The words that every room uses: names, images, probes, lengths of time, and how text is cleaned.

pub mod command_line;
pub mod duration;
pub mod healthcheck;
pub mod hook;
pub mod ids;
pub mod image;
pub mod millis;
pub mod new_server;
pub mod probe;
pub mod registries;
pub mod run_kind;
pub mod sanitize;
pub mod secret;
pub mod trust;
pub mod weight;
pub mod words;
