//! Users, for administrators.

use std::collections::BTreeSet;

use actix_web::web::Data;
use domain::admin::{ChangeRequest, ManagedUser, UserAccessChange, UserCursor, UserFilter};
use domain::identity::Role;
use domain::ids::{TheatreId, UserId};
use domain::page::PageRequest;
use domain::text::fold;
use serde::Serialize;
use utoipa::ToSchema;

use super::SearchParameter;
use crate::calls::identity::role;
use crate::calls::instant;
use crate::http::body::{Body, body};
use crate::http::call::calls;
use crate::http::preconditions::RequiredIfMatch;
use crate::http::problem::Problem;
use crate::http::query::{Path, Query, parameters};
use crate::http::reply::{Page, UpdatedByChange, Versioned};
use crate::http::session::Admin;
use crate::wiring::state::AppState;

calls! { "staff"
    /// List the users by id.
    ///
    /// `search` looks in names and e-mail addresses. Deleted accounts are not listed.
    GET "/api/admin/users" => users: "A page of users";

    /// Get a user.
    GET "/api/admin/users/{user_id}" => user: "The user", or [UserNotFound];

    /// Change what a user may do.
    ///
    /// Absent members stay as they are. All sessions of a user who loses a role or a theatre, or is disabled, end at once. The only
    /// administrator keeps the role and stays enabled.
    PATCH "/api/admin/users/{user_id}" => update_user: "The changed user", or [UserNotFound, TheatreNotFound, Conflict];
}

parameters! {
    /// Which users.
    pub struct RoleParameter {
        /// Users of this role.
        pub role: Option<Role>,
    }
}

body! {
    /// A change of what a user may do. Absent members stay as they are.
    pub struct UpdateAccess as "UpdateAccess" {
        /// `staff` work for their theatres, `admin` for all.
        pub role: Option<Role>,
        /// The theatres that a user of the role `staff` works for.
        pub theatre_ids: Option<BTreeSet<TheatreId>>,
        /// A disabled user has no session and cannot log in.
        pub disabled: Option<bool>,
    }
}

/// A user as administrators see them.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffUser)]
pub struct StaffUserView {
    id: i64,
    name: String,
    email: String,
    #[schema(schema_with = role)]
    role: &'static str,
    /// The theatres that the user works for, for the role `staff`.
    theatre_ids: Vec<i64>,
    disabled: bool,
    #[schema(format = DateTime)]
    created_at: String,
    /// Increased by every change of the account; the number in the `ETag`.
    version: i64,
}

impl From<ManagedUser> for StaffUserView {
    fn from(user: ManagedUser) -> Self {
        Self {
            id: user.id.0,
            name: user.name,
            email: user.email,
            role: user.access.role.as_str(),
            theatre_ids: user.access.theatres.iter().map(|id| id.0).collect(),
            disabled: user.access.disabled,
            created_at: instant(user.created_at),
            version: user.version,
        }
    }
}

async fn users(
    _: Admin,
    Query((RoleParameter { role }, (search, page))): Query<(RoleParameter, (SearchParameter, PageRequest<UserCursor>))>,
    state: Data<AppState>,
) -> Result<Page<StaffUserView>, Problem> {
    let filter = UserFilter { search: search.into_filter().as_deref().map(fold), role };
    Ok(Page::new(state.admin.users(&filter, &page).await?, StaffUserView::from).private())
}

async fn user(_: Admin, Path(id): Path<UserId>, state: Data<AppState>) -> Result<Versioned<StaffUserView>, Problem> {
    let user = state.admin.user(id).await?;
    Ok(Versioned { version: user.version, view: user.into() })
}

async fn update_user(
    _: Admin,
    request: ChangeRequest,
    Path(id): Path<UserId>,
    RequiredIfMatch(precondition): RequiredIfMatch,
    Body(UpdateAccess { role, theatre_ids, disabled }): Body<UpdateAccess>,
    state: Data<AppState>,
) -> Result<UpdatedByChange<StaffUserView>, Problem> {
    let change = UserAccessChange { role, theatres: theatre_ids, disabled };
    Ok(state.admin.update_user(&request, id, change, &precondition).await?.into())
}
