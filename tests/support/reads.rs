//! Counts how often a file is opened.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

/// The opens of a file, as the kernel reports them.
pub struct Reads(OwnedFd);

impl Reads {
    pub fn of(file: &Path) -> Self {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
        // The kernel reports equal events in a row as one; each open is followed by a close.
        let flags = WatchFlags::OPEN | WatchFlags::CLOSE;
        add_watch(&inotify, file, flags).expect("watch the file");
        Self(inotify)
    }

    /// Returns how often the file was opened since the last call.
    pub fn count(&self) -> usize {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(self.0.as_fd(), &mut buffer);
        let mut count = 0;
        loop {
            match events.next() {
                Ok(event) => count += usize::from(event.events().contains(ReadFlags::OPEN)),
                Err(Errno::WOULDBLOCK) => return count,
                Err(error) => panic!("inotify: {error}"),
            }
        }
    }
}
