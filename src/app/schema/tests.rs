use std::collections::{BTreeMap, BTreeSet};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::*;
use crate::model::ids::LaneId;
use crate::run::event::{EventKind, VERSION};
use std::str::FromStr;

use crate::settings::File;
use crate::testing::facts::{event, facts, outcomes, recorded, side_by_side};
use crate::testing::markdown::{assert_generated, blocks, handwritten, pages};
use crate::testing::{World, plan_file};

const PLAN: &str = include_str!("../../../fixtures/plan/version-1.json");

/// A schema with an independent validator.
struct Reader {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Reader {
    fn of(form: Form) -> Self {
        let schema = form.schema().to_value();
        let id = schema["$id"].as_str().unwrap().to_owned();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(&id, schema).unwrap();
        let index = compiler.compile(&id, &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn objection(&self, value: &Value) -> Option<String> {
        self.schemas.validate(value, self.index).err().map(|error| format!("{error:#}\nin {value:#}"))
    }

    #[track_caller]
    fn takes(&self, value: &Value) {
        assert_eq!(self.objection(value), None);
    }

    /// Asserts that the schema accepts a value, and rejects it after each of these changes.
    #[track_caller]
    fn refuses(&self, value: &Value, changes: &[(&str, Option<Value>)]) {
        self.takes(value);
        for (pointer, to) in changes {
            let mut wrong = value.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match (wrong.pointer_mut(parent).unwrap(), to) {
                (Value::Object(object), Some(to)) => drop(object.insert(key.to_owned(), to.clone())),
                (Value::Object(object), None) => drop(object.remove(key).unwrap()),
                (other, _) => panic!("{pointer}: {other}"),
            }
            assert!(self.objection(&wrong).is_some(), "{pointer} may be {to:?}");
        }
    }
}

/// Returns the JSON of an event.
fn object(event: &Event) -> Value {
    serde_json::from_str(&event.to_json().unwrap()).unwrap()
}

#[test]
fn every_event_is_taken() {
    let reader = Reader::of(Form::Event);
    for event in recorded().into_iter().chain(side_by_side()) {
        reader.takes(&object(&event));
    }
    let ended =
        outcomes().into_iter().map(|outcome| EventKind::RunEnded { outcome, took_ms: 1, own_ms: None });
    for kind in facts().into_iter().chain(ended) {
        reader.takes(&object(&event(Some(LaneId::at(0)), kind)));
    }
    let failed =
        CommandFailed::Failed { version: VERSION, exit: 3, error: "the configuration is wrong".to_owned() };
    reader.takes(&serde_json::to_value(failed).unwrap());
}

#[test]
fn the_recordings_have_every_event_of_the_schema() {
    let told: BTreeSet<String> = recorded()
        .iter()
        .chain(&side_by_side())
        .map(|event| object(event)["event"].as_str().unwrap().to_owned())
        .chain(["failed".to_owned()])
        .collect();
    let mut known = BTreeSet::new();
    collect(&Form::Event.schema().to_value(), &mut |object| {
        let event = object.get("properties").and_then(|it| it["event"]["const"].as_str());
        known.extend(event.map(str::to_owned));
    });
    assert_eq!(told, known);
}

#[test]
fn what_is_no_event_is_refused() {
    let events: Vec<Value> = recorded().iter().map(object).collect();
    let event = |kind: &str| events.iter().find(|event| event["event"] == kind).unwrap().clone();
    let reader = Reader::of(Form::Event);
    reader.refuses(
        &event("drained"),
        &[
            ("/version", Some(json!(1))),
            ("/lane", Some(json!(0))),
            ("/event", Some(json!("danced"))),
            ("/event", None),
            ("/at", None),
            ("/run", Some(json!(7))),
            ("/servers", Some(json!(["mobile"]))),
            ("/servers", Some(json!("mobile/app1"))),
            ("/took_ms", Some(json!(-1))),
            ("/took_ms", None),
        ],
    );
    reader.refuses(
        &event("run_ended"),
        &[("/outcome", Some(json!("fine"))), ("/reason", None), ("/kept", None)],
    );
    reader.refuses(
        &event("lane_started"),
        &[
            ("/cause/kind", Some(json!("mood"))),
            ("/role", Some(json!("main"))),
            ("/lane", None),
            ("/lane", Some(json!("1"))),
        ],
    );
}

#[test]
fn every_plan_file_is_taken_and_nothing_else() {
    let reader = Reader::of(Form::Plan);
    let scoped = World::origin().scope(|scope| {
        scope.only = ["app1".to_owned()].into();
        scope.leave = ["mobile/app2".parse().unwrap()].into();
        (scope.enable, scope.no_create) = (true, true);
    });
    for world in [World::origin(), World::origin().maint("mobile/app1b"), World::shared(), scoped] {
        reader.takes(&serde_json::to_value(plan_file(&world)).unwrap());
    }
    reader.refuses(
        &serde_json::from_str(PLAN).unwrap(),
        &[
            ("/version", Some(json!(2))),
            ("/version", None),
            ("/basis", None),
            ("/basis/servers", Some(json!(["mobile/app1"]))),
            ("/basis/settings/floor", Some(json!(-1))),
            ("/plan/policy/on_failure", Some(json!("panic"))),
            ("/plan/policy/drain_timeout_ms", Some(json!("5m"))),
            ("/plan/lanes", Some(json!({}))),
            ("/plan/at", Some(json!(0))),
        ],
    );
}

/// Returns the blocks of settings on the pages.
fn examples() -> Vec<String> {
    let blocks = pages().into_iter().flat_map(|page| blocks(&page));
    let examples: Vec<_> = blocks.filter(|it| it.language == "toml").map(|it| it.text).collect();
    assert!(examples.len() >= 9, "the pages show hardly any settings");
    examples
}

/// Returns settings as JSON.
fn value(text: &str) -> Value {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Settings that drainswap takes.
const GOOD: &[&str] = &[
    "",
    "version = 1",
    "socket = [\"/a\", \"b:1\"]\ndrain_timeout = \"90\"\nlock_wait = \"2 hours\"\nprobe = \"https://{address}:9/x\"",
    "[registries]\n\"r.io\" = { username = \"u\", password_command = \"p\" }",
];

/// Settings that drainswap does not take.
const BAD: &[&str] = &[
    "version = 2",
    "flor = 1",
    "floor = -1",
    "floor = \"1\"",
    "rise = 0",
    "drain_timeout = 5",
    "drain_timeout = \"soon\"",
    "on_failure = \"panic\"",
    "lb_quorum = \"some\"",
    "reload = \"later\"",
    "probe = \"http://elsewhere/\"",
    "as = \"new\"",
    "docker = []",
    "[hooks]\nbefore_lunch = \"x\"",
    "[engines]\n\"10.0.0.1\" = 7",
    "[registries]\n\"r.io\" = { username = \"u\", password = \"p\" }",
    "[registries]\n\"r.io\" = { username = \"u\" }",
    "[registries]\n\"r.io\" = { username = \"u\", password_file = \"f\", password_command = \"c\" }",
    "[services.a]\nprimary_port = 1",
];

/// Keys of a service, and whether drainswap takes them.
const KEYS: &[(&str, bool)] = &[
    ("check = true", true),
    ("check = { uri = \"/\" }", true),
    ("check = { ury = \"/\" }", false),
    ("primary_prt = 2", false),
    ("backup_port = 70000", false),
    ("restart = \"on-failure:3\"", true),
    ("restart = false", true),
    ("command = \"a b\"\nentrypoint = [\"c\"]", true),
    ("command = 7", false),
    ("environment = { A = 1, B = \"x\", C = true }", true),
    ("environment = [\"A=1\"]", true),
    ("environment = \"A=1\"", false),
    ("env_file = [{ path = \"/a\", required = false }, \"/b\"]", true),
    ("env_file = [{ pth = \"/a\" }]", false),
    ("volumes = [\"/a:/b:ro\", { type = \"tmpfs\", target = \"/t\" }]", true),
    ("volumes = [{ type = \"nfs\", target = \"/t\" }]", false),
    ("volumes = \"/a:/b\"", false),
    ("healthcheck = { test = \"t\", interval = \"10s\", retries = 3 }", true),
    ("healthcheck = { tst = \"t\" }", false),
    ("networks = [\"front\"]", true),
    ("networks = { front = { aliases = [\"a\"], ipv4_address = \"10.0.0.1\" } }", true),
    ("networks = { front = { alias = [\"a\"] } }", false),
    ("ulimits = { nofile = 7, core = { soft = 1, hard = 2 } }", true),
    ("ulimits = { nofile = \"many\" }", false),
    ("logging = { driver = \"local\", options = { max-size = 7 } }", true),
    ("logging = { drivers = \"local\" }", false),
    ("mem_limit = \"512m\"\ncpus = 0.5\npids_limit = -1\ntty = true", true),
    ("tty = \"yes\"", false),
    ("dns = \"10.0.0.1\"\ntmpfs = [\"/run\"]\nlabels = [\"a\"]", true),
    ("dns = { a = 1 }", false),
    ("platform = \"linux/arm64\"\nimage = \"a:b\"", true),
    ("platform = 7", false),
];

#[test]
fn the_schema_takes_what_drainswap_takes() {
    let reader = Reader::of(Form::Settings);
    let service = |line: &str| format!("[services.a]\nhosts = [\"h\"]\nprimary_port = 1\n{line}\n");
    let texts = GOOD.iter().map(|text| ((*text).to_owned(), true));
    let texts = texts.chain(BAD.iter().map(|text| ((*text).to_owned(), false)));
    let texts = texts.chain(KEYS.iter().map(|(line, is_good)| (service(line), *is_good)));
    let texts = texts.chain(examples().into_iter().map(|text| {
        let is_good = File::from_str(&text).is_ok();
        (text, is_good)
    }));
    for (text, is_good) in texts {
        assert_eq!(File::from_str(&text).err().is_none(), is_good, "drainswap on {text}");
        assert_eq!(reader.objection(&value(&text)).is_none(), is_good, "the schema on {text}");
    }
}

/// The tables of drainswap.toml with keys of their own, and their headings on the page of settings.
const TABLES: [(&str, &str); 6] = [
    ("BackendKeys", "Backends\n\nIn `[backends.NAME]`:"),
    ("NamedContainer", "Servers\n\nFor each server in `[servers]`:"),
    ("RegistryLogin", "Registries\n\nFor each host in `[registries]`:"),
    ("HooksFile", "Hooks\n\nIn `[hooks]`:"),
    ("DescribedService", "Services\n\nIn `[services.NAME]`:"),
    ("HttpCheck", "Checks\n\nIn `check = { … }` of a service:"),
];

#[test]
fn the_pages_and_the_schema_have_the_same_keys() {
    let schema = Form::Settings.schema().to_value();
    let keys = |object: &Value| object["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut known: BTreeSet<String> = keys(&schema).into_iter().collect();
    // The Compose specification describes deeper ones.
    for (table, _) in TABLES {
        known.extend(keys(&schema["$defs"][table]));
    }
    // A page has a key in a block, or alone between backticks.
    let examples = examples();
    let text: String = pages().iter().map(|page| handwritten(page)).collect();
    let is_described = |key: &String| {
        let in_block =
            |text: &str| text.lines().any(|line| line.trim_start().starts_with(&format!("{key} = ")));
        examples.iter().any(|text| {
            in_block(text) || text.contains(&format!("[{key}")) || text.contains(&format!(" {key} = "))
        }) || text.contains(&format!("`{key}`"))
    };
    let missing: Vec<_> = known.iter().filter(|key| !is_described(key)).collect();
    assert!(missing.is_empty(), "the pages lack {missing:?}");
    let top = schema["properties"].as_object().unwrap();
    for text in examples {
        for key in value(&text).as_object().unwrap().keys() {
            assert!(top.contains_key(key), "the schema lacks {key}");
        }
    }
}

/// Returns the meaning of a key, with its default.
fn meaning(key: &Value) -> String {
    let default = match &key["default"] {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => key["default"].to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return cell(&key["description"]),
    };
    format!("{} The default is `{default}`.", cell(&key["description"]))
}

/// Returns a cell of a table.
fn cell(text: &Value) -> String {
    text.as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

#[test]
fn every_key_is_on_its_page() {
    let schema = Form::Settings.schema().to_value();
    let table = |object: &Value, meaning: fn(&Value) -> String| {
        let properties: BTreeMap<_, _> = object["properties"].as_object().unwrap().iter().collect();
        let rows = properties.iter().map(|(key, it)| format!("| `{key}` | {} |", meaning(it)));
        format!("| key | meaning |\n|---|---|\n{}\n", rows.collect::<Vec<_>>().join("\n"))
    };
    let mut page = table(&schema, meaning);
    for (name, heading) in TABLES {
        page.extend([
            "\n### ",
            heading,
            "\n\n",
            &table(&schema["$defs"][name], |key| cell(&key["description"])),
        ]);
    }
    assert_generated("docs/reference/settings.md", "cargo test --lib schema", &page);
}

#[test]
fn every_event_is_on_its_page() {
    let mut rows = vec!["| event | meaning | fields |".to_owned(), "|---|---|---|".to_owned()];
    collect(&Form::Event.schema().to_value(), &mut |object| {
        let Some(event) = object.get("properties").and_then(|it| it["event"]["const"].as_str()) else {
            return;
        };
        let mut fields = BTreeSet::new();
        collect(&Value::Object(object.clone()), &mut |inner| {
            let properties = inner.get("properties").and_then(Value::as_object);
            fields.extend(properties.into_iter().flat_map(|it| it.keys().cloned()));
        });
        let fields: Vec<_> =
            fields.iter().filter(|it| *it != "event").map(|field| format!("`{field}`")).collect();
        let meaning = cell(object.get("description").unwrap_or(&Value::Null));
        rows.push(format!("| `{event}` | {meaning} | {} |", fields.join(", ")));
    });
    assert_generated("docs/reference/events.md", "cargo test --lib schema", &rows.join("\n"));
}

#[test]
fn a_schema_describes_every_property() {
    for form in [Form::Event, Form::Settings, Form::Plan] {
        let text = form.text();
        assert_eq!(text, form.text());
        let schema = form.schema().to_value();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(!text.contains("[`"), "a link into the source");
        collect(&schema, &mut |object| {
            for (key, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
                // A tag, a single property beside a tag, and the name of a variant are described with the whole.
                let is_described_whole = object.contains_key("description");
                let is_alone = object["properties"].as_object().is_some_and(|it| {
                    it.len() == 2 && it.contains_key("kind") || it.len() == 1 && is_described_whole
                });
                let is_whole = property.get("const").is_some() || is_alone;
                let is_described = property.get("description").is_some() || property.get("$ref").is_some();
                assert!(is_whole || is_described, "{key} of {object:?}");
            }
        });
    }
}

/// Calls `look` with every object of a schema.
fn collect(value: &Value, look: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            look(object);
            for it in object.values() {
                collect(it, look);
            }
        }
        Value::Array(values) => {
            for it in values {
                collect(it, look);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
