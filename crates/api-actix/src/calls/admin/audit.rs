//! The audit log.

use std::collections::BTreeMap;

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use domain::admin::{AuditCursor, AuditEntry, AuditFilter, ObjectKind};
use domain::ids::UserId;
use domain::page::PageRequest;
use serde::Serialize;
use utoipa::ToSchema;

use crate::calls::instant;
use crate::http::call::calls;
use crate::http::problem::Problem;
use crate::http::query::{Query, parameters};
use crate::http::reply::Page;
use crate::http::session::Staff;
use crate::http::values::ObjectId;
use crate::wiring::state::AppState;

calls! { "staff"
    /// List what staff have changed, newest first.
    ///
    /// Administrators see all entries, staff those of their theatres. An entry is written with its change and never changed. Entries are
    /// deleted when they are as old as the server's setting `AUDIT_TTL`.
    GET "/api/admin/audit" => audit: "A page of entries";
}

parameters! {
    /// Which entries.
    pub struct AuditParameters {
        /// Entries of objects of this kind.
        pub object: Option<ObjectKind>,
        /// Entries of objects with this id.
        pub object_id: Option<ObjectId>,
        /// Entries of this member of staff.
        pub actor_id: Option<UserId>,
        /// Entries written then or later (RFC 3339).
        pub from: Option<DateTime<Utc>>,
        /// Entries written before then (RFC 3339).
        pub to: Option<DateTime<Utc>>,
    }
}

/// A change by staff.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditEntryView {
    id: i64,
    #[schema(format = DateTime)]
    at: String,
    /// The member of staff.
    actor_id: i64,
    /// `create`, `update`, `retire`, …
    action: String,
    /// `movie`, `theatre`, `hall`, `user`, …
    object: String,
    object_id: i64,
    /// The theatre that the object belongs to.
    theatre_id: Option<i64>,
    /// The changed fields before the change; empty for a new object.
    before: BTreeMap<String, String>,
    /// The changed fields after the change.
    after: BTreeMap<String, String>,
    /// The `x-request-id` of the request.
    request_id: String,
    /// The client's address.
    address: String,
}

impl From<AuditEntry> for AuditEntryView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id.0,
            at: instant(entry.at),
            actor_id: entry.actor_id.0,
            action: entry.action,
            object: entry.object_kind,
            object_id: entry.object_id,
            theatre_id: entry.theatre_id.map(|id| id.0),
            before: entry.before.0,
            after: entry.after.0,
            request_id: entry.request_id,
            address: entry.address,
        }
    }
}

async fn audit(
    Staff(member): Staff,
    Query((parameters, page)): Query<(AuditParameters, PageRequest<AuditCursor>)>,
    state: Data<AppState>,
) -> Result<Page<AuditEntryView>, Problem> {
    let AuditParameters { object, object_id, actor_id, from, to } = parameters;
    let object_id = object_id.map(|ObjectId(id)| id);
    let filter = AuditFilter { object_kind: object, object_id, actor_id, from, to, theatres: None };
    Ok(Page::new(state.admin.audit(&member, filter, &page).await?, AuditEntryView::from).private())
}
