//! Changes that staff make, and their answers.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc, Weekday};
use thiserror::Error;

use super::audit::{AuditAction, Fields, ObjectKind};
use super::layouts::{AddedLayout, NewLayout};
use super::shows::{ManagedShow, NewShows, ShowChangeError, ShowEdit, ShowMistake, ShowOverlap};
use super::staff::{Authority, ManagedUser, UserAccess};
use crate::booking::{CommandRequest, Fingerprint, KeyName, NewAuditEntry, Scope};
use crate::catalog::{Hall, HallDetails, Movie, MovieDetails, Theatre, TheatreDetails};
use crate::error::StoreError;
use crate::identity::Bearer;
use crate::ids::TheatreId;
use crate::money::{Currency, Money};
use crate::pricing::{
    ManagedPriceList, ManagedTicketType, PriceListDetails, PriceListMistake, PriceRule, TicketTypeDetails, weekday_name,
};
use crate::seating::{CategoryPrice, PlannedLayout};

/// A change of an object that staff create, update and retire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit<Details, Object> {
    Create(Details),
    /// Replaces the details of the object, which must have the version of `before`.
    Update {
        before: Object,
        after: Details,
    },
    /// Retires the object, which must have the version of the given one.
    Retire(Object),
}

/// A change by staff.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    Movie(Edit<MovieDetails, Movie>),
    Theatre(Edit<TheatreDetails, Theatre>),
    Hall(Edit<HallDetails, Hall>),
    /// Adds a layout to a hall. Layouts never change.
    Layout(NewLayout),
    TicketType(Edit<TicketTypeDetails, ManagedTicketType>),
    PriceList(Edit<PriceListDetails, ManagedPriceList>),
    Show(ShowEdit),
    /// Adds shows, all or none.
    Programme(NewShows),
    /// Sets what a user may do. The user must have the version of `before`.
    User {
        before: ManagedUser,
        after: UserAccess,
    },
}

/// An object after a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changed {
    Movie(Movie),
    Theatre(Theatre),
    Hall(Hall),
    Layout(AddedLayout),
    User(ManagedUser),
    TicketType(ManagedTicketType),
    PriceList(ManagedPriceList),
    Show(ManagedShow),
    /// The new shows, in the order of their starts.
    Programme(Vec<ManagedShow>),
}

impl Changed {
    /// Returns the id of the object; of a programme, that of its first show.
    pub fn id(&self) -> i64 {
        match self {
            Self::Movie(movie) => movie.id.0,
            Self::Theatre(theatre) => theatre.id.0,
            Self::Hall(hall) => hall.id.0,
            Self::Layout(added) => added.version.id.0,
            Self::User(user) => user.id.0,
            Self::TicketType(ticket_type) => ticket_type.id.0,
            Self::PriceList(list) => list.id.0,
            Self::Show(managed) => managed.show.id.0,
            Self::Programme(shows) => shows.first().map_or(0, |first| first.show.id.0),
        }
    }

    /// Returns the version of the object.
    pub fn version(&self) -> i64 {
        match self {
            Self::Movie(movie) => movie.version,
            Self::Theatre(theatre) => theatre.version,
            Self::Hall(hall) => hall.version,
            Self::Layout(added) => added.version.version,
            Self::User(user) => user.version,
            Self::TicketType(ticket_type) => ticket_type.version,
            Self::PriceList(list) => list.version,
            Self::Show(managed) => managed.version,
            Self::Programme(shows) => shows.first().map_or(0, |first| first.version),
        }
    }

    /// Returns the entry for the audit log of an object that was added.
    pub fn created(&self) -> AuditRecord {
        AuditRecord {
            action: AuditAction::Create,
            object_kind: self.kind(),
            object_id: self.id(),
            theatre_id: self.theatre_id(),
            before: Fields::default(),
            after: self.fields(),
        }
    }

    fn kind(&self) -> ObjectKind {
        match self {
            Self::Movie(_) => ObjectKind::Movie,
            Self::Theatre(_) => ObjectKind::Theatre,
            Self::Hall(_) => ObjectKind::Hall,
            Self::Layout(_) => ObjectKind::Layout,
            Self::User(_) => ObjectKind::User,
            Self::TicketType(_) => ObjectKind::TicketType,
            Self::PriceList(_) => ObjectKind::PriceList,
            Self::Show(_) | Self::Programme(_) => ObjectKind::Show,
        }
    }

    /// Returns the theatre that the object belongs to.
    fn theatre_id(&self) -> Option<TheatreId> {
        match self {
            Self::Movie(_) | Self::User(_) | Self::TicketType(_) => None,
            Self::Theatre(theatre) => Some(theatre.id),
            Self::Hall(hall) => Some(hall.theatre_id),
            Self::Layout(added) => Some(added.version.theatre_id),
            Self::PriceList(list) => Some(list.list.theatre_id()),
            Self::Show(managed) => Some(managed.show.theatre_id),
            Self::Programme(shows) => shows.first().map(|first| first.show.theatre_id),
        }
    }

