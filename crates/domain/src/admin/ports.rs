//! The ports of the staff's work.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    AuditCursor, AuditEntry, AuditFilter, Change, ChangeAnswer, ChangeError, ChangeRequest, Changed, LayoutCursor,
    LayoutVersion, ManagedShow, ManagedUser, StaffBooking, StaffBookingFilter, StaffMember, StaffShowFilter,
    StoredChange, UserCursor, UserFilter,
};
use crate::booking::{BookingCursor, KeyName};
use crate::catalog::ShowCursor;
use crate::error::StoreError;
use crate::identity::Bearer;
use crate::ids::{BookingId, HallId, LayoutId, ShowId, UserId};
use crate::page::PageRequest;

/// Reads the rights of users.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait StaffStore: Send + Sync {
    /// Returns the bearer's rights as committed now, whatever their role.
    ///
    /// MUST return `None` if the bearer's session has ended, as `SessionStore::lasts` defines it.
    async fn member(&self, bearer: &Bearer) -> Result<Option<StaffMember>, StoreError>;

    /// Returns users, ordered by id. MUST NOT return deleted accounts.
    async fn users(&self, filter: &UserFilter, page: &PageRequest<UserCursor>) -> Result<Vec<ManagedUser>, StoreError>;

    /// Returns one user, unless the account was deleted.
    async fn user(&self, id: UserId) -> Result<Option<ManagedUser>, StoreError>;
}

/// Reads the bookings of all customers.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait StaffBookingStore: Send + Sync {
    /// Returns bookings, newest first: at most [`PageRequest::rows`] after the cursor.
    async fn staff_bookings(
        &self,
        filter: &StaffBookingFilter,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Vec<StaffBooking>, StoreError>;

    /// Returns one booking of any customer.
    async fn staff_booking(&self, id: BookingId) -> Result<Option<StaffBooking>, StoreError>;
}

/// Reads shows for staff.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait StaffShowStore: Send + Sync {
    /// Returns shows, cancelled or not, ordered by start, then id: at most [`PageRequest::rows`] after the cursor. An invalid row MUST be left
    /// out and logged.
    async fn staff_shows(
        &self,
        filter: &StaffShowFilter,
        page: &PageRequest<ShowCursor>,
    ) -> Result<Vec<ManagedShow>, StoreError>;

    /// Returns one show, cancelled or not.
    async fn staff_show(&self, id: ShowId) -> Result<Option<ManagedShow>, StoreError>;
}

/// Encodes an object for the response. Pure.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait ChangeEncoder: Send + Sync {
    /// Returns the bytes of the response.
    fn encode(&self, changed: &Changed) -> Vec<u8>;
}

/// Applies changes by staff.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ChangeStore: Send + Sync {
    /// Returns the change that was made with this key, if its answer is still stored.
    async fn stored(&self, key: &KeyName) -> Result<Option<StoredChange>, StoreError>;

    /// Applies a change, writes [`Change::records`] to the audit log, and stores the answer with the request's key, atomically.
    ///
    /// MUST change nothing, and return, in this order:
    /// - `SessionEnded` if the bearer's session has ended;
    /// - `Forbidden` if the bearer lacks [`Change::authority`];
    /// - the stored answer, or `KeyReused`, if a change was made with the request's key, also under concurrent calls: of several calls with
    ///   one key, one changes something;
    /// - `Stale` if the object does not have the version of the change's `before`;
    /// - `NameTaken` if another movie or theatre, or another hall or price list of the theatre, has the name, or another ticket type the code;
    ///   `TheatreNotFound` if a hall's or a user's theatre does not exist, or if the theatre of a new hall or price list is retired;
    ///   `HallRetired` if the hall of a new layout is retired;
    /// - `InUse` if the object to retire, or the theatre whose time zone or currency changes, has a scheduled show that has not ended;
    /// - `HasPriceLists` if the currency of a theatre changes that has a price list that is not retired, also under concurrent calls; `Stale`
    ///   if a new price list does not have the currency of its theatre;
    /// - `Stale` if the movie, the theatre, the hall or the price list of new shows has another version, also under concurrent changes;
    /// - `ShowsOverlap` if a new or moved show begins before the hall is free after another scheduled show, or ends too late for the next one,
    ///   cleaning included, also under concurrent calls;
    /// - `ShowHasBookings` if a show that has a live booking moves, without [`ShowDetails::notify`];
    /// - `LastAdmin` if no administrator who is not disabled would be left, also under concurrent calls.
    ///
    /// A new layout has the next version of its hall, and increases the version of the hall. The shows that get it are decided by
    /// [`NewLayout::shared_by`], from what is committed, also under concurrent sales: a seat of the former layout MUST NOT be sold in a show
    /// that has the new one. Expired claims of these shows are removed.
    ///
    /// A show that moves has an event `booking_moved` for each live booking, and a show that is cancelled is not booked any more: of a
    /// concurrent sale and such a change, the first one wins, and the sale is decided again. A cancelled show stays unchanged when it is
    /// cancelled again.
    ///
    /// A retired object stays unchanged when it is retired again. If [`UserAccess::loses_rights`], all sessions of the user end, and the session
    /// generation is increased; otherwise the sessions continue.
    ///
    /// [`NewLayout::shared_by`]: super::NewLayout::shared_by
    /// [`ShowDetails::notify`]: super::ShowDetails::notify
    /// [`UserAccess::loses_rights`]: super::UserAccess::loses_rights
    async fn apply(
        &self,
        request: &ChangeRequest,
        change: &Change,
        encoder: Arc<dyn ChangeEncoder>,
    ) -> Result<ChangeAnswer, ChangeError>;
}

/// Reads the layouts of halls, without their seats.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait LayoutVersionStore: Send + Sync {
    /// Returns the layouts of a hall, ordered by version, newest first.
    async fn layout_versions(
        &self,
        hall: HallId,
        page: &PageRequest<LayoutCursor>,
    ) -> Result<Vec<LayoutVersion>, StoreError>;

    /// Returns one layout.
    async fn layout_version(&self, id: LayoutId) -> Result<Option<LayoutVersion>, StoreError>;
}

/// Reads the audit log.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Returns entries, newest first.
    async fn entries(
        &self,
        filter: &AuditFilter,
        page: &PageRequest<AuditCursor>,
    ) -> Result<Vec<AuditEntry>, StoreError>;
}
