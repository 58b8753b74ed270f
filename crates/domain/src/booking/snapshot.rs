//! What is read to decide a batch of commands.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::command::{
    Action, BookSeats, BookingOfCancelledShow, Fingerprint, HoldSeats, KeyName, PreparedCommand, WantedSeats,
};
use super::history::History;
use super::rules::{Rules, SeatGapRule};
use super::types::{Booking, Hold, HoldId, Tenure};
use crate::catalog::ShowStatus;
use crate::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use crate::money::{Currency, TaxRate};
use crate::pricing::ShowPrices;
use crate::random::OperationId;
use crate::seating::ClaimStatus;

/// The rows that must be read to decide a batch. Sorted, without duplicates.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReadSet {
    pub keys: BTreeSet<KeyName>,
    /// The callers.
    pub users: BTreeSet<UserId>,
    /// Their sessions.
    pub sessions: BTreeSet<SessionId>,
    pub shows: BTreeSet<ShowId>,
    /// The shows whose claims are all read.
    pub whole_shows: BTreeSet<ShowId>,
    /// The seats, each with its show.
    pub seats: BTreeSet<(ShowId, SeatId)>,
    pub holds: BTreeSet<HoldId>,
    /// Users who want to hold seats. All their live holds are read, on all shows.
    pub holders: BTreeSet<UserId>,
    /// Users whose tenures of a show's seats are read: ended ones, and their expired holds on the show.
    pub tenants: BTreeSet<(ShowId, UserId)>,
    pub bookings: BTreeSet<BookingId>,
    /// Users who want to cancel a booking. Their recent cancellations are read.
    pub cancellers: BTreeSet<UserId>,
}

impl ReadSet {
    /// Returns the rows that these commands need under these rules.
    pub fn by<'a>(commands: impl IntoIterator<Item = &'a PreparedCommand>, rules: &Rules) -> Self {
        let mut named = Self::default();
        for prepared in commands {
            let command = &prepared.command;
            let user_id = command.bearer.caller.user_id;
            named.users.insert(user_id);
            named.sessions.extend(command.bearer.session_id);
            named.keys.insert(prepared.key.clone());
            let show_id = command.show_id();
            named.shows.insert(show_id);
            let chosen = match &command.action {
                Action::Book(BookSeats { seats, .. }) => Some(seats.selection()),
                Action::Hold(HoldSeats { seats, .. }) => {
                    named.holders.insert(user_id);
                    named.tenants.insert((show_id, user_id));
                    match seats {
                        WantedSeats::These(seats) => Some(seats.selection()),
                        WantedSeats::Best(_) => {
                            named.whole_shows.insert(show_id);
                            None
                        }
                    }
                }
                Action::Redeem(hold_id)
                | Action::RedeemAs(hold_id, _)
                | Action::Extend(hold_id)
                | Action::Release(hold_id) => {
                    named.holds.insert(hold_id.clone());
                    named.tenants.insert((show_id, user_id));
                    None
                }
                Action::Cancel(booking) => {
                    named.bookings.insert(booking.booking_id);
                    named.tenants.insert((show_id, user_id));
                    named.cancellers.insert(user_id);
                    None
                }
                Action::CancelFor(booking, act) => {
                    named.bookings.insert(booking.booking_id);
                    named.tenants.insert((show_id, act.customer));
                    None
                }
                Action::CancelWithShow(BookingOfCancelledShow { booking, customer }) => {
                    named.bookings.insert(booking.booking_id);
                    named.tenants.insert((show_id, *customer));
                    None
                }
                Action::Change(booking, seats) => {
                    named.bookings.insert(booking.booking_id);
                    named.tenants.insert((show_id, user_id));
                    Some(seats)
                }
                Action::Sell(sale) => Some(sale.seats.selection()),
                // The answer has all blocked seats.
                Action::Block(_) | Action::Unblock(_) => {
                    named.whole_shows.insert(show_id);
                    None
                }
                Action::Correct(booking, seats, act) => {
                    named.bookings.insert(booking.booking_id);
                    named.tenants.insert((show_id, act.customer));
                    Some(seats.selection())
                }
            };
            let Some(seats) = chosen else { continue };
            if rules.seat_gaps == SeatGapRule::Forbid {
                named.whole_shows.insert(show_id);
            }
            named.seats.extend(seats.seats().iter().map(|seat| (show_id, *seat)));
        }
        named
    }
}

