//! The rules of each action.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::hold_times::HoldTimes;
use super::{Answer, Success, WorkingState, booked_claim, held_claim};
use crate::admin::{AuditAction, AuditRecord, Fields, ObjectKind};
use crate::booking::command::{
    Action, BookSeats, BookingOfCancelledShow, HoldSeats, PreparedCommand, ShowBooking, StaffAct, WantedSeats,
};
use crate::booking::counter::Sale;
use crate::booking::events::{BookingEventKind, EventActor, NewBookingEvent, seats_text};
use crate::booking::refusal::Refusal;
use crate::booking::rules::{Rules, SeatGapRule};
use crate::booking::snapshot::{ShowOffer, StoredKey, Subject};
use crate::booking::state::{BookingState, BookingStatus, Cancelled, Confirmed};
use crate::booking::types::{Booking, Hold, HoldId, SoldSeat};
use crate::booking::write_set::{HeldGuard, NewAuditEntry, OutboxKind, UserGuard};
use crate::catalog::ShowStatus;
use crate::identity::Bearer;
use crate::ids::{BookingId, SeatId, ShowId, UserId};
use crate::pricing::TicketTypeCode;
use crate::seating::{Layout, Seat, SeatSelection, SeatWish, TicketSelection, best_seats, forbidden_gaps};

impl<'policy> WorkingState<'policy> {
    pub(super) fn serve(&mut self, prepared: &PreparedCommand) -> Result<Success, Refusal> {
        let command = &prepared.command;
        let used = self.state.keys.get(&prepared.key);
        // This run has written the key, and the connection was lost after the commit: the answer is the first one, even if the session
        // has ended since.
        if let Some(row) = used.filter(|row| row.operation_id == prepared.drawn.operation_id) {
            return Ok(stored_answer(row, false));
        }
        let needs_session = command.action.needs_session();
        if needs_session && !self.session_lasts(&command.bearer) {
            return Err(Refusal::SessionEnded);
        }
        match used {
            Some(row) if row.fingerprint == command.fingerprint => return Ok(stored_answer(row, true)),
            Some(_) => return Err(Refusal::KeyReused),
            None => {}
        }
        let caller = &command.bearer.caller;
        let user_id = caller.user_id;
        let events = self.outbox.len();
        let answer = match &command.action {
            Action::Book(book) => self.book(prepared, book)?,
            Action::Hold(hold) => self.hold(prepared, hold)?,
            Action::Redeem(hold_id) => self.redeem(prepared, hold_id, None)?,
            Action::RedeemAs(hold_id, tickets) => self.redeem(prepared, hold_id, Some(tickets))?,
            Action::Extend(hold_id) => self.extend(user_id, hold_id)?,
            Action::Release(hold_id) => self.release(user_id, hold_id)?,
            Action::Cancel(booking) => self.cancel(user_id, booking)?,
            Action::CancelFor(booking, act) => self.cancel_for(user_id, booking, act)?,
            Action::CancelWithShow(booking) => self.cancel_with_show(booking)?,
            Action::Change(booking, seats) => self.change(user_id, booking, seats)?,
            Action::Sell(sale) => self.sell_at_counter(prepared, sale)?,
            Action::Block(house) => self.block(user_id, house)?,
            Action::Unblock(house) => self.unblock(user_id, house)?,
            Action::Correct(booking, seats, act) => self.correct(user_id, booking, seats, act)?,
        };
        // A command without an effect has no event. Its key is stored only if the client sent one.
        if self.outbox.len() > events || command.key.is_some() {
            self.store_key(prepared, &answer);
            if needs_session {
                self.users_guarded.insert(UserGuard { user_id, session_generation: caller.session_generation });
                self.sessions_guarded.extend(command.bearer.session_id);
            }
        }
        Ok(Success::Answered(answer))
    }

    fn session_lasts(&self, bearer: &Bearer) -> bool {
        let caller = bearer.caller;
        let user = self.state.users.get(&caller.user_id);
        user.is_some_and(|user| user.session_generation == caller.session_generation)
            && bearer.session_id.is_none_or(|id| self.state.sessions.get(&id) == Some(&caller.user_id))
    }

