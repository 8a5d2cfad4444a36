//! Types every command that the pages show, in each page's order, on one stage for each page.

use std::process::Stdio;

use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::at_each_event;
use crate::support::{Ended, Engine, Processes, Stage, Typed, commands, finish, pages, program};

/// The commands that this test skips, each with its reason.
const NOT_HERE: [(&str, &str); 6] = [
    ("make build", "the program under test is built already"),
    ("make deb", "it takes a release build; tests/e2e/debian.rs makes a package of this one"),
    ("apt install", "it changes the machine; tests/e2e/debian.rs installs the package elsewhere"),
    ("systemctl", "no systemd runs here"),
    ("make demo", "it is made of the same stages, and wants the machine for itself"),
    ("make test", "it is what runs this"),
];

/// Checks that the output contains the given lines in order; `…` matches any text.
fn assert_shape(expected: &[String], ended: &Ended) {
    let printed = format!("{}{}", ended.stdout, ended.stderr);
    let mut lines = printed.lines();
    for line in expected.iter().filter(|line| line.trim() != "…") {
        let words: Vec<String> = line.split_whitespace().map(regex::escape).collect();
        let pattern = words.join(r"\s+").replace('…', ".*");
        let pattern = Regex::new(&format!(r"^\s*{pattern}\s*$")).expect("a pattern");
        assert!(
            lines.any(|line| pattern.is_match(line)),
            "the page has {line:?}, and the command printed\n{printed}"
        );
    }
}

/// A reader of a page: a shell in its own directory.
struct Reader {
    stage: Stage,
    /// What RUN means on the page.
    run: String,
}

impl Reader {
    async fn new() -> Self {
        let stage = Stage::pair().processes(Processes::WorkersAndSocket).start().await;
        for version in ["v2", "v3", "v4", "v5"] {
            stage.image(version, &[("VERSION", version)]).await;
        }
        let [primary, backup] = ["app1", "app1b"].map(|name| stage.server(name).address.port());
        let settings = format!(
            "haproxy_config = \"{}\"\nstate_dir = \"{}/state\"\ndocker = \"{}\"\n\
             [services.mobile]\nhosts = {{ app1 = \"127.0.0.1\" }}\nprimary_port = {primary}\n\
             backup_port = {backup}\ncheck = \"GET /\"\n",
            stage.haproxy.config().display(),
            stage.dir().display(),
            Engine::endpoint()
        );
        for name in ["described.toml", "staging.toml", "production.toml"] {
            std::fs::write(stage.dir().join(name), &settings).expect("write the settings");
        }
        std::fs::copy(stage.haproxy.config(), stage.dir().join("new.cfg")).expect("copy haproxy.cfg");
        Self { stage, run: String::new() }
    }

    /// Returns what the page says, on this stage.
    fn here(&self, text: &str) -> String {
        let repository = self.stage.reference("");
        let text = text.replace("registry.example.org/mobile:", &repository).replace("target/release/", "");
        text.replace(" RUN", &format!(" {}", self.run))
    }

