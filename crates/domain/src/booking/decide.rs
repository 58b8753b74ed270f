//! All the rules of selling, in one pure function.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::command::{Action, BookSeats, KeyName, PreparedCommand};
use super::ports::{
    AnswerEncoder, BatchState, Changes, ClaimRow, ExpectedHold, KeyRow, NewClaim, NewKey, NewOutboxEvent, OutboxKind,
    SeatOffer, ShowGuard, ShowOffer, StoredAnswer, UserGuard,
};
use super::types::{Booking, BookingStatus, SoldSeat};
use crate::catalog::ShowStatus;
use crate::ids::{BookingId, SeatId, ShowId};
use crate::seating::ClaimStatus;

/// A command's success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The booking was made, now or by an earlier request with the same key.
    Booked {
        /// The booking.
        booking_id: BookingId,
        /// The bytes of the answer's body, the same each time.
        body: Arc<[u8]>,
        /// Whether an earlier request made it.
        replayed: bool,
    },
    /// An earlier request with the same key made the booking, so long ago that its answer is forgotten. It is answered as it is.
    BookedLongAgo {
        /// The booking.
        booking_id: BookingId,
    },
}

/// Why a command was refused. It has booked nothing, and its key is free.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The caller's session was ended, or the account is gone.
    #[error("the session has ended")]
    SessionEnded,
    /// The key was used with another request.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// There is no such show.
    #[error("there is no such show")]
    ShowNotFound,
    /// Some seats are not of the show's hall.
    #[error("some seats are not of the show's hall")]
    SeatNotFound {
        /// Those seats, in the order they were asked for.
        seat_ids: Vec<SeatId>,
    },
    /// The show is cancelled or has started.
    #[error("the show takes no more bookings")]
    SalesClosed,
    /// Some seats are claimed.
    #[error("some seats are claimed")]
    SeatUnavailable {
        /// Those seats, in the order they were asked for.
        seat_ids: Vec<SeatId>,
    },
}

/// What is answered, and what must be written before it may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What must be written.
    pub changes: Changes,
    /// The answer to each command, in their order.
    pub outcomes: Vec<Result<Answer, Refusal>>,
}

/// Decides a batch of commands in the order of their arrival.
///
/// A command is refused only because of committed rows, or of a command before it that was accepted. Of two
/// commands with the same key the second is a replay of the first if that was accepted; if it was refused, the
/// second is decided for itself.
pub fn decide(state: BatchState, commands: &[PreparedCommand], encoder: &dyn AnswerEncoder) -> Decision {
    let mut desk = Desk { changes: Changes { at: state.now, ..Changes::default() }, state };
    let outcomes = commands.iter().map(|command| desk.serve(command, encoder)).collect();
    Decision { changes: in_lock_order(desk.changes), outcomes }
}

/// The state that the next command sees, and the changes that have led to it.
struct Desk {
    state: BatchState,
    changes: Changes,
}

impl Desk {
    fn serve(&mut self, prepared: &PreparedCommand, encoder: &dyn AnswerEncoder) -> Result<Answer, Refusal> {
        let command = &prepared.command;
        let used = self.state.keys.get(&command.key);
        // A key that this very run has written: the connection was lost after the commit. That is the first answer, whatever
        // has become of the session since.
        if let Some(row) = used.filter(|row| row.operation_id == prepared.drawn.operation_id) {
            return Ok(remembered(row, false));
        }
        let user = self.state.users.get(&command.caller.user_id);
        if user.is_none_or(|user| user.session_generation != command.caller.session_generation) {
            return Err(Refusal::SessionEnded);
        }
        match used {
            Some(row) if row.fingerprint == command.fingerprint => Ok(remembered(row, true)),
            Some(_) => Err(Refusal::KeyReused),
            None => match &command.action {
                Action::Book(book) => self.book(prepared, book, encoder),
            },
        }
    }

    fn book(
        &mut self,
        prepared: &PreparedCommand,
        book: &BookSeats,
        encoder: &dyn AnswerEncoder,
    ) -> Result<Answer, Refusal> {
        let (show, seats) = self.offered(book)?;
        if show.status == ShowStatus::Cancelled || show.start_time <= self.state.now {
            return Err(Refusal::SalesClosed);
        }
        let taken: Vec<_> =
            book.seats.seats().iter().copied().filter(|seat| self.is_taken(book.show_id, *seat)).collect();
        if !taken.is_empty() {
            return Err(Refusal::SeatUnavailable { seat_ids: taken });
        }
        let layout_id = show.layout_id;
        let booking = Booking {
            id: prepared.drawn.booking_id,
            reference: prepared.drawn.reference.clone(),
            user_id: prepared.command.caller.user_id,
            show_id: book.show_id,
            seats,
            status: BookingStatus::Confirmed,
            currency: show.currency,
            booked_at: self.state.now,
            cancelled_at: None,
            movie_title: show.movie_title.clone(),
            theatre_name: show.theatre_name.clone(),
            hall_name: show.hall_name.clone(),
            start_time: show.start_time,
        };
        let body: Arc<[u8]> = encoder.encode_booking(&booking).into();
        self.claim(&booking, layout_id);
        self.remember(prepared, booking.id, &body);
        let caller = &prepared.command.caller;
        self.changes.users.push(UserGuard { user_id: caller.user_id, session_generation: caller.session_generation });
        self.changes.shows.push(ShowGuard { show_id: book.show_id });
        self.changes.outbox.push(NewOutboxEvent {
            kind: OutboxKind::BookingConfirmed,
            show_id: book.show_id,
            booking_id: booking.id,
        });
        let booking_id = booking.id;
        self.changes.bookings.push(booking);
        Ok(Answer::Booked { booking_id, body, replayed: false })
    }

