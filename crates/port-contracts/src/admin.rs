//! Cases of the staff's work: changes, their audit entries and keys, and the rights of users.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use domain::admin::{
    AuditCursor, AuditEntry, AuditFilter, Change, ChangeAnswer, ChangeEncoder, ChangeError, ChangeKey, ChangeOrigin,
    ChangeRefusal, ChangeRequest, Changed, Edit, Fields, ManagedUser, ObjectKind, StaffBookingFilter, UserAccess,
    UserAccessChange, UserCursor, UserFilter,
};
use domain::booking::{
    Action, CommandError, Fingerprint, IdempotencyKey, KeyName, Refusal, Scope, ShowBooking, StaffAct,
};
use domain::catalog::{
    Certificate, CleaningTime, Description, Genres, Hall, HallChange, HallCursor, HallDetails, HallFilter,
    LanguageName, Location, Movie, MovieChange, MovieDetails, MovieFilter, PlaceName, PosterUrl, ReleaseDate, Theatre,
    TheatreChange, TheatreCursor, TheatreDetails, TheatreFilter, Title,
};
use domain::identity::{Bearer, Email, NewUser, Role, UserStoreError};
use domain::ids::{BookingId, HallId, MovieId, PriceListId, TheatreId, TicketTypeId, UserId};
use domain::money::{Currency, TaxRate};
use domain::pricing::{
    ManagedPriceList, ManagedTicketType, PriceList, PriceListCursor, PriceListDetails, PriceListFilter, PriceRule,
    PriceRuleName, TicketTypeChange, TicketTypeCode, TicketTypeCursor, TicketTypeDetails, TicketTypeNames,
};
use domain::retention::RetentionRule;
use domain::seating::CategoryPrice;
use domain::text::fold;
use futures::FutureExt as _;
use futures::future::join_all;

use crate::Fixture;
use crate::tools::{SIMPLE, book, booked, command, first_page, paged, sell};
use crate::world::{ALPHA, AMELIE, BETA, STALKER, World, customer, in_session, new_user, password_hash};

/// Encodes an object as its debug text.
struct DebugEncoder;

impl ChangeEncoder for DebugEncoder {
    fn encode(&self, changed: &Changed) -> Vec<u8> {
        format!("{changed:?}").into_bytes()
    }
}

/// Signs up a user with this role, who works for these theatres.
async fn user_with(fixture: &dyn Fixture, role: Role, theatres: &[TheatreId]) -> Bearer {
    let caller = customer(fixture).await;
    let id = caller.user_id;
    fixture.execute(&format!("UPDATE users SET role = '{}' WHERE id = {id}", role.as_str())).await;
    for theatre in theatres {
        fixture.execute(&format!("INSERT INTO staff_theatres (user_id, theatre_id) VALUES ({id}, {theatre})")).await;
    }
    Bearer { caller, session_id: None }
}

pub(crate) async fn admin(fixture: &dyn Fixture) -> Bearer {
    user_with(fixture, Role::Admin, &[]).await
}

/// Returns a request with a key, unless `key` is empty. Requests with equal keys and different `body` are different requests.
fn request(bearer: Bearer, key: &str, body: u8) -> ChangeRequest {
    let key = (!key.is_empty()).then(|| ChangeKey {
        name: KeyName {
            user_id: bearer.caller.user_id,
            scope: Scope("POST /api/admin/movies".into()),
            key: IdempotencyKey::parse(key).unwrap(),
        },
        fingerprint: Fingerprint([body; 32]),
    });
    let origin = ChangeOrigin { request_id: "request-1".into(), address: "192.0.2.7".into() };
    ChangeRequest { bearer, key, origin }
}

pub(crate) async fn apply(fixture: &dyn Fixture, bearer: Bearer, change: &Change) -> Result<ChangeAnswer, ChangeError> {
    apply_as(fixture, &request(bearer, "", 0), change).await
}

async fn apply_as(
    fixture: &dyn Fixture,
    request: &ChangeRequest,
    change: &Change,
) -> Result<ChangeAnswer, ChangeError> {
    fixture.stores().changes.apply(request, change, Arc::new(DebugEncoder)).await
}

#[track_caller]
pub(crate) fn refused(outcome: Result<ChangeAnswer, ChangeError>, expected: ChangeRefusal) {
    assert!(matches!(&outcome, Err(ChangeError::Refused(refusal)) if *refusal == expected), "{outcome:?}");
}

#[track_caller]
fn stale(outcome: Result<ChangeAnswer, ChangeError>) {
    assert!(matches!(outcome, Err(ChangeError::Stale)), "{outcome:?}");
}

#[track_caller]
fn forbidden(outcome: Result<ChangeAnswer, ChangeError>) {
    assert!(matches!(outcome, Err(ChangeError::Forbidden)), "{outcome:?}");
}

fn movie_details(title: &str) -> MovieDetails {
    MovieDetails {
        title: Title::parse(title).unwrap(),
        description: Description::parse("Two lines,\nwith Ä.").unwrap(),
        duration: domain::catalog::Duration::parse(161).unwrap(),
        genres: Genres::parse(&["Drama", "Sci-Fi"]).unwrap(),
        language: LanguageName::parse("Русский").unwrap(),
        certificate: Certificate::parse("12").unwrap(),
        poster_url: Some(PosterUrl::parse("https://example.org/poster.jpg").unwrap()),
        release_date: ReleaseDate::parse("1979-05-25".parse().unwrap()).unwrap(),
    }
}

fn theatre_details(name: &str) -> TheatreDetails {
    TheatreDetails {
        name: PlaceName::parse(name).unwrap(),
        location: Location::parse("Main street 1").unwrap(),
        timezone: chrono_tz::Europe::Paris,
        currency: Currency::parse("EUR").unwrap(),
        tax_rate: TaxRate::parse("5.50").unwrap(),
        cleaning_time: CleaningTime::parse(20).unwrap(),
    }
}

async fn movie(fixture: &dyn Fixture, id: i64) -> Movie {
    fixture.stores().catalog.movie(MovieId(id)).await.unwrap().unwrap()
}

async fn theatre(fixture: &dyn Fixture, id: i64) -> Theatre {
    fixture.stores().catalog.theatre(TheatreId(id)).await.unwrap().unwrap()
}

pub(crate) async fn hall(fixture: &dyn Fixture, id: i64) -> Hall {
    fixture.stores().catalog.hall(HallId(id)).await.unwrap().unwrap()
}

async fn user(fixture: &dyn Fixture, id: UserId) -> ManagedUser {
    fixture.stores().staff.user(id).await.unwrap().unwrap()
}

async fn id_of(fixture: &dyn Fixture, table: &str, column: &str, name: &str) -> i64 {
    fixture.count(&format!("SELECT id FROM {table} WHERE {column} = '{name}'")).await
}

