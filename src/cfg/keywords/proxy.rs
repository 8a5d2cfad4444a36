//! Keywords that start a line of a `defaults`, `frontend`, `backend` or `listen` section.

use super::nearest;

/// The keywords that this crate relies on. A misspelled one is a problem, because its meaning would be lost.
const RELIED_ON: &[&str] = &[
    "server",
    "default-server",
    "server-template",
    "option",
    "mode",
    "balance",
    "http-check",
    "cookie",
    "stick",
    "use-server",
];

/// The other keywords of `HAProxy` 2.2 to 3.5. A word in neither list is accepted, because new versions add
/// words.
const OTHERS: &[&str] = &[
    "acl",
    "appsession",
    "backlog",
    "be-unpublished",
    "bind",
    "bind-process",
    "block",
    "capture",
    "clitcpka-cnt",
    "clitcpka-idle",
    "clitcpka-intvl",
    "clitimeout",
    "compression",
    "contimeout",
    "crt",
    "declare",
    "default_backend",
    "description",
    "disabled",
    "dispatch",
    "dynamic-cookie-key",
    "email-alert",
    "enabled",
    "errorfile",
    "errorfiles",
    "errorloc",
    "errorloc302",
    "errorloc303",
    "error-log-format",
    "external-check",
    "filter",
    "force-be-switch",
    "force-persist",
    "fullconn",
    "grace",
    "guid",
    "hash-balance-factor",
    "hash-preserve-affinity",
    "hash-type",
    "http-after-response",
    "http-error",
    "http-request",
    "http-response",
    "http-reuse",
    "http-send-name-header",
    "id",
    "ignore-persist",
    "load-server-state-from-file",
    "log",
    "log-format",
    "log-format-sd",
    "log-steps",
    "log-tag",
    "max-keep-alive-queue",
    "max-session-srv-conns",
    "maxconn",
    "monitor",
    "monitor-net",
    "monitor-uri",
    "name",
    "persist",
    "quic-initial",
    "rate-limit",
    "redirect",
    "redisp",
    "redispatch",
    "reqadd",
    "reqallow",
    "reqdel",
    "reqdeny",
    "reqiallow",
    "reqidel",
    "reqideny",
    "reqirep",
    "reqrep",
    "reqtarpit",
    "retries",
    "retry-on",
    "rspadd",
    "rspdel",
    "rspdeny",
    "rspirep",
    "rsprep",
    "server-state-file-name",
    "source",
    "srvtcpka-cnt",
    "srvtcpka-idle",
    "srvtcpka-intvl",
    "srvtimeout",
    "ssl-f-use",
    "stats",
    "stick-table",
    "tcp-check",
    "tcp-request",
    "tcp-response",
    "timeout",
    "transparent",
    "unique-id-format",
    "unique-id-header",
    "use-fcgi-app",
    "use_backend",
    "usersrc",
];

/// The options that this crate relies on.
const OPTIONS_RELIED_ON: &[&str] = &["allbackups", "persist", "redispatch"];

/// The options that select a health check. The last one of a section wins, and none can be negated.
pub const CHECK_OPTIONS: &[&str] = &[
    "httpchk",
    "tcp-check",
    "ssl-hello-chk",
    "smtpchk",
    "mysql-check",
    "pgsql-check",
    "redis-check",
    "ldap-check",
    "external-check",
    "spop-check",
];

/// The other options of 2.2 to 3.5.
const OTHER_OPTIONS: &[&str] = &[
    "abortonclose",
    "accept-invalid-http-request",
    "accept-invalid-http-response",
    "accept-unsafe-violations-in-http-request",
    "accept-unsafe-violations-in-http-response",
    "assume-rfc6587-ntf",
    "checkcache",
    "clitcpka",
    "contstats",
    "disable-h2-upgrade",
    "dontlog-normal",
    "dontlognull",
    "dont-parse-log",
    "forceclose",
    "forwarded",
    "forwardfor",
    "h1-case-adjust-bogus-client",
    "h1-case-adjust-bogus-server",
    "host",
    "http-buffer-request",
    "http-drop-request-trailers",
    "http-drop-response-trailers",
    "http-ignore-probes",
    "http-keep-alive",
    "http-no-delay",
    "http-pretend-keepalive",
    "http-restrict-req-hdr-names",
    "http-server-close",
    "http-tunnel",
    "http-use-htx",
    "http-use-proxy-header",
    "http_proxy",
    "httpclose",
    "httplog",
    "httpslog",
    "idle-close-on-response",
    "independant-streams",
    "independent-streams",
    "log-health-checks",
    "log-separate-errors",
    "logasap",
    "nolinger",
    "originalto",
    "passive",
    "prefer-last-server",
    "socket-stats",
    "splice-auto",
    "splice-request",
    "splice-response",
    "srvtcpka",
    "tcp-smart-accept",
    "tcp-smart-connect",
    "tcpka",
    "tcplog",
    "tcpsplice",
    "transparent",
    "use-small-buffers",
];

/// Returns the keyword that a misspelled one most likely stands for, if this crate relies on that keyword.
#[must_use]
pub fn misspelled(word: &str) -> Option<&'static str> {
    let known = RELIED_ON.contains(&word) || OTHERS.contains(&word);
    if known { None } else { nearest(word, RELIED_ON.iter().copied()) }
}

/// Returns the option that a misspelled word after `option` most likely stands for.
#[must_use]
pub fn misspelled_option(word: &str) -> Option<&'static str> {
    let relied_on = || OPTIONS_RELIED_ON.iter().chain(CHECK_OPTIONS).copied();
    if OTHER_OPTIONS.contains(&word) || relied_on().any(|option| option == word) {
        return None;
    }
    nearest(word, relied_on())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_keyword_is_never_called_a_typo() {
        for word in OTHERS.iter().chain(RELIED_ON) {
            assert_eq!(misspelled(word), None);
        }
        for word in OTHER_OPTIONS.iter().chain(CHECK_OPTIONS) {
            assert_eq!(misspelled_option(word), None);
        }
    }

    #[test]
    fn a_typo_of_what_matters_is_found() {
        assert_eq!(misspelled("sever"), Some("server"));
        assert_eq!(misspelled("default_server"), Some("default-server"));
        assert_eq!(misspelled("http-chek"), Some("http-check"));
        assert_eq!(misspelled("banana"), None);
        assert_eq!(misspelled_option("allbackup"), Some("allbackups"));
        assert_eq!(misspelled_option("http-chk"), Some("httpchk"));
    }
}
