//! The implementations of the ports for the real system, and one in memory for tests.

mod bounded;
pub mod config_files;
pub mod container_root;
pub mod docker;
pub mod environment;
pub mod events_file;
pub mod haproxy;
pub mod haproxy_binary;
pub mod haproxy_service;
pub mod hook_command;
pub mod http_probe;
pub mod install;
pub mod journal_file;
pub mod lock_file;
#[cfg(any(test, feature = "simulation"))]
pub mod memory;
pub mod ownership;
pub mod private_file;
mod regular_file;
pub mod root_only;
mod shell;