pub(crate) async fn entries(fixture: &dyn Fixture, filter: &AuditFilter) -> Vec<AuditEntry> {
    let list = async |page: &_| fixture.stores().audit.entries(filter, page).await.unwrap();
    paged(list, |entry| AuditCursor(entry.id)).await
}

async fn rows(fixture: &dyn Fixture, table: &str) -> i64 {
    fixture.count(&format!("SELECT count(*) FROM {table}")).await
}

/// Returns the texts of one field before and after a change.
fn changed_field<'entry>(entry: &'entry AuditEntry, name: &str) -> (Option<&'entry str>, Option<&'entry str>) {
    let value = |fields: &'entry Fields| fields.0.get(name).map(String::as_str);
    (value(&entry.before), value(&entry.after))
}

/// A movie has the details that staff set, is found by them, and each change increases its version. A retired movie leaves the public lists.
pub async fn movie_is_created_changed_and_retired(fixture: &dyn Fixture) {
    let admin = admin(fixture).await;
    let created = apply(fixture, admin, &Change::Movie(Edit::Create(movie_details("Solaris")))).await.unwrap();
    let first = movie(fixture, created.object_id).await;
    assert_eq!((created.version, first.version, first.retired_at), (1, 1, None));
    assert_eq!(MovieChange::default().apply(&first), movie_details("Solaris"));
    assert_eq!(created.body.as_ref(), format!("{:?}", Changed::Movie(first.clone())).as_bytes());
    let change = MovieChange {
        title: Some(Title::parse("Zerkalo").unwrap()),
        poster_url: Some(None),
        genres: Some(Genres::parse(&["Poetry"]).unwrap()),
        ..MovieChange::default()
    };
    let after = change.apply(&first);
    let edit = Edit::Update { before: first.clone(), after: after.clone() };
    let updated = apply(fixture, admin, &Change::Movie(edit)).await.unwrap();
    let second = movie(fixture, created.object_id).await;
    assert_eq!((updated.version, second.version), (2, 2));
    assert_eq!(MovieChange::default().apply(&second), after);
    assert!(second.updated_at >= first.updated_at && second.created_at == first.created_at);
    let listed = async |search: &str, genre: Option<&str>, retired: bool| {
        let filter =
            MovieFilter { search: Some(fold(search)), genre: genre.map(fold), retired, ..MovieFilter::default() };
        fixture.stores().catalog.movies(&filter, &first_page(10)).await.unwrap().len()
    };
    assert_eq!((listed("solaris", None, true).await, listed("ZERKALO", Some("poetry"), false).await), (0, 1));
    apply(fixture, admin, &Change::Movie(Edit::Retire(second))).await.unwrap();
    let retired = movie(fixture, created.object_id).await;
    assert!(retired.retired_at.is_some() && retired.version == 3);
    assert_eq!((listed("zerkalo", None, false).await, listed("zerkalo", None, true).await), (0, 1));
    let again = apply(fixture, admin, &Change::Movie(Edit::Retire(retired.clone()))).await.unwrap();
    assert_eq!((again.version, movie(fixture, created.object_id).await), (3, retired));
    // Retiring it again changed nothing, so it has no entry.
    assert_eq!(rows(fixture, "audit_log").await, 3);
}

/// A theatre and its halls have the details that staff set. Retired ones leave the public lists.
pub async fn theatre_and_hall_are_created_changed_and_retired(fixture: &dyn Fixture) {
    let admin = admin(fixture).await;
    let created = apply(fixture, admin, &Change::Theatre(Edit::Create(theatre_details("Rex")))).await.unwrap();
    let id = created.object_id;
    let first = theatre(fixture, id).await;
    assert_eq!(TheatreChange::default().apply(&first), theatre_details("Rex"));
    let after = TheatreDetails { name: PlaceName::parse("Régina").unwrap(), ..theatre_details("Rex") };
    let edit = Edit::Update { before: first, after: after.clone() };
    apply(fixture, admin, &Change::Theatre(edit)).await.unwrap();
    let second = theatre(fixture, id).await;
    assert_eq!((TheatreChange::default().apply(&second), second.version), (after, 2));
    let mut ids = Vec::new();
    for name in ["Grande", "Petite"] {
        let details = HallDetails { theatre_id: TheatreId(id), name: PlaceName::parse(name).unwrap() };
        let created = apply(fixture, admin, &Change::Hall(Edit::Create(details))).await.unwrap();
        ids.push(created.object_id);
    }
    let names =
        async || -> Vec<String> { theatre(fixture, id).await.halls.into_iter().map(|hall| hall.name).collect() };
    assert_eq!(names().await, ["Grande", "Petite"]);
    let before = hall(fixture, ids[0]).await;
    assert_eq!((before.theatre_id, before.seats_total, before.version), (TheatreId(id), 0, 1));
    let after = HallChange { name: Some(PlaceName::parse("Énorme").unwrap()) }.apply(&before);
    apply(fixture, admin, &Change::Hall(Edit::Update { before, after })).await.unwrap();
    apply(fixture, admin, &Change::Hall(Edit::Retire(hall(fixture, ids[1]).await))).await.unwrap();
    assert_eq!(names().await, ["Énorme"]);
    assert!(hall(fixture, ids[1]).await.retired_at.is_some());
    let filter = |search: &str, retired| TheatreFilter { search: Some(fold(search)), among: None, retired };
    let found =
        async |filter: TheatreFilter| fixture.stores().catalog.theatres(&filter, &first_page(10)).await.unwrap().len();
    assert_eq!((found(filter("rÉg", false)).await, found(filter("rex", true)).await), (1, 0));
    apply(fixture, admin, &Change::Theatre(Edit::Retire(theatre(fixture, id).await))).await.unwrap();
    assert_eq!((found(filter("régina", false)).await, found(filter("régina", true)).await), (0, 1));
    let details = HallDetails { theatre_id: TheatreId(id), name: PlaceName::parse("Troisième").unwrap() };
    let outcome = apply(fixture, admin, &Change::Hall(Edit::Create(details))).await;
    refused(outcome, ChangeRefusal::TheatreNotFound);
}

/// Halls are ordered by name and paged, with the filters of a theatre and of a name.
pub async fn halls_are_ordered_by_name_and_filtered(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let names = async |filter: HallFilter| -> Vec<String> {
        let list = async |page: &_| fixture.stores().catalog.halls(&filter, page).await.unwrap();
        let halls = paged(list, |hall: &Hall| HallCursor { name: hall.name.clone(), id: hall.id }).await;
        halls.into_iter().map(|hall| hall.name).collect()
    };
    assert_eq!(names(HallFilter::default()).await, ["Main", "Main", "Small"]);
    let beta = TheatreId(id_of(fixture, "theatres", "name", BETA).await);
    assert_eq!(names(HallFilter { theatres: Some(vec![beta]), search: None }).await, ["Main"]);
    assert_eq!(names(HallFilter { theatres: Some(Vec::new()), search: None }).await, [""; 0]);
    assert_eq!(names(HallFilter { theatres: None, search: Some(fold("SMA")) }).await, ["Small"]);
    let theatres = async |among: Option<Vec<TheatreId>>| -> Vec<String> {
        let filter = TheatreFilter { among, ..TheatreFilter::default() };
        let list = async |page: &_| fixture.stores().catalog.theatres(&filter, page).await.unwrap();
        let theatres = paged(list, |theatre: &Theatre| TheatreCursor { name: theatre.name.clone(), id: theatre.id });
        theatres.await.into_iter().map(|theatre| theatre.name).collect()
    };
    assert_eq!(theatres(None).await, [ALPHA, BETA]);
    assert_eq!(theatres(Some(vec![beta])).await, [BETA]);
    assert_eq!(theatres(Some(Vec::new())).await, [""; 0]);
}

