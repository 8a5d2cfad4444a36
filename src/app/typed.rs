//! Rebuilds the command line that drainswap was called with, for the commands that it prints.

use std::path::Path;

use crate::adapters::haproxy::address::SocketAddress;
use crate::cli::Globals;
use crate::model::command_line::CommandLine;
use crate::model::secret::redact;

/// Returns how drainswap was called, with every option that selects its site: the reader of a log has neither the
/// environment variables nor the working directory of the call.
pub(super) fn command_line(globals: &Globals) -> CommandLine {
    let path = |path: &Path| {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        whole.display().to_string()
    };
    let mut options: Vec<(&'static str, String)> = Vec::new();
    options.extend(globals.haproxy_config.iter().map(|it| ("-f", path(it))));
    let socket = |text: &String| match text.parse() {
        Ok(SocketAddress::Unix(relative)) if relative.is_relative() => path(&relative),
        _ => redact(text),
    };
    options.extend(globals.socket.iter().map(|it| ("--socket", socket(it))));
    options.extend(globals.master_socket.iter().map(|it| ("--master-socket", socket(it))));
    options.extend(globals.docker.iter().map(|it| ("--docker", redact(it))));
    options.extend(globals.settings.iter().map(|it| ("--settings", path(it))));
    options.extend(globals.read_as.iter().map(|it| ("--as", it.to_string())));
    options.extend(globals.haproxy.iter().map(|it| ("--haproxy", path(it))));
    options.extend(globals.state_dir.iter().map(|it| ("--state-dir", path(it))));
    options.extend(globals.trust_owner.iter().map(|it| ("--trust-owner", it.clone())));
    CommandLine::new(program(), options)
}

/// Returns the program as it was called. An Ansible module is a temporary copy under another name, so it counts as
/// `drainswap`.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let is_own = Path::new(&called).file_name().is_some_and(|name| name == "drainswap");
    if is_own { called.to_string_lossy().into_owned() } else { "drainswap".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_that_selects_the_site_is_repeated() {
        let globals = Globals {
            haproxy_config: vec!["/a.cfg".into(), "/b.d".into()],
            socket: vec!["lb1:9999".to_owned(), "run/admin.sock".to_owned()],
            docker: Some("ssh://deploy:hunter2@app1".to_owned()),
            settings: Some("staging.toml".into()),
            state_dir: Some("/state".into()),
            quiet: true,
            ..Globals::default()
        };
        let here = std::env::current_dir().unwrap().display().to_string();
        assert_eq!(
            command_line(&globals).command(&["resume", "mobile"]),
            format!(
                "drainswap resume mobile -f /a.cfg -f /b.d --socket lb1:9999 --socket {here}/run/admin.sock \
                 --docker 'ssh://deploy:********@app1' --settings {here}/staging.toml --state-dir /state"
            )
        );
    }
}
