//! Where the runtime API listens, and one line said to it: one connection a line, so that every
//! line reaches the process that listens now. A connection that is kept open would go on
//! talking to the old process after a reload.

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::peer::{self, Stranger};
use crate::secret::shown;

/// How long a question may take, from connecting to the answer's end. Ten thousand servers take
/// about 60 ms; a connection beyond `stats maxconn` is accepted by the kernel and never answered.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How long a command that changes something keeps its connection. `HAProxy` executes a line that the kernel has
/// delivered even if its connection was closed before (measured on 2.2 to 3.2), so that closing early proves nothing.
pub const CHANGE_DEADLINE: Duration = Duration::from_secs(30);

/// How long connecting is tried again: while `HAProxy` starts anew, nobody listens for a moment.
const RETRY_FOR: Duration = Duration::from_millis(500);
const RETRY_EVERY: Duration = Duration::from_millis(25);

/// The longest answer, in bytes: ten thousand servers are about 3 MB.
const LONGEST_ANSWER: u64 = 64 << 20;

/// The length of a unix address's path on Linux. `HAProxy` binds an `abns@` name padded with
/// zeros to that length, and the zeros are part of the name.
const UNIX_PATH_LENGTH: usize = 108;

/// Where a runtime API listens: the address of a `stats socket` line, without its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// `/run/haproxy/admin.sock` or `unix@/run/haproxy/admin.sock`.
    Unix(PathBuf),
    /// `abns@haproxy`: a name in Linux's abstract namespace.
    Abstract(String),
    /// `127.0.0.1:9999`, `localhost:9999`, `[::1]:9999`, `ipv4@127.0.0.1:9999`.
    Tcp {
        /// A name or an address, without brackets. Written `*` or not at all it means every
        /// address to a listener, and to us `127.0.0.1`.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Why a text is no [`SocketAddress`].
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no address of a runtime socket: write a path with a slash, unix@/PATH, abns@NAME or HOST:PORT"
)]
pub struct NotASocketAddress(pub String);

impl FromStr for SocketAddress {
    type Err = NotASocketAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NotASocketAddress(shown(text));
        match text.split_once('@') {
            Some((_, "")) => Err(bad()),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("abns", name)) if name.len() < UNIX_PATH_LENGTH => Ok(Self::Abstract(name.to_owned())),
            Some(("ipv4" | "ipv6", rest)) => tcp(rest).ok_or_else(bad),
            // A URL is no path, although it has slashes.
            _ if text.contains('/') && !text.contains("://") => Ok(Self::Unix(text.into())),
            _ => tcp(text).ok_or_else(bad),
        }
    }
}

/// The port follows the last colon, so that IPv6 addresses need no brackets, as in haproxy.cfg.
fn tcp(text: &str) -> Option<SocketAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    if host.contains(|c: char| c.is_whitespace() || "@[]".contains(c)) {
        return None;
    }
    let host = if matches!(host, "" | "*") { "127.0.0.1" } else { host };
    Some(SocketAddress::Tcp { host: host.to_owned(), port: port.parse().ok().filter(|port| *port != 0)? })
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) if path.to_string_lossy().starts_with('/') => write!(f, "{}", path.display()),
            Self::Unix(path) => write!(f, "unix@{}", path.display()),
            Self::Abstract(name) => write!(f, "abns@{name}"),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Why a line got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The system refused.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A stranger listens there.
    #[error(transparent)]
    Stranger(#[from] Stranger),
    /// The connection was closed without a byte.
    #[error("the connection was closed without an answer")]
    Empty,
    /// The answer has no end.
    #[error("the answer is longer than {} MiB", LONGEST_ANSWER >> 20)]
    TooLong,
    /// The deadline.
    #[error("no answer within {:.1} s; every connection that `stats maxconn` allows may be in use", .limit.as_secs_f64())]
    Late {
        /// How long it was waited.
        limit: Duration,
    },
    /// The connection of a change broke, or was given up: `HAProxy` may still execute the line.
    #[error(transparent)]
    Unanswered(Box<ExchangeError>),
}

