//! The login for a registry: that of drainswap.toml, or else from Docker's own configuration
//! (`~/.docker/config.json`, `DOCKER_CONFIG`) and its credential helpers.

use std::fmt;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use tokio::sync::oneshot;

use super::password;
use crate::command_line::shell;
use crate::foreign;
use crate::ports::EngineError;
use crate::registries::{PasswordSource, Registries};

/// How long a credential helper may take; it is another program, and may ask a key ring.
const HELPER_LIMIT: Duration = Duration::from_secs(20);
/// Docker Hub's key in the configuration, whatever the image is called.
const HUB: &str = "https://index.docker.io/v1/";

/// What was found for a registry.
pub(super) struct Login {
    /// The credentials; none is fine for a registry that wants none.
    pub credentials: Option<DockerCredentials>,
    /// Where they come from.
    pub origin: Origin,
}

/// Where a login comes from: what to do about it, should the registry refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// There is none for this server.
    Nowhere {
        /// The server, as `docker login` takes it.
        server: String,
    },
    /// Docker's configuration, or a helper that it names.
    Docker {
        /// The server, as `docker login` takes it.
        server: String,
    },
    /// `[registries]` of drainswap.toml.
    Settings(PasswordSource),
    /// There should be one, and this is why there is none.
    Trouble(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere { server } => {
                write!(f, "no login for it is known: `{}` as the user who runs drainswap", log_in(server))
            }
            Self::Docker { server } => write!(
                f,
                "it does not take the login in Docker's configuration, which is wrong or over: `{}` again as the user who runs drainswap",
                log_in(server)
            ),
            Self::Settings(source) => {
                f.write_str(
                    "it does not take the login of [registries] in drainswap.toml, which is wrong or over: ",
                )?;
                match source {
                    PasswordSource::File(path) => write!(f, "look into {}", path.display()),
                    PasswordSource::Command(_) => f.write_str("look at what its password_command prints"),
                }
            }
            Self::Trouble(trouble) => f.write_str(trouble),
        }
    }
}

/// The command that gives Docker a login.
fn log_in(server: &str) -> String {
    shell(&["docker", "login", server])
}

/// Finds the login for a registry, `None` being Docker Hub.
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
    Ok(Login { credentials: Some(credentials), origin: Origin::Settings(known.password.clone()) })
}

async fn of_docker(server: String) -> Login {
    let (sender, receiver) = oneshot::channel();
    // A thread of its own: a helper that hangs must not keep the program from ending.
    std::thread::spawn({
        let server = server.clone();
        move || sender.send(docker_credential::get_credential(&server))
    });
    match tokio::time::timeout(HELPER_LIMIT, receiver).await {
        Ok(Ok(found)) => read(&server, found),
        Ok(Err(_)) => trouble("Docker's credentials cannot be read".to_owned()),
        Err(_) => {
            trouble(format!("the credential helper gave no answer within {} s", HELPER_LIMIT.as_secs()))
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
        // A configuration that is missing and one that cannot be read look alike here.
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError,
        ) => return nothing(server),
        // What a helper prints may be the secret itself; only its name is told.
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, .. }) => {
            // The words of the helpers' protocol for "I have none for this server".
            return if stdout.contains("credentials not found") {
                nothing(server)
            } else {
                trouble(format!(
                    "the credential helper {} failed; try `{}`",
                    foreign::name(&helper),
                    log_in(server)
                ))
            };
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            return trouble(
                "the credential helper that Docker's configuration names cannot be run, or ended before it was asked"
                    .to_owned(),
            );
        }
        Err(CredentialRetrievalError::MalformedHelperResponse) => {
            return trouble("the credential helper's answer is not understood".to_owned());
        }
        Err(
            CredentialRetrievalError::CredentialDecodingError
            | CredentialRetrievalError::CredentialMismatchError,
        ) => {
            return trouble(format!(
                "the login for {server} in Docker's configuration is malformed; `docker login` again"
            ));
        }
    }
    Login { credentials: Some(credentials), origin: Origin::Docker { server: server.to_owned() } }
}

fn nothing(server: &str) -> Login {
    Login { credentials: None, origin: Origin::Nowhere { server: server.to_owned() } }
}

fn trouble(text: String) -> Login {
    Login { credentials: None, origin: Origin::Trouble(text) }
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
    fn no_credentials_are_no_trouble() {
        for login in [
            helper_said("credentials not found in native keychain"),
            read("r.io", Err(CredentialRetrievalError::NoCredentialConfigured)),
        ] {
            assert!(login.credentials.is_none() && login.origin == Origin::Nowhere { server: "r.io".into() });
        }
    }

    #[test]
    fn a_helper_s_output_is_never_told() {
        let login = helper_said("hunter2");
        let text = login.origin.to_string();
        assert!(text.contains("docker-credential-pass") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_token_and_a_password_are_sent_as_what_they_are() {
        let token = read("r.io", Ok(DockerCredential::IdentityToken("t".into()))).credentials.unwrap();
        assert_eq!((token.identitytoken.as_deref(), token.username.as_deref()), (Some("t"), None));
        let login =
            read("r.io", Ok(DockerCredential::UsernamePassword("u".into(), "p".into()))).credentials.unwrap();
        assert_eq!((login.username.as_deref(), login.serveraddress.as_deref()), (Some("u"), Some("r.io")));
    }
}
