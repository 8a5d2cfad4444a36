//! Reads haproxy.cfg: bytes in, a lossless [`Document`] and a typed [`Configuration`] out.
//!
//! Reading never fails and never panics: every mistake becomes a [`Problem`] with a span, and the rest is
//! still read. The grammar is `HAProxy`'s own, for the version in the [`Environment`] (2.2 to 3.5). A file is
//! bytes, not text.

pub mod address;
mod branch;
pub mod build;
pub mod change;
pub mod check;
pub mod code;
pub mod condition;
pub mod diagnostic;
pub mod document;
mod dynamic;
pub mod edit;
pub mod environment;
mod fingerprint;
#[cfg(test)]
mod fixture_tests;
mod global;
mod interpret;
pub mod keywords;
pub mod mask;
pub mod model;
mod proxy;
pub mod quote;
mod server;
pub mod syntax;
pub mod time;
mod variable;
pub mod version;

pub use address::{Address, Host, Port, SocketAddress, is_of_one_host};
pub use branch::{Branch, Conditional};
pub use build::Build;
pub use change::{Added, ConfigChange};
pub use check::{Expect, Expected, HealthCheck, HttpCheck, Verdict};
pub use diagnostic::{Problem, Severity, reports};
pub use document::{Document, Ending, File, Line, SourceFile, read};
pub use dynamic::NotDynamic;
pub use edit::{Edit, EditError};
pub use environment::{Environment, names};
pub use fingerprint::{fingerprint, sha256};
pub use interpret::interpret;
pub use model::{
    Configuration, Level, Mode, Place, Proxy, ProxyKind, Server, ServerSettings, StatsSocket, UseBackend,
    UseServer,
};
pub use syntax::Word;
pub use version::Version;
