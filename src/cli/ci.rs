//! The options for CI systems.

use std::path::PathBuf;

use clap::Args;

use super::choice::choice;
use crate::report::ci::Ci;

/// The options for CI systems.
#[derive(Args, Clone, Debug, Default)]
pub struct CiFlags {
    /// The CI system whose log format to use [default: detected by the variables `GITHUB_ACTIONS` and `GITLAB_CI`]
    #[arg(long, global = true, value_parser = choice::<Ci>(), value_name = "SYSTEM", env = "DRAINSWAP_CI")]
    pub ci: Option<Ci>,
    /// Write the result of a run to FILE as a JUnit test report
    #[arg(long, global = true, value_name = "FILE", env = "DRAINSWAP_JUNIT")]
    pub junit: Option<PathBuf>,
    /// Write the result of a run to FILE as variables for later jobs: `DEPLOY_OUTCOME`, _RUN, _BACKEND and _IMAGE
    #[arg(long, global = true, value_name = "FILE", env = "DRAINSWAP_DOTENV")]
    pub dotenv: Option<PathBuf>,
}
