//! Commits batches, and reads holds and bookings.

mod bookings;
mod holds;
mod read;
mod write;

pub(crate) use self::write::insert_event;

use async_trait::async_trait;
use diesel::prelude::*;
use domain::StoreError;
use domain::booking::{BatchStore, BookingIdBlock, History, HistorySource, ReadSet, Snapshot, WriteError, WriteSet};

use self::read::batch_state;
use self::write::write_changes;
use crate::failure::write_error;
use crate::schema::id_blocks;
use crate::store::SqliteStore;

/// The number of ids that are reserved at once, because each block costs a commit.
const ID_BLOCK: u32 = 64;

#[async_trait]
impl BatchStore for SqliteStore {
    async fn reserve_booking_ids(&self) -> Result<BookingIdBlock, StoreError> {
        let reserved = self.write(|connection| {
            let next: i64 = diesel::update(id_blocks::table.find("bookings"))
                .set(id_blocks::next.eq(id_blocks::next + i64::from(ID_BLOCK)))
                .returning(id_blocks::next)
                .get_result(connection)?;
            Ok(BookingIdBlock { first: next.saturating_sub(i64::from(ID_BLOCK)), count: ID_BLOCK })
        });
        Ok(reserved.await?)
    }

    async fn read(&self, named: &ReadSet) -> Result<Snapshot, StoreError> {
        let (named, clock) = (named.clone(), self.clock());
        Ok(self.read_on_writer(move |connection| batch_state(connection, named, clock.now())).await?)
    }

    async fn write(&self, changes: &WriteSet) -> Result<(), WriteError> {
        let changes = changes.clone();
        let written = self.write(move |connection| write_changes(connection, &changes));
        written.await.map_err(write_error)
    }

    /// Returns at once. Rows that another connection can see are on disk already: the only writer acknowledges a commit after its fsync.
    async fn confirm(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl HistorySource for SqliteStore {
    /// Returns a constant history: with one file and one server, no other server can take over.
    fn history(&self) -> History {
        History::default()
    }
}
