//! The command line of HAProxy, and the files that it names.

use std::path::{Path, PathBuf};

use super::super::config_files;
use super::super::haproxy::address::SocketAddress;

/// A command line of HAProxy, with the directory that relative paths start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The arguments, without those that are only for a start.
    pub arguments: Vec<String>,
    pub directory: PathBuf,
}

/// The meaning of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// A configuration file or directory after `-f`.
    File,
    /// A configuration file or directory after `--`, where only files follow.
    FileAlone,
    Other,
}

impl Invocation {
    /// Returns the command line with these arguments, without those that are only for a start.
    #[must_use]
    pub fn new(words: &[String], directory: PathBuf) -> Self {
        Self { arguments: lasting(words), directory }
    }

    /// Returns a command line with these files and directories only.
    #[must_use]
    pub fn with_files(files: &[PathBuf]) -> Self {
        let arguments = files.iter().flat_map(|file| ["-f".to_owned(), file.display().to_string()]).collect();
        Self { arguments, directory: std::env::current_dir().unwrap_or_else(|_| "/".into()) }
    }

    /// Returns whether HAProxy reads all these files, and there is at least one.
    #[must_use]
    pub fn reads(&self, files: &[PathBuf]) -> bool {
        !files.is_empty() && files.iter().all(|file| self.with(file, file).is_some())
    }

    /// Returns the files and directories in the arguments.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let named = self.named().filter(|(_, names)| *names != Names::Other);
        named.map(|(argument, _)| self.directory.join(argument)).collect()
    }

    /// Returns the master socket in the arguments.
    #[must_use]
    pub fn master_socket(&self) -> Option<SocketAddress> {
        let at = self.arguments.iter().position(|argument| argument == "-S")?;
        // Options of the socket may follow after commas.
        let address = self.arguments.get(at + 1)?.split(',').next()?;
        match address.parse().ok()? {
            SocketAddress::Unix(path) => Some(SocketAddress::Unix(self.directory.join(path))),
            elsewhere @ (SocketAddress::Abstract(_) | SocketAddress::Tcp { .. }) => Some(elsewhere),
        }
    }

    /// Returns the arguments with `candidate` in the place of `target`. Lists a directory that contains it file by
    /// file.
    ///
    /// Returns `None` if HAProxy does not read `target`.
    #[must_use]
    pub fn with(&self, target: &Path, candidate: &Path) -> Option<Vec<String>> {
        let mut arguments = Vec::new();
        let mut found = false;
        for (argument, names) in self.named() {
            if names == Names::Other {
                arguments.push(argument.clone());
                continue;
            }
            let path = self.directory.join(argument);
            let files = config_files::list(std::slice::from_ref(&path)).unwrap_or_default();
            if !files.iter().any(|file| same(file, target)) {
                arguments.push(argument.clone());
                continue;
            }
            found = true;
            for (index, file) in files.iter().enumerate() {
                if index > 0 && names == Names::File {
                    arguments.push("-f".to_owned());
                }
                let file = if same(file, target) { candidate } else { file };
                arguments.push(file.display().to_string());
            }
        }
        found.then_some(arguments)
    }

    /// Returns the arguments and the meaning of each.
    fn named(&self) -> impl Iterator<Item = (&String, Names)> {
        let (mut is_next, mut only_files) = (false, false);
        self.arguments.iter().map(move |argument| {
            let names = match (only_files, is_next) {
                (true, _) => Names::FileAlone,
                (false, true) => Names::File,
                (false, false) => Names::Other,
            };
            is_next = !only_files && !is_next && argument == "-f";
            only_files |= names == Names::Other && argument == "--";
            (argument, names)
        })
    }
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Returns the arguments that also apply to a check: without old processes, background mode and PID file.
fn lasting(arguments: &[String]) -> Vec<String> {
    let mut lasting = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-sf" | "-st" => while rest.next_if(|pid| pid.parse::<u32>().is_ok()).is_some() {},
            "-x" | "-p" => drop(rest.next()),
            "-D" | "-d" | "-db" | "-c" | "-q" | "-V" => {}
            _ => lasting.push(argument.clone()),
        }
    }
    lasting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_that_are_only_for_a_start_are_left_out() {
        let running = "-Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid -S /run/m.sock,level,operator -D -sf 12 13 -x sockpair@4 -m 16";
        let kept = words("-Ws -f /etc/haproxy/haproxy.cfg -S /run/m.sock,level,operator -m 16");
        let invocation = Invocation::new(&words(running), "/".into());
        assert_eq!(invocation.arguments, kept);
        assert_eq!(invocation.master_socket(), Some(SocketAddress::Unix("/run/m.sock".into())));
    }

    #[test]
    fn the_candidate_takes_the_place_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("conf.d")).unwrap();
        for file in ["h.cfg", "conf.d/1.cfg", "conf.d/2.cfg"] {
            std::fs::write(path(file), "").unwrap();
        }
        let invocation =
            Invocation::new(&words("-W -f h.cfg -f conf.d -- h.cfg"), directory.path().to_owned());
        let conf_d = format!("-W -f h.cfg -f {} -f /new -- h.cfg", path("conf.d/1.cfg").display());
        assert_eq!(invocation.with(&path("conf.d/2.cfg"), Path::new("/new")), Some(words(&conf_d)));
        let both = invocation.with(&path("h.cfg"), Path::new("/new"));
        assert_eq!(both, Some(words("-W -f /new -f conf.d -- /new")));
        assert_eq!(invocation.with(Path::new("/other.cfg"), Path::new("/new")), None);
        assert!(invocation.reads(&[path("h.cfg"), path("conf.d/1.cfg")]));
        assert_eq!(invocation.files(), [path("h.cfg"), path("conf.d"), path("h.cfg")]);
        assert!(!invocation.reads(&[path("h.cfg"), "/other.cfg".into()]));
    }
}
