//! Real Ansible: the collection's modules and the binary as a module, which behave in the same way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use drainswap::ansible::Module;
use drainswap::ansible::option::Kind;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::{Ansible, Stage, Typed, blocks, commands, pages};
use crate::versions;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

#[track_caller]
fn all_went_well(output: &Output) {
    assert!(output.status.success(), "{}", output_of(output));
}

fn output_of(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const STORY: &str = include_str!("../../fixtures/ansible/story.yml");

/// Returns the same tasks for the binary as a module.
fn of_the_binary(story: &str) -> String {
    story.replace("drainswap.drainswap.drainswap_", "drainswap_")
}

/// Each form and each Ansible is in one of the two tests; the sweep has the other two pairs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_oldest_ansible_runs_the_tasks_of_the_collection() {
    runs(&Ansible::oldest(), STORY).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_newest_ansible_runs_the_tasks_of_the_binary() {
    runs(&Ansible::newest(), &of_the_binary(STORY)).await;
}

mod sweep {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "sweep: the other pairs of an Ansible and a form of the modules"]
    async fn each_ansible_runs_the_tasks_of_the_other_form() {
        runs(&Ansible::oldest(), &of_the_binary(STORY)).await;
        runs(&Ansible::newest(), STORY).await;
    }
}

/// Runs a playbook, which contains the asserts.
async fn runs(ansible: &Ansible, playbook: &str) {
    let stage = Stage::pair().start().await;
    let file = stage.dir().join("story.yml");
    std::fs::write(&file, playbook).expect("write the playbook");
    let [v2, v3] =
        [stage.image("v2", &[("VERSION", "v2")]).await, stage.image("v3", &[("VERSION", "v3")]).await];
    let broken = stage.image("broken", &[("FAIL", "never-ready")]).await;
    let inventory = json!({"all": {"hosts": {"lb1": {"v2": v2, "v3": v3, "broken": broken}}, "vars": {}}});
    let environment = [
        ("DRAINSWAP_HAPROXY_CONFIG", stage.haproxy.config().display().to_string()),
        ("DRAINSWAP_STATE_DIR", stage.dir().join("state").display().to_string()),
    ];
    let dir = stage.dir().to_owned();
    all_went_well(&ansible.play(&dir, &file, &inventory, &environment));
    assert_eq!(versions(&stage).await, ["v2", "v2"]);
    stage.close().await;
}

/// Returns an inventory with two load balancers and the ports for the test of a release.
fn two_places(staging: (&Stage, u16), production: (&Stage, u16)) -> Value {
    let host = |(stage, status): (&Stage, u16)| {
        let settings = stage.dir().join("drainswap.toml");
        let text = format!(
            "haproxy_config = {:?}\nstate_dir = {:?}\n",
            stage.haproxy.config().display().to_string(),
            stage.dir().join("state").display().to_string()
        );
        std::fs::write(&settings, text).expect("write the settings");
        json!({
            "drainswap_settings": settings, "smoke_test": format!("http://{}/", stage.frontend()),
            "smoke_test_status": status,
        })
    };
    json!({"all": {
        "children": {
            "staging": {"hosts": {"lb-staging": host(staging)}},
            "production": {"hosts": {"lb-production": host(production)}},
        },
        "vars": {},
    }})
}

/// Runs every command of the collection's README, starting without the collection.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn every_command_of_the_collections_readme_can_be_typed() {
    let ansible = Ansible::newest();
    let (staging, production) = (Stage::pair().start().await, Stage::pair().start().await);
    let v2 = staging.image("v2", &[("VERSION", "v2")]).await;
    let dir = tempfile::tempdir().expect("a folder");
    let inventory = ansible.inventory(dir.path(), &two_places((&staging, 200), (&production, 200)));
    std::os::unix::fs::symlink(root().join("ansible"), dir.path().join("ansible")).expect("a link");
    let commands = commands("ansible/README.md");
    assert!(commands.len() > 3, "the page shows hardly anything");
    for Typed { line, exit, .. } in commands {
        let line = line.replace("registry.example.org/mobile:v2", &v2);
        let mut typed = ansible.shell(&line, dir.path(), &dir.path().join("installed"));
        let output = typed.env("ANSIBLE_INVENTORY", &inventory).output().expect("start a shell");
        assert_eq!(output.status.code(), Some(exit), "$ {line}\n{}", output_of(&output));
    }
    let expected = vec!["v2".to_owned(); 2];
    assert_eq!((versions(&staging).await, versions(&production).await), (expected.clone(), expected));
    production.close().await;
    staging.close().await;
}

