//! A request to a runtime API: one line per connection, so that every line reaches the process that listens now.
//!
//! A connection that stays open would keep talking to the old process after a reload.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::address::{SocketAddress, abstract_path};
use super::peer::{self, UntrustedPeer};

/// How long a question may take, from connecting to the end of the answer. Ten thousand servers take about 60 ms. The
/// kernel accepts a connection beyond `stats maxconn`, but HAProxy never answers it.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How long a command that changes something keeps its connection. HAProxy executes a line that the kernel has
/// delivered even if the connection was closed first (measured on 2.2 to 3.2), so closing early proves nothing.
pub const CHANGE_DEADLINE: Duration = Duration::from_secs(30);

/// How long connecting is retried: while HAProxy restarts, no process listens for a moment.
const RETRY_FOR: Duration = Duration::from_millis(500);
const RETRY_EVERY: Duration = Duration::from_millis(25);

/// The longest answer, in bytes: ten thousand servers need about 3 MB.
const LONGEST_ANSWER: u64 = 64 << 20;

/// The reasons why a line got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error(transparent)]
    System(#[from] io::Error),
    #[error(transparent)]
    UntrustedPeer(#[from] UntrustedPeer),
    #[error("HAProxy closed the connection without an answer")]
    Empty,
    #[error("the answer is longer than {} MiB", LONGEST_ANSWER >> 20)]
    TooLong,
    #[error("no answer within {:.1} s; every connection that `stats maxconn` allows may be in use", .limit.as_secs_f64())]
    Late { limit: Duration },
    /// The connection of a change broke, or drainswap closed it at the deadline: HAProxy may still execute the line.
    #[error(transparent)]
    Unanswered(Box<ExchangeError>),
}

impl ExchangeError {
    /// Returns the underlying error, whether or not the line may still take effect.
    #[must_use]
    pub fn reason(self) -> Self {
        if let Self::Unanswered(reason) = self { *reason } else { self }
    }
}

/// A runtime API to send lines to. Each line has its own connection.
#[derive(Clone, Debug)]
pub struct Endpoint {
    address: SocketAddress,
    peer: Peer,
    /// The user of the identified HAProxy process, who may listen there besides root and the caller.
    owner: Option<u32>,
}

/// The kind of process that listens.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Peer {
    /// Closes the connection after the line.
    Worker,
    /// Closes the connection only after the other side has.
    Master,
}

impl Endpoint {
    /// Returns the runtime API of a worker.
    #[must_use]
    pub fn worker(address: SocketAddress) -> Self {
        Self { address, peer: Peer::Worker, owner: None }
    }

    /// Returns the runtime API of the master process.
    #[must_use]
    pub fn master(address: SocketAddress) -> Self {
        Self { address, peer: Peer::Master, owner: None }
    }

    /// Also accepts this user as the owner of the listening process, because HAProxy is known to run as that user.
    #[must_use]
    pub fn owned_by(self, owner: Option<u32>) -> Self {
        Self { owner, ..self }
    }

    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> &SocketAddress {
        &self.address
    }

    /// Sends one line, which ends with `\n`, and returns the answer.
    ///
    /// `limit` is [`DEADLINE`] except in tests and for other hosts. Retries connecting for a moment, but never sends
    /// twice.
    pub async fn ask(&self, line: &str, limit: Duration) -> Result<Vec<u8>, ExchangeError> {
        tracing::debug!(address = %self.address, line, "asking HAProxy");
        let talk = async { self.connect().await?.converse(self.peer, line).await };
        timeout(limit, talk).await.unwrap_or(Err(ExchangeError::Late { limit }))
    }

    /// Sends one line that changes something, and waits until HAProxy has answered or closed the connection, for at
    /// most `limit` ([`CHANGE_DEADLINE`] except in tests).
    ///
    /// # Errors
    /// [`ExchangeError::Unanswered`] if the line may still take effect; after any other error it cannot.
    pub async fn change(&self, line: &str, limit: Duration) -> Result<Vec<u8>, ExchangeError> {
        tracing::debug!(address = %self.address, line, "sending a change to HAProxy");
        let connected = timeout(DEADLINE, self.connect()).await;
        let mut stream = connected.unwrap_or(Err(ExchangeError::Late { limit: DEADLINE }))?;
        match timeout(limit, stream.converse(self.peer, line)).await {
            // A network may break a connection and still deliver its last bytes. On a Unix socket, HAProxy itself has
            // closed it.
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

    async fn connect(&self) -> Result<Stream, ExchangeError> {
        let stream = match &self.address {
            SocketAddress::Unix(path) => connect_with_retry(|| UnixStream::connect(path)).await?,
            SocketAddress::Abstract(name) => {
                let path = abstract_path(name);
                connect_with_retry(|| UnixStream::connect(&path)).await?
            }
            SocketAddress::Tcp { host, port } => {
                return Ok(Stream::Tcp(
                    connect_with_retry(|| TcpStream::connect((host.as_str(), *port))).await?,
                ));
            }
        };
        peer::admit(&stream, &self.address, self.owner)??;
        Ok(Stream::Unix(stream))
    }
}

/// A connection to a runtime API.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    async fn converse(&mut self, peer: Peer, line: &str) -> Result<Vec<u8>, ExchangeError> {
        match self {
            Self::Unix(stream) => converse(peer, stream, line).await,
            Self::Tcp(stream) => converse(peer, stream, line).await,
        }
    }

