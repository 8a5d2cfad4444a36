//! The contract of a container that runs at the same time as its model.

use std::collections::BTreeSet;
use std::process::Command;

use drainswap::model::ids::{ContainerId, RunId};
use drainswap::observation::{Published, SurgeLabel};
use drainswap::service::create_spec::Beside;

use super::*;
use crate::round_trip::docker;
use crate::support::{Ports, get};

const RUN: &str = "20261126T221500.000000Z";

/// An engine with a running container, and what can be seen without the engine's API.
struct Place<E, A, V> {
    engine: E,
    /// The name of the container that others run beside.
    model: String,
    /// Whether a client's request to this address succeeds.
    answers: A,
    /// The names of all volumes.
    volumes: V,
}

impl<E, A, V> Place<E, A, V>
where
    E: ContainerEngine,
    A: AsyncFn(SocketAddr) -> bool,
    V: AsyncFn() -> BTreeSet<String>,
{
    /// Returns a container as an inspection shows it, after checking that the list shows the same.
    async fn seen(&self, id: &ContainerId) -> Container {
        let one = self.engine.container(id).await.expect("a container");
        let all = self.engine.containers().await.expect("containers");
        let listed = all.into_iter().find(|it| it.id == *id).expect("a container with that id");
        assert_eq!(one, inspected_alone(&listed));
        one
    }

    async fn model(&self) -> Container {
        let all = self.engine.containers().await.expect("containers");
        let model = all.into_iter().find(|it| it.name == self.model).expect("the model");
        self.seen(&model.id).await
    }

    async fn until_answers(&self, address: SocketAddr) {
        wait_until(&format!("{address} answers"), SOON, async || (self.answers)(address).await).await;
    }

    /// Creates a container beside the model, and checks what it has of it.
    async fn create(&self, name: &str, publish: Vec<Published>) -> ContainerId {
        let model = self.model().await;
        let recipe = CreateSpec {
            model: SpecSource::CopyOf(model.id.clone()),
            image: model.running_image(),
            name: format!("{}-{name}.new-{RUN}", self.model),
            platform: None,
            publish: None,
            pinned: Pinned::default(),
            renew_volumes: false,
            beside: Some(Beside { run: RunId::from(RUN), publish }),
        };
        let first = self.engine.create(&recipe).await.expect("a container");
        let volumes_of_first = volumes(&self.seen(&first).await);
        let id = self.engine.create(&recipe).await.expect("the same container again");
        refused(&self.engine.status(&first).await.map(drop));
        let new = self.seen(&id).await;
        let is = (&new.name, &new.surge, &new.published, &new.published_udp);
        assert_eq!(is, (&recipe.name, &SurgeLabel::Of(RunId::from(RUN)), &vec![], &vec![]));
        assert_eq!((&new.hostname, &new.owner, &new.claims), (&None, &None, &vec![]));
        assert!(new.restart.is_same(&RestartPolicy::never()) && !new.auto_remove, "{new:?}");
        assert_eq!(networks(&new), networks(&model));
        assert!(aliases(&new).is_disjoint(&aliases(&model)), "{new:?}");
        assert!(new.networks.iter().all(|it| it.given.is_empty()), "{new:?}");
        assert_eq!((&new.named_volumes, &new.alone), (&model.named_volumes, &model.alone));
        assert_eq!(volumes(&new).len(), volumes(&model).len());
        let all = (self.volumes)().await;
        assert!(volumes(&new).is_disjoint(&volumes(&model)) && volumes(&new).is_subset(&all), "{new:?}");
        assert!(volumes_of_first.is_disjoint(&all), "{all:?}");
        id
    }

    /// Starts a container, and returns it once it and its model answer, each at its own address.
    async fn start(&self, id: &ContainerId) -> Container {
        self.engine.start(id).await.expect("a start beside the model");
        let (model, new) = (self.model().await, self.seen(id).await);
        let own =
            |it: &Container| -> Vec<_> { it.networks.iter().flat_map(|it| it.addresses.clone()).collect() };
        let (own, of_model) = (own(&new), own(&model));
        assert!(!own.is_empty() && own.iter().all(|it| !of_model.contains(it)), "{own:?}, {of_model:?}");
        let published = new.published.first().map(|it| SocketAddr::new(it.ip, it.port));
        let address = published.unwrap_or(SocketAddr::new(own[0], 8080));
        assert!(model.published.iter().all(|it| it.port != address.port()), "{address}");
        self.until_answers(address).await;
        self.until_answers(SocketAddr::new(model.published[0].ip, model.published[0].port)).await;
        new
    }

    async fn all(&self) {
        let model = self.model().await;
        let open = Published { port: 0, ..model.published[0] };
        let id = self.create("surge1", vec![open]).await;
        let new = self.start(&id).await;
        let [port] = new.published[..] else { panic!("one port: {:?}", new.published) };
        assert_eq!((port.ip, port.container_port), (open.ip, open.container_port));
        self.engine.stop(&id).await.expect("a stop");
        let stopped = self.seen(&id).await;
        assert_eq!(stopped.published, [], "the engine chooses again");
        self.start(&id).await;
        let unpublished = self.create("surge2", Vec::new()).await;
        let second = self.start(&unpublished).await;
        assert_eq!(second.published, []);
        for (id, own) in [(&id, volumes(&new)), (&unpublished, volumes(&second))] {
            self.engine.remove_with_volumes(id, &volumes(&model)).await.expect("a removal");
            refused(&self.engine.status(id).await.map(drop));
            let all = (self.volumes)().await;
            assert!(own.is_disjoint(&all) && volumes(&model).is_subset(&all), "{all:?}");
            assert!(model.named_volumes.iter().all(|it| all.contains(it)), "{all:?}");
        }
        assert_eq!(self.model().await, model, "nothing has happened to the model");
    }
}

