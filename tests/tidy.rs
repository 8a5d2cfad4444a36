//! The rules of the architecture and of the pages, read off their text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "support/markdown.rs"]
#[allow(dead_code, reason = "the commands of a page need real parts")]
mod markdown;

/// Every Rust file below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Returns the files of a module and its children, by their path below `src/`, with their text without tests.
fn module(name: &str) -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let inside = |path: &str| path == format!("{name}.rs") || path.starts_with(&format!("{name}/"));
    let mut found = Vec::new();
    for path in rust_files(&source) {
        let short = path.strip_prefix(&source).expect("below src").display().to_string();
        if inside(&short) && !short.ends_with("tests.rs") && !short.contains("/tests/") {
            let text = fs::read_to_string(&path).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>();
            found.push((short, code.join("\n")));
        }
    }
    assert!(!found.is_empty(), "unknown module {name}");
    found
}

fn assert_lacks(modules: &[&str], forbidden: &[&str]) {
    for name in modules {
        for (path, code) in module(name) {
            for word in forbidden {
                assert!(!code.contains(word), "src/{path} uses {word}");
            }
        }
    }
}

const PURE: [&str; 7] = ["cfg", "model", "observation", "plan", "run", "service", "topology"];

#[test]
fn pure_rooms_have_no_side_effects() {
    let outside = [
        "tokio",
        "bollard",
        "reqwest",
        "std::fs",
        "std::env",
        "std::process",
        "::now()",
        "TcpStream",
        "UdpSocket",
        "UnixStream",
    ];
    assert_lacks(&PURE, &outside);
    assert_lacks(&["deploy", "site"], &["bollard", "reqwest"]);
}

#[test]
fn only_the_command_line_names_clap() {
    let rooms = rooms().into_iter().map(|(room, _)| room).filter(|room| room != "cli");
    let rooms: Vec<String> = rooms.chain(["lib".to_owned(), "main".to_owned()]).collect();
    assert_lacks(&rooms.iter().map(String::as_str).collect::<Vec<_>>(), &["clap"]);
}

/// A stored format is read and written by explicit code: with `flatten` and `untagged`, a mistake in the data is
/// reported without its place, and a new field can change what an old file means.
#[test]
fn stored_formats_are_explicit() {
    // One event is flat in its line.
    let known = "run/event.rs";
    for room in ["model", "observation", "plan", "run", "service", "settings"] {
        for (path, code) in module(room).into_iter().filter(|(path, _)| path != known) {
            let code: String = code.split_whitespace().collect();
            for word in ["serde(flatten", "serde(untagged"] {
                assert!(!code.contains(word), "src/{path} uses {word}");
            }
        }
    }
}

/// Returns the table in `src/lib.rs`: each room with the rooms that it may import, the lowest room first.
fn rooms() -> Vec<(String, BTreeSet<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let text = fs::read_to_string(path).expect("src/lib.rs");
    let table = text.split("//! ```text\n").nth(2).and_then(|rest| rest.split("//! ```").next());
    let mut rooms: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in table.expect("a table of rooms").lines() {
        let mut words = line.trim_start_matches("//!").split_whitespace().map(str::to_owned);
        let room = words.next().expect("a room");
        let imports = if line.ends_with("every room but ansible") {
            rooms.iter().map(|(room, _)| room.clone()).collect()
        } else {
            words.collect()
        };
        rooms.push((room, imports));
    }
    rooms
}

/// Returns the rooms that a room's code names.
fn imports(room: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, code) in module(room) {
        assert!(!code.contains("use crate::{"), "src/{path}: write one use for each room");
        let after = code.split("crate::").skip(1);
        let names = after.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
        found.extend(names.flatten().map(str::to_owned).filter(|name| name != room));
    }
    found.remove("testing");
    found
}

#[test]
fn rooms_import_only_the_rooms_in_their_row() {
    let rooms = rooms();
    for (index, (room, allowed)) in rooms.iter().enumerate() {
        let lower: BTreeSet<&String> = rooms[..index].iter().map(|(room, _)| room).collect();
        assert!(allowed.iter().all(|it| lower.contains(it)), "{room} imports a room that is not above it");
        let found = imports(room);
        if room == "app" {
            assert!(found.is_subset(allowed), "app: {found:?}");
        } else {
            assert_eq!(found, *allowed, "{room}: correct the table in src/lib.rs, or the import");
        }
    }
}

#[test]
fn every_room_is_in_the_table() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries = fs::read_dir(source).expect("src").map(|entry| entry.expect("an entry").path());
    let stems = entries.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    let found: BTreeSet<String> = stems.filter(|it| !["lib", "main", "testing"].contains(&&**it)).collect();
    assert_eq!(found, rooms().into_iter().map(|(room, _)| room).collect());
}

