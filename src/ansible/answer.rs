//! Builds a task's answer: whether it failed, whether it changed anything, and its results.

use serde_json::{Map, Value, json};

use super::diff::diff;
use super::module::Module;
use super::moves;
use super::task::Task;
use crate::app::exit::Exit;

/// The output of a finished command.
#[derive(Debug)]
pub struct CommandOutput {
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// The JSON objects on stdout.
    pub objects: Vec<Value>,
    /// The text on stderr.
    pub said: String,
}

impl CommandOutput {
    /// Returns the last JSON object on stdout.
    pub fn last(&self) -> &Value {
        self.objects.last().unwrap_or(&Value::Null)
    }

    /// Returns the last event of that name: a run that is resumed first prints its own events before.
    pub fn event(&self, name: &str) -> Option<&Value> {
        self.objects.iter().rev().find(|event| event["event"] == name)
    }
}

/// Builds the answer from the last command, and from the look before it, if any.
pub fn of(task: &Task, look: Option<&CommandOutput>, last: &CommandOutput) -> Value {
    let mut answer = match task.module {
        Module::Deploy => {
            let mut answer = look.map_or_else(Map::new, deploy);
            // A failed command has not carried out the plan.
            if last.code != 0 {
                answer.retain(|key, _| matches!(key.as_str(), "backend" | "image" | "reference"));
            }
            answer.extend(deploy(last));
            answer
        }
        Module::Server => server(last),
        Module::Info => info(last),
        Module::Config => config(last),
    };
    let is_failed = last.code != i32::from(Exit::Done.code());
    answer.insert("failed".to_owned(), json!(is_failed));
    answer.insert("rc".to_owned(), json!(last.code));
    let warnings = warnings(last);
    if !warnings.is_empty() {
        answer.insert("warnings".to_owned(), json!(warnings));
    }
    if is_failed {
        let message = message(last, &answer);
        answer.insert("msg".to_owned(), json!(message));
        answer.insert("stderr".to_owned(), json!(last.said));
    }
    // A comparison is itself a look.
    let looked = look.or(Some(last).filter(|_| task.module == Module::Config));
    if let (true, Some(diff)) = (task.diff, looked.and_then(|look| diff(task.module, look))) {
        answer.insert("diff".to_owned(), diff);
    }
    Value::Object(answer)
}

