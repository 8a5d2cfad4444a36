//! Commands that reach HAProxy late: they must not invalidate the outcome of a run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::ends_with;
use crate::support::{Load, Mix, Stage, wait_until};

/// The fate of the first command that takes a server out of rotation.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The network delivers the command late, and then its answer.
    Slow(Duration),
    /// The connection is reset, but the network still delivers the command later.
    Broken(Duration),
}

/// A slow network between drainswap and the runtime socket.
struct Network {
    address: SocketAddr,
    delivered: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Network {
    async fn start(stage: &Stage, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (socket, delivered) = (stage.haproxy.socket().to_owned(), Arc::new(AtomicBool::new(false)));
        let (told, first) = (Arc::clone(&delivered), Arc::new(AtomicBool::new(true)));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, first, told) = (socket.clone(), Arc::clone(&first), Arc::clone(&told));
                tokio::spawn(deliver(client, socket, fault, first, told));
            }
        });
        Self { address, delivered, task }
    }
}

/// Forwards one line and its answer.
#[expect(clippy::disallowed_methods, reason = "the delay of the network is under test")]
async fn deliver(
    mut client: TcpStream,
    socket: PathBuf,
    fault: Fault,
    first: Arc<AtomicBool>,
    delivered: Arc<AtomicBool>,
) -> io::Result<()> {
    let mut line = vec![0; 9000];
    let length = client.read(&mut line).await?;
    let takes_out = String::from_utf8_lossy(&line[..length]).contains(" state maint");
    let is_late = takes_out && first.swap(false, Ordering::SeqCst);
    let mut answer_to = Some(client);
    match fault {
        Fault::Slow(time) if is_late => sleep(time).await,
        Fault::Broken(time) if is_late => {
            if let Some(client) = answer_to.take() {
                client.set_zero_linger()?;
            }
            sleep(time).await;
        }
        Fault::Slow(_) | Fault::Broken(_) => {}
    }
    let mut haproxy = UnixStream::connect(socket).await?;
    haproxy.write_all(&line[..length]).await?;
    let mut answer = Vec::new();
    haproxy.read_to_end(&mut answer).await?;
    if is_late {
        delivered.store(true, Ordering::SeqCst);
    }
    match &mut answer_to {
        Some(client) => client.write_all(&answer).await,
        None => Ok(()),
    }
}

/// Deploys over the slow network under load. No request may be lost, and the final states must not change later.
async fn deploys_over(stage: Stage, fault: Fault) {
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let network = Network::start(&stage, fault).await;
    let load = Load::start(stage.frontend(), Mix { rate: 100, slow_one_in: 0, ..Mix::default() });
    load.answered(20).await;
    let socket = network.address.to_string();
    let begun = Instant::now();
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &v2, "--socket", &socket]).await.exits(0);
    let took = begun.elapsed();
    wait_until("the late command is delivered", Duration::from_secs(30), async || {
        network.delivered.load(Ordering::SeqCst)
    })
    .await;
    load.answered(20).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}\n{}", ended.stderr);
    let told = format!("{fault:?}, after {took:?}: {}", ended.stderr);
    assert!(stage.haproxy.status("app1").await.starts_with("UP"), "{told}");
    match fault {
        Fault::Slow(time) => assert!(took >= time, "{told}"),
        Fault::Broken(_) => {
            ended.says(&["has not answered a command that changes mobile/app1"]);
        }
    }
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn a_late_command_does_not_undo_a_finished_run() {
    deploys_over(Stage::pair().start().await, Fault::Slow(Duration::from_secs(9))).await;
}

mod sweep {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "sweep: a command to HAProxy whose connection breaks comes late"]
    async fn a_run_waits_for_a_command_whose_connection_broke() {
        deploys_over(Stage::pair().start().await, Fault::Broken(Duration::from_secs(8))).await;
    }
}
