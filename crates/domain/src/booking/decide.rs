//! All the rules of selling, in one pure function.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

use super::command::{Action, BookSeats, HoldSeats, KeyName, PreparedCommand, ShowBooking, WantedSeats};
use super::ports::{
    AnswerEncoder, CancellationGuard, ChangedBooking, ChangedHold, Claim, EndedTenure, HeldGuard, NewClaim, NewKey,
    NewOutboxEvent, OutboxKind, RemovedClaim, RowGuard, ShowGuard, ShowOffer, Snapshot, StoredAnswer, StoredKey,
    Subject, TenureKey, UserGuard, WriteSet,
};
use super::rules::{Rules, SeatGapRule};
use super::state::{BookingState, Confirmed};
use super::types::{Booking, Hold, HoldId, SoldSeat, Tenure};
use crate::catalog::ShowStatus;
use crate::identity::Bearer;
use crate::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use crate::money::Money;
use crate::seating::{Layout, SeatSelection, SeatWish, best_seats, forbidden_gaps};

/// A command's success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is done, now or by an earlier request with the same key.
    Done {
        /// What was made or changed.
        made: Subject,
        /// The bytes of the answer's body, the same each time.
        body: Arc<[u8]>,
        /// Whether an earlier request did it.
        replayed: bool,
    },
    /// An earlier request with the same key did it, so long ago that its answer is forgotten. What it made is answered as it is.
    DoneLongAgo {
        /// What was made or changed.
        made: Subject,
    },
}

/// Why a command was refused. It has changed nothing, and its key is free.
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
    /// There is no such hold, or it is someone else's, or it was released or redeemed.
    #[error("there is no such hold")]
    HoldNotFound,
    /// There is no such booking, or it is someone else's.
    #[error("there is no such booking")]
    BookingNotFound,
    /// The show is cancelled, has started, or its sale has ended before.
    #[error("the show takes no more bookings")]
    SalesClosed,
    /// The show is not sold yet.
    #[error("the show takes no bookings yet")]
    SalesNotOpen {
        /// From when on it is.
        open_at: DateTime<Utc>,
    },
    /// The hold ran out.
    #[error("the hold ran out")]
    HoldExpired,
    /// The caller would hold more seats of the show than a booking may have.
    #[error("too many seats are held")]
    TooManyHeld {
        /// How many the caller holds already.
        held: usize,
        /// How many may be held.
        max: usize,
    },
    /// The caller would hold more seats over all shows than one may.
    #[error("too many seats are held over all shows")]
    HeldSeatsLimit {
        /// How many the caller holds already.
        held: usize,
        /// How many may be held.
        max: usize,
        /// After how long enough of them will have run out.
        retry_in: TimeDelta,
    },
    /// The caller has had some seats for as long as one may, and let go of them too short a time ago.
    #[error("some seats were held for as long as one may")]
    SeatHoldTimeUsed {
        /// Those seats, in the order they were asked for.
        seat_ids: Vec<SeatId>,
        /// After how long they can all be held again.
        retry_in: TimeDelta,
    },
    /// The caller has cancelled as many bookings lately as one may.
    #[error("too many bookings were cancelled lately")]
    CancellationLimit {
        /// How many may be cancelled within [`Rules::CANCELLATIONS_COUNTED`].
        max: usize,
        /// After how long the next one may.
        retry_in: TimeDelta,
    },
    /// Some seats are claimed. None is named where the best were asked for and not as many are left.
    #[error("some seats are claimed")]
    SeatUnavailable {
        /// Those seats, in the order they were asked for.
        seat_ids: Vec<SeatId>,
        /// The caller's own hold, if it has some of them.
        hold_id: Option<HoldId>,
    },
    /// The selection leaves single seats empty, and the house forbids it.
    #[error("the selection leaves single seats empty")]
    SeatsLeaveGap {
        /// Those seats.
        seat_ids: Vec<SeatId>,
    },
    /// The booking can't be cancelled, or not any more.
    #[error("the booking cannot be cancelled")]
    NotCancellable,
    /// The booking is not one that can have other seats.
    #[error("the booking cannot be changed")]
    NotChangeable,
    /// A booking is given as many seats as it has.
    #[error("a booking is given as many seats as it has")]
    WrongSeatCount {
        /// How many it has.
        seats: usize,
    },
    /// The new seats cost more than the old ones did.
    #[error("the new seats cost more")]
    PriceDiffers {
        /// What the old ones cost.
        sold: Money,
        /// What the new ones would.
        asked: Money,
    },
}

