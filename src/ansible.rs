//! drainswap as an Ansible module: a task's options in, one JSON object out.
//!
//! ```text
//! arguments file ─► Task ─► drainswap's own command line, with -o json ─► its output ─► answer
//! ```
//!
//! The options are those of the command line, so that a task can do everything that a command can.

mod answer;
#[cfg(test)]
mod collection;
mod diff;
mod mask;
mod module;
mod moves;
pub mod option;
mod task;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use serde_json::{Value, json};

use self::answer::CommandOutput;
pub use self::module::Module;
use self::task::{Steps, Task};

/// Answers a call by Ansible, which has exactly one argument, the path of a JSON file, and a module's name: that of the
/// program, or one in the file. Returns `None` for any other call.
#[must_use]
pub fn called(arguments: &[OsString]) -> Option<ExitCode> {
    let [program, path] = arguments else { return None };
    let name = Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned());
    let by_name = name.as_deref().and_then(Module::of);
    let is_file = Path::new(path).is_file();
    let bytes = if is_file { std::fs::read(path) } else { Err(std::io::ErrorKind::NotFound.into()) };
    let object = bytes.as_ref().ok().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let asked =
        object.as_ref().and_then(|object| object["_ansible_module_name"].as_str()).and_then(Module::of);
    let module = by_name.or(asked)?;
    let mut answer = match (object, bytes) {
        (Some(Value::Object(options)), _) => answer(module, options),
        (_, Err(error)) => failed(&format!("cannot read {}: {error}", Path::new(path).display())),
        (_, Ok(_)) => failed(&format!(
            "invalid arguments file {}: expected a JSON object with a task's options",
            Path::new(path).display()
        )),
    };
    mask::mask(&mut answer);
    let is_failed = answer["failed"] == true;
    let _gone = writeln!(std::io::stdout(), "{}", crate::model::sanitize::json(&answer.to_string()));
    Some(if is_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn answer(module: Module, options: serde_json::Map<String, Value>) -> Value {
    let task = match Task::read(module, options) {
        Ok(task) => task,
        Err(reason) => return failed(&reason),
    };
    let mut answer = match task.steps() {
        Ok(steps) => {
            done(&task, &steps).unwrap_or_else(|error| failed(&format!("cannot run drainswap: {error}")))
        }
        Err(reason) => failed(&reason),
    };
    answer["invocation"] = json!({ "module_args": mask::options(&task.options) });
    answer
}

/// Runs a task. A look for check mode or a diff comes before any change.
fn done(task: &Task, steps: &Steps) -> std::io::Result<Value> {
    let Some(look) = steps.look.as_ref() else { return Ok(answer::of(task, None, &run(&steps.act)?)) };
    let looked = if task.check || task.diff { Some(run(look)?) } else { None };
    if let Some(looked) = looked.as_ref().filter(|looked| task.check || looked.code != 0) {
        return Ok(answer::of(task, Some(looked), looked));
    }
    let acted = run(&steps.act)?;
    let mut answer = answer::of(task, looked.as_ref(), &acted);
    // A run that replaced nothing does not report its image, but a look does. After a rollback, a look would report the
    // next one.
    let is_told = !answer["image"].is_null() || steps.act[0] == "rollback";
    if task.module == Module::Deploy && acted.code == 0 && !is_told {
        let looked = answer::of(task, None, &run(look)?);
        for key in ["image", "reference"].into_iter().filter(|key| !looked[*key].is_null()) {
            answer[key] = looked[key].clone();
        }
    }
    Ok(answer)
}

fn failed(message: &str) -> Value {
    json!({ "failed": true, "changed": false, "rc": crate::app::exit::Exit::Usage.code(), "msg": message })
}

/// Runs drainswap itself.
fn run(words: &[String]) -> std::io::Result<CommandOutput> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--output=json", "--ci=none"])
        .args(words)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let objects = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(CommandOutput { code: output.status.code().unwrap_or(-1), objects, said })
}
