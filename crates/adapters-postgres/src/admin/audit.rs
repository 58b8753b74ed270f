//! The audit log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::admin::{AuditCursor, AuditEntry, AuditFilter, AuditRecord, AuditStore};
use domain::booking::NewAuditEntry;
use domain::ids::{AuditId, TheatreId, UserId};
use domain::page::{Filling, PageRequest};
use stored_json::{parsed_fields, stored_fields};

use crate::error::bad_row;
use crate::rows::listed;
use crate::schema::audit_log;
use crate::statement::{bind, statement};
use crate::store::PostgresStore;

statement!(ListEntries: Untyped = "
    SELECT id, at, actor_id, action, object_kind, object_id, theatre_id, before, after, request_id, address
    FROM audit_log
    WHERE ($1::text IS NULL OR object_kind = $1)
      AND ($2::bigint IS NULL OR object_id = $2)
      AND ($3::bigint IS NULL OR actor_id = $3)
      AND ($4::timestamptz IS NULL OR at >= $4)
      AND ($5::timestamptz IS NULL OR at < $5)
      AND ($6::bigint[] IS NULL OR theatre_id = ANY ($6))
      AND ($7::bigint IS NULL OR id < $7)
    ORDER BY id DESC
    LIMIT $8");

#[derive(QueryableByName)]
#[diesel(table_name = audit_log)]
struct EntryRow {
    id: i64,
    at: DateTime<Utc>,
    actor_id: i64,
    action: String,
    object_kind: String,
    object_id: i64,
    theatre_id: Option<i64>,
    before: String,
    after: String,
    request_id: String,
    address: String,
}

impl TryFrom<EntryRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: AuditId(row.id),
            at: row.at,
            actor_id: UserId(row.actor_id),
            action: row.action,
            object_kind: row.object_kind,
            object_id: row.object_id,
            theatre_id: row.theatre_id.map(TheatreId),
            before: parsed_fields(&row.before).map_err(bad_row)?,
            after: parsed_fields(&row.after).map_err(bad_row)?,
            request_id: row.request_id,
            address: row.address,
        })
    }
}

#[async_trait]
impl AuditStore for PostgresStore {
    async fn entries(
        &self,
        filter: &AuditFilter,
        page: &PageRequest<AuditCursor>,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let AuditFilter { object_kind, object_id, actor_id, from, to, theatres } = filter;
        let theatres = theatres.as_ref().map(|ids| ids.iter().map(|id| id.0).collect::<Vec<_>>());
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<EntryRow> = self
                .load(bind!(
                    ListEntries,
                    Nullable<Text> = object_kind.map(|kind| kind.as_str().to_owned()),
                    Nullable<BigInt> = *object_id,
                    Nullable<BigInt> = actor_id.map(|id| id.0),
                    Nullable<Timestamptz> = *from,
                    Nullable<Timestamptz> = *to,
                    Nullable<Array<BigInt>> = theatres.clone(),
                    Nullable<BigInt> = page.after.map(|AuditCursor(id)| id.0),
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &EntryRow| AuditCursor(AuditId(row.id));
            filling.add(rows, place, |row| listed("audit_log", row.id, AuditEntry::try_from(row)));
        }
        Ok(filling.into_items())
    }
}

/// Writes an entry.
pub(crate) async fn insert_entry(connection: &mut AsyncPgConnection, entry: &NewAuditEntry) -> QueryResult<()> {
    let NewAuditEntry { actor_id, origin, record } = entry;
    let AuditRecord { action, object_kind, object_id, theatre_id, before, after } = record;
    diesel::insert_into(audit_log::table)
        .values((
            audit_log::actor_id.eq(actor_id.0),
            audit_log::action.eq(action.as_str()),
            audit_log::object_kind.eq(object_kind.as_str()),
            audit_log::object_id.eq(object_id),
            audit_log::theatre_id.eq(theatre_id.map(|id| id.0)),
            audit_log::before.eq(stored_fields(before)),
            audit_log::after.eq(stored_fields(after)),
            audit_log::request_id.eq(&origin.request_id),
            audit_log::address.eq(&origin.address),
        ))
        .execute(connection)
        .await?;
    Ok(())
}
