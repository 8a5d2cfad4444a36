//! The journal of a run and how far it came: a record is durable before it counts.

use std::cell::{Ref, RefCell};

use tokio::sync::Mutex;

use crate::plan::Plan;
use crate::ports::{Journal, JournalError};
use crate::run::journal::{Progress, Record};

/// The journal, and the fold of its records.
pub(super) struct Ledger<'a, J> {
    plan: &'a Plan,
    journal: Mutex<&'a mut J>,
    progress: RefCell<Progress>,
}

impl<'a, J: Journal> Ledger<'a, J> {
    /// Returns the ledger of a run that has begun nothing.
    pub fn new(plan: &'a Plan, journal: &'a mut J) -> Self {
        Self { plan, journal: Mutex::new(journal), progress: RefCell::default() }
    }

    /// Continues from the progress of an unfinished run.
    pub fn continue_from(&self, progress: Progress) {
        *self.progress.borrow_mut() = progress;
    }

    /// Writes the record that opens the run.
    pub async fn open(&self, opened: &Record) -> Result<(), JournalError> {
        self.journal.lock().await.append(opened).await
    }

    /// Makes a record durable, and then counts it.
    pub async fn record(&self, record: &Record) -> Result<(), JournalError> {
        self.journal.lock().await.append(record).await?;
        self.count(record);
        Ok(())
    }

    /// Counts a record even if it cannot be made durable: it says what is true of the world already.
    pub async fn record_anyway(&self, record: &Record) -> Result<(), JournalError> {
        let written = self.journal.lock().await.append(record).await;
        self.count(record);
        written
    }

    fn count(&self, record: &Record) {
        let applied = self.progress.borrow_mut().apply(self.plan, record);
        debug_assert_eq!(applied, Ok(()), "{record:?}");
    }

    /// Returns how far the run came. The caller must not hold the result across an await.
    pub fn progress(&self) -> Ref<'_, Progress> {
        self.progress.borrow()
    }

    /// Returns the journal's path.
    pub async fn place(&self) -> String {
        self.journal.lock().await.place()
    }
}
