//! Where a page ends, as an opaque text: base64url of a JSON list that begins with the kind of list it is for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use domain::admin::{AuditCursor, LayoutCursor, UserCursor};
use domain::booking::BookingCursor;
use domain::catalog::{HallCursor, MovieCursor, ShowCursor, TheatreCursor};
use domain::identity::SessionCursor;
use domain::ids::{AuditId, BookingId, HallId, MovieId, PriceListId, SessionId, ShowId, TheatreId, UserId};
use domain::pricing::{PriceListCursor, TicketTypeCode, TicketTypeCursor};
use serde_json::{Value, json};

/// A place in a list that can be written as a cursor.
pub trait Cursor: Sized {
    /// Returns the cursor.
    fn encode(&self) -> String;

    /// Returns the place, unless the text is no cursor of this list.
    fn decode(text: &str) -> Option<Self>;
}

fn pack(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn unpack(text: &str, kind: &str) -> Option<(Value, i64)> {
    let Value::Array(items) = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()? else { return None };
    match items.as_slice() {
        [found, key, id] if found == kind => Some((key.clone(), id.as_i64()?)),
        _ => None,
    }
}

fn named(text: &str, kind: &str) -> Option<(String, i64)> {
    let (key, id) = unpack(text, kind)?;
    // A database takes no NUL in a text.
    Some((key.as_str().filter(|name| !name.contains('\0'))?.to_owned(), id))
}

fn timed(text: &str, kind: &str) -> Option<(DateTime<Utc>, i64)> {
    let (key, id) = unpack(text, kind)?;
    let micros = key.as_i64()?;
    // Years 1 to 9999: what databases know.
    let known = (-62_135_596_800_000_000..=253_402_300_799_999_999).contains(&micros);
    Some((DateTime::from_timestamp_micros(micros).filter(|_| known)?, id))
}

impl Cursor for MovieCursor {
    fn encode(&self) -> String {
        pack(&json!(["movies", self.title, self.id.0]))
    }

    fn decode(text: &str) -> Option<Self> {
        named(text, "movies").map(|(title, id)| Self { title, id: MovieId(id) })
    }
}

impl Cursor for TheatreCursor {
    fn encode(&self) -> String {
        pack(&json!(["theatres", self.name, self.id.0]))
    }

    fn decode(text: &str) -> Option<Self> {
        named(text, "theatres").map(|(name, id)| Self { name, id: TheatreId(id) })
    }
}

impl Cursor for HallCursor {
    fn encode(&self) -> String {
        pack(&json!(["halls", self.name, self.id.0]))
    }

    fn decode(text: &str) -> Option<Self> {
        named(text, "halls").map(|(name, id)| Self { name, id: HallId(id) })
    }
}

impl Cursor for LayoutCursor {
    fn encode(&self) -> String {
        pack(&json!(["layouts", null, self.version]))
    }

    fn decode(text: &str) -> Option<Self> {
        unpack(text, "layouts").map(|(_, version)| Self { version })
    }
}

impl Cursor for PriceListCursor {
    fn encode(&self) -> String {
        pack(&json!(["price_lists", self.name, self.id.0]))
    }

    fn decode(text: &str) -> Option<Self> {
        named(text, "price_lists").map(|(name, id)| Self { name, id: PriceListId(id) })
    }
}

impl Cursor for TicketTypeCursor {
    fn encode(&self) -> String {
        pack(&json!(["ticket_types", self.code.as_str(), self.position]))
    }

    fn decode(text: &str) -> Option<Self> {
        let (code, position) = named(text, "ticket_types")?;
        Some(Self { position: i32::try_from(position).ok()?, code: TicketTypeCode::parse(&code).ok()? })
    }
}

impl Cursor for UserCursor {
    fn encode(&self) -> String {
        pack(&json!(["users", null, self.0.0]))
    }

    fn decode(text: &str) -> Option<Self> {
        unpack(text, "users").map(|(_, id)| Self(UserId(id)))
    }
}

impl Cursor for AuditCursor {
    fn encode(&self) -> String {
        pack(&json!(["audit", null, self.0.0]))
    }

    fn decode(text: &str) -> Option<Self> {
        unpack(text, "audit").map(|(_, id)| Self(AuditId(id)))
    }
}

impl Cursor for ShowCursor {
    fn encode(&self) -> String {
        pack(&json!(["shows", self.start_time.timestamp_micros(), self.id.0]))
    }

    fn decode(text: &str) -> Option<Self> {
        timed(text, "shows").map(|(start_time, id)| Self { start_time, id: ShowId(id) })
    }
}

impl Cursor for BookingCursor {
    fn encode(&self) -> String {
        pack(&json!(["bookings", self.booked_at.timestamp_micros(), self.id.0]))
    }

    fn decode(text: &str) -> Option<Self> {
        timed(text, "bookings").map(|(booked_at, id)| Self { booked_at, id: BookingId(id) })
    }
}

impl Cursor for SessionCursor {
    fn encode(&self) -> String {
        pack(&json!(["sessions", self.created_at.timestamp_micros(), self.id.0]))
    }

    fn decode(text: &str) -> Option<Self> {
        timed(text, "sessions").map(|(created_at, id)| Self { created_at, id: SessionId(id) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_as_they_are_written_and_only_in_their_own_list() {
        let movie = MovieCursor { title: "Amélie \"1\"".into(), id: MovieId(3) };
        assert_eq!(MovieCursor::decode(&movie.encode()), Some(movie.clone()));
        assert_eq!(TheatreCursor::decode(&movie.encode()), None);
        let show =
            ShowCursor { start_time: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(), id: ShowId(9) };
        assert_eq!(ShowCursor::decode(&show.encode()), Some(show));
        assert_eq!(BookingCursor::decode(&show.encode()), None);
        for wrong in
            ["", "x", "W10", "bnVsbA", &pack(&json!(["shows", i64::MAX, 1])), &pack(&json!(["movies", "\0", 1]))]
        {
            assert!(ShowCursor::decode(wrong).is_none() && MovieCursor::decode(wrong).is_none(), "{wrong}");
        }
    }
}