/// The booking, hold or show that a command creates or changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    Booking(BookingId),
    Hold(HoldId),
    /// A show whose seats are blocked or released.
    Show(ShowId),
}

impl Subject {
    /// Returns the id if it is a booking.
    pub fn booking_id(&self) -> Option<BookingId> {
        match self {
            Self::Booking(id) => Some(*id),
            Self::Hold(_) | Self::Show(_) => None,
        }
    }

    /// Returns the id if it is a hold.
    pub fn hold_id(&self) -> Option<&HoldId> {
        match self {
            Self::Hold(id) => Some(id),
            Self::Booking(_) | Self::Show(_) => None,
        }
    }

    /// Returns the id if it is a show.
    pub fn show_id(&self) -> Option<ShowId> {
        match self {
            Self::Show(id) => Some(*id),
            Self::Booking(_) | Self::Hold(_) => None,
        }
    }

    /// Returns the subject that a store has kept; `None` unless exactly one id is given.
    pub fn from_stored(
        booking_id: Option<BookingId>,
        hold_id: Option<HoldId>,
        show_id: Option<ShowId>,
    ) -> Option<Self> {
        match (booking_id, hold_id, show_id) {
            (Some(id), None, None) => Some(Self::Booking(id)),
            (None, Some(id), None) => Some(Self::Hold(id)),
            (None, None, Some(id)) => Some(Self::Show(id)),
            _ => None,
        }
    }
}

/// What a store keeps of a key that was used: its command succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredKey {
    /// The digest of the request that it was used with.
    pub fingerprint: Fingerprint,
    /// The run of the command that wrote it.
    pub operation_id: OperationId,
    /// What was made or changed.
    pub subject: Subject,
    /// The body of the response. A new key has one. `None` once it was deleted for its age; the key stays used.
    pub body: Option<Arc<[u8]>>,
}

/// The part of a caller's account that a write depends on. A deleted account is not in the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredUser {
    /// Increased when all sessions of the account end.
    pub session_generation: i64,
}

/// A show as the booking rules need it, with the names for the ticket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowOffer {
    /// Increased by every change of the show by staff.
    pub version: i64,
    pub layout_id: LayoutId,
    pub status: ShowStatus,
    pub start_time: DateTime<Utc>,
    pub end_time: DateTime<Utc>,
    /// When sales open; `None` if they are open from the beginning.
    pub sales_open_at: Option<DateTime<Utc>>,
    /// When sales close, if that is before the show begins.
    pub sales_close_at: Option<DateTime<Utc>>,
    pub currency: Currency,
    /// The present rate of the tax that the prices include.
    pub tax_rate: TaxRate,
    /// A seat without a price is not sold.
    pub prices: ShowPrices,
    pub movie_title: String,
    pub theatre_name: String,
    pub hall_name: String,
}

/// A stored claim. It may be of an expired hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claim {
    Booked {
        booking_id: BookingId,
        user_id: UserId,
    },
    Held {
        hold_id: HoldId,
        user_id: UserId,
        expires_at: DateTime<Utc>,
    },
    /// Blocked by the cinema.
    Blocked,
}

/// The columns of a claim contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a claim of this status has another owner")]
pub struct ClaimError;

