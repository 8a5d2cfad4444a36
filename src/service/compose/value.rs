//! Conversion of the values of a Compose file to those of drainswap.toml, with variables substituted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use toml::Value;

use super::yaml::{Node, Scalar};
use super::{ComposeError, plain};
use crate::service::interpolate::{InterpolationError, Variables, interpolate};

/// The maximum size of all texts with substituted variables in a file, in bytes.
const MOST_TEXT: usize = 8 << 20;

/// The expected type at each place that does not expect a string. `*` stands for any key and any entry of a list.
const WANTED: [(&str, ValueType); 21] = [
    ("x-drainswap.primary_port", ValueType::Integer),
    ("x-drainswap.backup_port", ValueType::Integer),
    ("x-drainswap.container_port", ValueType::Integer),
    ("x-drainswap.check", ValueType::Either),
    ("pids_limit", ValueType::Integer),
    ("healthcheck.retries", ValueType::Integer),
    ("ulimits.*", ValueType::Integer),
    ("ulimits.*.soft", ValueType::Integer),
    ("ulimits.*.hard", ValueType::Integer),
    ("volumes.*.tmpfs.mode", ValueType::Integer),
    ("init", ValueType::Boolean),
    ("read_only", ValueType::Boolean),
    ("tty", ValueType::Boolean),
    ("stdin_open", ValueType::Boolean),
    ("privileged", ValueType::Boolean),
    ("healthcheck.disable", ValueType::Boolean),
    ("env_file.*.required", ValueType::Boolean),
    ("volumes.*.read_only", ValueType::Boolean),
    ("volumes.*.bind.create_host_path", ValueType::Boolean),
    ("volumes.*.volume.nocopy", ValueType::Boolean),
    ("external", ValueType::Boolean),
];

/// The places with quantities, where the notation of a number does not matter.
const QUANTITIES: [&str; 5] = ["cpus", "mem_limit", "shm_size", "volumes.*.tmpfs.size", "stop_grace_period"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueType {
    Integer,
    Boolean,
    /// A boolean or a string.
    Either,
}

/// Converts values, and remembers substituted values, so that no error repeats them.
pub(super) struct Values<'v> {
    variables: &'v Variables,
    brought_in: Cell<usize>,
    interpolated: RefCell<Vec<Interpolated>>,
    used: RefCell<BTreeMap<String, String>>,
}

struct Interpolated {
    written: String,
    became: String,
}

/// The place of a value in the file.
#[derive(Clone)]
pub(super) struct KeyPath {
    /// The path for error messages: `services.mobile.ports[0]`.
    path: String,
    /// The path below the service, with `*` for arbitrary keys and list entries: `environment.*`.
    kind: String,
    /// The last key as written, such as `TOKEN`; `*` for an entry of a list.
    key: String,
}

impl KeyPath {
    /// Creates a place that is not part of any kind.
    pub(super) fn new(path: String) -> Self {
        Self { path, kind: String::new(), key: String::new() }
    }

    /// Returns the place of a named object, below which kinds start.
    pub(super) fn head(&self, name: &str) -> Self {
        Self::new(format!("{}.{}", self.path, name.escape_debug()))
    }

    /// Returns the place of a key.
    pub(super) fn key(&self, key: &str) -> Self {
        let is_open = ["environment", "labels", "networks", "ulimits"].contains(&self.kind.as_str());
        self.below(&format!(".{}", key.escape_debug()), if is_open { "*" } else { key }, key)
    }

    /// Returns the place of an entry of a list.
    pub(super) fn entry(&self, index: usize) -> Self {
        self.below(&format!("[{index}]"), "*", "*")
    }

    /// Returns the place at a relative path from the reader of services, such as `.ports[0]`.
    pub(super) fn at_path(&self, path: &str) -> Self {
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

    /// Creates the error for this place.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> ComposeError {
        ComposeError::Key { path: self.path.clone(), reason: reason.into() }
    }
}