    /// Returns the values for the audit log: neither passwords nor tokens, and of users neither names nor addresses, which must not outlive
    /// a deleted account.
    fn fields(&self) -> Fields {
        let fields = Fields::default();
        let retired = |fields: Fields, is_retired: bool| fields.with_some("retired", is_retired.then_some("true"));
        match self {
            Self::Movie(movie) => {
                let fields = fields
                    .with("title", &movie.title)
                    .with("description", &movie.description)
                    .with("duration_minutes", movie.duration_minutes.to_string())
                    .with("genres", movie.genres.join(", "))
                    .with("language", &movie.language)
                    .with("certificate", &movie.certificate)
                    .with_some("poster_url", movie.poster_url.as_ref())
                    .with("release_date", movie.release_date.to_string());
                retired(fields, movie.retired_at.is_some())
            }
            Self::Theatre(theatre) => {
                let fields = fields
                    .with("name", &theatre.name)
                    .with("location", &theatre.location)
                    .with("timezone", theatre.timezone.name())
                    .with("currency", theatre.currency.code())
                    .with("tax_rate", theatre.tax_rate.to_string())
                    .with("cleaning_minutes", theatre.cleaning_minutes.to_string());
                retired(fields, theatre.retired_at.is_some())
            }
            Self::Hall(hall) => {
                let fields = fields.with("theatre_id", hall.theatre_id.to_string()).with("name", &hall.name);
                retired(fields, hall.retired_at.is_some())
            }
            Self::Layout(added) => fields
                .with("hall_id", added.version.hall_id.to_string())
                .with("version", added.version.version.to_string())
                .with("seats_total", added.version.seats_total.to_string())
                .with_some("plan", PlannedLayout::from(&added.layout).to_text()),
            Self::User(user) => {
                let theatres: Vec<_> = user.access.theatres.iter().map(ToString::to_string).collect();
                fields
                    .with("role", user.access.role.as_str())
                    .with("theatre_ids", theatres.join(", "))
                    .with("disabled", user.access.disabled.to_string())
            }
            Self::TicketType(ticket_type) => {
                let names: Vec<_> = ticket_type.names.iter().map(|(tag, name)| format!("{tag}: {name}")).collect();
                let fields = fields
                    .with("code", ticket_type.code.as_str())
                    .with("names", names.join(", "))
                    .with("needs_proof", ticket_type.needs_proof.to_string())
                    .with("order", ticket_type.position.to_string());
                retired(fields, ticket_type.retired_at.is_some())
            }
            Self::PriceList(managed) => {
                let list = &managed.list;
                let currency = list.currency();
                let rules = list.rules().iter().map(|rule| rule_text(rule, currency));
                let fields = fields
                    .with("theatre_id", list.theatre_id().to_string())
                    .with("name", &managed.name)
                    .with("currency", currency.code())
                    .with("prices", prices_text(&list.base(), currency))
                    .with("rules", rules.collect::<Vec<_>>().join("\n"));
                retired(fields, managed.retired_at.is_some())
            }
            Self::Show(managed) => show_fields(managed),
            // Each show has an entry of its own.
            Self::Programme(_) => fields,
        }
    }
}

fn show_fields(managed: &ManagedShow) -> Fields {
    let show = &managed.show;
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    Fields::default()
        .with("movie_id", show.movie_id.to_string())
        .with("hall_id", show.hall_id.to_string())
        .with("start_time", time(show.start_time))
        .with("end_time", time(show.end_time))
        .with("format", &show.format)
        .with("language", &show.language)
        .with("status", show.status.as_str())
        .with("prices", prices_text(&managed.prices, managed.currency()))
        .with_some("sales_open_at", managed.sales_open_at.map(time))
        .with_some("sales_close_at", managed.sales_close_at.map(time))
        .with_some("reason", managed.cancellation.as_ref().map(|cancellation| &cancellation.reason))
}

