//! How a described service is checked.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `check = true`, `check = false`, `check = "GET /health"` or a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(
    untagged,
    expecting = "true, false, \"GET /health\", or a table of uri, method, version, headers and status"
)]
pub enum Check {
    /// Whether `HAProxy` connects at all.
    Connect(bool),
    /// `METHOD URI`, or `URI` alone, which `GET` asks for.
    Short(String),
    /// All of it.
    Http(HttpCheck),
}

/// The request of a check, and what it wants back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The path and query.
    pub uri: String,
    /// `HTTP/1.0` if none is given.
    pub version: Option<String>,
    /// The headers, with their values as they are to arrive.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The statuses that are well: `200`, `200,204`, `200-299`; 2xx and 3xx if none are given.
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

impl Check {
    /// Whether the servers are checked.
    pub(super) fn is_on(&self) -> bool {
        *self != Self::Connect(false)
    }

    /// Whether they are asked by HTTP.
    pub(super) fn is_http(&self) -> bool {
        !matches!(self, Self::Connect(_))
    }

    /// The backend's lines about it.
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
                    return Err(format!("the header {} stands twice", name.escape_debug()));
                }
                // HAProxy reads a log-format expression here; what is described is a text.
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

/// HAProxy sends whatever stands there; what no server would understand is refused here.
fn method(text: &str) -> Result<&str, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        return Ok(text);
    }
    Err(format!("`{}` is no method: write GET, HEAD or OPTIONS", text.escape_debug()))
}

fn uri(text: &str) -> Result<&str, String> {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible && (text.starts_with('/') || text == "*") {
        return Ok(text);
    }
    Err(format!(
        "`{}` is no path: it starts with `/`, and blanks and letters beyond ASCII are written %XX",
        text.escape_debug()
    ))
}

fn version(text: &str) -> Result<&str, String> {
    if ["HTTP/1.0", "HTTP/1.1"].contains(&text) {
        return Ok(text);
    }
    Err(format!("the version is HTTP/1.0 or HTTP/1.1, not `{}`", text.escape_debug()))
}

/// The headers that HAProxy writes itself, whatever is said here.
const HAPROXY_S_OWN: &[&str] = &["connection", "content-length", "transfer-encoding"];

fn header(name: &str) -> Result<&str, String> {
    let shown = name.escape_debug();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Err(format!("`{shown}` is no header's name"));
    }
    if HAPROXY_S_OWN.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("HAProxy writes the header {shown} itself"));
    }
    Ok(name)
}

fn value<'t>(name: &str, text: &'t str) -> Result<&'t str, String> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        return Err(format!(
            "the value `{}` of the header {name} is empty, holds controls, or starts or ends with blanks",
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
    Err(format!("`{}` is no list of statuses such as 200,204,300-399", text.escape_debug()))
}

fn short(text: &str) -> Result<HttpCheck, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (method, uri) = match words.as_slice() {
        [uri] => ("GET", *uri),
        [method, uri] => (*method, *uri),
        _ => return Err(format!("`{}` is no check: write \"GET /health\", or a table", text.escape_debug())),
    };
    let (method, uri) = (method.to_owned(), uri.to_owned());
    Ok(HttpCheck { method, uri, version: None, headers: BTreeMap::new(), status: None })
}
