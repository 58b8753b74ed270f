//! All ports of one store, for the composition root.

use std::sync::Arc;

use crate::admin::{AuditStore, ChangeStore, LayoutVersionStore, StaffBookingStore, StaffStore};
use crate::booking::{BatchStore, BookingStore, HistorySource, HoldStore};
use crate::catalog::CatalogStore;
use crate::former::FormerImporter;
use crate::health::Dependency;
use crate::identity::{SessionStore, UserStore};
use crate::pricing::PriceStore;
use crate::retention::RetentionStore;
use crate::seating::{LayoutStore, SeatingStore};
use crate::seed::Seeder;

/// The ports of one store. Each service takes only the ports that it needs.
#[derive(Clone)]
pub struct Stores {
    pub users: Arc<dyn UserStore>,
    pub sessions: Arc<dyn SessionStore>,
    pub staff: Arc<dyn StaffStore>,
    pub changes: Arc<dyn ChangeStore>,
    pub audit: Arc<dyn AuditStore>,
    pub staff_bookings: Arc<dyn StaffBookingStore>,
    pub layout_versions: Arc<dyn LayoutVersionStore>,
    pub catalog: Arc<dyn CatalogStore>,
    pub prices: Arc<dyn PriceStore>,
    pub seating: Arc<dyn SeatingStore>,
    pub layouts: Arc<dyn LayoutStore>,
    pub bookings: Arc<dyn BookingStore>,
    pub holds: Arc<dyn HoldStore>,
    pub history: Arc<dyn HistorySource>,
    pub seeder: Arc<dyn Seeder>,
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
            + LayoutVersionStore
            + CatalogStore
            + PriceStore
            + SeatingStore
            + LayoutStore
            + BookingStore
            + HoldStore
            + HistorySource
            + Seeder
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
            layout_versions: store.clone(),
            catalog: store.clone(),
            prices: store.clone(),
            seating: store.clone(),
            layouts: store.clone(),
            bookings: store.clone(),
            holds: store.clone(),
            history: store.clone(),
            seeder: store.clone(),
            former: store.clone(),
            retention: store.clone(),
            batches,
            dependency: store,
        }
    }
}
