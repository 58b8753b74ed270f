use chrono::NaiveDate;

use super::*;
use crate::catalog::{Certificate, Description, Genres, LanguageName, ReleaseDate, Title};

struct Zeros;

impl Random for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn user(id: i64, email: &str) -> FormerUser {
    let (name, email) = (Name::parse("Ana").unwrap(), Email::parse(email).unwrap());
    FormerUser { id, name, email, password_hash: PasswordHash("hash".into()) }
}

fn movie(id: i64, title: &str) -> FormerMovie {
    let details = MovieDetails {
        title: Title::parse(title).unwrap(),
        description: Description::parse("").unwrap(),
        duration: Duration::parse(100).unwrap(),
        genres: Genres::parse(&[]).unwrap(),
        language: LanguageName::parse("English").unwrap(),
        certificate: Certificate::parse("").unwrap(),
        poster_url: None,
        release_date: ReleaseDate::parse(NaiveDate::from_ymd_opt(2024, 1, 1).unwrap()).unwrap(),
    };
    FormerMovie { id, details }
}

fn theatre(id: i64, name: &str) -> FormerTheatre {
    FormerTheatre { id, name: PlaceName::parse(name).unwrap(), location: Location::parse("").unwrap() }
}

/// Returns a show of movie 1 in theatre 1 with the seats A1 to A`seats`, whose ids are ten times the show's plus their number.
fn show(id: i64, start: &str, seats: i32) -> FormerShow {
    let row = RowName::parse("A").unwrap();
    let seat = |number| FormerSeat { id: id * 10 + i64::from(number), row: row.clone(), number, taken: false };
    let seats = (1..=seats).map(seat).collect();
    let start_time = start.parse().unwrap();
    FormerShow { id, movie_id: 1, theatre_id: 1, start_time, end_time: None, price_minor: 900, seats }
}

fn booking(id: i64, seat_id: i64) -> FormerBooking {
    FormerBooking { id, user_id: 1, seat_id, booked_at: None, price_minor: None }
}

fn source() -> FormerSource {
    FormerSource {
        terms: FormerTerms { timezone: chrono_tz::Europe::Berlin, currency: Currency::parse("EUR").unwrap() },
        users: vec![user(1, "ana@example.org")],
        movies: vec![movie(1, "Solaris")],
        theatres: vec![theatre(1, "Alpha")],
        shows: vec![show(1, "2031-01-01T18:00:00Z", 2)],
        bookings: vec![booking(1, 11)],
        skipped: Vec::new(),
    }
}

fn reasons(plan: &FormerPlan) -> Vec<(&str, &str)> {
    plan.skipped.iter().map(|row| (row.table, row.reason.as_str())).collect()
}

#[test]
fn rows_keep_their_ids_in_an_empty_store() {
    let planned = plan(&source(), FormerState::default(), &Zeros);
    assert_eq!(reasons(&planned), []);
    assert!(planned.imported.iter().all(|(_, former, new)| former == new));
    assert_eq!((planned.users.len(), planned.movies.len(), planned.theatres.len()), (1, 1, 1));
    assert_eq!((planned.halls.len(), planned.shows.len(), planned.bookings.len()), (1, 1, 1));
    let [show] = &planned.shows[..] else { panic!("one show") };
    assert_eq!(show.end_time - show.start_time, TimeDelta::minutes(100));
    assert_eq!(planned.bookings[0].price_minor, 900);
}

#[test]
fn taken_ids_are_replaced_by_free_ones() {
    let state = FormerState {
        users: HashMap::from([("admin@example.org".into(), 1)]),
        theatres: HashMap::from([("Alpha".into(), 1)]),
        shows: HashSet::from([1, 7]),
        ..FormerState::default()
    };
    let planned = plan(&source(), state, &Zeros);
    assert_eq!((planned.users[0].id, planned.theatres[0].id, planned.shows[0].id), (2, 2, 8));
    assert_eq!(planned.theatres[0].name.as_str(), "Alpha (1)");
    assert_eq!((planned.shows[0].theatre_id, planned.bookings[0].user_id), (2, 2));
    assert_eq!(FormerImported::of(planned).renumbered, 3);
}

#[test]
fn theatre_whose_longer_name_is_taken_is_skipped() {
    let theatres = HashMap::from([("Alpha".into(), 8), ("Alpha (1)".into(), 9)]);
    let planned = plan(&source(), FormerState { theatres, ..FormerState::default() }, &Zeros);
    let reasons = reasons(&planned);
    assert_eq!(reasons[0], ("theatres", "a theatre with this name exists already; rename one of them"));
    assert_eq!(reasons[1], ("shows", "its theatre was not imported"));
    assert_eq!(reasons[2], ("bookings", "its seat or show was not imported"));
}

#[test]
fn users_and_movies_that_exist_are_the_same_ones() {
    let state = FormerState {
        users: HashMap::from([("ana@example.org".into(), 5)]),
        movies: HashMap::from([("Solaris".into(), 6)]),
        ..FormerState::default()
    };
    let planned = plan(&source(), state, &Zeros);
    assert_eq!((planned.users.len(), planned.movies.len()), (0, 0));
    assert_eq!((planned.shows[0].movie_id, planned.bookings[0].user_id), (6, 5));
    assert_eq!(planned.skipped.len(), 2);
}