/// What is answered, and what must be written before it may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What must be written.
    pub changes: WriteSet,
    /// The answer to each command, in their order.
    pub outcomes: Vec<Result<Answer, Refusal>>,
}

/// What a decision depends on besides the state.
#[derive(Clone, Copy)]
pub struct Policy<'house> {
    /// The house's rules.
    pub rules: &'house Rules,
    /// The layouts of the shows in the state. A show whose layout is not here has no seats.
    pub layouts: &'house HashMap<LayoutId, Arc<Layout>>,
    /// Writes the answers.
    pub encoder: &'house dyn AnswerEncoder,
}

/// Decides a batch of commands in the order of their arrival.
///
/// A command is refused only because of committed rows, or of a command before it that was accepted. Of two
/// commands with the same key the second is a replay of the first if that was accepted; if it was refused, the
/// second is decided for itself. What is written is the difference between the state that was read and the state that the
/// last command leaves.
pub fn decide(mut state: Snapshot, commands: &[PreparedCommand], house: Policy<'_>) -> Decision {
    let shows = std::mem::take(&mut state.shows).into_iter().map(|(id, show)| (id, Arc::new(show))).collect();
    let mut desk = WorkingState::new(state, shows, house);
    let outcomes = commands.iter().map(|command| desk.serve(command)).collect();
    Decision { changes: desk.changes(), outcomes }
}

/// What a command has done.
struct Done {
    made: Subject,
    body: Vec<u8>,
    /// What others must be told of. `None` is a command that was granted and had nothing to do.
    told: Option<OutboxKind>,
}

/// The state that the next command sees, what it was before any of them, and what else must be written.
struct WorkingState<'house> {
    house: Policy<'house>,
    state: Snapshot,
    shows: HashMap<ShowId, Arc<ShowOffer>>,
    /// How many seats each user holds, as it was read.
    held: HashMap<UserId, usize>,
    // As they were read, those that have changed.
    old_claims: BTreeMap<(ShowId, SeatId), Option<Claim>>,
    old_holds: BTreeMap<HoldId, Option<Hold>>,
    old_bookings: BTreeMap<BookingId, Option<Booking>>,
    shows_guarded: BTreeSet<ShowGuard>,
    held_guarded: BTreeSet<HeldGuard>,
    /// How many bookings each user who cancels one had cancelled, as it was read.
    cancellations_read: BTreeMap<UserId, usize>,
    counted_cancellations: BTreeSet<BookingId>,
    ended_tenures: BTreeSet<TenureKey>,
    rows_guarded: BTreeSet<RowGuard>,
    users_guarded: BTreeSet<UserGuard>,
    sessions_guarded: BTreeSet<SessionId>,
    keys: Vec<NewKey>,
    outbox: Vec<NewOutboxEvent>,
}

