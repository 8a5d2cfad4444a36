//! The request of a check: the words after `option httpchk` and after `http-check send`.

use std::borrow::Cow;

use super::super::version::Version;
use super::CheckRequest;

/// The part of a request that one line sets; `None` leaves it to the other line or to the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub method: Option<String>,
    pub uri: Option<String>,
    /// Whether the URI, a header or the body is a log-format expression.
    pub is_computed: bool,
    pub version: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

impl Request {
    /// Reads `option httpchk [URI | METHOD URI [VERSION [HOST]]]`.
    pub fn from_option(words: &[Cow<'_, str>], haproxy: Version) -> Result<Self, String> {
        let mut request = Self::default();
        match words {
            [] => {}
            [uri] => request.uri = Some(uri.to_string()),
            [method, uri, rest @ ..] => {
                (request.method, request.uri) = (Some(method.to_string()), Some(uri.to_string()));
                if let [version, host @ ..] = rest {
                    request.version_word(version, haproxy)?;
                    request.host(host, haproxy)?;
                }
            }
        }
        Ok(request)
    }

    /// Reads the version. The old trick `HTTP/1.1\r\nHost:\ www` hides headers in it, up to 2.6.
    fn version_word(&mut self, word: &str, haproxy: Version) -> Result<(), String> {
        let mut lines = word.split("\r\n");
        let version = lines.next().unwrap_or_default();
        for line in lines.filter(|line| !line.is_empty()) {
            if haproxy >= Version::new(2, 7) {
                return Err(
                    "HAProxy rejects a header in the version since 2.7: use `http-check send hdr`".to_owned()
                );
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            self.headers.push((name.to_owned(), value.trim().to_owned()));
        }
        self.version = Some(version.to_owned());
        Ok(())
    }

    fn host(&mut self, words: &[Cow<'_, str>], haproxy: Version) -> Result<(), String> {
        match words {
            [] => Ok(()),
            [host] if haproxy >= Version::new(3, 1) => {
                self.headers.push(("host".to_owned(), host.to_string()));
                Ok(())
            }
            [word, ..] => Err(format!(
                "unexpected `{word}` in `option httpchk`: expected METHOD, URI and VERSION at most"
            )),
        }
    }

    /// Reads `http-check send [meth M] [uri U] [ver V] [hdr NAME VALUE]… [body B] [comment C]`.
    pub fn from_send(words: &[Cow<'_, str>]) -> Result<Self, String> {
        let mut request = Self::default();
        let mut rest = words;
        while let [word, tail @ ..] = rest {
            let Some((value, mut tail)) = tail.split_first() else {
                return Err(format!("`{word}` is missing its value"));
            };
            match &**word {
                "meth" => request.method = Some(value.to_string()),
                "uri" | "uri-lf" => request.uri = Some(value.to_string()),
                "ver" => request.version = Some(value.to_string()),
                "body" | "body-lf" => request.body = Some(value.to_string()),
                "comment" => {}
                "hdr" => {
                    let Some((content, after)) = tail.split_first() else {
                        return Err(format!("`hdr {value}` is missing its value"));
                    };
                    request.headers.push((value.to_string(), content.to_string()));
                    tail = after;
                }
                _ => {
                    return Err(format!(
                        "unknown word `{word}` in `http-check send`: expected meth, uri, uri-lf, ver, hdr, body or body-lf"
                    ));
                }
            }
            request.is_computed |= match &**word {
                "uri-lf" | "body-lf" => true,
                "hdr" => request.headers.last().is_some_and(|(_, value)| value.contains('%')),
                _ => false,
            };
            rest = tail;
        }
        Ok(request)
    }

    /// Returns this request, overridden by the settings of the other line.
    pub fn overlaid(&self, other: &Self) -> Self {
        let over = |mine: &Option<String>, its: &Option<String>| its.clone().or_else(|| mine.clone());
        Self {
            method: over(&self.method, &other.method),
            uri: over(&self.uri, &other.uri),
            is_computed: self.is_computed || other.is_computed,
            version: over(&self.version, &other.version),
            headers: self.headers.iter().chain(&other.headers).cloned().collect(),
            body: over(&self.body, &other.body),
        }
    }

    pub fn completed(self) -> CheckRequest {
        let plain = CheckRequest::default();
        CheckRequest {
            method: self.method.unwrap_or(plain.method),
            uri: self.uri.unwrap_or(plain.uri),
            is_computed: self.is_computed,
            version: self.version.unwrap_or(plain.version),
            headers: self.headers,
            body: self.body,
        }
    }
}