/// Returns what went wrong and what to do.
fn message(ran: &CommandOutput, answer: &Map<String, Value>) -> String {
    let told = [&ran.last()["error"], &ran.last()["reason"]].into_iter().find_map(Value::as_str);
    let known = answer.get("msg").and_then(Value::as_str).filter(|message| !message.is_empty());
    let stuck = ran.last()["servers"].as_array().filter(|_| ran.last()["outcome"] == "stuck");
    let message = match (told, known) {
        (Some(told), _) if ran.last()["event"] == "run_ended" => {
            format!("{}: {told}", ran.last()["outcome"].as_str().unwrap_or_default().replace('_', " "))
        }
        (Some(told), _) => told.to_owned(),
        (None, Some(known)) => known.to_owned(),
        (None, None) if ran.said.is_empty() => {
            format!("drainswap exited with {} and printed nothing", ran.code)
        }
        (None, None) => ran.said.trim_start_matches("error: ").to_owned(),
    };
    let lines = stuck.into_iter().flatten().map(|server| {
        let text = |key: &str| server[key].as_str().unwrap_or_default();
        let commands = server["commands"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let commands: Vec<&str> = commands.collect();
        format!("{}: {}. Run: {}", text("server"), text("truth"), commands.join("; "))
    });
    let rest = ran.last()["journal"].as_str().map(|path| format!("the journal of this run is {path}"));
    [message].into_iter().chain(lines).chain(rest).collect::<Vec<_>>().join("\n")
}

/// Returns the warnings and notes for people.
fn warnings(ran: &CommandOutput) -> Vec<String> {
    let told = ran.objects.iter().filter(|event| event["event"] == "warned");
    let told = told.filter_map(|event| event["message"].as_str());
    let planned = ran.last()["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let noted = ran.said.lines().filter_map(|line| line.strip_prefix("note: "));
    told.chain(planned).chain(noted).map(str::to_owned).collect()
}

/// Returns the digest of an image, or else this engine's own ID for it.
pub fn digest(image: &Value) -> &Value {
    if image["digest"].is_null() { &image["id"] } else { &image["digest"] }
}

/// Returns an image's name with its digest, which another site can deploy.
fn reference(image: &Value) -> Value {
    match (image["reference"].as_str(), image["digest"].as_str()) {
        (Some(reference), Some(digest)) => json!(format!("{reference}@{digest}")),
        _ => Value::Null,
    }
}

fn deploy(ran: &CommandOutput) -> Map<String, Value> {
    let last = ran.last();
    let mut facts = Map::new();
    if last["lanes"].is_array() {
        return planned(last);
    }
    let started = ran.event("run_started").unwrap_or(&Value::Null);
    let outcome = &last["outcome"];
    let touched = ran.objects.iter().any(|event| {
        let touches = ["drain_started", "container_kept", "container_started", "enabled", "undo_started"];
        event["event"].as_str().is_some_and(|name| touches.contains(&name))
    });
    let servers: Vec<&Value> = started["lanes"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|lane| lane.as_array().into_iter().flatten())
        .collect();
    let message = match outcome.as_str() {
        Some("unchanged") => "nothing to do: every server runs the wanted image".to_owned(),
        Some("deployed") => {
            format!("deployed: {} replaced, {} put back in service", last["replaced"], last["put_back"])
        }
        Some("skipped") => "skipped: a hook asked to skip the run".to_owned(),
        // After a failure, the message is its reason instead.
        Some("rolled_back") if last["asked"] == true => "undid an unfinished run".to_owned(),
        Some("cancelled") => {
            "cancelled at a safe point: every server that served before is in service".to_owned()
        }
        Some(_) | None => String::new(),
    };
    facts.insert("changed".to_owned(), json!(touched));
    facts.insert("msg".to_owned(), json!(message));
    facts.insert("outcome".to_owned(), outcome.clone());
    facts.insert("run".to_owned(), last["run"].clone());
    facts.insert("backend".to_owned(), started["backend"].clone());
    facts.insert("image".to_owned(), digest(&started["images"][0]).clone());
    facts.insert("reference".to_owned(), reference(&started["images"][0]));
    facts.insert("servers".to_owned(), json!(servers));
    facts.retain(|_, value| !value.is_null());
    facts
}

/// Returns the lanes of a plan.
pub fn lanes(plan: &Value) -> impl Iterator<Item = &Value> {
    plan["lanes"].as_array().into_iter().flatten()
}

fn planned(plan: &Value) -> Map<String, Value> {
    let servers = lanes(plan).flat_map(|lane| lane["servers"].as_array().into_iter().flatten());
    let servers: Vec<&Value> = servers.map(|server| &server["id"]).collect();
    let count = lanes(plan).count();
    let message = match count {
        0 => "nothing to do: every server runs the wanted image".to_owned(),
        _ => format!(
            "would work on {}",
            servers.iter().filter_map(|id| id.as_str()).collect::<Vec<_>>().join(", ")
        ),
    };
    let facts = json!({
        "changed": count > 0, "msg": message, "outcome": if count > 0 { "planned" } else { "unchanged" },
        "backend": plan["backend"], "image": digest(&plan["images"][0]),
        "reference": reference(&plan["images"][0]), "servers": servers,
    });
    let Value::Object(mut facts) = facts else { return Map::new() };
    facts.retain(|_, value| !value.is_null());
    facts
}

/// Returns whether an exit code means that something was touched but not finished.
fn is_touched(code: i32) -> bool {
    [Exit::RolledBack, Exit::Stuck, Exit::Cancelled].map(|exit| i32::from(exit.code())).contains(&code)
}

fn server(ran: &CommandOutput) -> Map<String, Value> {
    let moved = ran.last();
    let mut facts = Map::new();
    facts.insert("changed".to_owned(), json!(moved["changed"] == true || is_touched(ran.code)));
    if moved["servers"].is_array() {
        facts.extend(moves::returned_keys(moved).map(|(key, value)| (key.to_owned(), value)));
        let is_empty = moved["servers"].as_array().is_some_and(Vec::is_empty);
        let message = if is_empty { ran.said.lines().last().unwrap_or_default() } else { "" };
        if !message.is_empty() {
            facts.insert("msg".to_owned(), json!(message));
        }
    }
    facts
}

fn info(ran: &CommandOutput) -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("changed".to_owned(), json!(false));
    for key in ["at", "haproxy", "backends", "drift"] {
        if !ran.last()[key].is_null() {
            facts.insert(key.to_owned(), ran.last()[key].clone());
        }
    }
    facts
}

fn config(ran: &CommandOutput) -> Map<String, Value> {
    let object = ran.last();
    let mut facts = Map::new();
    let is_look = !object["diff"].is_null();
    facts.insert("changed".to_owned(), json!(object["changed"] == true));
    for key in ["file", "change", "problems", "haproxy"] {
        if !object[key].is_null() {
            facts.insert(key.to_owned(), object[key].clone());
        }
    }
    let problems = object["problems"].as_array().into_iter().flatten();
    let problems: Vec<String> = problems
        .map(|problem| {
            let text = |key: &str| problem[key].as_str().unwrap_or_default();
            format!("{}:{}:{}: {}", text("path"), problem["line"], problem["column"], text("message"))
        })
        .collect();
    let message = match (object["result"].as_str(), is_look) {
        (Some(result), _) => result.to_owned(),
        (None, true) if object["changed"] == true => "haproxy.cfg would change".to_owned(),
        (None, true) => "nothing to change".to_owned(),
        (None, false) => {
            let said = object["haproxy"]["messages"].as_array().into_iter().flatten();
            let said = said.map(|message| message["text"].as_str().unwrap_or_default().to_owned());
            problems.into_iter().chain(said).collect::<Vec<_>>().join("\n")
        }
    };
    facts.insert("msg".to_owned(), json!(message));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts::RECORDED;

    fn task(module: Module, options: Value) -> Task {
        let Value::Object(options) = options else { panic!("no object") };
        Task::read(module, options).unwrap()
    }

    fn ran(code: i32, text: &str, said: &str) -> CommandOutput {
        let objects = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        CommandOutput { code, objects, said: said.to_owned() }
    }

    #[test]
    fn a_rolled_back_run_has_failed_and_changed_servers() {
        let task = task(Module::Deploy, json!({"backend": "mobile"}));
        let answer = of(&task, None, &ran(10, RECORDED, ""));
        assert_eq!(
            (&answer["failed"], &answer["changed"], &answer["rc"]),
            (&json!(true), &json!(true), &json!(10))
        );
        assert_eq!(answer["msg"], "rolled back: the container exited with code 1");
        assert_eq!((&answer["outcome"], &answer["backend"]), (&json!("rolled_back"), &json!("mobile")));
        assert!(answer["image"].as_str().unwrap().starts_with("sha256:9b3c"));
        assert!(answer["warnings"][0].as_str().unwrap().contains("Compose"));
    }

    #[test]
    fn an_undo_is_reported_before_and_after() {
        let task = task(Module::Deploy, json!({"backend": "mobile", "state": "rolled_back"}));
        let servers = |id| json!([{"id": id}]);
        let lane = |id| json!({"servers": servers(id), "steps": ["put_back"], "replacement": null});
        let look = json!({"backend": "mobile", "images": [], "lanes": [lane("mobile/app1")]}).to_string();
        let planned = of(&task, Some(&ran(0, &look, "")), &ran(0, &look, ""));
        assert_eq!((&planned["changed"], &planned["servers"]), (&json!(true), &json!(["mobile/app1"])));
        let events = concat!(
            r#"{"event":"undo_started","servers":["mobile/app1"]}"#,
            "\n",
            r#"{"event":"run_ended","outcome":"rolled_back","asked":true,"reason":"run 1 was not finished"}"#
        );
        let answer = of(&task, None, &ran(0, events, ""));
        assert_eq!((&answer["changed"], &answer["failed"]), (&json!(true), &json!(false)));
        assert_eq!(answer["msg"], "undid an unfinished run");
    }

    #[test]
    fn after_resuming_another_run_the_answer_describes_the_wanted_one() {
        let other = RECORDED.replace("mobile:v2", "mobile:v1");
        let task = task(Module::Deploy, json!({"backend": "mobile", "resume_first": true}));
        let answer = of(&task, None, &ran(10, &format!("{}\n{RECORDED}", other.trim_end()), ""));
        assert!(answer["reference"].as_str().unwrap().contains("mobile:v2@"), "{answer}");
    }

    #[test]
    fn an_unfinished_move_has_changed_something() {
        let task = task(Module::Server, json!({"host": "app1", "state": "drain"}));
        let failed =
            |exit| format!(r#"{{"event":"failed","version":1,"exit":{exit},"error":"it stays in drain"}}"#);
        assert_eq!(of(&task, None, &ran(11, &failed(11), ""))["changed"], true);
        assert_eq!(of(&task, None, &ran(4, &failed(4), ""))["changed"], false);
    }

    #[test]
    fn a_run_that_did_not_start_is_reported_with_its_reason() {
        let task = task(Module::Deploy, json!({"backend": "mobile"}));
        let failed = r#"{"event":"failed","version":1,"exit":6,"error":"another run: wait"}"#;
        let answer = of(&task, None, &ran(6, failed, "error: another run: wait"));
        assert_eq!(answer["msg"], "another run: wait");
        assert_eq!((&answer["failed"], &answer["changed"]), (&json!(true), &json!(false)));
        let crashed = of(&task, None, &ran(-1, "", ""));
        assert_eq!(crashed["msg"], "drainswap exited with -1 and printed nothing");
    }
}
