//! Events as JSON, one per line: on stdout, or appended to a file.

use std::fs::File;
use std::io::{ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::background_writer::BackgroundWriter;
use super::stderr::print_line;
use crate::model::sanitize;
use crate::output_file;
use crate::run::event::{Event, Reporter};

/// A reporter that writes every event as one JSON object per line. It queues the output, so a reader that does not
/// read never keeps a server out of rotation. After a write error it reports the error once and writes nothing
/// more.
#[derive(Clone, Debug)]
pub struct Json(Arc<BackgroundWriter>);

impl Json {
    /// Creates a reporter to stdout.
    #[must_use]
    pub fn on_stdout() -> Self {
        Self::new("stdout".to_owned(), std::io::stdout())
    }

    /// Creates a reporter that appends to a file and creates it if it does not exist ([`output_file`]). If the file
    /// ends in a torn object, a line feed comes first.
    pub fn appended_to(path: &Path) -> Result<Self> {
        let mut file = output_file::append(path)?;
        if is_torn(path)? {
            file.write_all(b"\n")?;
        }
        Ok(Self::new(path.display().to_string(), file))
    }

    fn new(name: String, out: impl Write + Send + 'static) -> Self {
        Self(Arc::new(BackgroundWriter::new(out, move |error| {
            // A reader that closes the pipe is not an error.
            if error.kind() != ErrorKind::BrokenPipe {
                print_line(&format!("note: cannot write events to {name}: {error}; the run continues"));
            }
        })))
    }

    /// Writes an object as one line.
    pub fn put(&self, object: &impl Serialize) {
        if let Ok(line) = serde_json::to_string(object) {
            self.line(&line);
        }
    }

    fn line(&self, line: &str) {
        let _muted = self.0.put(sanitize::json(line) + "\n");
    }
}

impl Reporter for Json {
    fn report(&mut self, event: &Event) {
        if let Ok(line) = event.to_json() {
            self.line(&line);
        }
    }
}

/// Returns whether a file ends in the middle of a line, because its writer was killed or the disk was full.
fn is_torn(path: &Path) -> Result<bool> {
    // Anything that is not a regular file, such as a pipe, has no last byte.
    if !path.metadata()?.is_file() {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts::recorded;

    fn warn_not_written(mut json: Json) {
        for event in recorded() {
            json.report(&event);
        }
    }

    #[test]
    fn a_file_gets_every_event_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let lines: String = recorded().iter().map(|event| event.to_json().unwrap() + "\n").collect();
        warn_not_written(Json::appended_to(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines);
        let torn = &lines[..lines.len() - 9];
        std::fs::write(&path, torn).unwrap();
        warn_not_written(Json::appended_to(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{torn}\n{lines}"));
    }

    #[test]
    fn a_reporter_that_cannot_write_is_muted() {
        warn_not_written(Json::appended_to(Path::new("/dev/full")).unwrap());
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        warn_not_written(Json::new("a pipe".to_owned(), writer));
        assert!(Json::appended_to(Path::new("/nowhere/events.jsonl")).is_err());
    }
}
