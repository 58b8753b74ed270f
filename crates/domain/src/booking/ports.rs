//! What the booking path needs of a store, and of whoever writes the answers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;

use super::command::{Action, BookSeats, Fingerprint, HoldSeats, KeyName, PreparedCommand, WantedSeats};
use super::replays::History;
use super::rules::{Rules, SeatGapRule};
use super::state::BookingStatus;
use super::types::{Booking, Hold, HoldId, Tenure, When};
use crate::catalog::ShowStatus;
use crate::error::{Cause, StoreError};
use crate::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use crate::money::Currency;
use crate::page::PageRequest;
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

/// The answer that a key remembers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredAnswer {
    /// The bytes of the answer's body.
    pub body: Arc<[u8]>,
}

/// A key that was used: its command succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredKey {
    /// The digest of the request that it was used with.
    pub fingerprint: Fingerprint,
    /// The run of the command that wrote it.
    pub operation_id: OperationId,
    /// What was made or changed.
    pub made: Subject,
    /// The answer. `None` once its time is over; the key stays used.
    pub answer: Option<StoredAnswer>,
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

/// A show that must still be as it was read: it takes place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ShowGuard {
    pub show_id: ShowId,
}

/// A user's live holds, on all shows, that must still have as many seats until the batch is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HeldGuard {
    pub user_id: UserId,
    /// How many seats.
    pub seats: i64,
}

/// A user who must still have cancelled as many bookings within [`Rules::CANCELLATIONS_COUNTED`] until the batch is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CancellationGuard {
    pub user_id: UserId,
    /// How many.
    pub bookings: i64,
}

/// A row of seats that must still be taken as it was read, until the batch is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RowGuard {
    pub show_id: ShowId,
    /// The show's layout.
    pub layout_id: LayoutId,
    /// The row's letters.
    pub row: String,
    /// The seats of the row whose claims are live, by id.
    pub taken: Vec<SeatId>,
}

/// An account that must still be as it was read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UserGuard {
    /// The account.
    pub user_id: UserId,
    pub session_generation: i64,
}

/// A key to be remembered with its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    pub name: KeyName,
    /// The digest of its request.
    pub fingerprint: Fingerprint,
    /// The run of the command.
    pub operation_id: OperationId,
    /// What is made or changed.
    pub made: Subject,
    /// The bytes of the answer's body.
    pub answer: Arc<[u8]>,
}

/// A hold that must still be as it was read, and what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangedHold {
    pub id: HoldId,
    /// When it was to run out.
    pub expires_at: DateTime<Utc>,
    /// When it will; `None` is a hold that goes.
    pub next: Option<DateTime<Utc>>,
}

/// A booking that must still be as it was read, and what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangedBooking {
    /// What has become of it so far.
    pub status: BookingStatus,
    /// The seats that it has so far, if it gets others.
    pub old_seats: Vec<SeatId>,
    /// As it will be.
    pub booking: Booking,
}

/// A claim to be deleted, which must still be as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemovedClaim {
    pub show_id: ShowId,
    pub seat_id: SeatId,
    pub claim: Claim,
}

/// A claim to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewClaim {
    pub show_id: ShowId,
    pub seat_id: SeatId,
    /// The show's layout, which the seat must be of.
    pub layout_id: LayoutId,
    pub claim: Claim,
}

/// A tenure that ends, in place of the one that the user had of the seat before.
///
/// Nothing guards the row itself: only whoever ends the hold or the booking that has the seat writes it, and those are guarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedTenure {
    /// Whose, of which seat.
    pub place: TenureKey,
    pub tenure: Tenure,
}

/// What others must be told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutboxKind {
    /// A booking was made.
    BookingConfirmed,
    /// A booking was cancelled.
    BookingCancelled,
    /// A booking has other seats.
    BookingChanged,
    /// Seats are held, or held for longer.
    SeatsHeld,
    /// A hold was released.
    SeatsReleased,
}

impl OutboxKind {
    /// The name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BookingConfirmed => "booking_confirmed",
            Self::BookingCancelled => "booking_cancelled",
            Self::BookingChanged => "booking_changed",
            Self::SeatsHeld => "seats_held",
            Self::SeatsReleased => "seats_released",
        }
    }
}

/// Something that others must be told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewOutboxEvent {
    /// What happened.
    pub kind: OutboxKind,
    /// The show whose seats changed.
    pub show_id: ShowId,
    /// The booking, if it is of one.
    pub booking_id: Option<BookingId>,
}

