//! The health check of a described service.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use toml::Value;

use super::by_type::by_type;

/// The `check` key: `true`, `false`, `"GET /health"` or a table.
#[derive(Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(untagged)]
pub enum Check {
    /// Whether `HAProxy` checks the servers by connecting to them.
    Connect(bool),
    /// `METHOD URI`, or `URI` alone for `GET`.
    Short(String),
    /// An HTTP check with all its parts.
    Http(HttpCheck),
}

/// An HTTP check: the request and the expected response.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// The HTTP method; the default is `GET`.
    #[serde(default = "get")]
    pub method: String,
    /// The path and query.
    pub uri: String,
    /// `HTTP/1.0` or `HTTP/1.1`; the default is `HTTP/1.0`.
    pub version: Option<String>,
    /// The headers with their literal values.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The status codes of a healthy server: `200`, `200,204`, `200-299`; the default is all 2xx and 3xx codes.
    pub status: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Default for Check {
    fn default() -> Self {
        Self::Connect(true)
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected =
            "true, false, \"GET /health\", or a table with uri, method, version, headers and status";
        by_type(from, expected, |value| match value {
            Value::Boolean(is_on) => Some(Self::Connect(is_on)),
            Value::String(short) => Some(Self::Short(short)),
            Value::Table(http) => http.try_into().ok().map(Self::Http),
            Value::Integer(_) | Value::Float(_) | Value::Datetime(_) | Value::Array(_) => None,
        })
    }
}

impl Check {
    /// Returns whether HAProxy checks the servers.
    pub(super) fn is_on(&self) -> bool {
        *self != Self::Connect(false)
    }

    /// Returns whether the check is an HTTP request.
    pub(super) fn is_http(&self) -> bool {
        !matches!(self, Self::Connect(_))
    }

    /// Returns the backend's lines for the check.
    pub(super) fn lines(&self) -> Result<Vec<Vec<String>>, String> {
        match self {
            Self::Connect(_) => Ok(Vec::new()),
            Self::Short(text) => short(text)?.lines(),
            Self::Http(http) => http.lines(),
        }
    }
}

impl HttpCheck {
    fn lines(&self) -> Result<Vec<Vec<String>>, String> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut option = owned(&["option", "httpchk", method(&self.method)?, uri(&self.uri)?]);
        option.extend(self.version.as_deref().map(version).transpose()?.map(str::to_owned));
        let mut lines = vec![option];
        if !self.headers.is_empty() {
            let mut send = owned(&["http-check", "send"]);
            for (name, content) in &self.headers {
                let twice = self.headers.keys().filter(|other| other.eq_ignore_ascii_case(name)).count() > 1;
                if twice {
                    return Err(format!("duplicate header {}", name.escape_debug()));
                }
                // HAProxy reads the value as a log-format expression, but the description has a literal text.
                send.extend(owned(&["hdr", header(name)?, &value(name, content)?.replace('%', "%%")]));
            }
            lines.push(send);
        }
        if let Some(status) = &self.status {
            lines.push(owned(&["http-check", "expect", "status", statuses(status)?]));
        }
        Ok(lines)
    }
}

/// Refuses methods that no server understands; HAProxy itself sends any word.
fn method(text: &str) -> Result<&str, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        return Ok(text);
    }
    Err(format!("invalid method `{}`: expected GET, HEAD or OPTIONS", text.escape_debug()))
}

fn uri(text: &str) -> Result<&str, String> {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible && (text.starts_with('/') || text == "*") {
        return Ok(text);
    }
    Err(format!(
        "invalid path `{}`: expected a path that starts with `/`, with spaces and non-ASCII characters as %XX",
        text.escape_debug()
    ))
}

fn version(text: &str) -> Result<&str, String> {
    if ["HTTP/1.0", "HTTP/1.1"].contains(&text) {
        return Ok(text);
    }
    Err(format!("invalid version `{}`: expected HTTP/1.0 or HTTP/1.1", text.escape_debug()))
}

/// The headers that HAProxy always writes itself.
const HAPROXY_S_OWN: &[&str] = &["connection", "content-length", "transfer-encoding"];

fn header(name: &str) -> Result<&str, String> {
    let shown = name.escape_debug();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Err(format!("invalid header name `{shown}`: expected letters, digits, _ and -"));
    }
    if HAPROXY_S_OWN.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("HAProxy writes the header {shown} itself: remove it"));
    }
    Ok(name)
}

fn value<'t>(name: &str, text: &'t str) -> Result<&'t str, String> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        return Err(format!(
            "invalid value `{}` of the header {name}: it is empty, contains control characters, or starts or ends \
             with a space",
            text.escape_debug()
        ));
    }
    Ok(text)
}

fn statuses(text: &str) -> Result<&str, String> {
    let code = |text: &str| {
        let number = text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        number.filter(|_| text.len() == 3)
    };
    let part = |part: &str| match part.split_once('-') {
        Some((low, high)) => code(low).zip(code(high)).is_some_and(|(low, high)| low <= high),
        None => code(part).is_some(),
    };
    if text.split(',').all(part) {
        return Ok(text);
    }
    Err(format!("invalid status `{}`: expected a list such as 200,204,300-399", text.escape_debug()))
}

fn short(text: &str) -> Result<HttpCheck, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (method, uri) = match words.as_slice() {
        [uri] => ("GET", *uri),
        [method, uri] => (*method, *uri),
        _ => {
            return Err(format!(
                "invalid check `{}`: expected \"GET /health\" or a table",
                text.escape_debug()
            ));
        }
    };
    let (method, uri) = (method.to_owned(), uri.to_owned());
    Ok(HttpCheck { method, uri, version: None, headers: BTreeMap::new(), status: None })
}
