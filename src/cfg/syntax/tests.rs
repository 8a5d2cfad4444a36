use super::*;

fn environment(version: Version) -> Environment {
    let variables = [("A", "one"), ("TWO", "x y"), ("EMPTY", ""), ("ODD", "a#b\"c$d\\e")];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Environment::new(variables, version)
}

/// The result of splitting a line.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    words: Vec<(Range<usize>, Vec<u8>)>,
    split: Split,
}

fn lex(version: Version, line: &[u8]) -> Result<Found, (SplitError, Range<usize>)> {
    lex_with(split, version, line)
}

type Splitter =
    fn(&[u8], usize, &ParseContext<'_>, &mut PackedWords) -> Result<Split, (SplitError, Range<usize>)>;

fn lex_with(splitter: Splitter, version: Version, line: &[u8]) -> Result<Found, (SplitError, Range<usize>)> {
    let environment = environment(version);
    let around = ParseContext {
        environment: &environment,
        file: "h.cfg",
        line: 7,
        section: "app",
        room: MAX_EXPANSION,
    };
    let mut packed = PackedWords::default();
    let split = splitter(line, 0, &around, &mut packed)?;
    let words = (0..packed.len()).filter_map(|index| packed.get(index, line));
    Ok(Found { words: words.map(|word| (word.span, word.bytes.to_vec())).collect(), split })
}

/// Works like [`split`], but passes every word through the parser.
fn parse(
    line: &[u8],
    offset: usize,
    around: &ParseContext<'_>,
    words: &mut PackedWords,
) -> Result<Split, (SplitError, Range<usize>)> {
    let rest = without_leading_blanks(line);
    Lexer { line, offset, rest, around, words, before: 0, word: None, quote: None, expanded: 0 }.split()
}

fn words_in(version: Version, line: &str) -> Vec<String> {
    let found = lex(version, line.as_bytes()).unwrap();
    found.words.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
}

fn words(line: &str) -> Vec<String> {
    words_in(Version::new(2, 6), line)
}

#[test]
fn words_quotes_and_escapes() {
    for (line, expected) in [
        ("", vec![]),
        ("  a\tb \x0b\x0c c ", vec!["a", "b", "c"]),
        ("a\"b c\"d'e f'g", vec!["ab cde fg"]),
        (r"a\ b \# \\ \' \q", vec!["a b", "#", "\\", "'", "\\q"]),
        (r"a\x41\n\t\r", vec!["aA\n\t\r"]),
        ("a\\\tb", vec!["a\\", "b"]),
        (r#"'a\ "b' "a\"b""#, vec!["a\\ \"b", "a\"b"]),
        (r#"\$A "\$A" $A '$A' "$A""#, vec!["\\$A", "$A", "$A", "$A", "one"]),
        ("\"\" ''", vec!["", ""]),
        ("a\\", vec!["a\\"]),
        (r"a\x00b c", vec!["a", "c"]),
    ] {
        assert_eq!(words(line), expected, "{line:?}");
    }
}

#[test]
fn a_comment_starts_anywhere_but_in_quotes() {
    let found = lex(Version::new(2, 6), b"a#b '#' \\#").unwrap();
    assert_eq!((found.words.len(), found.split.comment), (1, Some(1..10)));
    assert_eq!(words("'#' \"#\" \\#x #y"), ["#", "#", "#x"]);
}

#[test]
fn spans_cover_the_words_as_written() {
    let found = lex(Version::new(2, 6), b"  a\"b c\" d").unwrap();
    assert_eq!(found.words.iter().map(|(span, _)| span.clone()).collect::<Vec<_>>(), [2..8, 9..10]);
}

#[test]
fn variables_count_inside_double_quotes() {
    for (line, expected) in [
        (r#""${A}b$A-""#, vec!["onebone-"]),
        (r#""${NO-a b#c}""#, vec!["a b#c"]),
        (r#""${EMPTY-x}""#, vec![""]),
        (r#""$TWO""#, vec!["x y"]),
        (r#""${TWO[*]}"z"#, vec!["x", "yz"]),
        (r#""$ODD""#, vec!["a#b\"c$d\\e"]),
        (r#""$.FILE:$.LINE:${.SECTION}""#, vec!["h.cfg:7:app"]),
    ] {
        assert_eq!(words(line), expected, "{line:?}");
    }
}

#[test]
fn versions_differ_in_what_an_unset_variable_leaves() {
    let line = r#"s "$NO" b"#;
    assert_eq!(words_in(Version::new(2, 8), line), ["s", "", "b"]);
    assert_eq!(words_in(Version::new(2, 9), line), ["s", "b"]);
    assert_eq!(words_in(Version::new(3, 3), line), ["s", "", "b"]);
    let expanded = r#"s "${NO[*]}" b"#;
    assert_eq!(words_in(Version::new(2, 8), expanded), ["s", "", "b"]);
    assert_eq!(words_in(Version::new(3, 3), expanded), ["s", "b"]);
}

#[test]
fn faults_name_the_byte() {
    let old = Version::new(2, 2);
    let new = Version::new(2, 6);
    for (version, line, fault, at) in [
        (new, "a \"b", SplitError::UnmatchedQuote, 2),
        (new, "a 'b\r", SplitError::UnmatchedQuote, 2),
        (new, "\"${A\"", SplitError::UnmatchedBrace, 2),
        (new, "\"${A-", SplitError::UnmatchedBrace, 2),
        (old, "\"${A-b}\"", SplitError::UnmatchedBrace, 2),
        (new, "\"$1\"", SplitError::VariableName, 2),
        (new, "\"$.NO\"", SplitError::VariableName, 2),
        (old, "\"$.LINE\"", SplitError::VariableName, 2),
        (new, "\"${A[1]}\"", SplitError::WordExpansion, 4),
        (old, "\"${A[*]}\"", SplitError::UnmatchedBrace, 2),
        (new, "a\\x4", SplitError::Hexadecimal, 1),
        (new, "a\\xg0", SplitError::Hexadecimal, 1),
    ] {
        let (found, span) = lex(version, line.as_bytes()).unwrap_err();
        assert_eq!((found, span.start), (fault, at), "{line:?}");
    }
}

#[test]
fn the_sixty_fifth_word_is_too_much() {
    assert_eq!(words(&"a ".repeat(64)).len(), 64);
    let (fault, span) = lex(Version::new(2, 6), "a ".repeat(65).as_bytes()).unwrap_err();
    assert_eq!((fault, span), (SplitError::TooManyWords, 128..129));
}

#[test]
fn a_carriage_return_ends_the_line_where_it_is_a_token() {
    let found = lex(Version::new(2, 6), b"a\rb").unwrap();
    assert_eq!((found.words.len(), found.split.unread), (1, Some(1..3)));
    assert_eq!(words("a \rb"), ["a", "b"]);
}

proptest::proptest! {
    /// The fast path for plain words gives the same result.
    #[test]
    fn plain_words_are_found_as_the_parser_finds_them(line in "[ab#'\"\\\\$ \t\r\x0b{}-]{0,40}|([a-c] ?){0,140}") {
        let version = Version::new(3, 0);
        let both = [split as Splitter, parse].map(|splitter| lex_with(splitter, version, line.as_bytes()));
        proptest::prop_assert_eq!(&both[0], &both[1]);
    }
}

#[test]
fn variables_give_a_line_only_so_many_bytes() {
    let environment = environment(Version::new(2, 6));
    let found = |line: &[u8], room| {
        let around = ParseContext { environment: &environment, file: "h.cfg", line: 7, section: "app", room };
        split(line, 0, &around, &mut PackedWords::default()).map(|split| split.expanded)
    };
    let line = b"server \"$A$A\" \"${TWO[*]}\"";
    assert_eq!(found(line, 9), Ok(9));
    assert_eq!(found(line, 8), Err((SplitError::TooLong, 15..16)));
    // Only bytes of variables count: a line without any may be as long as its file.
    assert_eq!(found(&[b'x'; 100], 0), Ok(0));
}
