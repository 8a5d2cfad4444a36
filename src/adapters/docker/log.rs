//! The last lines of a container's log.

use crate::model::sanitize;

/// The maximum number of characters kept of a line.
const WIDTH: usize = 400;

/// The lines of a log, assembled from its pieces as they arrive. A long line comes in several pieces, and the two
/// streams of a container without a terminal may interleave, so each stream has its own unfinished line.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    finished: Vec<String>,
    unfinished: [Vec<u8>; 2],
}

/// The stream that a piece was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output, or a terminal.
    Output,
    Error,
}

impl Lines {
    /// Adds a piece.
    pub fn add(&mut self, stream: LogStream, piece: &[u8]) {
        let line = &mut self.unfinished[stream as usize];
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            // A character has at most four bytes; control characters between them get as much room again.
            let room = (WIDTH * 8).saturating_sub(line.len());
            line.extend(part.iter().take(room));
            if part.ends_with(b"\n") {
                self.finished.push(plain(line));
                line.clear();
            }
        }
    }

    /// Returns the last lines, at most `count`, oldest first.
    #[must_use]
    pub fn last(mut self, count: usize) -> Vec<String> {
        for line in self.unfinished.iter().filter(|line| !line.is_empty()) {
            self.finished.push(plain(line));
        }
        self.finished.split_off(self.finished.len().saturating_sub(count))
    }
}

fn plain(line: &[u8]) -> String {
    sanitize::short_line(&String::from_utf8_lossy(line), WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines() {
        let mut lines = Lines::default();
        lines.add(LogStream::Output, b"one\ntw");
        lines.add(LogStream::Error, b"oops\r\n");
        lines.add(LogStream::Output, b"o\nthree");
        assert_eq!(lines.last(3), ["oops", "two", "three"]);
    }

    #[test]
    fn a_line_is_safe_for_a_terminal_and_short() {
        let mut lines = Lines::default();
        lines.add(LogStream::Output, b"\x1b[31mred\xff\xe2\x80\xae\n");
        lines.add(LogStream::Output, &vec![b'x'; 100_000]);
        let lines = lines.last(9);
        assert_eq!((lines[0].as_str(), lines[1].chars().count()), ("red\u{fffd}", 401));
    }
}
