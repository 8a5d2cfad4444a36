//! The drainswap.toml that `init` writes: every key with its typed value or default, and what was found as comments.

use std::path::PathBuf;

use serde::Serialize;
use tera::{Context, Tera};
use toml::Value;

use super::{DEFAULT_CONFIG, DEFAULT_STATE_DIR};
use crate::cli::knob::{Knob, Knobs, knobs};
use crate::cli::{Globals, PolicyFlags, ReloadFlags};

/// The width of a comment, with its mark.
const WIDTH: usize = 118;
const TEMPLATE_NAME: &str = "drainswap.toml.tera";
const TEMPLATE: &str = include_str!("../../templates/drainswap.toml.tera");

/// The HAProxy and the engine on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DetectedSetup {
    /// The runtime socket in haproxy.cfg.
    pub socket: Option<String>,
    /// The master socket of the running HAProxy.
    pub master_socket: Option<String>,
    /// The engine that the docker command would use.
    pub docker: Option<String>,
    pub backends: Vec<DetectedBackend>,
}

/// A backend of haproxy.cfg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DetectedBackend {
    pub name: String,
    pub servers: Vec<DetectedServer>,
}

/// A server line and its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DetectedServer {
    pub name: String,
    pub address: String,
    /// The container and its image, or the reason why there is none.
    pub behind: String,
}

/// The values of the template: whole lines, because keys without a typed value are commented out.
#[derive(Serialize)]
struct Lines<'a> {
    haproxy_config: String,
    socket: String,
    master_socket: String,
    read_as: String,
    haproxy: String,
    docker: String,
    lock_wait: String,
    state_dir: String,
    events: String,
    reloading: Vec<KnobLines>,
    policy: Vec<KnobLines>,
    found: Option<&'a DetectedSetup>,
    example: &'a str,
}

/// A knob in the template.
#[derive(Serialize)]
struct KnobLines {
    /// The meaning, in lines.
    comment: Vec<String>,
    /// The key with its default, or with an example if it has none.
    setting: String,
}

impl KnobLines {
    fn all<T: Knobs>() -> Vec<Self> {
        knobs::<T>().iter().map(Self::of).collect()
    }

    fn of(knob: &Knob) -> Self {
        let mark = if knob.default.is_null() { "# " } else { "#" };
        // Texts, numbers and truths look the same in JSON and TOML.
        let setting = format!("{mark}{} = {}", knob.name, knob.example);
        let quoted: Vec<String> = knob.choices.iter().map(|choice| format!("{choice:?}")).collect();
        let comment = match quoted.split_last() {
            Some((last, others)) => {
                format!("{}: {} or {last}.", knob.meaning.trim_end_matches('.'), others.join(", "))
            }
            None => knob.meaning.clone(),
        };
        Self { comment: wrapped(&comment), setting }
    }
}

/// Returns a text in lines that leave room for the mark of a comment.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut().filter(|line| "# ".len() + line.len() + " ".len() + word.len() <= WIDTH) {
            Some(line) if !line.is_empty() => line.extend([" ", word]),
            Some(line) => line.push_str(word),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns the text of a new drainswap.toml, with the typed values as settings and what was found as comments.
///
/// # Errors
/// Reports an error in the template, which is a bug.
pub fn initial(typed: &Globals, found: Option<&DetectedSetup>) -> tera::TeraResult<String> {
    let path = |path: &PathBuf| Value::String(absolute(path));
    let text = |text: &String| Value::String(text.clone());
    let one = |key, value: Option<Value>, or| line(key, value.into_iter().collect(), or);
    let many = |key, values: &[String], or| line(key, values.iter().map(text).collect(), or);
    let lines = Lines {
        haproxy_config: line(
            "haproxy_config",
            typed.haproxy_config.iter().map(path).collect(),
            &format!("# haproxy_config = {DEFAULT_CONFIG:?}"),
        ),
        socket: many("socket", &typed.socket, "# socket = \"/run/haproxy/admin.sock\""),
        master_socket: many(
            "master_socket",
            &typed.master_socket,
            "# master_socket = \"/run/haproxy-master.sock\"",
        ),
        read_as: one("as", typed.read_as.map(|it| Value::String(it.to_string())), "# as = \"3.2\""),
        haproxy: one(
            "haproxy",
            typed.haproxy.as_ref().map(path),
            "# haproxy = \"/opt/haproxy/sbin/haproxy\"",
        ),
        docker: one(
            "docker",
            typed.docker.as_ref().map(text),
            "# docker = \"ssh://deploy@app1.example.org\"",
        ),
        lock_wait: one(
            "lock_wait",
            typed.lock_wait.map(|wait| Value::String(wait.to_string())),
            "#lock_wait = \"0s\"",
        ),
        state_dir: one(
            "state_dir",
            typed.state_dir.as_ref().map(path),
            &format!("#state_dir = {DEFAULT_STATE_DIR:?}"),
        ),
        events: one(
            "events",
            typed.events.as_ref().map(path),
            "# events = \"/var/log/drainswap/events.jsonl\"",
        ),
        reloading: KnobLines::all::<ReloadFlags>(),
        policy: KnobLines::all::<PolicyFlags>(),
        found,
        example: found.and_then(|found| found.backends.first()).map_or("mobile", |it| it.name.as_str()),
    };
    let mut tera = Tera::new();
    tera.autoescape_on(vec![TEMPLATE_NAME]);
    // Foreign text only occurs in comments, which end with the line.
    tera.set_escape_fn(|text, out| {
        out.write_all(text.replace(|letter: char| letter.is_control(), " ").as_bytes())
    });
    tera.add_raw_template(TEMPLATE_NAME, TEMPLATE)?;
    tera.render(TEMPLATE_NAME, &Context::from_serialize(&lines)?)
}

