//! Ticket types, for staff.

use std::collections::BTreeMap;

use actix_web::web::Data;
use domain::admin::ChangeRequest;
use domain::ids::TicketTypeId;
use domain::page::PageRequest;
use domain::pricing::{
    ManagedTicketType, TicketTypeChange, TicketTypeCode, TicketTypeCursor, TicketTypeDetails, TicketTypeNames,
    TicketTypePosition,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::SearchParameter;
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
    /// List the ticket types by order, then code, for staff.
    ///
    /// Includes retired ones.
    GET "/api/admin/ticket-types" => list_ticket_types: "A page of ticket types";

    /// Add a ticket type.
    ///
    /// It is sold where a show has prices for it.
    POST "/api/admin/ticket-types" => create_ticket_type: "The ticket type", or [NameTaken];

    /// Get a ticket type, for staff.
    GET "/api/admin/ticket-types/{ticket_type_id}" => staff_ticket_type: "The ticket type", or [TicketTypeNotFound];

    /// Change a ticket type.
    ///
    /// The code never changes.
    PATCH "/api/admin/ticket-types/{ticket_type_id}" => update_ticket_type: "The changed ticket type",
        or [TicketTypeNotFound];

    /// Retire a ticket type.
    ///
    /// It is sold at no new show, and new price lists cannot name it. Shows, holds and bookings that have it keep it. `adult` is not
    /// retired.
    DELETE "/api/admin/ticket-types/{ticket_type_id}" => retire_ticket_type: "The ticket type is retired",
        or [TicketTypeNotFound, Conflict];
}

body! {
    /// A ticket type to add.
    pub struct NewTicketType as "NewTicketType" {
        /// 1 to 30 characters, each a to z, 0 to 9 or _. Unique, and never changed.
        #[example = "child"]
        pub code: TicketTypeCode,
        /// The names by language tag (BCP 47), in 1 to 20 languages: each 1 to 50 characters.
        #[example = serde_json::json!({ "en": "Child", "de": "Kind" })]
        pub names: TicketTypeNames,
        /// Whether the visitor must show a proof at the entrance. `false` if it is absent.
        pub needs_proof: Option<bool>,
        /// The position in lists: 0 to 999. 0 if it is absent.
        #[example = 10]
        pub order: Option<TicketTypePosition>,
    }

    /// A change of a ticket type. Absent members stay as they are.
    pub struct UpdateTicketType as "UpdateTicketType" {
        /// All names by language tag. They replace the former ones.
        pub names: Option<TicketTypeNames>,
        /// Whether the visitor must show a proof at the entrance.
        pub needs_proof: Option<bool>,
        /// The position in lists: 0 to 999.
        pub order: Option<TicketTypePosition>,
    }
}

/// A ticket type as staff see it.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffTicketType)]
pub struct StaffTicketTypeView {
    id: i64,
    #[schema(example = "child")]
    code: String,
    /// By language tag.
    names: BTreeMap<String, String>,
    needs_proof: bool,
    order: i32,
    /// When it was retired.
    #[schema(format = DateTime)]
    retired_at: Option<String>,
    /// Increased by every change; the number in the `ETag`.
    version: i64,
}

impl From<ManagedTicketType> for StaffTicketTypeView {
    fn from(ticket_type: ManagedTicketType) -> Self {
        Self {
            id: ticket_type.id.0,
            code: ticket_type.code.as_str().to_owned(),
            names: ticket_type.names.iter().map(|(tag, name)| (tag.to_owned(), name.to_owned())).collect(),
            needs_proof: ticket_type.needs_proof,
            order: ticket_type.position,
            retired_at: ticket_type.retired_at.map(instant),
            version: ticket_type.version,
        }
    }
}

impl From<NewTicketType> for TicketTypeDetails {
    fn from(new: NewTicketType) -> Self {
        Self {
            code: new.code,
            names: new.names,
            needs_proof: new.needs_proof.unwrap_or(false),
            position: new.order.map_or(0, TicketTypePosition::number),
        }
    }
}

impl From<UpdateTicketType> for TicketTypeChange {
    fn from(change: UpdateTicketType) -> Self {
        Self {
            names: change.names,
            needs_proof: change.needs_proof,
            position: change.order.map(TicketTypePosition::number),
        }
    }
}

async fn list_ticket_types(
    _: Staff,
    Query((search, page)): Query<(SearchParameter, PageRequest<TicketTypeCursor>)>,
    state: Data<AppState>,
) -> Result<Page<StaffTicketTypeView>, Problem> {
    let found = state.admin.ticket_types(search.into_filter().as_deref(), &page).await?;
    Ok(Page::new(found, StaffTicketTypeView::from).private())
}

async fn create_ticket_type(
    _: Admin,
    request: ChangeRequest,
    Body(new): Body<NewTicketType>,
    state: Data<AppState>,
) -> Result<CreatedByChange<StaffTicketTypeView>, Problem> {
    Ok(state.admin.create_ticket_type(&request, new.into()).await?.into())
}

async fn staff_ticket_type(
    _: Staff,
    Path(id): Path<TicketTypeId>,
    state: Data<AppState>,
) -> Result<Versioned<StaffTicketTypeView>, Problem> {
    let ticket_type = state.admin.ticket_type(id).await?;
    Ok(Versioned { version: ticket_type.version, view: ticket_type.into() })
}

async fn update_ticket_type(
    _: Admin,
    request: ChangeRequest,
    Path(id): Path<TicketTypeId>,
    RequiredIfMatch(precondition): RequiredIfMatch,
    Body(change): Body<UpdateTicketType>,
    state: Data<AppState>,
) -> Result<UpdatedByChange<StaffTicketTypeView>, Problem> {
    Ok(state.admin.update_ticket_type(&request, id, change.into(), &precondition).await?.into())
}

async fn retire_ticket_type(
    _: Admin,
    request: ChangeRequest,
    Path(id): Path<TicketTypeId>,
    OptionalIfMatch(precondition): OptionalIfMatch,
    state: Data<AppState>,
) -> Result<RetiredByChange, Problem> {
    Ok(RetiredByChange(state.admin.retire_ticket_type(&request, id, &precondition).await?))
}
