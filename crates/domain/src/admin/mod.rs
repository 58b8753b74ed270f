//! The work of a cinema's staff: roles, changes of the catalog and of accounts, and the audit log.
//!
//! A **change** is one atomic act of a [`ChangeStore`]: the store checks the member of staff, applies the [`Change`], and writes the audit
//! entry and the idempotency key, all in one transaction. What a change may do, and what the audit log says of it, is decided here.
//!
//! Every object that staff change has a *version*, which each change increases. A change of an existing object names the version that it
//! was computed from; the store refuses it as stale if the object has another version by then.

mod audit;
mod bookings;
mod change;
mod counter;
mod layouts;
mod operator;
mod ports;
mod service;
mod shows;
mod staff;

pub use audit::{AuditAction, AuditCursor, AuditEntry, AuditFilter, Fields, ObjectKind, ObjectKindError};
pub use bookings::{StaffBooking, StaffBookingFilter, StaffBookingQuery};
pub use change::{
    AuditRecord, Change, ChangeAnswer, ChangeError, ChangeKey, ChangeOrigin, ChangeRefusal, ChangeRequest, Changed,
    Edit, Precondition, StoredChange,
};
#[cfg(feature = "mock")]
pub use counter::MockCounterStore;
pub use counter::{BlockRecord, BlockedSeat, BoxOfficeAccount, CounterStore};
pub use layouts::{AddedLayout, LayoutCursor, LayoutUse, LayoutVersion, NewLayout, UpcomingShow};
pub use ports::{
    AuditStore, ChangeEncoder, ChangeStore, LayoutVersionStore, StaffBookingStore, StaffShowStore, StaffStore,
};
#[cfg(feature = "mock")]
pub use ports::{
    MockAuditStore, MockChangeEncoder, MockChangeStore, MockLayoutVersionStore, MockStaffBookingStore,
    MockStaffShowStore, MockStaffStore,
};
pub use service::AdminService;
pub use shows::{
    ManagedShow, NewPrices, NewShow, NewShows, SalesClosing, Schedule, ShowCancellation, ShowChange, ShowChangeError,
    ShowDetails, ShowEdit, ShowFormat, ShowMistake, ShowMistakeReason, ShowOverlap, ShowParts, ShowSurroundings,
    ShowsDraft, StaffShowFilter, StaffShowQuery,
};
pub use staff::{Authority, ManagedUser, StaffMember, UserAccess, UserAccessChange, UserCursor, UserFilter};
