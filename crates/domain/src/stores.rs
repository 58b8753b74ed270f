//! All ports of one store, for the composition root.

use std::sync::Arc;

use crate::admin::{
    AuditStore, ChangeStore, CounterStore, LayoutVersionStore, StaffBookingStore, StaffShowStore, StaffStore,
};
use crate::booking::{BatchStore, BookingStore, CancelledShowStore, HistorySource, HoldStore};
use crate::catalog::CatalogStore;
use crate::former::FormerImporter;
use crate::health::Dependency;
use crate::identity::{SessionStore, UserStore};
use crate::pricing::PriceStore;
use crate::reports::ReportStore;
use crate::retention::RetentionStore;
use crate::seating::{LayoutStore, SeatingStore};
use crate::seed::Seeder;
use crate::transfer::TransferStore;

/// The ports of one store. Each service takes only the ports that it needs.
#[derive(Clone)]
pub struct Stores {
    pub users: Arc<dyn UserStore>,
    pub sessions: Arc<dyn SessionStore>,
    pub staff: Arc<dyn StaffStore>,
    pub changes: Arc<dyn ChangeStore>,
    pub audit: Arc<dyn AuditStore>,
    pub staff_bookings: Arc<dyn StaffBookingStore>,
    pub staff_shows: Arc<dyn StaffShowStore>,
    pub cancelled_shows: Arc<dyn CancelledShowStore>,
    pub counter: Arc<dyn CounterStore>,
    pub layout_versions: Arc<dyn LayoutVersionStore>,
    pub catalog: Arc<dyn CatalogStore>,
    pub prices: Arc<dyn PriceStore>,
    pub reports: Arc<dyn ReportStore>,
    pub seating: Arc<dyn SeatingStore>,
    pub layouts: Arc<dyn LayoutStore>,
    pub bookings: Arc<dyn BookingStore>,
    pub holds: Arc<dyn HoldStore>,
    pub history: Arc<dyn HistorySource>,
    pub seeder: Arc<dyn Seeder>,
    pub transfer: Arc<dyn TransferStore>,
    pub former: Arc<dyn FormerImporter>,
    pub retention: Arc<dyn RetentionStore>,
    /// The stores to which the committers write: one for each committer, at least one.
    pub batches: Vec<Arc<dyn BatchStore>>,
    pub dependency: Arc<dyn Dependency>,
}

impl Stores {
    /// Returns the ports of an adapter that implements all of them, with the stores for its committers.
    pub fn of<S>(store: Arc<S>, batches: Vec<Arc<dyn BatchStore>>) -> Self
    where
        S: UserStore
            + SessionStore
            + StaffStore
            + ChangeStore
            + AuditStore
            + StaffBookingStore
            + StaffShowStore
            + CancelledShowStore
            + CounterStore
            + LayoutVersionStore
            + CatalogStore
            + PriceStore
            + ReportStore
            + SeatingStore
            + LayoutStore
            + BookingStore
            + HoldStore
            + HistorySource
            + Seeder
            + TransferStore
            + FormerImporter
            + RetentionStore
            + Dependency
            + 'static,
    {
        Self {
            users: store.clone(),
            sessions: store.clone(),
            staff: store.clone(),
            changes: store.clone(),
            audit: store.clone(),
            staff_bookings: store.clone(),
            staff_shows: store.clone(),
            cancelled_shows: store.clone(),
            counter: store.clone(),
            layout_versions: store.clone(),
            catalog: store.clone(),
            prices: store.clone(),
            reports: store.clone(),
            seating: store.clone(),
            layouts: store.clone(),
            bookings: store.clone(),
            holds: store.clone(),
            history: store.clone(),
            seeder: store.clone(),
            transfer: store.clone(),
            former: store.clone(),
            retention: store.clone(),
            batches,
            dependency: store,
        }
    }
}
