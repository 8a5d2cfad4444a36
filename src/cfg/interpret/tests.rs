use super::*;
use crate::cfg::{Port, Severity, SourceFile, read};

fn configuration_in(version: &str, text: &str) -> Configuration {
    let environment = Environment::new([].into(), version.parse().unwrap());
    let files = vec![SourceFile { path: "h.cfg".into(), bytes: text.as_bytes().to_vec() }];
    interpret(&read(files, &environment))
}

fn configuration(text: &str) -> Configuration {
    configuration_in("2.6", text)
}

fn codes(configuration: &Configuration) -> Vec<&'static str> {
    configuration.problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn a_misspelled_setting_is_shown_with_the_nearest_one() {
    let found = configuration("backend b\n server a 127.0.0.1:80 chek\n");
    let [problem] = found.problems.as_slice() else { panic!("{found:?}") };
    assert_eq!((problem.code, problem.severity, problem.column), (code::SERVER_KEYWORD, Severity::Error, 24));
    assert_eq!(problem.help.as_deref(), Some("did you mean `check`?"));
    assert!(found.has_errors() && found.backend("b").is_some() && found.backend("c").is_none());
}

#[test]
fn a_setting_that_came_later_is_unknown_before() {
    let text = "backend b\n server a 127.0.0.1:80 check strict-maxconn\n";
    assert_eq!(codes(&configuration_in("3.0", text)), [code::SERVER_KEYWORD]);
    assert_eq!(codes(&configuration_in("3.2", text)), Vec::<&str>::new());
}

#[test]
fn sections_and_names_follow_the_version() {
    assert_eq!(codes(&configuration_in("2.2", "backend b from d\n")), [code::SECTION_ARGUMENT]);
    assert_eq!(codes(&configuration_in("3.2", "program p\n")), Vec::<&str>::new());
    assert_eq!(codes(&configuration_in("3.3", "program p\n")), [code::OUT_OF_SECTION]);
    let shared = "frontend x\nbackend x\n";
    assert_eq!(codes(&configuration_in("3.2", shared)), Vec::<&str>::new());
    assert_eq!(codes(&configuration_in("3.3", shared)), [code::DUPLICATE_SECTION]);
}

#[test]
fn a_backend_and_then_a_listen_of_its_name_are_only_doubtful() {
    let found = configuration("backend x\nlisten x\n");
    assert_eq!(found.problems[0].severity, Severity::Warning);
    let found = configuration("listen x\nbackend x\n");
    assert_eq!(found.problems[0].severity, Severity::Error);
}

#[test]
fn settings_stay_in_their_section() {
    let found = configuration(
        "backend a\n default-server weight 9\n option persist\nbackend b\n server s 127.0.0.1:80\n",
    );
    assert_eq!((found.proxies[1].servers[0].weight, found.proxies[1].persist), (1, false));
}

#[test]
fn numbers_are_read_like_haproxy_reads_them() {
    let found = configuration("backend b\n server a 127.0.0.1:80 weight 10% maxconn 0 port 99999 rise 3x\n");
    let server = &found.proxies[0].servers[0];
    assert_eq!((server.weight, server.maxconn, server.check_port, server.rise), (10, None, None, Some(3)));
    assert_eq!(codes(&found), [code::NOT_A_NUMBER; 3]);
    assert!(!found.has_errors());
}

#[test]
fn a_check_goes_where_addr_and_port_say() {
    let text = "backend b\n default-server check\n server a 127.0.0.1:80\n server b 127.0.0.1:80 port 81\n \
                server c 127.0.0.1:80 addr 127.0.0.2\n server d 127.0.0.1:80 addr 127.0.0.2:82\n \
                server e /run/e.sock\n server f 127.0.0.1:80 addr 127.0.0.2:82 port 83\n server g 127.0.0.1\n";
    let found = configuration(text);
    let checked: Vec<_> =
        found.proxies[0].servers.iter().map(|server| server.checked_address().to_string()).collect();
    let expected = [
        "127.0.0.1:80",
        "127.0.0.1:81",
        "127.0.0.2:80",
        "127.0.0.2:82",
        "/run/e.sock",
        "127.0.0.2:83",
        "127.0.0.1",
    ];
    assert_eq!(checked, expected);
    let own = |server: usize| found.proxies[0].servers[server].address.clone();
    assert!(matches!(own(6), crate::cfg::Address::Inet { port: Port::Client, .. }));
}

