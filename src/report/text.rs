//! Plain lines on stderr, for logs, pipes and terminals that cannot move a cursor.

use anstyle::{AnsiColor, Style};

use super::stderr::print_line;
use crate::model::hook::HookPoint;
use crate::model::ids::{LaneId, ServerId};
use crate::model::words::{list, sessions};
use crate::plan::Step;
use crate::plan::step::in_parentheses;
use crate::run::event::{Event, EventKind, FirstRequest, Reporter, Timing};
use crate::run::outcome::Outcome;
use crate::run::story::{LaneStory, Story};

/// A reporter that writes one line per event.
#[derive(Debug)]
pub struct Text {
    quiet: bool,
    story: Story,
}

impl Text {
    /// Creates a reporter; a quiet one reports only failures and warnings.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { quiet, story: Story::default() }
    }
}

impl Reporter for Text {
    fn report(&mut self, event: &Event) {
        self.story.record(event);
        if self.quiet && !is_bad(&event.kind) {
            return;
        }
        let Some(text) = line(event, &self.story) else { return };
        print_line(&text);
    }
}

/// Returns whether a quiet reporter reports this fact: a failure or a warning.
pub(super) fn is_bad(fact: &EventKind) -> bool {
    if let EventKind::RunEnded { outcome, .. } = fact {
        return !outcome.is_success();
    }
    matches!(
        fact,
        EventKind::StepFailed { .. }
            | EventKind::Warned { .. }
            | EventKind::DrainForced { .. }
            | EventKind::OutageBegan { .. }
            | EventKind::OutageEnded { .. }
    )
}

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default();
const HEAD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Returns the text of an event for people, or `None` if a plain log should omit it. `story` is the run up to this
/// event. While lanes run side by side, every line of a lane has the lane's name.
pub(super) fn line(event: &Event, story: &Story) -> Option<String> {
    let text = line_alone(event)?;
    let Some(name) = story.name_beside_others(event.lane) else { return Some(text) };
    if let EventKind::Warned { message } = &event.kind {
        return Some(note(&format!("{name}: {message}")));
    }
    // A line without an indent names its servers itself.
    let Some(rest) = text.strip_prefix("  ") else { return Some(text) };
    let wave = event.lane.map(|lane| story.wave_of(lane)).unwrap_or_default();
    let names = wave.iter().filter_map(|lane| story.lanes.get(lane)).map(LaneStory::name);
    let width = names.map(|name| name.len()).max().unwrap_or_default();
    let rest = rest.replace('\n', &format!("\n  {:width$}", ""));
    Some(format!("  {name:width$}  {rest}"))
}