impl Claim {
    /// Returns the claim that a store has kept.
    pub fn from_stored(
        status: ClaimStatus,
        user_id: Option<UserId>,
        booking_id: Option<BookingId>,
        hold: Option<(HoldId, DateTime<Utc>)>,
    ) -> Result<Self, ClaimError> {
        match (status, user_id, booking_id, hold) {
            (ClaimStatus::Booked, Some(user_id), Some(booking_id), None) => Ok(Self::Booked { booking_id, user_id }),
            (ClaimStatus::Held, Some(user_id), None, Some((hold_id, expires_at))) => {
                Ok(Self::Held { hold_id, user_id, expires_at })
            }
            (ClaimStatus::Blocked, _, None, None) => Ok(Self::Blocked),
            _ => Err(ClaimError),
        }
    }

    /// Returns the status.
    pub fn status(&self) -> ClaimStatus {
        match self {
            Self::Booked { .. } => ClaimStatus::Booked,
            Self::Held { .. } => ClaimStatus::Held,
            Self::Blocked => ClaimStatus::Blocked,
        }
    }

    /// Returns the booking, if the seat is booked.
    pub fn booking_id(&self) -> Option<BookingId> {
        match self {
            Self::Booked { booking_id, .. } => Some(*booking_id),
            Self::Held { .. } | Self::Blocked => None,
        }
    }

    /// Returns the hold, if the seat is held.
    pub fn hold_id(&self) -> Option<&HoldId> {
        match self {
            Self::Held { hold_id, .. } => Some(hold_id),
            Self::Booked { .. } | Self::Blocked => None,
        }
    }

    /// Returns the time at which it expires, if it does.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Held { expires_at, .. } => Some(*expires_at),
            Self::Booked { .. } | Self::Blocked => None,
        }
    }

    /// Returns the owner; `None` for a blocked seat.
    pub fn user_id(&self) -> Option<UserId> {
        match self {
            Self::Booked { user_id, .. } | Self::Held { user_id, .. } => Some(*user_id),
            Self::Blocked => None,
        }
    }

    /// Returns whether it keeps the seat at `now`. A hold has expired at its `expires_at`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.expires_at().is_none_or(|expires_at| expires_at > now)
    }
}

/// The rows that a batch needs, as committed at one instant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The store's clock.
    pub now: DateTime<Utc>,
    /// The history of the rows. Ids that were reserved in another history may be in use.
    pub history: History,
    /// The used keys.
    pub keys: HashMap<KeyName, StoredKey>,
    pub users: HashMap<UserId, StoredUser>,
    /// The live sessions, each with its user.
    pub sessions: HashMap<SessionId, UserId>,
    pub shows: HashMap<ShowId, ShowOffer>,
    /// The claims of the named seats, and all claims of the shows in [`ReadSet::whole_shows`].
    pub claims: HashMap<(ShowId, SeatId), Claim>,
    /// The named holds, expired or not; every live hold of the holders; and every hold of a tenant on the show that is live or expired
    /// within [`Tenure::COUNTED`].
    pub holds: HashMap<HoldId, Hold>,
    /// The last tenure of each seat that a command ended within [`Tenure::COUNTED`]. The tenure of an expired hold is in `holds`.
    pub tenures: HashMap<TenureKey, Tenure>,
    pub bookings: HashMap<BookingId, Booking>,
    /// The times of the counted cancellations within [`Rules::CANCELLATIONS_COUNTED`], in any order.
    pub cancellations: HashMap<UserId, Vec<DateTime<Utc>>>,
}

/// Identifies a tenure: a user and a seat of a show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TenureKey {
    pub show_id: ShowId,
    pub user_id: UserId,
    pub seat_id: SeatId,
}

impl Snapshot {
    /// Returns an empty snapshot.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self {
            now,
            history: History::default(),
            keys: HashMap::new(),
            users: HashMap::new(),
            sessions: HashMap::new(),
            shows: HashMap::new(),
            claims: HashMap::new(),
            holds: HashMap::new(),
            tenures: HashMap::new(),
            bookings: HashMap::new(),
            cancellations: HashMap::new(),
        }
    }
}
