//! The backends of the simulated sites.

pub const PAIR: &str = "
backend mobile
    option httpchk GET /health
    default-server inter 200ms
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
";

pub const ONE: &str = "
backend mobile
    option httpchk GET /health
    default-server inter 200ms
    server app1 127.0.0.1:50000 check
";

/// Only HAProxy's own checks can show whether a container serves.
pub const OWN_CHECK: &str = "
backend mobile
    mode tcp
    option redis-check
    default-server inter 200ms
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
";

pub const ORIGIN: &str = "
backend mobile
    option httpchk GET /health
    default-server inter 200ms
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
    server app2 127.0.0.2:50000 check
    server app2b 127.0.0.2:50001 check backup
";

pub const PRIMARIES: &str = "
backend mobile
    option httpchk GET /health
    default-server inter 200ms
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
    server app3 127.0.0.3:50000 check
";

pub const FIVE: &str = "
backend mobile
    option httpchk GET /health
    default-server inter 200ms
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
    server app3 127.0.0.3:50000 check
    server app4 127.0.0.4:50000 check
    server app5 127.0.0.5:50000 check
";

pub const SHARED: &str = "
backend mobile
    default-server inter 200ms
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
backend tablet
    default-server inter 200ms
    server one 127.0.0.1:50000 check backup
    server two 127.0.0.3:50000 check
";

pub const TIED: &str = "
backend mobile
    cookie SRV insert
    default-server inter 200ms slowstart 400ms
    server app1 127.0.0.1:50000 check cookie a
    server app2 127.0.0.2:50000 check cookie b
";

pub const CROWDED: &str = "
backend mobile
    default-server inter 200ms maxconn 3
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
    server app2b 127.0.0.2:50001 check backup
";

/// A second server line for a container, at whose port nothing answers.
pub const FORGOTTEN: &str = "
backend mobile
    option httpchk GET /health
    default-server inter 200ms
    server app1 127.0.0.1:50000 check
    server app2 127.0.0.2:50000 check
backend forgotten
    default-server inter 200ms
    server app1 127.0.0.1:50009 check
";

/// Agents that always answer "ready".
pub const AGENTS: &str = "
backend mobile
    option httpchk GET /health
    default-server inter 200ms agent-check agent-port 9000
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.2:50000 check
";

/// A sorry server on a machine without containers, and a slot for a later server.
pub const SORRY: &str = "
backend mobile
    option httpchk GET /health
    default-server inter 200ms
    server app1 127.0.0.1:50000 check
    server app1b 127.0.0.1:50001 check backup
    server sorry 192.0.2.7:80 backup
    server slot 127.0.0.1:1 check disabled
";