impl ExchangeError {
    /// What the system or the wait said, whether or not the line may still take effect.
    #[must_use]
    pub fn reason(self) -> Self {
        if let Self::Unanswered(reason) = self { *reason } else { self }
    }
}

/// Sends one line, which ends with `\n`, and returns all that is answered within `limit`
/// ([`DEADLINE`], but in tests). Connecting is tried again for a moment, sending is not.
/// `owner` is the user of the HAProxy process that was identified, who may listen there beside root and the caller.
pub async fn exchange(
    address: &SocketAddress,
    owner: Option<u32>,
    line: &str,
    limit: Duration,
) -> Result<Vec<u8>, ExchangeError> {
    exchange_with(Peer::Worker, address, owner, line, limit).await
}

/// Sends one line that changes something, and keeps its connection until `HAProxy` has answered or closed it, for at
/// most `limit` ([`CHANGE_DEADLINE`], but in tests).
///
/// # Errors
/// [`ExchangeError::Unanswered`] where the line may still take effect; after any other error it cannot.
pub async fn exchange_change(
    address: &SocketAddress,
    owner: Option<u32>,
    line: &str,
    limit: Duration,
) -> Result<Vec<u8>, ExchangeError> {
    change_with(Peer::Worker, address, owner, line, limit).await
}

async fn change_with(
    peer: Peer,
    address: &SocketAddress,
    owner: Option<u32>,
    line: &str,
    limit: Duration,
) -> Result<Vec<u8>, ExchangeError> {
    tracing::debug!(%address, line, "HAProxy is told");
    let connected = timeout(DEADLINE, Stream::connect(address, owner)).await;
    let mut stream = connected.unwrap_or(Err(ExchangeError::Late { limit: DEADLINE }))?;
    match timeout(limit, stream.converse(peer, line)).await {
        // A network may break a connection and deliver its last bytes all the same. On a unix socket HAProxy has closed it.
        Ok(Err(error @ ExchangeError::System(_))) if stream.is_remote() => {
            Err(ExchangeError::Unanswered(Box::new(error)))
        }
        Ok(ended) => ended,
        Err(_) => {
            stream.reset();
            Err(ExchangeError::Unanswered(Box::new(ExchangeError::Late { limit })))
        }
    }
}

/// Who listens.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Peer {
    /// It closes the connection after the line.
    Worker,
    /// It closes it only when the other side has.
    Master,
}

/// The same with the socket of the master process.
pub async fn exchange_with_master(
    address: &SocketAddress,
    owner: Option<u32>,
    line: &str,
    limit: Duration,
) -> Result<Vec<u8>, ExchangeError> {
    exchange_with(Peer::Master, address, owner, line, limit).await
}

/// As [`exchange_change`], with the socket of the master process.
pub async fn exchange_change_with_master(
    address: &SocketAddress,
    owner: Option<u32>,
    line: &str,
    limit: Duration,
) -> Result<Vec<u8>, ExchangeError> {
    change_with(Peer::Master, address, owner, line, limit).await
}

async fn exchange_with(
    peer: Peer,
    address: &SocketAddress,
    owner: Option<u32>,
    line: &str,
    limit: Duration,
) -> Result<Vec<u8>, ExchangeError> {
    tracing::debug!(%address, line, "HAProxy is asked");
    let talk = async { Stream::connect(address, owner).await?.converse(peer, line).await };
    timeout(limit, talk).await.unwrap_or(Err(ExchangeError::Late { limit }))
}

