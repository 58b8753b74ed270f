//! What a client of the storm checks: each response must be one that the contract allows for what the client knows.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::harness::{Answer, TestApp};

impl Client {
    /// Takes in what became of a request that was sent, the last time at `before`.
    pub(super) fn take_in(&mut self, asked: Asked, answer: Answer, before: DateTime<Utc>) {
        let (method, path, body, success) = asked.action.call(self.place.show);
        let name = asked.action.name();
        self.count(name).tried += 1;
        if answer.status != success {
            self.check_refusal(&asked, &answer, before);
            self.count(name).refused += 1;
            return self.refused(asked);
        }
        assert!(asked.maybe_done || !is_replay(&answer), "a replay of what was never sent: {answer:?}");
        self.count_success(name);
        let done = Done { method, path, body, key: asked.key.clone(), answer: answer.clone() };
        if self.done.len() < DONE_MAX {
            self.done.push(done);
        } else {
            let at = self.dice.below(DONE_MAX);
            self.done[at] = done;
        }
        self.succeeded(asked, &answer);
    }

    pub(super) fn own(&mut self, seats: &[i64], from: DateTime<Utc>, until: DateTime<Utc>, ran_out: bool) {
        let client = self.number;
        self.owned.extend(seats.iter().map(|seat| Owned { client, seat: *seat, from, until, ran_out }));
    }

