//! The end of each `--help` text: what the command touches, and examples.

pub(super) const DRAINSWAP: &str = "\
Start with `drainswap status`, which changes nothing.

Examples:
  drainswap status
  drainswap plan mobile --image registry.example.org/mobile:v2
  drainswap deploy mobile --image registry.example.org/mobile:v2";

pub(super) const STATUS: &str = "\
Changes nothing. Probes every server as the backend's own check would.

Examples:
  drainswap status
  drainswap status mobile -o json
  drainswap status --watch=5s";

pub(super) const PLAN: &str = "\
Changes nothing. Resolves the image's name at the registry, but pulls nothing.

Examples:
  drainswap plan mobile --image registry.example.org/mobile:v2
  drainswap plan mobile --image registry.example.org/mobile:v2 --exit-code
  drainswap plan mobile --image registry.example.org/mobile:v2 --save plan.json";

pub(super) const DEPLOY: &str = "\
Pulls the image, sets the states of the backend's servers in HAProxy, and replaces their containers.
Does not change haproxy.cfg. Keeps the replaced containers, stopped (--keep). Records the run in
--state-dir.

Examples:
  drainswap deploy mobile --image registry.example.org/mobile:v2
  drainswap deploy mobile --image registry.example.org/mobile:v2 --floor 2 --on-drain-timeout maint
  drainswap deploy --plan plan.json";

pub(super) const RESUME: &str = "\
Touches what the unfinished run would have touched; with --dry-run, nothing.

Examples:
  drainswap resume mobile --dry-run
  drainswap resume mobile
  drainswap resume mobile --drain-timeout 30m
  drainswap resume mobile --undo";

pub(super) const ROLLBACK: &str = "\
Sets the states of the backend's servers, stops their containers, and starts the kept ones. A kept
container that is gone is created again by digest. With --dry-run, touches nothing.

Examples:
  drainswap rollback mobile --dry-run
  drainswap rollback mobile
  drainswap rollback mobile --to 20261123T221500.000Z";

pub(super) const PROMOTE: &str = "\
Only looks at the first site, and touches the second one as deploy does. With --dry-run, touches
nothing.

Examples:
  drainswap promote mobile --from staging.toml --to production.toml --dry-run
  drainswap promote mobile --from staging.toml --to production.toml";

pub(super) const HISTORY: &str = "\
Changes nothing. Reads the journals in --state-dir, and asks the engines which containers and images
still exist.

Examples:
  drainswap history mobile
  drainswap history mobile -o json";

pub(super) const REPORT: &str = "\
Reads the journals in --state-dir, and writes only FILE. Asks neither HAProxy nor the engine.

Examples:
  drainswap report --file report.html
  drainswap report 20261123T221500.000Z > report.html";

pub(super) const STOP: &str = "\
Sends a signal to the run's process on this host, and touches nothing itself.

Examples:
  drainswap stop mobile
  drainswap stop mobile --lock-wait 5m";

pub(super) const PRUNE: &str = "\
Removes stopped containers that runs have put aside, and unused images, unless no registry is known
to have them. Does not touch running containers or the states of servers. With --dry-run, touches
nothing.

Examples:
  drainswap prune --dry-run
  drainswap prune mobile --keep 2";

pub(super) const DRAIN: &str = "\
Sets the state of this server, and whatever else the flags ask for, at every load balancer. Without
a backend, does so for every server of that name. Touches no container.

Examples:
  drainswap drain mobile/app1 --wait
  drainswap drain mobile/app1 --floor 0";

pub(super) const MAINT: &str = "\
Sets the state of this server, and whatever else the flags ask for, at every load balancer. Without
a backend, does so for every server of that name. Touches no container.

Examples:
  drainswap maint mobile/app1
  drainswap maint mobile/app1 --drain-first --drain-timeout 10m
  drainswap maint app1 --health off --dry-run";

pub(super) const READY: &str = "\
Sets the state of this server, and whatever else the flags ask for, at every load balancer. Without
a backend, does so for every server of that name. Touches no container.

Examples:
  drainswap ready mobile/app1 --wait
  drainswap ready mobile/app1 --weight 50%";

pub(super) const DOCTOR: &str = "\
Changes nothing without --fix. With --fix, removes stopped containers that a finished run has put
aside.

