//! Redaction of addresses before they are shown: a mistyped address may contain a password.

/// The text that replaces a secret.
pub const HIDDEN: &str = "********";

/// Replaces the password and the query in an address: `ssh://root:hunter2@host` becomes `ssh://root:********@host`. A
/// password may contain any character, so it extends up to the last `@`.
#[must_use]
pub fn redact(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let (user, host) = match rest.rsplit_once('@') {
        // An image with a digest, not a user.
        Some((name, digest)) if digest.starts_with("sha256:") || digest.starts_with("sha512:") => {
            return format!("{}@{digest}", redact(&format!("{scheme}{name}")));
        }
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let user = match user.map(|user| user.split_once(':').ok_or(user)) {
        None => String::new(),
        Some(Ok((user, _))) => format!("{user}:{HIDDEN}@"),
        // A token without a user name.
        Some(Err(_)) if scheme.contains("http") => format!("{HIDDEN}@"),
        // The `@` is in a query, so there is no user.
        Some(Err(host)) if host.contains('?') => return redact(&format!("{scheme}{host}")),
        Some(Err(user)) => format!("{user}@"),
    };
    let host = match host.split_once('?') {
        Some((host, _)) => format!("{host}?{HIDDEN}"),
        None => host.to_owned(),
    };
    format!("{scheme}{user}{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_secrets_are_hidden() {
        for (address, expected) in [
            ("ssh://root:hunter2@host:22", "ssh://root:********@host:22"),
            ("admin:hunter2@10.0.0.1:9999", "admin:********@10.0.0.1:9999"),
            ("tcp://u:hun/ter?2@hunter2@host", "tcp://u:********@host"),
            ("https://hunter2@host/x", "https://********@host/x"),
            ("tcp://host:1?token=hunter2", "tcp://host:1?********"),
            ("tcp://host?token=hunter2@x", "tcp://host?********"),
            ("--image=https://hunter2@r.io/x", "--image=https://********@r.io/x"),
            ("r.io:5000/mobile@sha512:12", "r.io:5000/mobile@sha512:12"),
            ("u:hunter2@r.io/mobile:v1", "u:********@r.io/mobile:v1"),
            ("https://u:hunter2@r.io/mobile@sha256:12", "https://u:********@r.io/mobile@sha256:12"),
            ("mobile:v1@sha256:12", "mobile:v1@sha256:12"),
            ("ssh://deploy@app1", "ssh://deploy@app1"),
            ("unix@/run/haproxy.sock", "unix@/run/haproxy.sock"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(redact(address), expected);
            assert!(!redact(address).contains("hunter2"));
        }
    }
}