impl<'v> Values<'v> {
    pub(super) fn new(variables: &'v Variables) -> Self {
        Self {
            variables,
            brought_in: Cell::default(),
            interpolated: RefCell::default(),
            used: RefCell::default(),
        }
    }

    /// Returns the value, or `None` if it is null.
    pub(super) fn value(&self, node: &Node, place: &KeyPath) -> Result<Option<Value>, ComposeError> {
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

    /// Returns a nested value. The meaning of null depends on the place.
    fn item(&self, node: &Node, place: &KeyPath) -> Result<Value, ComposeError> {
        match self.value(node, place)? {
            Some(value) => Ok(value),
            None => match place.kind.as_str() {
                "environment.*" if place.key != "*" => self.variable(&place.key, place).map(Value::String),
                "labels.*" if place.key != "*" => Ok(Value::String(String::new())),
                "networks.*" if place.key != "*" => Ok(Value::Table(toml::Table::new())),
                _ => Err(place.wrong("missing value: add one, or remove it")),
            },
        }
    }

    fn scalar(&self, scalar: &Scalar, place: &KeyPath) -> Result<Value, ComposeError> {
        let text = self.text(scalar, place)?;
        let wanted = WANTED.iter().find(|(kind, _)| *kind == place.kind).map(|(_, wanted)| *wanted);
        let read = match wanted {
            Some(ValueType::Integer) => plain::parse_integer(&text).map(Value::Integer),
            Some(ValueType::Boolean) => plain::parse_bool(&text).map(Value::Boolean),
            Some(ValueType::Either) if scalar.is_plain => text.parse().ok().map(Value::Boolean),
            Some(ValueType::Either) | None => None,
        };
        let is_text = wanted.is_none() && !QUANTITIES.contains(&place.kind.as_str());
        if is_text && scalar.is_plain && scalar.text == text && plain::is_rewritten(&text) {
            return Err(place.wrong(
                "YAML reads this as a number or a boolean, and Compose would change its text: put it in quotes",
            ));
        }
        // A name alone takes the value of the variable with this name.
        if place.kind == "environment.*" && place.key == "*" && !text.contains('=') {
            let value = self.variable(&text, place)?;
            return Ok(Value::String(format!("{text}={value}")));
        }
        Ok(read.unwrap_or(Value::String(text)))
    }

    /// Returns the text with its variables substituted.
    pub(super) fn text(&self, scalar: &Scalar, place: &KeyPath) -> Result<String, ComposeError> {
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
            self.interpolated
                .borrow_mut()
                .push(Interpolated { written: scalar.text.clone(), became: text.clone() });
        }
        Ok(text)
    }

    /// Returns the value for an entry of `environment` without a value. The error does not repeat the name, which may
    /// be a secret.
    fn variable(&self, name: &str, place: &KeyPath) -> Result<String, ComposeError> {
        self.variables.get(name).map(str::to_owned).ok_or_else(|| {
            place.wrong(
                "missing value, and no such variable is set: add a value, or set the variable, for example in \
                 .env",
            )
        })
    }

    /// Replaces substituted values in an error by the text as written in the file.
    pub(super) fn hide(&self, error: ComposeError) -> ComposeError {
        let ComposeError::Key { path, mut reason } = error else { return error };
        for interpolated in self.interpolated.borrow().iter().filter(|it| !it.became.is_empty()) {
            for shown in [interpolated.became.escape_debug().to_string(), interpolated.became.clone()] {
                // Only quoted text is replaced: a short value could also occur in the message itself.
                for (open, close) in [('`', '`'), ('"', '"')] {
                    let written = format!("{open}{}{close}", interpolated.written.escape_debug());
                    reason = reason.replace(&format!("{open}{shown}{close}"), &written);
                }
            }
        }
        let is_shown = |value: &String| value.len() > 2 && reason.contains(value.as_str());
        if self.used.borrow().values().any(is_shown) {
            let reason = "invalid value after substituting variables, which are not shown here";
            return ComposeError::Key { path, reason: reason.to_owned() };
        }
        ComposeError::Key { path, reason }
    }
}
