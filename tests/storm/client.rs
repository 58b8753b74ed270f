//! What a client of the storm does: it chooses an action, sends it, retries it, and reads.

use std::collections::HashMap;
use std::time::Duration;

use chrono::Utc;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::*;
use crate::harness::{Answer, Call};

impl Client {
    /// Does one thing after the other until the storm is over, and learns what became of all of them.
    pub(super) async fn run(&mut self) {
        self.look().await;
        while !self.place.is_over() {
            self.act().await;
        }
        while let Some(asked) = self.unlearned.pop_front() {
            self.learn(asked).await;
        }
    }

    pub(super) fn note(&mut self, line: String) {
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(format!("{} {line}", Utc::now().format("%H:%M:%S%.3f")));
    }

    pub(super) fn count(&mut self, name: &'static str) -> &mut Count {
        self.counts.entry(name).or_default()
    }

    pub(super) fn count_success(&mut self, name: &'static str) {
        self.count(name).succeeded += 1;
        *self.place.successes.lock().unwrap().entry(name).or_default() += 1;
    }

    pub(super) async fn act(&mut self) {
        let is_full = self.unlearned.len() == UNLEARNED_MAX;
        if is_full || (!self.unlearned.is_empty() && self.dice.one_in(4)) {
            let asked = self.unlearned.pop_front().unwrap();
            return self.learn(asked).await;
        }
        let roll = self.dice.below(100);
        if roll < 6 {
            return self.look().await;
        }
        if roll < 13 && !self.done.is_empty() {
            return self.repeat().await;
        }
        let Some(asked) = self.think() else { return self.look().await };
        match self.dice.below(24) {
            0 | 1 => self.hang_up(asked).await,
            2 | 3 => self.send_at_once(asked).await,
            _ => self.send(asked).await,
        }
    }

    /// Decides what to do next. `None`: to look, and wait for better times.
    pub(super) fn think(&mut self) -> Option<Asked> {
        let now = Utc::now();
        if let Some(at) = self.holds.iter().position(|hold| hold.expires_at + slack() < now) {
            // It has certainly expired, and the response must say so.
            return Some(self.about_hold(at, Action::Redeem));
        }
        let hold = self.holds.iter().position(|hold| !hold.is_abandoned);
        let live: Vec<_> = (0..self.bookings.len()).filter(|at| self.bookings[*at].is_live).collect();
        // With more it would keep what all want.
        if live.len() >= 2 {
            return Some(self.about_booking(live[0], |booking| Action::Cancel(booking.id)));
        }
        let is_crowded = self.seen_free.len() < FREE_MIN;
        if is_crowded && !self.dice.one_in(3) {
            return match (hold, live.first().copied()) {
                (Some(at), _) if self.dice.one_in(2) => Some(self.about_hold(at, Action::Release)),
                (_, Some(at)) if self.dice.one_in(2) => Some(self.about_change(at)),
                (_, Some(at)) if self.dice.one_in(2) => {
                    Some(self.about_booking(at, |booking| Action::Cancel(booking.id)))
                }
                _ => None,
            };
        }
        let asked = match (self.dice.below(100), hold, live.first().copied()) {
            (0..16, _, _) => {
                let seats = self.choose_seats();
                self.asked(Action::HoldSeats(seats), Subject::Nothing)
            }
            (16..27, Some(at), _) => self.about_hold(at, Action::Extend),
            (27..36, Some(at), _) => self.about_hold(at, Action::Release),
            (36..50, Some(at), _) => self.about_hold(at, Action::Redeem),
            (50..64, _, _) => {
                let seats = self.choose_seats();
                let with_tickets = self.dice.one_in(3);
                let action = if with_tickets { Action::BookTickets(seats) } else { Action::Book(seats) };
                self.asked(action, Subject::Nothing)
            }
            (64..76, _, Some(at)) => self.about_booking(at, |booking| Action::Cancel(booking.id)),
            (76..90, _, Some(at)) => self.about_change(at),
            // A cancelled booking can be cancelled again.
            (90..92, _, _) if live.len() < self.bookings.len() => {
                let at = self.bookings.iter().position(|booking| !booking.is_live).unwrap();
                self.about_booking(at, |booking| Action::Cancel(booking.id))
            }
            // Who gets any seats there are leaves none to those who want certain ones.
            _ if is_crowded => return None,
            _ => {
                let quantity = self.choose_count();
                let category = match self.dice.below(8) {
                    0 => Some("standard"),
                    1 => Some("premium"),
                    _ => None,
                };
                let accessible = self.dice.one_in(8).then(|| self.dice.one_in(4));
                self.asked(Action::HoldBest { quantity, category, accessible }, Subject::Nothing)
            }
        };
        Some(asked)
    }

    pub(super) fn asked(&mut self, action: Action, subject: Subject) -> Asked {
        self.keys += 1;
        Asked {
            action,
            subject,
            key: format!("key-{}", self.keys),
            sent_at: Utc::now(),
            maybe_done: false,
            maybe_late: false,
            maybe_elsewhere: false,
        }
    }

