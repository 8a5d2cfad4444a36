//! The bytes between the client and an engine: an answer has an end.
//!
//! The client gathers a whole answer before it reads it. An engine that never ends, or something else that listens at its
//! address, would take all memory. Every call has a connection of its own, so that what a connection has brought is the
//! answer to one call.

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

/// The most bytes of an answer. A thousand containers are described in less than 10 MiB.
pub(super) const LONGEST_ANSWER: usize = 64 << 20;

/// A client of the engine at this address. `limit` is the client's own, in seconds.
pub(super) fn connect(
    way: &Way,
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
        // A pull tells its progress for as long as it takes, a line at a time.
        let is_pull = request.uri().path().ends_with("/images/create");
        let answer = if is_pull { streams.request(request) } else { answers.request(request) };
        Box::pin(async move { answer.await.map_err(Error::from) })
    });
    let raw = Raw { exchange: Arc::clone(&exchange), address: address.to_owned() };
    let transport = move |request| exchange(request);
    Ok((Docker::connect_with_custom_transport(transport, Some(address), limit, version)?, raw))
}

/// How an engine is reached.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// By this socket, whatever the address is.
    Unix(PathBuf),
    /// By TCP, at the address.
    Tcp(HttpConnector),
    /// The same with TLS.
    Tls(HttpsConnector<HttpConnector>),
}

/// What has [`LONGEST_ANSWER`] bytes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// All that comes.
    Answer,
    /// Each line.
    Line,
}

/// Opens connections that bring only so much.
#[derive(Clone, Debug)]
struct Connector {
    way: Way,
    bound: Bound,
}

/// An open connection. What it brings is counted as it is read, within TLS.
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
                Way::Unix(path) => Either::Left(UnixStream::connect(path).await?),
                Way::Tcp(mut connector) => {
                    let opened = connector.call(address).await.map_err(io::Error::other)?;
                    Either::Right(Either::Left(opened.into_inner()))
                }
                Way::Tls(mut connector) => {
                    let opened = connector.call(address).await.map_err(io::Error::other)?;
                    Either::Right(Either::Right(TokioIo::new(opened)))
                }
            };
            Ok(TokioIo::new(Bounded { stream, bound, left: LONGEST_ANSWER }))
        })
    }
}

/// A connection that fails when it has brought too much.
#[derive(Debug)]
struct Bounded<S> {
    stream: S,
    bound: Bound,
    /// How many bytes may still come.
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
    async fn a_connection_brings_only_so_much() {
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
