//! Servers whose line has a host name: they follow their container to its new address.

use std::net::SocketAddr;

use super::*;
use crate::topology::HostName;

fn app1() -> ServerId {
    ServerId::new("mobile", "app1")
}

fn moved_to() -> SocketAddr {
    "127.0.0.9:50000".parse().unwrap()
}

/// A pair whose first server has a host name, which `HAProxy` resolved once or keeps resolving.
async fn named(is_resolved: bool) -> Stage {
    let mut stage = Stage::pair().await;
    let server = &mut stage.plan.lanes[0].servers[0];
    server.host_name = Some(HostName { name: "app1.internal".to_owned(), is_resolved });
    stage
}

#[tokio::test(start_paused = true)]
async fn a_server_in_maint_is_sent_to_the_new_address_of_its_container() {
    let mut stage = named(false).await;
    let memory = stage.memory.clone();
    let run = stage.run();
    run.at(0).send_to(app1(), moved_to());
    run.maint(0).await.unwrap();
    assert_eq!(run.update_addresses(0).await, Ok(()));
    assert_eq!(memory.site().haproxies[0].worker.as_ref().unwrap().lines[0].address, moved_to());
    assert_eq!(run.update_addresses(0).await, Ok(()), "it is there already");
    let told = stage.heard.warnings();
    assert!(told[0].starts_with("HAProxy sends mobile/app1 to 127.0.0.9:50000 now"), "{told:?}");
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_haproxy_resolves_itself_is_waited_for() {
    let mut stage = named(true).await;
    let limit = stage.plan.goal.policy.ready_timeout;
    let run = stage.run();
    run.at(0).send_to(app1(), moved_to());
    run.maint(0).await.unwrap();
    let failed = StepError::AddressNotUpdated { server: app1(), address: moved_to(), limit };
    assert_eq!(run.update_addresses(0).await, Err(failed));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_haproxy_refuses_fails_the_step() {
    let mut stage = named(false).await;
    stage.suffers("set address", 0, Fault::Refused);
    let run = stage.run();
    run.at(0).send_to(app1(), moved_to());
    run.maint(0).await.unwrap();
    assert!(is_refusal(&run.update_addresses(0).await));
}

/// A probe of another address, such as that of a check, is not redirected.
#[tokio::test(start_paused = true)]
async fn a_server_is_probed_where_its_container_is_now() {
    let mut stage = named(false).await;
    let server = stage.plan.lanes[0].servers[0].clone();
    let run = stage.run();
    assert_eq!(*run.probe_of(0, &server, &server.probe), server.probe);
    run.at(0).send_to(app1(), "127.0.0.9:1".parse().unwrap());
    assert_eq!(run.probe_of(0, &server, &server.probe).address, moved_to(), "the port is the probe's");
    let elsewhere =
        crate::model::probe::Probe { address: "127.0.0.7:80".parse().unwrap(), ..server.probe.clone() };
    assert_eq!(run.probe_of(0, &server, &elsewhere).address, elsewhere.address);
}

#[tokio::test(start_paused = true)]
async fn a_container_elsewhere_is_named_with_the_addresses_that_it_has() {
    let mut stage = Stage::pair().await;
    let memory = stage.memory.clone();
    let run = stage.run();
    let id = memory.site().engine.containers[0].container.id.clone();
    assert_eq!(run.check_addresses(0, Some(&id)).await, Ok(()));
    let has = |change: &dyn Fn(&mut crate::observation::Container)| {
        let mut site = memory.site();
        let container = &mut site.engine.containers[0].container;
        container.networks.clear();
        change(container);
    };
    has(&|it| it.published[0].port = 50_900);
    let Err(StepError::WrongAddress { has: addresses, .. }) = run.check_addresses(0, Some(&id)).await else {
        panic!("it is at another port")
    };
    assert_eq!(addresses, "127.0.0.1:50900");
    has(&|it| it.published.clear());
    let Err(StepError::WrongAddress { has: addresses, .. }) = run.check_addresses(0, Some(&id)).await else {
        panic!("it has no address")
    };
    assert_eq!(addresses, "none");
}
