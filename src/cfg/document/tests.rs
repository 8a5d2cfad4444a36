use proptest::prelude::*;

use super::*;
use crate::cfg::{Branch, Conditional, interpret};

fn environment(version: Version) -> Environment {
    Environment::new([("V".to_owned(), "a b".to_owned())].into(), version)
}

fn document(version: Version, text: &str) -> Document {
    read(vec![SourceFile { path: "h.cfg".into(), bytes: text.as_bytes().to_vec() }], &environment(version))
}

fn codes(version: Version, text: &str) -> Vec<(&'static str, super::super::Severity)> {
    interpret(&document(version, text)).problems.iter().map(|p| (p.code, p.severity)).collect()
}

#[test]
fn lines_know_how_they_end_and_whether_they_count() {
    let document = document(Version::new(2, 6), "global\r\n.if 0\n daemon # c\n.endif\n\n");
    let lines: Vec<_> = document.files[0].lines().collect();
    assert_eq!(
        lines.iter().map(|line| line.is_active()).collect::<Vec<_>>(),
        [true, true, false, true, true]
    );
    assert_eq!((lines[0].ending(), lines[1].ending()), (Ending::CrLf, Ending::Lf));
    assert_eq!(lines[2].comment().map(|span| &document.files[0].bytes[span]), Some(&b"# c"[..]));
    assert_eq!(document.problems, []);
}

/// Returns which lines are active, one letter per line.
fn active(text: &str) -> String {
    let document = document(Version::new(2, 6), text);
    assert_eq!(document.problems, []);
    document.files[0].lines().map(|line| if line.is_active() { '+' } else { '-' }).collect()
}

#[test]
fn one_branch_of_a_block_is_taken() {
    assert_eq!(active(".if 1\na\n.elif 1\nb\n.elif 1\nc\n.else\nd\n.endif\n"), "+++-+-+-+");
    assert_eq!(active(".if 0\na\n.elif 0\nb\n.elif 1\nc\n.else\nd\n.endif\n"), "+-+-+++-+");
    assert_eq!(active(".if 0\na\n.else\nd\n.endif\ne\n"), "+-++++");
}

#[test]
fn a_block_in_a_dropped_branch_is_dropped_with_it() {
    assert_eq!(active(".if 0\n.if 1\na\n.else\nb\n.endif\n.else\nc\n.endif\n"), "+-----+++");
}

#[test]
fn blocks_are_a_tree() {
    let text = ".if 1\n.if 0\n.else\n.endif\n.elif 1\n.endif\nglobal\n.if 0\n.endif\n";
    let document = document(Version::new(2, 6), text);
    let branch = |line, taken, inner| Branch { line, taken, inner };
    let inner =
        Conditional { branches: vec![branch(2, false, vec![]), branch(3, true, vec![])], endif: Some(4) };
    let first = Conditional {
        branches: vec![branch(1, true, vec![inner]), branch(5, false, vec![])],
        endif: Some(6),
    };
    let second = Conditional { branches: vec![branch(8, false, vec![])], endif: Some(9) };
    assert_eq!(document.files[0].conditionals, [first, second]);
}

#[test]
fn a_block_that_is_left_open_is_a_block() {
    let document = document(Version::new(2, 6), ".if 1\n.if 1\n");
    let [outer] = &document.files[0].conditionals[..] else { panic!("{document:?}") };
    assert_eq!((outer.endif, outer.branches[0].inner[0].endif), (None, None));
}

#[test]
fn only_global_sets_variables() {
    let text = "defaults\n setenv X 1\n.if defined(X)\n bad '\n junk\n.endif\n";
    let document = document(Version::new(2, 6), text);
    assert!(!document.files[0].line(5).unwrap().is_active());
}

#[test]
fn a_missing_line_feed_is_an_error_since_2_3() {
    use super::super::Severity::{Error, Warning};
    assert_eq!(codes(Version::new(2, 2), "global"), [(code::MISSING_LINE_FEED, Warning)]);
    assert_eq!(codes(Version::new(2, 3), "global"), [(code::MISSING_LINE_FEED, Error)]);
    assert_eq!(codes(Version::new(2, 2), "global\n\0\n"), [(code::STRAY_NUL, Warning)]);
}

#[test]
fn directives_are_plain_words_before_2_4() {
    let found = codes(Version::new(2, 2), ".if 0\n.endif\n");
    assert_eq!(found.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [code::OUT_OF_SECTION; 2]);
}

#[test]
fn an_empty_word_is_worse_from_version_to_version() {
    use super::super::Severity::{Error, Warning};
    let text = "backend b\n server a 1.2.3.4:80 '' check\n";
    assert_eq!(codes(Version::new(3, 2), text), [(code::EMPTY_WORD, Warning)]);
    assert_eq!(codes(Version::new(3, 3), text), [(code::EMPTY_WORD, Error)]);
}