/// Checks the syntax and the options of every play and task in the documentation.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_plays_of_the_pages_are_taken_by_ansible() {
    let dir = tempfile::tempdir().expect("a folder");
    let shown = pages().into_iter().flat_map(|page| blocks(&page));
    // The others are Compose files.
    let shown: Vec<_> = shown.filter(|it| it.language == "yaml" && it.text.starts_with("- ")).collect();
    assert!(shown.len() > 2, "the pages show hardly anything");
    for block in &shown {
        let tasks: String = block.text.lines().flat_map(|line| ["    ", line, "\n"]).collect();
        let is_play = block.text.starts_with("- hosts:");
        let text = if is_play { block.text.clone() } else { format!("- hosts: all\n  tasks:\n{tasks}") };
        let playbook = dir.path().join("shown.yml");
        std::fs::write(&playbook, &text).expect("write the playbook");
        for ansible in [Ansible::oldest(), Ansible::newest()] {
            let mut check = ansible.command("ansible-playbook", dir.path());
            let output = check.arg("--syntax-check").arg(&playbook).output().expect("run ansible-playbook");
            assert!(output.status.success(), "{text}\n{}", output_of(&output));
        }
        // Ansible checks options only when a task runs.
        for (module, option) in options_in(&text) {
            let known = module.options().into_iter().any(|it| it.name == option);
            assert!(known, "{} has no option {option}:\n{text}", module.name());
        }
    }
}

/// Returns the options of the tasks in a text, by module.
fn options_in(text: &str) -> Vec<(Module, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((indent, rest)) = line.split_once("- drainswap.drainswap.") else { continue };
        let name = rest.trim_end_matches(':');
        let module = Module::ALL.into_iter().find(|module| module.name() == name).expect(name);
        let mut options = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(&format!("{indent}    "))) {
            options.extend([line.trim().trim_matches(['{', '}']), ", "]);
        }
        let words = options.split(", ").filter_map(|option| option.split_once(": "));
        found.extend(words.map(|(option, _)| (module, option.trim().to_owned())));
    }
    assert!(!found.is_empty(), "no task of drainswap's in\n{text}");
    found
}