    pub(super) fn succeeded(&mut self, asked: Asked, answer: &Answer) {
        let after = Utc::now();
        let is_here = !asked.maybe_elsewhere;
        match (asked.action, asked.subject) {
            (action @ (Action::HoldSeats(_) | Action::HoldBest { .. }), _) => {
                let hold = self.read_hold(&answer.json(), after, is_here);
                match action {
                    Action::HoldSeats(seats) => assert_eq!(sorted(hold.seats.clone()), sorted(seats)),
                    Action::HoldBest { quantity, category, accessible } => {
                        assert_eq!(hold.seats.len(), quantity, "{answer:?}");
                        for seat in hold.seats.iter().map(|seat| &self.place.seats[seat]) {
                            assert!(category.is_none_or(|category| seat.category == category), "{answer:?}");
                            assert!(accessible.is_none_or(|accessible| seat.accessible == accessible), "{answer:?}");
                        }
                    }
                    _ => unreachable!(),
                }
                assert!(hold.seats.len() <= SEATS_MAX, "{answer:?}");
                assert!(self.hold_ids.insert(hold.id.clone()), "a hold's id is there twice: {answer:?}");
                let surely = |hold: &&Hold| hold.expires_at > after;
                let others: usize = self.holds.iter().filter(surely).map(|hold| hold.seats.len()).sum();
                // A hold that expired before its answer came may not have overlapped with the others.
                if hold.expires_at > after {
                    assert!(others + hold.seats.len() <= SEATS_MAX, "{others} are held already: {answer:?}");
                }
                let is_abandoned = self.dice.one_in(8);
                self.holds.push(Hold { is_abandoned, ..hold });
            }
            (Action::Extend(_), Subject::Hold(hold)) => {
                assert!(hold.expires_at + slack() > asked.sent_at, "{hold:?} had run out: {answer:?}");
                let extended = self.read_hold(&answer.json(), after, is_here);
                assert_eq!((&extended.id, &extended.seats, extended.total), (&hold.id, &hold.seats, hold.total));
                assert!(extended.expires_at >= hold.expires_at, "{hold:?} became {extended:?}");
                let is_abandoned = self.dice.one_in(8);
                self.holds.push(Hold { since: hold.since, is_abandoned, ..extended });
            }
            (Action::Release(_), Subject::Hold(hold)) => {
                let until = asked.sent_at.min(hold.expires_at);
                self.own(&hold.seats, hold.since, until, false);
            }
            (Action::Redeem(_), Subject::Hold(hold)) => {
                assert!(hold.expires_at + slack() > asked.sent_at, "{hold:?} had run out: {answer:?}");
                let booking = self.read_booking(&answer.booking(), "confirmed", hold.since, is_here);
                assert_eq!(sorted(booking.seats.clone()), sorted(hold.seats.clone()), "{answer:?}");
                assert_eq!(booking.total, hold.total, "{answer:?}");
                self.made(asked.key, booking);
            }
            (Action::Book(seats), _) => {
                let booking = self.read_booking(&answer.booking(), "confirmed", after, is_here);
                assert_eq!(booking.seats, seats, "{answer:?}");
                assert_eq!(booking.total, self.place.price(&seats), "{answer:?}");
                self.made(asked.key, booking);
            }
            (Action::BookTickets(seats), _) => {
                let booking = self.read_booking(&answer.booking(), "confirmed", after, is_here);
                assert_eq!(booking.seats, seats, "{answer:?}");
                assert_eq!(booking.total, self.place.ticket_price(&seats), "{answer:?}");
                for seat in answer.booking()["seats"].as_array().unwrap() {
                    assert_eq!(seat["ticket_type"], Place::ticket_type(seat["id"].as_i64().unwrap()), "{answer:?}");
                }
                self.made(asked.key, Booking { has_tickets: true, ..booking });
            }
            (Action::Cancel(_), Subject::Booking(booking)) => {
                let cancelled = self.read_booking(&answer.json(), "cancelled", booking.since, is_here);
                assert_eq!((cancelled.id, cancelled.total), (booking.id, booking.total), "{answer:?}");
                if booking.is_sure {
                    assert_eq!(cancelled.seats, booking.seats, "{answer:?}");
                    if booking.is_live {
                        self.own(&booking.seats, booking.since, asked.sent_at, false);
                    }
                }
                self.bookings.push(Booking { is_live: false, has_tickets: booking.has_tickets, ..cancelled });
            }
            (Action::Change(_, seats), Subject::Booking(booking)) => {
                let changed = self.read_booking(&answer.json(), "confirmed", after, is_here);
                assert_eq!((changed.id, changed.total), (booking.id, booking.total), "{answer:?}");
                assert_eq!(sorted(changed.seats.clone()), sorted(seats), "{answer:?}");
                let is_dearer = self.place.price(&changed.seats) > booking.total;
                assert!(booking.has_tickets || !is_dearer, "dearer for nothing: {answer:?}");
                if booking.is_sure {
                    self.own(&booking.seats, booking.since, asked.sent_at, false);
                }
                // A change that may come late may come after this one too.
                self.bookings.push(Booking { is_sure: booking.is_sure, has_tickets: booking.has_tickets, ..changed });
            }
            (action, subject) => panic!("{action:?} about {subject:?}"),
        }
    }

    pub(super) fn made(&mut self, key: String, booking: Booking) {
        assert!(self.booked.values().all(|id| *id != booking.id), "two keys, one booking: {booking:?}");
        self.booked.insert(key, booking.id);
        self.bookings.push(booking);
    }

    pub(super) fn read_hold(&self, hold: &Value, since: DateTime<Utc>, is_here: bool) -> Hold {
        let seats = ids(&hold["seats"]);
        let total = cents(&hold["total"]);
        assert_eq!(hold["show_id"], self.place.show, "{hold}");
        assert_eq!(hold["currency"], "EUR", "{hold}");
        assert_eq!(seats.iter().collect::<BTreeSet<_>>().len(), seats.len(), "{hold}");
        assert_eq!(total, self.place.price(&seats), "{hold}");
        let id = hold["id"].as_str().unwrap().to_owned();
        Hold { id, seats, total, expires_at: instant(&hold["expires_at"]), since, is_abandoned: false, is_here }
    }

