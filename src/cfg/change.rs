//! The difference between two configurations, and whether a running HAProxy can adopt it without a reload.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::document::{Document, File};
use super::model::{Configuration, Proxy, Server, ServerSettings};
use super::syntax::Word;
use crate::model::ids::ServerId;

/// The difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Comments, blanks and quotes, which make no difference to HAProxy.
    Cosmetic,
    /// Servers are added or removed, and nothing else changes.
    Servers {
        /// The new servers. Each comes after the existing ones of its backend.
        added: Vec<Added>,
        removed: Vec<ServerId>,
    },
    /// HAProxy must reload its files.
    Reload { because: String },
}

/// A server that the new configuration adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    pub server: ServerId,
    /// Its address and settings, as words.
    pub words: Vec<String>,
    /// The settings that these words give.
    pub settings: Arc<ServerSettings>,
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = |ids: Vec<&ServerId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Cosmetic => f.write_str("no change that HAProxy would notice"),
            Self::Servers { added, removed } => {
                let added: Vec<&ServerId> = added.iter().map(|it| &it.server).collect();
                let parts = [("added: ", added), ("removed: ", removed.iter().collect())];
                let told = parts.into_iter().filter(|(_, servers)| !servers.is_empty());
                f.write_str(
                    &told
                        .map(|(what, servers)| what.to_owned() + &ids(servers))
                        .collect::<Vec<_>>()
                        .join("; "),
                )
            }
            Self::Reload { because } => write!(f, "a reload is needed: {because}"),
        }
    }
}

/// An active line.
#[derive(PartialEq)]
struct ComparedLine<'d> {
    words: Vec<&'d [u8]>,
    /// Whether it is the `server` line of a proxy; those of `peers` and `ring` sections do not count.
    is_server: bool,
}

impl ConfigChange {
    /// Returns what a running HAProxy needs to do to get from the old configuration to the new one.
    #[must_use]
    pub fn between(old: &(Document, Configuration), new: &(Document, Configuration)) -> Self {
        let (old_lines, new_lines) = (statements(old), statements(new));
        if old_lines == new_lines {
            return Self::Cosmetic;
        }
        let reload = |because: String| Self::Reload { because };
        let is_other = |line: &&ComparedLine<'_>| !line.is_server;
        if !old_lines.iter().filter(is_other).eq(new_lines.iter().filter(is_other)) {
            return reload("more than the servers changed".to_owned());
        }
        if new_lines.iter().any(|line| line.words[0] == b"default-server") {
            return reload("servers added at runtime do not inherit from `default-server`".to_owned());
        }
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for (before, after) in old.1.proxies.iter().zip(&new.1.proxies) {
            let is_set_alike = |before: &Server, after: &Server| {
                let words = setting_words(&old.0, before).map(|word| word.bytes);
                words.eq(setting_words(&new.0, after).map(|word| word.bytes))
            };
            match servers(before, after, is_set_alike) {
                Ok((comes, goes)) => {
                    let id = |server: &Server| ServerId::new(&after.name, &server.name);
                    removed.extend(goes.into_iter().map(id));
                    added.extend(comes.into_iter().map(|server| Added::new(&new.0, after, server)));
                }
                Err(because) => return reload(because),
            }
        }
        Self::Servers { added, removed }
    }

    /// Returns the servers of a configuration that `from` does not have.
    #[must_use]
    pub fn missing(
        from: &Configuration,
        (document, configuration): &(Document, Configuration),
    ) -> Vec<Added> {
        let has = |id: &ServerId| {
            from.backend(&id.backend).is_some_and(|proxy| proxy.servers.iter().any(|it| it.name == id.server))
        };
        let added = |(proxy, server): (&Proxy, &Server)| Added::new(document, proxy, server);
        let pairs = configuration.proxies.iter();
        let pairs = pairs.flat_map(|proxy| proxy.servers.iter().map(move |server| (proxy, server)));
        pairs.map(added).filter(|added| !has(&added.server)).collect()
    }
}

impl Added {
    fn new(document: &Document, proxy: &Proxy, server: &Server) -> Self {
        Self {
            server: ServerId::new(&proxy.name, &server.name),
            words: setting_words(document, server).map(|word| word.text().into_owned()).collect(),
            settings: Arc::clone(&server.settings),
        }
    }
}

