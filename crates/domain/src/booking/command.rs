//! What callers ask the committer to do.

use thiserror::Error;

use super::types::HoldId;
use crate::identity::Bearer;
use crate::ids::{BookingId, ShowId, UserId};
use crate::random::{OperationId, Random, Reference};
use crate::seating::{SeatSelection, SeatWish};

/// A client's idempotency key: 1 to 255 visible ASCII characters (IETF httpapi draft "The Idempotency-Key HTTP
/// Header Field").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(String);

/// A text that is not a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("an idempotency key has 1 to 255 visible ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// The most characters of a key.
    pub const MAX: usize = 255;

    /// Parses a key. A value that is one whole quoted string (the draft's form) is the same key as its content bare.
    pub fn parse(text: &str) -> Result<Self, IdempotencyKeyError> {
        let bare = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => unquote(quoted).unwrap_or_else(|| text.to_owned()),
            None => text.to_owned(),
        };
        let fits = (1..=Self::MAX).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(bare)) } else { Err(IdempotencyKeyError) }
    }

    /// A key as a store has kept it: bare already.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The content of a quoted string (RFC 8941, 3.3.3): `\"` and `\\` stand for a quote and a backslash. `None` if `quoted` is more
/// than one string.
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
    /// A key lets whoever knows it and the account ask for an answer again: it stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

/// What a key belongs to besides its caller: the method and the path, like `POST /api/bookings`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope(pub String);

/// A key with all that makes it one of its kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyName {
    /// Whose key it is.
    pub user_id: UserId,
    /// What it was used for.
    pub scope: Scope,
    /// What the client sent.
    pub key: IdempotencyKey,
}

/// A digest of a request: two requests with the same are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 32]);

/// Book these seats of this show, all or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BookSeats {
    pub show_id: ShowId,
    pub seats: SeatSelection,
}

/// Which seats are to be held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WantedSeats {
    /// These.
    These(SeatSelection),
    /// The best that there are.
    Best(SeatWish),
}

/// Hold seats of this show, all or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HoldSeats {
    pub show_id: ShowId,
    pub seats: WantedSeats,
}

/// A booking and its show: whoever names the one has looked up the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShowBooking {
    pub show_id: ShowId,
    pub booking_id: BookingId,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Book seats.
    Book(BookSeats),
    /// Hold seats.
    Hold(HoldSeats),
    /// Book the seats of a hold.
    Redeem(HoldId),
    /// Let a hold last longer.
    Extend(HoldId),
    /// Give a hold's seats back.
    Release(HoldId),
    /// Give a booking's seats back.
    Cancel(ShowBooking),
    /// Give a booking other seats, as many.
    Change(ShowBooking, SeatSelection),
}

impl Action {
    /// The names of all actions.
    pub const NAMES: [&'static str; 7] = ["book", "hold", "redeem", "extend", "release", "cancel", "change"];

    /// Its name, in figures and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Book(_) => "book",
            Self::Hold(_) => "hold",
            Self::Redeem(_) => "redeem",
            Self::Extend(_) => "extend",
            Self::Release(_) => "release",
            Self::Cancel(_) => "cancel",
            Self::Change(..) => "change",
        }
    }

    /// The show whose claims are written.
    pub fn show_id(&self) -> ShowId {
        match self {
            Self::Book(book) => book.show_id,
            Self::Hold(hold) => hold.show_id,
            Self::Redeem(hold_id) | Self::Extend(hold_id) | Self::Release(hold_id) => hold_id.show_id(),
            Self::Cancel(booking) | Self::Change(booking, _) => booking.show_id,
        }
    }
}

/// One write to claims, as a caller asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Who asks, and in which session.
    pub bearer: Bearer,
    /// The key of the request, if it has one.
    pub key: Option<KeyName>,
    /// The digest of the request.
    pub fingerprint: Fingerprint,
    /// What is to be done.
    pub action: Action,
}

impl Command {
    /// The show whose claims are written. Commands of one show go through one committer.
    pub fn show_id(&self) -> ShowId {
        self.action.show_id()
    }
}

/// What is drawn for a command once, however often it is decided again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GeneratedIds {
    /// What this run of the command is known by.
    pub operation_id: OperationId,
    /// The id of the booking that it may make.
    pub booking_id: BookingId,
    /// What would be printed on the ticket.
    pub reference: Reference,
    /// The id of the hold that it may make.
    pub hold_id: HoldId,
}

impl GeneratedIds {
    /// Draws what a command on this show may need, but for the booking's id.
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
    /// What was drawn for it.
    pub drawn: GeneratedIds,
    /// The key that its success is remembered by.
    pub key: KeyName,
}

impl PreparedCommand {
    /// The scope of keys that no client has sent.
    pub const OWN_SCOPE: &'static str = "operation";

    /// A command with what was drawn for it. One without a key gets one of its own: by it a committer whose connection was lost
    /// learns whether the command was written.
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