    pub(super) fn read_booking(&self, booking: &Value, status: &str, since: DateTime<Utc>, is_here: bool) -> Booking {
        let seats = ids(&booking["seat_ids"]);
        assert_eq!(booking["status"], status, "{booking}");
        assert_eq!((&booking["user_id"], &booking["show_id"]), (&json!(self.user.id), &json!(self.place.show)));
        assert_eq!((&booking["seat_id"], &ids(&booking["seats"])), (&json!(seats[0]), &seats), "{booking}");
        let (id, total) = (booking["id"].as_i64().unwrap(), cents(&booking["total"]));
        Booking { id, seats, total, since, is_live: true, is_here, has_tickets: false, is_sure: true }
    }

    /// Whether a request can have been refused so, for what the client knows. `before` is when it was sent last.
    pub(super) fn check_refusal(&self, asked: &Asked, answer: &Answer, before: DateTime<Utc>) {
        let after = Utc::now();
        let code = code(answer);
        let allowed = match (&asked.action, &asked.subject) {
            (Action::HoldSeats(seats), _) => match (answer.status, code.as_str()) {
                (409, "seat_unavailable") => seats.len() <= SEATS_MAX && self.may_be_lost(seats, answer),
                (422, "too_many_seats") => self.may_be_too_many(seats.len(), before),
                _ => false,
            },
            (Action::HoldBest { quantity, .. }, _) => match (answer.status, code.as_str()) {
                (409, "seat_unavailable") => *quantity <= SEATS_MAX && answer.json()["seat_ids"] == json!([]),
                (422, "too_many_seats") => self.may_be_too_many(*quantity, before),
                _ => false,
            },
            (Action::Book(seats) | Action::BookTickets(seats), _) => match (answer.status, code.as_str()) {
                (409, "seat_unavailable") => seats.len() <= SEATS_MAX && self.may_be_lost(seats, answer),
                (422, "too_many_seats") => seats.len() > SEATS_MAX,
                _ => false,
            },
            (Action::Extend(_) | Action::Redeem(_), Subject::Hold(hold)) => {
                let told = matches!((answer.status, code.as_str()), (409, "hold_expired") | (404, "hold_not_found"));
                told && hold.expires_at <= after
            }
            (Action::Release(_), Subject::Hold(hold)) => {
                (answer.status, code.as_str()) == (404, "hold_not_found") && hold.expires_at <= after
            }
            (Action::Change(_, seats), Subject::Booking(booking)) => match (answer.status, code.as_str()) {
                (409, "seat_unavailable") => self.may_be_lost(seats, answer),
                (422, "price_differs") => {
                    let dearer = |(new, old): (&i64, &i64)| self.place.price(&[*new]) > self.place.price(&[*old]);
                    !booking.is_sure
                        || booking.has_tickets
                        || self.place.price(seats) > booking.total
                        || seats.iter().zip(&booking.seats).any(dearer)
                }
                _ => false,
            },
            _ => false,
        };
        assert!(allowed, "{asked:?} can't be refused like this: {answer:?}");
    }

    /// Returns whether these seats can have been refused as taken: by whomever, so that only the answer's form is to be checked.
    pub(super) fn may_be_lost(&self, seats: &[i64], answer: &Answer) -> bool {
        let problem = answer.json();
        let lost = ids(&problem["seat_ids"]);
        let is_my_hold = match problem.get("hold_id").and_then(Value::as_str) {
            // This is the first answer about a hold whose creation had an unknown outcome.
            Some(id) => self.hold_ids.contains(id) || !self.late.is_empty() || !self.unlearned.is_empty(),
            None => true,
        };
        let alternatives = problem.get("alternatives").and_then(Value::as_array);
        let offered: Vec<i64> = alternatives.into_iter().flatten().flat_map(ids).collect();
        let alternatives = alternatives.map_or(0, Vec::len);
        !lost.is_empty()
            && lost.iter().all(|seat| seats.contains(seat))
            && is_my_hold
            && alternatives <= 3
            && offered.len() == alternatives * seats.len()
            && offered.iter().collect::<BTreeSet<_>>().len() == offered.len()
            && offered.iter().all(|seat| self.place.seats.contains_key(seat))
    }

