//! The reasons why a second container of the same settings cannot run beside a container. Pure.
//!
//! Names, fixed addresses, published ports and anonymous volumes are no reasons, because the second container gets none
//! of its model's. A shared IPC or process namespace is none either: it has no ports, and containers share it so that
//! they can run together. A GPU request shares the GPU.

use bollard::models::{ContainerInspectResponse, MountPoint};

use super::recreate::volumes;
use crate::model::ids::ContainerId;
use crate::model::sanitize;
use crate::observation::AloneBecause;

/// The devices of which each process that opens them gets its own, or which serve many by design: random numbers,
/// FUSE, tunnels, virtual machines and GPUs. Others, such as serial ports, cameras and disks, may not be shared.
const SHARED_DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/hwrng",
    "/dev/fuse",
    "/dev/net/tun",
    "/dev/vhost-net",
    "/dev/kvm",
    "/dev/kfd",
    "/dev/dri",
    "/dev/nvidia",
];

/// Returns the reasons, without duplicates.
pub(super) fn reasons(inspect: &ContainerInspectResponse) -> Vec<AloneBecause> {
    let host = inspect.host_config.clone().unwrap_or_default();
    let network = match host.network_mode.as_deref() {
        Some("host") => Some(AloneBecause::HostNetwork),
        Some(mode) => mode
            .strip_prefix("container:")
            .map(|of| AloneBecause::ContainerNetwork(ContainerId(sanitize::name(of)).short().to_owned())),
        None => None,
    };
    let devices = host.devices.iter().flatten().filter_map(|device| device.path_on_host.as_deref());
    let devices = devices
        .filter(|path| !SHARED_DEVICES.iter().any(|shared| path.starts_with(shared)))
        .map(|path| AloneBecause::Device(sanitize::name(path)));
    let mounts = inspect.mounts.iter().flatten().filter(|point| point.rw != Some(false));
    let written = mounts
        .filter_map(|point| shared_source(inspect, point))
        .map(|source| AloneBecause::WritableVolume(sanitize::name(source)));
    let mut found: Vec<AloneBecause> = network.into_iter().chain(devices).chain(written).collect();
    found.sort();
    found.dedup();
    found
}

/// Returns the volume's name or the host's path if a second container would have the same mount.
fn shared_source<'a>(inspect: &ContainerInspectResponse, point: &'a MountPoint) -> Option<&'a str> {
    match point.typ.as_deref() {
        Some("volume") => point.name.as_deref().filter(|name| !volumes::is_renewed(inspect, name)),
        Some("bind") => point.source.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{DeviceMapping, DeviceRequest};

    use super::*;
    use crate::adapters::docker::fixture;

    fn running() -> ContainerInspectResponse {
        fixture::inspect("running.json")
    }

    fn told(inspect: &ContainerInspectResponse) -> Vec<String> {
        reasons(inspect).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_volumes_that_a_second_container_could_write_to_count() {
        assert_eq!(told(&running()), ["both would write to files"]);
        let mut old = running();
        old.mounts
            .as_mut()
            .unwrap()
            .iter_mut()
            .for_each(|it| it.rw = Some(it.typ.as_deref() == Some("bind")));
        assert_eq!(told(&old), ["both would write to /srv/app"]);
    }

    #[test]
    fn an_anonymous_volume_that_is_asked_for_by_its_name_counts() {
        let mut old = running();
        let name = volumes::unnamed(&old).into_iter().next().unwrap();
        old.host_config.as_mut().unwrap().binds.as_mut().unwrap().push(format!("{name}:/anon"));
        assert_eq!(told(&old).len(), 2);
        let mut borrower = running();
        borrower.host_config.as_mut().unwrap().volumes_from = Some(vec!["other".into()]);
        borrower.config.as_mut().unwrap().volumes = None;
        assert_eq!(told(&borrower).len(), 3, "those of /anon and /image-volume are the other container's");
    }

    #[test]
    fn the_host_s_network_and_another_container_s_count() {
        let with = |mode: &str| {
            let mut old = running();
            old.mounts = None;
            old.host_config.as_mut().unwrap().network_mode = Some(mode.to_owned());
            reasons(&old)
        };
        assert_eq!(with("host"), [AloneBecause::HostNetwork]);
        let other = format!("container:{}", "ab".repeat(32));
        assert_eq!(with(&other), [AloneBecause::ContainerNetwork("abababababab".to_owned())]);
        for mode in ["front", "bridge", "none", ""] {
            assert_eq!(with(mode), [], "{mode}");
        }
    }

    #[test]
    fn a_device_counts_unless_it_serves_many() {
        let mut old = running();
        old.mounts = None;
        let device = |path: &str| DeviceMapping { path_on_host: Some(path.into()), ..Default::default() };
        let all = ["/dev/dri/renderD128", "/dev/fuse", "/dev/nvidia0", "/dev/ttyUSB0", "/dev/ttyUSB0"];
        let host = old.host_config.as_mut().unwrap();
        host.devices = Some(all.map(device).into());
        host.device_requests = Some(vec![DeviceRequest { count: Some(-1), ..Default::default() }]);
        assert_eq!(reasons(&old), [AloneBecause::Device("/dev/ttyUSB0".to_owned())]);
    }
}
