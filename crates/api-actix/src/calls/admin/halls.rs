//! Halls, for staff.

use actix_web::web::Data;
use domain::admin::ChangeRequest;
use domain::catalog::{Hall, HallChange, HallCursor, HallDetails, PlaceName};
use domain::ids::{HallId, TheatreId};
use domain::page::PageRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::SearchParameter;
use crate::calls::instant;
use crate::http::body::{Body, body};
use crate::http::call::calls;
use crate::http::preconditions::{OptionalIfMatch, RequiredIfMatch};
use crate::http::problem::Problem;
use crate::http::query::{Path, Query, parameters};
use crate::http::reply::{CreatedByChange, Page, RetiredByChange, UpdatedByChange, Versioned};
use crate::http::session::Staff;
use crate::wiring::state::AppState;

calls! { "staff"
    /// List the halls of your theatres by name, for staff.
    ///
    /// Administrators see the halls of all theatres. Includes retired ones.
    GET "/api/admin/halls" => list_staff_halls: "A page of halls", or [TheatreNotFound];

    /// Add a hall to one of your theatres.
    ///
    /// It has no seats until a layout is added.
    POST "/api/admin/halls" => create_hall: "The hall", or [TheatreNotFound, NameTaken];

    /// Get a hall of your theatres, for staff.
    GET "/api/admin/halls/{hall_id}" => staff_hall: "The hall", or [HallNotFound];

    /// Rename a hall of your theatres.
    PATCH "/api/admin/halls/{hall_id}" => update_hall: "The changed hall", or [HallNotFound, NameTaken];

    /// Retire a hall of your theatres.
    ///
    /// It leaves the public lists and gets no shows. Bookings keep it. A hall with upcoming shows is not retired.
    DELETE "/api/admin/halls/{hall_id}" => retire_hall: "The hall is retired", or [HallNotFound, HallInUse];
}

parameters! {
    /// Which theatre's halls.
    pub struct TheatreParameter {
        /// Halls of this theatre.
        pub theatre_id: Option<TheatreId>,
    }
}

body! {
    /// A hall to add.
    pub struct NewHall as "NewHall" {
        pub theatre_id: TheatreId,
        /// 1 to 100 characters. Unique in the theatre.
        #[example = "Saal 1"]
        pub name: PlaceName,
    }

    /// A change of a hall. Absent members stay as they are.
    pub struct UpdateHall as "UpdateHall" {
        /// 1 to 100 characters. Unique in the theatre.
        pub name: Option<PlaceName>,
    }
}

/// A hall as staff see it.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffHall)]
pub struct StaffHallView {
    id: i64,
    theatre_id: i64,
    name: String,
    /// The number of seats of its newest layout; 0 without one.
    seats_total: i64,
    /// When it was retired.
    #[schema(format = DateTime)]
    retired_at: Option<String>,
    /// Increased by every change; the number in the `ETag`.
    version: i64,
}

impl From<Hall> for StaffHallView {
    fn from(hall: Hall) -> Self {
        Self {
            id: hall.id.0,
            theatre_id: hall.theatre_id.0,
            name: hall.name,
            seats_total: hall.seats_total,
            retired_at: hall.retired_at.map(instant),
            version: hall.version,
        }
    }
}

async fn list_staff_halls(
    Staff(member): Staff,
    Query((TheatreParameter { theatre_id }, (search, page))): Query<(
        TheatreParameter,
        (SearchParameter, PageRequest<HallCursor>),
    )>,
    state: Data<AppState>,
) -> Result<Page<StaffHallView>, Problem> {
    let halls = state.admin.halls(&member, theatre_id, search.into_filter().as_deref(), &page).await?;
    Ok(Page::new(halls, StaffHallView::from).private())
}

async fn create_hall(
    Staff(member): Staff,
    request: ChangeRequest,
    Body(NewHall { theatre_id, name }): Body<NewHall>,
    state: Data<AppState>,
) -> Result<CreatedByChange<StaffHallView>, Problem> {
    Ok(state.admin.create_hall(&request, &member, HallDetails { theatre_id, name }).await?.into())
}

async fn staff_hall(
    Staff(member): Staff,
    Path(id): Path<HallId>,
    state: Data<AppState>,
) -> Result<Versioned<StaffHallView>, Problem> {
    let hall = state.admin.hall(&member, id).await?;
    Ok(Versioned { version: hall.version, view: hall.into() })
}

async fn update_hall(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<HallId>,
    RequiredIfMatch(precondition): RequiredIfMatch,
    Body(UpdateHall { name }): Body<UpdateHall>,
    state: Data<AppState>,
) -> Result<UpdatedByChange<StaffHallView>, Problem> {
    Ok(state.admin.update_hall(&request, &member, id, HallChange { name }, &precondition).await?.into())
}

async fn retire_hall(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<HallId>,
    OptionalIfMatch(precondition): OptionalIfMatch,
    state: Data<AppState>,
) -> Result<RetiredByChange, Problem> {
    Ok(RetiredByChange(state.admin.retire_hall(&request, &member, id, &precondition).await?))
}
