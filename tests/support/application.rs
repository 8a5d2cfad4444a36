//! An application in the test's own process, for tests of HAProxy that need no container.

use std::future::pending;
use std::net::SocketAddrV4;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A running application. It tells its name in every answer, and holds `/stream` open until the client leaves.
pub struct Application(JoinHandle<()>);

impl Application {
    pub async fn start(name: &'static str, address: SocketAddrV4) -> Self {
        Self::start_slow(name, address, Duration::ZERO).await
    }

    /// The same, and every answer takes so long.
    pub async fn start_slow(name: &'static str, address: SocketAddrV4, takes: Duration) -> Self {
        let listener = TcpListener::bind(address).await.expect("listen on a reserved port");
        Self(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(name, stream, takes));
            }
        }))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(name: &'static str, stream: TcpStream, takes: Duration) {
    let mut stream = BufReader::new(stream);
    while let Some(path) = request(&mut stream).await {
        // The future is never ready, so that the whole time passes.
        let _late = timeout(takes, pending::<()>()).await;
        let who = format!("HTTP/1.1 200 OK\r\nX-Server: {name}\r\nX-Version: v1\r\n");
        if path.starts_with("/stream") {
            let begun = stream.write_all(format!("{who}Connection: close\r\n\r\nbegun\n").as_bytes()).await;
            if begun.is_ok() {
                let _left = go_on(&mut stream).await;
            }
            return;
        }
        if stream.write_all(format!("{who}Content-Length: 2\r\n\r\nok").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Sends a byte now and then until the client has left: HAProxy notices that by what it cannot pass on.
async fn go_on(stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let mut nothing = [0];
    loop {
        tokio::select! {
            // The client says nothing more, so this is its end.
            left = stream.read(&mut nothing) => return left.map(drop),
            _ = every.tick() => {}
        }
        stream.write_all(b".").await?;
    }
}

/// The path of the next request, read to the end of its head.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut path = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line.trim_end().is_empty() {
            return path;
        }
        path = path.or_else(|| line.split(' ').nth(1).map(str::to_owned));
    }
}
