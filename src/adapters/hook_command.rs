//! Runs hooks: shell commands, each with a time limit and in its own process group.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::shell::{self, Group};
use crate::model::hook::{HookContext, HookPoint, HookResult};
use crate::model::sanitize;
use crate::ports::{HookError, Hooks};

/// Lines of a hook's output that are reported.
const LINES: usize = 100;

/// Characters of a line that are reported.
const LINE: usize = 500;

/// Bytes of a line that are read at once.
const PIECE: u64 = 64 << 10;

/// The hooks from the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookCommands {
    /// The shell command for each hook.
    pub commands: BTreeMap<HookPoint, String>,
    /// How long each hook may take.
    pub limit: Duration,
}

/// How long drainswap still reads the output after the hook has exited.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Hooks for HookCommands {
    async fn run(&self, facts: &HookContext) -> Result<Option<HookResult>, HookError> {
        let Some(text) = self.commands.get(&facts.hook) else { return Ok(None) };
        let failed = |reason: std::io::Error| HookError { hook: facts.hook, reason: reason.to_string() };
        let mut command = shell::command(text);
        command.envs(facts.variables()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group(command.spawn().map_err(failed)?);
        let child = &mut group.0;
        let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let input = serde_json::to_vec(facts).map_err(|error| failed(error.into()))?;
        let tell = async {
            if let Some(mut stdin) = stdin {
                // A hook that does not read its input may close it.
                let _closed = stdin.write_all(&input).await;
            }
        };
        let lines = Mutex::new(VecDeque::new());
        let ended = timeout(self.limit, async {
            let mut talk = pin!(async { tokio::join!(tell, gather(out, &lines), gather(err, &lines)) });
            let status = tokio::select! {
                biased;
                _ = &mut talk => return child.wait().await,
                status = child.wait() => status,
            };
            // A process that the hook left in the background may keep the output open.
            let _more = timeout(LAST_WORDS, talk).await;
            status
        });
        let ended = ended.await;
        let mut output = lines.into_inner().unwrap_or_default();
        let code = match ended {
            Ok(status) => status.map_err(failed)?.code(),
            Err(_elapsed) => {
                output.push_back(format!("(killed after {} s, hooks.timeout)", self.limit.as_secs_f32()));
                None
            }
        };
        Ok(Some(HookResult { code, output: output.into() }))
    }
}

/// Reads the output to the end, and keeps the last lines.
async fn gather(from: Option<impl AsyncRead + Unpin>, lines: &Mutex<VecDeque<String>>) {
    let Some(from) = from else { return };
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    // A longer line is read in pieces.
    while (&mut reader).take(PIECE).read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        let text = sanitize::short_line(&String::from_utf8_lossy(&line), LINE);
        line.clear();
        if let Ok(mut lines) = lines.lock() {
            lines.push_back(text);
            if lines.len() > LINES {
                lines.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::model::hook::VERSION;
    use crate::model::ids::{RunId, ServerId};
    use crate::plan::RunKind;
    use crate::site::wait::{Waited, until};

    async fn ended(command: &str, limit: Duration) -> HookResult {
        let commands = BTreeMap::from([(HookPoint::BeforeDrain, command.to_owned())]);
        let facts = HookContext {
            version: VERSION,
            hook: HookPoint::BeforeDrain,
            run: RunId("r".to_owned()),
            backend: "mobile".to_owned(),
            purpose: RunKind::Deploy,
            servers: vec![ServerId::new("mobile", "app1"), ServerId::new("tablet", "one")],
            container: Some("mobile-app1".to_owned()),
            image: None,
            outcome: None,
        };
        HookCommands { commands, limit }.run(&facts).await.unwrap().unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_hook_gets_the_facts_and_its_output_is_reported() {
        let said =
            ended("echo $DRAINSWAP_SERVERS ${DRAINSWAP_NEW_IMAGE-none}; cat; echo; exit 75", LONG).await;
        assert_eq!((said.code, &*said.output[0]), (Some(75), "mobile/app1 tablet/one none"));
        let facts: serde_json::Value = serde_json::from_str(&said.output[1]).unwrap();
        assert_eq!((&facts["hook"], &facts["container"]), (&"before_drain".into(), &"mobile-app1".into()));
        // A hook may ignore its input and print a lot.
        let said = ended("exec <&-; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done", LONG).await;
        assert_eq!((said.code, said.output.len(), &*said.output[LINES - 1]), (Some(0), LINES, "3000"));
    }

    #[tokio::test]
    async fn the_output_of_a_hook_is_cleaned_and_bounded() {
        let command =
            "printf '\\033[2Jone\\r\\342\\200\\256two\\302\\2332J\\n'; head -c 200000 /dev/zero | tr '\\0' x";
        let said = ended(command, LONG).await;
        assert_eq!(said.output[0], "onetwo");
        assert_eq!(said.output.len(), 1 + 200_000_usize.div_ceil(64 << 10));
        assert!(said.output[1..].iter().all(|line| line.chars().count() == LINE + 1), "{:?}", said.output);
    }

    #[tokio::test]
    async fn a_hook_that_takes_too_long_is_killed_with_everything_that_it_started() {
        let said = ended("sleep 1000 & echo $!; wait", Duration::from_millis(500)).await;
        assert_eq!((said.code, said.output.len()), (None, 2), "{:?}", said.output);
        let lives = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", said.output[0]));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        let never = CancellationToken::new();
        let is_gone =
            until(Duration::from_millis(5), LONG, &never, async || Ok::<_, ()>((!lives()).then_some(())));
        assert_eq!(is_gone.await, Ok(Waited::Done(())));
    }

    #[tokio::test]
    async fn a_background_process_of_a_hook_does_not_delay_the_run() {
        let said = ended("sleep 2 & echo done", LONG).await;
        assert_eq!((said.code, &*said.output[0]), (Some(0), "done"));
    }
}
