//! The HAProxy under test.

use std::path::PathBuf;

/// Returns the binary in `TEST_HAPROXY`, if it is set; the default is the installed one. `make sweep` sets the
/// variable to each binary that `.ci/haproxy-versions` fetched.
pub fn named() -> Option<PathBuf> {
    std::env::var_os("TEST_HAPROXY").map(PathBuf::from)
}
