//! What callers ask the committer to do.

use thiserror::Error;

use super::counter::{CorrectedSeats, CounterSale, HouseSeats};
use super::types::HoldId;
use crate::admin::ChangeOrigin;
use crate::identity::Bearer;
use crate::ids::{BookingId, ShowId, TheatreId, UserId};
use crate::random::{OperationId, Random, Reference};
use crate::seating::{SeatSelection, SeatWish, TicketSelection};

/// A client's idempotency key: 1 to 255 visible ASCII characters (IETF httpapi draft "The Idempotency-Key HTTP
/// Header Field").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(String);

/// The error for an invalid key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("an idempotency key has 1 to 255 visible ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// The maximum length.
    pub const MAX: usize = 255;

    /// Parses a key. One quoted string (the draft's form) is the same key as its content.
    pub fn parse(text: &str) -> Result<Self, IdempotencyKeyError> {
        let bare = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => unquote(quoted).unwrap_or_else(|| text.to_owned()),
            None => text.to_owned(),
        };
        let fits = (1..=Self::MAX).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(bare)) } else { Err(IdempotencyKeyError) }
    }

    /// Returns the key that a store has kept, without quotes.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the content of a quoted string (RFC 8941, 3.3.3), where `\"` and `\\` stand for a quote and a backslash; `None` if it is not one
/// string.
fn unquote(quoted: &str) -> Option<String> {
    let mut content = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => content.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            plain => content.push(plain),
        }
    }
    Some(content)
}

impl std::fmt::Debug for IdempotencyKey {
    /// Does not show the key: with it and the account's token one can request the response again.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

/// The method and path that a key was sent with, like `POST /api/bookings`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope(pub String);

/// The identity of a key: its owner, its scope and the text from the client.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyName {
    pub user_id: UserId,
    pub scope: Scope,
    pub key: IdempotencyKey,
}

/// A digest of a request. Requests with equal digests are equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 32]);

/// A request to book all of these seats or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BookSeats {
    pub show_id: ShowId,
    pub seats: TicketSelection,
}

/// The seats to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WantedSeats {
    These(TicketSelection),
    /// The best free seats, for adults.
    Best(SeatWish),
}

/// A request to hold all of these seats or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HoldSeats {
    pub show_id: ShowId,
    pub seats: WantedSeats,
}

/// A booking and its show. The queue needs the show, so the caller looks it up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShowBooking {
    pub show_id: ShowId,
    pub booking_id: BookingId,
}

/// What the audit log records of an action by staff, whose rights were checked before: a member of staff who loses a right also loses the
/// session, which is checked in the transaction of the command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaffAct {
    pub origin: ChangeOrigin,
    /// The theatre of the show.
    pub theatre_id: TheatreId,
    /// The owner of the booking.
    pub customer: UserId,
    /// Why, for the audit log and the customer.
    pub reason: String,
}

/// A booking of a show that staff have cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookingOfCancelledShow {
    pub booking: ShowBooking,
    /// The owner of the booking.
    pub customer: UserId,
}

/// An action on claims.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Book(BookSeats),
    Hold(HoldSeats),
    /// Book the seats of a hold, as they are held.
    Redeem(HoldId),
    /// Book the seats of a hold with other ticket types.
    RedeemAs(HoldId, TicketSelection),
    /// Extend a hold.
    Extend(HoldId),
    /// Release the seats of a hold.
    Release(HoldId),
    /// Cancel a booking.
    Cancel(ShowBooking),
    /// Cancel the booking of a customer, by staff.
    CancelFor(ShowBooking, StaffAct),
    /// Cancel a booking because its show is cancelled. The cinema itself does it, without a session.
    CancelWithShow(BookingOfCancelledShow),
    /// Exchange the seats of a booking for the same number of other seats.
    Change(ShowBooking, SeatSelection),
    /// Sell seats at the box office.
    Sell(CounterSale),
    /// Block seats for the house.
    Block(HouseSeats),
    /// Release blocked seats.
    Unblock(HouseSeats),
    /// Exchange the seats or ticket types of a customer's booking, by staff.
    Correct(ShowBooking, CorrectedSeats, StaffAct),
}

impl Action {
    /// All names.
    pub const NAMES: [&'static str; 13] = [
        "book",
        "hold",
        "redeem",
        "extend",
        "release",
        "cancel",
        "change",
        "cancel_by_staff",
        "cancel_with_show",
        "sell_by_staff",
        "block",
        "unblock",
        "change_by_staff",
    ];