    fn book(&mut self, prepared: &PreparedCommand, book: &BookSeats) -> Result<Answer, Refusal> {
        let show_id = book.show_id;
        let (show, layout) = self.show(show_id)?;
        let seats = priced(&show, layout, book.seats.tickets())?;
        self.check_on_sale(&show)?;
        check_pairs(layout, book.seats.seats())?;
        let user_id = prepared.command.bearer.caller.user_id;
        self.check_free(show_id, book.seats.seats(), user_id, None)?;
        self.check_gaps(show_id, layout, book.seats.seats(), None)?;
        Ok(self.sell(prepared, show_id, &show, seats))
    }

    fn hold(&mut self, prepared: &PreparedCommand, hold: &HoldSeats) -> Result<Answer, Refusal> {
        let show_id = hold.show_id;
        let (show, layout) = self.show(show_id)?;
        let user_id = prepared.command.bearer.caller.user_id;
        let hold_times = HoldTimes::new(&self.state, show_id, user_id);
        let longest = (self.state.now + self.policy.rules.hold_ttl).min(sale_ends(&show));
        let seats = match &hold.seats {
            WantedSeats::These(wanted) => {
                let seats = priced(&show, layout, wanted.tickets())?;
                self.check_on_sale(&show)?;
                check_pairs(layout, wanted.seats())?;
                self.check_held(show_id, user_id, seats.len())?;
                self.check_free(show_id, wanted.seats(), user_id, None)?;
                self.check_gaps(show_id, layout, wanted.seats(), None)?;
                seats
            }
            WantedSeats::Best(wish) => {
                self.check_on_sale(&show)?;
                self.check_held(show_id, user_id, wish.quantity)?;
                let best = self.best(show_id, &show, layout, wish, &hold_times, longest)?;
                priced(&show, layout, best.into_iter().map(|seat| (seat, &TicketTypeCode::ADULT)))?
            }
        };
        // The account's limits come last, so that they refuse only seats that are available.
        self.check_held_everywhere(user_id, seats.len())?;
        let time_ends = hold_times.check(&seats, self.state.now)?;
        let hold = Hold {
            id: prepared.drawn.hold_id.clone(),
            user_id,
            show_id,
            seats,
            currency: show.currency,
            created_at: self.state.now,
            expires_at: longest.min(time_ends),
        };
        self.guard_show(show_id);
        let seats_read = self.held.get(&user_id).copied().unwrap_or_default();
        self.held_guarded.insert(HeldGuard { user_id, seats: i64::try_from(seats_read).unwrap_or(i64::MAX) });
        self.put_claims(show_id, &hold.seats, &held_claim(&hold));
        self.publish(OutboxKind::SeatsHeld, show_id, None);
        let answer = self.hold_answer(&hold);
        self.put_hold(hold);
        Ok(answer)
    }

    /// Books the seats of a hold. Without `tickets`, they are booked as they are held.
    fn redeem(
        &mut self,
        prepared: &PreparedCommand,
        hold_id: &HoldId,
        tickets: Option<&TicketSelection>,
    ) -> Result<Answer, Refusal> {
        let mut hold = self.live_hold(prepared.command.bearer.caller.user_id, hold_id)?;
        let (show, _) = self.show(hold.show_id)?;
        if let Some(tickets) = tickets {
            choose_ticket_types(&mut hold, tickets, &show)?;
        }
        self.check_on_sale(&show)?;
        self.end_hold_tenures(&hold);
        self.remove_hold(hold_id);
        Ok(self.sell(prepared, hold.show_id, &show, hold.seats))
    }

    fn extend(&mut self, user_id: UserId, hold_id: &HoldId) -> Result<Answer, Refusal> {
        let hold = self.live_hold(user_id, hold_id)?;
        let (show, _) = self.show(hold.show_id)?;
        self.check_on_sale(&show)?;
        let hold_times = HoldTimes::new(&self.state, hold.show_id, user_id);
        let since = hold.seats.iter().map(|seat| hold_times.begin(seat.id, hold.created_at)).min();
        let longest = (since.unwrap_or(hold.created_at) + Hold::LIFE_MAX).min(sale_ends(&show));
        let expires_at = (self.state.now + self.policy.rules.hold_ttl).min(longest);
        if expires_at <= hold.expires_at {
            return Ok(self.hold_answer(&hold));
        }
        let hold = Hold { expires_at, ..hold };
        self.guard_show(hold.show_id);
        self.put_claims(hold.show_id, &hold.seats, &held_claim(&hold));
        self.publish(OutboxKind::SeatsHeld, hold.show_id, None);
        let answer = self.hold_answer(&hold);
        self.put_hold(hold);
        Ok(answer)
    }

