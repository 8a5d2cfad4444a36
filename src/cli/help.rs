//! What `--help` ends with: what each command touches, and how it is typed.

pub(super) const DRAINSWAP: &str = "\
Start with `drainswap status`. It only looks.

Examples:
  drainswap status
  drainswap plan mobile --image registry.example.org/mobile:v2
  drainswap deploy mobile --image registry.example.org/mobile:v2";

pub(super) const STATUS: &str = "\
It only looks, and asks every server what the backend's own check would ask.

Examples:
  drainswap status
  drainswap status mobile -o json
  drainswap status --watch=5s";

pub(super) const PLAN: &str = "\
It only looks, and asks the registry what the image's name means. Nothing is pulled.

Examples:
  drainswap plan mobile --image registry.example.org/mobile:v2
  drainswap plan mobile --image registry.example.org/mobile:v2 --exit-code
  drainswap plan mobile --image registry.example.org/mobile:v2 --save plan.json";

pub(super) const DEPLOY: &str = "\
It pulls the image, sets the states of the backend's servers in HAProxy, and replaces their
containers. haproxy.cfg is not changed. The replaced containers are kept, stopped (--keep). The run
is recorded in --state-dir.

Examples:
  drainswap deploy mobile --image registry.example.org/mobile:v2
  drainswap deploy mobile --image registry.example.org/mobile:v2 --floor 2 --on-drain-timeout maint
  drainswap deploy --plan plan.json";

pub(super) const RESUME: &str = "\
It touches what the run that was killed would have touched, and with --dry-run nothing.

Examples:
  drainswap resume mobile --dry-run
  drainswap resume mobile
  drainswap resume mobile --drain-timeout 30m
  drainswap resume mobile --undo";

pub(super) const ROLLBACK: &str = "\
It sets the states of the backend's servers, stops their containers, and starts the kept ones; where
one is gone, a new one is made by digest. With --dry-run nothing is touched.

Examples:
  drainswap rollback mobile --dry-run
  drainswap rollback mobile
  drainswap rollback mobile --to 20261123T221500.000Z";

pub(super) const PROMOTE: &str = "\
It looks at the one place, and touches the other one as deploy does. With --dry-run nothing is
touched.

Examples:
  drainswap promote mobile --from staging.toml --to production.toml --dry-run
  drainswap promote mobile --from staging.toml --to production.toml";

pub(super) const HISTORY: &str = "\
It reads the journals in --state-dir, and asks the engines what is still there.

Examples:
  drainswap history mobile
  drainswap history mobile -o json";

pub(super) const REPORT: &str = "\
It reads the journals in --state-dir and asks nobody; it writes the file that is named.

Examples:
  drainswap report --file report.html
  drainswap report 20261123T221500.000Z > report.html";

pub(super) const STOP: &str = "\
It signals the process of that run, on this host; what is touched then is touched by that run.

Examples:
  drainswap stop mobile
  drainswap stop mobile --lock-wait 5m";

pub(super) const PRUNE: &str = "\
It removes stopped containers that runs have put aside, and images that nobody uses, but none that
no registry is known to have. No running container and no server's state is touched, and with
--dry-run nothing at all.

Examples:
  drainswap prune --dry-run
  drainswap prune mobile --keep 2";

pub(super) const DRAIN: &str = "\
It sets the state, and what else is asked for, of this one server, or of all of that name where no
backend is named, at every load balancer; no container is touched.

Examples:
  drainswap drain mobile/app1 --wait
  drainswap drain mobile/app1 --floor 0";

pub(super) const MAINT: &str = "\
It sets the state, and what else is asked for, of this one server, or of all of that name where no
backend is named, at every load balancer; no container is touched.

Examples:
  drainswap maint mobile/app1
  drainswap maint mobile/app1 --drain-first --drain-timeout 10m
  drainswap maint app1 --health off --dry-run";

pub(super) const READY: &str = "\
It sets the state, and what else is asked for, of this one server, or of all of that name where no
backend is named, at every load balancer; no container is touched.

Examples:
  drainswap ready mobile/app1 --wait
  drainswap ready mobile/app1 --weight 50%";

pub(super) const DOCTOR: &str = "\
It only looks. With --fix it removes stopped containers that a finished run has put aside.

Examples:
  drainswap doctor
  drainswap doctor --exit-code
  drainswap doctor --fix";