/// Returns prices for the audit log, like `standard/adult 12.50, standard/child 8.00`.
fn prices_text(prices: &[CategoryPrice], currency: Currency) -> String {
    let text = |price: &CategoryPrice| {
        format!("{}/{} {}", price.category, price.ticket_type, Money::new(price.minor, currency))
    };
    prices.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Returns a rule for the audit log, like `Weekend: fri sat, from 17:00: standard/adult 14.00`.
fn rule_text(rule: &PriceRule, currency: Currency) -> String {
    let days: Vec<_> = rule.weekdays.iter(Weekday::Mon).map(weekday_name).collect();
    let time = |word: &str, time: Option<NaiveTime>| time.map(|time| format!("{word} {}", time.format("%H:%M")));
    let date = |word: &str, date: Option<NaiveDate>| date.map(|date| format!("{word} {date}"));
    let conditions = [
        Some(days.join(" ")),
        date("from", rule.from_date),
        date("to", rule.to_date),
        time("from", rule.from_time),
        time("to", rule.to_time),
    ];
    let conditions: Vec<_> = conditions.into_iter().flatten().collect();
    let name = rule.name.as_ref().map(|name| format!("{}: ", name.as_str())).unwrap_or_default();
    format!("{name}{}: {}", conditions.join(", "), prices_text(&rule.prices, currency))
}

/// What the audit log records of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRecord {
    pub action: AuditAction,
    pub object_kind: ObjectKind,
    pub object_id: i64,
    pub theatre_id: Option<TheatreId>,
    pub before: Fields,
    pub after: Fields,
}

impl Change {
    /// Returns what the change requires of the member of staff.
    pub fn authority(&self) -> Authority {
        match self {
            Self::Movie(_)
            | Self::User { .. }
            | Self::TicketType(_)
            | Self::Theatre(Edit::Create(_) | Edit::Retire(_)) => Authority::Admin,
            Self::Theatre(Edit::Update { before, .. }) => Authority::Theatre(before.id),
            Self::Hall(Edit::Create(details)) => Authority::Theatre(details.theatre_id),
            Self::PriceList(Edit::Create(details)) => Authority::Theatre(details.list.theatre_id()),
            Self::PriceList(Edit::Update { before, .. } | Edit::Retire(before)) => {
                Authority::Theatre(before.list.theatre_id())
            }
            Self::Hall(Edit::Update { before, .. } | Edit::Retire(before)) => Authority::Theatre(before.theatre_id),
            Self::Layout(new) => Authority::Theatre(new.hall.theatre_id),
            Self::Programme(new) | Self::Show(ShowEdit::Create(new)) => Authority::Theatre(new.theatre.id),
            Self::Show(ShowEdit::Update { before, .. } | ShowEdit::Cancel { before, .. }) => {
                Authority::Theatre(before.show.theatre_id)
            }
        }
    }

    /// Returns the entries for the audit log: one for each object of which fields differ, with these fields. `changed` is the object after the
    /// change.
    pub fn records(&self, changed: &Changed) -> Vec<AuditRecord> {
        match changed {
            Changed::Programme(shows) => {
                shows.iter().filter_map(|show| self.record(&Changed::Show(show.clone()))).collect()
            }
            one => self.record(one).into_iter().collect(),
        }
    }

    fn record(&self, changed: &Changed) -> Option<AuditRecord> {
        let (action, before) = match self {
            Self::Movie(edit) => recorded(edit, Changed::Movie),
            Self::Theatre(edit) => recorded(edit, Changed::Theatre),
            Self::Hall(edit) => recorded(edit, Changed::Hall),
            Self::Layout(_) => (AuditAction::Create, None),
            Self::TicketType(edit) => recorded(edit, Changed::TicketType),
            Self::PriceList(edit) => recorded(edit, Changed::PriceList),
            Self::User { before, .. } => (AuditAction::Update, Some(Changed::User(before.clone()))),
            Self::Show(ShowEdit::Create(_)) | Self::Programme(_) => (AuditAction::Create, None),
            Self::Show(ShowEdit::Update { before, .. }) => (AuditAction::Update, Some(Changed::Show(before.clone()))),
            Self::Show(ShowEdit::Cancel { before, .. }) => (AuditAction::Cancel, Some(Changed::Show(before.clone()))),
        };
        let before = before.as_ref().map(Changed::fields).unwrap_or_default();
        let (before, after) = Fields::differences(before, changed.fields());
        let is_changed = before != Fields::default() || after != Fields::default();
        is_changed.then(|| AuditRecord {
            action,
            object_kind: changed.kind(),
            object_id: changed.id(),
            theatre_id: changed.theatre_id(),
            before,
            after,
        })
    }
}

fn recorded<Details, Object: Clone>(
    edit: &Edit<Details, Object>,
    changed: impl Fn(Object) -> Changed,
) -> (AuditAction, Option<Changed>) {
    match edit {
        Edit::Create(_) => (AuditAction::Create, None),
        Edit::Update { before, .. } => (AuditAction::Update, Some(changed(before.clone()))),
        Edit::Retire(before) => (AuditAction::Retire, Some(changed(before.clone()))),
    }
}

/// Where a request came from, for the audit log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeOrigin {
    pub request_id: String,
    /// The client's address.
    pub address: String,
}

/// The idempotency key of a request, and the digest of the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeKey {
    pub name: KeyName,
    pub fingerprint: Fingerprint,
}

