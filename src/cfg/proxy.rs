//! Lines of `defaults`, `frontend`, `backend` and `listen` sections.

mod servers;

use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::check::CheckRules;
use super::code;
use super::diagnostic::{Diagnostic, Problem};
use super::environment::Environment;
use super::interpret::Statement;
use super::keywords::proxy::{self, CHECK_OPTIONS};
use super::model::{Mode, Place, Proxy, ProxyKind, Server, UseBackend, UseServer};
use super::server::{KnownSettings, Settings};
use super::time;
use super::version::Version;

/// The settings of a `defaults` section, which later sections inherit.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is one keyword of the section, present or not")]
pub(super) struct Defaults {
    mode: Mode,
    balance: String,
    hashes_consistently: bool,
    all_backups: bool,
    cookie: Option<String>,
    persist: bool,
    disabled: bool,
    keeps_state: bool,
    keeps_own_state: bool,
    state_file_name: Option<String>,
    check: CheckRules,
    timeout_check: Option<Duration>,
    default_backend: Option<UseBackend>,
    server: Arc<Settings>,
}

impl Defaults {
    /// Returns `HAProxy`'s own defaults.
    pub fn of(version: Version) -> Self {
        Self {
            mode: Mode::Tcp,
            balance: default_balance(version).to_owned(),
            hashes_consistently: false,
            all_backups: false,
            cookie: None,
            persist: false,
            disabled: false,
            keeps_state: false,
            keeps_own_state: false,
            state_file_name: None,
            check: CheckRules::default(),
            timeout_check: None,
            default_backend: None,
            server: Arc::default(),
        }
    }

    /// Applies a keyword that every kind of section may have.
    fn set(&mut self, keyword: &str, words: &[Cow<'_, str>]) -> ReadResult {
        match keyword {
            "cookie" => {
                let name = words.get(1).ok_or((0, lacks("cookie", "its name")))?;
                self.cookie = Some(name.clone().into_owned());
            }
            "disabled" => self.disabled = true,
            "enabled" => self.disabled = false,
            "hash-type" => {
                self.hashes_consistently = words.get(1).is_some_and(|method| method == "consistent");
            }
            "load-server-state-from-file" => {
                let reads = |source| words.get(1).is_some_and(|from| from == source);
                (self.keeps_state, self.keeps_own_state) = (reads("global"), reads("local"));
            }
            "server-state-file-name" => {
                let name = words.get(1).filter(|name| *name != "use-backend-name");
                self.state_file_name = name.map(|name| name.clone().into_owned());
            }
            "http-check" => {
                let added = self.check.add(&words[1..]);
                added.map_err(|reason| (1, Diagnostic::error(code::CHECK, reason)))?;
            }
            "tcp-check" => self.check.add_tcp(),
            "force-persist" => self.persist = true,
            other => {
                if let Some(meant) = proxy::misspelled(other) {
                    return Err((0, unknown(code::UNKNOWN_KEYWORD, other, "keyword", meant)));
                }
            }
        }
        Ok(())
    }
}

/// `no` or `default` before a line.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Modifier {
    None,
    No,
    Default,
}

/// A section while it is being read. A `defaults` section has no kind.
pub(super) struct SectionDraft<'d> {
    kind: Option<ProxyKind>,
    name: String,
    place: Place,
    says: Defaults,
    sticks: bool,
    use_backends: Vec<UseBackend>,
    use_servers: Vec<UseServer>,
    servers: Vec<Server>,
    /// The index of each server, by name.
    named: FxHashMap<Cow<'d, str>, usize>,
}

impl<'d> SectionDraft<'d> {
    /// Starts a section with the settings that it inherits.
    pub fn new(kind: Option<ProxyKind>, name: String, place: Place, inherited: &Defaults) -> Self {
        let says = Defaults { check: inherited.check.inherit(), ..inherited.clone() };
        Self {
            kind,
            name,
            place,
            says,
            sticks: false,
            use_backends: Vec::new(),
            use_servers: Vec::new(),
            servers: Vec::new(),
            named: FxHashMap::default(),
        }
    }

    /// Ends a `defaults` section.
    pub fn into_defaults(self) -> Defaults {
        self.says
    }

