//! A server that issues tokens for a password, for a registry that only accepts tokens.

use super::registry::{PASSWORD, USER};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The issuer and the audience of the tokens, which the registry checks.
const ISSUER: &str = "stage";
const SERVICE: &str = "mobile-registry";

/// A running token server, which stops on drop.
pub struct TokenServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    key: EcdsaKeyPair,
    /// The certificate in Base64, with which the registry identifies the key.
    certificate: String,
    asked: AtomicUsize,
    good: AtomicUsize,
}

impl TokenServer {
    /// Starts the server. Its tokens are expired until a call of [`Self::gives`].
    pub async fn start(dir: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::default().self_signed(&key).expect("a certificate");
        fs::write(dir.join("tokens.pem"), certificate.pem()).expect("write the certificate");
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, &key.serialize_der(), &SystemRandom::new());
        let shared = Arc::new(Shared {
            key: key.expect("a key"),
            certificate: BASE64_STANDARD.encode(certificate.der()),
            asked: AtomicUsize::new(0),
            good: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client may disconnect early.
                let _gone = serving.answer(client).await;
            }
        });
        Self { address, shared, task }
    }

    /// Returns the registry configuration that requires tokens from this server.
    pub fn registry_auth(&self, dir: &Path) -> String {
        format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
             rootcertbundle: {}\n",
            self.address,
            dir.join("tokens.pem").display()
        )
    }

    /// Sets the number of valid tokens to issue from now on; all later tokens are expired.
    pub fn gives(&self, good: usize) {
        self.shared.good.store(good, Ordering::SeqCst);
    }

    /// Returns the number of issued tokens.
    pub fn given(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn answer(&self, client: TcpStream) -> std::io::Result<()> {
        let mut client = BufReader::new(client);
        let login = format!("authorization: basic {}", BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let mut knows = false;
        let mut line = String::new();
        while client.read_line(&mut line).await? > 2 {
            knows |= line.trim_end().eq_ignore_ascii_case(&login);
            line.clear();
        }
        let (status, body) = if knows {
            ("200 OK", json!({ "token": self.token(), "expires_in": 60 }))
        } else {
            (
                "401 Unauthorized",
                json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "login required" }] }),
            )
        };
        let body = body.to_string();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        client.write_all((head + &body).as_bytes()).await
    }

    #[expect(clippy::disallowed_methods, reason = "the registry looks at the real clock too")]
    fn token(&self) -> String {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let left = self.good.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |good| good.checked_sub(1));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        // The registry tolerates a clock difference of one minute.
        let (from, until) = if left.is_ok() { (now, now + 300) } else { (now - 900, now - 600) };
        let head = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.certificate] });
        let claims = json!({
            "iss": ISSUER, "sub": USER, "aud": SERVICE, "iat": from, "nbf": from, "exp": until,
            "jti": from.to_string(),
            "access": [{ "type": "repository", "name": "mobile", "actions": ["pull"] }],
        });
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let text = format!("{}.{}", encode(&head), encode(&claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}