    pub(super) fn about_hold(&mut self, at: usize, action: impl FnOnce(String) -> Action) -> Asked {
        let hold = self.holds.remove(at);
        let action = action(hold.id.clone());
        self.asked(action, Subject::Hold(hold))
    }

    pub(super) fn about_booking(&mut self, at: usize, action: impl FnOnce(&Booking) -> Action) -> Asked {
        let booking = self.bookings.remove(at);
        let action = action(&booking);
        self.asked(action, Subject::Booking(booking))
    }

    /// Other seats for a booking: all of them, or one.
    pub(super) fn about_change(&mut self, at: usize) -> Asked {
        let old = self.bookings[at].seats.clone();
        let kept = if self.dice.one_in(2) { old[..old.len() - 1].to_vec() } else { Vec::new() };
        let mut seats = self.draw_seats(old.len() - kept.len(), &old);
        seats.extend(kept);
        self.about_booking(at, |booking| Action::Change(booking.id, seats))
    }

    /// Returns how many seats to want: mostly one, now and then too many.
    pub(super) fn choose_count(&mut self) -> usize {
        match self.dice.below(40) {
            0 => SEATS_MAX + 1,
            1..24 => 1,
            24..34 => 2,
            _ => 3,
        }
    }

    pub(super) fn choose_seats(&mut self) -> Vec<i64> {
        let count = self.choose_count();
        self.draw_seats(count, &[])
    }

    /// Seats that were free a moment ago, more often than not, or any.
    pub(super) fn draw_seats(&mut self, count: usize, but: &[i64]) -> Vec<i64> {
        let fits = |seats: Vec<i64>| seats.into_iter().filter(|seat| !but.contains(seat)).collect::<Vec<_>>();
        let mut from = fits(self.seen_free.clone());
        if from.len() < count || self.dice.one_in(8) {
            from = fits(self.place.seats.keys().copied().collect());
        }
        self.dice.draw(&from, count)
    }

    pub(super) fn home(&self) -> usize {
        self.number % self.place.authorities.len()
    }

    /// Sends a request once. `None`: no answer.
    pub(super) async fn attempt(&self, action: &Action, key: &str, server: usize) -> Option<Answer> {
        let (method, path, body, _) = action.call(self.place.show);
        self.try_send(server, method, &path, body.as_ref(), Some(key)).await
    }