fn ticket_type_details(code: &str, position: i32) -> TicketTypeDetails {
    let names = [("de", "Ermäßigt"), ("en", code)].map(|(tag, name)| (tag.to_owned(), name.to_owned()));
    TicketTypeDetails {
        code: TicketTypeCode::parse(code).unwrap(),
        names: TicketTypeNames::parse(names).unwrap(),
        needs_proof: true,
        position,
    }
}

async fn ticket_type(fixture: &dyn Fixture, id: i64) -> ManagedTicketType {
    fixture.stores().prices.ticket_type(TicketTypeId(id)).await.unwrap().unwrap()
}

/// A ticket type has what staff set. Its code is unique, also among retired ones.
pub async fn ticket_type_is_created_changed_and_retired(fixture: &dyn Fixture) {
    let admin = admin(fixture).await;
    let create = Change::TicketType(Edit::Create(ticket_type_details("student", 5)));
    let created = apply(fixture, admin, &create).await.unwrap();
    let first = ticket_type(fixture, created.object_id).await;
    assert_eq!((created.version, first.version, first.retired_at), (1, 1, None));
    assert_eq!(TicketTypeChange::default().apply(&first), ticket_type_details("student", 5));
    assert_eq!(created.body.as_ref(), format!("{:?}", Changed::TicketType(first.clone())).as_bytes());
    let change = TicketTypeChange { needs_proof: Some(false), position: Some(7), ..TicketTypeChange::default() };
    let after = change.apply(&first);
    let update = Change::TicketType(Edit::Update { before: first.clone(), after: after.clone() });
    apply(fixture, admin, &update).await.unwrap();
    stale(apply(fixture, admin, &update).await);
    let second = ticket_type(fixture, created.object_id).await;
    assert_eq!((TicketTypeChange::default().apply(&second), second.version), (after, 2));
    stale(apply(fixture, admin, &Change::TicketType(Edit::Retire(first))).await);
    apply(fixture, admin, &Change::TicketType(Edit::Retire(second))).await.unwrap();
    let retired = ticket_type(fixture, created.object_id).await;
    assert!(retired.retired_at.is_some() && retired.version == 3);
    apply(fixture, admin, &Change::TicketType(Edit::Retire(retired.clone()))).await.unwrap();
    assert_eq!(ticket_type(fixture, created.object_id).await, retired);
    refused(apply(fixture, admin, &create).await, ChangeRefusal::NameTaken);
    let staff = user_with(fixture, Role::Staff, &[]).await;
    forbidden(apply(fixture, staff, &Change::TicketType(Edit::Create(ticket_type_details("senior", 1)))).await);
    assert_eq!(fixture.stores().prices.ticket_type(TicketTypeId(987_654)).await.unwrap(), None);
}

/// Ticket types are ordered by position, then code, paged, and found by code or name in any case.
pub async fn ticket_types_are_ordered_and_searched(fixture: &dyn Fixture) {
    let admin = admin(fixture).await;
    for (code, position) in [("student", 5), ("child", 5), ("senior", 2)] {
        apply(fixture, admin, &Change::TicketType(Edit::Create(ticket_type_details(code, position)))).await.unwrap();
    }
    let codes = async |search: Option<&str>| -> Vec<String> {
        let list = async |page: &_| fixture.stores().prices.ticket_types(search.map(fold), page).await.unwrap();
        let place = |found: &ManagedTicketType| TicketTypeCursor { position: found.position, code: found.code.clone() };
        paged(list, place).await.into_iter().map(|found| found.code.as_str().to_owned()).collect()
    };
    assert_eq!(codes(None).await, ["adult", "senior", "child", "student"]);
    assert_eq!(codes(Some("ERMÄSSIGT")).await, ["senior", "child", "student"]);
    assert_eq!((codes(Some("STUD")).await, codes(Some("Adult")).await), (vec!["student".into()], vec!["adult".into()]));
    assert_eq!(codes(Some("_")).await, [""; 0]);
}

/// Returns a list with every kind of condition.
fn price_list_details(theatre: TheatreId, name: &str) -> PriceListDetails {
    let child =
        CategoryPrice { category: "standard".into(), ticket_type: TicketTypeCode::parse("child").unwrap(), minor: 0 };
    let whole = PriceRule {
        name: Some(PriceRuleName::parse("Käfer \"1\"").unwrap()),
        weekdays: [chrono::Weekday::Fri, chrono::Weekday::Sun].into_iter().collect(),
        from_date: "2026-12-24".parse().ok(),
        to_date: "2027-01-06".parse().ok(),
        from_time: chrono::NaiveTime::from_hms_opt(22, 0, 0),
        to_time: chrono::NaiveTime::from_hms_opt(2, 30, 0),
        prices: vec![child, CategoryPrice::adult("Loge à deux", 10_000_000)],
    };
    let (from_date, to_date, from_time, to_time) = (None, None, None, None);
    let weekdays = chrono::WeekdaySet::ALL;
    let always = PriceRule { name: None, weekdays, from_date, to_date, from_time, to_time, prices: Vec::new() };
    let base = vec![CategoryPrice::adult("standard", 1_250), CategoryPrice::adult("Loge à deux", 2_500)];
    let list = PriceList::new(theatre, Currency::parse("EUR").unwrap(), base, vec![whole, always]).unwrap();
    PriceListDetails { name: PlaceName::parse(name).unwrap(), list }
}

async fn price_list(fixture: &dyn Fixture, id: i64) -> ManagedPriceList {
    fixture.stores().prices.price_list(PriceListId(id)).await.unwrap().unwrap()
}

async fn new_theatre(fixture: &dyn Fixture, name: &str) -> TheatreId {
    let create = Change::Theatre(Edit::Create(theatre_details(name)));
    TheatreId(apply(fixture, admin(fixture).await, &create).await.unwrap().object_id)
}

