//! An operator who types the commands that drainswap has printed, word by word.

use std::time::Duration;

use drainswap::adapters::memory::{Haproxy, Memory, MemoryEngine};
use drainswap::model::ids::{ContainerId, ServerId};
use drainswap::observation::{AdminState, Checker, RestartPolicy};
use drainswap::ports::{ContainerEngine, EngineError, LoadBalancer};

use crate::case::pass;

/// Executes a command, or returns the reason why it fails.
pub async fn types(memory: &Memory, command: &str) -> Result<(), String> {
    if let Some(command) = command.strip_suffix(" || true") {
        let _whatever = Box::pin(types(memory, command)).await;
        return Ok(());
    }
    let words: Vec<&str> = command.split(' ').collect();
    if let Some(flag) = words.iter().position(|word| *word == "--agent") {
        let (without, server) = ([&words[..flag], &words[flag + 2..]].concat(), words[words.len() - 1]);
        turn_agent(memory, server, words[flag + 1] == "on").await?;
        return Box::pin(types(memory, &without.join(" "))).await;
    }
    match words[..] {
        ["drainswap", "maint", "--floor", "0", server] => set(memory, server, AdminState::Maint).await,
        ["drainswap", "drain", "--floor", "0", server] => set(memory, server, AdminState::Drain).await,
        ["drainswap", "maint", "--floor", "0", "--wait", server] => {
            set(memory, server, AdminState::Maint).await?;
            until_idle(memory, server).await
        }
        ["drainswap", "ready", "--wait", server] => {
            until_it_answers(memory, server).await?;
            set(memory, server, AdminState::Ready).await
        }
        ["drainswap", "ready", server] => set(memory, server, AdminState::Ready).await,
        // A forced removal of a missing container succeeds.
        ["docker", "rm", "-f", id] if !is_there(memory, id) => Ok(()),
        ["docker", "rm", "-f", id] => docker(memory, id, async |engine, id| engine.remove(&id).await).await,
        ["docker", "stop", id] => docker(memory, id, async |engine, id| engine.stop(&id).await).await,
        ["docker", "start", id] => docker(memory, id, async |engine, id| engine.start(&id).await).await,
        ["docker", "rename", id, name] if is_called(memory, id, name) => {
            Err("Renaming a container with the same name as its current name".to_owned())
        }
        ["docker", "rename", id, name] => {
            docker(memory, id, async |engine, id| engine.rename(&id, name).await).await
        }
        ["docker", "update", "--restart", policy, id] => {
            let policy = RestartPolicy { name: policy.to_owned(), maximum_retries: 0 };
            docker(memory, id, async |engine, id| engine.set_restart(&id, &policy).await).await
        }
        _ => Err("there is no such command".to_owned()),
    }
}

/// Waits until the last session has ended.
async fn until_idle(memory: &Memory, server: &str) -> Result<(), String> {
    let server: ServerId = server.parse().map_err(|error| format!("{error}"))?;
    for _ in 0..1_000 {
        if !has_sessions(memory, &server) {
            return Ok(());
        }
        pass(Duration::from_millis(20)).await;
    }
    Err("its sessions do not end".to_owned())
}

/// Waits until the server answers.
async fn until_it_answers(memory: &Memory, server: &str) -> Result<(), String> {
    let server: ServerId = server.parse().map_err(|error| format!("{error}"))?;
    for _ in 0..500 {
        if answers(memory, &server) {
            return Ok(());
        }
        pass(Duration::from_millis(20)).await;
    }
    Err("it does not answer".to_owned())
}

fn answers(memory: &Memory, server: &ServerId) -> bool {
    let site = memory.site();
    let lines = site.haproxies.iter().flat_map(Haproxy::workers).flat_map(|worker| &worker.lines);
    lines.into_iter().any(|line| line.id == *server && site.serves(line.address))
}

fn has_sessions(memory: &Memory, server: &ServerId) -> bool {
    let site = memory.site();
    let mut sessions = site.haproxies.iter().flat_map(Haproxy::workers).flat_map(|worker| &worker.sessions);
    sessions.any(|session| session.server == *server)
}

fn is_there(memory: &Memory, id: &str) -> bool {
    memory.site().engine.containers.iter().any(|place| place.container.id.0.starts_with(id))
}

fn is_called(memory: &Memory, id: &str, name: &str) -> bool {
    let site = memory.site();
    site.engine.containers.iter().any(|it| it.container.id.0.starts_with(id) && it.container.name == name)
}

async fn set(memory: &Memory, server: &str, state: AdminState) -> Result<(), String> {
    let server: ServerId = server.parse().map_err(|error| format!("{error}"))?;
    for load_balancer in memory.load_balancers() {
        load_balancer
            .set_admin_states(&[(server.clone(), state)])
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn turn_agent(memory: &Memory, server: &str, on: bool) -> Result<(), String> {
    let server: ServerId = server.parse().map_err(|error| format!("{error}"))?;
    for load_balancer in memory.load_balancers() {
        let turned = load_balancer.set_checking(&server, Checker::Agent, on).await;
        turned.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn docker(
    memory: &Memory,
    id: &str,
    call: impl AsyncFn(&MemoryEngine, ContainerId) -> Result<(), EngineError>,
) -> Result<(), String> {
    let engine = memory.engine();
    let all = engine.containers().await.map_err(|error| error.to_string())?;
    let full = all.into_iter().map(|it| it.id).find(|it| it.0.starts_with(id));
    let full = full.ok_or_else(|| format!("No such container: {id}"))?;
    call(&engine, full).await.map_err(|error| error.to_string())
}
