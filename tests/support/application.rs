//! An application in the process of the test, for tests of HAProxy that need no container.

use std::future::pending;
use std::net::SocketAddrV4;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A running application. Every response contains its name. A `/stream` stays open until the client leaves.
pub struct Application(JoinHandle<()>);

impl Application {
    pub async fn start(name: &'static str, address: SocketAddrV4) -> Self {
        Self::start_slow(name, address, Duration::ZERO).await
    }

    /// Starts an application that delays every response.
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
        let head = format!("HTTP/1.1 200 OK\r\nX-Server: {name}\r\nX-Version: v1\r\n");
        if path.starts_with("/stream") {
            let begun = stream.write_all(format!("{head}Connection: close\r\n\r\nbegun\n").as_bytes()).await;
            if begun.is_ok() {
                let _left = go_on(&mut stream).await;
            }
            return;
        }
        if stream.write_all(format!("{head}Content-Length: 2\r\n\r\nok").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Sends a byte every 20 ms until the client leaves, which HAProxy only notices when it cannot forward data.
async fn go_on(stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let mut nothing = [0];
    loop {
        tokio::select! {
            // The client sends nothing more, so a successful read means that it has left.
            left = stream.read(&mut nothing) => return left.map(drop),
            _ = every.tick() => {}
        }
        stream.write_all(b".").await?;
    }
}

/// Reads the head of the next request and returns its path.
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