/// A price list has what staff set. Its name is unique in the theatre.
pub async fn price_list_is_created_changed_and_retired(fixture: &dyn Fixture) {
    let (rex, lux) = (new_theatre(fixture, "Rex").await, new_theatre(fixture, "Lux").await);
    let (staff, elsewhere) =
        (user_with(fixture, Role::Staff, &[rex]).await, user_with(fixture, Role::Staff, &[lux]).await);
    let create = |theatre, name: &str| Change::PriceList(Edit::Create(price_list_details(theatre, name)));
    let created = apply(fixture, staff, &create(rex, "Standard")).await.unwrap();
    let first = price_list(fixture, created.object_id).await;
    assert_eq!((created.version, first.version, first.retired_at), (1, 1, None));
    assert_eq!((first.name.as_str(), &first.list), ("Standard", &price_list_details(rex, "Any").list));
    assert_eq!(created.body.as_ref(), format!("{:?}", Changed::PriceList(first.clone())).as_bytes());
    forbidden(apply(fixture, elsewhere, &create(rex, "Other")).await);
    refused(apply(fixture, staff, &create(rex, "Standard")).await, ChangeRefusal::NameTaken);
    apply(fixture, elsewhere, &create(lux, "Standard")).await.unwrap();
    let second = apply(fixture, staff, &create(rex, "Second")).await.unwrap().object_id;
    let cheap = PriceList::new(rex, first.list.currency(), vec![CategoryPrice::adult("standard", 1)], Vec::new());
    let after = PriceListDetails { name: PlaceName::parse("Cheap").unwrap(), list: cheap.unwrap() };
    let update = Change::PriceList(Edit::Update { before: first.clone(), after: after.clone() });
    forbidden(apply(fixture, elsewhere, &update).await);
    apply(fixture, staff, &update).await.unwrap();
    stale(apply(fixture, staff, &update).await);
    let changed = price_list(fixture, created.object_id).await;
    assert_eq!((changed.name.as_str(), &changed.list, changed.version), ("Cheap", &after.list, 2));
    let before = price_list(fixture, second).await;
    refused(apply(fixture, staff, &Change::PriceList(Edit::Update { before, after })).await, ChangeRefusal::NameTaken);
    stale(apply(fixture, staff, &Change::PriceList(Edit::Retire(first))).await);
    apply(fixture, staff, &Change::PriceList(Edit::Retire(changed))).await.unwrap();
    let retired = price_list(fixture, created.object_id).await;
    assert!(retired.retired_at.is_some() && retired.version == 3);
    apply(fixture, staff, &Change::PriceList(Edit::Retire(retired.clone()))).await.unwrap();
    assert_eq!(price_list(fixture, created.object_id).await, retired);
    assert_eq!(fixture.stores().prices.price_list(PriceListId(987_654)).await.unwrap(), None);
    let admin = admin(fixture).await;
    apply(fixture, admin, &Change::Theatre(Edit::Retire(theatre(fixture, lux.0).await))).await.unwrap();
    refused(apply(fixture, admin, &create(lux, "Late")).await, ChangeRefusal::TheatreNotFound);
    refused(apply(fixture, admin, &create(TheatreId(987_654), "Late")).await, ChangeRefusal::TheatreNotFound);
}

/// Price lists are ordered by name and paged, with the filters of theatres and of a name.
pub async fn price_lists_are_ordered_and_filtered(fixture: &dyn Fixture) {
    let (rex, lux) = (new_theatre(fixture, "Rex").await, new_theatre(fixture, "Lux").await);
    let admin = admin(fixture).await;
    for (theatre, name) in [(rex, "Standard"), (rex, "Été"), (lux, "Standard")] {
        apply(fixture, admin, &Change::PriceList(Edit::Create(price_list_details(theatre, name)))).await.unwrap();
    }
    let found = async |theatres: Option<Vec<TheatreId>>, search: Option<&str>| -> Vec<(String, TheatreId)> {
        let filter = PriceListFilter { theatres, search: search.map(fold) };
        let list = async |page: &_| fixture.stores().prices.price_lists(&filter, page).await.unwrap();
        let place = |list: &ManagedPriceList| PriceListCursor { name: list.name.clone(), id: list.id };
        paged(list, place).await.into_iter().map(|list| (list.name, list.list.theatre_id())).collect()
    };
    let named = |name: &str, theatre| (name.to_owned(), theatre);
    let all = [named("Standard", rex), named("Standard", lux), named("Été", rex)];
    assert_eq!(found(None, None).await, all);
    assert_eq!(found(Some(vec![lux]), None).await, all[1..2]);
    assert_eq!(found(Some(Vec::new()), None).await, []);
    assert_eq!(found(None, Some("ÉT")).await, all[2..]);
    assert_eq!(found(Some(vec![lux]), Some("été")).await, []);
}

/// The currency of a theatre does not change while it has a price list that is not retired.
pub async fn currency_of_a_theatre_with_price_lists_stays(fixture: &dyn Fixture) {
    let (rex, admin) = (new_theatre(fixture, "Rex").await, admin(fixture).await);
    let create = Change::PriceList(Edit::Create(price_list_details(rex, "Standard")));
    let created = apply(fixture, admin, &create).await.unwrap().object_id;
    let before = theatre(fixture, rex.0).await;
    let change = TheatreChange { currency: Currency::parse("CHF").ok(), ..TheatreChange::default() };
    let update = Change::Theatre(Edit::Update { after: change.apply(&before), before: before.clone() });
    refused(apply(fixture, admin, &update).await, ChangeRefusal::HasPriceLists);
    assert_eq!(theatre(fixture, rex.0).await, before);
    apply(fixture, admin, &Change::PriceList(Edit::Retire(price_list(fixture, created).await))).await.unwrap();
    apply(fixture, admin, &update).await.unwrap();
    assert_eq!(price_list(fixture, created).await.list.currency().code(), "EUR");
    // Computed before the currency changed.
    stale(apply(fixture, admin, &Change::PriceList(Edit::Create(price_list_details(rex, "Late")))).await);
}