    /// Returns a finding about the section as a whole, with the section's place and name.
    pub fn lint(&self) -> Option<(Place, String, Diagnostic)> {
        let finding = self.says.check.lint()?;
        Some((self.place.clone(), self.name.clone(), finding))
    }

    /// Ends a proxy section. Returns `None` for `defaults`.
    pub fn finish(self) -> Option<Proxy> {
        let Defaults {
            mode,
            balance,
            hashes_consistently,
            all_backups,
            cookie,
            persist,
            disabled,
            keeps_state,
            keeps_own_state,
            state_file_name,
            check,
            timeout_check,
            default_backend,
            server: _,
        } = self.says;
        let kind = self.kind?;
        let own_state_file = (keeps_own_state && kind.holds_servers())
            .then(|| state_file_name.unwrap_or_else(|| self.name.clone()).into());
        Some(Proxy {
            kind,
            name: self.name,
            place: self.place,
            mode,
            balance,
            hashes_consistently,
            all_backups,
            cookie,
            sticks: self.sticks,
            use_backends: self.use_backends,
            default_backend,
            use_servers: self.use_servers,
            persist,
            disabled,
            keeps_state,
            own_state_file,
            check: check.build(),
            timeout_check,
            servers: self.servers,
        })
    }

    /// Applies one line.
    pub fn read(
        &mut self,
        line: &Statement<'d>,
        modifier: Modifier,
        environment: &Environment,
        known: &mut KnownSettings<'d>,
        problems: &mut Vec<Problem>,
    ) {
        let words = line.words();
        let Some(keyword) = words.first() else { return };
        let version = environment.version;
        if let Some(finding) = super::keywords::removed(words, version) {
            problems.push(line.problem(0, finding));
            return;
        }
        let outcome = match &**keyword {
            "server" => self.server(line, environment, known, problems),
            "server-template" => self.template(line, environment, known, problems),
            "default-server" => self.default_server(line, environment, known, problems),
            "option" => self.option(words, modifier, version),
            "mode" => self.mode(words, version),
            "balance" => self.balance(words, version),
            "timeout" => self.timeout(words),
            "stick" | "use-server" if self.kind.is_none() => {
                let message = format!("`{keyword}` is not allowed in `defaults`");
                Err((0, Diagnostic::error(code::MISPLACED_KEYWORD, message)))
            }
            "stick" => {
                self.sticks |= words.get(1).is_some_and(|rule| STICK_RULES.contains(&&**rule));
                Ok(())
            }
            "use-server" => {
                self.use_server(line);
                Ok(())
            }
            "use_backend" => {
                self.use_backends.extend(use_backend(line));
                Ok(())
            }
            "default_backend" => {
                self.says.default_backend = use_backend(line);
                Ok(())
            }
            other => self.says.set(other, words),
        };
        if let Err((word, finding)) = outcome {
            problems.push(line.problem(word, finding));
        }
    }

