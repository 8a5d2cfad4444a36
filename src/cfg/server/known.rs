//! Settings that were read before: most servers of a large file are set alike.

use rustc_hash::FxHashMap;
use std::sync::Arc;

use super::super::model::ServerSettings;
use super::Settings;

/// Settings by the words that said them, as they stand in the file, and by what they started from.
#[derive(Debug, Default)]
pub(in crate::cfg) struct KnownSettings<'d> {
    servers: FxHashMap<&'d [u8], (Arc<Settings>, Arc<ServerSettings>)>,
    defaults: FxHashMap<&'d [u8], (Arc<Settings>, Arc<Settings>)>,
}

impl<'d> KnownSettings<'d> {
    /// What a server has with these words, on top of this start.
    pub fn server(&self, words: &'d [u8], start: &Arc<Settings>) -> Option<Arc<ServerSettings>> {
        let (known, settings) = self.servers.get(words)?;
        Arc::ptr_eq(known, start).then(|| Arc::clone(settings))
    }

    /// Remembers what came of them, as long as nothing was wrong with them.
    pub fn add_server(&mut self, words: &'d [u8], start: &Arc<Settings>, settings: &Arc<ServerSettings>) {
        self.servers.insert(words, (Arc::clone(start), Arc::clone(settings)));
    }

    /// What later servers start from after a `default-server` line with these words.
    pub fn default_server(&self, words: &'d [u8], start: &Arc<Settings>) -> Option<Arc<Settings>> {
        let (known, settings) = self.defaults.get(words)?;
        Arc::ptr_eq(known, start).then(|| Arc::clone(settings))
    }

    /// Remembers what came of them, as long as nothing was wrong with them.
    pub fn add_default_server(&mut self, words: &'d [u8], start: &Arc<Settings>, settings: &Arc<Settings>) {
        self.defaults.insert(words, (Arc::clone(start), Arc::clone(settings)));
    }
}
