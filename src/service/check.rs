//! How a described service is checked.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `check = true`, `check = false`, `check = "GET /health"` or a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Check {
    /// Whether `HAProxy` connects at all.
    Connect(bool),
    /// `METHOD URI`, or `URI` alone, which `GET` asks for.
    Short(String),
    /// All of it.
    Http(HttpCheck),
}

/// The request of a check, and what it wants back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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

    /// The backend's lines about it.
    pub(super) fn lines(&self) -> Result<Vec<Vec<String>>, String> {
        let http = match self {
            Self::Connect(_) => return Ok(Vec::new()),
            Self::Short(text) => &short(text)?,
            Self::Http(http) => http,
        };
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut option =
            owned(&["option", "httpchk", token("method", &http.method)?, token("uri", &http.uri)?]);
        if let Some(version) = &http.version {
            option.push(token("version", version)?.to_owned());
        }
        let mut lines = vec![option];
        if !http.headers.is_empty() {
            let mut send = owned(&["http-check", "send"]);
            for (name, value) in &http.headers {
                if value.contains(['\r', '\n']) {
                    return Err(format!(
                        "the value of the header {} is more than one line",
                        name.escape_debug()
                    ));
                }
                // HAProxy reads a log-format expression here; what is described is a text.
                send.extend(owned(&["hdr", token("header", name)?, &value.replace('%', "%%")]));
            }
            lines.push(send);
        }
        if let Some(status) = &http.status {
            lines.push(owned(&["http-check", "expect", "status", token("status", status)?]));
        }
        Ok(lines)
    }
}

/// What a request line or a header's name is made of: no blanks, no controls.
fn token<'t>(key: &str, text: &'t str) -> Result<&'t str, String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{}` is no {key}: it is empty, or holds blanks", text.escape_debug()));
    }
    Ok(text)
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
