//! Reads from a systemd unit how HAProxy is started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::invocation::Invocation;

/// The directories of units. Of several files with the same name, the first counts: the administrator's, then temporary
/// ones, then those of packages.
const FOLDERS: &[&str] =
    &["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

const NAME: &str = "haproxy.service";

/// How systemd starts HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub path: PathBuf,
    pub binary: PathBuf,
    /// The arguments. The working directory is the root directory.
    pub invocation: Invocation,
    pub environment: BTreeMap<String, String>,
}

impl Unit {
    /// Returns the installed unit, if there is one, including changes made with `systemctl edit`.
    #[must_use]
    pub fn installed() -> Option<Self> {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Option<Self> {
        let folders = || FOLDERS.iter().map(|folder| root.join(folder));
        let path = folders().map(|folder| folder.join(NAME)).find(|path| path.is_file())?;
        let mut text = std::fs::read_to_string(&path).ok()?;
        // Drop-ins are sorted by name across all directories; of several with the same name, the first counts.
        let mut additions = BTreeMap::new();
        for folder in folders() {
            let files = std::fs::read_dir(folder.join(format!("{NAME}.d"))).into_iter().flatten().flatten();
            for file in files.filter(|file| file.path().extension().is_some_and(|end| end == "conf")) {
                additions.entry(file.file_name()).or_insert(file.path());
            }
        }
        for addition in additions.values() {
            text.push('\n');
            text.push_str(&std::fs::read_to_string(addition).unwrap_or_default());
        }
        let Start { mut words, environment } = start(&text, |path| std::fs::read_to_string(path).ok())?;
        let binary = PathBuf::from(words.remove(0));
        Some(Self { path, binary, invocation: Invocation::new(&words, "/".into()), environment })
    }
}

/// The command line that starts the service, and its environment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub words: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

/// Reads `Environment=`, `EnvironmentFile=` and `ExecStart=`; `file` returns the content of a file, if it exists.
///
/// As in systemd, a file's variables override those of the unit, and a variable without braces that is a whole word is
/// split into words: `$EXTRAOPTS`, but not `${CONFIG}`.
pub(super) fn start(unit: &str, file: impl Fn(&str) -> Option<String>) -> Option<Start> {
    let unit = unit.replace("\\\n", " ");
    let settings = |name: &'static str| {
        unit.lines().filter_map(move |line| line.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let mut environment = BTreeMap::new();
    for assignment in settings("Environment").flat_map(split) {
        environment
            .extend(assignment.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    for path in settings("EnvironmentFile") {
        environment.extend(file(path.trim_start_matches('-')).iter().flat_map(|text| variables(text)));
    }
    // An empty `ExecStart=` cancels the earlier ones.
    let command = settings("ExecStart").next_back().filter(|command| !command.is_empty())?;
    let mut words = Vec::new();
    for word in split(command.trim_start_matches(['-', '@', ':', '+', '!'])) {
        match word.strip_prefix('$').filter(|name| !name.starts_with('{')) {
            Some(name) => words.extend(environment.get(name).iter().flat_map(|value| split(value))),
            None => words.push(braced(&word, &environment)),
        }
    }
    (!words.is_empty()).then_some(Start { words, environment })
}

/// Parses lines of the form `NAME=value` or `NAME="value"`; `#` and `;` start comments.
fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let assignments = lines.filter_map(|line| line.split_once('='));
    assignments.map(|(name, value)| (name.trim().to_owned(), split(value).join(" "))).collect()
}

/// Splits a text into words; quotes may contain blanks.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

fn braced(word: &str, environment: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some((before, (name, after))) =
        rest.split_once("${").and_then(|(before, tail)| Some((before, tail.split_once('}')?)))
    {
        out.push_str(before);
        out.push_str(environment.get(name).map_or("", String::as_str));
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "[Service]\nEnvironmentFile=-/etc/default/haproxy\nEnvironmentFile=-/etc/sysconfig/haproxy\n\
        Environment=\"CONFIG=/etc/haproxy/haproxy.cfg\" \"PIDFILE=/run/haproxy.pid\" \"EXTRAOPTS=-S /run/haproxy-master.sock\"\n\
        ExecStart=/usr/sbin/haproxy -Ws -f $CONFIG -p $PIDFILE $EXTRAOPTS\nExecReload=/bin/kill -USR2 $MAINPID\n";

    fn words(defaults: &str) -> String {
        let file = |path: &str| (path == "/etc/default/haproxy").then(|| defaults.to_owned());
        start(DEBIAN, file).unwrap().words.join(" ")
    }

    #[test]
    fn drop_ins_override_the_unit() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Unit::below(root.path()), None);
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("usr/lib/systemd/system/haproxy.service", DEBIAN);
        write(
            "usr/lib/systemd/system/haproxy.service.d/50-x.conf",
            "[Service]\nEnvironment=CONFIG=/overridden\n",
        );
        write("etc/systemd/system/haproxy.service.d/50-x.conf", "[Service]\nEnvironment=CONFIG=/srv/h.cfg\n");
        let again = "[Service]\nExecStart=\nExecStart=/opt/haproxy -Ws -f $CONFIG -S /run/m.sock\n";
        write("etc/systemd/system/haproxy.service.d/60-y.conf", again);
        write("etc/systemd/system/haproxy.service.d/70-z.txt", "[Service]\nExecStart=/no\n");
        let unit = Unit::below(root.path()).unwrap();
        assert_eq!(unit.path, root.path().join("usr/lib/systemd/system/haproxy.service"));
        assert_eq!(unit.binary, Path::new("/opt/haproxy"));
        assert_eq!(unit.invocation.arguments.join(" "), "-Ws -f /srv/h.cfg -S /run/m.sock");
    }

    #[test]
    fn debian_s_unit_is_read() {
        assert_eq!(
            words(""),
            "/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid -S /run/haproxy-master.sock"
        );
    }

    #[test]
    fn etc_default_overrides_the_unit() {
        let defaults = "# comment\n#CONFIG=\"/no\"\nEXTRAOPTS=\"-S /run/m.sock -f /etc/haproxy/conf.d\"\nCONFIG=/srv/h.cfg\n";
        assert_eq!(
            words(defaults),
            "/usr/sbin/haproxy -Ws -f /srv/h.cfg -p /run/haproxy.pid -S /run/m.sock -f /etc/haproxy/conf.d"
        );
    }

    #[test]
    fn variables_in_braces_are_not_split_and_an_empty_command_cancels() {
        let unit = "Environment=A=x 'B=y z'\nExecStart=\nExecStart=/bin/h ${A}1 ${B} $B\n";
        assert_eq!(start(unit, |_| None).unwrap().words, ["/bin/h", "x1", "y z", "y", "z"]);
        assert_eq!(start("ExecStart=/bin/h\nExecStart=\n", |_| None), None);
    }
}