pub(super) const INIT: &str = "\
It reads haproxy.cfg (that of the HAProxy which runs here, unless one is named), looks at HAProxy
and the engine, and writes this one file. What is given by flags and variables is written into it.

Examples:
  drainswap init
  drainswap init -
  drainswap init -f /srv/haproxy/haproxy.cfg --settings /srv/haproxy/drainswap.toml";

pub(super) const SCHEMA: &str = "\
It touches nothing and needs no settings.

Examples:
  drainswap schema event > event.schema.json
  drainswap schema settings";

pub(super) const COMPLETIONS: &str = "\
It touches nothing and needs no settings.

Examples:
  drainswap completions bash > /etc/bash_completion.d/drainswap
  drainswap completions zsh > /usr/local/share/zsh/site-functions/_drainswap
  drainswap completions fish > ~/.config/fish/completions/drainswap.fish";

pub(super) const MAN: &str = "\
It writes the directory that is named, touches nothing else, and needs no settings.

Examples:
  drainswap man | man -l -
  drainswap man /usr/local/share/man/man1";

pub(super) const CONFIG: &str = "\
Only apply changes anything.

Examples:
  drainswap config check
  drainswap config diff
  drainswap config apply mobile";

pub(super) const CONFIG_CHECK: &str = "\
It reads haproxy.cfg, and with --with-haproxy runs `haproxy -c`.

Examples:
  drainswap config check
  drainswap config check --with-haproxy
  drainswap config check -f new.cfg --as 3.2";

pub(super) const CONFIG_SHOW: &str = "\
It reads haproxy.cfg and asks nobody.

Examples:
  drainswap config show
  drainswap config show mobile -o json";

pub(super) const CONFIG_RENDER: &str = "\
It reads drainswap.toml and the templates, and prints.

Examples:
  drainswap config render
  drainswap config render mobile --templates /etc/drainswap/templates";

pub(super) const CONFIG_DIFF: &str = "\
It reads drainswap.toml and haproxy.cfg, and prints.

Examples:
  drainswap config diff
  drainswap config diff mobile --exit-code
  drainswap config diff --from new.cfg";

pub(super) const CONFIG_APPLY: &str = "\
It replaces haproxy.cfg, and reloads HAProxy where servers do not only come and go. No container is
touched.

Examples:
  drainswap config apply
  drainswap config apply mobile --reload never
  drainswap config apply --from new.cfg";

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, Parser};

    use crate::cli::Cli;

    /// The lines of a command's examples.
    fn examples(command: &Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("\n\nExamples:\n").unwrap_or_default();
        examples.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// An example as clap gets it: what follows is the shell's.
    fn words(example: &str) -> Vec<String> {
        let words = shlex::split(example).expect("an example is split as a shell does");
        words.into_iter().take_while(|word| !matches!(word.as_str(), ">" | "|")).collect()
    }

    fn walk(command: &Command, path: &str, wrong: &mut Vec<String>) {
        let examples = examples(command);
        if !examples.iter().any(|example| example.starts_with(path)) {
            wrong.push(format!("`{path} --help` has no example of itself"));
        }
        for example in &examples {
            if let Err(error) = Cli::try_parse_from(words(example)) {
                wrong.push(format!("`{path} --help` has an example that is not taken: {example}\n{error}"));
            }
        }
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter(|line| line.len() > 100) {
            wrong.push(format!("`{path} --help` would break this line anew: {line}"));
        }
        if help.starts_with("Examples:") {
            wrong.push(format!("`{path} --help` does not say what it touches"));
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            walk(inner, &format!("{path} {}", inner.get_name()), wrong);
        }
    }

    #[test]
    fn what_a_help_lacks_is_found() {
        let status = Command::new("status").after_help("Examples:\n  drainswap status");
        let bad = Command::new("drainswap").after_help("It looks.\n\nExamples:\n  drainswap statsu");
        let mut wrong = Vec::new();
        walk(&bad.subcommand(status), "drainswap", &mut wrong);
        let wrong = wrong.join("\n");
        for expected in
            ["not taken: drainswap statsu", "`drainswap status --help` has no example", "does not say"]
        {
            assert!(wrong.contains(expected), "{expected} is not in\n{wrong}");
        }
    }

    #[test]
    fn every_command_says_what_it_touches_and_has_examples_that_can_be_typed() {
        let mut wrong = Vec::new();
        walk(&Cli::command(), "drainswap", &mut wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