/// A request for a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeRequest {
    pub bearer: Bearer,
    pub key: Option<ChangeKey>,
    pub origin: ChangeOrigin,
}

impl ChangeRequest {
    /// Returns the entry for the audit log.
    pub fn entry(&self, record: AuditRecord) -> NewAuditEntry {
        NewAuditEntry { actor_id: self.bearer.caller.user_id, origin: self.origin.clone(), record }
    }

    /// Returns the request for a command on claims.
    pub fn command<Asked>(self, action: Asked) -> CommandRequest<Asked> {
        let bearer = self.bearer;
        match self.key {
            Some(ChangeKey { name, fingerprint }) => {
                CommandRequest { bearer, scope: name.scope, key: Some(name.key), fingerprint, action }
            }
            // Without a key, neither scope nor fingerprint is compared with anything.
            None => CommandRequest {
                bearer,
                scope: Scope(String::new()),
                key: None,
                fingerprint: Fingerprint([0; 32]),
                action,
            },
        }
    }
}

/// The versions of the object for which a request is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Precondition {
    /// Any version.
    Any,
    /// One of these versions.
    Versions(Vec<i64>),
}

impl Precondition {
    /// Checks the version of the object.
    pub fn check(&self, version: i64) -> Result<(), ChangeError> {
        match self {
            Self::Versions(versions) if !versions.contains(&version) => Err(ChangeError::PreconditionFailed),
            Self::Any | Self::Versions(_) => Ok(()),
        }
    }
}

/// The answer to a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeAnswer {
    /// The id of the object.
    pub object_id: i64,
    /// The version of the object after the change.
    pub version: i64,
    /// The encoded object.
    pub body: Arc<[u8]>,
    /// Whether an earlier request with the same key got this answer.
    pub replayed: bool,
}

/// A change that was made, as its key remembers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredChange {
    pub fingerprint: Fingerprint,
    pub object_id: i64,
    pub version: i64,
    pub body: Arc<[u8]>,
}

impl StoredChange {
    /// Returns the answer to another request with the same key.
    pub fn replay(self, fingerprint: Fingerprint) -> Result<ChangeAnswer, ChangeError> {
        let Self { fingerprint: first, object_id, version, body } = self;
        if first == fingerprint {
            Ok(ChangeAnswer { object_id, version, body, replayed: true })
        } else {
            Err(ChangeError::KeyReused)
        }
    }
}

/// A rule that forbids a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChangeRefusal {
    #[error("the name is taken")]
    NameTaken,
    /// The object has a scheduled show that has not ended.
    #[error("the object has upcoming shows")]
    InUse(ObjectKind),
    #[error("the theatre has price lists in another currency")]
    HasPriceLists,
    #[error("there is no such theatre, or it is retired")]
    TheatreNotFound,
    #[error("the hall is retired")]
    HallRetired,
    #[error("the account is the only administrator's")]
    LastAdmin,
    #[error("the default ticket type is not retired")]
    DefaultTicketType,
    #[error("the movie is retired")]
    MovieRetired,
    #[error("the price list is retired")]
    PriceListRetired,
    #[error("the hall has no seats")]
    HallWithoutSeats,
    #[error("the show has begun")]
    ShowStarted,
    #[error("the show is cancelled")]
    ShowCancelled,
    /// The time of a show with bookings changes without a notice to the customers.
    #[error("the show has bookings")]
    ShowHasBookings,
}

/// The reason why a change was not made.
#[derive(Debug, Clone, Error)]
pub enum ChangeError {
    #[error("the session has ended")]
    SessionEnded,
    #[error("the member of staff lacks the authority")]
    Forbidden,
    #[error("the key was used with another request")]
    KeyReused,
    #[error("there is no such object")]
    NotFound(ObjectKind),
    /// The object does not have a version of the request's precondition.
    #[error("the object has another version")]
    PreconditionFailed,
    /// The object was changed concurrently.
    #[error("the object was changed concurrently")]
    Stale,
    /// Fields of a price list are invalid.
    #[error("the price list is invalid")]
    InvalidPrices(Vec<PriceListMistake>),
    /// Members of a request for shows are invalid.
    #[error("the shows are invalid")]
    InvalidShows(Vec<ShowMistake>),
    /// Other shows are in the hall at this time; at most [`ShowOverlap::LISTED_MAX`] are listed.
    #[error("other shows are in the hall at this time")]
    ShowsOverlap(Vec<ShowOverlap>),
    #[error(transparent)]
    Refused(#[from] ChangeRefusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ShowChangeError> for ChangeError {
    fn from(error: ShowChangeError) -> Self {
        match error {
            ShowChangeError::Shows(mistakes) => Self::InvalidShows(mistakes),
            ShowChangeError::Prices(mistakes) => Self::InvalidPrices(mistakes),
        }
    }
}
