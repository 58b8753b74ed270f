//! Shows and programmes, for staff.

use std::time::{Duration as Wait, SystemTime};

use actix_web::web::Data;
use chrono::NaiveDate;
use domain::admin::{
    ChangeRequest, ManagedShow, NewPrices, SalesClosing, Schedule, ShowChange, ShowFormat, ShowsDraft, StaffShowQuery,
};
use domain::catalog::{Duration, LanguageName, ShowCursor, ShowStatus};
use domain::error::with_sources;
use domain::ids::{HallId, MovieId, PriceListId, ShowId, TheatreId};
use domain::page::PageRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::SearchParameter;
use super::bookings::Because;
use super::price_lists::{ListPriceView, prices_view};
use crate::calls::instant;
use crate::http::body::{Body, body};
use crate::http::call::calls;
use crate::http::preconditions::RequiredIfMatch;
use crate::http::prices::{Date, Instant, LocalTime, PriceDrafts, SalesOpening, Times, Weekdays};
use crate::http::problem::Problem;
use crate::http::query::{Path, Query, parameters};
use crate::http::reply::{CreatedByChange, Page, UpdatedByChange, Versioned};
use crate::http::session::Staff;
use crate::wiring::state::AppState;

/// The path of the shows, each of which has its id below it.
const SHOWS: &str = "/api/admin/shows";
/// How long the call that cancels a show waits for its bookings: half of what a proxy in front usually allows.
const BOOKINGS_WAIT: Wait = Wait::from_secs(5);

calls! { "staff"
    /// List the shows of your theatres by start, for staff.
    ///
    /// Administrators see the shows of all theatres. Includes cancelled ones.
    GET "/api/admin/shows" => list_staff_shows: "A page of shows", or [TheatreNotFound];

    /// Add a show to a hall of your theatres.
    ///
    /// It gets the newest layout of the hall, and the prices that the list has for its local time. They are copied: later changes of the
    /// list do not change the show.
    POST "/api/admin/shows" => create_show: "The show",
        or [MovieNotFound, HallNotFound, PriceListNotFound, TheatreNotFound, LayoutNotFound, ShowOverlap, Conflict];

    /// Add the shows of a programme to a hall of your theatres, all or none.
    ///
    /// At most 5 000 shows within five years. Local times stay the same across daylight saving.
    POST "/api/admin/programmes" => create_programme: "The shows",
        or [MovieNotFound, HallNotFound, PriceListNotFound, TheatreNotFound, LayoutNotFound, ShowOverlap, Conflict];

    /// Get a show of your theatres, for staff.
    GET "/api/admin/shows/{show_id}" => staff_show: "The show", or [ShowNotFound];

    /// Change a show of your theatres that has not begun.
    ///
    /// Sold and held seats keep their prices. A show with bookings gets another time only with `notify`.
    /// Each booking then has an event in the outbox; this version sends no messages.
    PATCH "/api/admin/shows/{show_id}" => update_show: "The changed show",
        or [ShowNotFound, PriceListNotFound, TheatreNotFound, LayoutNotFound, ShowOverlap, ShowHasBookings, Conflict];

    /// Cancel a show of your theatres, and all its bookings.
    ///
    /// Nothing is booked from then on. The bookings are cancelled one after the other, also if this server stops meanwhile. A cancelled show
    /// stays as it is.
    POST "/api/admin/shows/{show_id}/cancel" => cancel_show: "The cancelled show", or [ShowNotFound];
}

parameters! {
    /// Which shows.
    pub struct StaffShowParameters {
        /// Shows in this theatre.
        pub theatre_id: Option<TheatreId>,
        /// Shows of this movie.
        pub movie_id: Option<MovieId>,
        /// Shows in this hall.
        pub hall_id: Option<HallId>,
        /// Shows with this status.
        pub status: Option<ShowStatus>,
        /// Shows on this day, in the theatre's time zone: YYYY-MM-DD.
        pub date: Option<NaiveDate>,
        /// Also shows that have ended.
        pub include_past: Option<bool>,
    }
}

