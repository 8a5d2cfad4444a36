use super::*;
use crate::adapters::haproxy::tests::{Fake, INFO, stat, state};
use crate::observation::{AdminBits, RunningSettings};
use crate::testing::World;

fn world(line: &str) -> World {
    World::of(&format!("\nbackend mobile\n    server app1 127.0.0.1:50000 {line}\n"))
}

/// Returns what is restored after a reload with a new line, for a server with these states before and after the
/// reload.
fn reapply(
    lines: [&str; 2],
    before: impl Fn(&mut ServerState),
    after: impl Fn(&mut ServerState),
) -> Vec<String> {
    set_since(ChangeSource::Reload, lines, before, after)
}

fn set_since(
    since: ChangeSource<'_>,
    lines: [&str; 2],
    before: impl Fn(&mut ServerState),
    after: impl Fn(&mut ServerState),
) -> Vec<String> {
    let [old, new] = lines.map(world);
    let id = "mobile/app1";
    let old = old.server(id, |it| before(it));
    let new = new.server(id, |it| after(it));
    let states = States::set_at_runtime(&old.observation.load_balancers[0], &old.configuration);
    let seen = &new.observation.load_balancers[0];
    let all = states.mismatches(seen, &new.configuration, since);
    all.iter().map(|(_, it)| it.to_string()).collect()
}

const NOTHING: [&str; 0] = [];

fn as_it_is(_: &mut ServerState) {}

#[test]
fn only_what_was_set_at_runtime_is_set_again() {
    let weight = |now, read| move |it: &mut ServerState| (it.weight, it.initial_weight) = (now, read);
    let kept = reapply(["check weight 5", "check weight 3"], weight(7, 5), as_it_is);
    assert_eq!(kept, ["weight 7, not 3"]);
    // Edited in the file by hand and not read since: the running weight is outdated, not set.
    assert_eq!(reapply(["check weight 2", "check weight 3"], weight(1, 1), as_it_is), NOTHING);
    // Set to the value in the file, while HAProxy has read another one.
    assert_eq!(reapply(["check weight 2", "check weight 3"], weight(2, 1), as_it_is), NOTHING);
    let admin = |bits| move |it: &mut ServerState| it.admin = AdminBits(bits);
    assert_eq!(reapply(["check", "check"], admin(8), as_it_is), ["drain, not ready"]);
    assert_eq!(reapply(["check disabled", "check disabled"], admin(4), admin(5)), ["ready, not maint"]);
    // `disabled` was added to the file by hand, or removed, and not read since.
    assert_eq!(reapply(["check disabled", "check disabled"], admin(0), admin(5)), NOTHING);
    assert_eq!(reapply(["check", "check"], admin(5), as_it_is), NOTHING);
}

#[test]
fn servers_added_again_get_their_states_as_after_a_reload() {
    let slot = ["check disabled"; 2];
    let in_use = |it: &mut ServerState| {
        (it.admin, it.address) = (AdminBits(4), "127.0.0.1:50009".parse().ok());
    };
    let fresh = |it: &mut ServerState| it.admin = AdminBits(5);
    let added = BTreeSet::from([ServerId::new("mobile", "app1")]);
    assert_eq!(
        set_since(ChangeSource::Added(&added), slot, in_use, fresh),
        ["address 127.0.0.1:50009, not 127.0.0.1:50000", "ready, not maint"]
    );
    assert_eq!(set_since(ChangeSource::Added(&BTreeSet::new()), slot, in_use, fresh), ["ready, not maint"]);
}

#[test]
fn an_agent_that_was_turned_off_is_off_again_before_what_it_would_change() {
    let before = |it: &mut ServerState| (it.admin, it.checks.agent) = (AdminBits(8), Checking::Off);
    let after = |it: &mut ServerState| it.checks.agent = Checking::On;
    let line = "check agent-check agent-port 81";
    assert_eq!(reapply([line, line], before, after), ["agent off, not on", "drain, not ready"]);
    let by_agent = |it: &mut ServerState| (it.weight, it.checks.agent) = (40, Checking::On);
    assert_eq!(reapply([line, line], |it| it.checks.agent = Checking::On, by_agent), NOTHING);
}

#[test]
fn a_state_file_does_not_leave_an_unchecked_server_down() {
    let down = |it: &mut ServerState| it.operational = Operational::Stopped;
    let in_maint = |it: &mut ServerState| (it.operational, it.admin) = (Operational::Stopped, AdminBits(5));
    assert_eq!(reapply(["disabled", ""], in_maint, down), ["up, not down"]);
    assert_eq!(reapply(["", ""], down, down), NOTHING, "that was set");
    assert_eq!(reapply(["check disabled", "check"], in_maint, down), NOTHING, "its check will tell");
}

