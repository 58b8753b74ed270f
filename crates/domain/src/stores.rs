//! All ports of one store, for who wires them.

use std::sync::Arc;

use crate::booking::{BatchStore, BookingStore, HistorySource, HoldStore};
use crate::catalog::CatalogStore;
use crate::health::Dependency;
use crate::identity::{SessionStore, UserStore};
use crate::retention::RetentionStore;
use crate::seating::{LayoutStore, SeatingStore};
use crate::seed::Seeder;

/// The ports of one store. Services take those that they need, never all of them.
#[derive(Clone)]
pub struct Stores {
    /// Accounts.
    pub users: Arc<dyn UserStore>,
    pub sessions: Arc<dyn SessionStore>,
    pub catalog: Arc<dyn CatalogStore>,
    /// Claims and prices.
    pub seating: Arc<dyn SeatingStore>,
    pub layouts: Arc<dyn LayoutStore>,
    pub bookings: Arc<dyn BookingStore>,
    pub holds: Arc<dyn HoldStore>,
    /// The history of all of it.
    pub history: Arc<dyn HistorySource>,
    /// Plans.
    pub seeder: Arc<dyn Seeder>,
    /// What is not kept for ever.
    pub retention: Arc<dyn RetentionStore>,
    /// Where committers write, one each: at least one.
    pub batches: Vec<Arc<dyn BatchStore>>,
    /// The store as a dependency.
    pub dependency: Arc<dyn Dependency>,
}

impl Stores {
    /// Returns the ports of an adapter that implements them all, with what its committers write to.
    pub fn of<S>(store: Arc<S>, batches: Vec<Arc<dyn BatchStore>>) -> Self
    where
        S: UserStore
            + SessionStore
            + CatalogStore
            + SeatingStore
            + LayoutStore
            + BookingStore
            + HoldStore
            + HistorySource
            + Seeder
            + RetentionStore
            + Dependency
            + 'static,
    {
        Self {
            users: store.clone(),
            sessions: store.clone(),
            catalog: store.clone(),
            seating: store.clone(),
            layouts: store.clone(),
            bookings: store.clone(),
            holds: store.clone(),
            history: store.clone(),
            seeder: store.clone(),
            retention: store.clone(),
            batches,
            dependency: store,
        }
    }
}
