//! Values of a Compose file as those of drainswap.toml, with their variables put in.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use toml::Value;

use super::yaml::{Node, Scalar};
use super::{ComposeError, plain};
use crate::service::interpolate::{InterpolationError, Variables, interpolate};

/// So much text may all variables of a file bring in.
const MOST_TEXT: usize = 8 << 20;

/// What a place wants, where that is no text. `*` is any key, and any entry of a list.
const WANTED: [(&str, Wanted); 21] = [
    ("x-drainswap.primary_port", Wanted::Whole),
    ("x-drainswap.backup_port", Wanted::Whole),
    ("x-drainswap.container_port", Wanted::Whole),
    ("x-drainswap.check", Wanted::Either),
    ("pids_limit", Wanted::Whole),
    ("healthcheck.retries", Wanted::Whole),
    ("ulimits.*", Wanted::Whole),
    ("ulimits.*.soft", Wanted::Whole),
    ("ulimits.*.hard", Wanted::Whole),
    ("volumes.*.tmpfs.mode", Wanted::Whole),
    ("init", Wanted::Truth),
    ("read_only", Wanted::Truth),
    ("tty", Wanted::Truth),
    ("stdin_open", Wanted::Truth),
    ("privileged", Wanted::Truth),
    ("healthcheck.disable", Wanted::Truth),
    ("env_file.*.required", Wanted::Truth),
    ("volumes.*.read_only", Wanted::Truth),
    ("volumes.*.bind.create_host_path", Wanted::Truth),
    ("volumes.*.volume.nocopy", Wanted::Truth),
    ("external", Wanted::Truth),
];

/// Places whose texts are quantities: how a number is written there does not matter.
const QUANTITIES: [&str; 5] = ["cpus", "mem_limit", "shm_size", "volumes.*.tmpfs.size", "stop_grace_period"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Whole,
    Truth,
    /// A truth or a text.
    Either,
}

/// Makes values, and remembers what variables became of, so that no error repeats it.
pub(super) struct Values<'v> {
    variables: &'v Variables,
    brought_in: Cell<usize>,
    put_in: RefCell<Vec<PutIn>>,
    used: RefCell<BTreeMap<String, String>>,
}

struct PutIn {
    written: String,
    became: String,
}

/// Where a value stands.
#[derive(Clone)]
pub(super) struct Place {
    /// What it is called in an error: `services.mobile.ports[0]`.
    path: String,
    /// The same without its head, and with `*` where anything may stand.
    kind: String,
    /// With the keys as they are: `environment.TOKEN` is not `environment.*` to a person.
    key: String,
}

impl Place {
    /// The head of all places.
    pub(super) fn new(path: String) -> Self {
        Self { path, kind: String::new(), key: String::new() }
    }

    /// A place with a name that is part of the head.
    pub(super) fn head(&self, name: &str) -> Self {
        Self::new(format!("{}.{}", self.path, name.escape_debug()))
    }

    /// The place of a key.
    pub(super) fn key(&self, key: &str) -> Self {
        let is_open = ["environment", "labels", "networks", "ulimits"].contains(&self.kind.as_str());
        self.below(&format!(".{}", key.escape_debug()), if is_open { "*" } else { key }, key)
    }

    /// The place of an entry of a list.
    pub(super) fn entry(&self, index: usize) -> Self {
        self.below(&format!("[{index}]"), "*", "*")
    }

    /// The place at the end of a path as the reader of services writes it: `.ports[0]`.
    pub(super) fn below_by(&self, path: &str) -> Self {
        Self { path: format!("{}{path}", self.path), ..self.clone() }
    }

    fn below(&self, path: &str, kind: &str, key: &str) -> Self {
        let dot = if self.kind.is_empty() { "" } else { "." };
        Self {
            path: format!("{}{path}", self.path),
            kind: format!("{}{dot}{kind}", self.kind),
            key: key.to_owned(),
        }
    }

    /// What is wrong there.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> ComposeError {
        ComposeError::Key { path: self.path.clone(), reason: reason.into() }
    }
}

impl<'v> Values<'v> {
    pub(super) fn new(variables: &'v Variables) -> Self {
        Self { variables, brought_in: Cell::default(), put_in: RefCell::default(), used: RefCell::default() }
    }

