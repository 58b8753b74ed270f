//! The audit log.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::admin::{AuditCursor, AuditEntry, AuditFilter, AuditRecord, AuditStore};
use domain::booking::NewAuditEntry;
use domain::ids::{AuditId, TheatreId, UserId};
use domain::page::{Filling, PageRequest};
use stored_json::{parsed_fields, stored_fields};

use crate::failure::Failure;
use crate::row::{instant, listed, micros, parsed};
use crate::schema::audit_log;
use crate::store::SqliteStore;

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit_log)]
struct EntryRow {
    id: i64,
    at: i64,
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
    type Error = Failure;

    fn try_from(row: EntryRow) -> Result<Self, Failure> {
        Ok(Self {
            id: AuditId(row.id),
            at: instant(row.at, "at")?,
            actor_id: UserId(row.actor_id),
            action: row.action,
            object_kind: row.object_kind,
            object_id: row.object_id,
            theatre_id: row.theatre_id.map(TheatreId),
            before: parsed(parsed_fields(&row.before), "before")?,
            after: parsed(parsed_fields(&row.after), "after")?,
            request_id: row.request_id,
            address: row.address,
        })
    }
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn entries(
        &self,
        filter: &AuditFilter,
        page: &PageRequest<AuditCursor>,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let (filter, mut filling) = (filter.clone(), Filling::of(page));
        let found = self.read(move |connection| {
            while let Some(page) = filling.next() {
                let rows = entries_page(connection, filter.clone(), &page)?;
                let place = |row: &EntryRow| AuditCursor(AuditId(row.id));
                filling.add(rows, place, |row| listed("audit_log", row.id, AuditEntry::try_from(row)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }
}

fn entries_page(
    connection: &mut SqliteConnection,
    filter: AuditFilter,
    page: &PageRequest<AuditCursor>,
) -> Result<Vec<EntryRow>, Failure> {
    let AuditFilter { object_kind, object_id, actor_id, from, to, theatres } = filter;
    let mut query = audit_log::table.select(EntryRow::as_select()).into_boxed::<Sqlite>();
    if let Some(kind) = object_kind {
        query = query.filter(audit_log::object_kind.eq(kind.as_str()));
    }
    if let Some(id) = object_id {
        query = query.filter(audit_log::object_id.eq(id));
    }
    if let Some(actor) = actor_id {
        query = query.filter(audit_log::actor_id.eq(actor.0));
    }
    if let Some(from) = from {
        query = query.filter(audit_log::at.ge(micros(from)));
    }
    if let Some(to) = to {
        query = query.filter(audit_log::at.lt(micros(to)));
    }
    if let Some(theatres) = theatres {
        query = query.filter(audit_log::theatre_id.eq_any(theatres.into_iter().map(|id| id.0)));
    }
    if let Some(AuditCursor(id)) = page.after {
        query = query.filter(audit_log::id.lt(id.0));
    }
    Ok(query.order(audit_log::id.desc()).limit(page.rows()).load(connection)?)
}

/// Writes an entry.
pub(crate) fn insert_entry(connection: &mut SqliteConnection, entry: &NewAuditEntry, now: i64) -> Result<(), Failure> {
    let NewAuditEntry { actor_id, origin, record } = entry;
    let AuditRecord { action, object_kind, object_id, theatre_id, before, after } = record;
    diesel::insert_into(audit_log::table)
        .values((
            audit_log::at.eq(now),
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
        .execute(connection)?;
    Ok(())
}