/// Returns the text of an event of a lane that runs alone.
fn line_alone(event: &Event) -> Option<String> {
    Some(match &event.kind {
        EventKind::PullProgressed { .. }
        | EventKind::SessionsLeft { .. }
        | EventKind::RunStarted { .. }
        | EventKind::Sampled { .. }
        | EventKind::LaneKept { .. }
        | EventKind::DrainStarted { .. } => return None,
        EventKind::SurgeStarted { .. }
        | EventKind::SurgeJoined { .. }
        | EventKind::SurgeRestored { .. }
        | EventKind::SurgeLeft { .. } => return surge(&event.kind),
        EventKind::Warned { message } => note(message),
        EventKind::PullStarted { image } => format!("pull     {image}"),
        EventKind::Pulled { image, took_ms } => format!("pulled   {image} {}", dim(*took_ms)),
        EventKind::Created { servers, like, .. } => created(servers, like),
        EventKind::LaneStarted { .. } => lane_started(event),
        EventKind::Verified { carriers } => verified(carriers),
        EventKind::DrainProgressed { after_ms, .. } => {
            format!("  draining  {} {}", left(&event.kind), dim(*after_ms))
        }
        EventKind::PersistenceEnded { sessions, .. } => persistence_ended(*sessions),
        EventKind::SessionsShutDown { sessions, .. } => sessions_shut_down(*sessions),
        EventKind::DrainForced { sessions, .. } => drain_forced(*sessions),
        EventKind::CheckOverruled { server } => check_overruled(server),
        EventKind::HookEnded { hook, code, output, took_ms, .. } => {
            hook_ended(*hook, *code, output, *took_ms)
        }
        EventKind::LaneSkipped { servers } => lane_skipped(servers),
        EventKind::QueueWoken { server, queued } => queue_woken(server, *queued),
        EventKind::QueueAwaited { backend, queued } => queue_awaited(backend, *queued),
        EventKind::SlowStartAwaited { servers } => {
            format!("  waiting for the slow start of {}", list(servers))
        }
        EventKind::HaproxyReloaded { was, is } => haproxy_reloaded(*was, *is),
        EventKind::Drained { took_ms, .. } => format!("  drained   nothing in flight {}", dim(*took_ms)),
        EventKind::OutageBegan { load_balancer, backend, after_ms } => {
            format!("  {BAD}outage{BAD:#}    {}", outage_began(load_balancer, backend, *after_ms))
        }
        EventKind::OutageEnded { load_balancer, backend, took_ms } => {
            outage_ended(load_balancer, backend, *took_ms)
        }
        EventKind::ContainerStopped { as_name, took_ms, .. } => {
            format!("  stopped   kept as {as_name} {}", dim(*took_ms))
        }
        EventKind::ContainerStarted { container, took_ms } => {
            format!("  started   {container} {}", dim(*took_ms))
        }
        EventKind::NotReadyYet { answer, .. } => format!("  {DIM}not ready {answer}{DIM:#}"),
        EventKind::BecameReady { answer, took_ms, .. } => format!("  answers   {answer} {}", dim(*took_ms)),
        EventKind::Enabled { .. } => "  ready     back in rotation".to_owned(),
        EventKind::Confirmed { first_request, .. } => confirmed(*first_request).to_owned(),
        EventKind::LaneFinished { timing, .. } => finished(timing),
        EventKind::StepFailed { .. } => step_failed(&event.kind),
        EventKind::StopRequested { at_once, seen_through } => stop_asked(*at_once, seen_through),
        EventKind::UndoStarted { servers, steps } => undo_started(servers, steps),
        EventKind::LaneResumed { servers, steps } => lane_resumed(servers, steps),
        EventKind::Undone { servers } => undone(servers),
        EventKind::Removed { container } => format!("removed  {container}"),
        EventKind::RunEnded { outcome, took_ms, own_ms } => run_ended(outcome, *took_ms, *own_ms),
    })
}

fn created(servers: &[ServerId], like: &str) -> String {
    format!("created  for {}, stopped, like {like}", list(servers))
}

/// Returns the text of an event of a surge server.
fn surge(kind: &EventKind) -> Option<String> {
    if let EventKind::SurgeStarted { servers, stands_in_for, container } = kind {
        return Some(format!(
            "surge    {container} starts, for {} beside {}",
            list(servers),
            list(stands_in_for)
        ));
    }
    if let EventKind::SurgeJoined { servers, address, took_ms } = kind {
        return Some(format!("joined   {} at {address} {}", list(servers), dim(*took_ms)));
    }
    if let EventKind::SurgeRestored { servers, load_balancer } = kind {
        let servers = list(servers);
        return Some(format!("{NOTE}restored{NOTE:#} {servers} at {load_balancer}, which had forgotten it"));
    }
    let EventKind::SurgeLeft { servers, took_ms } = kind else { return None };
    Some(format!("left     {} {}", list(servers), dim(*took_ms)))
}

fn note(message: &str) -> String {
    format!("{NOTE}note{NOTE:#}     {message}")
}

