//! A call to the engine: its deadline and its errors.

use std::error::Error as _;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use bollard::errors::Error;

use super::endpoint::Endpoint;
use super::transport::LONGEST_ANSWER;
use crate::model::sanitize;
use crate::ports::EngineError;

/// A failed call: the resulting error, and the status code if the engine answered with one.
#[derive(Debug)]
pub(super) struct CallFailure {
    /// The HTTP status of the engine's answer.
    pub status: Option<u16>,
    pub error: EngineError,
}

impl CallFailure {
    /// Returns whether the engine does not have what the call names.
    pub fn is_absent(&self) -> bool {
        self.status == Some(404)
    }

    /// Returns whether the call conflicts with the engine's state: running, being removed, name taken.
    pub fn is_conflict(&self) -> bool {
        self.status == Some(409)
    }
}

impl From<CallFailure> for EngineError {
    fn from(failure: CallFailure) -> Self {
        failure.error
    }
}

/// The purpose of a call, for its error messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallContext<'a> {
    /// The requested action: `create`, `start` …
    pub action: &'static str,
    /// The name of a container or an image.
    pub subject: &'a str,
}

impl CallContext<'_> {
    /// Returns the error for a refusal by the engine, or by drainswap itself.
    pub fn refused(self, reason: impl AsRef<str>) -> EngineError {
        let (subject, reason) = (sanitize::name(self.subject), sanitize::line(reason.as_ref()));
        EngineError::Refused { action: self.action, subject, reason }
    }

    /// Waits for a call, at most for `limit`.
    pub async fn within<T>(
        self,
        limit: Duration,
        endpoint: &Endpoint,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, CallFailure> {
        tracing::debug!(%endpoint, "asking the engine to {} {}", self.action, self.subject);
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failure(endpoint, &error)),
            Err(_) => Err(CallFailure {
                status: None,
                error: EngineError::TimedOut {
                    action: self.action,
                    subject: sanitize::name(self.subject),
                    limit,
                },
            }),
        }
    }

    /// Waits for a call that changes something. If the connection was open but brought no answer, the engine may
    /// still carry out the call.
    pub async fn change<T>(
        self,
        limit: Duration,
        endpoint: &Endpoint,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, CallFailure> {
        let mut was_sent = true;
        let call = Box::pin(async {
            let result = call.await;
            was_sent = !matches!(&result, Err(Error::HyperLegacyError { err }) if err.is_connect());
            result
        });
        let failure = match self.within(limit, endpoint, call).await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let (action, subject) = (self.action, sanitize::name(self.subject));
        let error = if let EngineError::TimedOut { limit, .. } = failure.error {
            EngineError::GivenUp { action, subject, limit }
        } else if let (EngineError::Unreachable { reason, .. }, true) = (&failure.error, was_sent) {
            EngineError::Unanswered { action, subject, reason: reason.clone() }
        } else {
            failure.error
        };
        Err(CallFailure { status: failure.status, error })
    }

    /// Converts an error of the client. The error's own text is used only if it cannot hold a secret: a JSON error
    /// may quote the value that it failed on.
    fn failure(self, endpoint: &Endpoint, error: &Error) -> CallFailure {
        let error = if let Error::DockerResponseServerError { status_code, message } = error {
            return CallFailure { status: Some(*status_code), error: self.refused(message) };
        } else if let Error::DockerStreamError { error: message } = error {
            self.refused(message)
        } else if let Error::JsonDataError { column, .. } = error {
            self.refused(format!("cannot parse its answer (column {column})"))
        } else if let Error::JsonSerdeError { .. } = error {
            self.refused("cannot parse its answer")
        } else if innermost(error).0 == Some(ErrorKind::FileTooLarge) {
            self.refused(format!("its answer is longer than {} MiB", LONGEST_ANSWER >> 20))
        } else {
            EngineError::Unreachable { endpoint: endpoint.to_string(), reason: unreachable(endpoint, error) }
        };
        CallFailure { status: None, error }
    }
}

/// Returns the reason why the engine does not answer, with what to do if that is known.
pub(super) fn unreachable(endpoint: &Endpoint, error: &Error) -> String {
    let (kind, innermost) = innermost(error);
    let innermost = sanitize::line(&innermost);
    match (endpoint, kind) {
        (Endpoint::Unix(path), Some(ErrorKind::PermissionDenied)) => denied(path),
        (Endpoint::Unix(_), Some(ErrorKind::NotFound)) => {
            "the socket does not exist, or its directory is not readable; is Docker installed and running here?"
                .to_owned()
        }
        (Endpoint::Unix(_), Some(ErrorKind::ConnectionRefused)) => {
            "the socket exists, but nothing listens on it; is Docker running?".to_owned()
        }
        (Endpoint::Ssh(_), Some(ErrorKind::ConnectionRefused | ErrorKind::NotFound)) => {
            "the ssh connection has ended".to_owned()
        }
        (Endpoint::Tcp { certificates, .. }, _) => about_tls(&innermost, certificates.as_deref()),
        _ => innermost,
    }
}

/// Returns the kind of the connection's error, if it is one, and the message of the innermost cause.
fn innermost(error: &Error) -> (Option<ErrorKind>, String) {
    let (mut kind, mut innermost) = (None, error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        kind = error.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
        innermost = error.to_string();
        cause = error.source();
    }
    (kind, innermost)
}

