//! The rules of booking, as one pure function. This module keeps the state of a batch and computes what must be written; `actions` has the
//! rules of each action.

mod actions;
mod counter;
mod hold_times;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use self::hold_times::HoldTimes;
use super::command::{KeyName, PreparedCommand};
use super::events::NewBookingEvent;
use super::ports::AnswerEncoder;
use super::refusal::Refusal;
use super::rules::Rules;
use super::snapshot::{Claim, ShowOffer, Snapshot, StoredKey, Subject, TenureKey};
use super::types::{Booking, Hold, HoldId, SoldSeat, Tenure};
use super::write_set::{
    CancellationGuard, ChangedBooking, ChangedHold, EndedTenure, HeldGuard, NewAuditEntry, NewBlock, NewClaim,
    NewOutboxEvent, OutboxKind, RemovedClaim, RowGuard, ShowGuard, UserGuard, WriteSet,
};
use crate::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use crate::seating::Layout;

/// The answer to a command that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub subject: Subject,
    /// The body of the response. Retries get the same bytes.
    pub body: Arc<[u8]>,
    /// Whether an earlier request with the same key did it.
    pub replayed: bool,
}

/// The success of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Success {
    Answered(Answer),
    /// An earlier request with the same key did it, and the stored response was deleted for its age. The response shows the present state
    /// of the booking or hold.
    AnswerDeleted(Subject),
}

/// The outcomes of a batch, and the changes that must be written before the outcomes are returned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub changes: WriteSet,
    /// One for each command, in their order.
    pub outcomes: Vec<Result<Success, Refusal>>,
}

/// The parts of a decision that are not in the snapshot.
#[derive(Clone, Copy)]
pub struct Policy<'policy> {
    pub rules: &'policy Rules,
    /// The layouts of the shows in the snapshot. A show without one has no seats.
    pub layouts: &'policy HashMap<LayoutId, Arc<Layout>>,
    pub encoder: &'policy dyn AnswerEncoder,
}

/// Decides a batch of commands in the order of their arrival.
///
/// Only committed rows and accepted earlier commands can cause a refusal. Of two commands with the same key, the second is a replay if the
/// first was accepted; otherwise it is decided like a first command. The changes are the difference between the snapshot and the state
/// after the last command.
pub fn decide(mut state: Snapshot, commands: &[PreparedCommand], policy: Policy<'_>) -> Decision {
    let shows = std::mem::take(&mut state.shows).into_iter().map(|(id, show)| (id, Arc::new(show))).collect();
    let mut working = WorkingState::new(state, shows, policy);
    let outcomes = commands.iter().map(|command| working.serve(command)).collect();
    Decision { changes: working.changes(), outcomes }
}

/// The state that the next command sees, the original values of what has changed, and the guards to write.
struct WorkingState<'policy> {
    policy: Policy<'policy>,
    state: Snapshot,
    shows: HashMap<ShowId, Arc<ShowOffer>>,
    /// The number of seats in each user's live holds, as read.
    held: HashMap<UserId, usize>,
    // The original values of rows that have changed.
    old_claims: BTreeMap<(ShowId, SeatId), Option<Claim>>,
    old_holds: BTreeMap<HoldId, Option<Hold>>,
    old_bookings: BTreeMap<BookingId, Option<Booking>>,
    shows_guarded: BTreeSet<ShowGuard>,
    held_guarded: BTreeSet<HeldGuard>,
    /// The number of counted cancellations of each cancelling user, as read.
    cancellations_read: BTreeMap<UserId, usize>,
    counted_cancellations: BTreeSet<BookingId>,
    ended_tenures: BTreeSet<TenureKey>,
    rows_guarded: BTreeSet<RowGuard>,
    users_guarded: BTreeSet<UserGuard>,
    sessions_guarded: BTreeSet<SessionId>,
    keys: Vec<(KeyName, StoredKey)>,
    outbox: Vec<NewOutboxEvent>,
    audit: Vec<NewAuditEntry>,
    booking_events: Vec<NewBookingEvent>,
    /// The reasons of the seats that the batch blocks.
    blocks: BTreeMap<(ShowId, SeatId), NewBlock>,
    removed_blocks: BTreeSet<(ShowId, SeatId)>,
}