body! {
    /// A show to add.
    pub struct NewShow as "NewShow" {
        pub movie_id: MovieId,
        pub hall_id: HallId,
        /// A price list of the hall's theatre, with prices for adults in all categories of the hall.
        pub price_list_id: PriceListId,
        /// The local time of the theatre. A time that exists twice, because clocks go back, means the first one.
        #[example = "2026-12-24T20:00"]
        pub start_time: LocalTime,
        /// With advertisements; by default the duration of the movie.
        pub duration_minutes: Option<Duration>,
        /// 1 to 50 characters.
        #[example = "2D"]
        pub format: ShowFormat,
        /// With subtitles, as people read it; by default the language of the movie.
        #[example = "Japanese (English subtitles)"]
        pub language: Option<LanguageName>,
        /// When sales open; by default at once.
        pub sales_open_at: Option<Instant>,
        /// How long before the show sales close; by default when it begins.
        pub sales_close_minutes: Option<SalesClosing>,
    }

    /// Shows to add: the same local times on many days.
    pub struct NewProgramme as "NewProgramme" {
        pub movie_id: MovieId,
        pub hall_id: HallId,
        /// A price list of the hall's theatre, with prices for adults in all categories of the hall.
        pub price_list_id: PriceListId,
        pub first_day: Date,
        /// The last day, inclusive.
        pub last_day: Date,
        /// The days of the week with shows; all if it is absent.
        pub weekdays: Option<Weekdays>,
        /// The local times of the theatre at which shows begin.
        pub times: Times,
        /// With advertisements; by default the duration of the movie.
        pub duration_minutes: Option<Duration>,
        /// 1 to 50 characters.
        #[example = "2D"]
        pub format: ShowFormat,
        /// With subtitles, as people read it; by default the language of the movie.
        pub language: Option<LanguageName>,
        /// When sales of all shows open; by default at once.
        pub sales_open_at: Option<Instant>,
        /// How long before each show sales close; by default when it begins.
        pub sales_close_minutes: Option<SalesClosing>,
    }

    /// A change of a show. Absent members stay as they are.
    pub struct UpdateShow as "UpdateShow" {
        /// The local time of the theatre.
        #[example = "2026-12-24T20:15"]
        pub start_time: Option<LocalTime>,
        /// With advertisements.
        pub duration_minutes: Option<Duration>,
        /// 1 to 50 characters.
        pub format: Option<ShowFormat>,
        /// With subtitles, as people read it.
        pub language: Option<LanguageName>,
        /// When sales open. An empty text opens them at once.
        pub sales_open_at: Option<SalesOpening>,
        /// How long before the show sales close. 0 closes them when it begins.
        pub sales_close_minutes: Option<SalesClosing>,
        /// All prices, for seats that are not sold or held yet. Not together with `price_list_id`.
        pub prices: Option<PriceDrafts>,
        /// Replaces all prices by those that this list has for the time of the show.
        pub price_list_id: Option<PriceListId>,
        /// `true` moves a show with bookings, and writes an event for each of them.
        pub notify: Option<bool>,
    }
}

/// A show as staff see it.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffShow)]
pub struct StaffShowView {
    id: i64,
    movie_id: i64,
    movie_title: String,
    theatre_id: i64,
    theatre_name: String,
    hall_id: i64,
    hall_name: String,
    layout_id: i64,
    #[schema(format = DateTime)]
    start_time: String,
    /// The local time of the theatre.
    #[schema(example = "2026-12-24T20:00")]
    local_start_time: String,
    /// Whether the local time exists twice on this day, because clocks go back. `start_time` says which one is meant.
    ambiguous_start: bool,
    #[schema(format = DateTime)]
    end_time: String,
    /// When the hall is clean, and the next show can begin.
    #[schema(format = DateTime)]
    hall_free_at: String,
    format: String,
    language: String,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// By category, then ticket type.
    prices: Vec<ListPriceView>,
    /// When sales open; `null` if they are open from the beginning.
    #[schema(format = DateTime)]
    sales_open_at: Option<String>,
    /// When sales close, if that is before the show begins.
    #[schema(format = DateTime)]
    sales_close_at: Option<String>,
    seats_total: i64,
    seats_available: i64,
    #[schema(example = "scheduled")]
    status: &'static str,
    /// When staff cancelled it.
    #[schema(format = DateTime)]
    cancelled_at: Option<String>,
    /// Why staff cancelled it.
    cancel_reason: Option<String>,
    /// Increased by every change; the number in the `ETag`.
    version: i64,
}

