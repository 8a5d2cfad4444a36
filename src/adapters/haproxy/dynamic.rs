//! Servers that are added and deleted at runtime. The replies are sentences for people, so what `HAProxy` has is read
//! back instead.

use std::net::SocketAddr;

use super::command::Command;
use super::reply::Replies;
use super::{HaproxySocket, explain};
use crate::model::ids::ServerId;
use crate::model::new_server::NewServer;
use crate::model::sanitize;
use crate::ports::LoadBalancerError;

/// How often a server is added: after a reload, the old process may answer, which adds it in vain.
const TRIES: u32 = 3;

/// A part of the reply to `del server` while requests, tunnels or checks use the server.
const IN_USE: &str = "connections attached";

/// Adds a server, in maint.
pub(super) async fn join(socket: &HaproxySocket, new: &NewServer) -> Result<(), LoadBalancerError> {
    let words: Vec<String> = [new.address.to_string()].into_iter().chain(new.words.iter().cloned()).collect();
    let add = Command::AddServer(&new.id, &words);
    let mut reply = String::new();
    for _ in 0..TRIES {
        match address_of(socket, &new.id).await? {
            Some(Some(address)) if address == new.address => return Ok(()),
            Some(_) => break,
            None => {}
        }
        // Versions before 2.8 begin this reply with an empty line.
        reply = sanitize::line(socket.ask(&[add]).await?.trim().lines().next().unwrap_or_default());
    }
    match address_of(socket, &new.id).await? {
        Some(Some(address)) if address == new.address => Ok(()),
        Some(_) => Err(refused(add, "A server of that name exists with another address.")),
        None => Err(refused(add, &reply)),
    }
}

/// Deletes a server that is in maint; returns whether it is gone.
pub(super) async fn delete(socket: &HaproxySocket, server: &ServerId) -> Result<bool, LoadBalancerError> {
    if address_of(socket, server).await?.is_none() {
        return Ok(true);
    }
    let delete = Command::DelServer(server);
    let reply = sanitize::line(socket.ask(&[delete]).await?.trim().lines().next().unwrap_or_default());
    match address_of(socket, server).await? {
        None => Ok(true),
        Some(_) if reply.contains(IN_USE) => Ok(false),
        Some(_) => Err(refused(delete, &reply)),
    }
}

/// Returns the address of a server, if the process knows the server and the server has one.
async fn address_of(
    socket: &HaproxySocket,
    server: &ServerId,
) -> Result<Option<Option<SocketAddr>>, LoadBalancerError> {
    let read = Command::ServersState(Some(&server.backend));
    let answer = socket.ask(&[read]).await?;
    let rows = Replies::new(&answer).servers_state().map_err(|error| explain(read, error))?;
    Ok(rows.into_iter().find(|row| row.id == *server).map(|row| row.address))
}

fn refused(command: Command<'_>, reply: &str) -> LoadBalancerError {
    LoadBalancerError::Refused { command: command.to_string(), reply: reply.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::haproxy::tests::{Fake, state};

    const ADDRESS: &str = "10.0.0.1:80";

    fn new(address: &str) -> NewServer {
        let words = ["check".to_owned()].into();
        NewServer { id: ServerId::new("b", "s-surge"), address: address.parse().unwrap(), words }
    }

    /// Simulates a process that has the server from the start or not, replies this to every change, and has the
    /// server after it or not. Answers this many lines.
    fn process(lines: usize, had: bool, reply: &'static str, has: bool) -> Fake {
        let mut is_there = had;
        Fake::listening(lines, move |line| {
            if line.starts_with("add ") || line.starts_with("del ") {
                is_there = has;
                return format!("{reply}\n\n");
            }
            state(1).replace(" s ", if is_there { " s-surge " } else { " other " })
        })
    }

    #[tokio::test]
    async fn a_server_is_added_once() {
        let fake = process(3, false, "New server registered.", true);
        join(&fake.socket, &new(ADDRESS)).await.unwrap();
        assert_eq!(
            fake.lines().await,
            ["show servers state b\n", "add server b/s-surge 10.0.0.1:80 check\n", "show servers state b\n"]
        );
        let fake = process(1, true, "", true);
        join(&fake.socket, &new(ADDRESS)).await.unwrap();
        assert_eq!(fake.lines().await, ["show servers state b\n"], "it was there");
    }

    #[tokio::test]
    async fn a_server_of_that_name_with_another_address_is_refused() {
        let fake = process(2, true, "", true);
        let refused = join(&fake.socket, &new("10.0.0.2:80")).await.unwrap_err().to_string();
        assert!(refused.contains("exists with another address"), "{refused}");
    }

    #[tokio::test]
    async fn a_server_that_haproxy_never_has_is_an_error_with_its_reply() {
        let reply = "\nbackend 'b' does not use a dynamic load balancing algorithm.";
        let fake = process(7, false, reply, false);
        let refused = join(&fake.socket, &new(ADDRESS)).await.unwrap_err().to_string();
        assert!(refused.contains("dynamic load balancing"), "{refused}");
        let added = fake.lines().await.iter().filter(|line| line.starts_with("add ")).count();
        assert_eq!(added, 3, "an old process may have taken it");
    }

    #[tokio::test]
    async fn a_server_is_deleted_once_nothing_uses_it() {
        let id = new(ADDRESS).id;
        let gone = process(1, false, "", false);
        assert_eq!(delete(&gone.socket, &id).await, Ok(true));
        let idle = process(3, true, "Server deleted.", false);
        assert_eq!(delete(&idle.socket, &id).await, Ok(true));
        assert_eq!(idle.lines().await[1], "del server b/s-surge\n");
        let in_use = "Server still has connections attached to it, cannot remove it.";
        let used = process(3, true, in_use, true);
        assert_eq!(delete(&used.socket, &id).await, Ok(false));
        let ready = process(3, true, "Only servers in maintenance mode can be deleted.", true);
        let refused = delete(&ready.socket, &id).await.unwrap_err().to_string();
        assert!(refused.contains("maintenance mode"), "{refused}");
    }
}