#[test]
fn a_huge_template_is_refused_instead_of_built() {
    let found = configuration("backend b\n server-template a 1-4294967295 127.0.0.1:80\n");
    assert_eq!((codes(&found), found.proxies[0].servers.len()), (vec![code::SERVER_RANGE], 0));
}

#[test]
fn a_section_may_start_only_in_the_branch_that_is_taken() {
    let found = configuration("backend a\n.if 0\nbackend b\n.endif\n server s 127.0.0.1:80\n");
    assert_eq!((found.proxies.len(), found.proxies[0].servers.len()), (1, 1));
}

#[test]
fn server_state_file_is_no_server() {
    let found = configuration("global\n server-state-file /x\nbackend b\n server-state-file-name x\n");
    assert_eq!((codes(&found), found.proxies[0].servers.len()), (vec![], 0));
}

#[test]
fn a_section_may_take_its_states_from_a_file_of_its_own() {
    let text = "global\n server-state-base /var/lib/haproxy\n server-state-file all\ndefaults\n \
                load-server-state-from-file local\nbackend a\nbackend b\n server-state-file-name bee\nbackend c\n \
                server-state-file-name /c\nbackend d\n load-server-state-from-file none\n";
    let files = |text: &str| {
        let files = configuration(text).state_files();
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(files(text), ["/c", "/var/lib/haproxy/a", "/var/lib/haproxy/bee"]);
    assert_eq!(files(&text.replace("none", "global")).pop().as_deref(), Some("/var/lib/haproxy/bee"));
    assert_eq!(files(&text.replace("none", "global")).len(), 4);
}

#[test]
fn a_section_without_balance_chooses_at_random_since_3_3() {
    let text =
        "backend a\n server a 127.0.0.1:80\nbackend b\n balance\ndefaults\nbackend c\n balance source\n";
    let balances = |version| -> Vec<String> {
        configuration_in(version, text).proxies.into_iter().map(|proxy| proxy.balance).collect()
    };
    assert_eq!(balances("3.2"), ["roundrobin", "roundrobin", "source"]);
    assert_eq!(balances("3.3"), ["random", "random", "source"]);
}

#[test]
fn what_a_version_no_longer_has_is_refused() {
    let text = "global\n master-worker\n master-worker no-exit-on-failure\n tune.quic.reorder-ratio 50\n \
                tune.quic.fe.cc.reorder-ratio 50\nlisten a\n dispatch 127.0.0.1:80\n \
                option transparent\n filter opentracing id x\n filter compression\n server a 127.0.0.1:80\n";
    let found = configuration_in("3.5", text);
    assert_eq!(codes(&found), [code::REMOVED_KEYWORD; 5]);
    assert_eq!(found.proxies[0].servers.len(), 1);
    assert_eq!(codes(&configuration_in("3.4", text)), Vec::<&str>::new());
}

#[test]
fn the_limit_of_reloads_is_read() {
    let limit = |text: &str| configuration(text).max_reloads;
    assert_eq!(limit("global\n mworker-max-reloads 3\n"), Some(3));
    assert_eq!(limit("global\n maxconn 3\n"), None);
}

#[test]
fn the_last_stats_timeout_counts() {
    let timeout = |text: &str| configuration(text).stats_timeout;
    assert_eq!(timeout("global\n stats timeout 30s\n stats timeout 2m\n"), Some(Duration::from_secs(120)));
    assert_eq!(timeout("global\n stats timeout soon\nbackend b\n timeout server 5s\n"), None);
}

#[test]
fn problems_stand_in_the_order_of_the_file() {
    let found = configuration("backend b\n sever a\n server a \"x\n mode banana\n use-server zz if TRUE\n");
    let lines: Vec<_> = found.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
}

#[test]
fn levels_are_not_mistaken_for_other_words() {
    let found = configuration(
        "global\n stats socket /a user level group admin mode 600\n stats socket /b level admin\n",
    );
    let levels: Vec<_> = found.stats_sockets.iter().map(|socket| socket.level.to_string()).collect();
    assert_eq!(
        (levels, found.stats_sockets[1].place.to_string().as_str()),
        (vec!["operator".into(), "admin".into()], "h.cfg:3")
    );
}
