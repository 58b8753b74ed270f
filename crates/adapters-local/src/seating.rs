//! A cache of layouts, in the memory of this process.

use std::mem::size_of;
use std::sync::Arc;

use async_trait::async_trait;
use domain::StoreError;
use domain::ids::LayoutId;
use domain::seating::{Layout, LayoutStore, Seat};
use moka::future::Cache;

/// The approximate memory of a cached layout without its seats, in bytes: the entry of the cache.
const ENTRY_BYTES: usize = 256;
/// The approximate memory of each text of a seat without its characters, in bytes: the overhead of the allocator.
const TEXT_BYTES: usize = 16;

/// Caches the layouts of another store.
///
/// A cached layout is never read again. So only layouts that a show uses may be read through this cache: those never change.
pub struct CachedLayouts {
    store: Arc<dyn LayoutStore>,
    kept: Cache<LayoutId, Arc<Layout>>,
}

/// The reason why there is no layout to cache.
#[derive(Clone)]
enum NotKept {
    Missing,
    Failed(StoreError),
}

impl CachedLayouts {
    /// Caches the most often used layouts of `store`, in about `bytes_max` bytes.
    pub fn new(store: Arc<dyn LayoutStore>, bytes_max: u64) -> Self {
        let weigh = |_: &LayoutId, layout: &Arc<Layout>| bytes(layout);
        Self { store, kept: Cache::builder().max_capacity(bytes_max).weigher(weigh).build() }
    }
}

#[async_trait]
impl LayoutStore for CachedLayouts {
    async fn layout(&self, id: LayoutId) -> Result<Option<Arc<Layout>>, StoreError> {
        let read = async {
            let layout = self.store.layout(id).await.map_err(NotKept::Failed)?;
            layout.ok_or(NotKept::Missing)
        };
        // Of concurrent reads of one layout, only one reaches the store. A failed read or a missing layout is not cached.
        match self.kept.try_get_with(id, read).await {
            Ok(layout) => Ok(Some(layout)),
            Err(not_kept) => match &*not_kept {
                NotKept::Missing => Ok(None),
                NotKept::Failed(error) => Err(error.clone()),
            },
        }
    }
}

/// Returns the approximate size of a layout in bytes.
fn bytes(layout: &Layout) -> u32 {
    let seat = |seat: &Seat| {
        // An empty text has no memory of its own.
        let section = if seat.section.is_empty() { 0 } else { seat.section.len() + TEXT_BYTES };
        size_of::<Seat>() + seat.row.as_str().len() + seat.category.len() + 2 * TEXT_BYTES + section
    };
    let seats: usize = layout.seats().iter().map(seat).sum();
    u32::try_from(seats + ENTRY_BYTES).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use domain::ids::SeatId;
    use domain::seating::RowName;

    use super::*;

    /// A store with the layouts 1 to 100, of 100 seats each, that counts its reads.
    #[derive(Default)]
    struct Store {
        asked: AtomicUsize,
        broken: AtomicBool,
        missing: AtomicBool,
        slow: bool,
    }

    #[async_trait]
    impl LayoutStore for Store {
        async fn layout(&self, id: LayoutId) -> Result<Option<Arc<Layout>>, StoreError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.slow {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            if self.broken.load(Ordering::SeqCst) {
                return Err(StoreError::unavailable(io::Error::other("on purpose")));
            }
            let there = (1..=100).contains(&id.0) && !self.missing.load(Ordering::SeqCst);
            Ok(there.then(|| Arc::new(layout(id))))
        }
    }

    fn layout(id: LayoutId) -> Layout {
        let seat = |number| Seat {
            id: SeatId(id.0 * 1_000 + i64::from(number)),
            row: RowName::letters(0),
            number,
            category: "standard".into(),
            accessible: false,
            x: number,
            y: 1,
            section: String::new(),
            pair: None,
        };
        Layout::new(id, (1..=100).map(seat).collect()).unwrap()
    }

    fn cached(store: Store, bytes_max: u64) -> (Arc<Store>, CachedLayouts) {
        let store = Arc::new(store);
        (store.clone(), CachedLayouts::new(store, bytes_max))
    }

    #[tokio::test]
    async fn a_layout_is_read_once() {
        let (store, layouts) = cached(Store::default(), 1_000_000);
        for _ in 0..5 {
            assert_eq!(*layouts.layout(LayoutId(7)).await.unwrap().unwrap(), layout(LayoutId(7)));
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
        assert_eq!(*layouts.layout(LayoutId(8)).await.unwrap().unwrap(), layout(LayoutId(8)));
        assert_eq!(store.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_layout_is_read_once_however_many_wait() {
        let (store, layouts) = cached(Store { slow: true, ..Store::default() }, 1_000_000);
        let layouts = Arc::new(layouts);
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let layouts = Arc::clone(&layouts);
                tokio::spawn(async move { layouts.layout(LayoutId(7)).await })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap().unwrap().is_some());
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_is_missing_is_asked_for_again() {
        let (store, layouts) = cached(Store::default(), 1_000_000);
        store.missing.store(true, Ordering::SeqCst);
        assert!(layouts.layout(LayoutId(7)).await.unwrap().is_none());
        store.missing.store(false, Ordering::SeqCst);
        assert!(layouts.layout(LayoutId(7)).await.unwrap().is_some());
        assert_eq!(store.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_failure_is_told_and_asked_for_again() {
        let (store, layouts) = cached(Store::default(), 1_000_000);
        store.broken.store(true, Ordering::SeqCst);
        let failed = layouts.layout(LayoutId(7)).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
        store.broken.store(false, Ordering::SeqCst);
        assert!(layouts.layout(LayoutId(7)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_is_kept_survives_a_failure_of_the_store() {
        let (store, layouts) = cached(Store::default(), 1_000_000);
        layouts.layout(LayoutId(7)).await.unwrap();
        store.broken.store(true, Ordering::SeqCst);
        assert!(layouts.layout(LayoutId(7)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_while_it_reads_keeps_nobody_else_waiting() {
        let (store, layouts) = cached(Store { slow: true, ..Store::default() }, 1_000_000);
        let gave_up = tokio::time::timeout(Duration::from_millis(5), layouts.layout(LayoutId(7))).await;
        assert!(gave_up.is_err());
        assert!(layouts.layout(LayoutId(7)).await.unwrap().is_some());
        assert_eq!(store.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn no_more_bytes_are_kept_than_allowed() {
        let one = u64::from(bytes(&layout(LayoutId(1))));
        assert!(one > 100 * 64, "a hundred seats weigh {one} bytes");
        let (_, layouts) = cached(Store::default(), 10 * one);
        for id in 1..=100 {
            assert!(layouts.layout(LayoutId(id)).await.unwrap().is_some());
        }
        layouts.kept.run_pending_tasks().await;
        assert!(layouts.kept.weighted_size() <= 10 * one);
        assert!(layouts.kept.entry_count() > 0);
    }

    #[tokio::test]
    async fn a_layout_larger_than_all_there_is_room_for_is_served_all_the_same() {
        let (_, layouts) = cached(Store::default(), 1);
        for _ in 0..2 {
            assert!(layouts.layout(LayoutId(7)).await.unwrap().is_some());
        }
    }
}
