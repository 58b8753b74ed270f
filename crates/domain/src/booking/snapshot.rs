//! What is read to decide a batch of commands.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::command::{Action, BookSeats, Fingerprint, HoldSeats, KeyName, PreparedCommand, WantedSeats};
use super::replays::History;
use super::rules::{Rules, SeatGapRule};
use super::types::{Booking, Hold, HoldId, Tenure};
use crate::catalog::ShowStatus;
use crate::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use crate::money::Currency;
use crate::random::OperationId;
use crate::seating::ClaimStatus;

/// What a batch of commands names: what must be read to decide it. Sorted, and each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReadSet {
    pub keys: BTreeSet<KeyName>,
    /// The callers.
    pub users: BTreeSet<UserId>,
    /// The sessions that they call in.
    pub sessions: BTreeSet<SessionId>,
    pub shows: BTreeSet<ShowId>,
    /// The shows of which every claim matters.
    pub whole_shows: BTreeSet<ShowId>,
    /// The seats, each with the show it is wanted for.
    pub seats: BTreeSet<(ShowId, SeatId)>,
    pub holds: BTreeSet<HoldId>,
    /// Users who want to hold seats: all their live holds matter, on whichever show.
    pub holders: BTreeSet<UserId>,
    /// Users whose tenures of a show's seats matter: those that a command ended, and their holds on the show that ran out.
    pub tenants: BTreeSet<(ShowId, UserId)>,
    pub bookings: BTreeSet<BookingId>,
    /// Users who want to cancel a booking: their recent cancellations matter.
    pub cancellers: BTreeSet<UserId>,
}

impl ReadSet {
    /// What these commands name, where these rules hold.
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
                Action::Book(BookSeats { seats, .. }) => Some(seats),
                Action::Hold(HoldSeats { seats, .. }) => {
                    named.holders.insert(user_id);
                    named.tenants.insert((show_id, user_id));
                    match seats {
                        WantedSeats::These(seats) => Some(seats),
                        WantedSeats::Best(_) => {
                            named.whole_shows.insert(show_id);
                            None
                        }
                    }
                }
                Action::Redeem(hold_id) | Action::Extend(hold_id) | Action::Release(hold_id) => {
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
                Action::Change(booking, seats) => {
                    named.bookings.insert(booking.booking_id);
                    named.tenants.insert((show_id, user_id));
                    Some(seats)
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

/// What a command has made or changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A booking.
    Booking(BookingId),
    /// A hold.
    Hold(HoldId),
}

impl Subject {
    /// The booking, if it is one.
    pub fn booking_id(&self) -> Option<BookingId> {
        match self {
            Self::Booking(id) => Some(*id),
            Self::Hold(_) => None,
        }
    }

    /// The hold, if it is one.
    pub fn hold_id(&self) -> Option<&HoldId> {
        match self {
            Self::Booking(_) => None,
            Self::Hold(id) => Some(id),
        }
    }

    /// What a store has kept: one of the two.
    pub fn from_stored(booking_id: Option<BookingId>, hold_id: Option<HoldId>) -> Option<Self> {
        match (booking_id, hold_id) {
            (Some(id), None) => Some(Self::Booking(id)),
            (None, Some(id)) => Some(Self::Hold(id)),
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

/// A caller's account, as far as a write depends on it. An account that is gone has no row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredUser {
    /// The generation of its sessions.
    pub session_generation: i64,
}

/// A show, as far as selling it goes, with the names that a ticket shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowOffer {
    /// The layout it is seated by.
    pub layout_id: LayoutId,
    /// Whether it takes place.
    pub status: ShowStatus,
    /// When it begins.
    pub start_time: DateTime<Utc>,
    /// From when on it is sold; `None` is from the beginning.
    pub sales_open_at: Option<DateTime<Utc>>,
    /// Until when it is sold, if that is before it begins.
    pub sales_close_at: Option<DateTime<Utc>>,
    /// The currency of its prices.
    pub currency: Currency,
    /// What each category costs, in minor units. A seat whose category has no price is not sold.
    pub prices: HashMap<String, i64>,
    /// The title of the movie.
    pub movie_title: String,
    /// The theatre's name.
    pub theatre_name: String,
    /// The hall's name.
    pub hall_name: String,
}

/// A claim as it is stored, a hold that ran out included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Sold.
    Booked {
        booking_id: BookingId,
        /// Its owner.
        user_id: UserId,
    },
    /// Kept for a user.
    Held {
        hold_id: HoldId,
        /// Its owner.
        user_id: UserId,
        /// When it runs out.
        expires_at: DateTime<Utc>,
    },
    /// Kept by the house.
    Blocked,
}

/// Columns that are no claim.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a claim of this status has another owner")]
pub struct ClaimError;

impl Claim {
    /// The claim that a store has kept.
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

    /// Why the seat is not free.
    pub fn status(&self) -> ClaimStatus {
        match self {
            Self::Booked { .. } => ClaimStatus::Booked,
            Self::Held { .. } => ClaimStatus::Held,
            Self::Blocked => ClaimStatus::Blocked,
        }
    }

    /// The booking that it is of.
    pub fn booking_id(&self) -> Option<BookingId> {
        match self {
            Self::Booked { booking_id, .. } => Some(*booking_id),
            Self::Held { .. } | Self::Blocked => None,
        }
    }

    /// The hold that it is of.
    pub fn hold_id(&self) -> Option<&HoldId> {
        match self {
            Self::Held { hold_id, .. } => Some(hold_id),
            Self::Booked { .. } | Self::Blocked => None,
        }
    }

    /// When it runs out, if it does.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Held { expires_at, .. } => Some(*expires_at),
            Self::Booked { .. } | Self::Blocked => None,
        }
    }