    /// Returns whether there is a network between the two ends.
    fn is_remote(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Closes the connection so that the kernel drops undelivered data. HAProxy still executes what was delivered.
    fn reset(self) {
        if let Self::Tcp(stream) = self
            && let Err(error) = stream.set_zero_linger()
        {
            tracing::debug!(%error, "the connection is closed without a reset");
        }
    }
}

async fn connect_with_retry<S, F>(connect: impl Fn() -> F) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let give_up = Instant::now() + RETRY_FOR;
    loop {
        match connect().await {
            // A full backlog is `WouldBlock` on a Unix socket.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::WouldBlock
                ) && Instant::now() < give_up =>
            {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a bounded retry while HAProxy re-executes itself"
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
    use std::path::PathBuf;

    use tempfile::TempDir;
    use tokio::net::UnixListener;

    use super::*;

    fn at(path: PathBuf) -> Endpoint {
        Endpoint::worker(SocketAddress::Unix(path))
    }

    /// Creates a listening socket in a temporary directory.
    fn listening() -> (TempDir, UnixListener, Endpoint) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        (directory, UnixListener::bind(&path).unwrap(), at(path))
    }

    #[tokio::test]
    async fn a_line_is_sent_and_everything_is_read() {
        let (_directory, listener, endpoint) = listening();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 10];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(b"one\n").await.unwrap();
            stream.write_all(b"two\n\n").await.unwrap();
            asked
        });
        let answer = endpoint.ask("show info\n", DEADLINE).await.unwrap();
        assert_eq!(answer, b"one\ntwo\n\n");
        assert_eq!(&server.await.unwrap(), b"show info\n");
    }

    #[tokio::test]
    async fn a_question_without_an_answer_ends_at_the_deadline() {
        let (_directory, _listener, endpoint) = listening();
        let limit = Duration::from_millis(100);
        let error = endpoint.ask("show info\n", limit).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no answer within 0.1 s; every connection that `stats maxconn` allows may be in use"
        );
    }

    #[tokio::test]
    async fn a_change_keeps_its_connection_until_it_is_answered() {
        let (_directory, listener, endpoint) = listening();
        let asking = tokio::spawn(async move { endpoint.change("set x\n", CHANGE_DEADLINE).await });
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 6]).await.unwrap();
        // From here on the clock advances only while every task waits for it.
        tokio::time::pause();
        tokio::time::advance(DEADLINE * 5).await;
        assert!(!asking.is_finished());
        stream.write_all(b"\n").await.unwrap();
        drop(stream);
        assert_eq!(asking.await.unwrap().unwrap(), b"\n");
    }

    #[tokio::test]
    async fn a_change_may_come_late_after_the_deadline_but_not_after_haproxy_closed_it() {
        let (_directory, listener, endpoint) = listening();
        let closing = async { drop(listener.accept().await.unwrap()) };
        let (closed, ()) = tokio::join!(endpoint.change("set x\n", CHANGE_DEADLINE), closing);
        assert!(matches!(closed, Err(ExchangeError::Empty | ExchangeError::System(_))), "{closed:?}");

        let late = endpoint.change("set x\n", Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(late, ExchangeError::Unanswered(_)), "{late:?}");
        let late = late.to_string();
        assert!(
            late.starts_with("no answer within 0.1 s") || late.starts_with("no answer within 0.0 s"),
            "{late}"
        );
    }

    #[tokio::test]
    async fn a_change_without_an_answer_is_reset_and_may_come_late() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint::worker(SocketAddress::Tcp { host: "127.0.0.1".to_owned(), port });
        let (late, accepted) =
            tokio::join!(endpoint.change("set x\n", Duration::from_millis(50)), listener.accept());
        assert!(matches!(late, Err(ExchangeError::Unanswered(_))), "{late:?}");
        let (mut stream, _) = accepted.unwrap();
        // The delivered data can be read; then the connection is reset instead of closed.
        let mut read = Vec::new();
        let ended = stream.read_to_end(&mut read).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

        let breaking = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 6]).await.unwrap();
            stream.set_zero_linger().unwrap();
        };
        let (broken, ()) = tokio::join!(endpoint.change("set x\n", CHANGE_DEADLINE), breaking);
        assert!(matches!(broken, Err(ExchangeError::Unanswered(_))), "{broken:?}");
    }

    #[tokio::test]
    async fn a_socket_that_appears_a_moment_later_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let endpoint = at(path.clone());
        let asking = tokio::spawn(async move { endpoint.ask("show info\n", DEADLINE).await });
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
    async fn a_missing_socket_and_an_empty_answer_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let missing = at(path.clone()).ask("show info\n", DEADLINE).await.unwrap_err();
        assert_eq!(missing.to_string(), "No such file or directory (os error 2)");

        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 10]).await.unwrap();
        });
        let silent = at(path).ask("show info\n", DEADLINE).await.unwrap_err();
        assert_eq!(silent.to_string(), "HAProxy closed the connection without an answer");
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
            Endpoint::worker(SocketAddress::Abstract(name)).ask("show info\n", DEADLINE).await.unwrap(),
            b"\n"
        );
        server.await.unwrap();
    }
}
