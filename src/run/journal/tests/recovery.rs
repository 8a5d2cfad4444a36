//! What a run left, and what a resume does with it.

use super::*;

#[test]
fn a_run_of_a_site_with_the_same_servers_and_engine_is_this_site_s() {
    let site = |address: &str| SiteIdentity {
        servers: [("mobile/app1".parse().unwrap(), address.to_owned())].into(),
        engines: BTreeSet::from(["one".to_owned()]),
        ..SiteIdentity::default()
    };
    let run = Run { site: Some(site("127.0.0.1:50000")), ..fold(&[opened()]) };
    assert!(run.is_of(&site("127.0.0.1:50000")) && !run.is_of(&site("127.0.0.1:50009")));
    assert!(fold(&[opened()]).is_of(&site("127.0.0.1:50000")), "it recorded no site");
}

#[test]
fn a_call_without_an_answer_that_is_recorded_twice_is_one() {
    let call = EngineCall::Remove { container: "c0".into() };
    let record = || Record::Unanswered { at: at(), engine: String::new(), call: call.clone() };
    let run = fold(&[opened(), begun(0, Step::Drain), record(), record()]);
    assert_eq!(run.progress.unanswered, [(String::new(), call)]);
}

/// Returns what a resume does with the first lane, which was replaced up to a step, given what the engine has.
fn recovered(last: Step, unanswered: Option<EngineCall>, change: impl FnOnce(&mut Vec<Container>)) -> String {
    let plan = plan();
    let old = plan.lanes[0].replacement.as_ref().unwrap().old.clone().unwrap();
    let steps = &plan.lanes[0].steps;
    let steps = &steps[..=steps.iter().position(|step| *step == last).unwrap()];
    let mut records = vec![opened()];
    for step in steps {
        records.push(begun(0, *step));
        records.extend((*step == Step::Create).then(|| created(0, "c0")));
        records.push(done(0, *step));
    }
    let engine = String::new();
    records.extend(unanswered.map(|call| Record::Unanswered { at: at(), engine, call }));
    let mut containers = vec![Container { id: "c0".into(), name: "new".to_owned(), ..old.clone() }, old];
    change(&mut containers);
    let recovery = fold(&records).recovery(&containers, Towards::Finish).to_string();
    recovery.lines().find(|line| line.contains("mobile/app1:")).unwrap().trim().to_owned()
}

#[test]
fn a_container_that_may_be_stopping_does_not_count_as_running() {
    assert_snapshot!(recovered(Step::Ready, None, |all| drop(all.pop())), @"mobile/app1: will be finished (prove, ready, confirm)");
    let stop = |container: &ContainerId| Some(EngineCall::Stop { container: container.clone() });
    let of_new = recovered(Step::Ready, stop(&"c0".into()), |all| drop(all.pop()));
    assert_snapshot!(of_new, @"mobile/app1: will be finished (drain, wait, maint, settle, start, prove, ready, confirm)");
    let old = plan().lanes[0].replacement.as_ref().unwrap().old.as_ref().unwrap().id.clone();
    assert_snapshot!(recovered(Step::Ready, None, |_| ()), @"mobile/app1: has its old container again (return, prove old, put back)");
    assert_snapshot!(recovered(Step::Ready, stop(&old), |_| ()), @"mobile/app1: will be finished (prove, ready, confirm)");
}

#[test]
fn only_the_containers_of_a_lane_s_engine_are_its_own() {
    let elsewhere = |all: &mut Vec<Container>| {
        for it in all {
            it.engine = "ssh://other".to_owned();
        }
    };
    assert_snapshot!(recovered(Step::Drain, None, elsewhere), @"mobile/app1: will be put back and replaced again (put back, discard)");
}

#[test]
fn a_lane_that_had_no_container_leaves_nothing_that_the_operator_prepares() {
    let mut run = fold(&[opened(), begun(0, Step::Create), created(0, "c0"), begun(0, Step::Drain)]);
    run.plan.lanes[0].replacement.as_mut().unwrap().old = None;
    let mut containers = World::pair().observation.containers;
    assert!(!run.is_left_in(&containers));
    containers[0].id = "c0".into();
    assert!(run.is_left_in(&containers), "the new one has the place's name and restart policy");
}

#[test]
fn a_line_shorter_than_a_checksum_has_none() {
    let after = [&bytes(&[opened()])[..], b"\"}\n"].concat();
    assert!(Run::read(&after).is_err());
}

#[test]
fn the_container_that_takes_over_is_the_created_one_or_the_one_that_comes_back() {
    let mut run = fold(&[opened(), begun(0, Step::Create), created(0, "c0")]);
    run.plan.lanes[1].replacement = None;
    let of = |run: &Run, lane| run.progress.new_container(&run.plan, lane).map(|id| id.0.clone());
    assert_eq!((of(&run, 0), of(&run, 1), of(&run, 2)), (Some("c0".to_owned()), None, None));
    run.progress.created.clear();
    assert_eq!(of(&run, 0), None);
    let replacement = run.plan.lanes[0].replacement.as_mut().unwrap();
    replacement.returning = Some(Container { id: "kept".into(), ..replacement.like.clone() });
    assert_eq!(of(&run, 0), Some("kept".to_owned()));
}