Examples:
  drainswap doctor
  drainswap doctor --exit-code
  drainswap doctor --fix";

pub(super) const INIT: &str = "\
Reads the running HAProxy's configuration (or the one given with -f), looks at HAProxy and the
engine, and writes one settings file. Flags and environment variables are saved in it.

Examples:
  drainswap init
  drainswap init -
  drainswap init -f /srv/haproxy/haproxy.cfg --settings /srv/haproxy/drainswap.toml";

pub(super) const SCHEMA: &str = "\
Touches nothing and needs no settings.

Examples:
  drainswap schema event > event.schema.json
  drainswap schema settings";

pub(super) const COMPLETIONS: &str = "\
Touches nothing and needs no settings.

Examples:
  drainswap completions bash > /etc/bash_completion.d/drainswap
  drainswap completions zsh > /usr/local/share/zsh/site-functions/_drainswap
  drainswap completions fish > ~/.config/fish/completions/drainswap.fish";

pub(super) const MAN: &str = "\
Writes only to DIR, and needs no settings.

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
Changes nothing. Reads haproxy.cfg, and runs `haproxy -c` if --with-haproxy is given.

Examples:
  drainswap config check
  drainswap config check --with-haproxy
  drainswap config check -f new.cfg --as 3.2";

pub(super) const CONFIG_SHOW: &str = "\
Changes nothing. Reads only haproxy.cfg.

Examples:
  drainswap config show
  drainswap config show mobile -o json";

pub(super) const CONFIG_RENDER: &str = "\
Changes nothing. Reads drainswap.toml and the templates.

Examples:
  drainswap config render
  drainswap config render mobile --templates /etc/drainswap/templates";

pub(super) const CONFIG_DIFF: &str = "\
Changes nothing. Reads drainswap.toml and haproxy.cfg.

Examples:
  drainswap config diff
  drainswap config diff mobile --exit-code
  drainswap config diff --from new.cfg";

pub(super) const CONFIG_APPLY: &str = "\
Replaces haproxy.cfg, and reloads HAProxy unless it can take over the change at runtime. Touches no
container.

Examples:
  drainswap config apply
  drainswap config apply mobile --reload never
  drainswap config apply --from new.cfg";

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, Parser};

    use crate::cli::Cli;

    /// Returns the lines of a command's examples.
    fn examples(command: &Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("\n\nExamples:\n").unwrap_or_default();
        examples.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Returns an example's words as clap gets them, without what the shell handles.
    fn words(example: &str) -> Vec<String> {
        let words = shlex::split(example).expect("an example is split as a shell does");
        words.into_iter().take_while(|word| !matches!(word.as_str(), ">" | "|")).collect()
    }

    fn walk(command: &Command, path: &str, wrong: &mut Vec<String>) {
        let examples = examples(command);
        if !examples.iter().any(|example| example.starts_with(path)) {
            wrong.push(format!("`{path} --help` lacks an example of the command itself"));
        }
        for example in &examples {
            if let Err(error) = Cli::try_parse_from(words(example)) {
                wrong.push(format!("`{path} --help` has an invalid example: {example}\n{error}"));
            }
        }
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter(|line| line.len() > 100) {
            wrong.push(format!("`{path} --help` would wrap this line: {line}"));
        }
        if help.starts_with("Examples:") {
            wrong.push(format!("`{path} --help` does not say what it touches"));
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            walk(inner, &format!("{path} {}", inner.get_name()), wrong);
        }
    }

    #[test]
    fn missing_parts_of_a_help_text_are_found() {
        let status = Command::new("status").after_help("Examples:\n  drainswap status");
        let bad = Command::new("drainswap").after_help("It looks.\n\nExamples:\n  drainswap statsu");
        let mut wrong = Vec::new();
        walk(&bad.subcommand(status), "drainswap", &mut wrong);
        let wrong = wrong.join("\n");
        for expected in [
            "invalid example: drainswap statsu",
            "`drainswap status --help` lacks an example",
            "does not say",
        ] {
            assert!(wrong.contains(expected), "{expected} is not in\n{wrong}");
        }
    }

    #[test]
    fn every_help_text_says_what_the_command_touches_and_has_valid_examples() {
        let mut wrong = Vec::new();
        walk(&Cli::command(), "drainswap", &mut wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