    /// Returns the name for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Book(_) => "book",
            Self::Hold(_) => "hold",
            Self::Redeem(_) | Self::RedeemAs(..) => "redeem",
            Self::Extend(_) => "extend",
            Self::Release(_) => "release",
            Self::Cancel(_) => "cancel",
            Self::CancelFor(..) => "cancel_by_staff",
            Self::CancelWithShow(_) => "cancel_with_show",
            Self::Change(..) => "change",
            Self::Sell(_) => "sell_by_staff",
            Self::Block(_) => "block",
            Self::Unblock(_) => "unblock",
            Self::Correct(..) => "change_by_staff",
        }
    }

    /// Returns the show whose claims the action changes.
    pub fn show_id(&self) -> ShowId {
        match self {
            Self::Book(book) => book.show_id,
            Self::Hold(hold) => hold.show_id,
            Self::Redeem(hold_id) | Self::RedeemAs(hold_id, _) | Self::Extend(hold_id) | Self::Release(hold_id) => {
                hold_id.show_id()
            }
            Self::Cancel(booking)
            | Self::CancelFor(booking, _)
            | Self::Change(booking, _)
            | Self::Correct(booking, ..) => booking.show_id,
            Self::Sell(sale) => sale.show_id,
            Self::Block(house) | Self::Unblock(house) => house.show_id,
            Self::CancelWithShow(BookingOfCancelledShow { booking, .. }) => booking.show_id,
        }
    }

    /// Returns whether the action needs a live session. The cinema's own actions have none.
    pub fn needs_session(&self) -> bool {
        !matches!(self, Self::CancelWithShow(_))
    }
}

/// An action with its caller and idempotency key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Who asks, and in which session.
    pub bearer: Bearer,
    /// The key of the request, if it has one.
    pub key: Option<KeyName>,
    /// The digest of the request.
    pub fingerprint: Fingerprint,
    /// An action on claims.
    pub action: Action,
}

impl Command {
    /// Returns the show whose claims the command changes. One committer takes all commands of a show.
    pub fn show_id(&self) -> ShowId {
        self.action.show_id()
    }
}

/// Ids that are generated once for each command, even if it is decided several times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GeneratedIds {
    /// Identifies this run of the command.
    pub operation_id: OperationId,
    /// The id of the new booking, if there is one.
    pub booking_id: BookingId,
    /// The reference of the new booking.
    pub reference: Reference,
    /// The id of the new hold, if there is one.
    pub hold_id: HoldId,
}

impl GeneratedIds {
    /// Generates all ids but the booking's.
    pub fn draw(show_id: ShowId, booking_id: BookingId, random: &dyn Random) -> Self {
        Self {
            operation_id: OperationId::draw(random),
            booking_id,
            reference: Reference::draw(random),
            hold_id: HoldId::draw(show_id, random),
        }
    }
}

/// A command that the committer has taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreparedCommand {
    pub command: Command,
    pub drawn: GeneratedIds,
    /// The key that the success is stored under.
    pub key: KeyName,
}

impl PreparedCommand {
    /// The scope of generated keys.
    pub const OWN_SCOPE: &'static str = "operation";

    /// Returns a command with its ids. A command without a key gets a generated key: if the connection is lost, the committer finds out
    /// by it whether the command was written.
    pub fn new(command: Command, drawn: GeneratedIds) -> Self {
        let own = || KeyName {
            user_id: command.bearer.caller.user_id,
            scope: Scope(Self::OWN_SCOPE.to_owned()),
            key: IdempotencyKey(format!("{:?}", drawn.operation_id)),
        };
        let key = command.key.clone().unwrap_or_else(own);
        Self { command, drawn, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<String> {
        IdempotencyKey::parse(text).ok().map(|key| key.as_str().to_owned())
    }

    #[test]
    fn a_key_is_1_to_255_visible_ascii_characters() {
        assert_eq!(key("k"), Some("k".into()));
        assert!(key(&"k".repeat(255)).is_some());
        for wrong in ["", " ", "a b", "ключ", "a\tb", "a\u{7f}", &"k".repeat(256)] {
            assert_eq!(key(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_quoted_key_is_its_content() {
        assert_eq!(key("\"abc\""), key("abc"));
        assert_eq!(key(r#""a\"b\\c""#), Some(r#"a"b\c"#.into()));
        assert_eq!(key("\"\""), None);
        // Not one whole quoted string: taken as it is.
        assert_eq!(key(r#""a"b""#), Some(r#""a"b""#.into()));
        assert_eq!(key("\"a"), Some("\"a".into()));
        assert_eq!(key("\""), Some("\"".into()));
    }
}
