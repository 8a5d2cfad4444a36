//! Agents (`agent-check`), whose answers may end a drain or a maint.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::ends_with;
use crate::support::{Load, Mix, Stage, finish, wait_until};

/// An agent that always gives the same answer.
struct Agent {
    address: SocketAddr,
    answer: Arc<Mutex<&'static str>>,
}

impl Agent {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, answer) = (listener.local_addr().expect("an address"), Arc::new(Mutex::new("ready")));
        let given = Arc::clone(&answer);
        tokio::spawn(async move {
            while let Ok((mut asked, _)) = listener.accept().await {
                let line = format!("{}\n", given.lock().expect("an answer"));
                let _gone = asked.write_all(line.as_bytes()).await;
            }
        });
        Self { address, answer }
    }

    fn says(&self, answer: &'static str) {
        *self.answer.lock().expect("an answer") = answer;
    }

    fn line(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        format!("default-server agent-check agent-addr {ip} agent-port {port} agent-inter 300ms")
    }
}

/// Returns the status of each server, and whether its agent is enabled: a bit in `show servers state`.
async fn seen(stage: &Stage) -> Vec<(String, bool)> {
    const ENABLED: u32 = 0x04;
    let mut seen = Vec::new();
    for server in stage.servers() {
        let agent = stage.haproxy.state(server.name).await["srv_agent_state"].parse::<u32>();
        seen.push((stage.haproxy.status(server.name).await, agent.expect("a bit mask") & ENABLED != 0));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_agent_that_says_ready_does_not_end_a_drain() {
    let agent = Agent::listen().await;
    let stage = Stage::pair().backend_line(&agent.line()).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2"), ("BOOT_MS", "1000")]).await;
    let load = Load::start(stage.frontend(), Mix::default());
    load.answered(100).await;
    // Each drain and each boot lasts longer than many answers of the agent.
    let stream = stage.open_stream(2).await;
    let by_hand = ["maint", "mobile/app1b", "--dry-run"];
    stage.drainswap(&by_hand).await.exits(0).says(&["note: the agent (agent-check) of mobile/app1b is on"]);
    let planned = stage.drainswap(&["plan", "mobile", "--image", &v2]).await.exits(0);
    planned.prints(&["with the agent (agent-check) off until it is back"]);
    let ended = stage.drainswap(&["deploy", "mobile", "--image", &v2]).await.exits(0);
    drop(stream);
    load.answered(100).await;
    let report = load.stop().await;
    assert_eq!((report.failed(), report.client_retries()), (0, 0), "{report}\n{}", ended.stderr);
    assert!(seen(&stage).await.iter().all(|(status, agent)| status.starts_with("UP") && *agent));
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn states_set_by_an_agent_stay() {
    let agent = Agent::listen().await;
    let stage = Stage::pair().backend_line(&agent.line()).start().await;
    agent.says("drain");
    let drained = async || seen(&stage).await.iter().all(|(status, _)| status.starts_with("DRAIN"));
    wait_until("the agent has drained the servers", Duration::from_secs(5), drained).await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let ended =
        stage.drainswap(&["deploy", "mobile", "--image", &v2, "--enable", "--floor", "0"]).await.exits(0);
    ended.says(&["mobile/app1, mobile/app1b stay in drain (by agent-check, or by hand)"]);
    let found = seen(&stage).await;
    assert!(found.iter().all(|(status, agent)| status.starts_with("DRAIN") && *agent), "{found:?}");
    let by_hand = stage.drainswap(&["ready", "mobile/app1"]).await.exits(0);
    by_hand.says(&["the agent (agent-check) of mobile/app1 is on, and may have taken it out of service"]);
    agent.says("ready");
    ends_with("v2", stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn an_agent_may_drain_servers_that_were_just_deployed() {
    let agent = Agent::listen().await;
    let stage = Stage::pair().backend_line(&agent.line()).start().await;
    let v2 = stage.image("v2", &[("VERSION", "v2")]).await;
    let stream = stage.open_stream(60).await;
    let deploy = stage.spawn(&["deploy", "mobile", "--image", &v2, "--ready-timeout", "2s", "--floor", "0"]);
    stage.haproxy.until_draining("app1").await;
    agent.says("drain");
    drop(stream);
    let ended = finish(deploy).await.exits(0);
    ended.says(&[
        "2 containers replaced; mobile/app1, mobile/app1b stay in drain (by agent-check, or by hand)",
    ]);
    agent.says("ready");
    ends_with("v2", stage).await;
}
