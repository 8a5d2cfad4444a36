//! A cache of settings: most servers of a large file have the same ones.

use rustc_hash::FxHashMap;
use std::sync::Arc;

use super::super::model::ServerSettings;
use super::Settings;

/// Parsed settings, by their words as written in the file and by the settings they started from.
#[derive(Debug, Default)]
pub(in crate::cfg) struct KnownSettings<'d> {
    servers: FxHashMap<&'d [u8], (Arc<Settings>, Arc<ServerSettings>)>,
    defaults: FxHashMap<&'d [u8], (Arc<Settings>, Arc<Settings>)>,
}

impl<'d> KnownSettings<'d> {
    /// Returns the settings of a server with these words, on top of this start.
    pub fn server(&self, words: &'d [u8], start: &Arc<Settings>) -> Option<Arc<ServerSettings>> {
        let (known, settings) = self.servers.get(words)?;
        Arc::ptr_eq(known, start).then(|| Arc::clone(settings))
    }

    /// Stores the settings that these words gave. Callers only store words without a problem.
    pub fn add_server(&mut self, words: &'d [u8], start: &Arc<Settings>, settings: &Arc<ServerSettings>) {
        self.servers.insert(words, (Arc::clone(start), Arc::clone(settings)));
    }

    /// Returns what later servers start from after a `default-server` line with these words.
    pub fn default_server(&self, words: &'d [u8], start: &Arc<Settings>) -> Option<Arc<Settings>> {
        let (known, settings) = self.defaults.get(words)?;
        Arc::ptr_eq(known, start).then(|| Arc::clone(settings))
    }

    /// Stores the settings that a `default-server` line gave. Callers only store words without a problem.
    pub fn add_default_server(&mut self, words: &'d [u8], start: &Arc<Settings>, settings: &Arc<Settings>) {
        self.defaults.insert(words, (Arc::clone(start), Arc::clone(settings)));
    }
}
