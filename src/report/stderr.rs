//! Writes to stderr for people. A reader that does not keep up never blocks the run.

use std::io::{Result, Write};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::background_writer::BackgroundWriter;
use super::ci;

/// The single queue for stderr, which keeps all output in order. A reader that has gone away is no reason to stop.
static WRITER: LazyLock<BackgroundWriter> =
    LazyLock::new(|| BackgroundWriter::new(std::io::stderr(), |_gone| ()));

/// Prints a line for people, in colour if wanted.
pub fn print_line(text: &str) {
    let _gone = WRITER.put(styled(text) + "\n");
}

/// Waits until everything is written, as long as the reader keeps reading.
pub fn flush() {
    WRITER.flush();
}

/// Returns the text with its colours, or without them: for `NO_COLOR`, `TERM=dumb`, or no terminal. No other
/// sequence that moves a cursor remains.
pub(super) fn styled(text: &str) -> String {
    let text = ci::printable(text);
    if anstream::AutoStream::choice(&std::io::stderr()) == anstream::ColorChoice::Never {
        anstream::adapter::strip_str(&text).to_string()
    } else {
        text
    }
}

/// A [`Write`] to the same queue, for callers that write bytes. The bytes are written unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        WRITER.put(bytes).map(|()| bytes.len())
    }

    /// Writes a formatted text in one piece, so that no other output comes between its parts.
    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> Result<()> {
        WRITER.put(text.to_string())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A [`Write`] to the same queue for a log. Its lines may quote anything, so they are sanitised.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        WRITER.put(ci::printable(&String::from_utf8_lossy(bytes))).map(|()| bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A terminal with a moving cursor on the same queue.
#[derive(Debug, Default)]
pub(super) struct Terminal {
    /// The output that the next [`TermLike::flush`] writes.
    frame: Mutex<String>,
}

impl Terminal {
    fn frame(&self) -> MutexGuard<'_, String> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_cursor(&self, by: usize, to: char) -> Result<()> {
        if by == 0 { Ok(()) } else { self.write_str(&format!("\u{1b}[{by}{to}")) }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        console::Term::stderr().size().1
    }

    fn height(&self) -> u16 {
        console::Term::stderr().size().0
    }

    fn move_cursor_up(&self, by: usize) -> Result<()> {
        self.move_cursor(by, 'A')
    }

    fn move_cursor_down(&self, by: usize) -> Result<()> {
        self.move_cursor(by, 'B')
    }

    fn move_cursor_right(&self, by: usize) -> Result<()> {
        self.move_cursor(by, 'C')
    }

    fn move_cursor_left(&self, by: usize) -> Result<()> {
        self.move_cursor(by, 'D')
    }

    fn write_line(&self, text: &str) -> Result<()> {
        self.write_str(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> Result<()> {
        self.frame().push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> Result<()> {
        self.write_str("\r\u{1b}[2K")
    }

    fn flush(&self) -> Result<()> {
        let frame = std::mem::take(&mut *self.frame());
        if frame.is_empty() { Ok(()) } else { WRITER.put(frame) }
    }
}
