//! Lines of a section that define servers: `server`, `server-template` and `default-server`.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::super::address::{Address, AddressError};
use super::super::code;
use super::super::diagnostic::{Diagnostic, Problem};
use super::super::environment::Environment;
use super::super::interpret::Statement;
use super::super::model::{ProxyKind, Server, ServerSettings};
use super::super::server::{KnownSettings, LineKind, Settings, template_numbers};
use super::super::version::Version;
use super::{ReadResult, SectionDraft, lacks};

impl<'d> SectionDraft<'d> {
    pub(super) fn server(
        &mut self,
        line: &Statement<'d>,
        environment: &Environment,
        known: &mut KnownSettings<'d>,
        problems: &mut Vec<Problem>,
    ) -> ReadResult {
        self.must_hold_servers("server")?;
        let [_, name, address, ..] = line.words() else {
            return Err((
                0,
                lacks("server", "its name or its address").help("server NAME ADDRESS[:PORT] [SETTING]…"),
            ));
        };
        legal_name(name, true)?;
        let address = read_address(line, 2, address, environment, problems);
        let settings = self.settings_of(line, 3, environment, known, problems);
        if let Some(address) = address {
            self.add(name.clone(), address, settings, line, problems);
        }
        Ok(())
    }

    pub(super) fn template(
        &mut self,
        line: &Statement<'d>,
        environment: &Environment,
        known: &mut KnownSettings<'d>,
        problems: &mut Vec<Problem>,
    ) -> ReadResult {
        self.must_hold_servers("server-template")?;
        let [_, prefix, range, address, ..] = line.words() else {
            let usage = "server-template PREFIX NUMBER|LOW-HIGH ADDRESS[:PORT] [SETTING]…";
            return Err((0, lacks("server-template", "its prefix, its range or its address").help(usage)));
        };
        legal_name(prefix, false)?;
        let Some(numbers) = template_numbers(range) else {
            let message = format!("invalid range of server numbers `{range}`");
            return Err((
                2,
                Diagnostic::error(code::SERVER_RANGE, message)
                    .help("write N, or LOW-HIGH with LOW at least 1"),
            ));
        };
        let address = read_address(line, 3, address, environment, problems);
        let settings = self.settings_of(line, 4, environment, known, problems);
        let Some(address) = address else { return Ok(()) };
        for number in numbers {
            let name = format!("{prefix}{number}").into();
            self.add(name, address.clone(), Arc::clone(&settings), line, problems);
        }
        Ok(())
    }

    /// Returns the settings from word `at` on, on top of those of `default-server`.
    fn settings_of(
        &self,
        line: &Statement<'d>,
        at: usize,
        environment: &Environment,
        known: &mut KnownSettings<'d>,
        problems: &mut Vec<Problem>,
    ) -> Arc<ServerSettings> {
        let start = &self.says.server;
        let first = after_from(line.words(), at, environment.version);
        let plain = line.plain_from(first);
        if let Some(settings) = plain.and_then(|words| known.server(words, start)) {
            return settings;
        }
        let mut settings = Settings::clone(start);
        let findings = settings.read(line.words(), first, LineKind::Server, environment);
        let settings = Arc::new(settings.finish());
        if let Some(words) = plain.filter(|_| findings.is_empty()) {
            known.add_server(words, start, &settings);
        }
        problems.extend(findings.into_iter().map(|(word, finding)| line.problem(word, finding)));
        settings
    }

    fn add(
        &mut self,
        name: Cow<'d, str>,
        address: Address,
        settings: Arc<ServerSettings>,
        line: &Statement<'d>,
        problems: &mut Vec<Problem>,
    ) {
        let server = Server { name: name.clone().into_owned(), place: line.place(), address, settings };
        match self.named.entry(name) {
            Entry::Vacant(free) => drop(free.insert(self.servers.len())),
            Entry::Occupied(taken) => {
                let earlier = &self.servers[*taken.get()].place;
                let message = format!("duplicate server `{}` in `{}`", server.name, self.name);
                let finding = Diagnostic::error(code::DUPLICATE_SERVER, message).label("duplicate");
                problems.push(line.problem(1, finding.help(format!("the first one is at {earlier}"))));
            }
        }
        self.servers.push(server);
    }

    pub(super) fn default_server(
        &mut self,
        line: &Statement<'d>,
        environment: &Environment,
        known: &mut KnownSettings<'d>,
        problems: &mut Vec<Problem>,
    ) -> ReadResult {
        if self.kind.is_some() {
            self.must_hold_servers("default-server")?;
        }
        let is_named =
            environment.version >= FROM_SINCE && line.words().get(1).is_some_and(|word| word == "name");
        let first = after_from(line.words(), if is_named { 3 } else { 1 }, environment.version);
        let plain = line.plain_from(first);
        if let Some(settings) = plain.and_then(|words| known.default_server(words, &self.says.server)) {
            self.says.server = settings;
            return Ok(());
        }
        let mut settings = Settings::clone(&self.says.server);
        let findings = settings.read(line.words(), first, LineKind::DefaultServer, environment);
        let settings = Arc::new(settings);
        if let Some(words) = plain.filter(|_| findings.is_empty()) {
            known.add_default_server(words, &self.says.server, &settings);
        }
        problems.extend(findings.into_iter().map(|(word, finding)| line.problem(word, finding)));
        self.says.server = settings;
        Ok(())
    }

    fn must_hold_servers(&self, keyword: &str) -> ReadResult {
        if self.kind.is_some_and(ProxyKind::holds_servers) {
            return Ok(());
        }
        let section = self.kind.map_or("defaults".to_owned(), |kind| kind.to_string());
        let message = format!("`{keyword}` is not allowed in `{section}`");
        Err((
            0,
            Diagnostic::error(code::MISPLACED_SERVER, message)
                .help("put servers in a `backend` or `listen` section"),
        ))
    }
}

fn read_address(
    line: &Statement<'_>,
    at: usize,
    address: &str,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<Address> {
    let refuse = |error: AddressError| {
        problems.push(line.problem(at, Diagnostic::error(code::SERVER_ADDRESS, error.to_string())));
    };
    Address::parse(address, environment).map_err(refuse).ok()
}

/// The first branch in which `from SOURCE` may follow a server's address.
const FROM_SINCE: Version = Version::new(3, 5);

/// Returns the index of the first setting, after a `from SOURCE`.
fn after_from(words: &[Cow<'_, str>], at: usize, version: Version) -> usize {
    let from = version >= FROM_SINCE && words.get(at).is_some_and(|word| word == "from");
    if from { at + 2 } else { at }
}

fn legal_name(name: &str, colon: bool) -> ReadResult {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') || (colon && c == ':');
    match name.chars().find(|c| !legal(*c)) {
        None => Ok(()),
        Some(bad) => {
            let message = format!("a server's name cannot contain `{}`", bad.escape_default());
            Err((1, Diagnostic::error(code::SERVER_NAME, message)))
        }
    }
}
