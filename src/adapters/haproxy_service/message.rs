//! The messages that HAProxy prints when it reads a configuration.

use std::fmt;

use serde::Serialize;

use crate::model::sanitize;

/// A warning or an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Whether HAProxy treats it as an error.
    pub is_alert: bool,
    /// The file and the line, if the message names them.
    pub place: Option<(String, u32)>,
    pub text: String,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.place {
            write!(f, "{file}:{line}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// Messages that only repeat that there were errors.
const TRAILERS: &[&str] = &["Error(s) found in configuration file", "Fatal errors found in configuration"];

/// Parses the formats of 2.2 (`[ALERT] 326/091957 (16268) : …`) and of 2.6 and later (`[ALERT]    (16270) : config :
/// …`).
pub(super) fn read(text: &str) -> Vec<Message> {
    text.lines().map(sanitize::line).filter_map(|line| message(&line)).collect()
}

fn message(line: &str) -> Option<Message> {
    let (level, rest) = line.strip_prefix('[')?.split_once(']')?;
    let is_alert = match level {
        "ALERT" => true,
        "WARNING" => false,
        _ => return None,
    };
    let (_, text) = rest.split_once(" : ")?;
    let text = text.strip_prefix("config : ").unwrap_or(text);
    if TRAILERS.iter().any(|trailer| text.starts_with(trailer)) {
        return None;
    }
    let (place, text) = place(text).map_or((None, text), |(place, text)| (Some(place), text));
    Some(Message { is_alert, place, text: text.to_owned() })
}

/// Parses `parsing [/f.cfg:7] : …`, `Parsing [/f.cfg:8]: …` or `[/f.cfg:7] : …`.
fn place(text: &str) -> Option<((String, u32), &str)> {
    let start = text.strip_prefix("parsing ").or(text.strip_prefix("Parsing ")).unwrap_or(text);
    let (place, rest) = start.strip_prefix('[')?.split_once(']')?;
    let (file, line) = place.rsplit_once(':')?;
    Some(((file.to_owned(), line.parse().ok()?), rest.trim_start_matches([' ', ':'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_all_versions_are_read() {
        let text = "[NOTICE]   (1) : haproxy version is 2.6.12\n\
            [ALERT] 326/091957 (16268) : parsing [/f.cfg:7] : unknown keyword 'bogus' in 'backend' section\n\
            [ALERT]    (16270) : config : parsing [/f.cfg:7] : 'server b/a' : unknown keyword 'x'.\n\
            [WARNING]  (1) : config : Parsing [/f.cfg:8]: backend 'b' odd\n\
            [ALERT]    (1) : Proxy 'f': unable to find required default_backend: 'nope'.\n\
            [ALERT]    (1) : config : Fatal errors found in configuration.\n";
        let shown: Vec<_> =
            read(text).iter().map(|message| (message.is_alert, message.to_string())).collect();
        let expected = [
            (true, "/f.cfg:7: unknown keyword 'bogus' in 'backend' section"),
            (true, "/f.cfg:7: 'server b/a' : unknown keyword 'x'."),
            (false, "/f.cfg:8: backend 'b' odd"),
            (true, "Proxy 'f': unable to find required default_backend: 'nope'."),
        ];
        assert_eq!(shown, expected.map(|(is_alert, text)| (is_alert, text.to_owned())));
    }
}
