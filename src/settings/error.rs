//! The error for settings that cannot be used.

use super::ConfigError;
use crate::model::trust::Untrusted;
use crate::service::compose::ComposeError;

/// The error for settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {path}: {reason}. Correct the path or the mode of the file")]
    Unreadable { path: String, reason: String },
    #[error("invalid file {path}: {reason}. Correct it")]
    Bad { path: String, reason: String },
    /// A mistake in `drainswap.toml` itself.
    #[error("{path}:{mistake}")]
    Wrong { path: String, mistake: ConfigError },
    /// An error in the Compose file.
    #[error("{path}: {error}")]
    Compose { path: String, error: ComposeError },
    /// Another user may write to a file that drainswap relies on.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// `--trust-owner` or `state_group` names an unknown account.
    #[error("unknown {what} {name} in {given_by}: use a name from {list}, or a number")]
    NoAccount {
        /// `user` or `group`.
        what: &'static str,
        name: String,
        /// The file with all accounts.
        list: &'static str,
        /// The flag or the key with the name.
        given_by: &'static str,
    },
    #[error("duplicate service {name}: remove services.{name} from {path}, or the service from {compose}")]
    Twice {
        name: String,
        /// The settings file.
        path: String,
        /// The Compose file.
        compose: String,
    },
}
