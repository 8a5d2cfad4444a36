//! The transport between the client and an engine, with a limit on the length of an answer.
//!
//! The client collects a whole answer before it reads it. An engine whose answer never ends, or another program that
//! listens at its address, would use up all memory. Every call has its own connection, so the bytes that a connection
//! delivers are the answer to one call.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bollard::errors::Error;
use bollard::{BollardRequest, ClientVersion, Docker};
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;
use tower_service::Service;

use super::raw::{Exchange, Raw};

/// The maximum number of bytes in an answer. An answer about a thousand containers has less than 10 MiB.
pub(super) const LONGEST_ANSWER: usize = 64 << 20;

/// Returns a client for the engine at this address. `limit` is the client's own time limit in seconds.
pub(super) fn connect(
    way: &Transport,
    address: &str,
    limit: u64,
    version: &ClientVersion,
) -> Result<(Docker, Raw), Error> {
    let client = |bound| {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(0);
        builder.build(Connector { way: way.clone(), bound })
    };
    let (answers, streams) = (client(Bound::Answer), client(Bound::Line));
    let exchange: Exchange = Arc::new(move |request: BollardRequest| {
        // A pull reports its progress for as long as it takes, one line at a time.
        let is_pull = request.uri().path().ends_with("/images/create");
        let answer = if is_pull { streams.request(request) } else { answers.request(request) };
        Box::pin(async move { answer.await.map_err(Error::from) })
    });
    let raw = Raw { exchange: Arc::clone(&exchange), address: address.to_owned() };
    let transport = move |request| exchange(request);
    Ok((Docker::connect_with_custom_transport(transport, Some(address), limit, version)?, raw))
}

/// The way to reach an engine.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    /// Through this socket, regardless of the address.
    Unix(PathBuf),
    /// Over TCP, at the address.
    Tcp(HttpConnector),
    /// Over TCP with TLS, at the address.
    Tls(HttpsConnector<HttpConnector>),
}

/// The unit that [`LONGEST_ANSWER`] limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// The whole answer.
    Answer,
    /// Each line.
    Line,
}

/// A connector whose connections deliver a limited number of bytes.
#[derive(Clone, Debug)]
struct Connector {
    way: Transport,
    bound: Bound,
}

/// An open connection. Its bytes are counted as they are read, inside TLS.
type Stream = Either<UnixStream, Either<TcpStream, TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>>;

type Opened<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Bounded<Stream>>;
    type Error = io::Error;
    type Future = Opened<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let bound = self.bound;
        let way = self.way.clone();
        Box::pin(async move {
            let stream = match way {
                Transport::Unix(path) => Either::Left(UnixStream::connect(path).await?),
                Transport::Tcp(mut connector) => {
                    let opened = connector.call(address).await.map_err(io::Error::other)?;
                    Either::Right(Either::Left(opened.into_inner()))
                }
                Transport::Tls(mut connector) => {
                    let opened = connector.call(address).await.map_err(io::Error::other)?;
                    Either::Right(Either::Right(TokioIo::new(opened)))
                }
            };
            Ok(TokioIo::new(Bounded { stream, bound, left: LONGEST_ANSWER }))
        })
    }
}

/// A connection that fails once it has delivered too many bytes.
#[derive(Debug)]
struct Bounded<S> {
    stream: S,
    bound: Bound,
    /// The number of bytes that may still arrive.
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let mut new = &buffer.filled()[before..];
        if self.bound == Bound::Line
            && let Some(end) = memchr::memrchr(b'\n', new)
        {
            self.left = LONGEST_ANSWER;
            new = &new[end + 1..];
        }
        let Some(left) = self.left.checked_sub(new.len()) else {
            buffer.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        };
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Connection for Bounded<S> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_delivers_a_limited_number_of_bytes() {
        for (bound, text, is_too_much) in [
            (Bound::Answer, "12345", false),
            (Bound::Answer, "123\n56", true),
            (Bound::Line, "123\n56\n789", false),
            (Bound::Line, "123456", true),
        ] {
            let mut bounded = Bounded { stream: text.as_bytes(), bound, left: 5 };
            let read = bounded.read_to_end(&mut Vec::new()).await;
            let kind = read.err().map(|error| error.kind());
            assert_eq!(kind, is_too_much.then_some(io::ErrorKind::FileTooLarge), "{bound:?} {text:?}");
        }
    }
}
