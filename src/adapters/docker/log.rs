//! A container's last words, fit for a terminal.

/// The most characters of a line that are kept.
const WIDTH: usize = 400;

/// Lines from the pieces of a log as they arrive. A long line comes in several pieces, and the two streams of
/// a container without a terminal may interleave, so each stream has its own unfinished line.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    finished: Vec<String>,
    unfinished: [Vec<u8>; 2],
}

/// Where a piece was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal.
    Output,
    /// Standard error.
    Error,
}

impl Lines {
    /// Takes a piece in.
    pub fn add(&mut self, stream: Stream, piece: &[u8]) {
        let line = &mut self.unfinished[stream as usize];
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            // Four bytes are the longest character; control characters between them get as much room again.
            let room = (WIDTH * 8).saturating_sub(line.len());
            line.extend(part.iter().take(room));
            if part.ends_with(b"\n") {
                self.finished.push(plain(line, WIDTH));
                line.clear();
            }
        }
    }

    /// The last lines, at most `count`, oldest first.
    #[must_use]
    pub fn last(mut self, count: usize) -> Vec<String> {
        for line in self.unfinished.iter().filter(|line| !line.is_empty()) {
            self.finished.push(plain(line, WIDTH));
        }
        self.finished.split_off(self.finished.len().saturating_sub(count))
    }
}

/// A text without control characters and terminal sequences, at most `width` characters long.
#[must_use]
pub fn plain(text: &[u8], width: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let mut letters = text.trim().chars();
    let mut kept = String::new();
    let mut length = 0;
    while let Some(letter) = letters.next() {
        if length == width {
            kept.push('…');
            break;
        }
        match letter {
            '\u{1b}' => skip_sequence(&mut letters),
            '\t' | '\n' => kept.push(' '),
            control if control.is_control() => continue,
            other => kept.push(other),
        }
        length = kept.chars().count();
    }
    kept
}

/// Skips what follows an escape: `[…letter` (colours, cursor), `]…BEL` (titles), or one character.
fn skip_sequence(letters: &mut std::str::Chars<'_>) {
    match letters.next() {
        Some('[') => {
            letters.find(|letter| ('@'..='~').contains(letter));
        }
        Some(']') => {
            letters.find(|letter| matches!(letter, '\u{7}' | '\u{1b}'));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines() {
        let mut lines = Lines::default();
        lines.add(Stream::Output, b"one\ntw");
        lines.add(Stream::Error, b"oops\r\n");
        lines.add(Stream::Output, b"o\nthree");
        assert_eq!(lines.last(3), ["oops", "two", "three"]);
    }

    #[test]
    fn a_line_is_safe_for_a_terminal_and_short() {
        assert_eq!(plain(b"\x1b[31mred\x1b[0m\t\xff\x1b]0;title\x07!\x08", 400), "red \u{fffd}!");
        let long = plain("ä".repeat(500).as_bytes(), 400);
        assert_eq!((long.chars().count(), long.ends_with('…')), (401, true));
        let mut lines = Lines::default();
        lines.add(Stream::Output, &vec![b'x'; 100_000]);
        assert_eq!(lines.last(9)[0].chars().count(), 401);
    }
}