    fn release(&mut self, user_id: UserId, hold_id: &HoldId) -> Result<Answer, Refusal> {
        let hold = self.live_hold(user_id, hold_id).map_err(|_| Refusal::HoldNotFound)?;
        self.end_hold_tenures(&hold);
        self.remove_claims(hold.show_id, hold.seats.iter().map(|seat| seat.id));
        self.remove_hold(hold_id);
        self.publish(OutboxKind::SeatsReleased, hold.show_id, None);
        Ok(answer(Subject::Hold(hold.id), Vec::new()))
    }

    fn cancel(&mut self, user_id: UserId, asked: &ShowBooking) -> Result<Answer, Refusal> {
        let booking = self.booking(user_id, asked)?;
        let now = self.state.now;
        let Some(cancelled) = self.cancelled(&booking)? else { return Ok(self.booking_answer(&booking)) };
        // A cancelled show has no cutoff.
        let takes_place = self.shows.get(&booking.show_id).is_some_and(|show| show.status == ShowStatus::Scheduled);
        if takes_place && booking.start_time - self.policy.rules.cancellation_cutoff <= now {
            return Err(Refusal::NotCancellable);
        }
        if takes_place {
            self.count_cancellation(user_id, booking.id)?;
        }
        let event = NewBookingEvent::new(booking.id, BookingEventKind::Cancelled, EventActor::Customer(user_id));
        self.booking_events.push(event);
        Ok(self.free(booking, cancelled))
    }

    /// Cancels the booking of a customer: at any time, without counting towards the customer's limit.
    fn cancel_for(&mut self, staff: UserId, asked: &ShowBooking, act: &StaffAct) -> Result<Answer, Refusal> {
        let booking = self.booking(act.customer, asked)?;
        let Some(cancelled) = self.cancelled(&booking)? else { return Ok(self.booking_answer(&booking)) };
        let status = |status: BookingStatus| Fields::default().with("status", status.as_str());
        let record = AuditRecord {
            action: AuditAction::Cancel,
            object_kind: ObjectKind::Booking,
            object_id: booking.id.0,
            theatre_id: Some(act.theatre_id),
            before: status(booking.status()),
            after: status(BookingStatus::Cancelled).with("reason", &act.reason),
        };
        self.audit.push(NewAuditEntry { actor_id: staff, origin: act.origin.clone(), record });
        let event = NewBookingEvent::new(booking.id, BookingEventKind::Cancelled, EventActor::Staff(staff));
        self.booking_events.push(event.because(Some(&act.reason)));
        Ok(self.free(booking, cancelled))
    }

    /// Cancels a booking of a cancelled show, once.
    fn cancel_with_show(&mut self, asked: &BookingOfCancelledShow) -> Result<Answer, Refusal> {
        let booking = self.booking(asked.customer, &asked.booking)?;
        let is_cancelled = |show: &Arc<ShowOffer>| show.status == ShowStatus::Cancelled;
        if !self.shows.get(&booking.show_id).is_some_and(is_cancelled) {
            return Err(Refusal::NotCancellable);
        }
        let Some(cancelled) = self.cancelled(&booking)? else { return Ok(self.booking_answer(&booking)) };
        let event = NewBookingEvent::new(booking.id, BookingEventKind::Cancelled, EventActor::System);
        self.booking_events.push(event.with("cause", "show_cancelled"));
        Ok(self.free(booking, cancelled))
    }

    /// Returns the cancelled state of a booking; `None` if it is cancelled already.
    fn cancelled(&self, booking: &Booking) -> Result<Option<Cancelled>, Refusal> {
        let now = self.state.now;
        match booking.state {
            BookingState::Cancelled(_) => Ok(None),
            BookingState::Expired(_) | BookingState::Refunded(_) => Err(Refusal::NotCancellable),
            BookingState::PendingPayment(pending) => Ok(Some(pending.cancel(now))),
            BookingState::Confirmed(confirmed) => Ok(Some(confirmed.cancel(now))),
        }
    }

    /// Cancels a booking and frees its seats.
    fn free(&mut self, booking: Booking, cancelled: Cancelled) -> Answer {
        self.end_booking_tenures(&booking, booking.seats.iter().map(|seat| seat.id));
        let booking = Booking { state: BookingState::Cancelled(cancelled), ..booking };
        self.remove_claims(booking.show_id, booking.seats.iter().map(|seat| seat.id));
        self.publish(OutboxKind::BookingCancelled, booking.show_id, Some(booking.id));
        let answer = self.booking_answer(&booking);
        self.put_booking(booking);
        answer
    }

