//! The complete answers of an engine. The client's types silently drop fields that they do not have, and an engine
//! may be newer than they are.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bollard::errors::Error;
use bollard::{BollardRequest, body_full};
use http::{Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::recreate::ApiVersion;

/// A function that sends a request and returns the head of its answer.
pub(super) type Exchange = Arc<
    dyn Fn(BollardRequest) -> Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>
        + Send
        + Sync,
>;

/// A transport to an engine that returns complete answers.
pub(super) struct Raw {
    pub exchange: Exchange,
    /// `http://HOST:PORT`, without a path.
    pub address: String,
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Raw {
    /// Sends a query with this version of the API.
    pub async fn get(&self, api: ApiVersion, path: &str) -> Result<Value, Error> {
        Box::pin(self.call(Method::GET, api, path, Vec::new())).await
    }

    /// Sends a change.
    pub async fn post(&self, api: ApiVersion, path: &str, body: &Value) -> Result<Value, Error> {
        Box::pin(self.call(Method::POST, api, path, serde_json::to_vec(body)?)).await
    }

    async fn call(
        &self,
        method: Method,
        (major, minor): ApiVersion,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Value, Error> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}/v{major}.{minor}{path}", self.address))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body_full(body.into()))?;
        let answer = (self.exchange)(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() { Ok(serde_json::from_slice(&body)?) } else { Err(refusal(status, &body)) }
    }
}

/// Returns the text of an engine's `{"message": "…"}`, or else the whole body, as an error.
fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let message = serde_json::from_slice::<Value>(body).ok();
    let message = message.as_ref().and_then(|it| it.get("message")?.as_str()).map(str::to_owned);
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    Error::DockerResponseServerError { status_code: status.as_u16(), message }
}
