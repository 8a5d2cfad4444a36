use insta::assert_snapshot;

use super::*;
use crate::model::probe::Question;
use crate::testing::{World, plan_file};

const RECORDED: &str = include_str!("../../../fixtures/plan/version-1.json");

/// An earlier drainswap wrote this file. What an earlier version wrote always loads.
#[test]
fn a_plan_file_of_version_1_loads_and_is_written_the_same() {
    let file = PlanFile::read(RECORDED.as_bytes()).unwrap();
    assert_eq!((file.plan.goal.backend.as_str(), file.plan.lanes.len()), ("mobile", 4));
    assert_eq!(file.text(), RECORDED);
}

#[test]
fn a_file_that_is_not_a_plan_file_is_refused_with_advice() {
    let error = |text: &str| PlanFile::read(text.as_bytes()).unwrap_err().to_string();
    let other = |version: &str| error(&RECORDED.replacen("\"version\": 1", version, 1));
    assert_snapshot!(error(""), @"not a plan file, or a damaged one: EOF while parsing a value at line 1 column 0. Save the plan again with `drainswap plan … --save`");
    assert_snapshot!(error(&RECORDED[..RECORDED.len() / 2]), @"not a plan file, or a damaged one: EOF while parsing a string at line 422 column 55. Save the plan again with `drainswap plan … --save`");
    assert_snapshot!(error("{\"run\":\"20261123T221500.000Z\"}"), @"not a plan file, or a damaged one: missing field `version` at line 1 column 30. Save the plan again with `drainswap plan … --save`");
    assert_snapshot!(other("\"version\": 2, \"more\": true"), @"unsupported plan version 2: this drainswap reads version 1. Apply it with the drainswap that saved it, or save the plan again with this one");
    assert_snapshot!(other("\"version\": 0"), @"unsupported plan version 0: this drainswap reads version 1. Apply it with the drainswap that saved it, or save the plan again with this one");
    assert_snapshot!(error(&RECORDED.replace("\"deploy\"", "\"destroy\"")), @"not a plan file, or a damaged one: unknown variant `destroy`, expected `deploy` or `rollback` at line 75 column 24. Save the plan again with `drainswap plan … --save`");
    let mut empty = plan_file(&World::origin());
    empty.plan.lanes[1].servers.clear();
    assert_snapshot!(error(&empty.text()), @"not a plan file, or a damaged one: a lane has no server at line 388 column 21. Save the plan again with `drainswap plan … --save`");
}

/// Otherwise the steps of one would be compared with the steps of the other.
#[test]
fn a_server_has_one_place_in_the_lanes() {
    let renamed = |was: &str, is: &str| {
        let text = RECORDED.replacen(&format!("\"id\": \"{was}\""), &format!("\"id\": \"{is}\""), 1);
        assert_ne!(text, RECORDED);
        PlanFile::read(text.as_bytes()).map(|file| file.plan.lanes.len())
    };
    let reason = "mobile/app1b is in two lanes, or twice in one".to_owned();
    assert_eq!(
        renamed("mobile/app2b", "mobile/app1b"),
        Err(NotAPlanFile::Garbled { reason: reason.clone() })
    );
    assert_eq!(renamed("mobile/app2b", "mobile/app3b"), Ok(4));
    let mut twice = plan_file(&World::origin());
    let lane = twice.plan.lanes.iter_mut().find(|lane| lane.name().server == "app1b").unwrap();
    lane.servers.push(lane.servers[0].clone());
    assert_eq!(PlanFile::read(twice.text().as_bytes()), Err(NotAPlanFile::Garbled { reason }));
}

#[test]
fn a_server_without_an_address_is_reported_as_such() {
    let world = World::origin().server("mobile/app1", |server| server.address = None);
    let seen = seen_servers(&world.observation.load_balancers, &World::origin().plan("v2").unwrap());
    assert_eq!(seen[0].to_string(), "ready, up, weight 1, no address");
    assert_eq!(seen[1].to_string(), "ready, up, weight 1, 127.0.0.1:50001");
}

#[test]
fn a_plan_file_leaves_out_headers_and_bodies_of_checks() {
    let world = World::of(
        "
backend mobile
    mode http
    option httpchk
    http-check send meth POST uri /health hdr Authorization s3cret hdr Host shop body s3cret
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
",
    );
    let secret = |plan: &Plan| serde_json::to_string(plan).unwrap().matches("s3cret").count();
    assert!(secret(&world.plan("v2").unwrap()) > 0);
    let file = plan_file(&world);
    assert_eq!(secret(&file.plan), 0);
    let Question::Http { headers, body, .. } = &file.plan.probes[0].1.question else { panic!("{file:?}") };
    assert_eq!((headers[0].0.as_str(), headers[0].1.as_str()), ("Authorization", "***"));
    assert_eq!(body.as_deref(), Some("***"));
}
