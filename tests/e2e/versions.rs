//! The table of HAProxy's versions in docs/concepts/haproxy-versions.md is true.

use std::collections::BTreeMap;

use drainswap::cfg::Version;
use drainswap::observation::LoadBalancerState;
use drainswap::topology::traffic::can_be_woken;

use crate::support::Site;

/// Returns the rows of the table: the features of each version and of those up to the next row.
fn table() -> BTreeMap<Version, Vec<bool>> {
    let page = include_str!("../../docs/concepts/haproxy-versions.md");
    let (_, table) = page.split_once("| HAProxy | servers come and go").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let branch = cells.next().expect("a branch").parse().expect("a version");
        (branch, cells.map(|cell| cell == "yes").collect())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real parts: make test"]
async fn what_each_version_can_is_what_its_page_says() {
    let table = table();
    assert!(table.len() >= 4, "{table:?}");
    let site = Site::here().await;
    let info = site.haproxy.command("show info").await;
    let version = info.lines().find_map(|line| line.strip_prefix("Version: ")).expect("a version");
    let running: Version = version.parse().expect("a version");
    let (_, said) = table.range(..=running).next_back().expect("a row");
    let added = site.haproxy.command("add server mobile/added 127.0.0.1:1").await;
    let seen = LoadBalancerState { version: version.to_owned(), ..LoadBalancerState::default() };
    let reloaded = site.haproxy.command_to_master("reload").await;
    let can = [added.contains("New server registered"), can_be_woken(&seen), reloaded.contains("Success=1")];
    assert_eq!(*said, can, "{version}: {added:?}, {reloaded:?}");
}