/// A connection to a runtime API.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    async fn connect(address: &SocketAddress, owner: Option<u32>) -> Result<Self, ExchangeError> {
        let stream = match address {
            SocketAddress::Unix(path) => patiently(|| UnixStream::connect(path)).await?,
            SocketAddress::Abstract(name) => {
                let path = abstract_path(name);
                patiently(|| UnixStream::connect(&path)).await?
            }
            SocketAddress::Tcp { host, port } => {
                return Ok(Self::Tcp(patiently(|| TcpStream::connect((host.as_str(), *port))).await?));
            }
        };
        peer::admit(&stream, address, owner)??;
        Ok(Self::Unix(stream))
    }

    async fn converse(&mut self, peer: Peer, line: &str) -> Result<Vec<u8>, ExchangeError> {
        match self {
            Self::Unix(stream) => converse(peer, stream, line).await,
            Self::Tcp(stream) => converse(peer, stream, line).await,
        }
    }

    /// Whether a network is between the two ends.
    fn is_remote(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Closes the connection so that the kernel drops what it has not delivered. What it has is executed all the same.
    fn reset(self) {
        if let Self::Tcp(stream) = self
            && let Err(error) = stream.set_zero_linger()
        {
            tracing::debug!(%error, "the connection is closed without a reset");
        }
    }
}

/// A path that begins with a zero is a name in the abstract namespace.
fn abstract_path(name: &str) -> PathBuf {
    let mut bytes = vec![0; UNIX_PATH_LENGTH];
    for (byte, letter) in bytes.iter_mut().skip(1).zip(name.bytes()) {
        *byte = letter;
    }
    OsString::from_vec(bytes).into()
}

async fn patiently<S, F>(connect: impl Fn() -> F) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let give_up = Instant::now() + RETRY_FOR;
    loop {
        match connect().await {
            // A full backlog is `WouldBlock` on a unix socket.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::WouldBlock
                ) && Instant::now() < give_up =>
            {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a bounded retry while HAProxy executes itself anew"
                )]
                sleep(RETRY_EVERY).await;
            }
            outcome => return outcome,
        }
    }
}