    async fn types(&self, line: &str) -> Ended {
        let program = program();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["-c", &self.here(line)])
            .current_dir(self.stage.dir())
            .env("PATH", format!("{}:{path}", program.parent().expect("a directory").display()))
            .env("DRAINSWAP_SETTINGS", self.stage.dir().join("drainswap.toml"))
            .env("DRAINSWAP_HAPROXY_CONFIG", self.stage.haproxy.config())
            .env("DRAINSWAP_STATE_DIR", self.stage.dir().join("state"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        finish(command.spawn().expect("start a shell")).await
    }

    /// Every page but those that show it begins after the first deploy.
    async fn first_deploy(&self) {
        self.types("drainswap init").await.exits(0);
        self.types("drainswap deploy mobile --image registry.example.org/mobile:v2").await.exits(0);
    }

    /// Does what has happened before this line is typed.
    async fn before(&mut self, line: &str) {
        let killed = ["drainswap resume mobile --dry-run", "drainswap resume mobile --undo"];
        if line.starts_with("drainswap config") {
            let described = ["described.toml", "drainswap.toml"].map(|name| self.stage.dir().join(name));
            std::fs::copy(&described[0], &described[1]).expect("write the settings");
        } else if line.starts_with("drainswap history") {
            for (index, version) in ["v3", "v4", "v5"].into_iter().enumerate() {
                let image = self.stage.reference(version);
                let ended =
                    self.types(&format!("drainswap deploy mobile --image {image} -o json")).await.exits(0);
                if index == 0 {
                    ended.events()[0]["run"].as_str().expect("a run").clone_into(&mut self.run);
                }
            }
        } else if line.contains("--save") {
            let image = self.stage.reference("v3");
            self.types(&format!("drainswap deploy mobile --image {image}")).await.exits(0);
        } else if killed.iter().any(|killed| line.starts_with(killed)) || line.contains("--resume-first") {
            self.is_killed_in_a_deploy().await;
        }
    }

    /// Kills a deploy with SIGKILL when its first drain has started.
    async fn is_killed_in_a_deploy(&self) {
        let running = self.stage.get("app1", "/").await.expect("app1 answers").version;
        let image = self.stage.reference(if running.as_deref() == Some("v3") { "v4" } else { "v3" });
        let settings = self.stage.dir().join("drainswap.toml").display().to_string();
        let mut deploy =
            self.stage.spawn(&["--settings", &settings, "deploy", "mobile", "--image", &image, "-o", "json"]);
        let process = deploy.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("a process");
        at_each_event(&mut deploy, async |event| {
            if event == "drain_started" {
                let _gone_already = kill_process(process, Signal::KILL);
            }
        })
        .await;
        deploy.wait().await.expect("wait for drainswap");
    }
}

/// Types the commands of a page and compares what they print.
async fn types_every_command_of(page: &str) {
    let mut typed = commands(page);
    let has_first_deploy = typed.iter().any(|it| it.line.contains("drainswap init"));
    typed.retain(|it| NOT_HERE.iter().all(|(not_here, _)| !it.line.starts_with(not_here)));
    if typed.is_empty() {
        return;
    }
    let mut reader = Reader::new().await;
    if !has_first_deploy {
        reader.first_deploy().await;
    }
    for Typed { line, exit, output } in typed {
        reader.before(&line).await;
        let ended = reader.types(&line).await;
        assert_eq!(ended.code, exit, "$ {line}\n{}{}", ended.stdout, ended.stderr);
        let output: Vec<String> = output.iter().map(|line| reader.here(line)).collect();
        assert_shape(&output, &ended);
    }
    reader.stage.close().await;
}

/// A test for each page.
macro_rules! pages {
    ($($test:ident: $page:literal),* $(,)?) => {
        const PAGES: &[&str] = &[$($page),*];

        $(
            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs real parts: make test"]
            async fn $test() {
                types_every_command_of($page).await;
            }
        )*
    };
}

pages! {
    readme: "README.md",
    approved_plans: "docs/guides/approved-plans.md",
    ci: "docs/guides/ci.md",
    config_apply: "docs/guides/config-apply.md",
    debian: "docs/guides/debian.md",
    first_deploy: "docs/guides/first-deploy.md",
    rollback_and_resume: "docs/guides/rollback-and-resume.md",
    services_and_compose: "docs/guides/services-and-compose.md",
    single_servers: "docs/guides/single-servers.md",
    staging_to_production: "docs/guides/staging-to-production.md",
    testing: "docs/contributing/testing.md",
    troubleshooting: "docs/troubleshooting.md",
}

#[test]
fn every_page_with_commands_has_a_test() {
    let mut tested: Vec<&str> = PAGES.to_vec();
    // tests/e2e/ansible.rs types the collection's.
    tested.push("ansible/README.md");
    let shown: Vec<String> = pages().into_iter().filter(|page| !commands(page).is_empty()).collect();
    for page in &shown {
        assert!(tested.contains(&page.as_str()), "no test types the commands of {page}");
    }
    assert_eq!(shown.len(), tested.len(), "{tested:?}");
    let count: usize = PAGES.iter().map(|page| commands(page).len()).sum();
    assert!(count >= 36, "the pages show only {count} commands");
}
