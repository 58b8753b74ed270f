use std::collections::BTreeSet;
use std::sync::Mutex;

use chrono::DateTime;
use futures::executor::block_on;

use super::*;
use crate::admin::{
    ChangeKey, ChangeOrigin, MockAuditStore, MockChangeEncoder, MockChangeStore, MockCounterStore,
    MockLayoutVersionStore, MockStaffBookingStore, MockStaffShowStore, MockStaffStore, StoredChange, UserAccess,
};
use crate::booking::{Fingerprint, IdempotencyKey, KeyName, Scope};
use crate::catalog::MockCatalogStore;
use crate::identity::{Caller, MockSessionGuard, Role};
use crate::pricing::MockPriceStore;
use crate::seating::MockLayoutStore;

/// The ports of a service under test. A port without expectations panics if it is called.
#[derive(Default)]
struct Parts {
    staff: MockStaffStore,
    changes: MockChangeStore,
    bookings: MockStaffBookingStore,
    catalog: MockCatalogStore,
    guard: MockSessionGuard,
}

impl Parts {
    fn service(self) -> AdminService {
        AdminService {
            staff: Arc::new(self.staff),
            changes: Arc::new(self.changes),
            audit: Arc::new(MockAuditStore::new()),
            bookings: Arc::new(self.bookings),
            counter: Arc::new(MockCounterStore::new()),
            catalog: Arc::new(self.catalog),
            prices: Arc::new(MockPriceStore::new()),
            shows: Arc::new(MockStaffShowStore::new()),
            layout_versions: Arc::new(MockLayoutVersionStore::new()),
            layouts: Arc::new(MockLayoutStore::new()),
            guard: Arc::new(self.guard),
            encoder: Arc::new(MockChangeEncoder::new()),
        }
    }
}

fn request(key: Option<&str>) -> ChangeRequest {
    let user_id = UserId(1);
    let name = |key: &str| KeyName {
        user_id,
        scope: Scope("PATCH /api/admin/movies/7".into()),
        key: IdempotencyKey::parse(key).unwrap(),
    };
    ChangeRequest {
        bearer: Bearer { caller: Caller { user_id, role: Role::Admin, session_generation: 1 }, session_id: None },
        key: key.map(|key| ChangeKey { name: name(key), fingerprint: Fingerprint([1; 32]) }),
        origin: ChangeOrigin { request_id: "r".into(), address: "192.0.2.7".into() },
    }
}

fn movie(version: i64) -> Movie {
    Movie {
        id: MovieId(7),
        title: format!("Version {version}"),
        description: String::new(),
        duration_minutes: 90,
        genres: Vec::new(),
        language: "English".into(),
        certificate: String::new(),
        poster_url: None,
        release_date: "2001-01-01".parse().unwrap(),
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        retired_at: None,
        version,
    }
}

fn answer(version: i64) -> ChangeAnswer {
    ChangeAnswer { object_id: 7, version, body: Arc::from(&b"{}"[..]), replayed: false }
}

/// Lets the catalog return a movie whose version rises with each read.
fn rising(catalog: &mut MockCatalogStore) {
    let version = Mutex::new(0);
    catalog.expect_movie().returning(move |_| {
        let mut version = version.lock().unwrap();
        *version += 1;
        Ok(Some(movie(*version)))
    });
}

#[test]
fn stale_change_is_computed_again_from_the_present_object() {
    let mut parts = Parts::default();
    rising(&mut parts.catalog);
    let mut tries = 0;
    parts.changes.expect_apply().times(3).returning(move |_, change, _| {
        tries += 1;
        let Change::Movie(Edit::Update { before, .. }) = change else { panic!("an update: {change:?}") };
        assert_eq!(before.version, tries);
        if tries < 3 { Err(ChangeError::Stale) } else { Ok(answer(tries + 1)) }
    });
    let (service, request) = (parts.service(), request(None));
    let update = service.update_movie(&request, MovieId(7), MovieChange::default(), &Precondition::Any);
    assert_eq!(block_on(update).unwrap().version, 4);
}

#[test]
fn change_of_an_old_version_is_refused_and_not_repeated() {
    let mut parts = Parts::default();
    rising(&mut parts.catalog);
    // Changed between the read and the write: the second read shows another version than the precondition.
    parts.changes.expect_apply().times(1).returning(|_, _, _| Err(ChangeError::Stale));
    let (service, request) = (parts.service(), request(None));
    let precondition = Precondition::Versions(vec![1]);
    let update = service.update_movie(&request, MovieId(7), MovieChange::default(), &precondition);
    let outcome = block_on(update);
    assert!(matches!(outcome, Err(ChangeError::PreconditionFailed)), "{outcome:?}");
}

