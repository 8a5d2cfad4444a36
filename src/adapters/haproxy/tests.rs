use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::*;
use crate::cfg::ServerSettings;
use crate::observation::{AdminBits, Checking, Checks, Operational, ServerState};

pub(crate) const INFO: &str = "Name: HAProxy\nVersion: 2.6.12\nPid: 7\nStopping: 0\n\n";
const STAT: &str = "# pxname,svname,qcur,scur,slim,stot,status,check_status,type,iid,sid,\n";

pub(crate) fn state(admin: u32) -> String {
    format!(
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_check_state srv_agent_state srv_port\n\
         3 b 1 s 10.0.0.1 2 {admin} 1 3 6 18 80\n\n"
    )
}

pub(crate) fn stat() -> String {
    format!("{STAT}b,s,0,2,30,5,UP,L7OK,2,3,1,\nb,BACKEND,4,2,200,5,UP,,1,3,0,\n\n")
}

/// A runtime API that answers each connection with the next of these answers, and returns the lines that it received.
pub(crate) struct Fake {
    pub(crate) socket: HaproxySocket,
    lines: JoinHandle<Vec<String>>,
    _directory: tempfile::TempDir,
}

impl Fake {
    fn answering<const N: usize>(answers: [String; N]) -> Self {
        let mut answers = answers.into_iter();
        Self::listening(N, move |_| answers.next().unwrap_or_default())
    }

    /// Answers this many lines. Puts a severity before each answer, unless the line turns severities off.
    pub(crate) fn listening(lines: usize, mut answer: impl FnMut(&str) -> String + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let lines = tokio::spawn(async move {
            let mut said = Vec::new();
            for _ in 0..lines {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let (plain, line) = match line.strip_prefix("set severity-output none;") {
                    Some(rest) => ("\n", rest.to_owned()),
                    None => ("[6]: ", line),
                };
                let answer = plain.to_owned() + &answer(&line);
                stream.write_all(answer.as_bytes()).await.unwrap();
                said.push(line);
            }
            said
        });
        Self { socket: HaproxySocket::new(SocketAddress::Unix(path)), lines, _directory: directory }
    }

    /// Simulates a process with one backend, `b`, that accepts every state. Answers this many lines.
    fn taking_states(lines: usize) -> Self {
        Self::listening(lines, {
            let mut states: Vec<(String, AdminState)> = Vec::new();
            move |line| line.trim().split(';').map(|command| obeyed(command, &mut states)).collect()
        })
    }

    pub(crate) async fn lines(self) -> Vec<String> {
        self.lines.await.unwrap()
    }
}

/// Executes a command as HAProxy does, and returns its answer.
fn obeyed(command: &str, states: &mut Vec<(String, AdminState)>) -> String {
    let Some((server, state)) =
        command.strip_prefix("set server b/").and_then(|set| set.split_once(" state "))
    else {
        let header = state(0).lines().take(2).collect::<Vec<_>>().join("\n");
        let row = |(server, state): &(String, AdminState)| {
            format!("3 b 1 {server} 10.0.0.1 2 {} 1 3 6 18 80\n", state.bits().0)
        };
        return format!("{header}\n{}\n", states.iter().map(row).collect::<String>());
    };
    let state = [AdminState::Ready, AdminState::Drain, AdminState::Maint]
        .into_iter()
        .find(|it| it.to_string() == state)
        .unwrap();
    states.retain(|(known, _)| known != server);
    states.push((server.to_owned(), state));
    "\n".to_owned()
}

fn named(backends: &[&str]) -> Vec<String> {
    backends.iter().map(|&backend| backend.to_owned()).collect()
}

#[tokio::test]
async fn control_characters_from_haproxy_are_removed() {
    let hostile = "No\u{1b}[2J \u{202e}such\u{9b}31m\r server.\n\n".to_owned();
    let table = stat().replace("UP,L7OK", "UP\u{1b}[2J,L7\u{202e}OK\u{85}");
    let info = INFO.replace("2.6.12", "2.6\u{1b}]0;x\u{7}");
    let fake = Fake::answering([hostile, [info, state(0), table].concat()]);
    let server = ServerId::new("b", "s");
    let refused = fake.socket.set_weight(&server, Weight::Absolute(1)).await.unwrap_err().to_string();
    assert!(refused.contains("such") && !refused.chars().any(sanitize::is_unsafe), "{refused:?}");
    let seen = fake.socket.state(&[]).await.unwrap();
    let seen = [&seen.version, &seen.servers[0].status, &seen.servers[0].check];
    assert!(!seen.into_iter().any(|text| text.chars().any(sanitize::is_unsafe)), "{seen:?}");
}

