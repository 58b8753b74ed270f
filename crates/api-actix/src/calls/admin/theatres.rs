//! Theatres, for staff.

use actix_web::web::Data;
use chrono_tz::Tz;
use domain::admin::ChangeRequest;
use domain::catalog::{CleaningTime, Location, PlaceName, Theatre, TheatreChange, TheatreCursor, TheatreDetails};
use domain::ids::TheatreId;
use domain::money::{Currency, TaxRate};
use domain::page::PageRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::SearchParameter;
use crate::calls::catalog::TheatreView;
use crate::calls::instant;
use crate::http::body::{Body, body};
use crate::http::call::calls;
use crate::http::preconditions::{OptionalIfMatch, RequiredIfMatch};
use crate::http::problem::Problem;
use crate::http::query::{Path, Query};
use crate::http::reply::{CreatedByChange, Page, RetiredByChange, UpdatedByChange, Versioned};
use crate::http::session::{Admin, Staff};
use crate::wiring::state::AppState;

calls! { "staff"
    /// List your theatres by name, for staff.
    ///
    /// Administrators see all theatres. Includes retired ones.
    GET "/api/admin/theatres" => list_staff_theatres: "A page of theatres";

    /// Add a theatre.
    POST "/api/admin/theatres" => create_theatre: "The theatre", or [NameTaken];

    /// Get one of your theatres, for staff.
    GET "/api/admin/theatres/{theatre_id}" => staff_theatre: "The theatre", or [TheatreNotFound];

    /// Change one of your theatres.
    ///
    /// Absent members stay as they are. The time zone and the currency of a theatre with upcoming shows cannot change, and the currency of
    /// one with price lists neither. Another tax rate applies to bookings from then on.
    PATCH "/api/admin/theatres/{theatre_id}" => update_theatre: "The changed theatre",
        or [TheatreNotFound, NameTaken, TheatreInUse];

    /// Retire a theatre.
    ///
    /// It leaves the public lists and gets no shows. Bookings keep it. A theatre with upcoming shows is not retired.
    DELETE "/api/admin/theatres/{theatre_id}" => retire_theatre: "The theatre is retired",
        or [TheatreNotFound, TheatreInUse];
}

body! {
    /// A theatre to add.
    pub struct NewTheatre as "NewTheatre" {
        /// 1 to 100 characters. Unique.
        #[example = "Lichtburg"]
        pub name: PlaceName,
        /// Its address or city: up to 200 characters.
        #[example = "Berlin"]
        pub location: Option<Location>,
        /// The IANA name of the time zone of its days and clocks.
        #[example = "Europe/Berlin"]
        pub timezone: Tz,
        /// The currency of its prices, by ISO 4217.
        #[example = "EUR"]
        pub currency: Currency,
        /// The rate of the tax that its prices include, in percent. 0.00 if it is absent.
        #[example = "7.00"]
        pub tax_rate: Option<TaxRate>,
        /// The minutes for which a hall is cleaned after a show: 0 to 240. 15 if it is absent.
        #[example = 15]
        pub cleaning_minutes: Option<CleaningTime>,
    }

    /// A change of a theatre. Absent members stay as they are.
    pub struct UpdateTheatre as "UpdateTheatre" {
        /// 1 to 100 characters. Unique.
        pub name: Option<PlaceName>,
        /// Its address or city: up to 200 characters.
        pub location: Option<Location>,
        /// The IANA name of the time zone of its days and clocks.
        pub timezone: Option<Tz>,
        /// The currency of its prices, by ISO 4217.
        pub currency: Option<Currency>,
        /// The rate of the tax that its prices include, in percent.
        pub tax_rate: Option<TaxRate>,
        /// The minutes for which a hall is cleaned after a show: 0 to 240.
        pub cleaning_minutes: Option<CleaningTime>,
    }
}

/// A theatre as staff see it.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffTheatre)]
pub struct StaffTheatreView {
    #[serde(flatten)]
    theatre: TheatreView,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// In percent.
    #[schema(example = "7.00")]
    tax_rate: String,
    cleaning_minutes: i32,
    /// When it was retired.
    #[schema(format = DateTime)]
    retired_at: Option<String>,
    /// Increased by every change; the number in the `ETag`.
    version: i64,
}

impl From<Theatre> for StaffTheatreView {
    fn from(theatre: Theatre) -> Self {
        Self {
            currency: theatre.currency.code().to_owned(),
            tax_rate: theatre.tax_rate.to_string(),
            cleaning_minutes: theatre.cleaning_minutes,
            retired_at: theatre.retired_at.map(instant),
            version: theatre.version,
            theatre: theatre.into(),
        }
    }
}

impl From<NewTheatre> for TheatreDetails {
    fn from(theatre: NewTheatre) -> Self {
        Self {
            name: theatre.name,
            location: theatre.location.unwrap_or_default(),
            timezone: theatre.timezone,
            currency: theatre.currency,
            tax_rate: theatre.tax_rate.unwrap_or(TaxRate::ZERO),
            cleaning_time: theatre.cleaning_minutes.unwrap_or(Theatre::CLEANING_TIME),
        }
    }
}

impl From<UpdateTheatre> for TheatreChange {
    fn from(change: UpdateTheatre) -> Self {
        Self {
            name: change.name,
            location: change.location,
            timezone: change.timezone,
            currency: change.currency,
            tax_rate: change.tax_rate,
            cleaning_time: change.cleaning_minutes,
        }
    }
}

async fn list_staff_theatres(
    Staff(member): Staff,
    Query((search, page)): Query<(SearchParameter, PageRequest<TheatreCursor>)>,
    state: Data<AppState>,
) -> Result<Page<StaffTheatreView>, Problem> {
    let theatres = state.admin.theatres(&member, search.into_filter().as_deref(), &page).await?;
    Ok(Page::new(theatres, StaffTheatreView::from).private())
}

async fn create_theatre(
    _: Admin,
    request: ChangeRequest,
    Body(theatre): Body<NewTheatre>,
    state: Data<AppState>,
) -> Result<CreatedByChange<StaffTheatreView>, Problem> {
    Ok(state.admin.create_theatre(&request, theatre.into()).await?.into())
}

async fn staff_theatre(
    Staff(member): Staff,
    Path(id): Path<TheatreId>,
    state: Data<AppState>,
) -> Result<Versioned<StaffTheatreView>, Problem> {
    let theatre = state.admin.theatre(&member, id).await?;
    Ok(Versioned { version: theatre.version, view: theatre.into() })
}

async fn update_theatre(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<TheatreId>,
    RequiredIfMatch(precondition): RequiredIfMatch,
    Body(change): Body<UpdateTheatre>,
    state: Data<AppState>,
) -> Result<UpdatedByChange<StaffTheatreView>, Problem> {
    Ok(state.admin.update_theatre(&request, &member, id, change.into(), &precondition).await?.into())
}

async fn retire_theatre(
    _: Admin,
    request: ChangeRequest,
    Path(id): Path<TheatreId>,
    OptionalIfMatch(precondition): OptionalIfMatch,
    state: Data<AppState>,
) -> Result<RetiredByChange, Problem> {
    Ok(RetiredByChange(state.admin.retire_theatre(&request, id, &precondition).await?))
}
