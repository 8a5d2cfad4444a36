//! A container that runs at the same time as its model. What only one of the two can have stays with the model.

use std::collections::HashMap;

use bollard::models::{PortBinding, PortMap, RestartPolicy, RestartPolicyNameEnum};

use super::Blueprint;
use crate::adapters::docker::inspect::{CLAIM_LABEL, COMPOSE_LABELS, SURGE_LABEL};
use crate::observation::Published;
use crate::service::create_spec::Beside;

/// Takes from the blueprint everything by which the model is found, and what would start the container again or remove
/// it. The caller has left out the model's anonymous volumes and its MAC address.
pub(in crate::adapters::docker) fn separate(blueprint: &mut Blueprint, beside: &Beside) {
    let Blueprint { body, connect, .. } = blueprint;
    (body.hostname, body.domainname) = (None, None);
    let labels = body.labels.get_or_insert_default();
    // Otherwise `docker compose up` would remove it as a surplus container of the model's service.
    labels.retain(|name, _| name != CLAIM_LABEL && !name.starts_with(COMPOSE_LABELS));
    labels.insert(SURGE_LABEL.to_owned(), beside.run.0.clone());
    let at_create = body.networking_config.iter_mut().filter_map(|config| config.endpoints_config.as_mut());
    let endpoints = at_create.flatten().map(|(_, endpoint)| endpoint);
    for endpoint in endpoints.chain(connect.iter_mut().map(|(_, endpoint)| endpoint)) {
        (endpoint.aliases, endpoint.links) = (None, None);
        (endpoint.ipam_config, endpoint.mac_address) = (None, None);
    }
    let host = body.host_config.get_or_insert_default();
    host.links = None;
    host.auto_remove = None;
    host.restart_policy =
        Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None });
    host.publish_all_ports = None;
    let bindings = bindings(&beside.publish);
    // The engine publishes only exposed ports.
    let exposed = body.exposed_ports.get_or_insert_default();
    exposed.extend(bindings.keys().cloned());
    exposed.sort();
    exposed.dedup();
    host.port_bindings = (!bindings.is_empty()).then_some(bindings);
    body.exposed_ports = body.exposed_ports.take().filter(|ports| !ports.is_empty());
}