#[tokio::test]
async fn a_server_set_down_until_its_check_passes_is_kept_down_until_it_is_up() {
    let down = state(0).replace(" 2 0 1 3 ", " 0 0 1 3 ");
    let changed = ["\n", "\n", "\n", &down].concat();
    let look = |states: &str| [INFO, states, &stat()].concat();
    let answers =
        [changed, down.clone(), look(&down), look(&state(0)), state(0), look(&down), "\n".to_owned(), down];
    let Fake { socket, lines, _directory: directory } = Fake::answering(answers);
    let file = directory.path().join("states");
    let kept = || std::fs::read_to_string(&file).unwrap().lines().nth(2).unwrap()[17..].to_owned();
    let socket = socket.saving_states_in(file.clone());
    let server = ServerId::new("b", "s");
    socket.set_unproven(&[(server.clone(), AdminState::Ready)]).await.unwrap();
    assert_eq!(kept(), "0 0 1 3 6 18 80");
    socket.full_state(&[]).await.unwrap();
    assert_eq!(kept(), "0 0 1 3 6 18 80");
    socket.full_state(&[]).await.unwrap();
    assert_eq!(kept(), "2 0 1 3 6 18 80");
    // A server that is down because of its check is not kept down.
    socket.full_state(&[]).await.unwrap();
    socket.set_weight(&server, Weight::Absolute(1)).await.unwrap();
    assert_eq!(kept(), "1 0 1 3 6 18 80");
    assert_eq!(lines.await.unwrap().len(), 8);
}

#[tokio::test]
async fn one_line_reads_the_state_of_one_process() {
    let fake = Fake::answering([[INFO, &state(8), &stat()].concat()]);
    let look = fake.socket.full_state(&named(&["b", "b"])).await.unwrap();
    assert_eq!((look.version.as_str(), look.pid), ("2.6.12", 7));
    assert_eq!(look.queued, [("b".to_owned(), 4)].into());
    let server = ServerState {
        id: ServerId::new("b", "s"),
        address: Some("10.0.0.1:80".parse().unwrap()),
        admin: AdminBits(8),
        operational: Operational::Running,
        status: "UP".to_owned(),
        check: "L7OK".to_owned(),
        weight: 1,
        initial_weight: 3,
        settings: None,
        checks: Checks { health: Checking::On, agent: Checking::Off, asks_agent: false },
        sessions: 2,
        sessions_total: 5,
        limit: Some(30),
    };
    assert_eq!(*look.servers, [server]);
    assert_eq!(fake.lines().await, ["show info;show servers state b;show stat b 6 -1\n"]);
}

#[tokio::test]
async fn a_backend_that_content_switching_leaves_out_is_seen() {
    let unpublished = stat().replace("b,BACKEND,4,2,200,5,UP,", "b,BACKEND,4,2,200,5,UP (UNPUB),");
    let answer = [INFO, &state(0), &unpublished].concat();
    let fake = Fake::answering([answer.clone(), answer]);
    for backends in [named(&["b"]), Vec::new()] {
        let look = fake.socket.full_state(&backends).await.unwrap();
        assert_eq!(look.unpublished, ["b".to_owned()].into());
    }
}

#[tokio::test]
async fn a_version_4_address_in_a_version_6_one_is_that_address() {
    let mapped = state(0).replace("10.0.0.1", "::ffff:10.0.0.1");
    let fake = Fake::answering([[INFO, &mapped, &stat()].concat()]);
    let look = fake.socket.full_state(&[]).await.unwrap();
    assert_eq!(look.servers[0].address, Some("10.0.0.1:80".parse().unwrap()));
}

#[tokio::test]
async fn a_frontend_of_the_same_name_hides_nothing() {
    let hidden = [INFO, &state(0), STAT, "\n"].concat();
    let fake = Fake::answering([hidden, [INFO, &state(0), &stat()].concat()]);
    let look = fake.socket.full_state(&named(&["b"])).await.unwrap();
    assert_eq!((look.servers.len(), look.queued.len()), (1, 1));
    assert_eq!(fake.lines().await[1], "show info;show servers state;show stat -1 6 -1\n");
}

#[tokio::test]
async fn many_backends_are_asked_for_by_asking_for_all() {
    let fake = Fake::answering([[INFO, &state(0), &stat()].concat()]);
    let many: Vec<_> = (0..200).map(|n| format!("backend-{n}")).collect();
    let missing = fake.socket.full_state(&many).await.unwrap_err();
    let reply = "`show stat` does not list it".to_owned();
    assert_eq!(missing, LoadBalancerError::NoSuchBackend { backend: "backend-0".to_owned(), reply });
    assert_eq!(fake.lines().await, ["show info;show servers state;show stat -1 6 -1\n"]);
}