/// Fields and variants need no comment where their names say it all; types, functions and constants do.
#[test]
fn every_public_item_has_a_doc_comment() {
    let is_item = |line: &str| {
        let kinds = ["fn ", "async fn ", "struct ", "enum ", "trait ", "type ", "const ", "static "];
        line.strip_prefix("pub ").is_some_and(|rest| kinds.iter().any(|kind| rest.starts_with(kind)))
    };
    for path in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&path).expect("a source file");
        let mut is_documented = false;
        for line in text.lines() {
            if is_item(line) {
                assert!(is_documented, "{}: {line}: add a doc comment", path.display());
            }
            // Attributes stand between a comment and its item.
            is_documented = match line {
                "" | "}" => false,
                line => is_documented || line.starts_with("///"),
            };
        }
    }
}

/// The most lines that a file may have.
const LONGEST_FILE: usize = 500;

#[test]
fn no_file_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in ["src", "tests"].iter().flat_map(|folder| rust_files(&root.join(folder))) {
        let short = path.strip_prefix(root).expect("below the root").display().to_string();
        let lines = fs::read_to_string(&path).expect("a source file").lines().count();
        assert!(lines <= LONGEST_FILE, "{short} has {lines} lines: split it by subject");
    }
}

/// That nothing else needs it shows in `make lint`, which checks the crate without the feature too.
#[test]
fn a_release_has_no_simulation() {
    let manifest = markdown::read("Cargo.toml");
    let features = manifest.split("[features]").nth(1).and_then(|rest| rest.split("\n[").next());
    let features = features.expect("the features in Cargo.toml");
    assert!(features.contains("simulation = []") && !features.contains("default"), "{features}");
    let adapters = markdown::read("src/adapters.rs");
    assert!(adapters.contains("#[cfg(any(test, feature = \"simulation\"))]\npub mod memory;"), "{adapters}");
}

#[test]
fn only_main_exits_the_process() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in rust_files(&source).into_iter().filter(|path| *path != source.join("main.rs")) {
        let text = fs::read_to_string(&path).expect("a source file");
        assert!(!text.contains("process::exit"), "{} exits the process", path.display());
    }
}

#[test]
fn every_problem_of_a_configuration_is_on_its_page() {
    let rows = drainswap::cfg::code::ALL
        .iter()
        .map(|(code, meaning)| format!("| `{code}` | {} |", meaning.replace('|', "\\|")));
    let table = format!("| code | meaning |\n|---|---|\n{}", rows.collect::<Vec<_>>().join("\n"));
    markdown::assert_generated("docs/reference/problems.md", "cargo test --test tidy problem", &table);
}

#[test]
fn the_picture_of_the_crate_is_on_its_page() {
    let source = fs::read_to_string(markdown::path("src/lib.rs")).expect("src/lib.rs");
    let header = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = header.map(|line| line.strip_prefix(' ').unwrap_or(line)).skip_while(|it| *it != "```text");
    let picture = lines.collect::<Vec<_>>().join("\n").replace("[`", "`").replace("`]", "`");
    markdown::assert_generated(
        "docs/contributing/architecture.md",
        "cargo test --test tidy picture",
        &picture,
    );
}

#[test]
fn every_link_between_pages_has_a_target() {
    for page in markdown::pages() {
        for link in markdown::links(&page).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let here = markdown::path(&page);
            let target = if file.is_empty() { here } else { here.parent().expect("a folder").join(file) };
            assert!(target.exists(), "{page} links to {link}, which does not exist");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).expect("a page");
                assert!(
                    markdown::anchors(&text).iter().any(|it| it == anchor),
                    "{page} links to {link}, whose page has no such heading"
                );
            }
        }
    }
}

#[test]
fn the_index_has_every_page() {
    let linked = markdown::links("docs/README.md");
    for page in markdown::pages() {
        let Some(below) = page.strip_prefix("docs/").filter(|below| *below != "README.md") else { continue };
        assert!(linked.iter().any(|link| link == below), "docs/README.md does not link to {below}");
    }
}

#[test]
fn the_readme_is_short() {
    let lines = markdown::read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines: move something to docs/");
}

/// Tests with real parts that need none of them.
const WITHOUT_PARTS: [&str; 3] = [
    "any_image_name_is_one_word_on_the_remote_host",
    "containers_run_beside_each_other_in_memory",
    "the_memory_keeps_the_contract",
];

/// `cargo test` skips what it cannot run: a test that starts a stage is ignored, and `.ci/parts test` runs it.
#[test]
fn every_test_with_real_parts_is_ignored() {
    let mut found = 0;
    for path in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e")) {
        let text = fs::read_to_string(&path).expect("a test");
        for test in text.split("#[tokio::test").skip(1) {
            let (attributes, rest) = test.split_once("async fn ").expect("a function");
            let name = rest.split('(').next().unwrap_or_default();
            let is_free = WITHOUT_PARTS.contains(&name);
            assert_eq!(attributes.contains("#[ignore = "), !is_free, "{}: {name}", path.display());
            found += 1;
        }
    }
    assert!(found > 100, "only {found} tests");
}