    /// Returns whether `wanted` more seats may have exceeded the limit at any time since `before`.
    pub(super) fn may_be_too_many(&self, wanted: usize, before: DateTime<Utc>) -> bool {
        let may_live = |hold: &&Hold| hold.expires_at + slack() > before;
        let known: usize = self.holds.iter().filter(may_live).map(|hold| hold.seats.len()).sum();
        let asked = self.unlearned.iter().map(|asked| match &asked.subject {
            Subject::Hold(hold) => hold.seats.len(),
            _ => asked.action.holds(),
        });
        wanted + known + asked.sum::<usize>() + self.late_holds > SEATS_MAX
    }

    pub(super) fn refused(&mut self, asked: Asked) {
        if asked.maybe_late {
            self.late.insert(asked.key);
            self.late_holds += asked.action.holds();
        }
        match asked.subject {
            Subject::Nothing => {}
            // It ran out: nothing else can be refused about it.
            Subject::Hold(hold) => {
                self.count("ran out").tried += 1;
                self.count_success("ran out");
                self.own(&hold.seats, hold.since, hold.expires_at, true);
            }
            Subject::Booking(booking) => {
                if asked.maybe_late && booking.is_sure {
                    self.own(&booking.seats, booking.since, asked.sent_at, false);
                }
                let is_sure = booking.is_sure && !asked.maybe_late;
                self.bookings.push(Booking { is_sure, ..booking });
            }
        }
    }

    /// Returns all pages of a list of one's own.
    pub(super) async fn list(&self, server: usize, first: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = Some(first.to_owned());
        while let Some(path) = next {
            let answer = self.try_send(server, Method::GET, &path, None, None).await.unwrap().ok(200);
            items.extend(answer.list());
            next = answer.next_page();
        }
        items
    }

    /// Asserts that the server shows what the client knows.
    pub(super) async fn check(&self, app: &TestApp, server: usize) {
        let history = self.list(server, "/api/bookings?limit=100").await;
        let history: BTreeMap<i64, Value> =
            history.into_iter().map(|booking| (booking["id"].as_i64().unwrap(), booking)).collect();
        assert_eq!(self.bookings.len(), self.booked.len());
        for booking in &self.bookings {
            let told = history.get(&booking.id).unwrap_or_else(|| panic!("{booking:?} is lost"));
            if booking.is_sure {
                let status = if booking.is_live { "confirmed" } else { "cancelled" };
                assert_eq!((&told["status"], &ids(&told["seat_ids"])), (&json!(status), &booking.seats), "{told}");
                assert_eq!(cents(&told["total"]), booking.total, "{told}");
            }
        }
        for id in history.keys().filter(|id| self.booked.values().all(|known| known != *id)) {
            // A request that was given up has come late. Nothing else can have made it.
            let keys = self.late.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
            assert!(!keys.is_empty(), "nobody has booked {id}");
            let made = format!(
                "SELECT count(*) FROM idempotency_keys WHERE user_id = {} AND booking_id = {id} AND key IN ({keys}) \
                AND scope = 'POST /api/bookings'",
                self.user.id
            );
            assert_eq!(app.backend.count(&made).await, 1, "nobody has booked {id}");
        }
        let holds = self.list(server, "/api/holds").await;
        let after = Utc::now();
        let holds: BTreeMap<&str, &Value> = holds.iter().map(|hold| (hold["id"].as_str().unwrap(), hold)).collect();
        for hold in self.holds.iter().filter(|hold| hold.expires_at > after) {
            let told = holds.get(hold.id.as_str()).unwrap_or_else(|| panic!("{hold:?} is lost"));
            assert_eq!((ids(&told["seats"]), instant(&told["expires_at"])), (hold.seats.clone(), hold.expires_at));
        }
        let strange = holds.keys().filter(|id| self.holds.iter().all(|hold| hold.id != **id)).count();
        assert!(strange <= self.late.len(), "{strange} holds that nobody has made: {holds:?}");
    }
}
