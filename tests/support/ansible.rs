//! The ansible-cores that `.ci/ansible` installed: the oldest one that the collection supports, and the newest one.

use super::tool::program;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An ansible-core in a separate virtual environment.
pub struct Ansible {
    bin: PathBuf,
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Ansible {
    /// Returns the oldest ansible-core that the collection supports with this Python.
    pub fn oldest() -> Self {
        Self::named("oldest")
    }

    /// Returns the newest ansible-core for this Python.
    pub fn newest() -> Self {
        Self::named("newest")
    }

    fn named(name: &str) -> Self {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ansible").join(name);
        assert!(home.join("complete").exists(), "Ansible is not installed: `make parts` installs it");
        Self { bin: home.join("bin") }
    }

    /// Returns a command of Ansible that finds the collection, the program, and the binary modules under their names.
    pub fn command(&self, name: &str, dir: &Path) -> Command {
        let collections = dir.join("collections");
        let place = collections.join("ansible_collections/drainswap");
        let modules = dir.join("library");
        fs::create_dir_all(&place).expect("a folder");
        fs::create_dir_all(&modules).expect("a folder");
        let link = |from: &Path, to: PathBuf| {
            if !to.exists() {
                std::os::unix::fs::symlink(from, to).expect("a link");
            }
        };
        link(&Path::new(env!("CARGO_MANIFEST_DIR")).join("ansible"), place.join("drainswap"));
        // Ansible copies the program for every task, and debug information is more than half of it.
        let small = modules.join("small");
        if !small.exists() {
            run(Command::new("strip").arg("-o").arg(&small).arg(program())).expect("a program");
        }
        for module in drainswap::ansible::Module::ALL {
            link(&small, modules.join(module.name()));
        }
        let mut command = Command::new(self.bin.join(name));
        self.at_home_in(&mut command, dir, &collections);
        command.env("ANSIBLE_LIBRARY", &modules);
        command
    }

    /// Returns a shell command line with this Ansible, the program, and the collection in a folder.
    pub fn shell(&self, line: &str, dir: &Path, collections: &Path) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", line]).current_dir(dir);
        self.at_home_in(&mut command, dir, collections);
        command
    }

    /// Sets the search paths of Ansible and the directories for its own files.
    fn at_home_in(&self, command: &mut Command, dir: &Path, collections: &Path) {
        let own = program();
        let own = own.parent().expect("a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{own}:{}:{path}", self.bin.display()))
            .env("ANSIBLE_COLLECTIONS_PATH", collections)
            .env("ANSIBLE_HOME", dir.join("ansible-home"))
            .env("ANSIBLE_LOCAL_TEMP", dir.join("ansible-local"))
            .env("ANSIBLE_REMOTE_TMP", dir.join("ansible-remote"))
            .env("ANSIBLE_ASYNC_DIR", dir.join("ansible-async"))
            .env("ANSIBLE_NOCOLOR", "1")
            .env("ANSIBLE_LOCALHOST_WARNING", "0")
            .env("LC_ALL", "C.UTF-8");
    }

    /// Returns the Python for managed hosts.
    pub fn python(&self) -> PathBuf {
        self.bin.join("python")
    }

    /// Runs `ansible-test sanity --test validate-modules` on the collection's modules, without its container.
    pub fn validate(&self, dir: &Path) -> Output {
        let script = "_util/controller/sanity/validate-modules/validate.py";
        let find = "import ansible_test, os; print(os.path.dirname(ansible_test.__file__))";
        let package = run(Command::new(self.python()).args(["-c", find])).expect("ansible_test");
        let mut command = self.command("python", dir);
        let place = dir.join("collections");
        command.current_dir(place.join("ansible_collections/drainswap/drainswap"));
        command.env("PYTHONPATH", &place).arg(Path::new(package.trim()).join(script));
        command.args([
            "--collection",
            "ansible_collections/drainswap/drainswap",
            "--collection-version",
            "0.1.0",
        ]);
        let module = |module: drainswap::ansible::Module| format!("plugins/modules/{}.py", module.name());
        command.args(drainswap::ansible::Module::ALL.map(module)).output().expect("run validate.py")
    }

    /// Writes an inventory in which every host is this machine.
    pub fn inventory(&self, dir: &Path, inventory: &serde_json::Value) -> PathBuf {
        let file = dir.join("inventory.json");
        let mut inventory = inventory.clone();
        inventory["all"]["vars"]["ansible_connection"] = "local".into();
        inventory["all"]["vars"]["ansible_python_interpreter"] = self.python().display().to_string().into();
        fs::write(&file, inventory.to_string()).expect("write the inventory");
        file
    }

    /// Runs a playbook on this machine, with an inventory in JSON.
    pub fn play(
        &self,
        dir: &Path,
        playbook: &Path,
        inventory: &serde_json::Value,
        environment: &[(&str, String)],
    ) -> Output {
        let mut playing = self.playing(dir, playbook, inventory);
        playing.envs(environment.iter().map(|(name, value)| (*name, value)));
        playing.output().expect("run ansible-playbook")
    }

    /// Returns the command that runs a playbook.
    pub fn playing(&self, dir: &Path, playbook: &Path, inventory: &serde_json::Value) -> Command {
        let file = self.inventory(dir, inventory);
        let mut command = self.command("ansible-playbook", dir);
        command.arg("-i").arg(&file).arg(playbook);
        command
    }
}