#[test]
fn shows_share_a_hall_if_they_have_the_same_seats_and_do_not_overlap() {
    let mut source = source();
    source.shows = vec![
        show(1, "2031-01-01T18:00:00Z", 2),
        show(2, "2031-01-01T19:00:00Z", 2),
        // Begins when the first one ends.
        show(3, "2031-01-01T19:40:00Z", 2),
        show(4, "2031-01-05T18:00:00Z", 3),
        show(5, "2031-01-06T18:00:00Z", 0),
    ];
    let planned = plan(&source, FormerState::default(), &Zeros);
    let halls: Vec<_> = planned.shows.iter().map(|show| (show.id, show.hall)).collect();
    assert_eq!(halls, [(1, HallRef::New(0)), (2, HallRef::New(1)), (3, HallRef::New(0)), (4, HallRef::New(2)),]);
    let names: Vec<_> = planned.halls.iter().map(|hall| (hall.name.as_str(), hall.seats.len())).collect();
    assert_eq!(names, [("Hall 1", 2), ("Hall 2", 2), ("Hall 3", 3)]);
    assert_eq!(reasons(&planned), [("shows", "it has no valid seats")]);
}

#[test]
fn second_import_adds_what_is_new_to_the_known_halls() {
    let first = plan(&source(), FormerState::default(), &Zeros);
    let mut imported: HashMap<_, _> =
        first.imported.iter().map(|(kind, former, new)| ((*kind, *former), *new)).collect();
    imported.insert((FormerKind::Booking, 1), 77);
    let start = first.shows[0].start_time;
    let state = || FormerState {
        imported: imported.clone(),
        users: HashMap::from([("ana@example.org".into(), 1)]),
        movies: HashMap::from([("Solaris".into(), 1)]),
        theatres: HashMap::from([("Alpha".into(), 1)]),
        shows: HashSet::from([1]),
        halls: vec![KnownHall {
            id: 4,
            theatre_id: 1,
            name: "Hall 1".into(),
            layout_id: 40,
            seats: BTreeSet::from([("A".into(), 1), ("A".into(), 2)]),
            busy: vec![(start, start + TimeDelta::minutes(100))],
        }],
        imported_shows: HashMap::from([(1, KnownShow { layout_id: 40, is_scheduled: true })]),
        claims: HashSet::from([(1, "A".into(), 1)]),
    };
    let again = plan(&source(), state(), &Zeros);
    let counts = (again.users.len(), again.halls.len(), again.shows.len(), again.bookings.len(), again.imported.len());
    assert_eq!((counts, reasons(&again)), ((0, 0, 0, 0, 0), vec![]));

    let mut more = source();
    more.shows.push(show(2, "2031-01-02T18:00:00Z", 2));
    more.shows.push(show(3, "2031-01-01T18:30:00Z", 2));
    more.bookings.extend([booking(2, 12), booking(3, 11), booking(4, 21)]);
    let planned = plan(&more, state(), &Zeros);
    let halls: Vec<_> = planned.shows.iter().map(|show| (show.id, show.hall)).collect();
    assert_eq!(halls, [(3, HallRef::New(0)), (2, HallRef::Known { hall_id: 4, layout_id: 40 })]);
    assert_eq!(planned.halls[0].name, "Hall 2");
    let layouts: Vec<_> = planned.bookings.iter().map(|booking| (booking.former_id, booking.seat.layout)).collect();
    assert_eq!(layouts, [(2, LayoutRef::Known(40)), (4, LayoutRef::Known(40))]);
    assert_eq!(reasons(&planned), [("bookings", "its seat is taken by another booking")]);

    let mut cancelled = state();
    cancelled.imported_shows.insert(1, KnownShow { layout_id: 40, is_scheduled: false });
    let planned = plan(&more, cancelled, &Zeros);
    assert_eq!(reasons(&planned)[0], ("bookings", "its show is cancelled in this system"));
}

#[test]
fn taken_seats_without_a_booking_are_blocked() {
    let mut source = source();
    source.shows[0].seats.iter_mut().for_each(|seat| seat.taken = true);
    let planned = plan(&source, FormerState::default(), &Zeros);
    let blocked: Vec<_> = planned.blocked.iter().map(|seat| (seat.show_id, seat.number)).collect();
    assert_eq!((planned.bookings.len(), blocked), (1, vec![(1, 2)]));
}

#[test]
fn rows_that_refer_to_missing_ones_are_skipped() {
    let mut source = source();
    source.shows[0].movie_id = 9;
    source.bookings = vec![booking(1, 11), FormerBooking { user_id: 9, ..booking(2, 12) }];
    let planned = plan(&source, FormerState::default(), &Zeros);
    assert_eq!(
        reasons(&planned),
        [
            ("shows", "its movie was not imported"),
            ("bookings", "its seat or show was not imported"),
            ("bookings", "its user was not imported"),
        ]
    );
}

#[test]
fn kinds_read_as_they_are_written() {
    for kind in FormerKind::ALL {
        assert_eq!(FormerKind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(FormerKind::parse("seat"), None);
}