fn lane_started(event: &Event) -> String {
    let EventKind::LaneStarted { of, servers, role, cause, forecasts } = &event.kind else {
        return String::new();
    };
    let traffic = forecasts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let head = format!("{} {} ({role})", position(event.lane, *of), list(servers));
    format!("{HEAD}{head}{HEAD:#} {cause}\n  {DIM}meanwhile {traffic}{DIM:#}")
}

fn verified(carriers: &[ServerId]) -> String {
    if carriers.is_empty() {
        return "  verified  it carries no traffic now".to_owned();
    }
    format!("  verified  {} answered", list(carriers))
}

fn persistence_ended(left: u64) -> String {
    let left = sessions(left);
    format!("  {NOTE}maint{NOTE:#}     {left} left and kept open; persistent clients are now sent elsewhere")
}

fn sessions_shut_down(ended: u64) -> String {
    format!("  {BAD}ended{BAD:#}     {} (--on-drain-timeout shutdown)", sessions(ended))
}

fn drain_forced(left: u64) -> String {
    format!("  {BAD}forced{BAD:#}    {} cut (--on-drain-timeout force)", sessions(left))
}

fn check_overruled(server: &ServerId) -> String {
    format!(
        "  {NOTE}check{NOTE:#}     HAProxy reported {server} down although it answers; drainswap marked it up"
    )
}

fn lane_skipped(servers: &[ServerId]) -> String {
    format!("  {NOTE}skipped{NOTE:#}   {} left unchanged, as the hook requested", list(servers))
}

fn queue_woken(server: &ServerId, queued: u64) -> String {
    let requests = if queued == 1 { "1 request".to_owned() } else { format!("{queued} requests") };
    format!("  {NOTE}queue{NOTE:#}     {requests} waited although {server} was free; woke up the queue")
}

fn queue_awaited(backend: &str, queued: u64) -> String {
    format!("  waiting for the queue of {backend} ({queued} queued): this HAProxy would strand it")
}

fn haproxy_reloaded(was: u32, is: u32) -> String {
    format!(
        "  {NOTE}reloaded{NOTE:#}  HAProxy process {was} is now {is}: restoring its runtime state, waiting for the sessions of the old process"
    )
}

fn outage_ended(load_balancer: &str, backend: &str, took_ms: u64) -> String {
    let took = dim(took_ms);
    format!("  {NOTE}outage{NOTE:#}    over: {backend} is served again at {load_balancer} {took}")
}

fn confirmed(first_request: FirstRequest) -> &'static str {
    match first_request {
        FirstRequest::Taken => "  confirmed up, and takes traffic",
        FirstRequest::NotYet => "  confirmed up; no request came within a second",
        FirstRequest::NotDue => "  confirmed up (backup: idle while a primary serves)",
    }
}

fn step_failed(kind: &EventKind) -> String {
    let EventKind::StepFailed { servers, step, reason, log, health } = kind else { return String::new() };
    let head = format!("{BAD}failed{BAD:#}   {} at {step}: {reason}", list(servers));
    let log = log.iter().map(|line| format!("\n           {DIM}log |{DIM:#} {line}"));
    let health = health.iter().map(|run| format!("\n        {DIM}health |{DIM:#} {run}"));
    std::iter::once(head).chain(log).chain(health).collect()
}

fn undo_started(servers: &[ServerId], steps: &[Step]) -> String {
    format!("{NOTE}undo{NOTE:#}     {}{}", list(servers), in_parentheses(steps))
}

fn lane_resumed(servers: &[ServerId], steps: &[Step]) -> String {
    format!("finish   {}{}", list(servers), in_parentheses(steps))
}

fn undone(servers: &[ServerId]) -> String {
    let as_before = if servers.len() == 1 { "is as it was" } else { "are as they were" };
    format!("undone   {} {as_before}", list(servers))
}

/// Returns the position of a lane among all lanes of the run: `[2/4]`.
pub(super) fn position(lane: Option<LaneId>, of: usize) -> String {
    lane.map_or_else(String::new, |lane| format!("[{lane}/{of}]"))
}

