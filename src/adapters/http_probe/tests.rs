use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// Answers one connection, and returns the head of the request.
async fn answering(answer: &str) -> (SocketAddr, JoinHandle<String>) {
    let answer = answer.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while stream.read_line(&mut head).await.unwrap() > 2 {}
        stream.write_all(answer.as_bytes()).await.unwrap();
        head
    });
    (address, seen)
}

fn http(expect: Vec<Expect>) -> Question {
    let headers =
        vec![("Host".to_owned(), "shop.example.org".to_owned()), ("X-Check".to_owned(), "1".to_owned())];
    Question::Http { method: "GET".into(), uri: "/health?deep=1".into(), headers, body: None, expect }
}

fn body_with(text: &str) -> Expect {
    Expect { negated: false, matches: Match::Text(text.to_owned()) }
}

async fn probe(address: SocketAddr, question: Question) -> Answer {
    let probe = Probe { address, tls: false, question, timeout: Duration::from_secs(5) };
    HttpProber::new().unwrap().probe(&probe).await
}

fn ready(detail: &str) -> Answer {
    Answer::Ready(detail.to_owned())
}

fn not_ready(detail: &str) -> Answer {
    Answer::NotReady(detail.to_owned())
}

#[tokio::test]
async fn the_request_is_the_check_s() {
    let (address, seen) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(probe(address, http(vec![])).await, ready("GET /health?deep=1 → 200"));
    let head = seen.await.unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /health?deep=1 http/1.1\r\n"), "{head}");
    for field in ["host: shop.example.org\r\n", "x-check: 1\r\n", "connection: close\r\n"] {
        assert_eq!(head.matches(field).count(), 1, "{field} in {head}");
    }
    assert_eq!(head.matches("host:").count(), 1, "{head}");
}

#[tokio::test]
async fn a_failing_answer_says_why() {
    let (address, _) = answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let expected = not_ready("GET /health?deep=1 → 503 Service Unavailable (expected 2xx or 3xx)");
    assert_eq!(probe(address, http(vec![])).await, expected);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (address, _) = answering("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n").await;
    assert_eq!(probe(address, Question::AnyHttp).await, ready("GET / → 302"));
}

#[tokio::test]
async fn a_body_is_read_where_a_rule_looks_at_it() {
    let (address, _) = answering("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall fine").await;
    assert_eq!(probe(address, http(vec![body_with("fine")])).await, ready("GET /health?deep=1 → 200"));
    // Cut short: eight bytes are promised, three arrive.
    let (address, _) = answering("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall").await;
    let answer = probe(address, http(vec![body_with("fine")])).await;
    assert!(answer.detail().starts_with("GET /health?deep=1 → 200 OK, then "), "{answer:?}");
    let (address, _) = answering("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall").await;
    assert!(probe(address, http(vec![])).await.is_ready());
}

#[tokio::test]
async fn an_endless_body_is_read_up_to_the_limit() {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\nfine";
    let (address, _) = answering(&format!("{start}{}", "x".repeat(BODY_SEEN))).await;
    assert!(probe(address, http(vec![body_with("fine")])).await.is_ready());
}

#[tokio::test]
async fn a_server_without_tls_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    });
    let probe = Probe { address, tls: true, question: Question::AnyHttp, timeout: Duration::from_secs(5) };
    let answer = HttpProber::new().unwrap().probe(&probe).await;
    assert!(answer.detail().starts_with("no TLS: "), "{answer:?}");
    plain.await.unwrap();
}

#[tokio::test]
async fn a_missing_answer_is_explained() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let question = http(vec![]);
    let silent =
        Probe { address, tls: false, question: question.clone(), timeout: Duration::from_millis(200) };
    let late = HttpProber::new().unwrap().probe(&silent).await;
    assert_eq!(late, not_ready("no answer within 0.2 s"));
    drop(listener);
    assert_eq!(probe(address, question).await, not_ready("connection refused"));
    assert_eq!(probe(address, Question::Tcp).await, not_ready("connection refused"));
}

#[tokio::test]
async fn a_closed_connection_is_not_an_answer() {
    let (address, _) = answering("").await;
    assert_eq!(probe(address, Question::AnyHttp).await, not_ready("closed without an answer"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closing = tokio::spawn(async move {
        // Closed before the request is read, and therefore reset.
        for _ in 0..2 {
            drop(listener.accept().await.unwrap());
        }
    });
    assert_eq!(probe(address, Question::AnyHttp).await, not_ready("closed without an answer"));
    assert_eq!(probe(address, Question::Tcp).await, not_ready("connected, and closed at once"));
    closing.await.unwrap();
}

#[tokio::test]
async fn a_reply_without_http_is_not_an_answer() {
    let (address, _) = answering("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    assert!(!probe(address, Question::AnyHttp).await.is_ready());
}

#[tokio::test]
async fn an_open_connection_proves_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(probe(address, Question::Tcp).await, ready("connected, and the connection stays open"));
    let greeting = tokio::spawn(async move {
        // The first connection is the one above.
        listener.accept().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 smtp\r\n").await.unwrap();
        stream
    });
    assert_eq!(probe(address, Question::Tcp).await, ready("connected, and the server spoke"));
    greeting.await.unwrap();
}

#[tokio::test]
async fn an_impossible_request_is_reported() {
    let address = "127.0.0.1:1".parse().unwrap();
    let question = Question::Http {
        method: "OPTIONS".into(),
        uri: "*".into(),
        headers: vec![],
        body: None,
        expect: vec![],
    };
    let expected = not_ready("cannot send OPTIONS *: its URI does not begin with a slash");
    assert_eq!(probe(address, question).await, expected);
}
