//! How a run is told to a CI system.

use std::path::PathBuf;

use clap::Args;

use crate::report::ci::Ci;

/// How a run is told to a CI system.
#[derive(Args, Clone, Debug, Default)]
pub struct CiFlags {
    /// The CI system whose form the log has [default: the one whose variables are set, `GITHUB_ACTIONS` or `GITLAB_CI`]
    #[arg(long, global = true, value_enum, value_name = "WHOSE", env = "DRAINSWAP_CI")]
    pub ci: Option<Ci>,
    /// Write how a run went as the results of tests, in JUnit's form
    #[arg(long, global = true, value_name = "FILE", env = "DRAINSWAP_JUNIT")]
    pub junit: Option<PathBuf>,
    /// Write how a run ended as variables for later jobs: `DEPLOY_OUTCOME`, _RUN, _BACKEND and _IMAGE
    #[arg(long, global = true, value_name = "FILE", env = "DRAINSWAP_DOTENV")]
    pub dotenv: Option<PathBuf>,
}
