//! The line that starts a section.

use std::collections::hash_map::Entry;

use super::super::code;
use super::super::diagnostic::Diagnostic;
use super::super::keywords::section::Naming;
use super::super::model::ProxyKind;
use super::super::proxy::{Defaults, SectionDraft};
use super::super::version::Version;
use super::{Interpreter, Section, Statement};

/// The first branch in which `defaults` have names that sections select with `from`.
const FROM_SINCE: Version = Version::new(2, 4);

/// The first branch in which a frontend and a backend may not share a name.
const NAMES_SHARED_UNTIL: Version = Version::new(3, 3);

impl<'d> Interpreter<'d> {
    /// Opens the section of this line. The previous section has ended.
    pub(super) fn open_section(&mut self, line: &Statement<'d>, naming: Naming) {
        let keyword = &*line.words[0];
        let kind = match keyword {
            "frontend" => Some(ProxyKind::Frontend),
            "backend" => Some(ProxyKind::Backend),
            "listen" => Some(ProxyKind::Listen),
            _ => None,
        };
        let inherits = (kind.is_some() || keyword == "defaults") && self.environment.version >= FROM_SINCE;
        let (name, from) = self.header(line, naming, inherits);
        let inherited = match (&from, kind) {
            (Some(from), _) => self.named(line, from),
            // A `defaults` section starts without settings; only `from` makes it inherit.
            (None, None) => Defaults::of(self.environment.version),
            (None, Some(_)) => self.defaults.clone(),
        };
        self.section = match (keyword, kind) {
            ("global", _) => Section::Global,
            ("defaults", _) => {
                let draft =
                    SectionDraft::new(None, name.clone().unwrap_or_default(), line.place(), &inherited);
                Section::Defaults(name, Box::new(draft))
            }
            (_, Some(kind)) => {
                let name = name.unwrap_or_default();
                self.check_duplicate(line, kind);
                Section::Proxy(Box::new(SectionDraft::new(Some(kind), name, line.place(), &inherited)))
            }
            (_, None) => Section::Other,
        };
    }

    /// Returns the name and the word after `from`, and reports everything else as a problem.
    fn header(
        &mut self,
        line: &Statement<'d>,
        naming: Naming,
        inherits: bool,
    ) -> (Option<String>, Option<String>) {
        let keyword = &line.words[0];
        let rest = &line.words[1..];
        let starts_with_from = inherits && naming == Naming::Optional && rest.len() == 2 && rest[0] == "from";
        let named = naming != Naming::Nameless && !starts_with_from;
        let (name, tail) = match rest.split_first() {
            Some((name, tail)) if named => (Some(name.clone().into_owned()), tail),
            _ => (None, rest),
        };
        match &name {
            Some(name) => self.check_name(line, name),
            None if naming == Naming::Required => {
                let message = format!("`{keyword}` is missing its name");
                self.problems.push(line.problem(0, Diagnostic::error(code::SECTION_NAME, message)));
            }
            None => {}
        }
        match tail {
            [] => (name, None),
            [word, from] if inherits && word == "from" => (name, Some(from.clone().into_owned())),
            _ => {
                let at = line.words.len() - tail.len();
                let message = format!("unexpected `{}` on the `{keyword}` line", tail[0]);
                let finding = Diagnostic::error(code::SECTION_ARGUMENT, message);
                let finding = if inherits { finding.help("put addresses on `bind` lines") } else { finding };
                self.problems.push(line.problem(at, finding));
                (name, None)
            }
        }
    }

    fn check_name(&mut self, line: &Statement<'d>, name: &str) {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if let Some(bad) = name.chars().find(|c| !legal(*c)) {
            let message =
                format!("the name of `{}` cannot contain `{}`", line.words[0], bad.escape_default());
            self.problems.push(line.problem(1, Diagnostic::error(code::SECTION_NAME, message)));
        }
    }

    fn named(&mut self, line: &Statement<'d>, name: &str) -> Defaults {
        let known: Vec<&Defaults> = self
            .named_defaults
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, defaults)| defaults)
            .collect();
        let (finding, defaults) = match known.as_slice() {
            [only] => return (*only).clone(),
            [] => {
                let message = format!("there is no `defaults {name}` before this line");
                (Diagnostic::error(code::UNKNOWN_DEFAULTS, message), Defaults::of(self.environment.version))
            }
            [.., last] => {
                let message = format!("`defaults {name}` is defined more than once before this line");
                (Diagnostic::error(code::AMBIGUOUS_DEFAULTS, message), (*last).clone())
            }
        };
        self.problems.push(line.problem(line.words.len() - 1, finding));
        defaults
    }

    fn check_duplicate(&mut self, line: &Statement<'d>, kind: ProxyKind) {
        let Some(name) = line.words.get(1) else { return };
        let earlier = match self.named.entry(name.clone()) {
            Entry::Vacant(free) => {
                free.insert(self.proxies.len());
                return;
            }
            Entry::Occupied(taken) => &self.proxies[*taken.get()],
        };
        let all = |abilities: fn(ProxyKind) -> bool| !abilities(kind) || abilities(earlier.kind);
        let covered = all(ProxyKind::holds_servers) && all(ProxyKind::takes_connections);
        let message = format!("duplicate `{kind} {name}`: `{} {name}` already exists", earlier.kind);
        let finding = if covered || self.environment.version >= NAMES_SHARED_UNTIL {
            Diagnostic::error(code::DUPLICATE_SECTION, message)
        } else if kind.holds_servers() && earlier.kind.holds_servers() {
            // HAProxy accepts `backend x` followed by `listen x`, but the runtime API then reaches only one
            // of them.
            Diagnostic::warning(code::DUPLICATE_SECTION, message)
        } else {
            return;
        };
        let finding = finding.label("duplicate").help(format!("the first one is at {}", earlier.place));
        self.problems.push(line.problem(1, finding));
    }
}
