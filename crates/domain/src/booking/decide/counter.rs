//! The rules of what staff do with seats.

use super::actions::{answer, check_pairs, exchanged, keep_prices, priced};
use super::{Answer, WorkingState};
use crate::admin::{AuditAction, AuditRecord, ChangeOrigin, Fields, ObjectKind};
use crate::booking::command::{PreparedCommand, ShowBooking, StaffAct};
use crate::booking::counter::{CorrectedSeats, CounterSale, HouseSeats, Override, PaymentKind, Sale};
use crate::booking::events::{BookingEventKind, EventActor, NewBookingEvent, sale_details, seats_text};
use crate::booking::refusal::Refusal;
use crate::booking::snapshot::{Claim, ShowOffer, Subject};
use crate::booking::state::BookingState;
use crate::booking::types::{Booking, SoldSeat};
use crate::booking::write_set::{NewAuditEntry, NewBlock, OutboxKind};
use crate::catalog::ShowStatus;
use crate::ids::{SeatId, ShowId, UserId};
use crate::pricing::TicketTypeCode;
use crate::seating::Layout;

impl WorkingState<'_> {
    /// Sells seats at the box office: until the show ends, and also before its sale opens or after it closes.
    pub(super) fn sell_at_counter(
        &mut self,
        prepared: &PreparedCommand,
        sale: &CounterSale,
    ) -> Result<Answer, Refusal> {
        let (show_id, terms) = (sale.show_id, &sale.terms);
        let staff = prepared.command.bearer.caller.user_id;
        let (show, layout) = self.show(show_id)?;
        let mut seats = priced(&show, layout, sale.seats.tickets())?;
        let (asked, max) = (seats.len(), self.policy.rules.seats_max);
        let max = if terms.may_break(Override::SeatLimit) { CounterSale::SEATS_MAX } else { max };
        if asked > max {
            return Err(Refusal::TooManySeats { asked, max });
        }
        if show.status == ShowStatus::Cancelled || show.end_time <= self.state.now {
            return Err(Refusal::SalesClosed);
        }
        check_pairs(layout, sale.seats.seats())?;
        self.check_free(show_id, sale.seats.seats(), staff, None)?;
        if !terms.may_break(Override::SeatGap) {
            self.check_gaps(show_id, layout, sale.seats.seats(), None)?;
        }
        if terms.payment() == PaymentKind::Complimentary {
            seats.iter_mut().for_each(|seat| seat.price_minor = 0);
        }
        let sold = Sale::BoxOffice(terms.payment());
        let booking = self.new_booking(prepared, (sale.owner, sold), show_id, &show, seats);
        let seats_sold = seats_text(&booking.seats, booking.currency);
        let details = |fields: Fields| fields.with("seats", &seats_sold).with_some("overrides", terms.overrides_text());
        self.audit(
            staff,
            &sale.origin,
            AuditRecord {
                action: AuditAction::Sell,
                object_kind: ObjectKind::Booking,
                object_id: booking.id.0,
                theatre_id: Some(sale.theatre_id),
                before: Fields::default(),
                after: details(sale_details(&booking))
                    .with("show_id", show_id.to_string())
                    .with("user_id", sale.owner.to_string())
                    .with_some("reason", terms.reason()),
            },
        );
        let event = NewBookingEvent::new(booking.id, BookingEventKind::Booked, EventActor::Staff(staff));
        let event = NewBookingEvent { details: details(sale_details(&booking)), ..event };
        self.booking_events.push(event.because(terms.reason()));
        let body = self.policy.encoder.encode_sale(&booking);
        Ok(self.put_sale(booking, body))
    }

    /// Blocks seats for the house. Seats that are blocked already stay as they are.
    pub(super) fn block(&mut self, staff: UserId, house: &HouseSeats) -> Result<Answer, Refusal> {
        let show_id = house.show_id;
        let (show, layout) = self.show(show_id)?;
        check_in_hall(layout, house.seats.seats())?;
        if show.status == ShowStatus::Cancelled {
            return Err(Refusal::SalesClosed);
        }
        check_pairs(layout, house.seats.seats())?;
        let wanted = self.seats_to_change(house, staff, false)?;
        if !wanted.is_empty() {
            self.guard_show(show_id);
            self.claim_seats(show_id, wanted.iter().copied(), &Claim::Blocked);
            for seat_id in &wanted {
                let reason = house.reason.clone();
                let block = NewBlock { show_id, seat_id: *seat_id, reason, blocked_by: staff };
                self.blocks.insert((show_id, *seat_id), block);
            }
            self.publish(OutboxKind::SeatsBlocked, show_id, None);
            self.audit_house(staff, AuditAction::Block, house, layout, &wanted);
        }
        Ok(self.blocks_answer(show_id))
    }

    /// Releases blocked seats. Seats that are free already stay as they are.
    pub(super) fn unblock(&mut self, staff: UserId, house: &HouseSeats) -> Result<Answer, Refusal> {
        let show_id = house.show_id;
        let (_, layout) = self.show(show_id)?;
        check_in_hall(layout, house.seats.seats())?;
        check_pairs(layout, house.seats.seats())?;
        let wanted = self.seats_to_change(house, staff, true)?;
        if !wanted.is_empty() {
            self.remove_claims(show_id, wanted.iter().copied());
            for seat_id in &wanted {
                self.blocks.remove(&(show_id, *seat_id));
                self.removed_blocks.insert((show_id, *seat_id));
            }
            self.publish(OutboxKind::SeatsReleased, show_id, None);
            self.audit_house(staff, AuditAction::Unblock, house, layout, &wanted);
        }
        Ok(self.blocks_answer(show_id))
    }

    /// Returns the seats that are blocked now, or are free now. Refuses seats that are booked or held.
    fn seats_to_change(&self, house: &HouseSeats, staff: UserId, blocked_now: bool) -> Result<Vec<SeatId>, Refusal> {
        let is_blocked = |seat: &SeatId| self.state.claims.get(&(house.show_id, *seat)) == Some(&Claim::Blocked);
        let (blocked, others): (Vec<_>, Vec<_>) = house.seats.seats().iter().copied().partition(is_blocked);
        self.check_free(house.show_id, &others, staff, None)?;
        Ok(if blocked_now { blocked } else { others })
    }

    fn blocks_answer(&self, show_id: ShowId) -> Answer {
        let claims = self.state.claims.iter();
        let blocked = claims.filter(|((show, _), claim)| *show == show_id && **claim == Claim::Blocked);
        let mut blocked: Vec<SeatId> = blocked.map(|((_, seat), _)| *seat).collect();
        blocked.sort_unstable();
        answer(Subject::Show(show_id), self.policy.encoder.encode_blocks(show_id, &blocked))
    }

    /// Exchanges the seats or ticket types of a customer's booking: at any time, and at the prices of the sale.
    pub(super) fn correct(
        &mut self,
        staff: UserId,
        asked: &ShowBooking,
        seats: &CorrectedSeats,
        act: &StaffAct,
    ) -> Result<Answer, Refusal> {
        let booking = self.booking(act.customer, asked)?;
        let chosen_seats = seats.selection().seats();
        if chosen_seats.len() != booking.seats.len() {
            return Err(Refusal::WrongSeatCount { seats: booking.seats.len() });
        }
        let (show, layout) = self.show(booking.show_id)?;
        let mut chosen = corrected(&booking, seats, &show, layout)?;
        if !matches!(booking.state, BookingState::Confirmed(_)) {
            return Err(Refusal::NotChangeable);
        }
        keep_prices(&booking, &mut chosen);
        if chosen == booking.seats {
            return Ok(self.booking_answer(&booking));
        }
        if show.status == ShowStatus::Cancelled {
            return Err(Refusal::SalesClosed);
        }
        // Another ticket type for the same seats leaves no new gap.
        let moves = chosen.iter().any(|seat| booking.seats.iter().all(|old| old.id != seat.id));
        if moves {
            check_pairs(layout, chosen_seats)?;
            self.check_free(booking.show_id, chosen_seats, staff, Some(&booking))?;
            self.check_gaps(booking.show_id, layout, chosen_seats, Some(&booking))?;
        }
        let text = |seats: &[SoldSeat]| Fields::default().with("seats", seats_text(seats, booking.currency));
        self.audit(
            staff,
            &act.origin,
            AuditRecord {
                action: AuditAction::Update,
                object_kind: ObjectKind::Booking,
                object_id: booking.id.0,
                theatre_id: Some(act.theatre_id),
                before: text(&booking.seats),
                after: text(&chosen).with("reason", &act.reason),
            },
        );
        Ok(self.exchange(booking, chosen, EventActor::Staff(staff), Some(&act.reason)))
    }

    fn audit(&mut self, staff: UserId, origin: &ChangeOrigin, record: AuditRecord) {
        self.audit.push(NewAuditEntry { actor_id: staff, origin: origin.clone(), record });
    }

    fn audit_house(
        &mut self,
        staff: UserId,
        action: AuditAction,
        house: &HouseSeats,
        layout: &Layout,
        seats: &[SeatId],
    ) {
        let place = |id: &SeatId| layout.seat(*id).map(|seat| format!("{} {}", seat.row, seat.number));
        let places = seats.iter().filter_map(place).collect::<Vec<_>>().join("; ");
        let (before, after) = match action {
            AuditAction::Unblock => (Fields::default().with("blocked", places), Fields::default()),
            _ => (Fields::default(), Fields::default().with("blocked", places)),
        };
        self.audit(
            staff,
            &house.origin,
            AuditRecord {
                action,
                object_kind: ObjectKind::Show,
                object_id: house.show_id.0,
                theatre_id: Some(house.theatre_id),
                before,
                after: after.with("reason", &house.reason),
            },
        );
    }
}

