//! What a backend's configuration does to clients when one of its servers leaves.

use crate::cfg::Proxy;

pub(super) fn persistence(proxy: &Proxy) -> Vec<String> {
    let cookie = proxy.cookie.iter().map(|name| format!("cookie {name}"));
    let sticks = proxy.sticks.then(|| "a stick table".to_owned());
    let mut used: Vec<String> =
        proxy.use_servers.iter().map(|rule| format!("use-server {}", rule.server)).collect();
    used.dedup();
    cookie.chain(sticks).chain(used).collect()
}

pub(super) fn caveats(proxy: &Proxy) -> Vec<String> {
    let name = &proxy.name;
    let mut traps = Vec::new();
    if proxy.persist {
        traps.push(format!(
            "backend {name} has option persist or force-persist: clients tied to a server are still sent there in maint and get errors while its container is replaced"
        ));
    }
    if proxy.servers.iter().any(|server| server.cuts_backup_sessions_when_up) {
        traps.push(format!(
            "backend {name} has on-marked-up shutdown-backup-sessions: when a server is ready again, HAProxy cuts the sessions in flight on its backups"
        ));
    }
    if proxy.servers.iter().any(|server| server.cuts_sessions_when_down) {
        traps.push(format!(
            "backend {name} has on-marked-down shutdown-sessions: with --on-drain-timeout maint or shutdown, HAProxy cuts all sessions in flight at once"
        ));
    }
    if proxy.servers.iter().any(|server| server.maxconn.is_some()) {
        traps.push(format!(
            "backend {name} has maxconn: if requests are queued when the last primary leaves, HAProxy 2.6 to 3.2 may leave them queued although a backup is free; drainswap then wakes the queue"
        ));
    }
    traps
}
