//! The properties of every reader for any bytes: it does not panic, and its result is usable.
//!
//! There is one function per target of the fuzzer. A test also reads the seeds of each target.

use std::path::{Path, PathBuf};

use bollard::models::ContainerInspectResponse;
use drainswap::adapters::docker::inspect;
use drainswap::adapters::docker::layers::Layers;
use drainswap::adapters::docker::log::{Lines, LogStream};
use drainswap::adapters::docker::recreate::{Dialect, RawSettings, blueprint};
use drainswap::adapters::events_file::events_in;
use drainswap::adapters::haproxy::master::{ReloadReply, failed, workers};
use drainswap::adapters::haproxy::reply::Replies;
use drainswap::adapters::haproxy::state_file::saved_states;
use drainswap::cfg::{self, Environment, SourceFile, Version};
use drainswap::model::ids::ContainerId;
use drainswap::observation::Pinned;
use drainswap::plan::drift::drift;
use drainswap::plan::file::PlanFile;
use drainswap::plan::recover::Towards;
use drainswap::plan::undo::{UndoMode, undo};
use drainswap::report::ci::{Files, Github, GithubFiles, Gitlab};
use drainswap::report::{MultiReporter, html};
use drainswap::run::event::Reporter;
use drainswap::run::history::revisions;
use drainswap::run::journal::{Run, complete_records};
use drainswap::service::compose;
use drainswap::service::create_spec::{CreateSpec, SpecSource};
use drainswap::service::interpolate::Variables;
use drainswap::settings::File;

/// A reader of arbitrary bytes.
type Reader = fn(&[u8]);

/// All readers by the name of their target, which is also the name of the folder in `fixtures` with the seeds.
const ALL: [(&str, Reader); 7] = [
    ("cfg", configuration),
    ("events", events),
    ("journal", journal),
    ("plan", plan_file),
    ("runtime", runtime_reply),
    ("docker", engine_reply),
    ("settings", settings),
];

/// Passes bytes to the reader with the given name.
pub fn read(target: &str, bytes: &[u8]) {
    let (_, reader) = ALL.iter().find(|(name, _)| *name == target).expect("a target");
    reader(bytes);
}

/// haproxy.cfg is written back unchanged, and edits with the current values are possible.
fn configuration(bytes: &[u8]) {
    for (major, minor) in [(2, 2), (2, 6), (3, 2), (3, 3)] {
        let environment = Environment::new([("V".into(), "a b".into())].into(), Version::new(major, minor));
        let file = SourceFile { path: "haproxy.cfg".into(), bytes: bytes.to_vec() };
        let document = cfg::read(vec![file], &environment);
        assert_eq!(document.bytes(0), bytes);
        let configuration = cfg::interpret(&document);
        for proxy in &configuration.proxies {
            for server in &proxy.servers {
                let weight = server.weight.to_string();
                let _refused = document.set_setting(&proxy.name, &server.name, &["weight", &weight]);
            }
        }
    }
}

/// A valid journal can be resumed and rolled back to; an incomplete last record does not count.
fn journal(bytes: &[u8]) {
    let read = Run::read(bytes);
    assert_eq!(read, Run::read(complete_records(bytes)));
    let Ok(Some(run)) = read else { return };
    let _either = (run.recovery(&[], Towards::Finish), run.recovery(&[], Towards::Undo), revisions([&run]));
    for (lane, begun) in &run.progress.begun {
        for care in [UndoMode::Immediate, UndoMode::Graceful] {
            let _steps = undo(&run.plan.lanes[*lane], begun, care);
        }
    }
}

/// The run for the pages in [`events`].
const RUN: &[u8] = include_bytes!("../../fixtures/journal/version-1.jsonl");

/// Stored events can be rendered to a page, and to a CI job's log and files.
fn events(bytes: &[u8]) {
    let events = events_in(bytes);
    let run = Run::read(RUN).expect("a journal").expect("a run");
    html(&run, &events).expect("a page");
    let null = || Some(PathBuf::from("/dev/null"));
    let files = GithubFiles { summary: null(), output: null() };
    let mut listeners = MultiReporter::default();
    listeners.add(Github::new(std::io::sink(), files, false));
    listeners.add(Gitlab::new(std::io::sink(), false));
    listeners.add(Files::new(null(), null()).expect("files"));
    for event in &events {
        listeners.report(event);
    }
}

/// A plan can be printed, stays the same when it is saved again, and has no drift from itself.
fn plan_file(bytes: &[u8]) {
    let Ok(file) = PlanFile::read(bytes) else { return };
    let _shown = file.plan.to_string();
    assert_eq!(PlanFile::read(file.text().as_bytes()).as_ref(), Ok(&file));
    assert_eq!(drift(&file, &file.basis, &Ok(file.plan.clone())), []);
}

/// The answers of `HAProxy`'s runtime and master sockets, and the `server-state-file`.
fn runtime_reply(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut look = Replies::new(&text);
    let _process = look.info();
    for _ in 0..3 {
        let _tables = (look.servers_state(), look.stat());
    }
    let replies = || Replies::new(&text);
    let _each = (replies().set_server(), replies().ended_session(), replies().level().is_ok());
    let _tables = (replies().sessions(), replies().stat(), replies().servers_state());
    let _file = saved_states(bytes);
    let _master = (workers(&text), failed(&text), ReloadReply::read(&text));
}

/// An engine's answers about a container and a pull, and the log of a container.
fn engine_reply(bytes: &[u8]) {
    let mut layers = Layers::default();
    for message in bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
        layers.add(&message);
    }
    let mut log = Lines::default();
    for (index, piece) in bytes.chunks(97).enumerate() {
        log.add(if index % 3 == 0 { LogStream::Error } else { LogStream::Output }, piece);
    }
    assert!(log.last(15).iter().all(|line| !line.contains('\u{1b}')));
    let Ok(found) = serde_json::from_slice::<ContainerInspectResponse>(bytes) else { return };
    let container = inspect::container(&found, &inspect::SeenImage::Gone);
    let recipe = CreateSpec {
        model: SpecSource::CopyOf(ContainerId("67e7a6c29d15".to_owned())),
        image: container.running_image(),
        name: "app1.new-20261123T221500.000Z".to_owned(),
        platform: None,
        publish: container.published.first().copied(),
        pinned: Pinned::default(),
        renew_volumes: false,
        beside: None,
    };
    for (api, is_podman) in [((1, 41), false), ((1, 47), false), ((1, 41), true)] {
        let _refused = blueprint(&found, RawSettings::default(), None, Dialect { api, is_podman }, &recipe);
    }
}

/// drainswap.toml, a Compose file, and its `.env` file.
fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _refused = text.parse::<File>();
    let process = || [("TAG".to_owned(), "v1".to_owned())];
    let variables = Variables::new(process(), &text);
    for variables in [variables, Variables::new(process(), "")].into_iter().flatten() {
        let _refused = compose::services(&text, Path::new("/srv/mobile"), variables);
    }
}