/// Returns `key = value`, with a list for several values, or the alternative text for none.
fn line(key: &str, mut values: Vec<Value>, or: &str) -> String {
    match values.len() {
        0 => or.to_owned(),
        1 => format!("{key} = {}", values.remove(0)),
        _ => format!("{key} = {}", Value::Array(values)),
    }
}

fn absolute(path: &PathBuf) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::form::Form;
    use crate::settings::Settings;

    /// Removes a comment mark from all lines with commented-out settings.
    fn uncommented(text: &str, mark: &str) -> String {
        let is_setting = |line: &str| {
            line.starts_with(['[', '"'])
                || line.split_once(" = ").is_some_and(|(key, _)| {
                    key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
                })
        };
        let lines = text.lines().map(|line| match line.strip_prefix(mark) {
            Some(setting) if is_setting(setting) => setting,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    fn read(text: &str) -> Settings {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drainswap.toml");
        std::fs::write(&path, text).unwrap();
        let globals = Globals { settings: Some(path), ..Globals::default() };
        Settings::read(&globals).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Formats all effective settings.
    fn meaning(settings: &Settings) -> String {
        let (policy, reloading) = (PolicyFlags::default(), ReloadFlags::default());
        let own = Settings { policy, reloading, ..settings.clone() };
        let policy = settings.policy(&PolicyFlags::default());
        format!("{own:#?}\n{policy:#?}\n{:#?}", settings.reloading(&ReloadFlags::default()))
    }

    #[test]
    fn commented_out_values_are_the_defaults() {
        let text = initial(&Globals::default(), None).unwrap();
        let defaults = uncommented(&text, "#");
        assert_ne!(defaults, text);
        assert_eq!(meaning(&read(&defaults)), meaning(&read("")));
        assert_eq!(meaning(&read(&text)), meaning(&read("")));
        // A different value makes a difference.
        assert_ne!(meaning(&read(&defaults.replace("rise = 1", "rise = 2"))), meaning(&read("")));
    }

    #[test]
    fn the_template_has_every_key() {
        let text = initial(&Globals::default(), None).unwrap();
        let all = uncommented(&uncommented(&text, "# "), "#");
        read(&all);
        let written: toml::Table = all.parse().unwrap();
        let schema = Form::Settings.schema().to_value();
        let keys = |schema: &serde_json::Value| -> Vec<String> {
            schema["properties"].as_object().unwrap().keys().cloned().collect()
        };
        let lacks: Vec<_> = keys(&schema).into_iter().filter(|key| !written.contains_key(key)).collect();
        assert!(lacks.is_empty(), "templates/drainswap.toml.tera lacks {lacks:?}");
        let hooks = keys(&schema["$defs"]["HooksFile"]);
        let lacks: Vec<_> = hooks.iter().filter(|key| written["hooks"].get(key).is_none()).collect();
        assert!(lacks.is_empty(), "templates/drainswap.toml.tera lacks {lacks:?} of [hooks]");
    }

    #[test]
    fn typed_values_are_written_and_read_again() {
        let typed = Globals {
            haproxy_config: vec!["/a b.cfg".into(), "/conf.d".into()],
            socket: vec!["/s\"1".to_owned()],
            docker: Some("context:app".to_owned()),
            read_as: Some("3.0".parse().unwrap()),
            lock_wait: Some("15m".parse().unwrap()),
            events: Some("/e.jsonl".into()),
            state_dir: Some("/state".into()),
            ..Globals::default()
        };
        let server = DetectedServer {
            name: "app1".to_owned(),
            address: "127.0.0.1:50000".to_owned(),
            behind: "a container\nkeep = 9".to_owned(),
        };
        let backends = vec![DetectedBackend { name: "mobile".to_owned(), servers: vec![server] }];
        let found = DetectedSetup { socket: Some("/run/s".to_owned()), backends, ..DetectedSetup::default() };
        let text = initial(&typed, Some(&found)).unwrap();
        assert!(
            text.contains(
                "# The backend mobile of haproxy.cfg:\n#   app1  127.0.0.1:50000  a container keep = 9\n"
            ),
            "{text}"
        );
        assert!(text.contains("in haproxy.cfg, here /run/s.\n"), "{text}");
        let settings = read(&text);
        assert_eq!(settings.haproxy_config, [Path::new("/a b.cfg"), Path::new("/conf.d")]);
        assert_eq!(
            (settings.sockets.as_slice(), settings.docker.as_deref()),
            (&["/s\"1".to_owned()][..], Some("context:app"))
        );
        assert_eq!(settings.lock_wait.as_secs(), 900);
        assert_eq!(settings.state_dir, Path::new("/state"));
        let again = Globals { settings: None, ..typed };
        assert_eq!(meaning(&settings), meaning(&Settings::typed(&again)));
    }
}
