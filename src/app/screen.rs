//! The screen of `status --watch`.

use std::io::Write;

use console::Term;

use crate::report::ci;

/// A terminal's alternate screen, which leaves the shell's output intact, or plain text without a terminal.
pub(super) struct Screen {
    term: Option<Term>,
}

impl Screen {
    /// Opens the alternate screen if text goes to a terminal that can move its cursor.
    pub fn open(is_text: bool) -> Self {
        let term = Term::stdout();
        let can = is_text && term.is_term() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let screen = Self { term: can.then_some(term) };
        if let Some(term) = &screen.term {
            // The alternate screen, without a cursor.
            let _gone = term.write_str("\u{1b}[?1049h\u{1b}[?25l");
        }
        screen
    }

    /// Replaces the last table with this one.
    pub fn show(&mut self, table: &str, notes: &[String]) -> std::io::Result<()> {
        let notes = notes.iter().map(|note| format!("note: {note}\n"));
        let text = ci::printable(&std::iter::once(table.to_owned()).chain(notes).collect::<String>());
        if let Some(term) = &self.term {
            let (height, width) = term.size();
            return term.write_str(&frame(&text, height.into(), width.into())).and_then(|()| term.flush());
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(term) = &self.term {
            let _gone = term.write_str("\u{1b}[?25h\u{1b}[?1049l");
        }
    }
}

/// Returns the text that draws a table over the last one, line by line, so that nothing flickers.
fn frame(text: &str, height: usize, width: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(2).max(1);
    let hidden = lines.len().saturating_sub(room);
    let more = (hidden > 0).then(|| format!("… and {hidden} more lines"));
    let last = [more.unwrap_or_default(), "Ctrl-C quits".to_owned()];
    let shown = lines[..lines.len() - hidden].iter().copied().chain(last.iter().map(String::as_str));
    let over = shown.map(|line| format!("{}\u{1b}[K", console::truncate_str(line, width, "…")));
    format!("\u{1b}[H{}\u{1b}[J", over.collect::<Vec<_>>().join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn a_table_fits_the_terminal_and_covers_the_last_one() {
        let shown =
            |height, width| frame("SERVER\nmobile/app1\nmobile/app2\n", height, width).replace('\u{1b}', "␛");
        insta::assert_snapshot!(shown(24, 80), @"
        ␛[HSERVER␛[K
        mobile/app1␛[K
        mobile/app2␛[K
        ␛[K
        Ctrl-C quits␛[K␛[J
        ");
        insta::assert_snapshot!(shown(4, 8), @"
        ␛[HSERVER␛[K
        mobile/…␛[K
        … and 1…␛[K
        Ctrl-C …␛[K␛[J
        ");
    }
}
