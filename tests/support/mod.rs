//! The test bench: a stage with real parts, and a load generator that notices every lost request.
//!
//! ```no_run
//! # async fn story() {
//! let stage = support::Stage::origin().start().await;
//! let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
//! let load = support::Load::start(stage.frontend(), support::Mix::default());
//! load.answered(300).await;
//! // … deploy `v2` …
//! let report = load.stop().await;
//! assert_eq!(report.failed(), 0, "{report}");
//! stage.close().await;
//! # }
//! ```
//!
//! Runs share no names or ports: ports are reserved, container names have a random prefix, and files are in a temporary
//! directory. Dropping the stage removes everything, even after a panic.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of the bench")]

mod ansible;
mod application;
mod builder;
mod client;
mod contained;
mod engine;
mod haproxy;
mod http;
mod image;
mod layout;
mod load;
mod markdown;
mod podman;
mod ports;
mod process;
mod reads;
mod registry;
mod report;
mod site;
mod sshd;
mod stage;
mod sweeper;
mod tls_engine;
mod token_server;
mod tool;
mod under_test;
mod wait;

pub use ansible::Ansible;
pub use application::Application;
pub use builder::Builder;
pub use contained::ContainedHaproxy;
pub use engine::{Container, Engine, LABEL};
pub use haproxy::{Haproxy, Processes, binary};
pub use http::{Answer, Connection, Loss, get};
pub use layout::{Layout, Mode, Server};
pub use load::{Load, Mix, Streams};
pub use markdown::{Block, Typed, blocks, commands, pages};
pub use podman::Podman;
pub use ports::Ports;
pub use process::{Process, find, installed};
pub use reads::Reads;
pub use registry::{PASSWORD, Registry, USER};
pub use report::{Kind, Outcome, Record, Report};
pub use site::Site;
pub use sshd::Sshd;
pub use stage::{SecondBalancer, Stage};
pub use tls_engine::{CertificateKind, TlsEngine};
pub use token_server::TokenServer;
pub use tool::{Ended, finish, program};
pub use wait::{wait_for, wait_until};
