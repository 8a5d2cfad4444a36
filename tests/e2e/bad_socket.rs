//! A runtime socket that fails at one moment of a deploy: nothing changes, or everything is rolled back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::assert_in_service;
use crate::support::{Load, Mix, Stage};
use crate::versions;

/// A failure of a socket instead of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The socket closes, and the command is lost.
    Deaf,
    /// The socket executes the command and closes without an answer.
    Closes,
    /// The socket sends half of the answer.
    Half,
    /// The socket sends a different text.
    Garbage,
    /// The socket executes the command and does not answer before every timeout has passed.
    Hangs,
}

/// A proxy to the real socket that fails some exchanges.
pub struct Between {
    socket: PathBuf,
    exchanges: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Between {
    /// Starts a proxy that fails one exchange.
    fn start(real: &Path, socket: PathBuf, at: usize, fault: Fault) -> Self {
        Self::of(real, socket, move |index, _| (index == at).then_some(fault))
    }

    /// Starts a proxy that swallows matching commands.
    pub fn deaf(real: &Path, socket: &Path, is_deaf: impl Fn(&str) -> bool + Clone + Send + 'static) -> Self {
        Self::of(real, socket.to_owned(), move |_, line| is_deaf(line).then_some(Fault::Deaf))
    }

    fn of(
        real: &Path,
        socket: PathBuf,
        fault: impl Fn(usize, &str) -> Option<Fault> + Clone + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (real, exchanges) = (real.to_owned(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&exchanges);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (fault, index) = (fault.clone(), counter.fetch_add(1, Ordering::SeqCst));
                tokio::spawn(exchange(client, real.clone(), move |line| fault(index, line)));
            }
        });
        Self { socket, exchanges, task }
    }
}

async fn exchange(
    mut client: UnixStream,
    real: PathBuf,
    fault: impl FnOnce(&str) -> Option<Fault> + Send,
) -> io::Result<()> {
    let mut line = vec![0; 9000];
    let length = client.read(&mut line).await?;
    let fault = fault(&String::from_utf8_lossy(&line[..length]));
    if fault == Some(Fault::Deaf) {
        return Ok(());
    }
    let mut server = UnixStream::connect(real).await?;
    server.write_all(&line[..length]).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    match fault {
        None => client.write_all(&answer).await,
        Some(Fault::Closes | Fault::Deaf) => Ok(()),
        Some(Fault::Half) => client.write_all(&answer[..answer.len() / 2]).await,
        Some(Fault::Garbage) => client.write_all(b"\x00\xff 418 I'm a teapot\n\n").await,
        // Waits until the other side gives up.
        Some(Fault::Hangs) => client.read(&mut [0]).await.map(drop),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_socket_that_gives_half_an_answer_at_any_moment_loses_nothing() {
    // The sweep tries the other moments.
    misbehaves_at([0, 2, 5, 12].map(|at| (Fault::Half, at)).into()).await;
}

mod sweep {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "sweep: the runtime socket closes, answers garbage or hangs at many moments of a deploy"]
    async fn a_socket_that_misbehaves_at_any_moment_loses_nothing() {
        let mut faults: Vec<_> = MOMENTS.map(|at| (Fault::Closes, at)).into();
        faults.extend(MOMENTS.map(|at| (Fault::Half, at)));
        faults.extend(MOMENTS.map(|at| (Fault::Garbage, at)));
        faults.extend([0, 3, 6].map(|at| (Fault::Hangs, at)));
        misbehaves_at(faults).await;
    }
}

/// The exchanges of a deploy at which the socket fails, by number.
const MOMENTS: [usize; 8] = [0, 1, 2, 3, 5, 9, 12, 15];

/// Runs a deploy under load for each fault at its exchange.
async fn misbehaves_at(faults: Vec<(Fault, usize)>) {
    let stage = Stage::pair().start().await;
    let images = [stage.image("v2", &[("VERSION", "v2")]).await, stage.reference("v1")];
    let load = Load::start(stage.frontend(), Mix { rate: 50, slow_one_in: 0, ..Mix::default() });
    load.answered(20).await;
    let mut deploys = 0;
    for (fault, at) in faults {
        let socket = stage.dir().join(format!("{fault:?}-{at}.sock"));
        let between = Between::start(stage.haproxy.socket(), socket, at, fault);
        let socket = between.socket.to_str().expect("UTF-8");
        let running = versions(&stage).await;
        let wanted = usize::from(running[0] == "v2");
        let image = images[wanted].as_str();
        let ended = stage.drainswap(&["deploy", "mobile", "--image", image, "--socket", socket]).await;
        let met = between.exchanges.load(Ordering::SeqCst) > at;
        let now = versions(&stage).await;
        let told = format!("{fault:?} at exchange {at}: {}", ended.stderr);
        match ended.code {
            0 => assert_ne!(now[0], running[0], "{told}"),
            // Refused, unreachable or rolled back: the state is unchanged, and the reason names HAProxy.
            4 | 5 | 10 => {
                assert_eq!(now, running, "{told}");
                assert!(met && ended.stderr.contains("HAProxy"), "{told}");
                deploys += 1;
            }
            code => panic!("exit {code}: {told}"),
        }
        assert_in_service(&stage).await;
    }
    assert!(deploys > 0, "no fault ended a deploy");
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    stage.close().await;
}