/// Checks that all seats are in the hall. House seats need no price.
fn check_in_hall(layout: &Layout, seats: &[SeatId]) -> Result<(), Refusal> {
    let seat_ids: Vec<_> = seats.iter().copied().filter(|id| layout.seat(*id).is_none()).collect();
    if seat_ids.is_empty() { Ok(()) } else { Err(Refusal::SeatNotFound { seat_ids }) }
}

/// Returns the seats of a booking after a correction. A seat that keeps its ticket type stays as it was sold, also if the show does not sell
/// the ticket type any more.
fn corrected(
    booking: &Booking,
    seats: &CorrectedSeats,
    show: &ShowOffer,
    layout: &Layout,
) -> Result<Vec<SoldSeat>, Refusal> {
    let tickets = match seats {
        CorrectedSeats::Seats(seats) => return exchanged(booking, seats, show, layout),
        CorrectedSeats::Tickets(tickets) => tickets,
    };
    let kept = |id: SeatId| booking.seats.iter().find(move |old| old.id == id);
    let same = |id: SeatId, code: &TicketTypeCode| kept(id).filter(|old| old.ticket_type == *code);
    let mut changed =
        priced(show, layout, tickets.tickets().filter(|(id, code)| same(*id, code).is_none()))?.into_iter();
    Ok(tickets.tickets().filter_map(|(id, code)| same(id, code).cloned().or_else(|| changed.next())).collect())
}