    fn change(&mut self, user_id: UserId, asked: &ShowBooking, seats: &SeatSelection) -> Result<Answer, Refusal> {
        let booking = self.booking(user_id, asked)?;
        if seats.seats().len() != booking.seats.len() {
            return Err(Refusal::WrongSeatCount { seats: booking.seats.len() });
        }
        let (show, layout) = self.show(booking.show_id)?;
        let mut chosen = exchanged(&booking, seats, &show, layout)?;
        if !matches!(booking.state, BookingState::Confirmed(_)) {
            return Err(Refusal::NotChangeable);
        }
        if chosen.iter().map(|seat| seat.id).eq(booking.seats.iter().map(|seat| seat.id)) {
            return Ok(self.booking_answer(&booking));
        }
        self.check_on_sale(&show)?;
        check_pairs(layout, seats.seats())?;
        self.check_free(booking.show_id, seats.seats(), user_id, Some(&booking))?;
        self.check_gaps(booking.show_id, layout, seats.seats(), Some(&booking))?;
        let (sold, asked) = (booking.total(), Booking { seats: chosen.clone(), ..booking.clone() }.total());
        if asked.minor > sold.minor {
            return Err(Refusal::PriceDiffers { sold, asked });
        }
        // A change costs nothing and pays nothing back.
        keep_prices(&booking, &mut chosen);
        Ok(self.exchange(booking, chosen, EventActor::Customer(user_id), None))
    }

    /// Gives a booking other seats.
    pub(super) fn exchange(
        &mut self,
        before: Booking,
        seats: Vec<SoldSeat>,
        actor: EventActor,
        reason: Option<&str>,
    ) -> Answer {
        self.guard_show(before.show_id);
        let kept: HashSet<SeatId> = seats.iter().map(|seat| seat.id).collect();
        let given_up = || before.seats.iter().map(|seat| seat.id).filter(|seat| !kept.contains(seat));
        self.end_booking_tenures(&before, given_up());
        self.remove_claims(before.show_id, given_up());
        let event = NewBookingEvent::new(before.id, BookingEventKind::SeatsChanged, actor)
            .because(reason)
            .with("seats_before", seats_text(&before.seats, before.currency))
            .with("seats_after", seats_text(&seats, before.currency));
        self.booking_events.push(event);
        let booking = Booking { seats, ..before };
        self.put_claims(booking.show_id, &booking.seats, &booked_claim(&booking));
        self.publish(OutboxKind::BookingChanged, booking.show_id, Some(booking.id));
        let answer = self.booking_answer(&booking);
        self.put_booking(booking);
        answer
    }

    /// Creates a booking of the caller, of seats that are free or belonged to the hold that was just removed.
    fn sell(&mut self, prepared: &PreparedCommand, show_id: ShowId, show: &ShowOffer, seats: Vec<SoldSeat>) -> Answer {
        let owner = prepared.command.bearer.caller.user_id;
        let booking = self.new_booking(prepared, (owner, Sale::Online), show_id, show, seats);
        let body = self.policy.encoder.encode_booked(&booking);
        self.put_sale(booking, body)
    }

    /// Returns a new booking of this owner.
    pub(super) fn new_booking(
        &self,
        prepared: &PreparedCommand,
        (owner, sale): (UserId, Sale),
        show_id: ShowId,
        show: &ShowOffer,
        seats: Vec<SoldSeat>,
    ) -> Booking {
        Booking {
            id: prepared.drawn.booking_id,
            reference: prepared.drawn.reference.clone(),
            user_id: owner,
            show_id,
            seats,
            state: BookingState::Confirmed(Confirmed::sold()),
            sale,
            currency: show.currency,
            tax_rate: show.tax_rate,
            booked_at: self.state.now,
            movie_title: show.movie_title.clone(),
            theatre_name: show.theatre_name.clone(),
            hall_name: show.hall_name.clone(),
            start_time: show.start_time,
        }
    }

    /// Adds a new booking.
    pub(super) fn put_sale(&mut self, booking: Booking, body: Vec<u8>) -> Answer {
        self.guard_show(booking.show_id);
        self.put_claims(booking.show_id, &booking.seats, &booked_claim(&booking));
        self.publish(OutboxKind::BookingConfirmed, booking.show_id, Some(booking.id));
        let answer = answer(Subject::Booking(booking.id), body);
        self.put_booking(booking);
        answer
    }

