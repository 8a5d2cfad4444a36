//! Writes from a separate thread, so that a reader that does not read never keeps a server out of rotation.

use std::io::{ErrorKind, Result, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long [`BackgroundWriter::flush`] waits for a reader that takes nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// A handle to a thread that writes. It accepts everything at once. Dropping it waits until everything is written, or
/// until the reader takes nothing for [`PATIENCE`].
#[derive(Debug)]
pub(super) struct BackgroundWriter {
    pieces: Sender<Vec<u8>>,
    given: AtomicUsize,
    written: Mutex<WriteProgress>,
    patience: Duration,
}

/// How much of the input is written.
#[derive(Debug)]
struct WriteProgress {
    told: Receiver<()>,
    pieces: usize,
}

impl BackgroundWriter {
    /// Writes to `out`. After the first error it calls `failed` once and writes nothing more.
    pub fn new(
        mut out: impl Write + Send + 'static,
        failed: impl FnOnce(std::io::Error) + Send + 'static,
    ) -> Self {
        let (pieces, heard) = channel::<Vec<u8>>();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for piece in heard {
                if let Err(error) = out.write_all(&piece).and_then(|()| out.flush()) {
                    return failed(error);
                }
                let _sent = tell.send(());
            }
        });
        let written = Mutex::new(WriteProgress { told, pieces: 0 });
        Self { pieces, given: AtomicUsize::new(0), written, patience: PATIENCE }
    }

    /// Queues a piece of output. Fails if an earlier piece could not be written.
    pub fn put(&self, piece: impl Into<Vec<u8>>) -> Result<()> {
        self.given.fetch_add(1, Ordering::SeqCst);
        self.pieces.send(piece.into()).map_err(|_muted| ErrorKind::BrokenPipe.into())
    }

    /// Waits until everything is written, as long as the reader keeps reading.
    pub fn flush(&self) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        while written.pieces < self.given.load(Ordering::SeqCst)
            && written.told.recv_timeout(self.patience).is_ok()
        {
            written.pieces += 1;
        }
    }
}

impl Drop for BackgroundWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// More than any pipe can hold.
    const PIECES: usize = 1000;

    fn fill(outlet: &BackgroundWriter) {
        for _ in 0..PIECES {
            outlet.put([b'.'; 1000]).unwrap();
        }
    }

    #[test]
    fn a_slow_reader_gets_everything() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let outlet = BackgroundWriter::new(writer, |error| panic!("{error}"));
        fill(&outlet);
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all.len()).unwrap()
        });
        drop(outlet);
        assert_eq!(read.join().unwrap(), PIECES * 1000);
    }

    #[test]
    fn the_wait_for_a_reader_that_takes_nothing_ends() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut outlet = BackgroundWriter::new(writer, |error| panic!("{error}"));
        outlet.patience = Duration::from_millis(10);
        fill(&outlet);
        let begun = tokio::time::Instant::now();
        drop(outlet);
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn a_write_error_is_reported_once_and_ends_the_wait() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (tell, told) = channel();
        let mut outlet = BackgroundWriter::new(writer, move |error| tell.send(error.kind()).unwrap());
        outlet.patience = Duration::MAX;
        outlet.put("a").unwrap();
        assert_eq!(told.recv(), Ok(ErrorKind::BrokenPipe));
        while outlet.put("b").is_ok() {}
        drop(outlet);
    }
}