    /// Whose it is; the house is nobody.
    pub fn user_id(&self) -> Option<UserId> {
        match self {
            Self::Booked { user_id, .. } | Self::Held { user_id, .. } => Some(*user_id),
            Self::Blocked => None,
        }
    }

    /// Whether it keeps its seat at `now`: a hold does until it runs out, at that very instant it is over.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.expires_at().is_none_or(|expires_at| expires_at > now)
    }
}

/// Every row that a batch names, as committed at one instant. What isn't there has no entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The store's clock.
    pub now: DateTime<Utc>,
    /// The history that the rows are of. Ids that were reserved in another one may be used in this one.
    pub history: History,
    /// The keys that were used.
    pub keys: HashMap<KeyName, StoredKey>,
    /// The accounts.
    pub users: HashMap<UserId, StoredUser>,
    /// Of the sessions those that last, each with whose it is.
    pub sessions: HashMap<SessionId, UserId>,
    pub shows: HashMap<ShowId, ShowOffer>,
    /// The claims: those of the seats that are named, and all of the shows that are named whole.
    pub claims: HashMap<(ShowId, SeatId), Claim>,
    /// The holds that are named, run out or not, every live hold of the holders, and every hold of a tenant on the show that is live
    /// or ran out within [`Tenure::COUNTED`].
    pub holds: HashMap<HoldId, Hold>,
    /// Tenures that a command ended within [`Tenure::COUNTED`], the last one of each seat. Those of holds that ran out are told by the
    /// holds.
    pub tenures: HashMap<TenureKey, Tenure>,
    pub bookings: HashMap<BookingId, Booking>,
    /// When the cancellers cancelled bookings within [`Rules::CANCELLATIONS_COUNTED`], in any order. Without those that do not count.
    pub cancellations: HashMap<UserId, Vec<DateTime<Utc>>>,
}

/// Whose tenure of which seat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TenureKey {
    pub show_id: ShowId,
    pub user_id: UserId,
    pub seat_id: SeatId,
}

impl Snapshot {
    /// Nothing, at an instant.
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