#[test]
fn settings_of_a_state_file_give_way_to_the_line_and_a_slot_in_use_keeps_its_address() {
    let elsewhere = |it: &mut ServerState| it.address = "127.0.0.1:50009".parse().ok();
    let address = "address 127.0.0.1:50000, not 127.0.0.1:50009";
    assert_eq!(reapply(["check", "check"], as_it_is, elsewhere), [address]);
    assert_eq!(reapply(["check", "check"], elsewhere, as_it_is), NOTHING, "as after any reload");
    let plain = |it: &mut ServerState| {
        it.settings = Some(RunningSettings { check_port: Some(81), ..RunningSettings::default() });
    };
    assert_eq!(
        reapply(["check", "check ssl verify none"], as_it_is, plain),
        ["ssl, not no ssl", "no check port, not check port 81"]
    );
    let in_use = |it: &mut ServerState| {
        (it.admin, it.address) = (AdminBits(4), "127.0.0.1:50009".parse().ok());
    };
    let fresh = |it: &mut ServerState| it.admin = AdminBits(5);
    let slot = "check disabled";
    assert_eq!(
        reapply([slot, slot], in_use, fresh),
        ["address 127.0.0.1:50009, not 127.0.0.1:50000", "ready, not maint"]
    );
    assert_eq!(reapply([slot, "check"], in_use, as_it_is), NOTHING, "it is a server of its own now");
}

#[test]
fn an_edited_file_sets_weights_and_states_but_no_setting_that_traffic_depends_on() {
    let edited =
        |line: &str, now: &dyn Fn(&mut ServerState)| set_since(ChangeSource::Edit, [line, line], now, now);
    let read = |it: &mut ServerState| (it.weight, it.initial_weight) = (1, 1);
    assert_eq!(edited("check weight 9", &read), ["weight 9, not 1"]);
    assert_eq!(edited("check disabled", &|it| it.admin = AdminBits(0)), ["maint, not ready"]);
    let elsewhere = |it: &mut ServerState| {
        it.address = "127.0.0.1:50009".parse().ok();
        it.settings = Some(RunningSettings { ssl: true, ..RunningSettings::default() });
    };
    assert_eq!(edited("check", &elsewhere), NOTHING);
    assert_eq!(edited("check weight 9", &|it| (it.weight, it.initial_weight) = (7, 1)), NOTHING, "set");
}

/// An agent that was asked before it was turned off answers afterwards, with another weight.
#[tokio::test]
async fn the_last_answer_of_an_agent_is_set_back() {
    let (mut weight, mut agent) = (3, "22");
    let fake = Fake::listening(100, move |line| {
        let line = line.trim();
        if line.starts_with("show info") {
            let row = format!("127.0.0.1 2 0 {weight} 3 6 {agent} 80");
            // The check is in flight during one look, and has set the weight in the next one.
            if agent == "19" {
                (agent, weight) = ("18", 1);
            }
            return [INFO, &state(0).replace("10.0.0.1 2 0 1 3 6 18 80", &row), &stat()].concat();
        }
        match line {
            "disable agent b/s" => agent = "19",
            "set server b/s weight 3" => weight = 3,
            other => panic!("{other}"),
        }
        "\n".to_owned()
    });
    let line = "\nbackend b\n    server s 127.0.0.1:80 check agent-check agent-port 81 weight 3\n";
    let off = World::of(line).server("b/s", |it| it.checks.agent = Checking::Off);
    let states = States::set_at_runtime(&off.observation.load_balancers[0], &off.configuration);
    let done = states.reapply(&fake.socket, &off.configuration, ChangeSource::Reload).await.unwrap();
    assert_eq!(done.set, ["b/s: agent off, not on", "b/s: weight 3, not 1"]);
    assert_eq!(done.refused, NOTHING);
}

#[test]
fn servers_whose_state_file_entries_differ_count_as_changed() {
    let of = |lines: &str| World::of(&format!("\nbackend mobile\n{lines}")).configuration;
    let old = of(
        "    server a 127.0.0.1:1\n    server b 127.0.0.1:2\n    server c 127.0.0.1:3\n    server e 127.0.0.1:5 agent-check agent-port 81\n",
    );
    let new = of(
        "    server a 127.0.0.1:1 backup\n    server b 127.0.0.1:4\n    server d 127.0.0.1:3\n    server e 127.0.0.1:5 agent-check agent-port 82\n",
    );
    let changed: Vec<String> = changed(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(changed, ["mobile/b", "mobile/c", "mobile/d", "mobile/e"]);
}
