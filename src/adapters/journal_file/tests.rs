use super::*;
use crate::plan::Plan;
use crate::testing::World;

fn plan() -> Plan {
    World::pair().plan("v2").unwrap()
}

fn opened() -> Record {
    Record::Opened { version: crate::run::journal::VERSION, pid: 7, plan: Box::new(plan()), site: None }
}

#[tokio::test]
async fn a_torn_record_does_not_swallow_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let backend = BackendDir::new(dir.path(), "mobile");
    let mut journal = backend.create(&plan().run).unwrap();
    journal.append(&opened()).await.unwrap();
    journal.file.write_all(b"{\"record\":\"begu").unwrap();
    let mut found = backend.journals().unwrap();
    assert_eq!(found.torn, [journal.path]);
    let mut journal = found.runs.remove(0).reopen().unwrap();
    let closed = Record::Closed {
        at: plan().at,
        outcome: crate::run::outcome::Outcome::Unchanged { rest: crate::plan::rest::Rest::default() },
    };
    journal.append(&closed).await.unwrap();
    let found = backend.journals().unwrap();
    assert!(found.runs[0].run.progress.outcome.is_some() && found.torn.is_empty(), "{found:?}");
}

#[test]
fn an_empty_journal_is_not_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let backend = BackendDir::new(&dir.path().join("made/on/the/way"), "mobile");
    assert!(backend.journals().unwrap().runs.is_empty(), "there is not even a directory");
    let journal = backend.create(&plan().run).unwrap();
    let found = backend.journals().unwrap();
    assert!(found.runs.is_empty() && found.torn.is_empty(), "killed before its first record: {found:?}");
    std::fs::write(&journal.path, "{\"record\":\"opened\"").unwrap();
    let found = backend.journals().unwrap();
    assert!(found.runs.is_empty() && found.torn == [journal.path], "{found:?}");
}

#[test]
fn an_error_in_a_journal_names_the_file_and_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let backend = BackendDir::new(dir.path(), "mobile");
    let journal = backend.create(&plan().run).unwrap();
    let path = journal.path.display();
    let error = |text: &str| {
        std::fs::write(&journal.path, text).unwrap();
        backend.journals().unwrap_err().to_string()
    };
    let opened = String::from_utf8(line(&opened()).unwrap()).unwrap();
    let error_of = |garbage: &str| error(&format!("{opened}{garbage}\n{{\"record\":\"clo"));
    assert_eq!(
        error_of("\0\0\0"),
        format!(
            "cannot read the journal {path}: record 2, at byte {}, is not understood: expected value at line 1 column 1. Find out how that run ended (`drainswap status`), then move the file away",
            opened.len()
        )
    );
    assert_eq!(
        error("{\"record\":\"opened\",\"version\":3,\"wave\":[]}\n"),
        format!(
            "cannot read the journal {path}: it has version 3, but this drainswap reads only up to version 2: update drainswap"
        )
    );
}

#[tokio::test]
async fn the_space_of_a_run_is_reserved_when_it_begins_and_freed_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = BackendDir::new(dir.path(), "mobile").create(&plan().run).unwrap();
    let taken = |journal: &JournalFile| journal.file.metadata().unwrap().blocks() * 512;
    journal.append(&opened()).await.unwrap();
    assert!(taken(&journal) >= 1 << 20, "{}", taken(&journal));
    let closed = Record::Closed {
        at: plan().at,
        outcome: crate::run::outcome::Outcome::Unchanged { rest: crate::plan::rest::Rest::default() },
    };
    journal.append(&closed).await.unwrap();
    assert!(taken(&journal) < 1 << 16, "{}", taken(&journal));
}

#[tokio::test]
async fn a_removed_journal_takes_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = BackendDir::new(dir.path(), "mobile").create(&plan().run).unwrap();
    journal.append(&opened()).await.unwrap();
    std::fs::remove_dir_all(dir.path()).unwrap();
    let error = journal.append(&opened()).await.unwrap_err().to_string();
    assert!(error.contains("it was removed during the run"), "{error}");
}

/// A moved directory leaves another one, or none, under its name, just as an unmounted one does.
#[tokio::test]
async fn a_journal_whose_directory_was_replaced_takes_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let backend = BackendDir::new(dir.path(), "mobile");
    let mut journal = backend.create(&plan().run).unwrap();
    journal.append(&opened()).await.unwrap();
    std::fs::rename(&backend.path, dir.path().join("elsewhere")).unwrap();
    for _ in ["gone", "replaced"] {
        let error = journal.append(&opened()).await.unwrap_err().to_string();
        assert!(error.contains("its directory was unmounted or replaced during the run. Check"), "{error}");
        let _another_one = backend.create(&plan().run);
    }
}

#[test]
fn links_in_the_state_directory_are_not_followed() {
    use std::os::unix::fs::symlink;
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backend = BackendDir::new(dir.path(), "mobile");
    symlink(elsewhere.path(), &backend.path).unwrap();
    assert!(backend.create(&plan().run).is_err() && backend.lock("mobile", "noon").is_err());
    assert!(backend.journals().is_err() && BackendDir::all(dir.path()).unwrap().is_empty());
    let other = BackendDir::new(dir.path(), "pay");
    let _lock = other.lock("pay", "noon").unwrap();
    symlink(elsewhere.path().join("victim"), other.path.join(format!("{}.jsonl", plan().run))).unwrap();
    assert!(other.create(&plan().run).is_err());
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing was created there");
}

#[test]
fn a_second_lock_names_the_first_holder() {
    let dir = tempfile::tempdir().unwrap();
    let backend = BackendDir::new(dir.path(), "mobile");
    let held = backend.lock("mobile", "noon").unwrap();
    let second = backend.lock("mobile", "later").unwrap_err().to_string();
    assert!(
        second.contains(&format!("process {}", std::process::id())) && second.contains("since noon"),
        "{second}"
    );
    drop(held);
    backend.lock("mobile", "later").unwrap();
}

#[test]
fn no_backend_leaves_the_state_directory() {
    let dir = Path::new("/state");
    assert_eq!(BackendDir::new(dir, "..").path, Path::new("/state/%2e."));
    assert_eq!(BackendDir::new(dir, "mobile").path, Path::new("/state/mobile"));
}