/// Returns a sentence that describes an outage.
pub(super) fn outage_began(load_balancer: &str, backend: &str, after_ms: u64) -> String {
    format!("no server of {backend} has served for {} at {load_balancer}", seconds(after_ms))
}

fn stop_asked(at_once: bool, seen_through: &[ServerId]) -> String {
    if at_once {
        return format!("{NOTE}stopping{NOTE:#} now");
    }
    if seen_through.is_empty() {
        return format!(
            "{NOTE}stopping{NOTE:#} at the next safe point; ask again to roll the current server back at once"
        );
    }
    let servers = list(seen_through);
    let (serve, it) = if seen_through.len() == 1 { ("serves", "it") } else { ("serve", "them") };
    format!(
        "{NOTE}stopping{NOTE:#} when {servers} {serve} with the new container; ask again to roll {it} back at once"
    )
}

fn run_ended(outcome: &Outcome, took_ms: u64, own_ms: Option<u64>) -> String {
    let style = if outcome.is_success() { GOOD } else { BAD };
    let own =
        own_ms.map(|own| format!("; drainswap's own share {} a server", seconds(own))).unwrap_or_default();
    // The commands of a stuck run are on separate lines, ready to copy.
    let told = outcome.to_string();
    let (head, rest) = told.split_at(told.find('\n').unwrap_or(told.len()));
    format!("{style}{head}{style:#} {DIM}({}{own}){DIM:#}{rest}", seconds(took_ms))
}

fn hook_ended(hook: HookPoint, code: Option<i32>, output: &[String], took_ms: u64) -> String {
    let how = match code {
        Some(0) => "succeeded".to_owned(),
        Some(code) => format!("exited with code {code}"),
        None => "was killed".to_owned(),
    };
    let style = if code == Some(0) { Style::new() } else { NOTE };
    let head = format!("  {style}hook{style:#}      {hook} {how} {}", dim(took_ms));
    let output = output.iter().map(|line| format!("\n            {DIM}|{DIM:#} {line}"));
    std::iter::once(head).chain(output).collect()
}

/// Returns what a drain still waits for.
fn left(fact: &EventKind) -> String {
    let EventKind::DrainProgressed { waiting, answering, tunnels, in_old_workers, change, .. } = fact else {
        return String::new();
    };
    let kinds = [(waiting, "waiting"), (answering, "being answered"), (tunnels, "in a tunnel")];
    let mut kinds: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| **count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    kinds.extend((*in_old_workers > 0).then(|| format!("{in_old_workers} of them in old workers")));
    let all = waiting.saturating_add(*answering).saturating_add(*tunnels);
    format!("{} left ({}), {change:+}", sessions(all), kinds.join(", "))
}

fn finished(timing: &Timing) -> String {
    if timing.out_of_rotation_ms == 0 {
        return format!("  {GOOD}in service{GOOD:#}");
    }
    format!(
        "  {GOOD}in service{GOOD:#} after {} out of rotation: drain {}, stop and start {}, boot {}, drainswap itself {}",
        seconds(timing.out_of_rotation_ms),
        seconds(timing.drain_ms),
        seconds(timing.engine_ms),
        seconds(timing.boot_ms),
        seconds(timing.own_ms()),
    )
}

fn dim(ms: u64) -> String {
    format!("{DIM}({}){DIM:#}", seconds(ms))
}

/// Formats a time in seconds: `0.04 s`, `12.3 s`.
pub(super) fn seconds(ms: u64) -> String {
    let tenths_matter = ms >= 10_000;
    #[expect(clippy::cast_precision_loss, reason = "a run does not last for millennia")]
    let seconds = ms as f64 / 1000.0;
    if tenths_matter { format!("{seconds:.1} s") } else { format!("{seconds:.2} s") }
}

#[cfg(test)]
mod tests;
