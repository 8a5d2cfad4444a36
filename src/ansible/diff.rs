//! Differences in Ansible's format.

use serde_json::{Value, json};

use super::answer::{CommandOutput, digest, lanes};
use super::module::Module;
use crate::model::secret::HIDDEN;

/// Returns the differences that a look found: the containers of a deploy, the states of servers, or the lines of
/// haproxy.cfg.
pub fn diff(module: Module, looked: &CommandOutput) -> Option<Value> {
    let object = looked.last();
    match module {
        Module::Deploy if object["lanes"].is_array() => {
            Some(json!(lanes(object).filter_map(container).collect::<Vec<_>>()))
        }
        Module::Server => {
            let differs = |row: &&Value| set(&row["before"]) != set(&row["after"]);
            Some(json!(object["servers"].as_array()?.iter().filter(differs).map(server).collect::<Vec<_>>()))
        }
        Module::Config => Some(json!({ "prepared": object["diff"].as_str()? })),
        Module::Deploy | Module::Info => None,
    }
}

fn set(state: &Value) -> Value {
    let checks = &state["checks"];
    json!({
        "state": state["status"], "weight": state["weight"], "health": checks["health"], "agent": checks["agent"],
    })
}

fn server(row: &Value) -> Value {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let header = format!("{} at {}", text("server"), text("load_balancer"));
    json!({
        "before_header": header, "after_header": header, "before": set(&row["before"]), "after": set(&row["after"]),
    })
}

/// Returns a container's old and new image and its settings that will change. Values that may be secret are hidden.
fn container(lane: &Value) -> Option<Value> {
    let replacement = lane.get("replacement").filter(|it| !it.is_null())?;
    let (old, new) = (&replacement["old"], &replacement["image"]);
    let image = |reference: &Value, digest: &str| {
        format!("image: {} {digest}", reference.as_str().unwrap_or_default())
    };
    let known = old["repo_digests"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let known = known.filter_map(|known| known.split_once('@')).map(|(_, digest)| digest).next();
    let known = known.or(old["image"].as_str());
    let mut before: Vec<String> =
        known.map(|known| image(&old["image_reference"], known)).into_iter().collect();
    let mut after = vec![image(&new["reference"], digest(new).as_str().unwrap_or_default())];
    for change in replacement["changes"].as_array().into_iter().flatten() {
        let text = |key: &str| change[key].as_str().unwrap_or_default();
        let name = format!("{} {}", text("field"), text("name")).trim_end().to_owned();
        let kind = text("kind");
        if kind == "value" {
            before.push(format!("{name}: {}", text("from")));
            after.push(format!("{name}: {}", text("to")));
            continue;
        }
        if kind != "added" {
            before.push(format!("{name}: {HIDDEN}"));
        }
        if kind != "gone" {
            after.push(format!("{name}: {HIDDEN}{}", if kind == "added" { "" } else { " (changed)" }));
        }
    }
    let is_undone = lane["steps"].as_array().is_some_and(|steps| steps.contains(&json!("put_back")));
    if is_undone {
        std::mem::swap(&mut before, &mut after);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let header = format!("{} ({})", text(&lane["servers"][0]["id"]), text(&replacement["name"]));
    Some(json!({
        "before_header": header, "after_header": header,
        "before": before.join("\n") + "\n", "after": after.join("\n") + "\n",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diff_of_a_container_hides_secrets() {
        let lane = json!({
            "servers": [{"id": "mobile/app1"}],
            "replacement": {
                "name": "mobile-app1",
                "old": {"image_reference": "r/mobile:v1", "image": "sha256:aa", "repo_digests": ["r/mobile@sha256:11"]},
                "image": {"kind": "registry", "reference": "r/mobile:v2", "digest": "sha256:22"},
                "changes": [
                    {"kind": "value", "field": "user", "from": "", "to": "app"},
                    {"kind": "added", "field": "environment", "name": "A"},
                    {"kind": "gone", "field": "environment", "name": "B"},
                    {"kind": "changed", "field": "environment", "name": "C"},
                    {"kind": "hidden", "field": "command"},
                ],
            },
        });
        let diff = container(&lane).unwrap();
        assert_eq!(diff["before_header"], "mobile/app1 (mobile-app1)");
        insta::assert_snapshot!(diff["before"].as_str().unwrap(), @r"
        image: r/mobile:v1 sha256:11
        user: 
        environment B: ********
        environment C: ********
        command: ********
        ");
        insta::assert_snapshot!(diff["after"].as_str().unwrap(), @r"
        image: r/mobile:v2 sha256:22
        user: app
        environment A: ********
        environment C: ******** (changed)
        command: ******** (changed)
        ");
        let mut undone = lane.clone();
        undone["steps"] = json!(["maint", "discard", "return", "put_back"]);
        let back = container(&undone).unwrap();
        assert_eq!((&back["before"], &back["after"]), (&diff["after"], &diff["before"]));
    }
}