impl<'house> WorkingState<'house> {
    fn new(mut state: Snapshot, shows: HashMap<ShowId, Arc<ShowOffer>>, house: Policy<'house>) -> Self {
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
            house,
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
        }
    }

    fn serve(&mut self, prepared: &PreparedCommand) -> Result<Answer, Refusal> {
        let command = &prepared.command;
        let used = self.state.keys.get(&prepared.key);
        // A key that this very run has written: the connection was lost after the commit. That is the first answer, whatever
        // has become of the session since.
        if let Some(row) = used.filter(|row| row.operation_id == prepared.drawn.operation_id) {
            return Ok(remembered(row, false));
        }
        if !self.session_lasts(&command.bearer) {
            return Err(Refusal::SessionEnded);
        }
        match used {
            Some(row) if row.fingerprint == command.fingerprint => return Ok(remembered(row, true)),
            Some(_) => return Err(Refusal::KeyReused),
            None => {}
        }
        let caller = &command.bearer.caller;
        let user_id = caller.user_id;
        let Done { made, body, told } = match &command.action {
            Action::Book(book) => self.book(prepared, book)?,
            Action::Hold(hold) => self.hold(prepared, hold)?,
            Action::Redeem(hold_id) => self.redeem(prepared, hold_id)?,
            Action::Extend(hold_id) => self.extend(user_id, hold_id)?,
            Action::Release(hold_id) => self.release(user_id, hold_id)?,
            Action::Cancel(booking) => self.cancel(user_id, booking)?,
            Action::Change(booking, seats) => self.change(user_id, booking, seats)?,
        };
        let body: Arc<[u8]> = body.into();
        if let Some(kind) = told {
            let booking_id = made.booking_id();
            self.outbox.push(NewOutboxEvent { kind, show_id: command.show_id(), booking_id });
        }
        // What had nothing to do is remembered where a client asks for it, and else leaves no trace.
        if told.is_some() || command.key.is_some() {
            self.remember(prepared, made.clone(), &body);
            self.users_guarded.insert(UserGuard { user_id, session_generation: caller.session_generation });
            self.sessions_guarded.extend(command.bearer.session_id);
        }
        Ok(Answer::Done { made, body, replayed: false })
    }

    fn session_lasts(&self, bearer: &Bearer) -> bool {
        let caller = bearer.caller;
        let user = self.state.users.get(&caller.user_id);
        user.is_some_and(|user| user.session_generation == caller.session_generation)
            && bearer.session_id.is_none_or(|id| self.state.sessions.get(&id) == Some(&caller.user_id))
    }

    fn book(&mut self, prepared: &PreparedCommand, book: &BookSeats) -> Result<Done, Refusal> {
        let show_id = book.show_id;
        let (show, layout) = self.show(show_id)?;
        let seats = priced(&show, layout, book.seats.seats())?;
        self.check_on_sale(&show)?;
        let user_id = prepared.command.bearer.caller.user_id;
        self.check_free(show_id, book.seats.seats(), user_id, None)?;
        self.check_gaps(show_id, layout, book.seats.seats(), None)?;
        Ok(self.sell(prepared, show_id, &show, seats))
    }

    fn hold(&mut self, prepared: &PreparedCommand, hold: &HoldSeats) -> Result<Done, Refusal> {
        let show_id = hold.show_id;
        let (show, layout) = self.show(show_id)?;
        let user_id = prepared.command.bearer.caller.user_id;
        let hold_times = HoldTimes::new(&self.state, show_id, user_id);
        let longest = (self.state.now + self.house.rules.hold_ttl).min(sale_ends(&show));
        let seats = match &hold.seats {
            WantedSeats::These(wanted) => {
                let seats = priced(&show, layout, wanted.seats())?;
                self.check_on_sale(&show)?;
                self.check_held(show_id, user_id, seats.len())?;
                self.check_free(show_id, wanted.seats(), user_id, None)?;
                self.check_gaps(show_id, layout, wanted.seats(), None)?;
                seats
            }
            WantedSeats::Best(wish) => {
                self.check_on_sale(&show)?;
                self.check_held(show_id, user_id, wish.quantity)?;
                let best = self.best(show_id, &show, layout, wish, &hold_times, longest)?;
                priced(&show, layout, &best)?
            }
        };
        // The account's own limits come last: whoever is refused by one would have got the seats otherwise.
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
        self.shows_guarded.insert(ShowGuard { show_id });
        let seats_read = self.held.get(&user_id).copied().unwrap_or_default();
        self.held_guarded.insert(HeldGuard { user_id, seats: i64::try_from(seats_read).unwrap_or(i64::MAX) });
        self.put_claims(show_id, &hold.seats, &held_claim(&hold));
        let done = self.held(&hold, Some(OutboxKind::SeatsHeld));
        self.put_hold(hold);
        Ok(done)
    }

    fn redeem(&mut self, prepared: &PreparedCommand, hold_id: &HoldId) -> Result<Done, Refusal> {
        let hold = self.live_hold(prepared.command.bearer.caller.user_id, hold_id)?;
        let (show, _) = self.show(hold.show_id)?;
        self.check_on_sale(&show)?;
        self.end_hold_tenures(&hold);
        self.remove_hold(hold_id);
        Ok(self.sell(prepared, hold.show_id, &show, hold.seats))
    }

    fn extend(&mut self, user_id: UserId, hold_id: &HoldId) -> Result<Done, Refusal> {
        let hold = self.live_hold(user_id, hold_id)?;
        let (show, _) = self.show(hold.show_id)?;
        self.check_on_sale(&show)?;
        let hold_times = HoldTimes::new(&self.state, hold.show_id, user_id);
        let since = hold.seats.iter().map(|seat| hold_times.begin(seat.id, hold.created_at)).min();
        let longest = (since.unwrap_or(hold.created_at) + Hold::LIFE_MAX).min(sale_ends(&show));
        let expires_at = (self.state.now + self.house.rules.hold_ttl).min(longest);
        if expires_at <= hold.expires_at {
            return Ok(self.held(&hold, None));
        }
        let hold = Hold { expires_at, ..hold };
        self.shows_guarded.insert(ShowGuard { show_id: hold.show_id });
        self.put_claims(hold.show_id, &hold.seats, &held_claim(&hold));
        let done = self.held(&hold, Some(OutboxKind::SeatsHeld));
        self.put_hold(hold);
        Ok(done)
    }

    fn release(&mut self, user_id: UserId, hold_id: &HoldId) -> Result<Done, Refusal> {
        let hold = self.live_hold(user_id, hold_id).map_err(|_| Refusal::HoldNotFound)?;
        self.end_hold_tenures(&hold);
        self.remove_claims(hold.show_id, hold.seats.iter().map(|seat| seat.id));
        self.remove_hold(hold_id);
        Ok(Done { made: Subject::Hold(hold.id), body: Vec::new(), told: Some(OutboxKind::SeatsReleased) })
    }

    fn cancel(&mut self, user_id: UserId, asked: &ShowBooking) -> Result<Done, Refusal> {
        let booking = self.booking(user_id, asked)?;
        let now = self.state.now;
        let cancelled = match booking.state {
            BookingState::Cancelled(_) => return Ok(self.booked(&booking, None)),
            BookingState::Expired(_) | BookingState::Refunded(_) => return Err(Refusal::NotCancellable),
            BookingState::PendingPayment(pending) => pending.cancel(now),
            BookingState::Confirmed(confirmed) => confirmed.cancel(now),
        };
        // A show that does not take place has no cutoff.
        let takes_place = self.shows.get(&booking.show_id).is_some_and(|show| show.status == ShowStatus::Scheduled);
        if takes_place && booking.start_time - self.house.rules.cancellation_cutoff <= now {
            return Err(Refusal::NotCancellable);
        }
        if takes_place {
            self.count_cancellation(user_id, booking.id)?;
        }
        self.end_booking_tenures(&booking, booking.seats.iter().map(|seat| seat.id));
        let booking = Booking { state: BookingState::Cancelled(cancelled), ..booking };
        self.remove_claims(booking.show_id, booking.seats.iter().map(|seat| seat.id));
        let done = self.booked(&booking, Some(OutboxKind::BookingCancelled));
        self.put_booking(booking);
        Ok(done)
    }

    fn change(&mut self, user_id: UserId, asked: &ShowBooking, seats: &SeatSelection) -> Result<Done, Refusal> {
        let booking = self.booking(user_id, asked)?;
        if seats.seats().len() != booking.seats.len() {
            return Err(Refusal::WrongSeatCount { seats: booking.seats.len() });
        }
        let (show, layout) = self.show(booking.show_id)?;
        let mut chosen = priced(&show, layout, seats.seats())?;
        if !matches!(booking.state, BookingState::Confirmed(_)) {
            return Err(Refusal::NotChangeable);
        }
        if chosen.iter().map(|seat| seat.id).eq(booking.seats.iter().map(|seat| seat.id)) {
            return Ok(self.booked(&booking, None));
        }
        self.check_on_sale(&show)?;
        self.check_free(booking.show_id, seats.seats(), user_id, Some(&booking))?;
        self.check_gaps(booking.show_id, layout, seats.seats(), Some(&booking))?;
        // What it keeps is no dearer than it was.
        for seat in &mut chosen {
            if let Some(old) = booking.seats.iter().find(|old| old.id == seat.id) {
                seat.price_minor = old.price_minor;
            }
        }
        let (sold, asked) = (booking.total(), Booking { seats: chosen.clone(), ..booking.clone() }.total());
        if asked.minor > sold.minor {
            return Err(Refusal::PriceDiffers { sold, asked });
        }
        // Who changes seats pays nothing and gets nothing back: each new seat has the price of the one that it is taken for.
        let given_up = booking.seats.iter().filter(|old| chosen.iter().all(|seat| seat.id != old.id));
        let mut prices = given_up.map(|old| old.price_minor).collect::<Vec<_>>().into_iter();
        for seat in &mut chosen {
            if booking.seats.iter().all(|old| old.id != seat.id) {
                seat.price_minor = prices.next().unwrap_or(seat.price_minor);
            }
        }
        self.shows_guarded.insert(ShowGuard { show_id: booking.show_id });
        let kept: HashSet<SeatId> = seats.seats().iter().copied().collect();
        let given_up = || booking.seats.iter().map(|seat| seat.id).filter(|seat| !kept.contains(seat));
        self.end_booking_tenures(&booking, given_up());
        self.remove_claims(booking.show_id, given_up());
        let booking = Booking { seats: chosen, ..booking };
        self.put_claims(booking.show_id, &booking.seats, &booked_claim(&booking));
        let done = self.booked(&booking, Some(OutboxKind::BookingChanged));
        self.put_booking(booking);
        Ok(done)
    }

    /// Makes a booking of seats that are free, or held by what was just removed.
    fn sell(&mut self, prepared: &PreparedCommand, show_id: ShowId, show: &ShowOffer, seats: Vec<SoldSeat>) -> Done {
        let booking = Booking {
            id: prepared.drawn.booking_id,
            reference: prepared.drawn.reference.clone(),
            user_id: prepared.command.bearer.caller.user_id,
            show_id,
            seats,
            state: BookingState::Confirmed(Confirmed::sold()),
            currency: show.currency,
            booked_at: self.state.now,
            movie_title: show.movie_title.clone(),
            theatre_name: show.theatre_name.clone(),
            hall_name: show.hall_name.clone(),
            start_time: show.start_time,
        };
        self.shows_guarded.insert(ShowGuard { show_id });
        self.put_claims(show_id, &booking.seats, &booked_claim(&booking));
        let body = self.house.encoder.encode_booked(&booking);
        let made = Subject::Booking(booking.id);
        self.put_booking(booking);
        Done { made, body, told: Some(OutboxKind::BookingConfirmed) }
    }

    fn booked(&self, booking: &Booking, told: Option<OutboxKind>) -> Done {
        Done { made: Subject::Booking(booking.id), body: self.house.encoder.encode_booking(booking), told }
    }

    fn held(&self, hold: &Hold, told: Option<OutboxKind>) -> Done {
        Done { made: Subject::Hold(hold.id.clone()), body: self.house.encoder.encode_hold(hold), told }
    }

    fn show(&self, show_id: ShowId) -> Result<(Arc<ShowOffer>, &'house Layout), Refusal> {
        let show = self.shows.get(&show_id).ok_or(Refusal::ShowNotFound)?;
        let layout = self.house.layouts.get(&show.layout_id).ok_or(Refusal::ShowNotFound)?;
        Ok((Arc::clone(show), layout))
    }

    fn live_hold(&self, user_id: UserId, hold_id: &HoldId) -> Result<Hold, Refusal> {
        let mine = self.state.holds.get(hold_id).filter(|hold| hold.user_id == user_id);
        let hold = mine.ok_or(Refusal::HoldNotFound)?;
        if hold.is_live(self.state.now) { Ok(hold.clone()) } else { Err(Refusal::HoldExpired) }
    }

    fn booking(&self, user_id: UserId, asked: &ShowBooking) -> Result<Booking, Refusal> {
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

    /// All live holds of a user on a show have at most as many seats as a booking may have.
    fn check_held(&self, show_id: ShowId, user_id: UserId, more: usize) -> Result<(), Refusal> {
        let now = self.state.now;
        let mine = |hold: &&Hold| hold.show_id == show_id && hold.user_id == user_id && hold.is_live(now);
        let held = self.state.holds.values().filter(mine).map(|hold| hold.seats.len()).sum::<usize>();
        let max = self.house.rules.seats_max;
        if held.saturating_add(more) > max { Err(Refusal::TooManyHeld { held, max }) } else { Ok(()) }
    }

    /// All that a user keeps from others without having bought it has at most as many seats as the house allows, whichever the shows.
    fn check_held_everywhere(&self, user_id: UserId, more: usize) -> Result<(), Refusal> {
        let now = self.state.now;
        let mine = self.state.holds.values().filter(|hold| hold.user_id == user_id && hold.is_live(now));
        let mut ends: Vec<_> = mine.map(|hold| (hold.expires_at, hold.seats.len())).collect();
        let held = ends.iter().map(|(_, seats)| seats).sum::<usize>();
        let max = self.house.rules.held_seats_max;
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

    /// Counts a cancellation by the booking's owner, if the owner may cancel one more.
    fn count_cancellation(&mut self, user_id: UserId, booking_id: BookingId) -> Result<(), Refusal> {
        let (now, max) = (self.state.now, self.house.rules.cancellations_max);
        let times = self.state.cancellations.entry(user_id).or_default();
        times.retain(|at| *at + Rules::CANCELLATIONS_COUNTED > now);
        if times.len() >= max {
            times.sort_unstable();
            // Once all but `max - 1` are too old to count.
            let next = times.get(times.len() - max).map_or(now, |at| *at + Rules::CANCELLATIONS_COUNTED);
            return Err(Refusal::CancellationLimit { max, retry_in: next - now });
        }
        self.cancellations_read.entry(user_id).or_insert(times.len());
        times.push(now);
        self.counted_cancellations.insert(booking_id);
        Ok(())
    }

    /// The best seats for a user. Those that the user had so lately that a hold of them ends earlier come second, and those whose time
    /// is used up are none.
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
        let mut taken = self.taken(show_id);
        taken
            .extend(layout.seats().iter().filter(|seat| !show.prices.contains_key(&seat.category)).map(|seat| seat.id));
        let best_without = |too_short: &dyn Fn(DateTime<Utc>) -> bool| {
            let mut taken = taken.clone();
            taken.extend(hold_times.seats().filter(|seat| too_short(hold_times.ends(*seat, now))));
            best_seats(layout, &taken, wish)
        };
        best_without(&|ends| ends < longest)
            .or_else(|| best_without(&|ends| ends <= now))
            // Only with seats whose time is used up: the caller learns that, and not that there are none.
            .or_else(|| best_without(&|_| false))
            .ok_or(Refusal::SeatUnavailable { seat_ids: Vec::new(), hold_id: None })
    }

    /// Every seat is free, or `but`'s own.
    fn check_free(
        &self,
        show_id: ShowId,
        seats: &[SeatId],
        user_id: UserId,
        but: Option<&Booking>,
    ) -> Result<(), Refusal> {
        let mut hold_id = None;
        let mut lost = Vec::new();
        for seat in seats {
            let live = self.state.claims.get(&(show_id, *seat)).filter(|claim| claim.is_live(self.state.now));
            let Some(claim) = live else { continue };
            if but.is_some_and(|but| claim.booking_id() == Some(but.id)) {
                continue;
            }
            lost.push(*seat);
            if hold_id.is_none() && claim.user_id() == Some(user_id) {
                hold_id = claim.hold_id().cloned();
            }
        }
        if lost.is_empty() { Ok(()) } else { Err(Refusal::SeatUnavailable { seat_ids: lost, hold_id }) }
    }

    /// The selection leaves no single seat empty where the house forbids it. Seats of `but` are free by then.
    fn check_gaps(
        &mut self,
        show_id: ShowId,
        layout: &Layout,
        seats: &[SeatId],
        but: Option<&Booking>,
    ) -> Result<(), Refusal> {
        if self.house.rules.seat_gaps == SeatGapRule::Off {
            return Ok(());
        }
        let mut taken = self.taken(show_id);
        for seat in but.iter().flat_map(|but| &but.seats) {
            taken.remove(&seat.id);
        }
        let gaps = forbidden_gaps(layout, &taken, seats);
        if !gaps.is_empty() {
            return Err(Refusal::SeatsLeaveGap { seat_ids: gaps });
        }
        self.guard_rows(show_id, layout, seats);
        Ok(())
    }

    /// The rows of a selection must still be taken as they were read when it is written.
    fn guard_rows(&mut self, show_id: ShowId, layout: &Layout, seats: &[SeatId]) {
        let rows: BTreeSet<&str> =
            seats.iter().filter_map(|seat| layout.seat(*seat)).map(|seat| seat.row.as_str()).collect();
        for row in rows {
            let in_row = layout.seats().iter().filter(|seat| seat.row == row).map(|seat| seat.id);
            let mut taken: Vec<SeatId> = in_row.filter(|seat| self.was_taken((show_id, *seat))).collect();
            taken.sort_unstable();
            self.rows_guarded.insert(RowGuard { show_id, layout_id: layout.id(), row: row.to_owned(), taken });
        }
    }

    /// Whether a seat was claimed when the state was read.
    fn was_taken(&self, place: (ShowId, SeatId)) -> bool {
        let claim = match self.old_claims.get(&place) {
            Some(old) => old.as_ref(),
            None => self.state.claims.get(&place),
        };
        claim.is_some_and(|claim| claim.is_live(self.state.now))
    }

    /// The seats of a show that are claimed, as far as they were read.
    fn taken(&self, show_id: ShowId) -> HashSet<SeatId> {
        let now = self.state.now;
        let live = self.state.claims.iter().filter(|((show, _), claim)| *show == show_id && claim.is_live(now));
        live.map(|((_, seat), _)| *seat).collect()
    }

    fn put_claims(&mut self, show_id: ShowId, seats: &[SoldSeat], claim: &Claim) {
        for seat in seats {
            let place = (show_id, seat.id);
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

    /// Ends the tenures of a hold's seats. A booking that redeems the hold is another tenure, which continues them.
    fn end_hold_tenures(&mut self, hold: &Hold) {
        let seats = hold.seats.iter().map(|seat| seat.id);
        self.end_tenures(hold.show_id, hold.user_id, hold.created_at, seats);
    }

    /// Ends the tenures of some of a booking's seats. A seat that the booking got by a change counts from `booked_at` as well: when it was
    /// changed is not stored.
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

    fn remember(&mut self, prepared: &PreparedCommand, made: Subject, body: &Arc<[u8]>) {
        let name: KeyName = prepared.key.clone();
        let row = StoredKey {
            fingerprint: prepared.command.fingerprint,
            operation_id: prepared.drawn.operation_id,
            made,
            answer: Some(StoredAnswer { body: Arc::clone(body) }),
        };
        self.keys.push(NewKey {
            name: name.clone(),
            fingerprint: row.fingerprint,
            operation_id: row.operation_id,
            made: row.made.clone(),
            answer: Arc::clone(body),
        });
        self.state.keys.insert(name, row);
    }

    /// What must be written, each list in lock order: everybody takes locks in the same order, so that nobody waits in a circle.
    fn changes(self) -> WriteSet {
        let Self { state, shows, mut keys, .. } = self;
        keys.sort_by(|a, b| a.name.cmp(&b.name));
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
            ..WriteSet::default()
        };
        for (id, before) in self.old_holds {
            match (before, state.holds.get(&id)) {
                (None, Some(made)) => changes.holds.push(made.clone()),
                (Some(before), after) if after != Some(&before) => {
                    let next = after.map(|hold| hold.expires_at);
                    changes.changed_holds.push(ChangedHold { id, expires_at: before.expires_at, next });
                }
                _ => {}
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

/// How long a user can hold which seats of a show: what remains of [`Hold::LIFE_MAX`] for those that the user had lately.
struct HoldTimes {
    tenures: HashMap<SeatId, Vec<Tenure>>,
}

impl HoldTimes {
    fn new(state: &Snapshot, show_id: ShowId, user_id: UserId) -> Self {
        let ended = state.tenures.iter().filter(|(place, _)| (place.show_id, place.user_id) == (show_id, user_id));
        let ended = ended.map(|(place, tenure)| (place.seat_id, *tenure));
        // A hold that ran out has written nothing since: it is there still.
        let holds = state.holds.values().filter(|hold| (hold.show_id, hold.user_id) == (show_id, user_id));
        let held = holds.flat_map(|hold| {
            let tenure = Tenure { since: hold.created_at, until: hold.expires_at };
            hold.seats.iter().map(move |seat| (seat.id, tenure))
        });
        let mut tenures: HashMap<SeatId, Vec<Tenure>> = HashMap::new();
        for (seat, tenure) in ended.chain(held) {
            tenures.entry(seat).or_default().push(tenure);
        }
        Self { tenures }
    }

    /// The seats that the user had or has.
    fn seats(&self) -> impl Iterator<Item = SeatId> {
        self.tenures.keys().copied()
    }

    /// When a tenure of a seat that begins at `from` began, with those before it that count on.
    fn begin(&self, seat: SeatId, from: DateTime<Utc>) -> DateTime<Utc> {
        self.tenures.get(&seat).map_or(from, |earlier| Tenure::begin(earlier, from))
    }

    /// Until when the user can hold a seat from `from` on. Not after `from` if the time is used up.
    fn ends(&self, seat: SeatId, from: DateTime<Utc>) -> DateTime<Utc> {
        self.begin(seat, from) + Hold::LIFE_MAX
    }

    /// Until when the user can hold these seats, if that is later than `now` for all of them.
    fn check(&self, seats: &[SoldSeat], now: DateTime<Utc>) -> Result<DateTime<Utc>, Refusal> {
        let used_up = seats.iter().map(|seat| seat.id).filter(|seat| self.ends(*seat, now) <= now);
        let seat_ids: Vec<SeatId> = used_up.collect();
        let tenures = seat_ids.iter().filter_map(|seat| self.tenures.get(seat)).flatten();
        match tenures.map(|tenure| tenure.until + Tenure::GAP).max() {
            Some(again_at) => Err(Refusal::SeatHoldTimeUsed { seat_ids, retry_in: again_at - now }),
            None => Ok(seats.iter().map(|seat| self.ends(seat.id, now)).min().unwrap_or(now)),
        }
    }
}

fn remembered(row: &StoredKey, replayed: bool) -> Answer {
    let made = row.made.clone();
    match &row.answer {
        Some(answer) => Answer::Done { made, body: Arc::clone(&answer.body), replayed },
        None => Answer::DoneLongAgo { made },
    }
}

fn booked_claim(booking: &Booking) -> Claim {
    Claim::Booked { booking_id: booking.id, user_id: booking.user_id }
}

fn held_claim(hold: &Hold) -> Claim {
    Claim::Held { hold_id: hold.id.clone(), user_id: hold.user_id, expires_at: hold.expires_at }
}

/// When a show's sale ends: when it begins, or earlier if it says so. At that very instant it is over.
fn sale_ends(show: &ShowOffer) -> DateTime<Utc> {
    show.sales_close_at.map_or(show.start_time, |close_at| close_at.min(show.start_time))
}

/// The seats that are asked for with what they cost, if all of them are of the show's hall and sold there.
fn priced(show: &ShowOffer, layout: &Layout, seats: &[SeatId]) -> Result<Vec<SoldSeat>, Refusal> {
    let sold = |id: &SeatId| {
        let seat = layout.seat(*id)?;
        let price_minor = *show.prices.get(&seat.category)?;
        let (row, category) = (seat.row.clone(), seat.category.clone());
        Some(SoldSeat { id: *id, row, number: seat.number, category, price_minor })
    };
    let offers: Vec<Option<SoldSeat>> = seats.iter().map(sold).collect();
    let missing = seats.iter().zip(&offers).filter(|(_, offer)| offer.is_none()).map(|(seat, _)| *seat);
    let seat_ids: Vec<SeatId> = missing.collect();
    if seat_ids.is_empty() {
        Ok(offers.into_iter().flatten().collect())
    } else {
        Err(Refusal::SeatNotFound { seat_ids })
    }
}