#[test]
fn what_global_sets_is_seen_at_once_and_in_later_files() {
    let file = |name: &str, text: &str| SourceFile { path: name.into(), bytes: text.as_bytes().to_vec() };
    let files = vec![
        file("1.cfg", "global\n setenv X 1\n.if defined(X)\n setenv Y 2\n.endif\n unsetenv X\n"),
        file("2.cfg", "backend b\n server s 127.0.0.\"${Y-9}${X-3}\":80\n"),
    ];
    let configuration = interpret(&read(files, &environment(Version::new(2, 6))));
    assert_eq!(configuration.problems, []);
    assert_eq!(configuration.proxies[0].servers[0].address.to_string(), "127.0.0.23:80");
}

#[test]
fn a_variable_that_grows_from_line_to_line_is_refused_before_it_takes_all_memory() {
    let growing = "global\n  setenv A xxxxxxxxxxxxxxxx\n".to_owned() + &"  setenv A \"$A$A\"\n".repeat(64);
    let found = codes(Version::new(2, 6), &growing);
    assert!(found.len() > 1 && found.iter().all(|(code, _)| *code == code::TOO_LONG), "{found:?}");
    // Many lines, each of which is short enough.
    let many = "global\n  setenv A \"".to_owned()
        + &"x".repeat(1 << 20)
        + "\"\n"
        + &"  setenv B \"$A\"\n".repeat(65);
    assert_eq!(codes(Version::new(2, 6), &many), [(code::TOO_LONG, super::super::Severity::Error)]);
}

#[test]
fn blocks_that_are_nested_too_deep_are_one_problem() {
    let nested =
        |depth: usize| codes(Version::new(2, 6), &(".if 1\n".repeat(depth) + &".endif\n".repeat(depth)));
    // HAProxy 2.6 and 3.4 read blocks nested this deep.
    assert_eq!(nested(99), []);
    assert_eq!(nested(100), [(code::DEEP_NESTING, super::super::Severity::Error)]);
    assert_eq!(nested(20_000), [(code::DEEP_NESTING, super::super::Severity::Error)]);
    let unclosed = codes(Version::new(2, 6), &".if 1\n".repeat(150));
    assert_eq!(unclosed.iter().filter(|(code, _)| *code == code::DEEP_NESTING).count(), 1);
}

/// Parts of a configuration.
const PIECES: &[&str] = &[
    "global",
    "defaults",
    "backend b",
    "listen l",
    "frontend f",
    "from",
    "server s",
    "server-template t",
    "default-server",
    "127.0.0.1:80",
    "[::1]:0x",
    "$V",
    "\"$V\"",
    "\"${V[*]}\"",
    "\"${N-d}\"",
    "\"",
    "'",
    "\\",
    "\\x4",
    "#",
    " ",
    " ",
    " ",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\0",
    "\t",
    ".if ",
    ".elif ",
    ".else",
    ".endif",
    ".alert ",
    "(",
    ")",
    "!",
    "&&",
    "||",
    "streq(a,b)",
    "defined(V)",
    "1",
    "0-3",
    "4294967295",
    "99999999999999999999",
    "check",
    "weight",
    "source",
    "usesrc",
    "set-proxy-v2-tlv-fmt(1)",
    "option httpchk",
    "http-check send",
    "http-check expect",
    "status 200-300",
    "meth",
    "hdr",
    "balance",
    "mode http",
    "cookie",
    "stats socket",
    "level",
    "setenv",
    "resetenv",
    "no ",
    "default ",
    "[",
    "]",
    "%",
    "é",
    "track",
    "use-server",
    "timeout check",
    "inter",
    "5s",
    "addr",
    "port",
    "-1",
];

/// Bytes that form a configuration more often than random bytes do.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(PIECES);
    let byte = any::<u8>().prop_map(|byte| vec![byte]);
    let part = prop_oneof![9 => piece.prop_map(|text: &str| text.as_bytes().to_vec()), 1 => byte];
    prop::collection::vec(part, 0..80).prop_map(|parts| parts.concat())
}

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(vec![(2, 2), (2, 4), (2, 6), (3, 0), (3, 2), (3, 5)])
        .prop_map(|(a, b)| Version::new(a, b))
}

fn comes_back(bytes: &[u8], version: Version) -> Result<(), TestCaseError> {
    let files = vec![SourceFile { path: "h.cfg".into(), bytes: bytes.to_vec() }];
    let document = read(files, &environment(version));
    prop_assert_eq!(document.bytes(0), bytes);
    for line in document.files[0].lines() {
        let spans = line.words().map(|word| word.span).chain(line.comment());
        for span in spans {
            prop_assert!(
                line.span().start <= span.start && span.start <= span.end && span.end <= line.span().end
            );
        }
    }
    for problem in interpret(&document).problems {
        prop_assert!(problem.span.end <= bytes.len() && problem.line > 0 && problem.column > 0);
        let shown = format!("{:?}", problem.report(&document));
        prop_assert!(!shown.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_come_back_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), version in version()) {
        comes_back(&bytes, version)?;
    }

    #[test]
    fn anything_like_a_configuration_comes_back_and_nothing_panics(bytes in soup(), version in version()) {
        comes_back(&bytes, version)?;
    }
}