/// Returns the bindings of these ports, each at the address that it names. Docker takes an empty address as every IPv4
/// and every IPv6 address, but may choose another port for each (seen with 20.10).
fn bindings(publish: &[Published]) -> PortMap {
    let mut bindings: PortMap = HashMap::new();
    for port in publish {
        let (ip, number) = (Some(port.ip.to_string()), Some(port.port.to_string()));
        let at = bindings.entry(format!("{}/tcp", port.container_port)).or_default();
        at.get_or_insert_default().push(PortBinding { host_ip: ip, host_port: number });
    }
    bindings
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerInspectResponse, EndpointIpamConfig};
    use serde_json::{Value, json};

    use super::*;
    use crate::adapters::docker::describe;
    use crate::adapters::docker::fixture;
    use crate::adapters::docker::recreate::{Dialect, RawSettings, blueprint, volumes};
    use crate::model::ids::{ContainerId, RunId};
    use crate::model::image::Image;
    use crate::observation::Pinned;
    use crate::service::create_spec::{CreateSpec, SpecSource};

    const RUN: &str = "20261126T221500.000000Z";

    fn beside(publish: &[(&str, u16)]) -> Beside {
        let port = |(ip, container_port): &(&str, u16)| Published {
            ip: ip.parse().unwrap(),
            port: 0,
            container_port: *container_port,
        };
        Beside { run: RunId::from(RUN), publish: publish.iter().map(port).collect() }
    }

    fn created(old: &ContainerInspectResponse, publish: &[(&str, u16)], api: (usize, usize)) -> Blueprint {
        let pinned = Published { ip: "127.0.0.1".parse().unwrap(), port: 57914, container_port: 8081 };
        let recipe = CreateSpec {
            platform: None,
            model: SpecSource::CopyOf(ContainerId("67e7a6c29d15".into())),
            image: Image::Local { reference: "mobile:v2".into(), id: "sha256:02".into() },
            name: format!("surge1.new-{RUN}"),
            publish: None,
            pinned: Pinned { ports: vec![pinned], ..Pinned::default() },
            renew_volumes: false,
            beside: Some(beside(publish)),
        };
        let mut raw = RawSettings::default();
        raw.mac_address = Some("02:66:22:33:44:55".to_owned());
        let dialect = Dialect { api, is_podman: false };
        blueprint(old, raw, Some(&fixture::inspect("image.json")), dialect, &recipe).unwrap()
    }

    fn running() -> ContainerInspectResponse {
        fixture::inspect("running.json")
    }

    #[test]
    fn all_settings_are_carried_but_those_that_only_one_of_the_two_can_have() {
        let mut expected: Value = fixture::inspect("create.json");
        let body = expected.as_object_mut().unwrap();
        body.remove("Domainname");
        let labels = body["Labels"].as_object_mut().unwrap();
        labels.retain(|name, _| !["com.docker.compose.project", "drainswap.server"].contains(&name.as_str()));
        labels.insert("drainswap.surge".to_owned(), json!(RUN));
        let host = body["HostConfig"].as_object_mut().unwrap();
        host.remove("AutoRemove");
        host.remove("PublishAllPorts");
        host["RestartPolicy"] = json!({ "Name": "no" });
        host["Mounts"] = json!([{ "Type": "volume", "Target": "/m2" }]);
        host["PortBindings"] = json!({ "8080/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "0" }] });
        body["NetworkingConfig"]["EndpointsConfig"] = json!({ "front": {} });
        let new = created(&running(), &[("0.0.0.0", 8080)], (1, 41));
        assert_eq!(serde_json::to_value(&new.body).unwrap(), expected);
        assert_eq!(serde_json::to_value(&new.connect).unwrap(), json!([["back", { "DriverOpts": {} }]]));
        assert_eq!(new.raw, RawSettings::default());
    }

    #[test]
    fn what_the_fixture_lacks_is_not_carried_either() {
        let mut old = running();
        let config = old.config.as_mut().unwrap();
        (config.hostname, config.domainname) = (Some("web-1".into()), Some("example.org".into()));
        let host = old.host_config.as_mut().unwrap();
        (host.auto_remove, host.publish_all_ports) = (Some(true), Some(true));
        host.links = Some(vec!["/db:/app1/database".into()]);
        let dns = PortBinding { host_ip: None, host_port: Some("53".into()) };
        host.port_bindings.as_mut().unwrap().insert("53/udp".into(), Some(vec![dns]));
        let carried = volumes::unnamed(&old).into_iter().next();
        host_mounts(&mut old)[0].source.clone_from(&carried);
        for endpoint in old.network_settings.as_mut().unwrap().networks.as_mut().unwrap().values_mut() {
            endpoint.links = Some(vec!["db:database".into()]);
            endpoint.mac_address = Some("02:66:22:33:44:55".into());
            endpoint.ipam_config =
                Some(EndpointIpamConfig { ipv4_address: Some("172.29.7.9".into()), ..Default::default() });
        }
        let new = created(&old, &[], (1, 47)).body;
        assert_eq!((new.hostname, new.domainname), (None, None));
        let host = new.host_config.unwrap();
        assert_eq!((host.auto_remove, host.publish_all_ports, host.links), (None, None, None));
        assert_eq!(host.port_bindings, None);
        assert_eq!(host.mounts.unwrap()[0].source, None);
        for endpoint in new.networking_config.unwrap().endpoints_config.unwrap().values() {
            let is = (&endpoint.links, &endpoint.mac_address, &endpoint.ipam_config, &endpoint.aliases);
            assert_eq!(is, (&None, &None, &None, &None));
        }
    }

    fn host_mounts(old: &mut ContainerInspectResponse) -> &mut Vec<bollard::models::Mount> {
        old.host_config.as_mut().unwrap().mounts.as_mut().unwrap()
    }

    #[test]
    fn every_port_is_published_at_the_address_that_it_names() {
        let all = [("0.0.0.0", 8080), ("127.0.0.1", 8080), ("127.0.0.1", 8081), ("::", 9002)];
        let new = created(&running(), &all, (1, 41)).body;
        assert_eq!(
            serde_json::to_value(new.host_config.unwrap().port_bindings).unwrap(),
            json!({
                "8080/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "0" }, { "HostIp": "127.0.0.1", "HostPort": "0" }],
                "8081/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "0" }],
                "9002/tcp": [{ "HostIp": "::", "HostPort": "0" }],
            })
        );
        assert_eq!(new.exposed_ports.unwrap(), ["8080/tcp", "8081/tcp", "9002/tcp"]);
    }

    #[test]
    fn a_described_container_beside_another_one_has_nothing_of_its_own_place() {
        let text = r#"
            restart = "always"
            hostname = "mobile-one"
            labels = ["tier=web", "drainswap.server=mobile/app1", "com.docker.compose.project=shop"]
            networks.front = { aliases = ["mobile"], ipv4_address = "172.29.7.9" }
            networks.inner = { aliases = ["mobile"] }
            volumes = ["/data", "files:/files"]
        "#;
        let wanted = describe::tests::described(text);
        let mut new = describe::blueprint(&wanted, &wanted.environment, "mobile:v2", None, (1, 41));
        separate(&mut new, &beside(&[("127.0.0.1", 8080)]));
        assert_eq!(
            serde_json::to_value(&new.body).unwrap(),
            json!({
                "Image": "mobile:v2",
                "ExposedPorts": { "8080/tcp": {} },
                "Labels": { "tier": "web", "drainswap.surge": RUN },
                "HostConfig": {
                    "Binds": ["files:/files:rw"],
                    "Mounts": [{ "Type": "volume", "Target": "/data" }],
                    "NetworkMode": "front",
                    "PortBindings": { "8080/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "0" }] },
                    "RestartPolicy": { "Name": "no" },
                },
                "NetworkingConfig": { "EndpointsConfig": { "front": {} } },
            })
        );
        assert_eq!(serde_json::to_value(&new.connect).unwrap(), json!([["inner", {}]]));
    }
}