/// Returns the reason, with what to do if it is a problem with TLS.
fn about_tls(reason: &str, certificates: Option<&Path>) -> String {
    let Some(certificates) = certificates else {
        // The answer of an engine with TLS to a client without it.
        return if reason.contains("HTTPS server") {
            format!(
                "it requires TLS ({reason}): set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to its certificates"
            )
        } else {
            reason.to_owned()
        };
    };
    let certificates = certificates.display();
    if reason.contains("invalid peer certificate") {
        format!(
            "its certificate is not trusted ({reason}): was it issued by {certificates}/ca.pem, for this host?"
        )
    } else if ["fatal alert", "connection was not ready"].iter().any(|words| reason.contains(words)) {
        // The refusal comes after the handshake, while the client waits for it or is already writing.
        format!(
            "it rejects the client certificate {certificates}/cert.pem ({reason}): was that issued by its authority, and is it still valid?"
        )
    } else {
        reason.to_owned()
    }
}

/// Returns the reason why a socket cannot be opened, with the socket's owner.
fn denied(path: &Path) -> String {
    let Ok(socket) = std::fs::metadata(path) else {
        return "permission denied; run as root".to_owned();
    };
    let user = name_of(socket.uid(), "/etc/passwd");
    let group = name_of(socket.gid(), "/etc/group");
    format!(
        "permission denied: the socket belongs to user {user} and group {group} (mode {:o}); \
         run as {user} or join that group",
        socket.mode() & 0o777
    )
}

/// Returns the name of a user or group, from a file of `name:password:id:…` lines, or the number if there is none.
fn name_of(id: u32, file: &str) -> String {
    let id = id.to_string();
    let table = std::fs::read_to_string(file).unwrap_or_default();
    let name = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::super::transport;
    use super::*;

    const PURPOSE: CallContext<'_> = CallContext { action: "create", subject: "app1" };

    #[tokio::test(start_paused = true)]
    async fn a_change_without_an_answer_may_have_been_made() {
        let (endpoint, limit) = (Endpoint::Unix("/d.sock".into()), Duration::from_secs(600));
        let slow = async {
            tokio::time::advance(Duration::from_secs(599)).await;
            Ok(7)
        };
        assert_eq!(PURPOSE.change(limit, &endpoint, slow).await.unwrap(), 7);
        let hangs = std::future::pending::<Result<(), Error>>();
        let given_up = PURPOSE.change(limit, &endpoint, hangs).await.unwrap_err().error;
        assert!(matches!(given_up, EngineError::GivenUp { .. }), "{given_up}");
        let broken = std::future::ready(Err::<(), _>(Error::from(io::Error::from(ErrorKind::BrokenPipe))));
        let broken = PURPOSE.change(limit, &endpoint, broken).await.unwrap_err().error;
        assert!(matches!(broken, EngineError::Unanswered { .. }), "{broken}");
        let (status_code, message) = (409, "in use".to_owned());
        let refused = Error::DockerResponseServerError { status_code, message };
        let refused = PURPOSE.change(limit, &endpoint, std::future::ready(Err::<(), _>(refused))).await;
        assert!(refused.unwrap_err().is_conflict());
    }

    #[tokio::test]
    async fn a_change_that_was_never_sent_was_not_made() {
        let way = transport::Transport::Unix("/nowhere.sock".into());
        let client = transport::connect(&way, "http://localhost", 5, bollard::API_DEFAULT_VERSION);
        let client = client.unwrap();
        let call = client.0.stop_container("app1", None);
        let endpoint = Endpoint::Unix("/nowhere.sock".into());
        let error = PURPOSE.change(Duration::from_secs(5), &endpoint, call).await.unwrap_err().error;
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
    }

    #[test]
    fn an_unparsable_value_is_not_quoted() {
        let error = Error::JsonDataError { message: "invalid type: string \"hunter2\"".into(), column: 7 };
        let failure = PURPOSE.failure(&Endpoint::Unix("/d.sock".into()), &error);
        assert_eq!(
            failure.error.to_string(),
            "the engine refused to create app1: cannot parse its answer (column 7). Find the cause (docker inspect, journalctl -u docker) and correct it, then try again"
        );
    }

    #[test]
    fn the_engine_s_message_is_one_line_without_control_characters() {
        let message = "no\u{1b}[2J\n::error::such \u{202e}image".to_owned();
        for error in [
            Error::DockerResponseServerError { status_code: 500, message: message.clone() },
            Error::DockerStreamError { error: message },
        ] {
            let failure = PURPOSE.failure(&Endpoint::Unix("/d.sock".into()), &error);
            assert_eq!(failure.error, PURPOSE.refused("no ::error::such image"));
        }
        let other = std::io::Error::other("certificate of \u{1b}]0;x\u{7}you\nnot trusted");
        let told = unreachable(&Endpoint::Unix("/".into()), &Error::from(other));
        assert!(told.ends_with("certificate of you not trusted"), "{told}");
    }

    #[test]
    fn the_owner_of_a_closed_socket_is_named() {
        let error = Error::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        assert!(denied(Path::new("/")).contains("user root and group root (mode 755)"));
        assert!(unreachable(&Endpoint::Unix("/".into()), &error).contains("permission denied"));
    }

    #[test]
    fn the_engine_s_status_is_kept() {
        let error = Error::DockerResponseServerError {
            status_code: 404,
            message: "No such container: app1\n".into(),
        };
        let failure = PURPOSE.failure(&Endpoint::Unix("/d.sock".into()), &error);
        assert!(failure.is_absent() && !failure.is_conflict());
        assert_eq!(failure.error, PURPOSE.refused("No such container: app1"));
    }
}
