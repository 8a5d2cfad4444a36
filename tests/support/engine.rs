//! Direct access to the Docker daemon, without the code under test.

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerSummary, HostConfig, Mount, MountType, PortBinding, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder,
    ListImagesOptionsBuilder, LogsOptionsBuilder, PushImageOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::env;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The label with the stage's id on every container of a stage; images have [`IMAGE_LABEL`].
pub const LABEL: &str = "drainswap.test";
/// The label with the stage's id on every image. Containers inherit it, so it also finds containers without their own
/// labels.
pub const IMAGE_LABEL: &str = "drainswap.test.image";
/// The label on images with the value of `DRAINSWAP_RUN`, so that a script can clean up after a killed test.
const RUN_LABEL: &str = "drainswap.run";

/// The current state of a container.
#[derive(Clone, Debug)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// The reference from which the container was created.
    pub image: String,
    pub image_id: String,
    /// `running`, `exited`, `created`, …
    pub state: String,
    pub labels: HashMap<String, String>,
}

/// A container to run.
pub struct NewContainer<'a> {
    pub name: &'a str,
    pub image: &'a str,
    /// The address at which port 8080 of the application is published.
    pub address: SocketAddrV4,
    pub environment: Vec<String>,
    /// A directory of the host to mount as `/mnt`. If it does not exist, the container cannot be created.
    pub mount: Option<&'a Path>,
    pub stage: &'a str,
}

/// A connection to the daemon at `DOCKER_HOST` or the default socket.
pub struct Engine(Docker);

impl Engine {
    /// Connects to the daemon and negotiates the API version.
    pub async fn connect() -> Result<Self, Error> {
        let docker = match env::var("DOCKER_HOST") {
            Ok(host) => Docker::connect_with_host(&host)?,
            Err(_) => Docker::connect_with_unix("/var/run/docker.sock", 60, API_DEFAULT_VERSION)?,
        };
        Ok(Self(docker.negotiate_version().await?))
    }

    /// Returns the endpoint of the daemon, for `--docker`.
    pub fn endpoint() -> String {
        env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
    }

    /// Returns the client, for calls that this module does not have.
    pub fn docker(&self) -> &Docker {
        &self.0
    }

    /// Returns the name and version of the engine: `Docker 28.5`, `Docker 28.5, containerd`, `Podman 4.3`.
    pub async fn name(&self) -> String {
        let version = self.0.version().await.expect("the engine's version");
        let components = version.components.unwrap_or_default();
        let own = components.iter().find(|it| it.name.starts_with("Podman"));
        let (name, version) = match own {
            Some(podman) => ("Podman", podman.version.clone()),
            None => ("Docker", version.version.expect("a version")),
        };
        let parts: Vec<&str> = version.split('.').take(2).collect();
        let store = if self.is_on_containerd().await { ", containerd" } else { "" };
        format!("{name} {}{store}", parts.join("."))
    }

    /// Returns whether the engine stores its images in containerd.
    pub async fn is_on_containerd(&self) -> bool {
        let info = self.0.info().await.expect("the engine's information");
        info.driver_status.into_iter().flatten().flatten().any(|it| it == "io.containerd.snapshotter.v1")
    }