/// All that a batch writes, all of it or none. Lists are in lock order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteSet {
    /// The store's clock when the batch was read: when its rows were made.
    pub at: DateTime<Utc>,
    /// Shows that must still take place, by id. They stay so until the batch is written.
    pub shows: Vec<ShowGuard>,
    /// Users who must still hold as many seats, by id. Nobody else changes that until the batch is written.
    pub held: Vec<HeldGuard>,
    /// Users who must still have cancelled as many bookings, by id. Nobody else changes that until the batch is written.
    pub cancellations: Vec<CancellationGuard>,
    /// Rows that must still be taken as they were, by show and row. Nobody else changes that until the batch is written.
    pub rows: Vec<RowGuard>,
    /// Accounts that must still be as they were read, by id.
    pub users: Vec<UserGuard>,
    /// Sessions that must still last, by id.
    pub sessions: Vec<SessionId>,
    /// Keys that must be new, by name.
    pub keys: Vec<NewKey>,
    /// Holds that end or last longer, by id.
    pub changed_holds: Vec<ChangedHold>,
    /// Holds to be made, by id, each with its seats.
    pub holds: Vec<Hold>,
    /// Bookings that change, by id.
    pub changed_bookings: Vec<ChangedBooking>,
    /// Bookings to be made, by id, each with its seats in the order they were asked for.
    pub bookings: Vec<Booking>,
    /// Bookings whose cancellation counts towards their owner's limit from now on, by id: their owner cancels them, and their show takes
    /// place. What the house cancels is never among them.
    pub counted_cancellations: Vec<BookingId>,
    /// Claims that go, by show and seat.
    pub removed_claims: Vec<RemovedClaim>,
    /// Claims that must be new, by show and seat.
    pub claims: Vec<NewClaim>,
    /// Tenures that end, by show, user and seat.
    pub tenures: Vec<EndedTenure>,
    /// Events for others, in the order of the commands.
    pub outbox: Vec<NewOutboxEvent>,
}

impl WriteSet {
    /// Whether there is nothing to write: each command that changes something writes its key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Why a batch was not written.
#[derive(Debug, Clone, Error)]
pub enum WriteError {
    /// A row was not as the changes expect it, a new row was there already, or a lock was not to be had in time. Nothing was
    /// written.
    #[error("a row has changed since it was read")]
    Stale(#[source] Cause),
    /// An id or a reference that was generated for the batch is in use already. Nothing was written; others may be free.
    #[error("a generated id is in use already")]
    UsedId(#[source] Cause),
    /// The connection was lost after the batch was sent: it may be written, now or in a moment, or never.
    #[error("the connection was lost while the batch was written")]
    Unknown(#[source] Cause),
    /// The store failed before anything was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Ids for bookings that nobody else gets: `first` and those that follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookingIdBlock {
    pub first: i64,
    /// How many there are. At least one.
    pub count: u32,
}

/// Reads what a batch of commands names, and writes what was decided. Each method is one atomic act, and MUST end
/// within five seconds whatever the store does.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait BatchStore: Send + Sync {
    /// Booking ids that are nobody else's. Ids that are never used are no loss.
    async fn reserve_booking_ids(&self) -> Result<BookingIdBlock, StoreError>;

    /// Every row that the batch names, as committed at one instant, without locks.
    ///
    /// MUST wait for the outcome of writes by the same keys no more than a plain read does: it sees committed rows only.
    async fn read(&self, named: &ReadSet) -> Result<Snapshot, StoreError>;

    /// Writes all changes or none, taking locks in one order: the names of held seats, cancellations and rows first, then the rows in the
    /// order of the other fields of [`WriteSet`].
    ///
    /// MUST return `Stale`, having written nothing, if any row is not as `changes` expects it; `UsedId` if an id that the caller
    /// generated is taken; `Unknown` if it can't tell whether it was written. If an earlier write of the same key is still on its way, MUST wait for that one's outcome.
    async fn write(&self, changes: &WriteSet) -> Result<(), WriteError>;

    /// Returns once everything that an earlier read has seen is as durable as a write that has returned.
    ///
    /// A commit can become visible before it is durable: while it waits for a standby its connection may break. MUST fail if the
    /// store cannot tell in time.
    async fn confirm(&self) -> Result<(), StoreError>;
}

/// Writes the answers that keys remember. What it makes is stored, and sent again to the byte.
pub trait AnswerEncoder: Send + Sync {
    /// The body that answers a booking that was made.
    fn encode_booked(&self, booking: &Booking) -> Vec<u8>;

    /// The body that shows a booking as it is.
    fn encode_booking(&self, booking: &Booking) -> Vec<u8>;

    /// The body that shows a hold.
    fn encode_hold(&self, hold: &Hold) -> Vec<u8>;
}

/// Which bookings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BookingFilter {
    /// Only those whose show has started or not, by the store's clock.
    pub when: Option<When>,
    /// Only those of this status.
    pub status: Option<BookingStatus>,
}

/// A booking's place in a history, which is ordered newest first: by `booked_at`, then id, both descending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookingCursor {
    /// When it was made.
    pub booked_at: DateTime<Utc>,
    pub id: BookingId,
}

/// Reads bookings.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait BookingStore: Send + Sync {
    /// A user's bookings, newest first: the first [`PageRequest::rows`] after the place that is given.
    async fn bookings(
        &self,
        user_id: UserId,
        filter: &BookingFilter,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Vec<Booking>, StoreError>;

    /// One booking of this user. Someone else's is `None`.
    async fn booking(&self, user_id: UserId, id: BookingId) -> Result<Option<Booking>, StoreError>;
}

/// Reads holds.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait HoldStore: Send + Sync {
    /// A user's holds that are live by the store's clock, the first to expire first; [`super::types::HOLDS_LISTED_MAX`] at most.
    async fn holds(&self, user_id: UserId) -> Result<Vec<Hold>, StoreError>;

    /// One live hold of this user. Someone else's is `None`, and so is one that ran out.
    async fn hold(&self, user_id: UserId, id: &HoldId) -> Result<Option<Hold>, StoreError>;
}
