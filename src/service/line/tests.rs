use super::*;

const HTTP: Around = Around { is_http: true, has_http_check: true, version: Version::new(2, 6) };
const TCP: Around = Around { is_http: false, has_http_check: false, version: Version::new(2, 6) };

#[test]
fn lines_of_a_backend_are_taken() {
    for text in [
        "option allbackups",
        "no option http-server-close",
        "option redispatch 3",
        "option forwardfor except 127.0.0.0/8 header X-Client if-none",
        "timeout server 5s",
        "retries 2",
        "retry-on conn-failure 503",
        "hash-type consistent sdbm avalanche",
        "http-check expect string 'it is'",
        "http-check disable-on-404",
        "log global",
        "log 127.0.0.1:514 local0 info",
        "source 10.0.0.9",
        "description 'it # is'",
        "http-request set-header X-Path %[path] if { path_reg '^/a$' }",
    ] {
        extra_line(text, HTTP).unwrap();
    }
    extra_line("option mysql-check user haproxy", TCP).unwrap();
}

#[test]
fn what_would_mean_something_else_is_refused() {
    for (text, reason) in [
        ("server evil 10.6.6.6:80", "the key hosts"),
        ("default-server backup", "the key server_options"),
        ("mode tcp", "the key mode"),
        ("balance source", "the key balance"),
        ("cookie X", "the key cookie"),
        ("backend evil", "starts a section"),
        ("back\\x65nd evil", "starts a section"),
        ("\"glo\"bal", "starts a section"),
        (".if 1", "a directive"),
        ("'.if' 1", "a directive"),
        ("[scope]", "a scope"),
        ("'[scope]' x", "a scope"),
        ("\\x2eif 1", "not closed"),
        ("no", "stands alone"),
        ("no server x 10.6.6.6:80", "before `option` only"),
        ("no backend evil", "starts a section"),
        ("no option forwardfor", "no option that"),
        ("option", "lacks its name"),
        ("option banana", "no option that"),
        ("option allbackup", "did you mean `allbackups`"),
        ("option allbackups x", "takes nothing more"),
        ("option redispatch x", "a number"),
        ("option forwardfor banana", "see `banana`"),
        ("option httpchk GET /other", "the key check"),
        ("option tcp-check", "the key check"),
        ("http-check send meth GET uri /other", "only `expect`"),
        ("http-check connect", "only `expect`"),
        ("timeout client 5s", "one of connect"),
        ("timeout server 5x", "the unit"),
        ("timeout server 0", "longer than 0"),
        ("timeout server", "one of connect"),
        ("retries 2x", "a number"),
        ("retries 2 3", "one value"),
        ("retry-on none 503", "takes conn-failure"),
        ("hash-type x", "consistent"),
        ("log '$SYSLOG' local0", "without variables"),
        ("source '$HOME'", "an address"),
        ("acl a", "what is matched"),
        ("acl 'é' path /x", "holds `é`"),
        ("stick banana", "on or match"),
        ("tcp-request connection accept", "content or"),
        ("bind :80", "no line that"),
        ("disabled", "no line that"),
        ("dispatch 10.6.6.6:80", "no line that"),
        ("sever x 10.6.6.6:80", "did you mean `server`"),
        ("description", "something more"),
    ] {
        let error = extra_line(text, HTTP).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn what_needs_http_or_its_check_is_refused_without() {
    for text in ["http-request deny", "redirect prefix /x", "option forwardfor", "option checkcache"] {
        assert!(extra_line(text, TCP).unwrap_err().contains("needs HTTP"), "{text}");
    }
    assert!(extra_line("http-check disable-on-404", TCP).unwrap_err().contains("does nothing"));
}
