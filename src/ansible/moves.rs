//! `drainswap_server`: translates the options of `community.general.haproxy` into a move with the same meaning.

use serde_json::json;

use super::option::{Kind, Opt, number, of_command};
use super::task::Task;

/// The values of `state`, with the command of each.
pub const STATES: &[(&str, &[&str])] = &[
    ("enabled", &["ready"]),
    ("disabled", &["maint"]),
    ("drain", &["drain"]),
    ("ready", &["ready"]),
    ("maint", &["maint"]),
];

/// The command-line options that have other names or types in the module.
pub const REPLACED: [&str; 8] =
    ["agent", "drain_first", "health", "if_exists", "server", "shutdown_sessions", "wait", "weight"];

/// The default number of retries and the interval between them in seconds, as in `community.general.haproxy`.
const RETRIES: u64 = 25;
const INTERVAL: u64 = 5;

/// Returns the options that the module itself handles.
pub fn own() -> Vec<Opt> {
    let texts = ["host", "backend", "weight", "wait_retries", "wait_interval"];
    let bools = ["shutdown_sessions", "drain", "wait", "fail_on_not_found", "agent", "health"];
    let texts = texts.iter().map(|name| Opt::own(name, Kind::Text));
    texts.chain(bools.iter().map(|name| Opt::own(name, Kind::Bool))).collect()
}

/// Returns the command line of a task.
pub fn words(task: &Task, command: &[&str]) -> Result<Vec<String>, String> {
    let host = task.text("host")?.ok_or("missing host: expected the server's name in haproxy.cfg")?;
    let server = task.text("backend")?.map_or_else(|| host.clone(), |backend| format!("{backend}/{host}"));
    let mut words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    let is_ready = command == ["ready"];
    let mut say = |word: &str| words.push(word.to_owned());
    for checker in ["health", "agent"] {
        if task.is(checker)? && command != ["drain"] {
            say(&format!("--{checker}={}", if is_ready { "on" } else { "off" }));
        }
    }
    if let Some(weight) = task.text("weight")?.filter(|_| is_ready) {
        say(&format!("--weight={weight}"));
    }
    let drain = task.is("drain")?;
    match command {
        ["maint"] if drain => say("--drain-first"),
        ["maint"] if task.is("shutdown_sessions")? => say("--shutdown-sessions"),
        ["drain"] if drain => say("--wait"),
        ["ready"] if task.is("wait")? => say("--wait"),
        _ => {}
    }
    if !task.is("fail_on_not_found")? {
        say("--if-exists");
    }
    if !task.options.contains_key("drain_timeout") {
        let of = |name, default| task.options.get(name).map_or(Ok(default), |value| number(name, value));
        let seconds = of("wait_retries", RETRIES)?.saturating_mul(of("wait_interval", INTERVAL)?);
        say(&format!("--drain-timeout={seconds}s"));
    }
    for option in of_command(command).iter().filter(|option| !REPLACED.contains(&option.name.as_str())) {
        if let Some(value) = task.options.get(&option.name) {
            words.extend(option.words(value)?);
        }
    }
    words.extend(["--".to_owned(), server]);
    Ok(words)
}

/// Returns the keys that `community.general.haproxy` returns, from the result of a move.
pub fn returned_keys(moved: &serde_json::Value) -> [(&'static str, serde_json::Value); 4] {
    let rows = moved["servers"].as_array().map_or(&[][..], Vec::as_slice);
    let state = |row: &serde_json::Value, when: &str| {
        let (id, state) = (row["server"].as_str().unwrap_or_default(), &row[when]);
        let (backend, host) = id.split_once('/').unwrap_or(("", id));
        let text = |value: &serde_json::Value| value.as_u64().map(|it| it.to_string()).unwrap_or_default();
        json!({
            "backend": backend, "host": host, "load_balancer": row["load_balancer"],
            "status": state["status"], "weight": text(&state["weight"]), "scur": text(&state["sessions"]),
            "health": state["checks"]["health"], "agent": state["checks"]["agent"],
        })
    };
    let all = |when| rows.iter().map(|row| state(row, when)).collect::<Vec<_>>();
    let commands = rows.iter().flat_map(|row| row["commands"].as_array().into_iter().flatten());
    let commands: Vec<_> = commands.cloned().collect();
    // HAProxy's answer to a successful command is empty; any other answer fails the task.
    let output = vec![json!(""); if moved["dry_run"] == true { 0 } else { commands.len() }];
    [
        ("state_before", json!(all("before"))),
        ("state_after", json!(all("after"))),
        ("command", json!(commands)),
        ("output", json!(output)),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::module::Module;
    use super::*;

    fn line(mut options: Value) -> String {
        options["host"] = json!("app1");
        let Value::Object(options) = options else { panic!("no object") };
        let steps = Task::read(Module::Server, options).and_then(|task| task.steps());
        steps.map_or_else(|reason| reason, |steps| steps.act.join(" "))
    }

    #[test]
    fn every_form_of_the_other_module_becomes_a_move() {
        let rest = "--if-exists --drain-timeout=125s -- ";
        for (options, words) in [
            (json!({"state": "enabled", "backend": "www"}), format!("ready {rest}www/app1")),
            (json!({"state": "disabled"}), format!("maint {rest}app1")),
            (json!({"state": "drain", "wait": true}), format!("drain {rest}app1")),
            (json!({"state": "drain", "drain": "yes"}), format!("drain --wait {rest}app1")),
            (
                json!({"state": "disabled", "drain": true, "shutdown_sessions": true, "wait": true}),
                format!("maint --drain-first {rest}app1"),
            ),
            (
                json!({"state": "disabled", "shutdown_sessions": "yes", "health": true, "agent": 1, "weight": 5}),
                format!("maint --health=off --agent=off --shutdown-sessions {rest}app1"),
            ),
            (
                json!({"state": "enabled", "weight": "50%", "health": true, "wait": true, "wait_retries": 3,
                       "wait_interval": "2", "socket": "/run/h.sock", "fail_on_not_found": true}),
                "ready --health=on --weight=50% --wait --drain-timeout=6s --socket=/run/h.sock -- app1"
                    .to_owned(),
            ),
            (
                json!({"state": "drain", "floor": 0, "drain_timeout": "1m"}),
                "drain --if-exists --floor=0 --drain-timeout=1m -- app1".to_owned(),
            ),
            (json!({}), "missing state: expected one of enabled, disabled, drain, ready, maint".to_owned()),
        ] {
            let mut said = line(options);
            // The order of the command line's own options does not matter.
            if said.contains("--floor") {
                said = said.replace("--drain-timeout=1m --floor=0", "--floor=0 --drain-timeout=1m");
            }
            assert_eq!(said, words);
        }
    }
}
