//! The journal and the wall clock in memory.

use jiff::{SignedDuration, Timestamp};

use super::call::Part;
use super::{Effect, Memory, SimulatedSite};
use crate::ports::{Journal, JournalError, WallClock};
use crate::run::journal::Record;

/// The journal of the run under test.
pub struct MemoryJournal(pub(super) Memory);

impl Journal for MemoryJournal {
    async fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let append = |site: &mut SimulatedSite| {
            if matches!(record, Record::Closed { .. }) {
                site.ended_at = Some(site.now);
            }
            site.journal.push(record.clone());
            site.effect(&Effect::Recorded(Box::new(record.clone())));
            Ok(())
        };
        self.0.call(Part::Journal, "append", append).await
    }

    fn place(&self) -> String {
        "in memory".to_owned()
    }
}

/// The site's wall clock. It starts on a night in November, and may jump.
pub struct MemoryClock(pub(super) Memory);

impl WallClock for MemoryClock {
    fn now(&self) -> Timestamp {
        let site = self.0.site();
        let since = i64::try_from(site.now).unwrap_or(i64::MAX).saturating_add(site.clock_jump);
        let began = Timestamp::new(1_795_558_500, 0).unwrap_or(Timestamp::UNIX_EPOCH);
        began.checked_add(SignedDuration::from_millis(since)).unwrap_or(began)
    }
}
