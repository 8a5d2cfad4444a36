//! Copies of a file that are safe to show: secrets are hidden.

use std::ops::Range;

use super::document::{File, Line};
use super::syntax::Word;

/// The replacement for a secret.
const HIDDEN: &[u8] = b"***";

/// The words that precede a secret.
const BEFORE_A_SECRET: &[&str] =
    &["password", "insecure-password", "auth", "key", "dynamic-cookie-key", "agent-send"];

/// The words that precede a header's name and value.
const BEFORE_A_HEADER: &[&str] =
    &["set-header", "add-header", "replace-header", "replace-value", "hdr", "hdr-lf"];

/// The parts of a header's name that mark its value as a secret.
const SECRET_NAMES: &[&str] = &["auth", "token", "secret", "password", "cookie", "api-key", "apikey"];

/// The headers of a check that are not secret. All others are hidden, because their purpose is unknown.
const PLAIN_HEADERS: &[&str] = &["host", "user-agent", "accept", "content-type", "connection"];

/// The converters with a key among their arguments.
const KEYED: &[&str] = &["hmac(", "jwt_verify(", "jwt_decrypt", "aes_gcm", "aes_cbc"];

/// Returns the file's bytes with a `*` for every byte of a secret, so that spans still fit.
pub(super) fn same_length(file: &File) -> Vec<u8> {
    let mut bytes = file.bytes.clone();
    for secret in file.lines().flat_map(secrets) {
        bytes[secret].fill(b'*');
    }
    bytes
}

/// Returns the file's text with its secrets hidden: passwords of `userlist`, `stats auth` and mailers, values of
/// environment variables, and values of headers that authorise.
#[must_use]
pub fn masked(file: &File) -> String {
    let mut out = Vec::with_capacity(file.bytes.len());
    let mut done = 0;
    for secret in file.lines().flat_map(secrets) {
        if secret.start >= done {
            out.extend_from_slice(&file.bytes[done..secret.start]);
            out.extend_from_slice(HIDDEN);
            done = secret.end;
        }
    }
    out.extend_from_slice(&file.bytes[done..]);
    String::from_utf8_lossy(&out).into_owned()
}

fn secrets(line: Line<'_>) -> Vec<Range<usize>> {
    let words: Vec<Word<'_>> = line.words().collect();
    let starts =
        |first: &[&str]| first.iter().zip(&words).filter(|(name, word)| word.is(name)).count() == first.len();
    let is_check = starts(&["http-check"]) || starts(&["tcp-check"]);
    let sets_variable = starts(&["setenv"]) || starts(&["presetenv"]);
    let is_secret = |index: &usize| {
        let (word, before) = (&words[*index], &words[*index - 1]);
        let named = BEFORE_A_SECRET.iter().any(|name| before.is(name));
        let is_value =
            index.checked_sub(2).is_some_and(|two| BEFORE_A_HEADER.iter().any(|it| words[two].is(it)));
        let is_plain = PLAIN_HEADERS.iter().any(|name| before.bytes.eq_ignore_ascii_case(name.as_bytes()));
        let header = is_value && (is_secret_name(before.bytes) || is_check && !is_plain);
        // The data that a check sends: a body, a line, or headers.
        let sent = is_check
            && (["body", "body-lf", "send-lf", "send-binary", "send-binary-lf"]
                .iter()
                .any(|name| before.is(name))
                || before.is("send") && starts(&["tcp-check"]));
        // The old way to add headers to a check: after its version.
        let hidden_header = starts(&["option", "httpchk"]) && word.bytes.contains(&b'\r');
        let keyed = KEYED.iter().any(|name| holds(word.bytes, name));
        named || header || sent || hidden_header || keyed || (sets_variable && *index == 2)
    };
    let mut secret: Vec<bool> = (0..words.len()).map(|index| index > 0 && is_secret(&index)).collect();
    // The values that a secret header is compared with: `hdr(x-token) -m str TOKEN`, up to the condition's end.
    let mut is_compared = false;
    for (word, secret) in words.iter().zip(&mut secret) {
        is_compared &= !(word.is("}") || word.is("||") || word.is("or"));
        *secret |= is_compared && !word.bytes.starts_with(b"-");
        is_compared |= is_secret_fetch(word.bytes);
    }
    words.iter().zip(secret).filter(|(_, is_secret)| *is_secret).map(|(word, _)| word.span.clone()).collect()
}

