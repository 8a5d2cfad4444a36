use super::*;

const HTTP: BackendContext =
    BackendContext { is_http: true, has_http_check: true, version: Version::new(2, 6) };
const TCP: BackendContext =
    BackendContext { is_http: false, has_http_check: false, version: Version::new(2, 6) };

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
fn lines_that_would_change_the_service_are_refused() {
    for (text, reason) in [
        ("server evil 10.6.6.6:80", "the key hosts"),
        ("default-server backup", "the key server_options"),
        ("mode tcp", "the key mode"),
        ("balance source", "the key balance"),
        ("cookie X", "the key cookie"),
        ("backend evil", "starts a section"),
        ("back\\x65nd evil", "starts a section"),
        ("\"glo\"bal", "starts a section"),
        (".if 1", "directives and scopes"),
        ("'.if' 1", "directives and scopes"),
        ("[scope]", "directives and scopes"),
        ("'[scope]' x", "directives and scopes"),
        ("\\x2eif 1", "not closed"),
        ("no", "incomplete line"),
        ("no server x 10.6.6.6:80", "only allowed before `option`"),
        ("no backend evil", "starts a section"),
        ("no option forwardfor", "unsupported option"),
        ("option", "needs a name"),
        ("option banana", "unsupported option"),
        ("option allbackup", "did you mean `allbackups`"),
        ("option allbackups x", "takes no further arguments"),
        ("option redispatch x", "a number"),
        ("option forwardfor banana", "invalid `banana`"),
        ("option httpchk GET /other", "the key check"),
        ("option tcp-check", "the key check"),
        ("http-check send meth GET uri /other", "only `http-check expect`"),
        ("http-check connect", "only `http-check expect`"),
        ("timeout client 5s", "one of connect"),
        ("timeout server 5x", "the unit"),
        ("timeout server 0", "longer than 0"),
        ("timeout server", "one of connect"),
        ("retries 2x", "a number"),
        ("retries 2 3", "one value"),
        ("retry-on none 503", "expected conn-failure"),
        ("hash-type x", "consistent"),
        ("log '$SYSLOG' local0", "without variables"),
        ("source '$HOME'", "an address"),
        ("acl a", "a criterion"),
        ("acl 'é' path /x", "contains `é`"),
        ("stick banana", "on or match"),
        ("tcp-request connection accept", "content or"),
        ("bind :80", "unsupported keyword"),
        ("disabled", "unsupported keyword"),
        ("dispatch 10.6.6.6:80", "unsupported keyword"),
        ("sever x 10.6.6.6:80", "did you mean `server`"),
        ("description", "at least one argument"),
    ] {
        let error = extra_line(text, HTTP).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn lines_that_need_http_or_an_http_check_are_refused_without() {
    for text in ["http-request deny", "redirect prefix /x", "option forwardfor", "option checkcache"] {
        assert!(extra_line(text, TCP).unwrap_err().contains("needs HTTP"), "{text}");
    }
    assert!(extra_line("http-check disable-on-404", TCP).unwrap_err().contains("has no effect"));
}