    fn option(&mut self, words: &[Cow<'_, str>], modifier: Modifier, version: Version) -> ReadResult {
        let Some(option) = words.get(1) else { return Err((0, lacks("option", "its name"))) };
        let set = modifier == Modifier::None;
        match &**option {
            "allbackups" => self.says.all_backups = set,
            "persist" => self.says.persist = set,
            check if CHECK_OPTIONS.contains(&check) && !set => {
                let message = format!("`option {check}` cannot be negated");
                let finding = Diagnostic::error(code::MODIFIER, message);
                return Err((
                    1,
                    finding.help("choose another `option …-check` instead; `option tcp-check` only connects"),
                ));
            }
            check if CHECK_OPTIONS.contains(&check) => {
                let chosen = self.says.check.choose(check, &words[2..], version);
                return chosen.map_err(|reason| (1, Diagnostic::error(code::CHECK, reason)));
            }
            other => {
                if let Some(meant) = proxy::misspelled_option(other) {
                    return Err((1, unknown(code::UNKNOWN_OPTION, other, "option", meant)));
                }
            }
        }
        Ok(())
    }

    fn mode(&mut self, words: &[Cow<'_, str>], version: Version) -> ReadResult {
        let Some(mode) = words.get(1) else { return Err((0, lacks("mode", "its value"))) };
        self.says.mode = match &**mode {
            "http" => Mode::Http,
            "tcp" => Mode::Tcp,
            "log" if version >= Version::new(2, 9) => Mode::Other(mode.clone().into_owned()),
            "spop" if version >= Version::new(3, 1) => Mode::Other(mode.clone().into_owned()),
            "health" if version < Version::new(2, 3) => Mode::Other(mode.clone().into_owned()),
            _ => {
                let message = format!("HAProxy {version} has no mode `{mode}`");
                return Err((1, Diagnostic::error(code::UNKNOWN_MODE, message).help("use `http` or `tcp`")));
            }
        };
        Ok(())
    }

    fn balance(&mut self, words: &[Cow<'_, str>], version: Version) -> ReadResult {
        let algorithm = words.get(1).map_or(default_balance(version), |word| &**word);
        let name = algorithm.split('(').next().unwrap_or_default();
        if !ALGORITHMS.contains(&name) {
            let nearest = super::keywords::nearest(name, ALGORITHMS.iter().copied());
            let finding =
                Diagnostic::error(code::UNKNOWN_BALANCE, format!("unknown balance algorithm `{algorithm}`"));
            return Err((1, finding.suggest(nearest)));
        }
        algorithm.clone_into(&mut self.says.balance);
        Ok(())
    }

    fn timeout(&mut self, words: &[Cow<'_, str>]) -> ReadResult {
        let [_, which, values @ ..] = words else { return Ok(()) };
        if !TIMEOUTS.contains(&&**which) {
            return Ok(());
        }
        let setting = format!("timeout {which}");
        let Some(text) = values.first() else { return Err((1, lacks(&setting, "its value"))) };
        let read = time::read(text).map_err(|error| {
            (2, Diagnostic::error(code::TIME, format!("invalid `{setting} {text}`: {error}")))
        })?;
        if which == "check" {
            self.says.timeout_check = Some(read.length);
        }
        if let Some(more) = values.get(1) {
            let finding =
                Diagnostic::error(code::TIME, format!("`{setting}` takes one value: unexpected `{more}`"));
            let parted = time::is_unit(more);
            return Err((3, if parted { finding.help(time::ONE_WORD) } else { finding }));
        }
        read.doubt(&setting, text).map_or(Ok(()), |finding| Err((2, finding)))
    }

    fn use_server(&mut self, line: &Statement<'_>) {
        if let [_, server, condition @ ..] = line.words() {
            let condition = condition.join(" ");
            let server = server.clone().into_owned();
            self.use_servers.push(UseServer { server, condition, place: line.place() });
        }
    }
}

fn use_backend(line: &Statement<'_>) -> Option<UseBackend> {
    let [_, backend, condition @ ..] = line.words() else { return None };
    Some(UseBackend { backend: backend.to_string(), condition: condition.join(" "), place: line.place() })
}

/// The result of a line. A finding comes with the index of the word that it is about.
type ReadResult = Result<(), (usize, Diagnostic)>;

/// The rules that tie a client to a server; a `stick-table` alone does not.
const STICK_RULES: &[&str] = &["on", "match", "store-request", "store-response"];

/// The words that may follow `timeout`.
const TIMEOUTS: &[&str] = &[
    "check",
    "client",
    "client-fin",
    "client-hs",
    "connect",
    "http-keep-alive",
    "http-request",
    "queue",
    "server",
    "server-fin",
    "tarpit",
    "tunnel",
];

/// Returns the algorithm of a section without `balance`: since 3.3, `random`.
fn default_balance(version: Version) -> &'static str {
    if version < Version::new(3, 3) { "roundrobin" } else { "random" }
}

/// The algorithms of 2.2 to 3.5, without their parentheses.
const ALGORITHMS: &[&str] = &[
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "source",
    "uri",
    "url_param",
    "hdr",
    "random",
    "rdp-cookie",
    "hash",
    "log-hash",
    "sticky",
];

fn lacks(keyword: &str, what: &str) -> Diagnostic {
    Diagnostic::error(code::SERVER_ARGUMENT, format!("`{keyword}` is missing {what}"))
}

fn unknown(code: &'static str, word: &str, what: &str, meant: &str) -> Diagnostic {
    Diagnostic::error(code, format!("unknown {what} `{word}` in this section"))
        .label("unknown")
        .suggest(Some(meant))
}