    /// The value; `None` where nothing is written.
    pub(super) fn value(&self, node: &Node, place: &Place) -> Result<Option<Value>, ComposeError> {
        if node.is_null() {
            return Ok(None);
        }
        match node {
            Node::Scalar(scalar) => self.scalar(scalar, place).map(Some),
            Node::List(items) => {
                let item = |(index, item): (usize, &Node)| self.item(item, &place.entry(index));
                items
                    .iter()
                    .enumerate()
                    .map(item)
                    .collect::<Result<_, _>>()
                    .map(|list| Some(Value::Array(list)))
            }
            Node::Map(map) => {
                let entry =
                    |(key, node): (&String, &Node)| Ok((key.clone(), self.item(node, &place.key(key))?));
                map.iter().map(entry).collect::<Result<_, _>>().map(|table| Some(Value::Table(table)))
            }
        }
    }

    /// A value within another one, where nothing means something else at each place.
    fn item(&self, node: &Node, place: &Place) -> Result<Value, ComposeError> {
        match self.value(node, place)? {
            Some(value) => Ok(value),
            None => match place.kind.as_str() {
                "environment.*" if place.key != "*" => self.variable(&place.key, place).map(Value::String),
                "labels.*" if place.key != "*" => Ok(Value::String(String::new())),
                "networks.*" if place.key != "*" => Ok(Value::Table(toml::Table::new())),
                _ => Err(place.wrong("there is nothing: write a value, or leave it out")),
            },
        }
    }

    fn scalar(&self, scalar: &Scalar, place: &Place) -> Result<Value, ComposeError> {
        let text = self.text(scalar, place)?;
        let wanted = WANTED.iter().find(|(kind, _)| *kind == place.kind).map(|(_, wanted)| *wanted);
        let read = match wanted {
            Some(Wanted::Whole) => plain::whole(&text).map(Value::Integer),
            Some(Wanted::Truth) => plain::truth(&text).map(Value::Boolean),
            Some(Wanted::Either) if scalar.is_plain => text.parse().ok().map(Value::Boolean),
            Some(Wanted::Either) | None => None,
        };
        let is_text = wanted.is_none() && !QUANTITIES.contains(&place.kind.as_str());
        if is_text && scalar.is_plain && scalar.text == text && plain::is_rewritten(&text) {
            return Err(place.wrong(
                "YAML takes it for a number or a truth, and Compose writes that as another text: put it into quotes",
            ));
        }
        // A name alone means the variable of that name.
        if place.kind == "environment.*" && place.key == "*" && !text.contains('=') {
            let value = self.variable(&text, place)?;
            return Ok(Value::String(format!("{text}={value}")));
        }
        Ok(read.unwrap_or(Value::String(text)))
    }

    /// The text with its variables put in.
    pub(super) fn text(&self, scalar: &Scalar, place: &Place) -> Result<String, ComposeError> {
        let mut lookup = |name: &str| {
            let value = self.variables.get(name);
            self.used.borrow_mut().extend(value.map(|value| (name.to_owned(), value.to_owned())));
            value
        };
        let text = interpolate(&scalar.text, &mut lookup);
        let text = text.map_err(|error| place.wrong(error.to_string()))?;
        if text != scalar.text {
            self.brought_in.set(self.brought_in.get() + text.len());
            if self.brought_in.get() > MOST_TEXT {
                return Err(place.wrong(InterpolationError::TooLong.to_string()));
            }
            self.put_in.borrow_mut().push(PutIn { written: scalar.text.clone(), became: text.clone() });
        }
        Ok(text)
    }

    /// What the variable of an `environment` without values means. Its name is not repeated where it may be a value.
    fn variable(&self, name: &str, place: &Place) -> Result<String, ComposeError> {
        self.variables.get(name).map(str::to_owned).ok_or_else(|| {
            place.wrong("it has no value, and drainswap has no variable of that name: write a value, or set it, in .env too")
        })
    }

    /// The error without what variables brought in: with what is written there.
    pub(super) fn hide(&self, error: ComposeError) -> ComposeError {
        let ComposeError::Key { path, mut reason } = error else { return error };
        for put_in in self.put_in.borrow().iter().filter(|it| !it.became.is_empty()) {
            for shown in [put_in.became.escape_debug().to_string(), put_in.became.clone()] {
                // In quotes, as all that is repeated: else a short value would be found in our own words.
                for (open, close) in [('`', '`'), ('"', '"')] {
                    let written = format!("{open}{}{close}", put_in.written.escape_debug());
                    reason = reason.replace(&format!("{open}{shown}{close}"), &written);
                }
            }
        }
        let is_shown = |value: &String| value.len() > 2 && reason.contains(value.as_str());
        if self.used.borrow().values().any(is_shown) {
            let reason = "it is not understood with its variables put in, which are not shown here";
            return ComposeError::Key { path, reason: reason.to_owned() };
        }
        ComposeError::Key { path, reason }
    }
}
