//! The code blocks of the project's documentation and the commands in them.

use std::path::Path;

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

/// Returns the blocks of a page in this repository, each of which must have a language.
pub fn blocks(page: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let page_text = std::fs::read_to_string(path).expect(page);
    let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for line in page_text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                assert!(!language.is_empty(), "a block of {page} has no language");
                open = Some(Block { language: language.to_owned(), text: String::new() });
            }
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of {page} has no end");
    blocks
}

/// Returns the commands in a page's console blocks. A comment with `exit code N` gives an exit code other than 0.
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