    /// Creates an image from a file system.
    pub async fn import(&self, repository: &str, tag: &str, root_fs: Vec<u8>, instructions: Vec<String>) {
        let mut command = Command::new("docker");
        command.arg("import").args(instructions.iter().flat_map(|it| ["--change", it]));
        command.args(["-", &format!("{repository}:{tag}")]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut import = command.spawn().expect("run docker");
        let mut pipe = import.stdin.take().expect("a pipe");
        pipe.write_all(&root_fs).await.expect("give the file system");
        drop(pipe);
        assert!(import.wait().await.is_ok_and(|status| status.success()), "docker import {repository}:{tag}");
    }

    /// Pushes an image to its registry.
    pub async fn push(&self, repository: &str, tag: &str) {
        let options = PushImageOptionsBuilder::new().tag(tag).build();
        let progress = self.0.push_image(repository, Some(options), None);
        progress.try_collect::<Vec<_>>().await.expect("push an image");
    }

    /// Pulls an image.
    pub async fn pull(&self, reference: &str) {
        let options = CreateImageOptionsBuilder::new().from_image(reference).build();
        let progress = self.0.create_image(Some(options), None, None);
        progress.try_collect::<Vec<_>>().await.expect("pull an image");
    }

    /// Removes an image from the daemon, not from its registry.
    pub async fn forget(&self, reference: &str) {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        self.0.remove_image(reference, Some(options), None).await.expect("remove an image");
    }

    /// Creates and starts a container.
    pub async fn run(&self, new: NewContainer<'_>) {
        let options = CreateContainerOptionsBuilder::new().name(new.name).build();
        let name = new.name;
        self.0.create_container(Some(options), new.into()).await.expect("create a container");
        self.0.start_container(name, None).await.expect("start a container");
    }

    /// Returns the container with this name, if it exists.
    pub async fn container(&self, name: &str) -> Option<Container> {
        let found = self.list("name", &format!("^/{name}$")).await.expect("list containers");
        found.into_iter().next()
    }

    /// Returns the name of a container's restart policy. Containers of a stage start with `unless-stopped`.
    pub async fn restart_policy(&self, name: &str) -> Option<String> {
        let found = self.0.inspect_container(name, None).await.expect("inspect a container");
        found.host_config?.restart_policy?.name.map(|policy| policy.to_string())
    }

    /// Returns all containers of a stage, including stopped ones and those from other programs.
    pub async fn containers(&self, stage: &str) -> Result<Vec<Container>, Error> {
        let mut found = self.list("name", &format!("^/{stage}-")).await?;
        for label in [LABEL, IMAGE_LABEL] {
            found.extend(self.list("label", &format!("{label}={stage}")).await?);
        }
        found.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        found.dedup_by(|one, other| one.id == other.id);
        Ok(found)
    }

    async fn list(&self, filter: &str, value: &str) -> Result<Vec<Container>, Error> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&only(filter, value)).build();
        Ok(self.0.list_containers(Some(options)).await?.into_iter().map(Container::from).collect())
    }

    /// Kills a container's process; the restart policy may start it again.
    pub async fn kill(&self, name: &str) {
        self.0.kill_container(name, None).await.expect("kill a container");
    }

    /// Stops a container and waits until it has stopped.
    pub async fn stop(&self, name: &str) {
        self.0.stop_container(name, None).await.expect("stop a container");
    }

    /// Starts an existing container.
    pub async fn start(&self, name: &str) {
        self.0.start_container(name, None).await.expect("start a container");
    }

    /// Removes a container, even if it is running.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        self.0.remove_container(name, Some(options)).await
    }

    /// Returns the log of a container.
    pub async fn logs(&self, name: &str) -> String {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
        let lines: Vec<LogOutput> =
            self.0.logs(name, Some(options)).filter_map(async |line| line.ok()).collect().await;
        lines.iter().map(ToString::to_string).collect()
    }

    /// Removes every container and image of a stage.
    pub async fn sweep(&self, stage: &str) -> Result<(), Error> {
        for container in self.containers(stage).await? {
            tolerate_absence(self.remove(&container.id).await)?;
        }
        let images = only("label", &format!("{IMAGE_LABEL}={stage}"));
        let options = ListImagesOptionsBuilder::new().all(true).filters(&images).build();
        for image in self.0.list_images(Some(options)).await? {
            let force = RemoveImageOptionsBuilder::new().force(true).build();
            tolerate_absence(self.0.remove_image(&image.id, Some(force), None).await)?;
        }
        Ok(())
    }
}

/// Returns the labels for a stage's images.
pub fn image_labels(stage: &str) -> Vec<(&'static str, String)> {
    let run = env::var("DRAINSWAP_RUN").unwrap_or_else(|_| stage.to_owned());
    vec![(IMAGE_LABEL, stage.to_owned()), (RUN_LABEL, run)]
}

fn only(filter: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(filter.to_owned(), vec![value.to_owned()])])
}

/// Ignores errors for objects that are already removed (404) or being removed (409).
fn tolerate_absence<T>(removal: Result<T, Error>) -> Result<(), Error> {
    match removal {
        Ok(_) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

impl From<NewContainer<'_>> for ContainerCreateBody {
    fn from(new: NewContainer<'_>) -> Self {
        let binding = PortBinding {
            host_ip: Some(new.address.ip().to_string()),
            host_port: Some(new.address.port().to_string()),
        };
        let restart =
            RestartPolicy { name: Some(RestartPolicyNameEnum::UNLESS_STOPPED), ..RestartPolicy::default() };
        let host = HostConfig {
            port_bindings: Some(HashMap::from([("8080/tcp".to_owned(), Some(vec![binding]))])),
            restart_policy: Some(restart),
            mounts: new.mount.map(|source| vec![bind(source)]),
            ..HostConfig::default()
        };
        Self {
            image: Some(new.image.to_owned()),
            env: Some(new.environment),
            labels: Some(HashMap::from([(LABEL.to_owned(), new.stage.to_owned())])),
            host_config: Some(host),
            ..Self::default()
        }
    }
}

fn bind(source: &Path) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some("/mnt".to_owned()),
        ..Mount::default()
    }
}

impl From<ContainerSummary> for Container {
    fn from(summary: ContainerSummary) -> Self {
        let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        Self {
            id: summary.id.unwrap_or_default(),
            name: name.trim_start_matches('/').to_owned(),
            image: summary.image.unwrap_or_default(),
            image_id: summary.image_id.unwrap_or_default(),
            state: summary.state.map(|state| state.to_string()).unwrap_or_default(),
            labels: summary.labels.unwrap_or_default(),
        }
    }
}