/// The shows of a programme that was added.
#[derive(Serialize, ToSchema)]
#[schema(as = AddedProgramme)]
pub struct ProgrammeView {
    /// In the order of their starts.
    shows: Vec<AddedShowView>,
}

/// A show of a programme that was added.
#[derive(Serialize, ToSchema)]
#[schema(as = AddedShow)]
pub struct AddedShowView {
    id: i64,
    #[schema(format = DateTime)]
    start_time: String,
    /// The local time of the theatre.
    #[schema(example = "2026-12-24T20:00")]
    local_start_time: String,
    /// Whether the local time exists twice on this day, because clocks go back. The show begins at the first one.
    ambiguous_start: bool,
    #[schema(format = DateTime)]
    end_time: String,
}

fn local(managed: &ManagedShow) -> String {
    managed.local_start().format("%Y-%m-%dT%H:%M").to_string()
}

impl From<ManagedShow> for StaffShowView {
    fn from(managed: ManagedShow) -> Self {
        let (local_start_time, ambiguous_start) = (local(&managed), managed.start_is_ambiguous());
        let currency = managed.currency();
        let prices = prices_view(&managed.prices, currency);
        let show = managed.show;
        let (cancelled_at, cancel_reason) =
            managed.cancellation.map(|cancellation| (instant(cancellation.at), cancellation.reason)).unzip();
        Self {
            id: show.id.0,
            movie_id: show.movie_id.0,
            movie_title: show.movie_title,
            theatre_id: show.theatre_id.0,
            theatre_name: show.theatre_name,
            hall_id: show.hall_id.0,
            hall_name: show.hall_name,
            layout_id: managed.layout_id.0,
            start_time: instant(show.start_time),
            local_start_time,
            ambiguous_start,
            end_time: instant(show.end_time),
            hall_free_at: instant(managed.hall_free_at),
            format: show.format,
            language: show.language,
            currency: currency.code().to_owned(),
            prices,
            sales_open_at: managed.sales_open_at.map(instant),
            sales_close_at: managed.sales_close_at.map(instant),
            seats_total: show.seats_total,
            seats_available: show.seats_available,
            status: show.status.as_str(),
            cancelled_at,
            cancel_reason,
            version: managed.version,
        }
    }
}

impl From<Vec<ManagedShow>> for ProgrammeView {
    fn from(shows: Vec<ManagedShow>) -> Self {
        let view = |managed: ManagedShow| AddedShowView {
            id: managed.show.id.0,
            start_time: instant(managed.show.start_time),
            local_start_time: local(&managed),
            ambiguous_start: managed.start_is_ambiguous(),
            end_time: instant(managed.show.end_time),
        };
        Self { shows: shows.into_iter().map(view).collect() }
    }
}

async fn list_staff_shows(
    Staff(member): Staff,
    Query((parameters, (search, page))): Query<(StaffShowParameters, (SearchParameter, PageRequest<ShowCursor>))>,
    state: Data<AppState>,
) -> Result<Page<StaffShowView>, Problem> {
    let StaffShowParameters { theatre_id, movie_id, hall_id, status, date, include_past } = parameters;
    let (search, include_past) = (search.into_filter(), include_past.unwrap_or_default());
    let query = StaffShowQuery { theatre_id, movie_id, hall_id, status, search, date, include_past };
    Ok(Page::new(state.admin.shows(&member, query, &page).await?, StaffShowView::from).private())
}