    /// The show and the seats that are asked for, if they are there.
    fn offered(&self, book: &BookSeats) -> Result<(&ShowOffer, Vec<SoldSeat>), Refusal> {
        let show = self.state.shows.get(&book.show_id).ok_or(Refusal::ShowNotFound)?;
        let offers: HashMap<SeatId, &SeatOffer> = book
            .seats
            .seats()
            .iter()
            .filter_map(|seat| Some((*seat, self.state.seats.get(&(book.show_id, *seat))?)))
            .collect();
        let missing: Vec<_> = book.seats.seats().iter().copied().filter(|seat| !offers.contains_key(seat)).collect();
        if !missing.is_empty() {
            return Err(Refusal::SeatNotFound { seat_ids: missing });
        }
        let sold = |seat: &SeatId| offers.get(seat).map(|offer| sold_seat(*seat, offer));
        Ok((show, book.seats.seats().iter().filter_map(sold).collect()))
    }

    fn is_taken(&self, show_id: ShowId, seat_id: SeatId) -> bool {
        self.state.claims.get(&(show_id, seat_id)).is_some_and(|claim| holds_at(claim, self.state.now))
    }

    fn claim(&mut self, booking: &Booking, layout_id: crate::ids::LayoutId) {
        for seat in &booking.seats {
            let place = (booking.show_id, seat.id);
            let claim = ClaimRow { status: ClaimStatus::Booked, hold_id: None, expires_at: None };
            // What is still in the way has run out.
            if let Some(hold_id) = self.state.claims.insert(place, claim).and_then(|expired| expired.hold_id) {
                let expired = ExpectedHold { show_id: booking.show_id, seat_id: seat.id, hold_id };
                self.changes.expired_holds.push(expired);
            }
            self.changes.claims.push(NewClaim {
                show_id: booking.show_id,
                seat_id: seat.id,
                layout_id,
                booking_id: booking.id,
                user_id: booking.user_id,
            });
        }
    }

    fn remember(&mut self, prepared: &PreparedCommand, booking_id: BookingId, body: &Arc<[u8]>) {
        let name: KeyName = prepared.command.key.clone();
        let row = KeyRow {
            fingerprint: prepared.command.fingerprint,
            operation_id: prepared.drawn.operation_id,
            booking_id,
            answer: Some(StoredAnswer { body: Arc::clone(body) }),
        };
        self.changes.keys.push(NewKey {
            name: name.clone(),
            fingerprint: row.fingerprint,
            operation_id: row.operation_id,
            booking_id,
            answer: Arc::clone(body),
        });
        self.state.keys.insert(name, row);
    }
}

fn remembered(row: &KeyRow, replayed: bool) -> Answer {
    match &row.answer {
        Some(answer) => Answer::Booked { booking_id: row.booking_id, body: Arc::clone(&answer.body), replayed },
        None => Answer::BookedLongAgo { booking_id: row.booking_id },
    }
}

/// Whether a claim keeps its seat at `now`: a hold does until it runs out, at that very instant it is over.
fn holds_at(claim: &ClaimRow, now: DateTime<Utc>) -> bool {
    match claim.status {
        ClaimStatus::Booked | ClaimStatus::Blocked => true,
        ClaimStatus::Held => claim.expires_at.is_none_or(|expires_at| expires_at > now),
    }
}

fn sold_seat(id: SeatId, offer: &SeatOffer) -> SoldSeat {
    SoldSeat {
        id,
        row: offer.row.clone(),
        number: offer.number,
        category: offer.category.clone(),
        price_minor: offer.price_minor,
    }
}

/// Everybody takes locks in the same order, so that nobody waits in a circle.
fn in_lock_order(mut changes: Changes) -> Changes {
    changes.shows = changes.shows.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    changes.users = changes.users.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    changes.keys.sort_by(|a, b| a.name.cmp(&b.name));
    changes.bookings.sort_by_key(|booking| booking.id);
    changes.expired_holds.sort();
    changes.claims.sort();
    changes
}