/// A list whose content cannot be read is left out of lists, and reading it alone is an error.
pub async fn unreadable_price_list_is_left_out(fixture: &dyn Fixture) {
    let (rex, admin) = (new_theatre(fixture, "Rex").await, admin(fixture).await);
    let mut ids = Vec::new();
    for name in ["A", "B"] {
        let create = Change::PriceList(Edit::Create(price_list_details(rex, name)));
        ids.push(apply(fixture, admin, &create).await.unwrap().object_id);
    }
    for content in
        ["{}", r#"{"prices":[],"rules":[]}"#, r#"{"prices":[{"category":"a","ticket_type":"A","minor":1}],"rules":[]}"#]
    {
        fixture.execute(&format!("UPDATE price_lists SET content = '{content}' WHERE id = {}", ids[0])).await;
        let found = fixture.stores().prices.price_lists(&PriceListFilter::default(), &first_page(10)).await.unwrap();
        assert_eq!(found.iter().map(|list| list.id.0).collect::<Vec<_>>(), ids[1..]);
        assert!(fixture.stores().prices.price_list(PriceListId(ids[0])).await.is_err());
    }
}

/// A change of another version than the current one changes nothing, and writes no audit entry.
pub async fn stale_change_changes_nothing(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let admin = admin(fixture).await;
    let before = movie(fixture, id_of(fixture, "movies", "title", STALKER).await).await;
    let update = |title: &str| {
        let change = MovieChange { title: Some(Title::parse(title).unwrap()), ..MovieChange::default() };
        Change::Movie(Edit::Update { before: before.clone(), after: change.apply(&before) })
    };
    apply(fixture, admin, &update("First")).await.unwrap();
    stale(apply(fixture, admin, &update("Second")).await);
    assert_eq!(movie(fixture, before.id.0).await.title, "First");
    let old_hall = hall(fixture, id_of(fixture, "halls", "name", "Small").await).await;
    let renamed = HallChange { name: Some(PlaceName::parse("Tiny").unwrap()) }.apply(&old_hall);
    let edit = Edit::Update { before: Hall { version: 7, ..old_hall.clone() }, after: renamed };
    stale(apply(fixture, admin, &Change::Hall(edit)).await);
    let old_theatre = theatre(fixture, old_hall.theatre_id.0).await;
    let edit = Edit::Retire(Theatre { version: 7, ..old_theatre });
    stale(apply(fixture, admin, &Change::Theatre(edit)).await);
    let ana = customer(fixture).await;
    let before = ManagedUser { version: 7, ..user(fixture, ana.user_id).await };
    let after = UserAccessChange { disabled: Some(true), ..UserAccessChange::default() }.apply(&before.access);
    stale(apply(fixture, admin, &Change::User { before, after }).await);
    assert_eq!(rows(fixture, "audit_log").await, 1);
}

/// Of ten concurrent changes of one version, one succeeds.
pub async fn of_ten_concurrent_changes_of_one_version_one_succeeds(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let admin = admin(fixture).await;
    let before = movie(fixture, id_of(fixture, "movies", "title", AMELIE).await).await;
    let changes: Vec<_> = (0..10)
        .map(|number| {
            let title = Some(Title::parse(&format!("Title {number}")).unwrap());
            let after = MovieChange { title, ..MovieChange::default() }.apply(&before);
            Change::Movie(Edit::Update { before: before.clone(), after })
        })
        .collect();
    let outcomes = join_all(changes.iter().map(|change| apply(fixture, admin, change))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!((movie(fixture, before.id.0).await.version, rows(fixture, "audit_log").await), (2, 1));
}

/// A taken name is refused, and the change has no effect.
pub async fn taken_names_are_refused(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let admin = admin(fixture).await;
    refused(
        apply(fixture, admin, &Change::Movie(Edit::Create(movie_details(STALKER)))).await,
        ChangeRefusal::NameTaken,
    );
    let before = movie(fixture, id_of(fixture, "movies", "title", AMELIE).await).await;
    let edit = Edit::Update { before: before.clone(), after: movie_details(STALKER) };
    refused(apply(fixture, admin, &Change::Movie(edit)).await, ChangeRefusal::NameTaken);
    assert_eq!(movie(fixture, before.id.0).await, before);
    refused(
        apply(fixture, admin, &Change::Theatre(Edit::Create(theatre_details(BETA)))).await,
        ChangeRefusal::NameTaken,
    );
    let alpha = TheatreId(id_of(fixture, "theatres", "name", ALPHA).await);
    let details = HallDetails { theatre_id: alpha, name: PlaceName::parse("Small").unwrap() };
    refused(apply(fixture, admin, &Change::Hall(Edit::Create(details.clone()))).await, ChangeRefusal::NameTaken);
    // Another theatre may have a hall of that name.
    let beta = TheatreId(id_of(fixture, "theatres", "name", BETA).await);
    apply(fixture, admin, &Change::Hall(Edit::Create(HallDetails { theatre_id: beta, ..details }))).await.unwrap();
    let unknown = HallDetails { theatre_id: TheatreId(987_654), name: PlaceName::parse("Small").unwrap() };
    refused(apply(fixture, admin, &Change::Hall(Edit::Create(unknown))).await, ChangeRefusal::TheatreNotFound);
    assert_eq!(rows(fixture, "audit_log").await, 1);
}

/// An object with a scheduled show that has not ended is not retired, and the terms of its theatre stay.
pub async fn objects_with_upcoming_shows_are_not_retired(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let admin = admin(fixture).await;
    let stalker = movie(fixture, id_of(fixture, "movies", "title", STALKER).await).await;
    let small = hall(fixture, id_of(fixture, "halls", "name", "Small").await).await;
    let alpha = theatre(fixture, small.theatre_id.0).await;
    let in_use = |kind| ChangeRefusal::InUse(kind);
    let retire_movie = Change::Movie(Edit::Retire(stalker));
    let retire_hall = Change::Hall(Edit::Retire(small));
    let moved = TheatreDetails { timezone: chrono_tz::Asia::Tokyo, ..TheatreChange::default().apply(&alpha) };
    let move_theatre = Change::Theatre(Edit::Update { before: alpha.clone(), after: moved });
    refused(apply(fixture, admin, &retire_movie).await, in_use(ObjectKind::Movie));
    refused(apply(fixture, admin, &retire_hall).await, in_use(ObjectKind::Hall));
    refused(apply(fixture, admin, &move_theatre).await, in_use(ObjectKind::Theatre));
    refused(apply(fixture, admin, &Change::Theatre(Edit::Retire(alpha.clone()))).await, in_use(ObjectKind::Theatre));
    // Other terms may change.
    let taxed = TheatreDetails { tax_rate: TaxRate::ZERO, ..TheatreChange::default().apply(&alpha) };
    apply(fixture, admin, &Change::Theatre(Edit::Update { before: alpha.clone(), after: taxed })).await.unwrap();
    fixture.execute("UPDATE shows SET status = 'cancelled' WHERE format <> 'started'").await;
    refused(apply(fixture, admin, &retire_movie).await, in_use(ObjectKind::Movie));
    let (ended, began) = (fixture.instant(-60), fixture.instant(-7_200));
    let times = format!("start_time = {began}, end_time = {ended}, hall_free_at = {ended}");
    fixture.execute(&format!("UPDATE shows SET {times} WHERE id = {}", world.started)).await;
    for change in [&retire_movie, &retire_hall] {
        apply(fixture, admin, change).await.unwrap();
    }
    let alpha = theatre(fixture, alpha.id.0).await;
    apply(fixture, admin, &Change::Theatre(Edit::Retire(alpha))).await.unwrap();
}

/// The store checks session and rights in the transaction of the change.
pub async fn change_requires_its_authority(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let (alpha, beta) =
        (id_of(fixture, "theatres", "name", ALPHA).await, id_of(fixture, "theatres", "name", BETA).await);
    let ana = Bearer { caller: customer(fixture).await, session_id: None };
    let elsewhere = user_with(fixture, Role::Staff, &[TheatreId(beta)]).await;
    let staff = user_with(fixture, Role::Staff, &[TheatreId(alpha)]).await;
    let admin = admin(fixture).await;
    let new_movie = Change::Movie(Edit::Create(movie_details("Solaris")));
    let new_hall = |name: &str| {
        let name = PlaceName::parse(name).unwrap();
        Change::Hall(Edit::Create(HallDetails { theatre_id: TheatreId(alpha), name }))
    };
    for bearer in [ana, elsewhere, staff] {
        forbidden(apply(fixture, bearer, &new_movie).await);
    }
    for bearer in [ana, elsewhere] {
        forbidden(apply(fixture, bearer, &new_hall("New")).await);
    }
    apply(fixture, staff, &new_hall("New")).await.unwrap();
    apply(fixture, admin, &new_hall("Newer")).await.unwrap();
    let session = in_session(fixture, admin.caller, 1).await;
    fixture.stores().sessions.end_one(admin.caller.user_id, session.session_id.unwrap()).await.unwrap();
    assert!(matches!(apply(fixture, session, &new_movie).await, Err(ChangeError::SessionEnded)));
    fixture.execute(&format!("UPDATE users SET session_generation = 9 WHERE id = {}", admin.caller.user_id)).await;
    assert!(matches!(apply(fixture, admin, &new_movie).await, Err(ChangeError::SessionEnded)));
    assert_eq!((rows(fixture, "audit_log").await, rows(fixture, "movies").await), (2, 2));
}

/// Rights are read as they are now, and only for a session that lasts.
pub async fn rights_are_read_as_committed(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let beta = TheatreId(id_of(fixture, "theatres", "name", BETA).await);
    let staff = user_with(fixture, Role::Staff, &[beta]).await;
    let member = fixture.stores().staff.member(&staff).await.unwrap().unwrap();
    assert_eq!((member.role, member.theatres), (Role::Staff, BTreeSet::from([beta])));
    let session = in_session(fixture, staff.caller, 1).await;
    assert!(fixture.stores().staff.member(&session).await.unwrap().is_some());
    fixture.stores().sessions.end_one(staff.caller.user_id, session.session_id.unwrap()).await.unwrap();
    assert_eq!(fixture.stores().staff.member(&session).await.unwrap(), None);
    fixture.execute(&format!("UPDATE users SET role = 'customer' WHERE id = {}", staff.caller.user_id)).await;
    assert_eq!(fixture.stores().staff.member(&staff).await.unwrap().unwrap().role, Role::Customer);
}

/// A change is made once for its key; the same request again gets the same bytes, another request is refused.
pub async fn change_with_a_key_is_made_once(fixture: &dyn Fixture) {
    let admin = admin(fixture).await;
    let create = |title: &str| Change::Movie(Edit::Create(movie_details(title)));
    let first = apply_as(fixture, &request(admin, "k", 1), &create("Solaris")).await.unwrap();
    assert!(!first.replayed);
    let again = apply_as(fixture, &request(admin, "k", 1), &create("Solaris")).await.unwrap();
    assert_eq!(again, ChangeAnswer { replayed: true, ..first.clone() });
    let reused = apply_as(fixture, &request(admin, "k", 2), &create("Zerkalo")).await;
    assert!(matches!(reused, Err(ChangeError::KeyReused)), "{reused:?}");
    let ChangeKey { name, fingerprint } = request(admin, "k", 1).key.unwrap();
    let stored = fixture.stores().changes.stored(&name).await.unwrap().unwrap();
    assert_eq!(stored.replay(fingerprint).unwrap().body, first.body);
    let other = KeyName { key: IdempotencyKey::parse("other").unwrap(), ..name };
    assert_eq!(fixture.stores().changes.stored(&other).await.unwrap(), None);
    // A refusal leaves the key free.
    refused(apply_as(fixture, &request(admin, "free", 1), &create("Solaris")).await, ChangeRefusal::NameTaken);
    apply_as(fixture, &request(admin, "free", 2), &create("Zerkalo")).await.unwrap();
    assert_eq!((rows(fixture, "movies").await, rows(fixture, "audit_log").await), (2, 2));
}

/// Ten concurrent requests with one key make one change.
pub async fn concurrent_changes_with_one_key_are_one(fixture: &dyn Fixture) {
    let admin = admin(fixture).await;
    let change = Change::Movie(Edit::Create(movie_details("Solaris")));
    let requests: Vec<_> = (0..10).map(|_| request(admin, "k", 1)).collect();
    let answers = join_all(requests.iter().map(|request| apply_as(fixture, request, &change))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!((rows(fixture, "movies").await, rows(fixture, "audit_log").await), (1, 1));
}

/// The audit log has an entry for each change, with actor, origin and the changed fields.
pub async fn audit_log_has_each_change(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let admin = admin(fixture).await;
    let created = apply(fixture, admin, &Change::Movie(Edit::Create(movie_details("Solaris")))).await.unwrap();
    let alpha = theatre(fixture, id_of(fixture, "theatres", "name", ALPHA).await).await;
    let after =
        TheatreDetails { cleaning_time: CleaningTime::parse(5).unwrap(), ..TheatreChange::default().apply(&alpha) };
    apply(fixture, admin, &Change::Theatre(Edit::Update { before: alpha.clone(), after })).await.unwrap();
    let ana = customer(fixture).await;
    let before = user(fixture, ana.user_id).await;
    let access = UserAccess { role: Role::Staff, theatres: BTreeSet::from([alpha.id]), disabled: false };
    apply(fixture, admin, &Change::User { before, after: access }).await.unwrap();
    let all = entries(fixture, &AuditFilter::default()).await;
    let [granted, updated, added] = &all[..] else { panic!("three entries: {all:?}") };
    let facts =
        |entry: &AuditEntry| (entry.action.clone(), entry.object_kind.clone(), entry.object_id, entry.theatre_id);
    assert_eq!(facts(added), ("create".into(), "movie".into(), created.object_id, None));
    assert_eq!(facts(updated), ("update".into(), "theatre".into(), alpha.id.0, Some(alpha.id)));
    assert_eq!(facts(granted), ("update".into(), "user".into(), ana.user_id.0, None));
    assert_eq!(changed_field(added, "title"), (None, Some("Solaris")));
    assert_eq!(changed_field(updated, "cleaning_minutes"), (Some("15"), Some("5")));
    assert_eq!((updated.before.0.len(), updated.after.0.len()), (1, 1));
    assert_eq!(changed_field(granted, "role"), (Some("customer"), Some("staff")));
    for entry in &all {
        let origin = (entry.actor_id, entry.request_id.as_str(), entry.address.as_str());
        assert_eq!(origin, (admin.caller.user_id, "request-1", "192.0.2.7"));
    }
    let of = |filter: AuditFilter| async move { entries(fixture, &filter).await.len() };
    let any = AuditFilter::default;
    assert_eq!(of(AuditFilter { object_kind: Some(ObjectKind::Movie), ..any() }).await, 1);
    assert_eq!(
        of(AuditFilter { object_id: Some(alpha.id.0), object_kind: Some(ObjectKind::Theatre), ..any() }).await,
        1
    );
    assert_eq!(of(AuditFilter { actor_id: Some(ana.user_id), ..any() }).await, 0);
    assert_eq!(of(AuditFilter { theatres: Some(vec![alpha.id]), ..any() }).await, 1);
    assert_eq!(of(AuditFilter { theatres: Some(Vec::new()), ..any() }).await, 0);
    assert_eq!(of(AuditFilter { from: Some(updated.at), ..any() }).await, 2);
    assert_eq!(of(AuditFilter { to: Some(updated.at), ..any() }).await, 1);
}

/// The audit log has the accounts that the command line creates and the passwords that it resets, and no part of a password. A command that
/// changes nothing writes no entry.
pub async fn audit_log_has_changes_of_the_command_line(fixture: &dyn Fixture) {
    let users = &fixture.stores().users;
    let origin = ChangeOrigin::command_line("run-7");
    let new = NewUser { role: Role::Admin, ..new_user("boss@example.org") };
    let boss = users.create_by_operator(&new, &origin).await.unwrap();
    let again = users.create_by_operator(&new, &origin).await;
    assert!(matches!(again, Err(UserStoreError::EmailTaken)), "{again:?}");
    let secret = password_hash("secret");
    users.reset_password(&new.email, &secret, &origin).await.unwrap().unwrap();
    let unknown = Email::parse("nobody@example.org").unwrap();
    assert_eq!(users.reset_password(&unknown, &secret, &origin).await.unwrap(), None);
    let all = entries(fixture, &AuditFilter::default()).await;
    let [reset, created] = &all[..] else { panic!("two entries: {all:?}") };
    for (entry, action) in [(created, "create"), (reset, "update")] {
        assert_eq!((entry.action.as_str(), entry.object_kind.as_str(), entry.object_id), (action, "user", boss.id.0));
        let origin = (entry.actor_id, entry.request_id.as_str(), entry.address.as_str());
        assert_eq!(origin, (boss.id, "run-7", ChangeOrigin::COMMAND_LINE));
        assert_eq!(entry.before, Fields::default());
    }
    assert_eq!(created.after, Fields::default().with("role", "admin").with("disabled", "false"));
    assert_eq!(reset.after, Fields::default().with("password", "reset"));
}

/// The database refuses statements that change or delete an entry.
pub async fn audit_log_is_append_only(fixture: &dyn Fixture) {
    let admin = admin(fixture).await;
    apply(fixture, admin, &Change::Movie(Edit::Create(movie_details("Solaris")))).await.unwrap();
    let before = entries(fixture, &AuditFilter::default()).await;
    for statement in
        ["UPDATE audit_log SET action = 'none'", "DELETE FROM audit_log", "DELETE FROM audit_log WHERE id > 0"]
    {
        let outcome = AssertUnwindSafe(fixture.execute(statement)).catch_unwind().await;
        assert!(outcome.is_err(), "{statement} succeeded");
    }
    assert_eq!(entries(fixture, &AuditFilter::default()).await, before);
}

/// Entries of the audit log, and keys of changes, are deleted once they have reached their retention time, and no younger ones.
pub async fn old_entries_and_staff_keys_are_deleted(fixture: &dyn Fixture) {
    let admin = admin(fixture).await;
    for (number, title) in ["Solaris", "Zerkalo", "Nostalghia"].into_iter().enumerate() {
        let request = request(admin, &format!("k{number}"), 1);
        apply_as(fixture, &request, &Change::Movie(Edit::Create(movie_details(title)))).await.unwrap();
    }
    let sweep = async |what| fixture.stores().retention.sweep(what, Duration::from_secs(3_600), 100).await.unwrap();
    assert_eq!((sweep(RetentionRule::Audit).await, sweep(RetentionRule::StaffKeys).await), (0, 0));
    fixture.execute(&format!("UPDATE staff_keys SET created_at = {} WHERE key = 'k0'", fixture.instant(-3_660))).await;
    // An old entry, inserted as such: the log refuses to change one.
    let columns = "at, actor_id, action, object_kind, object_id, before, after, request_id, address";
    let values = format!(
        "{}, {}, 'create', 'movie', 1, '{{}}', '{{}}', 'r', 'a'",
        fixture.instant(-3_660),
        admin.caller.user_id
    );
    fixture.execute(&format!("INSERT INTO audit_log ({columns}) VALUES ({values})")).await;
    assert_eq!((sweep(RetentionRule::Audit).await, sweep(RetentionRule::StaffKeys).await), (1, 1));
    assert_eq!((sweep(RetentionRule::Audit).await, sweep(RetentionRule::StaffKeys).await), (0, 0));
    assert_eq!((rows(fixture, "audit_log").await, rows(fixture, "staff_keys").await), (3, 2));
}

/// Users have the rights that an administrator sets, are listed with them, and are found by name and address.
pub async fn users_are_listed_and_changed(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let admin = admin(fixture).await;
    let (alpha, beta) = (
        TheatreId(id_of(fixture, "theatres", "name", ALPHA).await),
        TheatreId(id_of(fixture, "theatres", "name", BETA).await),
    );
    let ana = fixture.stores().users.create(&new_user("Costa@Example.org"), None).await.unwrap().user;
    let before = user(fixture, ana.id).await;
    assert_eq!((before.email.as_str(), before.version, before.access.disabled), ("Costa@Example.org", 1, false));
    let access = UserAccess { role: Role::Staff, theatres: BTreeSet::from([alpha, beta]), disabled: false };
    let answer = apply(fixture, admin, &Change::User { before, after: access.clone() }).await.unwrap();
    let after = user(fixture, ana.id).await;
    assert_eq!((answer.version, after.version, &after.access), (2, 2, &access));
    // The session continues until a right is lost.
    assert_eq!(after.session_generation, ana.session_generation);
    let access = UserAccess { theatres: BTreeSet::from([beta]), ..access };
    apply(fixture, admin, &Change::User { before: after.clone(), after: access.clone() }).await.unwrap();
    assert_eq!(user(fixture, ana.id).await.session_generation, ana.session_generation + 1);
    let unknown = UserAccess { theatres: BTreeSet::from([TheatreId(987_654)]), ..access.clone() };
    let before = user(fixture, ana.id).await;
    refused(apply(fixture, admin, &Change::User { before, after: unknown }).await, ChangeRefusal::TheatreNotFound);
    let list = async |filter: UserFilter| -> Vec<ManagedUser> {
        let list = async |page: &_| fixture.stores().staff.users(&filter, page).await.unwrap();
        paged(list, |user: &ManagedUser| UserCursor(user.id)).await
    };
    let all = list(UserFilter::default()).await;
    assert_eq!(all.iter().map(|user| user.id).collect::<Vec<_>>(), [admin.caller.user_id, ana.id]);
    assert_eq!(all[1].access, access);
    let found = async |search: &str| list(UserFilter { search: Some(fold(search)), role: None }).await.len();
    assert_eq!((found("NÚÑEZ").await, found("costa@").await, found("nobody").await, found("%").await), (2, 1, 0, 0));
    assert_eq!(list(UserFilter { search: None, role: Some(Role::Admin) }).await.len(), 1);
    let caller = fixture.stores().users.by_id(ana.id).await.unwrap().unwrap().caller();
    fixture.stores().users.anonymise(&Bearer { caller, session_id: None }).await.unwrap();
    assert_eq!(
        (list(UserFilter::default()).await.len(), fixture.stores().staff.user(ana.id).await.unwrap()),
        (1, None)
    );
}

/// Disabling ends all sessions, and the account is reported as disabled until it is enabled.
pub async fn disabled_user_has_no_session(fixture: &dyn Fixture) {
    let admin = admin(fixture).await;
    let ana = customer(fixture).await;
    let (first, token_less) = (in_session(fixture, ana, 1).await, Bearer { caller: ana, session_id: None });
    let set = async |disabled: bool| {
        let before = user(fixture, ana.user_id).await;
        let after = UserAccess { disabled, ..before.access.clone() };
        apply(fixture, admin, &Change::User { before, after }).await.unwrap()
    };
    set(true).await;
    for bearer in [first, token_less] {
        assert!(!fixture.stores().sessions.lasts(&bearer).await.unwrap());
    }
    let account = fixture.stores().users.account(ana.user_id).await.unwrap().unwrap();
    assert!(account.disabled && account.user.session_generation == ana.session_generation + 1);
    assert!(user(fixture, ana.user_id).await.access.disabled);
    set(true).await;
    let same = fixture.stores().users.account(ana.user_id).await.unwrap().unwrap();
    assert_eq!(same.user.session_generation, account.user.session_generation);
    set(false).await;
    let enabled = fixture.stores().users.account(ana.user_id).await.unwrap().unwrap();
    assert!(!enabled.disabled && !user(fixture, ana.user_id).await.access.disabled);
    in_session(fixture, enabled.user.caller(), 2).await;
}

/// The last administrator who is not disabled keeps the role and stays enabled.
pub async fn last_administrator_stays(fixture: &dyn Fixture) {
    let (first, second) = (admin(fixture).await, admin(fixture).await);
    let demote = async |bearer: Bearer, whom: Bearer| {
        let before = user(fixture, whom.caller.user_id).await;
        let after = UserAccess { role: Role::Customer, ..before.access.clone() };
        apply(fixture, bearer, &Change::User { before, after }).await
    };
    let disable = async |bearer: Bearer, whom: Bearer| {
        let before = user(fixture, whom.caller.user_id).await;
        let after = UserAccess { disabled: true, ..before.access.clone() };
        apply(fixture, bearer, &Change::User { before, after }).await
    };
    // A disabled administrator does not count.
    disable(first, second).await.unwrap();
    refused(demote(first, first).await, ChangeRefusal::LastAdmin);
    refused(disable(first, first).await, ChangeRefusal::LastAdmin);
    let anonymised = fixture.stores().users.anonymise(&first).await;
    assert!(matches!(anonymised, Err(domain::identity::AnonymiseError::LastAdmin)), "{anonymised:?}");
    let third = admin(fixture).await;
    let outcomes = join_all([demote(first, third), demote(third, first)]).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let left = "SELECT count(*) FROM users WHERE role = 'admin' AND disabled_at IS NULL";
    assert_eq!(fixture.count(left).await, 1);
}

/// A cancellation by staff is written with its audit entry, and one that changes nothing writes none.
pub async fn cancellation_by_staff_is_audited(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (ana, staff) = (customer(fixture).await, admin(fixture).await);
    let alpha = TheatreId(id_of(fixture, "theatres", "name", ALPHA).await);
    let act = StaffAct {
        origin: request(staff, "", 0).origin,
        theatre_id: alpha,
        customer: ana.user_id,
        reason: "The projector is broken".into(),
    };
    let cancel = |booking_id| {
        let booking = ShowBooking { show_id: world.soon, booking_id };
        command(staff.caller, Action::CancelFor(booking, act.clone()), "")
    };
    sell(fixture.stores(), SIMPLE, async |sellers| {
        let (id, ..) = booked(&sellers.submit(book(ana, world.soon, &[world.main[0].id], "k")).await);
        let one = fixture.stores().staff_bookings.staff_booking(id).await.unwrap().unwrap();
        assert_eq!((one.theatre_id, one.booking.user_id, one.booking.id), (alpha, ana.user_id, id));
        sellers.submit(cancel(id)).await.unwrap();
        sellers.submit(cancel(id)).await.unwrap();
        let unknown = sellers.submit(cancel(BookingId(987_654))).await;
        assert!(matches!(unknown, Err(CommandError::Refused(Refusal::BookingNotFound))), "{unknown:?}");
    })
    .await;
    let all = entries(fixture, &AuditFilter::default()).await;
    let [entry] = &all[..] else { panic!("one entry: {all:?}") };
    let facts = (entry.actor_id, entry.object_kind.as_str(), entry.theatre_id);
    assert_eq!(facts, (staff.caller.user_id, "booking", Some(alpha)));
    assert_eq!(changed_field(entry, "status"), (Some("confirmed"), Some("cancelled")));
    assert_eq!(changed_field(entry, "reason"), (None, Some("The projector is broken")));
    assert_eq!(rows(fixture, "seat_claims").await, 0);
    assert_eq!(fixture.stores().staff_bookings.staff_booking(BookingId(987_654)).await.unwrap(), None);
}

/// Every method of the staff's ports reports an unreachable store.
pub async fn staff_ports_report_an_unreachable_store(fixture: &dyn Fixture) {
    use domain::StoreError;

    let admin = admin(fixture).await;
    let change = Change::Movie(Edit::Create(movie_details("Solaris")));
    let name = request(admin, "k", 1).key.unwrap().name;
    fixture.break_backend().await;
    let stores = fixture.stores();
    let unavailable = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    };
    unavailable(stores.staff.member(&admin).await.map(drop));
    unavailable(stores.staff.users(&UserFilter::default(), &first_page(1)).await.map(drop));
    unavailable(stores.staff.user(admin.caller.user_id).await.map(drop));
    unavailable(stores.audit.entries(&AuditFilter::default(), &first_page(1)).await.map(drop));
    unavailable(stores.changes.stored(&name).await.map(drop));
    unavailable(stores.staff_bookings.staff_booking(BookingId(1)).await.map(drop));
    let filter = StaffBookingFilter::default();
    unavailable(stores.staff_bookings.staff_bookings(&filter, &first_page(1)).await.map(drop));
    unavailable(stores.catalog.halls(&HallFilter::default(), &first_page(1)).await.map(drop));
    unavailable(stores.catalog.hall(HallId(1)).await.map(drop));
    let applied = apply(fixture, admin, &change).await;
    assert!(matches!(applied, Err(ChangeError::Store(StoreError::Unavailable(_)))), "{applied:?}");
}
