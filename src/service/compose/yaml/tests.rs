//! Parsed trees, and the errors for invalid texts.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

/// Formats a tree similar to JSON; quoted scalars stay quoted.
fn shown(node: &Node) -> String {
    match node {
        Node::Scalar(it) if it.is_plain => it.text.clone(),
        Node::Scalar(it) => format!("{:?}", it.text),
        Node::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Node::Map(map) => {
            let entries = map.iter().map(|(key, node)| format!("{key}:{}", shown(node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
        }
    }
}

fn tree(text: &str) -> String {
    shown(&read(text).unwrap())
}

fn problem(text: &str) -> (usize, YamlProblem) {
    let error = read(text).unwrap_err();
    (error.line, error.problem)
}

#[test]
fn scalars_keep_their_text() {
    assert_eq!(tree(""), "{}");
    assert_eq!(tree("# nothing\n"), "{}");
    assert_eq!(tree("\u{feff}a: 1"), "{a:1}");
    assert_eq!(tree("a: 1.10\nb: '1'\nc: [x, \"y\"]\nd:\n8080: z"), "{8080:z a:1.10 b:\"1\" c:[x \"y\"] d:}");
    assert_eq!(tree("a: |\n  two\n  lines\nb: !!str 1"), "{a:\"two\\nlines\\n\" b:\"1\"}");
    assert_eq!(tree("a: !!map {b: !!seq [c]}"), "{a:{b:[c]}}");
}

#[test]
fn anchors_are_repeated_and_merged() {
    assert_eq!(tree("a: &x [1, 2]\nb: *x"), "{a:[1 2] b:[1 2]}");
    assert_eq!(tree("a: &x {k: 1, l: 2}\nb:\n  l: 3\n  <<: *x"), "{a:{k:1 l:2} b:{k:1 l:3}}");
    let several = "a: &x {k: 1}\nb: &y {k: 2, l: 2}\nc:\n  <<: [*x, *y]\n  m: 3\nd: {<<: *y, <<: *x}";
    assert_eq!(tree(several), "{a:{k:1} b:{k:2 l:2} c:{k:1 l:2 m:3} d:{k:2 l:2}}");
    let chain = "a: &x {k: 1}\nb: &y {<<: *x, l: 2}\nc: {<<: *y}";
    assert_eq!(tree(chain), "{a:{k:1} b:{k:1 l:2} c:{k:1 l:2}}");
    assert_eq!(tree("a: {'<<': 1}"), "{a:{<<:1}}");
}

#[test]
fn errors_name_the_line() {
    for (text, line, expected) in [
        ("a: 1\na: 2", 2, YamlProblem::Twice("a".to_owned())),
        ("a: 1\n---\nb: 1", 2, YamlProblem::Documents),
        ("a:\n  ? [b]\n  : c", 2, YamlProblem::Key),
        ("a: 1\nb: !reset 2", 2, YamlProblem::Tag("!reset".to_owned())),
        ("a: !override [2]", 1, YamlProblem::Tag("!override".to_owned())),
        ("a: &x\n  b: *x", 2, YamlProblem::Endless),
        ("a: {<<: 1}", 1, YamlProblem::Merge),
        ("a: {<<: [{}, 1]}", 1, YamlProblem::Merge),
    ] {
        assert_eq!(problem(text), (line, expected), "{text}");
    }
    for text in [
        "a: [hunter2",
        "a: 'hunter2",
        "a: *hunter2",
        "a: b\n hunter2: c",
        "a:\n\t- hunter2: d",
        "a: @hunter2",
    ] {
        let error = read(text).unwrap_err();
        assert!(matches!(error.problem, YamlProblem::Syntax(_)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_small_file_cannot_become_a_big_one() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    assert_eq!(problem(&laughs).1, YamlProblem::Heavy);
    let mut merges = "a0: &a0 {k0: 1}\n".to_owned();
    for level in 1..40 {
        let before = level - 1;
        writeln!(
            merges,
            "a{level}: &a{level} {{<<: [*a{before}, *a{before}], k{level}: {{<<: *a{before}}}}}"
        )
        .unwrap();
    }
    assert_eq!(problem(&merges).1, YamlProblem::Heavy);
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        writeln!(deep, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert_eq!(problem(&deep), (64, YamlProblem::Deep));
    assert_eq!(problem(&"[".repeat(70)).1, YamlProblem::Deep);
    assert!(read(&"[".repeat(100_000)).is_err());
    assert!(read(&"- ".repeat(100_000)).is_err());
    assert!(read(&"a: ".repeat(100_000)).is_err());
    assert!(read(&"? ".repeat(100_000)).is_err());
    assert!(read(&"{".repeat(100_000)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _either = read(&text);
    }

    #[test]
    fn no_text_like_yaml_makes_the_parser_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "b:", ": ", "- ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ",", "&x ", "*x", "<<: ", "!t ", "!!str ", "|", ">",
            "'", "\"", "? ", "#", "---\n", "...\n", "%YAML 1.2\n", "\t", "\\", "\r\n", "é", "\u{feff}", "$", "@", "`", "|2-\n", "\0",
        ]), 0..40)
    ) {
        let _either = read(&words.concat());
    }
}
