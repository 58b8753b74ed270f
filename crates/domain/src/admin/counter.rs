//! What staff need at the box office: customers by address, the account of the box office, blocked seats, and the history of a booking.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{AdminService, ChangeError, ObjectKind, StaffMember};
use crate::booking::BookingEvent;
use crate::error::StoreError;
use crate::identity::Email;
use crate::ids::{BookingId, SeatId, ShowId, TheatreId, UserId};

/// The account that owns a theatre's sales to walk-in customers: one for each theatre, created at its first such sale.
///
/// It is disabled, no password matches its hash, and its address can be neither registered nor used to log in. Only staff see and cancel its
/// bookings. Lists of users do not contain it, and its rights cannot be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoxOfficeAccount {
    pub theatre_id: TheatreId,
}

impl BoxOfficeAccount {
    pub const NAME: &'static str = "Box office";
    /// No valid hash has this form, so no password matches. No other account has it.
    pub const PASSWORD_HASH: &'static str = "!box-office";

    /// Returns the address. An e-mail address never has a space, and `.invalid` is reserved (RFC 2606), so no other account can have it.
    pub fn email(&self) -> String {
        format!("box office@theatre-{}.invalid", self.theatre_id)
    }
}

/// A seat that is blocked for the house.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockedSeat {
    pub seat_id: SeatId,
    pub row: String,
    pub number: i32,
    /// Why, since when, and by whom; `None` for a seat that was blocked outside the API.
    pub record: Option<BlockRecord>,
}

/// Why, since when, and by whom a seat is blocked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockRecord {
    pub reason: String,
    pub since: DateTime<Utc>,
    /// The member of staff.
    pub by: UserId,
}

/// Reads and creates what the box office needs besides bookings.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait CounterStore: Send + Sync {
    /// Returns the account with this address, compared case-insensitively. MUST NOT return a deleted account.
    async fn customer(&self, email: &Email) -> Result<Option<UserId>, StoreError>;

    /// Returns the account of a theatre's box office, and creates it if there is none. `None` if the theatre does not exist.
    ///
    /// MUST create one account, also under concurrent calls. The account has the role `customer` and is disabled.
    async fn box_office(&self, account: &BoxOfficeAccount) -> Result<Option<UserId>, StoreError>;

    /// Returns the blocked seats of a show, ordered by id.
    async fn blocked_seats(&self, show: ShowId) -> Result<Vec<BlockedSeat>, StoreError>;

    /// Returns the stored events of a booking, oldest first.
    async fn booking_events(&self, id: BookingId) -> Result<Vec<BookingEvent>, StoreError>;
}

impl AdminService {
    /// Returns the owner of a sale at a theatre: the customer with this address, or the box office if none is given. `None` if no account has
    /// the address.
    pub async fn sale_owner(
        &self,
        theatre: TheatreId,
        customer: Option<&Email>,
    ) -> Result<Option<UserId>, ChangeError> {
        match customer {
            Some(email) => Ok(self.counter.customer(email).await?),
            None => {
                let owner = self.counter.box_office(&BoxOfficeAccount { theatre_id: theatre }).await?;
                owner.map(Some).ok_or(ChangeError::NotFound(ObjectKind::Theatre))
            }
        }
    }

    /// Returns the blocked seats of a show, ordered by id.
    pub async fn blocked_seats(&self, member: &StaffMember, id: ShowId) -> Result<Vec<BlockedSeat>, ChangeError> {
        self.show(member, id).await?;
        Ok(self.counter.blocked_seats(id).await?)
    }

    /// Returns all that happened to a booking, oldest first. A booking of another theatre is not found.
    pub async fn booking_history(&self, member: &StaffMember, id: BookingId) -> Result<Vec<BookingEvent>, ChangeError> {
        let found = self.booking(member, id).await?;
        let stored = self.counter.booking_events(id).await?;
        Ok(BookingEvent::history(&found.booking, stored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_the_box_office_can_be_neither_registered_nor_logged_in_with() {
        let email = BoxOfficeAccount { theatre_id: TheatreId(7) }.email();
        assert_eq!(email, "box office@theatre-7.invalid");
        assert!(Email::parse(&email).is_err() && Email::attempt(&email).is_err());
    }
}
