//! The project's own pages: their blocks, commands, links and generated parts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end of the generated part -->\n";

/// A fenced block of a page.
pub struct Block {
    /// The language: `console`, `yaml` …
    pub language: String,
    pub text: String,
}

/// A command in the documentation with its expected exit code and output.
pub struct Typed {
    pub line: String,
    pub exit: i32,
    pub output: Vec<String>,
}

/// Returns where a page is.
pub fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(page)
}

/// Returns the text of a page.
pub fn read(page: &str) -> String {
    fs::read_to_string(path(page)).expect(page)
}

/// Returns every page, by its path from the root: README.md and its neighbours, docs/, and the collection's page.
pub fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    add_pages("", false, &mut pages);
    add_pages("ansible/", false, &mut pages);
    add_pages("docs/", true, &mut pages);
    pages.sort();
    pages
}

fn add_pages(folder: &str, with_subfolders: bool, pages: &mut Vec<String>) {
    for entry in fs::read_dir(path(folder)).expect(folder) {
        let entry = entry.expect("an entry");
        let page = format!("{folder}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            if with_subfolders {
                add_pages(&format!("{page}/"), true, pages);
            }
        } else if entry.path().extension().is_some_and(|extension| extension == "md") {
            pages.push(page);
        }
    }
}

/// Returns a page's lines, each with whether it is outside of a fenced block.
fn lines(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut is_prose = true;
    text.lines().map(move |line| {
        if line.trim_start().starts_with("```") {
            is_prose = !is_prose;
            return (line, false);
        }
        (line, is_prose)
    })
}

/// Returns the blocks of a page, each of which must name its language.
pub fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for line in read(page).lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                assert!(!language.is_empty(), "a block of {page} does not name its language");
                open = Some(Block { language: language.to_owned(), text: String::new() });
            }
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of {page} has no end");
    blocks
}

/// Returns the commands of a page's console blocks. A comment that says `exit code N` names another end than 0.
pub fn commands(page: &str) -> Vec<Typed> {
    let mut commands: Vec<Typed> = Vec::new();
    for block in blocks(page).iter().filter(|block| block.language == "console") {
        for line in block.text.lines() {
            if let Some(line) = line.strip_prefix("$ ") {
                let exit = line.rsplit_once("exit code ").map_or(Some(0), |(_, code)| code.parse().ok());
                let exit = exit.unwrap_or_else(|| panic!("{line:?} does not end with an exit code"));
                commands.push(Typed { line: line.to_owned(), exit, output: Vec::new() });
            } else {
                let command = commands.last_mut().expect("a command before its output");
                command.output.push(line.to_owned());
            }
        }
    }
    commands
}

/// Returns the targets of a page's links.
pub fn links(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    for (line, _) in lines(&read(page)).filter(|(_, is_prose)| *is_prose) {
        // What is between backticks is code.
        let prose: String = line.split('`').step_by(2).collect();
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        links.extend(targets.map(|(target, _)| target.to_owned()));
    }
    links
}

/// Returns the anchors of a text's headings, as GitHub makes them.
pub fn anchors(text: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = lines(text).filter(|(line, is_prose)| *is_prose && line.starts_with('#'));
    headings
        .map(|(line, _)| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
            let anchor: String = kept.map(|it| if it == ' ' { '-' } else { it }).collect();
            let count = seen.entry(anchor.clone()).or_default();
            *count += 1;
            if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
        })
        .collect()
}

/// Returns the text of a page without its generated part.
pub fn handwritten(page: &str) -> String {
    let text = read(page);
    let Some((before, rest)) = text.split_once(BEGIN) else { return text };
    let (_, after) = rest.split_once(END).expect("where the generated part ends");
    format!("{before}{after}")
}

/// Returns whether this is a page, and not a Python file.
fn is_page(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "md")
}

/// Returns the lines around the generated part of a file.
fn marks(file: &str, command: &str) -> (String, &'static str) {
    if is_page(file) {
        (format!("{BEGIN}UPDATE=1 {command} -->\n\n"), END)
    } else {
        (format!("# generated: UPDATE=1 {command}\n"), "# end of the generated part\n")
    }
}

/// Fails unless the generated part of a file is this text; writes it if `UPDATE` is set.
pub fn assert_generated(page: &str, command: &str, expected: &str) {
    let text = read(page);
    let (begin, end) = marks(page, command);
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{page} lacks {begin}"));
    let at = rest.find(end).unwrap_or_else(|| panic!("{page} lacks {end}"));
    // The mark of the end may be indented.
    let at = rest[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let (found, after) = rest.split_at(at);
    let expected = format!("{}\n{}", expected.trim_matches('\n'), if is_page(page) { "\n" } else { "" });
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(page), format!("{before}{begin}{expected}{after}")).expect(page);
        return;
    }
    let missing_from = |text: &str, other: &str| {
        let lines = text.lines().filter(|line| !other.lines().any(|it| it == *line));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert!(
        found == expected,
        "{page} is out of date: run `UPDATE=1 {command}`. It lacks\n{}\nand has too much\n{}",
        missing_from(&expected, found),
        missing_from(found, &expected)
    );
}