/// Promotes from staging to production by digest, and rolls back if production fails its test.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn the_shipped_playbook_brings_staging_to_production_or_takes_it_back() {
    let ansible = Ansible::newest();
    let (staging, production) = (Stage::pair().start().await, Stage::pair().start().await);
    let playbook = root().join("ansible/playbooks/release.yml");
    let play = |image: &str, status| {
        let mut inventory = two_places((&staging, 200), (&production, status));
        inventory["all"]["vars"] = json!({"backend": "mobile", "image": image});
        ansible.play(staging.dir(), &playbook, &inventory, &[])
    };
    let run = async |first: &str, second: &str| {
        assert_eq!(
            (versions(&staging).await, versions(&production).await),
            (vec![first.to_owned(); 2], vec![second.to_owned(); 2])
        );
    };
    let v2 = staging.image("v2", &[("VERSION", "v2")]).await;
    all_went_well(&play(&v2, 200));
    run("v2", "v2").await;
    // Nothing is left to do, but production gets the digest.
    let again = play(&v2, 200);
    all_went_well(&again);
    assert!(output_of(&again).contains("changed=0"), "{}", output_of(&again));
    // The tag moves to another image while staging is tested: production gets the tested image.
    let v3 = staging.image("v3", &[("VERSION", "v3")]).await;
    let test = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut inventory = two_places((&staging, 200), (&production, 200));
    inventory["all"]["vars"] = json!({"backend": "mobile", "image": v3});
    inventory["all"]["children"]["staging"]["hosts"]["lb-staging"]["smoke_test"] =
        format!("http://{}/", test.local_addr().expect("its address")).into();
    let mut playing = Command::from(ansible.playing(staging.dir(), &playbook, &inventory));
    let moving = async {
        loop {
            let (mut asked, _) = test.accept().await.expect("a question");
            staging.image("v3", &[("VERSION", "moved")]).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            asked.write_all(answer).await.expect("answer");
            // The request must be read completely, or the response is lost with the connection.
            asked.shutdown().await.expect("the answer's end");
            tokio::io::copy(&mut asked, &mut tokio::io::sink()).await.ok();
        }
    };
    let played = tokio::select! {
        played = playing.kill_on_drop(true).output() => played.expect("run ansible-playbook"),
        never = moving => match never {},
    };
    all_went_well(&played);
    run("v3", "v3").await;
    // The tag has really moved.
    let refused = play(&v3, 418);
    assert!(!refused.status.success(), "{}", output_of(&refused));
    assert!(
        output_of(&refused).contains("production runs its previous image again"),
        "{}",
        output_of(&refused)
    );
    run("moved", "v3").await;
    production.close().await;
    staging.close().await;
}

/// Checks that the documentation and the code of each module agree with Ansible's rules, except for the GPL licence.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn ansibles_own_rules_hold() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = Ansible::newest().validate(dir.path());
    let found = String::from_utf8_lossy(&output.stdout);
    let found: Vec<&str> = found.lines().filter(|line| !line.contains("missing-gplv3-license")).collect();
    assert!(found.is_empty() && output.stderr.is_empty(), "{}", output_of(&output));
    // Each module has this one finding, so it was really checked.
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), Module::ALL.len());
}

/// Checks that the options in ansible-doc and those of the binary have the same names and types.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn documented_options_match_those_of_the_binary() {
    let dir = tempfile::tempdir().expect("a folder");
    let ansibles = [Ansible::oldest(), Ansible::newest()];
    for (ansible, module) in ansibles.iter().flat_map(|ansible| Module::ALL.map(|module| (ansible, module))) {
        let name = format!("drainswap.drainswap.{}", module.name());
        let output = ansible.command("ansible-doc", dir.path()).args(["-t", "module", "-j", &name]).output();
        let output = output.expect("run ansible-doc");
        all_went_well(&output);
        let doc: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let doc = &doc[&name];
        assert!(doc["examples"].is_string() && doc["return"].is_object(), "{name}");
        let kind = |option: &Value| match option["type"].as_str() {
            Some("bool") => Kind::Bool,
            Some("list") => Kind::List,
            _ => Kind::Text,
        };
        let options = doc["doc"]["options"].as_object().expect("options");
        let mut documented: BTreeMap<String, Kind> =
            options.iter().map(|(name, option)| (name.clone(), kind(option))).collect();
        // The option for the program itself is not passed on.
        assert_eq!(documented.remove("executable"), Some(Kind::Text), "{name}");
        let taken: BTreeMap<String, Kind> =
            module.options().into_iter().map(|option| (option.name, option.kind)).collect();
        assert_eq!(documented, taken, "{name}");
        if let Some(state) = options.get("state") {
            assert_eq!(state["choices"], json!(module.state_names()), "{name}");
        }
        // Plays also use the argument_spec of the options, which must be complete.
        let spec =
            std::fs::read_to_string(root().join(format!("ansible/plugins/modules/{}.py", module.name())));
        let shared = std::fs::read_to_string(root().join("ansible/plugins/module_utils/drainswap.py"));
        let spec = spec.expect("a module") + &shared.expect("the hand-over");
        for option in documented.keys() {
            assert!(spec.contains(&format!("\"{option}\": {{")), "{name} does not take {option}");
        }
    }
}