impl<'policy> WorkingState<'policy> {
    fn new(mut state: Snapshot, shows: HashMap<ShowId, Arc<ShowOffer>>, policy: Policy<'policy>) -> Self {
        let now = state.now;
        let mut held = HashMap::new();
        for hold in state.holds.values().filter(|hold| hold.is_live(now)) {
            *held.entry(hold.user_id).or_default() += hold.seats.len();
            for seat in &hold.seats {
                let claim = held_claim(hold);
                state.claims.entry((hold.show_id, seat.id)).or_insert(claim);
            }
        }
        for booking in state.bookings.values().filter(|booking| booking.state.is_live()) {
            for seat in &booking.seats {
                state.claims.entry((booking.show_id, seat.id)).or_insert_with(|| booked_claim(booking));
            }
        }
        Self {
            policy,
            state,
            shows,
            held,
            old_claims: BTreeMap::new(),
            old_holds: BTreeMap::new(),
            old_bookings: BTreeMap::new(),
            shows_guarded: BTreeSet::new(),
            held_guarded: BTreeSet::new(),
            cancellations_read: BTreeMap::new(),
            counted_cancellations: BTreeSet::new(),
            ended_tenures: BTreeSet::new(),
            rows_guarded: BTreeSet::new(),
            users_guarded: BTreeSet::new(),
            sessions_guarded: BTreeSet::new(),
            keys: Vec::new(),
            outbox: Vec::new(),
            audit: Vec::new(),
            booking_events: Vec::new(),
            blocks: BTreeMap::new(),
            removed_blocks: BTreeSet::new(),
        }
    }

    fn publish(&mut self, kind: OutboxKind, show_id: ShowId, booking_id: Option<BookingId>) {
        self.outbox.push(NewOutboxEvent { kind, show_id, booking_id });
    }

    /// Requires that a show is still scheduled and unchanged when the batch is written.
    fn guard_show(&mut self, show_id: ShowId) {
        if let Some(show) = self.shows.get(&show_id) {
            self.shows_guarded.insert(ShowGuard { show_id, version: show.version });
        }
    }

    /// Requires that the rows of a selection have the same seats taken when the batch is written.
    fn guard_rows(&mut self, show_id: ShowId, layout: &Layout, seats: &[SeatId]) {
        let rows: BTreeSet<_> = seats.iter().filter_map(|seat| layout.seat(*seat)).map(|seat| &seat.row).collect();
        for row in rows {
            let in_row = layout.seats().iter().filter(|seat| seat.row == *row).map(|seat| seat.id);
            let mut taken: Vec<SeatId> = in_row.filter(|seat| self.was_taken((show_id, *seat))).collect();
            taken.sort_unstable();
            self.rows_guarded.insert(RowGuard { show_id, layout_id: layout.id(), row: row.to_string(), taken });
        }
    }

    /// Returns whether a seat had a live claim in the snapshot.
    fn was_taken(&self, place: (ShowId, SeatId)) -> bool {
        let claim = match self.old_claims.get(&place) {
            Some(old) => old.as_ref(),
            None => self.state.claims.get(&place),
        };
        claim.is_some_and(|claim| claim.is_live(self.state.now))
    }

    /// Returns the seats of a show with a live claim, of those that were read.
    fn taken(&self, show_id: ShowId) -> HashSet<SeatId> {
        let now = self.state.now;
        let live = self.state.claims.iter().filter(|((show, _), claim)| *show == show_id && claim.is_live(now));
        live.map(|((_, seat), _)| *seat).collect()
    }

    fn put_claims(&mut self, show_id: ShowId, seats: &[SoldSeat], claim: &Claim) {
        self.claim_seats(show_id, seats.iter().map(|seat| seat.id), claim);
    }

    fn claim_seats(&mut self, show_id: ShowId, seats: impl Iterator<Item = SeatId>, claim: &Claim) {
        for seat in seats {
            let place = (show_id, seat);
            let before = self.state.claims.insert(place, claim.clone());
            self.old_claims.entry(place).or_insert(before);
        }
    }

    fn remove_claims(&mut self, show_id: ShowId, seats: impl Iterator<Item = SeatId>) {
        for seat in seats {
            let before = self.state.claims.remove(&(show_id, seat));
            self.old_claims.entry((show_id, seat)).or_insert(before);
        }
    }

    /// Ends the tenures of a hold's seats. A booking that redeems the hold begins a tenure that continues them.
    fn end_hold_tenures(&mut self, hold: &Hold) {
        let seats = hold.seats.iter().map(|seat| seat.id);
        self.end_tenures(hold.show_id, hold.user_id, hold.created_at, seats);
    }

    /// Ends the tenures of some seats of a booking. A seat from a change counts from `booked_at` too, because the time of the change is not
    /// stored.
    fn end_booking_tenures(&mut self, booking: &Booking, seats: impl Iterator<Item = SeatId>) {
        self.end_tenures(booking.show_id, booking.user_id, booking.booked_at, seats);
    }

