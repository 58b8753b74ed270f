//! Identifiers. Each entity has its own type, so that the compiler rejects a seat's id in place of a show's.

use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// An account: a customer, staff or an administrator.
    UserId;
    /// A login of a user, with the refresh tokens that follow from it.
    SessionId;
    /// A movie of the catalog.
    MovieId;
    /// A theatre: a building with halls, in one time zone.
    TheatreId;
    /// A hall of a theatre.
    HallId;
    /// One version of a hall's seats. Immutable once a show uses it.
    LayoutId;
    /// A seat of a layout. Unique across layouts.
    SeatId;
    /// A movie shown in a hall at a certain time.
    ShowId;
    /// An entry of the audit log.
    AuditId;
    /// Seats sold to a user for a show.
    BookingId;
    /// A ticket type, like adult or child.
    TicketTypeId;
    /// A price list of a theatre.
    PriceListId;
}