/// Returns the servers that are added and removed between two states of a backend.
fn servers<'p>(
    old: &'p Proxy,
    new: &'p Proxy,
    is_set_alike: impl Fn(&Server, &Server) -> bool,
) -> Result<(Vec<&'p Server>, Vec<&'p Server>), String> {
    let before: BTreeMap<&str, &Server> = old.servers.iter().map(|server| (&*server.name, server)).collect();
    let after: BTreeSet<&str> = new.servers.iter().map(|server| &*server.name).collect();
    let goes: Vec<&Server> = old.servers.iter().filter(|server| !after.contains(&*server.name)).collect();
    let stays: Vec<&str> =
        old.servers.iter().map(|server| &*server.name).filter(|name| after.contains(name)).collect();
    for (index, server) in new.servers.iter().enumerate() {
        let id = || ServerId::new(&new.name, &server.name);
        match before.get(&*server.name) {
            // Compares the words, because drainswap does not interpret every setting that HAProxy reads.
            Some(known) if !is_set_alike(known, server) => {
                return Err(format!("the settings of {} have changed", id()));
            }
            // The order decides which backup comes first, and which server a hash selects.
            Some(_) if stays.get(index) != Some(&&*server.name) => {
                return Err(format!("{} has moved", id()));
            }
            _ => {}
        }
    }
    Ok((new.servers[stays.len()..].iter().collect(), goes))
}

/// Returns the address and the settings from the server's own line.
fn setting_words<'d>(document: &'d Document, server: &Server) -> impl Iterator<Item = Word<'d>> {
    let file = document.files.iter().find(|file| file.path == server.place.path);
    let line = file.and_then(|file| file.line(server.place.line));
    line.into_iter().flat_map(|line| line.read_words().skip(2))
}

fn statements((document, configuration): &(Document, Configuration)) -> Vec<ComparedLine<'_>> {
    let servers = configuration.proxies.iter().flat_map(|proxy| &proxy.servers);
    let places: HashSet<(&Path, u32)> =
        servers.map(|server| (&*server.place.path, server.place.line)).collect();
    let lines = |file| File::lines(file).filter(|line| line.is_active()).map(move |line| (file, line));
    let statements = document.files.iter().flat_map(lines).map(|(file, line)| {
        let words: Vec<_> = line.read_words().map(|word| word.bytes).collect();
        let is_server =
            words.first() == Some(&&b"server"[..]) && places.contains(&(&*file.path, line.number()));
        ComparedLine { words, is_server }
    });
    statements.filter(|line| !line.words.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfg::{Environment, SourceFile, Version, interpret, read};

    const OLD: &str =
        "backend b\n balance roundrobin\n server a 10.0.0.1:80 check\n server ab 10.0.0.1:81 backup\n";

    fn change(old: &str, new: &str) -> String {
        let configuration = |text: &str| {
            let file = SourceFile { path: "h.cfg".into(), bytes: text.as_bytes().to_vec() };
            let document = read(vec![file], &Environment::new(BTreeMap::new(), Version::new(2, 6)));
            let configuration = interpret(&document);
            (document, configuration)
        };
        ConfigChange::between(&configuration(old), &configuration(new)).to_string()
    }

    #[test]
    fn what_haproxy_would_not_notice_is_cosmetic() {
        let new = OLD.replace("balance", "# c\n\n\tbalance").replace("check", "'check' # c");
        assert_eq!(change(OLD, &new), "no change that HAProxy would notice");
    }

    #[test]
    fn servers_come_at_the_end_and_go_from_anywhere() {
        let more = format!("{OLD} server c 10.0.0.3:80 check\n");
        assert_eq!(change(OLD, &more), "added: b/c");
        assert_eq!(change(&more, OLD), "removed: b/c");
        let other = OLD.replace(" server a 10.0.0.1:80 check\n", "") + " server d 10.0.0.4:80\n";
        assert_eq!(change(OLD, &other), "added: b/d; removed: b/a");
    }

    #[test]
    fn anything_else_needs_a_reload() {
        for (new, because) in [
            (OLD.replace("roundrobin", "leastconn"), "more than the servers changed"),
            (OLD.replace("check", "check weight 3"), "the settings of b/a have changed"),
            (OLD.replace("10.0.0.1:80 ", "10.0.0.2:80 "), "the settings of b/a have changed"),
            (OLD.replace(" server ab", " server c 10.0.0.3:80\n server ab"), "b/c"),
            // Settings that drainswap does not read, and values of settings that it does not interpret.
            (OLD.replace("check", "check agent-port 81"), "the settings of b/a have changed"),
            (OLD.replace("backup", "backup minconn 5"), "the settings of b/ab have changed"),
            (OLD.replace("check", "check no-backup"), "the settings of b/a have changed"),
        ] {
            let text = change(OLD, &new);
            assert!(
                text.starts_with("a reload is needed: ") && (text.contains(because) || because == "b/c"),
                "{text}"
            );
        }
        let peers = |port| format!("{OLD}peers p\n server x 10.0.0.9:{port}\n");
        assert_eq!(change(&peers(1), &peers(2)), "a reload is needed: more than the servers changed");
        let defaults = |text: &str| format!("defaults\n default-server inter 2s\n{text}");
        let text = change(&defaults(OLD), &defaults(&format!("{OLD} server c 10.0.0.3:80\n")));
        assert!(text.contains("default-server"), "{text}");
    }
}