fn volumes(container: &Container) -> BTreeSet<String> {
    container.unnamed_volume_names().map(str::to_owned).collect()
}

fn networks(container: &Container) -> Vec<&str> {
    container.networks.iter().map(|it| it.network.as_str()).collect()
}

fn aliases(container: &Container) -> BTreeSet<&String> {
    container.networks.iter().flat_map(|it| &it.aliases).collect()
}

#[tokio::test]
async fn containers_run_beside_each_other_in_memory() {
    let memory = memory();
    Place {
        engine: memory.engine(),
        model: "mobile-app1".to_owned(),
        answers: async |address| memory.site().serves(address),
        volumes: async || BTreeSet::new(),
    }
    .all()
    .await;
}

/// The model's network and volume.
struct Surroundings(String);

impl Drop for Surroundings {
    fn drop(&mut self) {
        let remove = "docker rm -fv $(docker ps -aqf name=^/$0-model); docker network rm $0-beside; \
                      docker volume rm $0-files";
        let _gone = Command::new("sh").args(["-c", remove, &self.0]).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn containers_run_beside_each_other_on_a_real_engine() {
    let stage = Stage::single().start().await;
    let id = stage.id();
    let octet = u16::from_str_radix(&id[id.len() - 2..], 16).expect("hexadecimal");
    let surroundings = Surroundings(id.to_owned());
    docker(&format!("network create --subnet 10.198.{octet}.0/24 {id}-beside"));
    let ports = Ports::reserve(2);
    docker(&format!(
        "run -d --name {id}-model --network {id}-beside --network-alias mobile --ip 10.198.{octet}.9 \
         --hostname mobile-one --domainname example.org --restart unless-stopped \
         -p 127.0.0.1:{}:8080 -p 127.0.0.1:{}:53/udp -v /data -v {id}-files:/files \
         --label drainswap.server={id}/app1 --label com.docker.compose.project={id} {}",
        ports.at(0),
        ports.at(1),
        stage.reference("v1")
    ));
    let endpoint = Endpoint::read(None, &std::env::vars().collect()).expect("an endpoint");
    let place = Place {
        engine: DockerEngine::connect(endpoint).await.expect("an engine"),
        model: format!("{id}-model"),
        answers: async |address| get(address, "/health").await.is_ok_and(|answer| answer.is_success()),
        volumes: async || docker("volume ls -q").lines().map(str::to_owned).collect(),
    };
    let model = place.model().await;
    assert_eq!((volumes(&model).len(), model.alone.len(), model.published_udp.len()), (1, 1, 1), "{model:?}");
    place.all().await;
    drop(surroundings);
    stage.close().await;
}
