//! The formats whose schemas `drainswap schema` prints.

/// A format with a stable schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A line of --events, or of -o json during a run
    Event,
    /// drainswap.toml
    Settings,
    /// The file that `plan --save` writes
    Plan,
}
