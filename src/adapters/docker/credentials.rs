//! The login for a registry, from drainswap.toml or else from Docker's own configuration (`~/.docker/config.json`,
//! `DOCKER_CONFIG`) and its credential helpers.

use std::fmt;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use tokio::sync::oneshot;

use super::password;
use crate::model::command_line::shell;
use crate::model::registries::{PasswordSource, Registries};
use crate::model::sanitize;
use crate::ports::EngineError;

/// The time limit for a credential helper; it is another program, and may query a key ring.
const HELPER_LIMIT: Duration = Duration::from_secs(20);
/// Docker Hub's key in the configuration, regardless of the image's name.
const HUB: &str = "https://index.docker.io/v1/";

/// The result of the search for a login.
pub(super) struct Login {
    /// The credentials; `None` is fine for a registry that requires none.
    pub credentials: Option<DockerCredentials>,
    pub origin: LoginOrigin,
}

/// The origin of a login. Its text says what to do if the registry rejects the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginOrigin {
    /// There is no login for this server.
    NotFound {
        /// The server, in the form that `docker login` accepts.
        server: String,
    },
    /// Docker's configuration, or a credential helper that it names.
    Docker {
        /// The server, in the form that `docker login` accepts.
        server: String,
    },
    /// `[registries]` of drainswap.toml.
    Settings(PasswordSource),
    /// There should be a login; the text says why there is none.
    Failed(String),
}

impl fmt::Display for LoginOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { server } => {
                write!(
                    f,
                    "no login for it is known: run `{}` as the user that runs drainswap",
                    log_in(server)
                )
            }
            Self::Docker { server } => write!(
                f,
                "it rejects the login in Docker's configuration, which is wrong or expired: run `{}` again as the user that runs drainswap",
                log_in(server)
            ),
            Self::Settings(source) => {
                f.write_str(
                    "it rejects the login of [registries] in drainswap.toml, which is wrong or expired: ",
                )?;
                match source {
                    PasswordSource::File(path) => write!(f, "check {}", path.display()),
                    PasswordSource::Command(_) => f.write_str("check the output of its password_command"),
                }
            }
            Self::Failed(trouble) => f.write_str(trouble),
        }
    }
}

/// Returns the command that logs in with Docker.
fn log_in(server: &str) -> String {
    shell(&["docker", "login", server])
}

/// Finds the login for a registry; `None` means Docker Hub.
pub(super) async fn login(registry: Option<&str>, registries: &Registries) -> Result<Login, EngineError> {
    let server = registry.unwrap_or(HUB).to_owned();
    let Some(known) = registries.login(registry) else { return Ok(of_docker(server).await) };
    let password = password::ask(&known.password).await;
    let no_login = |reason| EngineError::NoLogin { registry: server.clone(), reason };
    let credentials = DockerCredentials {
        username: Some(known.username.clone()),
        password: Some(password.map_err(no_login)?),
        serveraddress: Some(server),
        ..DockerCredentials::default()
    };
    Ok(Login { credentials: Some(credentials), origin: LoginOrigin::Settings(known.password.clone()) })
}

async fn of_docker(server: String) -> Login {
    let (sender, receiver) = oneshot::channel();
    // In a separate thread: a helper that hangs must not keep the program from exiting.
    std::thread::spawn({
        let server = server.clone();
        move || sender.send(docker_credential::get_credential(&server))
    });
    match tokio::time::timeout(HELPER_LIMIT, receiver).await {
        Ok(Ok(found)) => read(&server, found),
        Ok(Err(_)) => trouble("cannot read Docker's credentials".to_owned()),
        Err(_) => {
            trouble(format!("the credential helper did not answer within {} s", HELPER_LIMIT.as_secs()))
        }
    }
}

fn read(server: &str, found: Result<DockerCredential, CredentialRetrievalError>) -> Login {
    let mut credentials =
        DockerCredentials { serveraddress: Some(server.to_owned()), ..DockerCredentials::default() };
    match found {
        Ok(DockerCredential::IdentityToken(token)) => credentials.identitytoken = Some(token),
        Ok(DockerCredential::UsernamePassword(username, password)) => {
            (credentials.username, credentials.password) = (Some(username), Some(password));
        }
        // Here, a missing configuration and an unreadable one look the same.
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError,
        ) => return nothing(server),
        // The output of a helper may be the secret itself, so only the helper's name is reported.
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, .. }) => {
            // The helper protocol's message for a server without a login.
            return if stdout.contains("credentials not found") {
                nothing(server)
            } else {
                trouble(format!(
                    "the credential helper {} failed; try `{}`",
                    sanitize::name(&helper),
                    log_in(server)
                ))
            };
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            return trouble(
                "cannot run the credential helper that Docker's configuration names, or it exited too early"
                    .to_owned(),
            );
        }
        Err(CredentialRetrievalError::MalformedHelperResponse) => {
            return trouble("cannot parse the credential helper's answer".to_owned());
        }
        Err(
            CredentialRetrievalError::CredentialDecodingError
            | CredentialRetrievalError::CredentialMismatchError,
        ) => {
            return trouble(format!(
                "the login for {server} in Docker's configuration is malformed; run `docker login` again"
            ));
        }
    }
    Login { credentials: Some(credentials), origin: LoginOrigin::Docker { server: server.to_owned() } }
}

fn nothing(server: &str) -> Login {
    Login { credentials: None, origin: LoginOrigin::NotFound { server: server.to_owned() } }
}

fn trouble(text: String) -> Login {
    Login { credentials: None, origin: LoginOrigin::Failed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper_said(stdout: &str) -> Login {
        let helper = "docker-credential-pass".to_owned();
        let (stdout, stderr) = (stdout.to_owned(), String::new());
        read("r.io", Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }))
    }

    #[test]
    fn missing_credentials_are_not_an_error() {
        for login in [
            helper_said("credentials not found in native keychain"),
            read("r.io", Err(CredentialRetrievalError::NoCredentialConfigured)),
        ] {
            assert!(
                login.credentials.is_none()
                    && login.origin == LoginOrigin::NotFound { server: "r.io".into() }
            );
        }
    }

    #[test]
    fn a_helper_s_output_is_never_reported() {
        let login = helper_said("hunter2");
        let text = login.origin.to_string();
        assert!(text.contains("docker-credential-pass") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_token_and_a_password_keep_their_form() {
        let token = read("r.io", Ok(DockerCredential::IdentityToken("t".into()))).credentials.unwrap();
        assert_eq!((token.identitytoken.as_deref(), token.username.as_deref()), (Some("t"), None));
        let login =
            read("r.io", Ok(DockerCredential::UsernamePassword("u".into(), "p".into()))).credentials.unwrap();
        assert_eq!((login.username.as_deref(), login.serveraddress.as_deref()), (Some("u"), Some("r.io")));
    }
}