    pub(super) fn booking_answer(&self, booking: &Booking) -> Answer {
        answer(Subject::Booking(booking.id), self.policy.encoder.encode_booking(booking))
    }

    fn hold_answer(&self, hold: &Hold) -> Answer {
        answer(Subject::Hold(hold.id.clone()), self.policy.encoder.encode_hold(hold))
    }

    pub(super) fn show(&self, show_id: ShowId) -> Result<(Arc<ShowOffer>, &'policy Layout), Refusal> {
        let show = self.shows.get(&show_id).ok_or(Refusal::ShowNotFound)?;
        let layout = self.policy.layouts.get(&show.layout_id).ok_or(Refusal::ShowNotFound)?;
        Ok((Arc::clone(show), layout))
    }

    fn live_hold(&self, user_id: UserId, hold_id: &HoldId) -> Result<Hold, Refusal> {
        let mine = self.state.holds.get(hold_id).filter(|hold| hold.user_id == user_id);
        let hold = mine.ok_or(Refusal::HoldNotFound)?;
        if hold.is_live(self.state.now) { Ok(hold.clone()) } else { Err(Refusal::HoldExpired) }
    }

    pub(super) fn booking(&self, user_id: UserId, asked: &ShowBooking) -> Result<Booking, Refusal> {
        let mine = |booking: &&Booking| booking.user_id == user_id && booking.show_id == asked.show_id;
        self.state.bookings.get(&asked.booking_id).filter(mine).cloned().ok_or(Refusal::BookingNotFound)
    }

    fn check_on_sale(&self, show: &ShowOffer) -> Result<(), Refusal> {
        if show.status == ShowStatus::Cancelled || sale_ends(show) <= self.state.now {
            return Err(Refusal::SalesClosed);
        }
        match show.sales_open_at.filter(|open_at| *open_at > self.state.now) {
            Some(open_at) => Err(Refusal::SalesNotOpen { open_at }),
            None => Ok(()),
        }
    }

    /// Checks that a user's live holds on a show have at most as many seats as one booking.
    fn check_held(&self, show_id: ShowId, user_id: UserId, more: usize) -> Result<(), Refusal> {
        let now = self.state.now;
        let mine = |hold: &&Hold| hold.show_id == show_id && hold.user_id == user_id && hold.is_live(now);
        let held = self.state.holds.values().filter(mine).map(|hold| hold.seats.len()).sum::<usize>();
        let max = self.policy.rules.seats_max;
        if held.saturating_add(more) > max { Err(Refusal::TooManyHeld { held, max }) } else { Ok(()) }
    }

    /// Checks the limit of held seats over all shows.
    fn check_held_everywhere(&self, user_id: UserId, more: usize) -> Result<(), Refusal> {
        let now = self.state.now;
        let mine = self.state.holds.values().filter(|hold| hold.user_id == user_id && hold.is_live(now));
        let mut ends: Vec<_> = mine.map(|hold| (hold.expires_at, hold.seats.len())).collect();
        let held = ends.iter().map(|(_, seats)| seats).sum::<usize>();
        let max = self.policy.rules.held_seats_max;
        let mut excess = held.saturating_add(more).saturating_sub(max);
        if excess == 0 {
            return Ok(());
        }
        ends.sort_unstable();
        let frees_enough = |(_, seats): &&(DateTime<Utc>, usize)| {
            excess = excess.saturating_sub(*seats);
            excess == 0
        };
        let retry_at = ends.iter().find(frees_enough).map_or(now, |(at, _)| *at);
        Err(Refusal::HeldSeatsLimit { held, max, retry_in: retry_at - now })
    }

    /// Counts a cancellation by the owner, unless the limit is reached.
    fn count_cancellation(&mut self, user_id: UserId, booking_id: BookingId) -> Result<(), Refusal> {
        let (now, max) = (self.state.now, self.policy.rules.cancellations_max);
        let times = self.state.cancellations.entry(user_id).or_default();
        times.retain(|at| *at + Rules::CANCELLATIONS_COUNTED > now);
        if times.len() >= max {
            times.sort_unstable();
            // The time at which only `max - 1` still count.
            let next = times.get(times.len() - max).map_or(now, |at| *at + Rules::CANCELLATIONS_COUNTED);
            return Err(Refusal::CancellationLimit { max, retry_in: next - now });
        }
        self.cancellations_read.entry(user_id).or_insert(times.len());
        times.push(now);
        self.counted_cancellations.insert(booking_id);
        Ok(())
    }