async fn create_show(
    Staff(member): Staff,
    request: ChangeRequest,
    Body(new): Body<NewShow>,
    state: Data<AppState>,
) -> Result<CreatedByChange<StaffShowView>, Problem> {
    let draft = ShowsDraft {
        movie_id: new.movie_id,
        hall_id: new.hall_id,
        price_list_id: new.price_list_id,
        schedule: Schedule::Once(new.start_time.0),
        duration: new.duration_minutes,
        format: new.format,
        language: new.language,
        sales_open_at: new.sales_open_at.map(|Instant(at)| at),
        sales_close: new.sales_close_minutes,
    };
    Ok(state.admin.create_show(&request, &member, draft, SystemTime::now().into()).await?.into())
}

async fn create_programme(
    Staff(member): Staff,
    request: ChangeRequest,
    Body(new): Body<NewProgramme>,
    state: Data<AppState>,
) -> Result<CreatedByChange<ProgrammeView>, Problem> {
    let draft = ShowsDraft {
        movie_id: new.movie_id,
        hall_id: new.hall_id,
        price_list_id: new.price_list_id,
        schedule: Schedule::Programme {
            first_day: new.first_day.0,
            last_day: new.last_day.0,
            weekdays: new.weekdays.unwrap_or_default().0,
            times: new.times.0,
        },
        duration: new.duration_minutes,
        format: new.format,
        language: new.language,
        sales_open_at: new.sales_open_at.map(|Instant(at)| at),
        sales_close: new.sales_close_minutes,
    };
    let answer = state.admin.create_programme(&request, &member, draft, SystemTime::now().into()).await?;
    Ok(CreatedByChange::below(SHOWS, answer))
}

async fn staff_show(
    Staff(member): Staff,
    Path(id): Path<ShowId>,
    state: Data<AppState>,
) -> Result<Versioned<StaffShowView>, Problem> {
    let show = state.admin.show(&member, id).await?;
    Ok(Versioned { version: show.version, view: show.into() })
}

async fn update_show(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<ShowId>,
    RequiredIfMatch(precondition): RequiredIfMatch,
    Body(update): Body<UpdateShow>,
    state: Data<AppState>,
) -> Result<UpdatedByChange<StaffShowView>, Problem> {
    let prices = match (update.prices, update.price_list_id) {
        (Some(_), Some(_)) => return Err(Problem::field("price_list_id", "excluded", "must not be sent with prices")),
        (Some(PriceDrafts(prices)), None) => Some(NewPrices::These(prices)),
        (None, list) => list.map(NewPrices::Of),
    };
    let change = ShowChange {
        start: update.start_time.map(|LocalTime(at)| at),
        duration: update.duration_minutes,
        format: update.format,
        language: update.language,
        sales_open_at: update.sales_open_at.map(|SalesOpening(at)| at),
        sales_close: update.sales_close_minutes,
        prices,
        notify: update.notify.unwrap_or_default(),
    };
    let now = SystemTime::now().into();
    Ok(state.admin.update_show(&request, &member, id, change, &precondition, now).await?.into())
}

async fn cancel_show(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<ShowId>,
    Body(Because { reason }): Body<Because>,
    state: Data<AppState>,
) -> Result<UpdatedByChange<StaffShowView>, Problem> {
    let answer = state.admin.cancel_show(&request, &member, id, reason.as_str()).await?;
    // The show is cancelled whatever happens now: what is left of its bookings is cancelled in the background, by any server.
    match tokio::time::timeout(BOOKINGS_WAIT, state.cancelled_shows.finish(id)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(show_id = id.0, error = with_sources(&error), "show.bookings_left"),
        Err(_) => tracing::info!(show_id = id.0, "show.bookings_left"),
    }
    Ok(answer.into())
}