async fn converse(
    peer: Peer,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    line: &str,
) -> Result<Vec<u8>, ExchangeError> {
    stream.write_all(line.as_bytes()).await?;
    if peer == Peer::Master {
        stream.shutdown().await?;
    }
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER + 1).read_to_end(&mut answer).await?;
    match answer.len() as u64 {
        0 => Err(ExchangeError::Empty),
        1..=LONGEST_ANSWER => Ok(answer),
        _ => Err(ExchangeError::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    fn address(text: &str) -> SocketAddress {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_as_people_write_them() {
        for (text, printed) in [
            ("/run/haproxy/admin.sock", "/run/haproxy/admin.sock"),
            ("unix@/run/haproxy/admin.sock", "/run/haproxy/admin.sock"),
            ("./admin.sock", "unix@./admin.sock"),
            ("unix@admin.sock", "unix@admin.sock"),
            ("/odd:9999/a@b.sock", "/odd:9999/a@b.sock"),
            ("abns@haproxy", "abns@haproxy"),
            ("ipv4@127.0.0.1:9999", "127.0.0.1:9999"),
            ("lb.example.org:9999", "lb.example.org:9999"),
            ("[::1]:9999", "[::1]:9999"),
            ("ipv6@::1:9999", "[::1]:9999"),
            ("*:9999", "127.0.0.1:9999"),
            (":9999", "127.0.0.1:9999"),
        ] {
            assert_eq!(address(text).to_string(), printed);
            assert_eq!(address(printed), address(text), "{printed}");
        }
    }

    #[test]
    fn what_is_no_address_says_so() {
        for text in
            ["", "admin.sock", "unix@", "abns@", "lb:0", "lb:99999", "lb:x", "ipv4@lb", "fd@3", "a b:1"]
        {
            assert_eq!(text.parse::<SocketAddress>(), Err(NotASocketAddress(text.to_owned())));
        }
        for text in ["admin:hunter2@10.0.0.1:9999", "tcp://admin:hunter2@10.0.0.1:9999"] {
            let refused = text.parse::<SocketAddress>().unwrap_err().to_string();
            assert!(refused.contains("admin:********@10.0.0.1:9999"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_line_is_sent_and_everything_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 10];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(b"one\n").await.unwrap();
            stream.write_all(b"two\n\n").await.unwrap();
            asked
        });
        let answer = exchange(&SocketAddress::Unix(path), None, "show info\n", DEADLINE).await.unwrap();
        assert_eq!(answer, b"one\ntwo\n\n");
        assert_eq!(&server.await.unwrap(), b"show info\n");
    }

    #[tokio::test]
    async fn who_never_answers_is_left_at_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let limit = Duration::from_millis(100);
        let error = exchange(&SocketAddress::Unix(path), None, "show info\n", limit).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no answer within 0.1 s; every connection that `stats maxconn` allows may be in use"
        );
    }

    #[tokio::test]
    async fn a_change_keeps_its_connection_until_it_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let address = SocketAddress::Unix(path);
        let asking =
            tokio::spawn(async move { exchange_change(&address, None, "set x\n", CHANGE_DEADLINE).await });
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 6]).await.unwrap();
        // From here on the clock runs only while everybody waits for it.
        tokio::time::pause();
        tokio::time::advance(DEADLINE * 5).await;
        assert!(!asking.is_finished());
        stream.write_all(b"\n").await.unwrap();
        drop(stream);
        assert_eq!(asking.await.unwrap().unwrap(), b"\n");
    }

    #[tokio::test]
    async fn a_change_that_haproxy_closed_cannot_come_later_and_one_that_was_given_up_can() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let address = SocketAddress::Unix(path);
        let closing = async { drop(listener.accept().await.unwrap()) };
        let (closed, ()) = tokio::join!(exchange_change(&address, None, "set x\n", CHANGE_DEADLINE), closing);
        assert!(matches!(closed, Err(ExchangeError::Empty | ExchangeError::System(_))), "{closed:?}");

        let late = exchange_change(&address, None, "set x\n", Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(late, ExchangeError::Unanswered(_)), "{late:?}");
        let late = late.to_string();
        assert!(
            late.starts_with("no answer within 0.1 s") || late.starts_with("no answer within 0.0 s"),
            "{late}"
        );
    }

    #[tokio::test]
    async fn a_change_that_is_given_up_is_reset_and_so_is_one_whose_connection_breaks() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = SocketAddress::Tcp { host: "127.0.0.1".to_owned(), port };
        let (late, accepted) = tokio::join!(
            exchange_change(&address, None, "set x\n", Duration::from_millis(50)),
            listener.accept()
        );
        assert!(matches!(late, Err(ExchangeError::Unanswered(_))), "{late:?}");
        let (mut stream, _) = accepted.unwrap();
        // What was delivered can be read; then there is a reset and no orderly end.
        let mut read = Vec::new();
        let ended = stream.read_to_end(&mut read).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

        let breaking = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 6]).await.unwrap();
            stream.set_zero_linger().unwrap();
        };
        let (broken, ()) =
            tokio::join!(exchange_change(&address, None, "set x\n", CHANGE_DEADLINE), breaking);
        assert!(matches!(broken, Err(ExchangeError::Unanswered(_))), "{broken:?}");
    }

    #[tokio::test]
    async fn a_socket_that_appears_a_moment_later_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let address = SocketAddress::Unix(path.clone());
        let asking = tokio::spawn(async move { exchange(&address, None, "show info\n", DEADLINE).await });
        tokio::task::yield_now().await;
        let listener = UnixListener::bind(&path).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"here\n\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(asking.await.unwrap().unwrap(), b"here\n\n");
    }

    #[tokio::test]
    async fn nobody_there_and_nothing_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let nobody =
            exchange(&SocketAddress::Unix(path.clone()), None, "show info\n", DEADLINE).await.unwrap_err();
        assert_eq!(nobody.to_string(), "No such file or directory (os error 2)");

        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 10]).await.unwrap();
        });
        let silent = exchange(&SocketAddress::Unix(path), None, "show info\n", DEADLINE).await.unwrap_err();
        assert_eq!(silent.to_string(), "the connection was closed without an answer");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn the_abstract_namespace_works() {
        let name = format!("drainswap-test-{}", std::process::id());
        let listener = UnixListener::bind(abstract_path(&name)).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 10]).await.unwrap();
            stream.write_all(b"\n").await.unwrap();
        });
        assert_eq!(
            exchange(&SocketAddress::Abstract(name), None, "show info\n", DEADLINE).await.unwrap(),
            b"\n"
        );
        server.await.unwrap();
    }
}
