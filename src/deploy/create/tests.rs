use super::*;

#[test]
fn a_pull_by_several_engines_reports_each_of_them() {
    let pull = |received, expected| PullProgress { received, expected, is_retrying: false };
    let told = |names: &[&str], now: &[PullProgress]| {
        let fact = pull_progress(&names.iter().copied().collect(), now);
        let EventKind::PullProgressed { received, expected, engines } = fact else { panic!("{fact:?}") };
        (received, expected, engines.len())
    };
    assert_eq!(told(&[""], &[pull(1, 4)]), (1, 4, 0));
    assert_eq!(told(&["", "ssh://app2"], &[pull(1, 4), pull(2, u64::MAX)]), (3, u64::MAX, 2));
}