    /// Returns the best seats for a user. Seats of recent holds, which this user can hold only for a shorter time, come second. Seats whose
    /// hold time is used up are excluded.
    fn best(
        &self,
        show_id: ShowId,
        show: &ShowOffer,
        layout: &Layout,
        wish: &SeatWish,
        hold_times: &HoldTimes,
        longest: DateTime<Utc>,
    ) -> Result<Vec<SeatId>, Refusal> {
        let now = self.state.now;
        let is_sold = |seat: &Seat| show.prices.get(&seat.category, &TicketTypeCode::ADULT).is_some();
        let mut taken = self.taken(show_id);
        taken.extend(layout.seats().iter().filter(|seat| !is_sold(seat)).map(|seat| seat.id));
        let best_without = |too_short: &dyn Fn(DateTime<Utc>) -> bool| {
            let mut taken = taken.clone();
            taken.extend(hold_times.seats().filter(|seat| too_short(hold_times.ends(*seat, now))));
            best_seats(layout, &taken, wish)
        };
        best_without(&|ends| ends < longest)
            .or_else(|| best_without(&|ends| ends <= now))
            // The refusal then says that the hold time is used up, not that no seats are left.
            .or_else(|| best_without(&|_| false))
            .ok_or(Refusal::SeatUnavailable { seat_ids: Vec::new(), hold_id: None })
    }

    /// Checks that each seat is free, or belongs to `except`.
    pub(super) fn check_free(
        &self,
        show_id: ShowId,
        seats: &[SeatId],
        user_id: UserId,
        except: Option<&Booking>,
    ) -> Result<(), Refusal> {
        let mut hold_id = None;
        let mut lost = Vec::new();
        for seat in seats {
            let live = self.state.claims.get(&(show_id, *seat)).filter(|claim| claim.is_live(self.state.now));
            let Some(claim) = live else { continue };
            if except.is_some_and(|booking| claim.booking_id() == Some(booking.id)) {
                continue;
            }
            lost.push(*seat);
            if hold_id.is_none() && claim.user_id() == Some(user_id) {
                hold_id = claim.hold_id().cloned();
            }
        }
        if lost.is_empty() { Ok(()) } else { Err(Refusal::SeatUnavailable { seat_ids: lost, hold_id }) }
    }

    /// Checks that the selection leaves no single seat empty if the house forbids that. The seats of `except` count as free.
    pub(super) fn check_gaps(
        &mut self,
        show_id: ShowId,
        layout: &Layout,
        seats: &[SeatId],
        except: Option<&Booking>,
    ) -> Result<(), Refusal> {
        if self.policy.rules.seat_gaps == SeatGapRule::Off {
            return Ok(());
        }
        let mut taken = self.taken(show_id);
        for seat in except.iter().flat_map(|booking| &booking.seats) {
            taken.remove(&seat.id);
        }
        let gaps = forbidden_gaps(layout, &taken, seats);
        if !gaps.is_empty() {
            return Err(Refusal::SeatsLeaveGap { seat_ids: gaps });
        }
        self.guard_rows(show_id, layout, seats);
        Ok(())
    }
}

/// Returns the answer to a first command.
pub(super) fn answer(subject: Subject, body: Vec<u8>) -> Answer {
    Answer { subject, body: body.into(), replayed: false }
}

/// Returns the seats of a booking after an exchange, new ones at today's prices. A seat that the booking keeps stays as it was sold. A new seat
/// gets the ticket type of the seat that it replaces, in their order.
pub(super) fn exchanged(
    booking: &Booking,
    seats: &SeatSelection,
    show: &ShowOffer,
    layout: &Layout,
) -> Result<Vec<SoldSeat>, Refusal> {
    let kept = |id: &SeatId| booking.seats.iter().find(|old| old.id == *id);
    let given_up = booking.seats.iter().filter(|old| !seats.seats().contains(&old.id));
    let new_seats = seats.seats().iter().copied().filter(|id| kept(id).is_none());
    let new_tickets = new_seats.zip(given_up).map(|(id, old)| (id, &old.ticket_type));
    let mut new_seats = priced(show, layout, new_tickets)?.into_iter();
    Ok(seats.seats().iter().filter_map(|id| kept(id).cloned().or_else(|| new_seats.next())).collect())
}

