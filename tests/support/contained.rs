//! HAProxy in a container with two mounted directories of the host.

use super::engine::{LABEL, image_labels};
use super::haproxy::ask;
use super::image::haproxy_root_fs;
use super::ports::Ports;
use super::stage::Stage;
use super::wait::wait_until;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

/// A load balancer in a container, in front of the containers of a stage.
pub struct ContainedHaproxy {
    /// The name of the container.
    pub name: String,
    /// The mounted directories on the host, for the configuration and the sockets.
    pub etc: PathBuf,
    pub run: PathBuf,
    /// The same directories inside the container.
    pub etc_inside: String,
    pub run_inside: String,
    _ports: Ports,
}

impl Stage {
    /// Starts another HAProxy for the stage, in a container on the host's network.
    pub async fn haproxy_in_a_container(&self) -> ContainedHaproxy {
        let ports = Ports::reserve(1);
        let frontend = SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports.at(0));
        let name = format!("{}-haproxy", self.id());
        let (etc, run) = (self.dir().join("contained-etc"), self.dir().join("contained-run"));
        let [etc_inside, run_inside] = ["etc", "run"].map(|folder| format!("/{folder}/{}", self.id()));
        let text = fs::read_to_string(self.haproxy.config()).expect("read haproxy.cfg");
        let text = text.replace(&self.dir().display().to_string(), &run_inside);
        let text = text.replace(&format!("bind {}", self.frontend()), &format!("bind {frontend}"));
        for folder in [&etc, &run] {
            fs::create_dir(folder).expect("make a folder");
        }
        fs::write(etc.join("haproxy.cfg"), text).expect("write haproxy.cfg");

        let repository = format!("{}-haproxy", self.id());
        let labels =
            image_labels(self.id()).into_iter().map(|(key, value)| format!("LABEL {key}=\"{value}\""));
        self.engine.import(&repository, "1", haproxy_root_fs(self.haproxy.binary()), labels.collect()).await;
        let (config, master) = (format!("{etc_inside}/haproxy.cfg"), format!("{run_inside}/master.sock"));
        let command = ["/haproxy", "-W", "-db", "-S", &master, "-f", &config].map(str::to_owned);
        let mounts = [(&etc, &etc_inside), (&run, &run_inside)];
        let mounts = mounts.map(|(here, there)| format!("{}:{there}", here.display()));
        let host = HostConfig {
            network_mode: Some("host".to_owned()),
            binds: Some(mounts.to_vec()),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(format!("{repository}:1")),
            cmd: Some(command.to_vec()),
            labels: Some(HashMap::from([(LABEL.to_owned(), self.id().to_owned())])),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        self.engine.docker().create_container(Some(options), body).await.expect("create a container");
        self.engine.start(&name).await;
        let socket = run.join("admin.sock");
        wait_until("HAProxy in the container has checked its servers", Duration::from_secs(20), async || {
            let reply = if socket.exists() { ask(&socket, "show stat").await } else { String::new() };
            reply.contains(",UP,") && !reply.contains(",UP 1/") && !reply.contains(",UP 2/")
        })
        .await;
        ContainedHaproxy { name, etc, run, etc_inside, run_inside, _ports: ports }
    }
}