    pub(super) async fn try_send(
        &self,
        server: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Option<Answer> {
        let mut call = Call::new(&self.http, &self.place.authorities[server], method, path).by(&self.user);
        if let Some(key) = key {
            call = call.key(key);
        }
        if let Some(body) = body {
            call = call.json(body);
        }
        call.try_send().await.ok()
    }

    /// Sends a request until it is answered by more than "later".
    pub(super) async fn settle(&mut self, asked: &mut Asked) -> Answer {
        for _ in 0..TRIES_MAX {
            let answer = self.attempt(&asked.action, &asked.key, self.home()).await;
            if let Some(answer) = self.definite(asked, answer) {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("nobody tells what became of {asked:?}");
    }

    /// Returns an answer from which the outcome of the request is known.
    pub(super) fn definite(&mut self, asked: &mut Asked, answer: Option<Answer>) -> Option<Answer> {
        let Some(answer) = answer else {
            self.note(format!("{}: no answer", asked.key));
            self.count("no answer").tried += 1;
            (asked.maybe_done, asked.maybe_late) = (true, true);
            return None;
        };
        let code = code(&answer);
        self.note(format!(
            "{}: {} {code} {}",
            asked.key,
            answer.status,
            answer.header("idempotent-replayed").is_some()
        ));
        match (answer.status, code.as_str()) {
            (503, "unavailable" | "overloaded" | "outcome_unknown") => {
                self.count("503").tried += 1;
                asked.maybe_done = true;
                asked.maybe_late |= code == "outcome_unknown";
                None
            }
            (409, "request_in_flight") => {
                self.count("request_in_flight").tried += 1;
                asked.maybe_done = true;
                None
            }
            _ => Some(answer),
        }
    }

    /// Sends a request and takes in what is answered.
    pub(super) async fn send(&mut self, mut asked: Asked) {
        self.note(format!("{}: {:?}", asked.key, asked.action));
        let before = Utc::now();
        asked.sent_at = before;
        let answer = self.settle(&mut asked).await;
        self.take_in(asked, answer, before);
    }

    /// Sends a request thrice at once.
    pub(super) async fn send_at_once(&mut self, mut asked: Asked) {
        self.note(format!("{}: {:?}, thrice", asked.key, asked.action));
        let (before, home) = (Utc::now(), self.home());
        asked.sent_at = before;
        asked.maybe_elsewhere = self.place.authorities.len() > 1;
        let servers = [home, self.place.authorities.len() - 1 - home, home];
        let answers = join_all(servers.map(|server| self.attempt(&asked.action, &asked.key, server))).await;
        let (_, _, _, success) = asked.action.call(self.place.show);
        let mut made: Vec<Answer> = Vec::new();
        let mut is_certain = true;
        for answer in answers {
            match self.definite(&mut asked, answer) {
                Some(answer) if answer.status == success => made.push(answer),
                Some(answer) => self.check_refusal(&asked, &answer, before),
                None => is_certain = false,
            }
        }
        let fresh = made.iter().filter(|answer| !is_replay(answer)).count();
        assert!(fresh <= 1, "it was done {fresh} times: {made:?}");
        assert!(!is_certain || fresh == usize::from(!made.is_empty()), "a replay of nothing: {made:?}");
        for pair in made.windows(2) {
            assert_eq!(pair[0].bytes, pair[1].bytes, "one key, two answers: {made:?}");
        }
        self.count("three at once").tried += 1;
        asked.maybe_done |= !made.is_empty();
        let again = self.settle(&mut asked).await;
        if let Some(first) = made.first() {
            self.count_success("three at once");
            assert_replay(first, &again);
        }
        self.take_in(asked, again, before);
    }

    /// Sends a request, or a part of it, and hangs up without waiting for an answer.
    pub(super) async fn hang_up(&mut self, mut asked: Asked) {
        let (method, path, body, _) = asked.action.call(self.place.show);
        let authority = &self.place.authorities[self.home()];
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {}\r\n",
            self.user.token, asked.key
        );
        if !body.is_empty() {
            request += "Content-Type: application/json\r\n";
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let is_whole = body.is_empty() || !self.dice.one_in(4);
        let sent = if is_whole { request.len() } else { request.len() - 1 - self.dice.below(body.len()) };
        asked.sent_at = Utc::now();
        (asked.maybe_done, asked.maybe_late) = (is_whole, is_whole);
        let mut connection = TcpStream::connect(authority).await.unwrap();
        connection.write_all(&request.as_bytes()[..sent]).await.unwrap();
        if self.dice.one_in(2) {
            tokio::time::sleep(Duration::from_millis(self.dice.next() % 30)).await;
        }
        drop(connection);
        self.note(format!("{}: {:?}, hung up after {sent} of {} bytes", asked.key, asked.action, request.len()));
        self.count("hang up").tried += 1;
        self.unlearned.push_back(asked);
    }

    /// Learns what became of a request that was not waited for.
    pub(super) async fn learn(&mut self, mut asked: Asked) {
        let before = Utc::now();
        let is_whole = asked.maybe_done;
        let answer = self.settle(&mut asked).await;
        let (_, _, _, success) = asked.action.call(self.place.show);
        if is_whole && answer.status == success {
            self.count_success("hang up");
            if is_replay(&answer) {
                self.count_success("hang up, found done");
            }
        }
        self.take_in(asked, answer, before);
    }

    /// Sends again what has succeeded: the same answer to the byte, on every server. Another request with its key is refused.
    pub(super) async fn repeat(&mut self) {
        let done = &self.done[self.dice.below(self.done.len())];
        let mut body = done.body.clone();
        let is_other = body.is_some() && self.dice.one_in(4);
        if let (Some(body), true) = (&mut body, is_other) {
            body["note"] = json!("another request");
        }
        let server = self.dice.below(self.place.authorities.len());
        let (method, path, key) = (done.method.clone(), done.path.clone(), done.key.clone());
        let first = done.answer.clone();
        let name = if is_other { "key for another" } else { "retry" };
        self.note(format!("{key}: {name} of {method} {path}"));
        for _ in 0..TRIES_MAX {
            let answer = self.try_send(server, method.clone(), &path, body.as_ref(), Some(&key)).await;
            // Both are known to be done; so an answer like "later" has no meaning for either, but may be.
            let Some(answer) = answer.filter(|answer| answer.status != 503) else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            if is_other {
                answer.problem(422, "idempotency_key_reused");
            } else {
                assert_replay(&first, &answer);
            }
            self.count(name).tried += 1;
            self.count_success(name);
            return;
        }
        panic!("{name} of {key} is never answered");
    }

    /// Looks at the seat map: what is surely the client's own must be on it.
    pub(super) async fn look(&mut self) {
        self.count("seat map").tried += 1;
        let path = format!("/api/shows/{}/seats", self.place.show);
        let Some(answer) = self.try_send(self.home(), Method::GET, &path, None, None).await else { return };
        let after = Utc::now();
        if answer.status == 503 {
            return;
        }
        let map = answer.ok(200).list();
        let map: HashMap<i64, &Value> = map.iter().map(|seat| (seat["id"].as_i64().unwrap(), seat)).collect();
        assert_eq!(map.len(), self.place.seats.len());
        let mine = |seats: &[i64], status: &str, what: &dyn std::fmt::Debug| {
            for seat in seats {
                let seen = map[seat];
                assert_eq!((&seen["status"], &seen["mine"]), (&json!(status), &json!(true)), "{seen} of {what:?}");
            }
        };
        for booking in self.bookings.iter().filter(|booking| booking.is_live && booking.is_here && booking.is_sure) {
            mine(&booking.seats, "booked", booking);
        }
        for hold in self.holds.iter().filter(|hold| hold.is_here && hold.expires_at > after) {
            mine(&hold.seats, "held", hold);
        }
        let free = map.iter().filter(|(_, seat)| seat["status"] == "available").map(|(id, _)| *id);
        self.seen_free = sorted(free.collect());
        self.count_success("seat map");
    }
}
