//! What an answer never shows.

use serde_json::Value;

/// What stands for a secret.
pub const HIDDEN: &str = "********";

/// Hides the passwords that addresses may hold, wherever they stand.
pub fn mask(value: &mut Value) {
    match value {
        Value::String(text) => *text = masked(text),
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(values) => values.values_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `tcp://user:secret@host` without its secret.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out += before;
        out += "://";
        let end = after.find(|c: char| c.is_whitespace() || "/'\"`".contains(c)).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@').and_then(|(who, host)| Some((who.split_once(':')?.0, host))) {
            Some((user, host)) => out.extend([user, ":", HIDDEN, "@", host]),
            None => out += authority,
        }
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_are_hidden() {
        for (text, shown) in [
            ("tcp://me:s3cret@host:2375/x", "tcp://me:********@host:2375/x"),
            ("`https://a:b@c`, ssh://deploy@app1", "`https://a:********@c`, ssh://deploy@app1"),
            ("nothing here: a@b", "nothing here: a@b"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
