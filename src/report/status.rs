//! The table of `drainswap status`.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};

use crate::model::image::short_digest;
use crate::model::sanitize;
use crate::observation::{Checker, Checking, Container, ContainerState, ServerState};
use crate::topology::matching::MatchResult;
use crate::topology::{Backend, Server};

const HEADER: [&str; 8] =
    ["SERVER", "ROLE", "STATE", "SESSIONS", "CONTAINER", "IMAGE", "DIGEST", "READINESS"];

/// Returns a table with one line per server: its role, state and sessions, the container behind it, and whether it
/// answers. The table is as wide as the terminal on stdout, and unlimited elsewhere.
#[must_use]
pub fn table(backends: &[&Backend]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(HEADER);
    // On a narrow terminal, only the columns with long names wrap, and no header does.
    for (index, name) in HEADER.iter().enumerate() {
        let constraint = match *name {
            "CONTAINER" | "IMAGE" | "READINESS" => ColumnConstraint::LowerBoundary(Width::Fixed(11)),
            _ => ColumnConstraint::ContentWidth,
        };
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(constraint);
        }
    }
    for server in backends.iter().flat_map(|backend| &backend.servers) {
        table.add_row(row(server));
    }
    // Trailing blanks would wrap on a terminal of exactly this width.
    table.to_string().lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn row(server: &Server) -> [String; 8] {
    let (container, image, digest) = behind_columns(server);
    let readiness = match &server.answer {
        Some(answer) if answer.is_ready() => "ready".to_owned(),
        Some(answer) => format!("not ready: {}", sanitize::line(answer.detail())),
        None => "not probed: no address".to_owned(),
    };
    [
        server.id.to_string(),
        server.role.to_string(),
        server.state.as_ref().map_or_else(|| "unknown to HAProxy".to_owned(), |it| state(server, it)),
        server.state.as_ref().map_or_else(String::new, |state| state.sessions.to_string()),
        container,
        image,
        digest,
        readiness,
    ]
}

/// Returns `HAProxy`'s status, with the check's status if that names a problem. Then come settings that differ from
/// the configuration, and a weight of 0, with which a server that is up gets no new clients.
fn state(server: &Server, state: &ServerState) -> String {
    let word = if state.check.is_empty() || state.check.ends_with("OK") || state.is_usable() {
        state.status.clone()
    } else {
        format!("{} ({})", state.status, state.check)
    };
    let weight = match state.weight {
        0 if server.weight == 0 => Some("weight 0".to_owned()),
        weight if weight == server.weight => None,
        weight => Some(format!("weight {weight} of {}", server.weight)),
    };
    let off = [Checker::Health, Checker::Agent].into_iter();
    let off = off.filter(|checker| state.checks.of(*checker) == Checking::Off);
    let off = off.map(|checker| format!("{checker} checks off"));
    std::iter::once(word).chain(weight).chain(off).collect::<Vec<_>>().join(", ")
}

fn behind_columns(server: &Server) -> (String, String, String) {
    match &server.behind {
        _ if server.is_spare() => ("spare slot".to_owned(), String::new(), String::new()),
        MatchResult::Container(found) => of_container(&found.container),
        MatchResult::Described { .. } => ("not yet".to_owned(), String::new(), String::new()),
        MatchResult::Gone { .. } => ("gone".to_owned(), String::new(), String::new()),
        MatchResult::Unmatched { .. } => ("none found".to_owned(), String::new(), String::new()),
        MatchResult::Ambiguous { candidates } => {
            (format!("one of {}?", candidates.len()), String::new(), String::new())
        }
    }
}

fn of_container(container: &Container) -> (String, String, String) {
    let name = match container.state {
        ContainerState::Running => container.name.clone(),
        ContainerState::Created => format!("{} (created)", container.name),
        ContainerState::Paused => format!("{} (paused)", container.name),
        ContainerState::Restarting => format!("{} (restarting)", container.name),
        ContainerState::Stopped => format!("{} (stopped)", container.name),
    };
    let image = container.running_image();
    let reference = container.image_reference.split('@').next().unwrap_or_default().to_owned();
    let digest = match &image {
        crate::model::image::Image::Registry { digest, .. } => short_digest(digest).to_owned(),
        // An image from no registry has no digest, only the identifier on this engine.
        crate::model::image::Image::Local { id, .. } => format!("id {}", short_digest(&id.0)),
    };
    (name, reference, digest)
}

#[cfg(test)]
mod tests;