#[tokio::test]
async fn a_disabled_backend_takes_no_part() {
    let disabled = [INFO, &state(0), STAT, "\n"].concat();
    let fake = Fake::answering([disabled.clone(), disabled.clone(), disabled]);
    assert!(fake.socket.full_state(&[]).await.unwrap().servers.is_empty());
    let reply = "it is `disabled`".to_owned();
    let missing = fake.socket.full_state(&named(&["b"])).await.unwrap_err();
    assert_eq!(missing, LoadBalancerError::NoSuchBackend { backend: "b".to_owned(), reply });
}

#[tokio::test]
async fn a_call_during_a_reload_is_repeated() {
    let stopping = INFO.replace("Stopping: 0", "Stopping: 1");
    let (old, new) = ([&stopping, &state(0), &*stat()].concat(), [INFO, &state(0), &stat()].concat());
    let refused = format!("Proxy is disabled.\n\n{}", state(0));
    let fake = Fake::answering([old.clone(), old, new, refused, format!("\n{}", state(8))]);
    assert_eq!(fake.socket.full_state(&[]).await.unwrap().pid, 7);
    fake.socket.set_admin_states(&[(ServerId::new("b", "s"), AdminState::Drain)]).await.unwrap();
    assert_eq!(fake.lines().await.len(), 5);
}

#[tokio::test]
async fn several_processes_are_refused() {
    let several = INFO.replace("Pid: 7", "Nbproc: 2\nProcess_num: 1\nPid: 7");
    let fake = Fake::answering([[&several, &state(0), &*stat()].concat()]);
    let socket = fake.socket.address().to_string();
    let error = fake.socket.full_state(&[]).await.unwrap_err();
    assert_eq!(error, LoadBalancerError::SeveralProcesses { socket, processes: 2 });
}

#[tokio::test]
async fn a_line_without_an_answer_differs_from_an_answered_one() {
    let fake = Fake::answering([String::new(), "\n".to_owned()]);
    let server = ServerId::new("b", "s");
    let broken_off = fake.socket.set_healthy(&server).await.unwrap_err();
    assert!(broken_off.is_silence(), "{broken_off}");
    fake.socket.set_healthy(&server).await.unwrap();
}

#[tokio::test]
async fn a_process_that_keeps_stopping_is_an_error() {
    let stopping = INFO.replace("Stopping: 0", "Stopping: 1");
    let answers = std::array::from_fn::<_, 21, _>(|_| [&stopping, &state(0), &*stat()].concat());
    let error = Fake::answering(answers).socket.full_state(&[]).await.unwrap_err();
    assert!(error.to_string().ends_with("process 7 is stopping"), "{error}");
}

#[tokio::test]
async fn a_state_is_read_back_until_it_shows() {
    let half_applied = format!("\n{}", state(0));
    let fake = Fake::answering([half_applied, state(0), state(12)]);
    fake.socket.set_admin_states(&[(ServerId::new("b", "s"), AdminState::Drain)]).await.unwrap();
    let read = "show servers state b\n";
    assert_eq!(fake.lines().await, ["set server b/s state drain;show servers state b\n", read, read]);
}

#[tokio::test]
async fn a_state_that_never_shows_is_not_taken() {
    let answers =
        std::array::from_fn::<_, 10, _>(|n| if n == 0 { format!("\n{}", state(1)) } else { state(1) });
    let fake = Fake::answering(answers);
    let server = ServerId::new("b", "s");
    let error = fake.socket.set_admin_states(&[(server.clone(), AdminState::Ready)]).await.unwrap_err();
    let command = "set server b/s state ready".to_owned();
    assert_eq!(error, LoadBalancerError::StateNotApplied { command, server, found: AdminState::Maint });
    assert_eq!(fake.lines().await.len(), 10);
}

#[tokio::test]
async fn a_thousand_servers_are_set_and_read_back_by_a_few_lines() {
    let fake = Fake::taking_states(4);
    let states: Vec<_> =
        (0..1_001).map(|n| (ServerId::new("b", format!("s{n}")), AdminState::Drain)).collect();
    fake.socket.set_admin_states(&states).await.unwrap();
    let lines = fake.lines().await;
    assert!(lines.iter().all(|line| line.len() <= command::LONGEST_LINE));
    assert!(lines.iter().all(|line| line.ends_with(";show servers state b\n")));
    let set: Vec<_> =
        lines.iter().flat_map(|line| line.split(';')).filter(|it| it.starts_with("set")).collect();
    let wanted = states.iter().map(|(server, _)| format!("set server {server} state drain"));
    assert_eq!(set, wanted.collect::<Vec<_>>());
}

