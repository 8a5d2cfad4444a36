//! A raw HTTP/1.1 client, which reports how a connection fails; HTTP libraries hide that.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A complete response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// The `X-Version` header, which identifies the image; missing in HAProxy's own responses.
    pub version: Option<String>,
    /// The `X-Server` header, which identifies the container; missing in HAProxy's own responses.
    pub server: Option<String>,
    pub body: Vec<u8>,
    /// Whether the connection can carry another request.
    reusable: bool,
}

/// The failure of a lost request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    Refused,
    ResetBeforeAnswer,
    EofBeforeAnswer,
    ResetInAnswer,
    EofInAnswer,
    Timeout,
    Malformed,
}

impl Loss {
    /// Returns whether the server closed before the first byte of the response, so that a client may retry.
    pub fn before_answer(self) -> bool {
        matches!(self, Self::ResetBeforeAnswer | Self::EofBeforeAnswer)
    }

    fn connecting(error: &Error) -> Self {
        if error.kind() == ErrorKind::ConnectionRefused { Self::Refused } else { Self::ResetBeforeAnswer }
    }

    fn in_answer(error: &Error) -> Self {
        if error.kind() == ErrorKind::UnexpectedEof { Self::EofInAnswer } else { Self::ResetInAnswer }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::ResetBeforeAnswer => "reset before the response",
            Self::EofBeforeAnswer => "closed before the response",
            Self::ResetInAnswer => "reset during the response",
            Self::EofInAnswer => "closed during the response",
            Self::Timeout => "timeout",
            Self::Malformed => "not HTTP",
        })
    }
}

/// Sends one request on a new connection.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, Loss> {
    Connection::open(address).await?.get(path).await
}

/// A kept-alive connection.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self, Loss> {
        let stream = TcpStream::connect(address).await.map_err(|error| Loss::connecting(&error))?;
        stream.set_nodelay(true).map_err(|error| Loss::connecting(&error))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Returns whether the connection is open and has no unread data, as far as that is visible without sending.
    pub fn is_open(&self) -> bool {
        let nothing = self.0.get_ref().try_read(&mut [0]);
        matches!(nothing, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends a request and reads the complete response.
    pub async fn get(&mut self, path: &str) -> Result<Answer, Loss> {
        self.begin(path).await?;
        self.read_answer().await
    }

    /// Sends a request and waits for the first bytes of the response.
    pub async fn begin(&mut self, path: &str) -> Result<(), Loss> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: stage\r\nAccept: */*\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.map_err(|_| Loss::ResetBeforeAnswer)?;
        match self.0.fill_buf().await {
            Ok([]) => Err(Loss::EofBeforeAnswer),
            Ok(_) => Ok(()),
            Err(_) => Err(Loss::ResetBeforeAnswer),
        }
    }

    /// Opens a websocket and checks that it echoes.
    pub async fn websocket(address: SocketAddr) -> Self {
        let mut connection = Self::open(address).await.expect("connect");
        let request = "GET /ws HTTP/1.1\r\nHost: stage\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        connection.0.write_all(request.as_bytes()).await.expect("ask for a websocket");
        let status = connection.read_line().await.expect("an answer");
        assert!(status.contains(" 101 "), "{status}");
        while !connection.read_line().await.expect("a header").is_empty() {}
        assert!(connection.echoes().await, "a new websocket");
        connection
    }

    /// Returns whether a websocket still echoes a message.
    pub async fn echoes(&mut self) -> bool {
        let mut back = [0; 4];
        self.0.write_all(b"ping").await.is_ok()
            && self.0.read_exact(&mut back).await.is_ok()
            && back == *b"ping"
    }

    /// Reads further data and returns whether the other side is still sending.
    pub async fn still_streams(&mut self) -> bool {
        self.0.fill_buf().await.is_ok_and(|bytes| !bytes.is_empty())
    }

    /// Reads the rest of a response and returns whether it was complete.
    pub async fn ends_whole(mut self) -> bool {
        self.read_answer().await.is_ok()
    }

    async fn read_answer(&mut self) -> Result<Answer, Loss> {
        let mut head = Head::parse(&self.read_line().await?)?;
        loop {
            let line = self.read_line().await?;
            if line.is_empty() {
                break;
            }
            head.header(&line)?;
        }
        let body = match head.length {
            Length::Known(length) => self.read_exactly(length).await?,
            Length::Chunked => self.read_chunks().await?,
            Length::UntilClose => self.read_until_close().await?,
        };
        let Head { status, version, server, length, close } = head;
        let reusable = !close && !matches!(length, Length::UntilClose);
        Ok(Answer { status, version, server, body, reusable })
    }

    async fn read_line(&mut self) -> Result<String, Loss> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(_) if line.ends_with('\n') => Ok(line.trim_end().to_owned()),
            Ok(_) => Err(Loss::EofInAnswer),
            Err(error) => Err(Loss::in_answer(&error)),
        }
    }

    async fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, Loss> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await.map_err(|error| Loss::in_answer(&error))?;
        Ok(bytes)
    }

    async fn read_chunks(&mut self) -> Result<Vec<u8>, Loss> {
        let mut body = Vec::new();
        loop {
            let size = self.read_line().await?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| Loss::Malformed)?;
            body.extend(self.read_exactly(size).await?);
            self.read_line().await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn read_until_close(&mut self) -> Result<Vec<u8>, Loss> {
        let mut body = Vec::new();
        self.0.read_to_end(&mut body).await.map_err(|error| Loss::in_answer(&error))?;
        Ok(body)
    }
}

impl Answer {
    /// Returns whether the connection can carry another request.
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Returns whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

enum Length {
    Known(usize),
    Chunked,
    UntilClose,
}

/// The status line and the relevant headers.
struct Head {
    status: u16,
    version: Option<String>,
    server: Option<String>,
    length: Length,
    close: bool,
}

impl Head {
    fn parse(status_line: &str) -> Result<Self, Loss> {
        let status =
            status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or(Loss::Malformed)?;
        Ok(Self { status, version: None, server: None, length: Length::UntilClose, close: false })
    }

    fn header(&mut self, line: &str) -> Result<(), Loss> {
        let (name, value) = line.split_once(':').ok_or(Loss::Malformed)?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => self.length = Length::Known(value.parse().map_err(|_| Loss::Malformed)?),
            "transfer-encoding" => self.length = Length::Chunked,
            "connection" => self.close = value.eq_ignore_ascii_case("close"),
            "x-version" => self.version = Some(value.to_owned()),
            "x-server" => self.server = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }
}