/// Returns whether the value of a header with this name is a secret.
fn is_secret_name(name: &[u8]) -> bool {
    SECRET_NAMES.iter().any(|part| holds(name, part))
}

/// Returns whether a word fetches a header, a cookie or a parameter whose value is a secret: `req.hdr(x-token)`.
fn is_secret_fetch(word: &[u8]) -> bool {
    let Some(open) = word.iter().position(|byte| *byte == b'(') else { return false };
    let (fetch, name) = word.split_at(open);
    ["hdr", "cook", "urlp", "url_param"].iter().any(|it| holds(fetch, it)) && is_secret_name(name)
}

/// Returns whether a word contains a text, ignoring case.
fn holds(word: &[u8], text: &str) -> bool {
    word.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfg::{Environment, SourceFile, Version, read};

    #[test]
    fn secrets_are_hidden_and_the_rest_is_shown() {
        let text = "global\n setenv TOKEN s3cret # c\nuserlist u\n user a password $5$s3cret groups g\n \
                    user b insecure-password \"s3cret\"\nbackend b\n stats auth admin:s3cret\n \
                    http-request set-header Authorization \"Basic s3cret\" if x\n server a 10.0.0.1:80\n";
        let file = SourceFile { path: "h.cfg".into(), bytes: text.as_bytes().to_vec() };
        let document = read(vec![file], &Environment::new([].into(), Version::new(2, 6)));
        let shown = masked(&document.files[0]);
        assert!(!shown.contains("s3cret"), "{shown}");
        assert_eq!(shown.matches("***").count(), 5);
        let same = same_length(&document.files[0]);
        assert_eq!(same.len(), text.len());
        assert!(!String::from_utf8(same).unwrap().contains("s3cret"));
        for kept in ["setenv TOKEN *** # c", "groups g", "stats auth ***", "*** if x", "server a 10.0.0.1:80"]
        {
            assert!(shown.contains(kept), "{shown}");
        }
    }

    fn told(line: &str) -> String {
        let text = format!("backend b\n {line}\n");
        let file = SourceFile { path: "h.cfg".into(), bytes: text.into_bytes() };
        let document = read(vec![file], &Environment::new([].into(), Version::new(2, 6)));
        masked(&document.files[0])
    }

    #[test]
    fn what_is_sent_and_compared_is_hidden() {
        for line in [
            "http-check send meth POST uri /x hdr Authorization \"Bearer s3cret\" hdr Host www body s3cret",
            "http-check send hdr X-Vault s3cret hdr-lf X-Other s3cret body-lf s3cret",
            "tcp-check send AUTH\\ s3cret\\r\\n",
            "tcp-check send-binary s3cret",
            "option httpchk GET /x \"HTTP/1.1\\r\\nAuthorization: s3cret\"",
            "server a 10.0.0.1:80 agent-check agent-send s3cret",
            "http-request set-header X-Service-Token s3cret if { path /a }",
            "http-request replace-header Cookie s3cret",
            "http-request deny unless { req.hdr(x-token) -m str s3cret } { path /a }",
            "acl known hdr(Authorization) -i s3cret s3cret2",
            "http-request set-var(txn.a) str(s3cret),hmac(sha256,s3cret)",
        ] {
            assert!(!told(line).contains("s3cret"), "{line}: {}", told(line));
        }
        for line in [
            "server auth1 10.0.0.1:80 cookie w1 check",
            "use_backend auth-token if { path /secret }",
            "cookie SRV insert indirect",
            "http-check expect string ok",
            "http-check send meth GET uri /health hdr Host www.example.org",
            "http-request set-header X-Forwarded-Proto https",
            "http-request deny unless { http_auth(auth) } { path /a }",
            "acl is_auth path /login",
        ] {
            assert!(told(line).contains(line), "{line}: {}", told(line));
        }
    }
}
