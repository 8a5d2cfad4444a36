//! Probes whether a server answers requests, without going through `HAProxy` or waiting for its checks.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Response, Url};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::model::probe::{Expect, Match, Probe, Question};
use crate::model::sanitize;
use crate::observation::Answer;
use crate::ports::Prober;

/// The maximum number of bytes of a body that an `http-check expect` rule sees. `HAProxy` itself looks at what fits
/// into one buffer (`tune.bufsize`, 16 KiB).
const BODY_SEEN: usize = 64 << 10;

/// How long an accepted connection must stay open to prove anything. docker-proxy, which accepts for an application
/// that does not listen, closes within a few milliseconds.
const STAYS_OPEN: Duration = Duration::from_millis(100);

/// A prober that uses HTTP and TCP. Every probe has its own connection.
#[derive(Clone, Debug)]
pub struct HttpProber {
    client: Client,
}

/// An error that prevents setting up a prober.
#[derive(Debug, thiserror::Error)]
pub enum NoProber {
    #[error(
        "cannot set up TLS for probes: {0}. Report this to the project with the output of `drainswap --version`"
    )]
    Tls(#[from] rustls::Error),
    #[error(
        "cannot set up the HTTP client for probes: {0}. Report this to the project with the output of `drainswap --version`"
    )]
    Client(#[from] reqwest::Error),
}

impl HttpProber {
    /// Sets up a prober: HTTP/1.1, no redirects, no proxy, a new connection for each probe, any certificate accepted.
    pub fn new() -> Result<Self, NoProber> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { client })
    }

    async fn ask(&self, probe: &Probe) -> Answer {
        match &probe.question {
            Question::Tcp => tcp(probe.address).await,
            Question::AnyHttp => self.http(probe, "GET", "/", &[], None).await,
            Question::Http { method, uri, headers, body, expect: _ } => {
                self.http(probe, method, uri, headers, body.as_deref()).await
            }
        }
    }

    async fn http(
        &self,
        probe: &Probe,
        method: &str,
        uri: &str,
        headers: &[(String, String)],
        body: Option<&str>,
    ) -> Answer {
        let request = match request(probe, method, uri, headers, body) {
            Ok(request) => request,
            Err(reason) => return Answer::NotReady(format!("cannot send {method} {uri}: {reason}")),
        };
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => return Answer::NotReady(in_words(&error)),
        };
        let status = response.status();
        let body = match seen_body(&probe.question, &mut response).await {
            Ok(body) => body,
            Err(error) => {
                return Answer::NotReady(format!("{method} {uri} → {status}, then {}", in_words(&error)));
            }
        };
        match probe.question.objection(status.as_u16(), &body) {
            None => Answer::Ready(format!("{method} {uri} → {}", status.as_u16())),
            Some(objection) => Answer::NotReady(format!("{method} {uri} → {status} ({objection})")),
        }
    }
}

impl Prober for HttpProber {
    async fn probe(&self, probe: &Probe) -> Answer {
        let late = || Answer::NotReady(format!("no answer within {} s", probe.timeout.as_secs_f64()));
        // A check may contain any bytes, and a certificate may contain any name.
        match timeout(probe.timeout, self.ask(probe)).await.unwrap_or_else(|_| late()) {
            Answer::Ready(detail) => Answer::Ready(sanitize::line(&detail)),
            Answer::NotReady(detail) => Answer::NotReady(sanitize::line(&detail)),
        }
    }
}

fn request(
    probe: &Probe,
    method: &str,
    uri: &str,
    headers: &[(String, String)],
    body: Option<&str>,
) -> Result<Request, Box<dyn Error>> {
    let scheme = if probe.tls { "https" } else { "http" };
    if !uri.starts_with('/') {
        return Err("its URI does not begin with a slash".into());
    }
    let url = Url::parse(&format!("{scheme}://{}{uri}", probe.address))?;
    let mut request = Request::new(Method::from_bytes(method.as_bytes())?, url);
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        fields.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    *request.headers_mut() = fields;
    *request.body_mut() = body.map(|body| body.to_owned().into());
    Ok(request)
}

/// Returns the beginning of the body if a rule looks at it. Otherwise it does not wait for the body, which may be an
/// endless stream.
async fn seen_body(question: &Question, response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let looks = |rule: &Expect| matches!(rule.matches, Match::Text(_) | Match::Pattern(_));
    let mut body = Vec::new();
    if matches!(question, Question::Http { expect, .. } if expect.iter().any(looks)) {
        while body.len() < BODY_SEEN {
            let Some(chunk) = response.chunk().await? else { break };
            body.extend_from_slice(&chunk);
        }
        body.truncate(BODY_SEEN);
    }
    Ok(body)
}

/// Probes a TCP connection. Even with `tls`, this proves only the connection: the server waits for the client to
/// begin.
async fn tcp(address: SocketAddr) -> Answer {
    let mut stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return Answer::NotReady(in_words(&error)),
    };
    match timeout(STAYS_OPEN, stream.read(&mut [0])).await {
        Err(_) => Answer::Ready("connected, and the connection stays open".to_owned()),
        Ok(Ok(0)) => Answer::NotReady("connected, and closed at once".to_owned()),
        Ok(Ok(_)) => Answer::Ready("connected, and the server spoke".to_owned()),
        Ok(Err(error)) => Answer::NotReady(format!("connected, and {}", in_words(&error))),
    }
}

/// Returns the innermost cause of an error, without the layers around it, for display.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    loop {
        if let Some(words) = cause.downcast_ref().and_then(system_in_words) {
            return words;
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => break,
        }
    }
    match cause.to_string() {
        // hyper's message; the error has no type that could be matched.
        text if text == "connection closed before message completed" => CLOSED.to_owned(),
        text => text,
    }
}

const CLOSED: &str = "closed without an answer";

fn system_in_words(error: &io::Error) -> Option<String> {
    use io::ErrorKind as Kind;

    // reqwest wraps one error in another, and the inner one is then not a `source`.
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return system_in_words(inner);
    }
    let kind = error.kind();
    let closed = [Kind::ConnectionReset, Kind::ConnectionAborted, Kind::BrokenPipe, Kind::UnexpectedEof];
    if error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some() {
        Some(format!("no TLS: {error}"))
    } else if kind == Kind::ConnectionRefused {
        Some("connection refused".to_owned())
    } else {
        closed.contains(&kind).then(|| CLOSED.to_owned())
    }
}

/// A verifier that accepts every certificate, like a check with `verify none`: a probe tests whether the server
/// answers, not its identity. The handshake's own signatures are still verified.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
