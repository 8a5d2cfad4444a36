//! The table of settings by engine; a test on one engine checks one column.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use super::Case;

/// The result for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// The new container has the old one's setting, and the new image's defaults.
    Equal,
    /// The difference in the new container.
    Other(Vec<String>),
    /// The engine does not support the setting.
    Missing(String),
    /// The container is refused, with the reason.
    Refused(String),
}

/// Expected differences on some engines: the prefix of an engine's name, the setting, the prefix of the difference or
/// refusal, and the note below the table.
const NOTES: &[(&str, &str, &str, &str)] = &[(
    "Podman",
    "mac-address",
    ".NetworkSettings.Networks.",
    "Podman does not distinguish an address that was given from one that it chose: the new container gets another one.",
)];

/// An engine's column.
pub(super) struct Column {
    engine: String,
    cells: BTreeMap<&'static str, Cell>,
}

impl Column {
    pub fn new(engine: String) -> Self {
        Self { engine, cells: BTreeMap::new() }
    }

    /// Adds the result for a setting; of two images, the worse result counts.
    pub fn add(&mut self, kind: &'static str, cell: Cell) {
        let before = self.cells.entry(kind).or_insert(Cell::Equal);
        match (&mut *before, cell) {
            (_, Cell::Equal) | (Cell::Refused(_), _) => {}
            (Cell::Other(differences), Cell::Other(more)) => differences.extend(more),
            (_, cell) => *before = cell,
        }
    }

    /// Fails if the page differs, or rewrites it with `UPDATE_TABLE=1`.
    pub fn check(&self, cases: &[Case], in_a_new_image: &[&str]) {
        let mut unexplained = String::new();
        let mut found = Vec::new();
        for case in cases {
            let text = match self.cells.get(case.name) {
                None => "–".to_owned(),
                Some(Cell::Missing(reason)) => {
                    missing(case.name, reason);
                    // The docker command itself may not support the setting.
                    if reason.contains("from daemon") { "–" } else { "not tried" }.to_owned()
                }
                Some(Cell::Equal) if in_a_new_image.contains(&case.name) => {
                    "equal, or the new image's".to_owned()
                }
                Some(Cell::Equal) => "equal".to_owned(),
                Some(Cell::Refused(reason)) => {
                    let Some(note) = self.note(case.name, reason) else {
                        let _ = writeln!(unexplained, "{}: refused: {reason}", case.name);
                        continue;
                    };
                    format!("refused ({note})")
                }
                Some(Cell::Other(differences)) => {
                    let mut notes: Vec<usize> = Vec::new();
                    for difference in differences {
                        match self.note(case.name, difference) {
                            Some(note) => notes.push(note),
                            None => {
                                let _ = writeln!(unexplained, "{}: {difference}", case.name);
                            }
                        }
                    }
                    notes.sort_unstable();
                    notes.dedup();
                    let notes: Vec<String> = notes.iter().map(usize::to_string).collect();
                    format!("noted ({})", notes.join(", "))
                }
            };
            found.push((case, text));
        }
        assert!(unexplained.is_empty(), "{}, otherwise than before:\n{unexplained}", self.engine);
        self.compare(&found);
    }

    /// Returns the number of the note on a difference, from 1.
    fn note(&self, kind: &str, what: &str) -> Option<usize> {
        let is_it = |(engine, of, begins, _): &&(&str, &str, &str, &str)| {
            self.engine.starts_with(engine) && *of == kind && what.starts_with(begins)
        };
        let (.., text) = NOTES.iter().find(is_it)?;
        texts().iter().position(|known| known == text).map(|at| at + 1)
    }

    fn compare(&self, found: &[(&Case, String)]) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reference/containers.md");
        let page = fs::read_to_string(&path).expect("read the page");
        let (before, rest) = page.split_once(BEGIN).expect("the page has a table");
        let (table, after) = rest.split_once(END).expect("the table has an end");
        let mut rows: Vec<Vec<String>> = table
            .lines()
            .filter(|line| line.starts_with('|') && !line.starts_with("|--"))
            .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
            .collect();
        let is_written = env::var_os("UPDATE_TABLE").is_some();
        let known = rows.first().and_then(|head| head.iter().position(|name| *name == self.engine));
        // An engine that was never tested has no column, but must not differ either.
        let Some(at) = known.or_else(|| is_written.then_some(rows[0].len())) else { return };
        if rows[0].len() == at {
            rows[0].push(self.engine.clone());
        }
        let old = std::mem::take(&mut rows);
        rows.push(old[0].clone());
        for (case, text) in found {
            let name = label(case);
            let mut row =
                old.iter().find(|row| row[0] == name).cloned().unwrap_or_else(|| vec![name.clone()]);
            row.resize(rows[0].len(), String::new());
            text.clone_into(&mut row[at]);
            rows.push(row);
        }
        let mut written = format!("{before}{BEGIN}\n");
        for (index, row) in rows.iter().enumerate() {
            let _ = writeln!(written, "| {} |", row.join(" | "));
            if index == 0 {
                let _ = writeln!(written, "|{}", "---|".repeat(row.len()));
            }
        }
        written.push('\n');
        for (index, note) in texts().iter().enumerate() {
            let _ = writeln!(written, "{}. {note}", index + 1);
        }
        let _ = write!(written, "{END}{after}");
        if is_written {
            fs::write(&path, written).expect("write the page");
        } else {
            assert_eq!(page, written, "UPDATE_TABLE=1 rewrites it");
        }
    }
}

#[expect(clippy::print_stderr, reason = "the output names each setting that was not tested")]
fn missing(kind: &str, reason: &str) {
    eprintln!("not there: {kind}: {reason}");
}

const BEGIN: &str = "<!-- begin of the table -->";
const END: &str = "<!-- end of the table -->";

/// Returns the notes without duplicates.
fn texts() -> Vec<&'static str> {
    let mut texts: Vec<&str> = Vec::new();
    for (.., text) in NOTES {
        if !texts.contains(text) {
            texts.push(text);
        }
    }
    texts
}

/// Returns the name and options of a setting: ``cpus: `--cpus` ``.
fn label(case: &Case) -> String {
    let mut options: Vec<String> = Vec::new();
    for option in case.options.split_whitespace().filter(|word| word.starts_with('-')) {
        let option = format!("`{option}`");
        if !options.contains(&option) {
            options.push(option);
        }
    }
    let name = case.name.replace('-', " ");
    if options.is_empty() { name } else { format!("{name}: {}", options.join(" ")) }
}