/// Gives each seat that a booking keeps its price of the sale, and each new one the price of the seat that it replaces, in their order.
pub(super) fn keep_prices(booking: &Booking, chosen: &mut [SoldSeat]) {
    let given_up = booking.seats.iter().filter(|old| chosen.iter().all(|seat| seat.id != old.id));
    let mut prices = given_up.map(|old| old.price_minor).collect::<Vec<_>>().into_iter();
    for seat in chosen {
        let kept = booking.seats.iter().find(|old| old.id == seat.id).map(|old| old.price_minor);
        seat.price_minor = kept.or_else(|| prices.next()).unwrap_or(seat.price_minor);
    }
}

/// Returns the answer that a stored key remembers.
fn stored_answer(key: &StoredKey, replayed: bool) -> Success {
    let subject = key.subject.clone();
    match &key.body {
        Some(body) => Success::Answered(Answer { subject, body: Arc::clone(body), replayed }),
        None => Success::AnswerDeleted(subject),
    }
}

/// Returns the end of a show's sale: its beginning, or `sales_close_at` if that is earlier. At this time the sale is over.
fn sale_ends(show: &ShowOffer) -> DateTime<Utc> {
    show.sales_close_at.map_or(show.start_time, |close_at| close_at.min(show.start_time))
}

/// Checks that a selection has both halves of each of its love seats.
pub(super) fn check_pairs(layout: &Layout, seats: &[SeatId]) -> Result<(), Refusal> {
    let seat_ids = layout.missing_halves(seats);
    if seat_ids.is_empty() { Ok(()) } else { Err(Refusal::SeatsSplitPair { seat_ids }) }
}

/// Returns the seats with their prices. Refuses seats that are not in the hall or have no price at all, then ticket types without a price.
pub(super) fn priced<'a>(
    show: &ShowOffer,
    layout: &Layout,
    tickets: impl IntoIterator<Item = (SeatId, &'a TicketTypeCode)>,
) -> Result<Vec<SoldSeat>, Refusal> {
    let (mut sold, mut missing, mut not_sold) = (Vec::new(), Vec::new(), Vec::new());
    for (id, ticket_type) in tickets {
        let Some(seat) = layout.seat(id).filter(|seat| show.prices.has_category(&seat.category)) else {
            missing.push(id);
            continue;
        };
        let Some(price_minor) = show.prices.get(&seat.category, ticket_type) else {
            not_sold.push(id);
            continue;
        };
        let (row, category) = (seat.row.to_string(), seat.category.clone());
        let ticket_type = ticket_type.clone();
        sold.push(SoldSeat { id, row, number: seat.number, category, ticket_type, price_minor });
    }
    if !missing.is_empty() {
        return Err(Refusal::SeatNotFound { seat_ids: missing });
    }
    if not_sold.is_empty() { Ok(sold) } else { Err(Refusal::TicketTypeNotSold { seat_ids: not_sold }) }
}

/// Gives the seats of a hold other ticket types. A seat that keeps its type keeps the price of the hold; another one has today's price.
fn choose_ticket_types(hold: &mut Hold, tickets: &TicketSelection, show: &ShowOffer) -> Result<(), Refusal> {
    let chosen: HashMap<SeatId, &TicketTypeCode> = tickets.tickets().collect();
    if chosen.len() != hold.seats.len() || hold.seats.iter().any(|seat| !chosen.contains_key(&seat.id)) {
        return Err(Refusal::NotTheHeldSeats { seat_ids: hold.seats.iter().map(|seat| seat.id).collect() });
    }
    let mut not_sold = HashSet::new();
    for seat in &mut hold.seats {
        let Some(ticket_type) = chosen.get(&seat.id).filter(|chosen| ***chosen != seat.ticket_type) else { continue };
        match show.prices.get(&seat.category, ticket_type) {
            Some(price_minor) => {
                seat.price_minor = price_minor;
                seat.ticket_type = (*ticket_type).clone();
            }
            None => {
                not_sold.insert(seat.id);
            }
        }
    }
    if not_sold.is_empty() {
        return Ok(());
    }
    Err(Refusal::TicketTypeNotSold {
        seat_ids: tickets.seats().iter().copied().filter(|id| not_sold.contains(id)).collect(),
    })
}
