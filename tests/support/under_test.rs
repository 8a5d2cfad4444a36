//! The HAProxy that is tested.

use std::path::PathBuf;

/// The binary that `TEST_HAPROXY` names, else none: then the installed one is tested. `make sweep` names each that
/// `.ci/haproxy-versions` fetched, one after the other.
pub fn named() -> Option<PathBuf> {
    std::env::var_os("TEST_HAPROXY").map(PathBuf::from)
}
