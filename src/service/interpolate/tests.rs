//! Texts with variables and their substitution.

use proptest::prelude::*;

use super::*;

fn with(text: &str) -> Result<String, InterpolationError> {
    let value = |name: &str| match name {
        "A" => Some("hunter2"),
        "_b1" => Some("$A"),
        "EMPTY" => Some(""),
        _ => None,
    };
    interpolate(text, &mut { value })
}

#[test]
fn every_form_of_the_specification_is_supported() {
    for (text, becomes) in [
        ("", ""),
        ("no variable", "no variable"),
        ("$A", "hunter2"),
        ("<$A>", "<hunter2>"),
        ("${A}é", "hunter2é"),
        ("$A$A", "hunter2hunter2"),
        ("$$A", "$A"),
        ("$$$A", "$hunter2"),
        ("${_b1}", "$A"),
        ("${A:-x}", "hunter2"),
        ("${A-x}", "hunter2"),
        ("${A:?x}", "hunter2"),
        ("${A?x}", "hunter2"),
        ("${A:+x}", "x"),
        ("${A+x}", "x"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${EMPTY?x}", ""),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${NONE:-x}", "x"),
        ("${NONE-x}", "x"),
        ("${NONE:-}", ""),
        ("${NONE:+x}", ""),
        ("${NONE+x}", ""),
        ("${NONE:-${EMPTY:-${A}}}!", "hunter2!"),
        ("${NONE:-$A-${A}}", "hunter2-hunter2"),
        ("${NONE:-a:-b-c}", "a:-b-c"),
        ("${NONE:-$$}", "$"),
        ("${NONE:-$${}x}", "${x}"),
        // Unused alternatives are not looked up.
        ("${A:-$NONE}", "hunter2"),
        ("${NONE:+$NONE}", ""),
    ] {
        assert_eq!(with(text).as_deref(), Ok(becomes), "{text}");
    }
}

#[test]
fn errors_contain_no_values() {
    let unset = |name: &str| InterpolationError::Unset(name.to_owned());
    for (text, error) in [
        ("$NONE", InterpolationError::UnsetUnnamed),
        ("${NONE}", unset("NONE")),
        ("${EMPTY:-$NONE}", InterpolationError::UnsetUnnamed),
        ("${NONE?}", unset("NONE")),
        ("${EMPTY:?}", unset("EMPTY")),
        (
            "${NONE:?as $A}",
            InterpolationError::Needed { name: "NONE".to_owned(), message: "as $A".to_owned() },
        ),
        ("${A", InterpolationError::Unclosed),
        ("${A:-${A}", InterpolationError::Unclosed),
        ("${", InterpolationError::Unclosed),
        ("$", InterpolationError::NoName),
        ("a $ b", InterpolationError::NoName),
        ("$1", InterpolationError::NoName),
        ("${}", InterpolationError::NoName),
        ("${é}", InterpolationError::NoName),
        ("${A!}", InterpolationError::NoOperator("A".to_owned())),
        ("${A:}", InterpolationError::NoOperator("A".to_owned())),
        ("${NONE:é}", InterpolationError::NoOperator("NONE".to_owned())),
    ] {
        let found = with(text).unwrap_err();
        assert!(!found.to_string().contains("hunter2"), "{found}");
        assert_eq!(found, error, "{text}");
    }
    let message = unset("HOST").to_string();
    assert_eq!(
        message,
        "the variable HOST is not set: set it, for example in .env, or write ${HOST:-DEFAULT}"
    );
}

#[test]
fn depth_and_length_are_limited() {
    let nested = |depth: usize| "${NONE:-".repeat(depth) + &"}".repeat(depth);
    assert_eq!(with(&nested(16)).as_deref(), Ok(""));
    assert_eq!(with(&nested(17)), Err(InterpolationError::TooDeep));
    assert_eq!(with(&nested(100_000)), Err(InterpolationError::TooDeep));
    assert_eq!(with(&"$A".repeat(200_000)), Err(InterpolationError::TooLong));
}

#[test]
fn the_process_overrides_the_file() {
    let process = [("A", "one"), ("B", "two")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables = Variables::new(process, "B=three\nC=$A-$B\nD=${C}\n").unwrap();
    let values = ["A", "B", "C", "D", "E"].map(|name| variables.get(name));
    assert_eq!(values, [Some("one"), Some("two"), Some("one-two"), Some("one-two"), None]);
    assert!(!format!("{variables:?}").contains("two"));
}

#[test]
fn the_size_of_an_env_file_is_limited() {
    let line = |index: usize| format!("B{index}=$A\n");
    let text = format!("A={}\n{}", "x".repeat(1000), (0..1100).map(line).collect::<String>());
    assert_eq!(
        Variables::new([], &text).unwrap_err(),
        "its values exceed 1048576 bytes after substitution: shorten them"
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[${}A:?+a é-]{0,40}") {
        let _either = with(&text);
    }

    #[test]
    fn a_text_with_doubled_dollars_is_unchanged(text in "\\PC{0,40}") {
        prop_assert_eq!(with(&text.replace('$', "$$")), Ok(text));
    }
}
