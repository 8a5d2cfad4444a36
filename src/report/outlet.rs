//! What is written by a thread of its own, so that a reader who sleeps keeps no server out of rotation.

use std::io::{ErrorKind, Result, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A reader who has taken nothing for so long is not waited for at the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to a thread that writes. It takes everything at once; when this is gone, all was written that its reader took.
#[derive(Debug)]
pub(super) struct Outlet {
    pieces: Sender<Vec<u8>>,
    given: AtomicUsize,
    written: Mutex<Written>,
    patience: Duration,
}

/// How much of what was given is written.
#[derive(Debug)]
struct Written {
    told: Receiver<()>,
    pieces: usize,
}

impl Outlet {
    /// Writes to `out`. What cannot be written is told once, and nothing more is written then.
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
                let _nobody_waits = tell.send(());
            }
        });
        let written = Mutex::new(Written { told, pieces: 0 });
        Self { pieces, given: AtomicUsize::new(0), written, patience: PATIENCE }
    }

    /// Gives it something to write. It says so where an earlier piece could not be written.
    pub fn put(&self, piece: impl Into<Vec<u8>>) -> Result<()> {
        self.given.fetch_add(1, Ordering::SeqCst);
        self.pieces.send(piece.into()).map_err(|_muted| ErrorKind::BrokenPipe.into())
    }

    /// Waits until all is written, as long as somebody reads.
    pub fn settle(&self) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        while written.pieces < self.given.load(Ordering::SeqCst)
            && written.told.recv_timeout(self.patience).is_ok()
        {
            written.pieces += 1;
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// More than any pipe takes.
    const PIECES: usize = 1000;

    fn fill(outlet: &Outlet) {
        for _ in 0..PIECES {
            outlet.put([b'.'; 1000]).unwrap();
        }
    }

    #[test]
    fn a_reader_who_is_slow_gets_everything() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let outlet = Outlet::new(writer, |error| panic!("{error}"));
        fill(&outlet);
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all.len()).unwrap()
        });
        drop(outlet);
        assert_eq!(read.join().unwrap(), PIECES * 1000);
    }

    #[test]
    fn a_reader_who_sleeps_is_not_waited_for_without_end() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut outlet = Outlet::new(writer, |error| panic!("{error}"));
        outlet.patience = Duration::from_millis(10);
        fill(&outlet);
        let begun = tokio::time::Instant::now();
        drop(outlet);
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn who_cannot_write_says_so_once_and_is_not_waited_for() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (tell, told) = channel();
        let mut outlet = Outlet::new(writer, move |error| tell.send(error.kind()).unwrap());
        outlet.patience = Duration::MAX;
        outlet.put("a").unwrap();
        assert_eq!(told.recv(), Ok(ErrorKind::BrokenPipe));
        while outlet.put("b").is_ok() {}
        drop(outlet);
    }
}
