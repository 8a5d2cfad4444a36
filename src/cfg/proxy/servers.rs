//! The `server`, `server-template` and `default-server` lines of a section.

use super::super::address::Address;
use super::super::code;
use super::super::diagnostic::{Finding, Problem};
use super::super::environment::Environment;
use super::super::interpret::Statement;
use super::super::model::{ProxyKind, Server};
use super::super::server::{Line, Settings, template_numbers};
use super::super::version::Version;
use super::{Draft, Outcome, lacks};

impl Draft {
    pub(super) fn server(
        &mut self,
        line: &Statement<'_>,
        environment: &Environment,
        problems: &mut Vec<Problem>,
    ) -> Outcome {
        self.must_hold_servers("server")?;
        let [_, name, address, ..] = line.words() else {
            return Err((
                0,
                lacks("server", "its name or its address").help("server NAME ADDRESS[:PORT] [SETTING]…"),
            ));
        };
        legal_name(name, true)?;
        let address = self.settings_of(line, 2, address, environment, problems);
        let Some((settings, address)) = address else { return Ok(()) };
        self.add(settings.server(name.clone(), line.place(), address), line, problems);
        Ok(())
    }

    pub(super) fn template(
        &mut self,
        line: &Statement<'_>,
        environment: &Environment,
        problems: &mut Vec<Problem>,
    ) -> Outcome {
        self.must_hold_servers("server-template")?;
        let [_, prefix, range, address, ..] = line.words() else {
            let usage = "server-template PREFIX NUMBER|LOW-HIGH ADDRESS[:PORT] [SETTING]…";
            return Err((0, lacks("server-template", "its prefix, its range or its address").help(usage)));
        };
        legal_name(prefix, false)?;
        let Some(numbers) = template_numbers(range) else {
            let message = format!("`{range}` is no range of server numbers");
            return Err((
                2,
                Finding::error(code::SERVER_RANGE, message).help("write N, or LOW-HIGH from 1 on"),
            ));
        };
        let address = self.settings_of(line, 3, address, environment, problems);
        let Some((settings, address)) = address else { return Ok(()) };
        for number in numbers {
            let server = settings.server(format!("{prefix}{number}"), line.place(), address.clone());
            self.add(server, line, problems);
        }
        Ok(())
    }

    /// The settings after the address, on top of `default-server`'s, and the address, which is word `at`.
    fn settings_of(
        &self,
        line: &Statement<'_>,
        at: usize,
        address: &str,
        environment: &Environment,
        problems: &mut Vec<Problem>,
    ) -> Option<(Settings, Address)> {
        let parsed = Address::parse(address, environment);
        if let Err(error) = &parsed {
            problems.push(line.problem(at, Finding::error(code::SERVER_ADDRESS, error.to_string())));
        }
        let mut settings = self.says.server.clone();
        let first = after_from(line.words(), at + 1, environment.version);
        for (word, finding) in settings.read(line.words(), first, Line::Server, environment) {
            problems.push(line.problem(word, finding));
        }
        parsed.ok().map(|address| (settings, address))
    }

    fn add(&mut self, server: Server, line: &Statement<'_>, problems: &mut Vec<Problem>) {
        if let Some(earlier) = self.servers.iter().find(|earlier| earlier.name == server.name) {
            let message = format!("the server `{}` stands twice in `{}`", server.name, self.name);
            let finding = Finding::error(code::DUPLICATE_SERVER, message).label("again");
            problems.push(line.problem(1, finding.help(format!("the first one is at {}", earlier.place))));
        }
        self.servers.push(server);
    }

    pub(super) fn default_server(
        &mut self,
        line: &Statement<'_>,
        environment: &Environment,
        problems: &mut Vec<Problem>,
    ) -> Outcome {
        if self.kind.is_some() {
            self.must_hold_servers("default-server")?;
        }
        let named =
            environment.version >= FROM_SINCE && line.words().get(1).is_some_and(|word| word == "name");
        let first = after_from(line.words(), if named { 3 } else { 1 }, environment.version);
        for (word, finding) in self.says.server.read(line.words(), first, Line::DefaultServer, environment) {
            problems.push(line.problem(word, finding));
        }
        Ok(())
    }

    fn must_hold_servers(&self, keyword: &str) -> Outcome {
        if self.kind.is_some_and(ProxyKind::holds_servers) {
            return Ok(());
        }
        let section = self.kind.map_or("defaults".to_owned(), |kind| kind.to_string());
        let message = format!("`{keyword}` does not belong into `{section}`");
        Err((
            0,
            Finding::error(code::MISPLACED_SERVER, message).help("servers stand in `backend` and `listen`"),
        ))
    }
}

/// Since this branch `from SOURCE` may follow a server's address.
const FROM_SINCE: Version = Version::new(3, 5);

/// The index of the first setting, past a `from SOURCE`.
fn after_from(words: &[String], at: usize, version: Version) -> usize {
    let from = version >= FROM_SINCE && words.get(at).is_some_and(|word| word == "from");
    if from { at + 2 } else { at }
}

fn legal_name(name: &str, colon: bool) -> Outcome {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c) || (colon && c == ':');
    match name.chars().find(|c| !legal(*c)) {
        None => Ok(()),
        Some(bad) => {
            let message = format!("a server's name does not hold `{}`", bad.escape_default());
            Err((1, Finding::error(code::SERVER_NAME, message)))
        }
    }
}