#[tokio::test]
async fn servers_of_several_backends_are_read_back_by_the_line_that_sets_them() {
    let (one, other) = (state(1), state(1).replace(" b ", " c "));
    let fake = Fake::answering([format!("\n\n\n{one}{other}")]);
    let states = ["c/s", "b/s", "c/s"].map(|id| (id.parse().unwrap(), AdminState::Maint));
    fake.socket.set_admin_states(&states).await.unwrap();
    fake.socket.set_admin_states(&[]).await.unwrap();
    let set = "set server c/s state maint;set server b/s state maint;set server c/s state maint";
    assert_eq!(fake.lines().await, [format!("{set};show servers state b;show servers state c\n")]);
}

/// HAProxy still sets the other servers, and their states are unknown.
#[tokio::test]
async fn the_error_names_the_server_that_haproxy_refuses() {
    let states = ["b/s", "b/nope"].map(|id| (id.parse().unwrap(), AdminState::Drain));
    let fake = Fake::answering([format!("\nNo such server.\n\n{}", state(8))]);
    assert_eq!(
        fake.socket.set_admin_states(&states).await.unwrap_err().to_string(),
        "HAProxy refused `set server b/nope state drain`: No such server."
    );
    let both = state(8).replace("3 b 1 s ", "3 b 2 nope 10.0.0.1 2 0 1 3 6 18 80\n3 b 1 s ");
    let fake = Fake::answering(std::array::from_fn::<_, 10, _>(|n| {
        if n == 0 { format!("\n\n{both}") } else { both.clone() }
    }));
    assert_eq!(
        fake.socket.set_admin_states(&states).await.unwrap_err().to_string(),
        "HAProxy accepted `set server b/nope state drain`, but b/nope is in ready"
    );
}

#[tokio::test]
async fn a_server_that_is_added_is_checked_as_its_line_says() {
    let registered = || "New server registered.\n\n".to_owned();
    let taken = || "\n".to_owned();
    let fake = Fake::answering([registered(), registered(), taken(), taken()]);
    let added = |check, agent_check| Added {
        server: ServerId::new("b", "s"),
        words: vec!["127.0.0.1:80".to_owned()],
        settings: ServerSettings { check, agent_check, ..ServerSettings::default() }.into(),
    };
    fake.socket.add_server(&added(false, false)).await.unwrap();
    fake.socket.add_server(&added(true, true)).await.unwrap();
    let add = "add server b/s 127.0.0.1:80\n";
    assert_eq!(fake.lines().await, [add, add, "enable health b/s\n", "enable agent b/s\n"]);
}

#[tokio::test]
async fn an_inherited_state_is_not_waited_for() {
    let fake = Fake::answering([format!("\n{}", state(32))]);
    fake.socket.set_admin_states(&[(ServerId::new("b", "s"), AdminState::Ready)]).await.unwrap();
}

#[tokio::test]
async fn refusals_quote_haproxy_s_answer() {
    let cannot_find = "Can't find backend.\n\n";
    let fake = Fake::answering([
        format!("No such backend.\n\n{cannot_find}"),
        format!("No such server.\n\n{}", state(0)),
        [INFO, cannot_find, "No such proxy.\n\n"].concat(),
        [INFO, &state(0)].concat(),
    ]);
    let set = async |server| fake.socket.set_admin_states(&[(server, AdminState::Maint)]).await.unwrap_err();
    assert_eq!(
        set(ServerId::new("nope", "s")).await.to_string(),
        "the running HAProxy has no backend nope: No such backend."
    );
    assert_eq!(
        set(ServerId::new("b", "nope")).await.to_string(),
        "HAProxy refused `set server b/nope state maint`: No such server."
    );
    assert_eq!(
        fake.socket.full_state(&named(&["nope"])).await.unwrap_err().to_string(),
        "the running HAProxy has no backend nope: Can't find backend."
    );
    assert_eq!(
        fake.socket.full_state(&named(&["b"])).await.unwrap_err().to_string(),
        "HAProxy closed the connection in the middle of its answer to `show stat b 6 -1`"
    );
    assert_eq!(
        set(ServerId::new("b;quit", "s")).await.to_string(),
        "cannot send `set server b;quit/s state maint` to HAProxy: a name may contain only letters, digits and . _ : -"
    );
}

#[tokio::test]
async fn only_an_admin_socket_connects() {
    let fake = Fake::answering(["operator\n\n".to_owned(), "admin\n\n".to_owned()]);
    let address = fake.socket.address().clone();
    let socket = address.to_string();
    let error = HaproxySocket::connect(address.clone()).await.unwrap_err();
    assert_eq!(error, LoadBalancerError::NotAdmin { socket, level: "operator".to_owned() });
    HaproxySocket::connect(address).await.unwrap();
    assert_eq!(fake.lines().await, ["show cli level\n", "show cli level\n"]);
}