#[test]
fn conflicts_without_end_are_reported() {
    let mut parts = Parts::default();
    rising(&mut parts.catalog);
    parts.changes.expect_apply().times(TRIES).returning(|_, _, _| Err(ChangeError::Stale));
    let service = parts.service();
    let outcome = block_on(service.retire_movie(&request(None), MovieId(7), &Precondition::Any));
    assert!(matches!(outcome, Err(ChangeError::Stale)), "{outcome:?}");
}

#[test]
fn stored_answer_is_replayed_before_the_precondition_is_checked() {
    for (fingerprint, is_same) in [([1; 32], true), ([2; 32], false)] {
        let mut parts = Parts::default();
        parts.changes.expect_stored().returning(move |_| {
            let body = Arc::from(&b"first"[..]);
            Ok(Some(StoredChange { fingerprint: Fingerprint(fingerprint), object_id: 7, version: 2, body }))
        });
        let service = parts.service();
        let (request, precondition) = (request(Some("k")), Precondition::Versions(vec![1]));
        let outcome = block_on(service.update_movie(&request, MovieId(7), MovieChange::default(), &precondition));
        match outcome {
            Ok(answer) => assert!(is_same && answer.replayed && answer.version == 2),
            Err(error) => assert!(!is_same && matches!(error, ChangeError::KeyReused), "{error:?}"),
        }
    }
}

#[test]
fn objects_of_other_theatres_are_forbidden_and_unknown_ones_not_found() {
    let member = StaffMember { role: Role::Staff, theatres: BTreeSet::from([TheatreId(2)]) };
    let hall = |theatre: i64| Hall {
        id: HallId(5),
        theatre_id: TheatreId(theatre),
        name: "Main".into(),
        seats_total: 0,
        retired_at: None,
        version: 1,
    };
    let read = |found: Option<Hall>| {
        let mut parts = Parts::default();
        parts.catalog.expect_hall().returning(move |_| Ok(found.clone()));
        block_on(parts.service().hall(&member, HallId(5)))
    };
    assert!(read(Some(hall(2))).is_ok());
    assert!(matches!(read(Some(hall(3))), Err(ChangeError::Forbidden)));
    assert!(matches!(read(None), Err(ChangeError::NotFound(ObjectKind::Hall))));
}

#[test]
fn sessions_of_a_changed_user_are_checked_at_once() {
    let user = |generation| ManagedUser {
        id: UserId(9),
        name: "Ana".into(),
        email: "ana@example.org".into(),
        access: UserAccess { role: Role::Staff, theatres: BTreeSet::new(), disabled: false },
        session_generation: generation,
        created_at: DateTime::UNIX_EPOCH,
        version: 1,
    };
    let mut parts = Parts::default();
    let mut generation = 3;
    parts.staff.expect_user().returning(move |_| {
        generation += 1;
        Ok(Some(user(generation)))
    });
    parts.changes.expect_apply().returning(|_, _, _| Ok(answer(2)));
    parts
        .guard
        .expect_ended_before()
        .withf(|id, generation| (id.0, *generation) == (9, 5))
        .times(1)
        .returning(|_, _| ());
    let change = UserAccessChange { disabled: Some(true), ..UserAccessChange::default() };
    block_on(parts.service().update_user(&request(None), UserId(9), change, &Precondition::Any)).unwrap();
}

#[test]
fn text_that_can_be_a_reference_is_searched_as_one_too() {
    let member = StaffMember { role: Role::Admin, theatres: BTreeSet::new() };
    for (text, reference) in [("7q2xk0m4zd", Some("7Q2XK0M4ZD")), (" 7Q2XK0M4ZD ", Some("7Q2XK0M4ZD")), ("Ana", None)] {
        let mut parts = Parts::default();
        let expected = reference.map(str::to_owned);
        parts
            .bookings
            .expect_staff_bookings()
            .withf(move |filter, _| filter.reference == expected && filter.search == Some(fold(text)))
            .returning(|_, _| Ok(Vec::new()));
        let query = StaffBookingQuery { search: Some(text.into()), ..StaffBookingQuery::default() };
        let page = PageRequest { limit: PageLimit::DEFAULT, after: None };
        assert!(block_on(parts.service().bookings(&member, query, &page)).unwrap().items.is_empty());
    }
}