    fn end_tenures(
        &mut self,
        show_id: ShowId,
        user_id: UserId,
        since: DateTime<Utc>,
        seats: impl Iterator<Item = SeatId>,
    ) {
        let hold_times = HoldTimes::new(&self.state, show_id, user_id);
        for seat_id in seats {
            let place = TenureKey { show_id, user_id, seat_id };
            let tenure = Tenure { since: hold_times.begin(seat_id, since), until: self.state.now };
            self.state.tenures.insert(place, tenure);
            self.ended_tenures.insert(place);
        }
    }

    fn put_hold(&mut self, hold: Hold) {
        let id = hold.id.clone();
        let before = self.state.holds.insert(id.clone(), hold);
        self.old_holds.entry(id).or_insert(before);
    }

    fn remove_hold(&mut self, id: &HoldId) {
        let before = self.state.holds.remove(id);
        self.old_holds.entry(id.clone()).or_insert(before);
    }

    fn put_booking(&mut self, booking: Booking) {
        let id = booking.id;
        let before = self.state.bookings.insert(id, booking);
        self.old_bookings.entry(id).or_insert(before);
    }

    fn store_key(&mut self, prepared: &PreparedCommand, answer: &Answer) {
        let key = StoredKey {
            fingerprint: prepared.command.fingerprint,
            operation_id: prepared.drawn.operation_id,
            subject: answer.subject.clone(),
            body: Some(Arc::clone(&answer.body)),
        };
        self.keys.push((prepared.key.clone(), key.clone()));
        self.state.keys.insert(prepared.key.clone(), key);
    }

    /// Returns the changes, each list in lock order. All batches lock in the same order, so they cannot deadlock.
    fn changes(self) -> WriteSet {
        let Self { state, shows, mut keys, .. } = self;
        keys.sort_by(|(a, _), (b, _)| a.cmp(b));
        let cancellations = self.cancellations_read.into_iter().map(|(user_id, bookings)| {
            let bookings = i64::try_from(bookings).unwrap_or(i64::MAX);
            CancellationGuard { user_id, bookings }
        });
        let ended = self.ended_tenures.into_iter();
        let tenures = ended.filter_map(|place| Some(EndedTenure { place, tenure: *state.tenures.get(&place)? }));
        let mut changes = WriteSet {
            at: state.now,
            shows: self.shows_guarded.into_iter().collect(),
            held: self.held_guarded.into_iter().collect(),
            cancellations: cancellations.collect(),
            counted_cancellations: self.counted_cancellations.into_iter().collect(),
            tenures: tenures.collect(),
            rows: self.rows_guarded.into_iter().collect(),
            users: self.users_guarded.into_iter().collect(),
            sessions: self.sessions_guarded.into_iter().collect(),
            keys,
            outbox: self.outbox,
            audit: self.audit,
            booking_events: self.booking_events,
            removed_blocks: self.removed_blocks.into_iter().collect(),
            blocks: self.blocks.into_values().collect(),
            ..WriteSet::default()
        };
        for (id, before) in self.old_holds {
            match (before, state.holds.get(&id)) {
                (None, Some(made)) => changes.holds.push(made.clone()),
                // A hold either ends or is extended.
                (Some(before), after) => {
                    let next = after.map(|hold| hold.expires_at);
                    changes.changed_holds.push(ChangedHold { id, expires_at: before.expires_at, next });
                }
                (None, None) => {}
            }
        }
        for (id, before) in self.old_bookings {
            match (before, state.bookings.get(&id)) {
                (None, Some(made)) => changes.bookings.push(made.clone()),
                (Some(before), Some(after)) if *after != before => {
                    let other_seats = before.seats != after.seats;
                    let old_seats = before.seats.iter().map(|seat| seat.id).filter(|_| other_seats).collect();
                    let (status, booking) = (before.status(), after.clone());
                    changes.changed_bookings.push(ChangedBooking { status, old_seats, booking });
                }
                _ => {}
            }
        }
        for ((show_id, seat_id), before) in self.old_claims {
            let after = state.claims.get(&(show_id, seat_id));
            if before.as_ref() == after {
                continue;
            }
            if let Some(claim) = before {
                changes.removed_claims.push(RemovedClaim { show_id, seat_id, claim });
            }
            if let (Some(claim), Some(show)) = (after, shows.get(&show_id)) {
                let (layout_id, claim) = (show.layout_id, claim.clone());
                changes.claims.push(NewClaim { show_id, seat_id, layout_id, claim });
            }
        }
        changes
    }
}

fn booked_claim(booking: &Booking) -> Claim {
    Claim::Booked { booking_id: booking.id, user_id: booking.user_id }
}

fn held_claim(hold: &Hold) -> Claim {
    Claim::Held { hold_id: hold.id.clone(), user_id: hold.user_id, expires_at: hold.expires_at }
}
