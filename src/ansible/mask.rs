//! Hides secrets in an answer.

use serde_json::{Map, Value};

use crate::model::secret::{HIDDEN, redact};

/// Hides the passwords in addresses, anywhere in a value.
pub fn mask(value: &mut Value) {
    match value {
        Value::String(text) => *text = masked(text),
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(values) => values.values_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns a task's options without passwords. An option for an address is masked even if its value is not an address.
pub fn options(written: &Map<String, Value>) -> Value {
    const ADDRESSES: [&str; 4] = ["socket", "master_socket", "docker", "image"];
    let told = |value: &Value| match value {
        Value::String(address) => Value::String(redact(address)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.clone(),
    };
    let mut options = written.clone();
    for (_, value) in options.iter_mut().filter(|(name, _)| ADDRESSES.contains(&name.as_str())) {
        let several = value.as_array().map(|several| several.iter().map(told).collect());
        *value = several.unwrap_or_else(|| told(value));
    }
    Value::Object(options)
}

/// Hides the secret in `tcp://user:secret@host`.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out += before;
        out += "://";
        let end = after.find(|c: char| c.is_whitespace() || "/'\"`".contains(c)).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@').and_then(|(login, host)| Some((login.split_once(':')?.0, host))) {
            Some((user, host)) => out.extend([user, ":", HIDDEN, "@", host]),
            None => out += authority,
        }
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_for_addresses_lose_their_passwords() {
        let written = json!({
            "socket": ["admin:hunter2@lb1:9999", "/run/a.sock"], "docker": "tcp://host:2375?token=hunter2",
            "image": "r.io/mobile:v1@sha256:12", "floor": 1,
        });
        let told = options(written.as_object().unwrap());
        let socket = json!(["admin:********@lb1:9999", "/run/a.sock"]);
        assert_eq!((&told["socket"], &told["docker"]), (&socket, &json!("tcp://host:2375?********")));
        assert_eq!((&told["image"], &told["floor"]), (&written["image"], &json!(1)));
    }

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
