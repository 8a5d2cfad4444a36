//! Damaged bytes, as a broken disk, a broken peer or a person may produce them.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// Generates variants of these bytes: pieces cut out or replaced, a JSON value replaced by an extreme or empty one,
/// or arbitrary bytes.
pub fn damaged(whole: &[u8]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let (for_edits, for_values) = (whole.to_vec(), whole.to_vec());
    let edit = (any::<Index>(), 0..40_usize, piece());
    let edited = prop::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut bytes = for_edits.clone();
        for (at, length, piece) in edits {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + length);
            bytes.splice(at..end, piece);
        }
        bytes
    });
    let replaced = (any::<Index>(), any::<Index>(), extreme())
        .prop_map(move |(line, node, extreme)| with_value(&for_values, line, node, &extreme));
    prop_oneof![2 => edited, 2 => replaced, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        "",
        "null",
        "[]",
        "{}",
        "-1",
        "18446744073709551615",
        "\n",
        "\0",
        "\"\"",
        "1e999",
        "é",
        "$",
        "${",
        "#",
    ];
    prop_oneof![select(words).prop_map(|it| it.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..8)]
}

fn extreme() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!([]),
        json!({}),
        json!(""),
        json!("é\0:/@"),
        json!(true),
        json!(0),
        json!(-1),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(1e300),
    ])
}

/// Returns the text with one JSON value replaced: anywhere if the whole text is JSON, or else within one of its
/// lines.
fn with_value(whole: &[u8], line: Index, node: Index, extreme: &Value) -> Vec<u8> {
    let replace = |text: &[u8]| {
        let mut value: Value = serde_json::from_slice(text).ok()?;
        let mut left = node.index(count(&value));
        put(&mut value, &mut left, extreme);
        Some(value.to_string().into_bytes())
    };
    if let Some(bytes) = replace(whole) {
        return bytes;
    }
    let mut lines: Vec<Vec<u8>> = whole.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let chosen = line.index(lines.len());
    if let Some(bytes) = replace(&lines[chosen]) {
        lines[chosen] = bytes;
    }
    lines.join(&b'\n')
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Replaces the value that comes after this many others.
fn put(value: &mut Value, left: &mut usize, extreme: &Value) {
    if *left == 0 {
        *value = extreme.clone();
    }
    *left = left.wrapping_sub(1);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|it| put(it, left, extreme)),
        Value::Object(map) => map.values_mut().for_each(|it| put(it, left, extreme)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
