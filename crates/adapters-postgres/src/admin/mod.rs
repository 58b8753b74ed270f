//! The staff's work: rights, changes, and the audit log.

mod audit;
mod catalog;
mod counter;
mod layouts;
mod pricing;
mod shows;
mod transfer;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{BigInt, Binary, Text, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::admin::{
    Change, ChangeAnswer, ChangeEncoder, ChangeError, ChangeKey, ChangeRefusal, ChangeRequest, ChangeStore, Changed,
    StoredChange,
};
use domain::booking::{Fingerprint, KeyName};

pub(crate) use self::audit::insert_entry;
use self::users::{lock_member, set_access};
use crate::error::bad_row;
use crate::identity::lock_admins;
use crate::schema::staff_keys;
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

type Failure = WriteFailure<ChangeError>;

statement!(ReadKey: Untyped = "
    SELECT fingerprint, object_id, version, answer FROM staff_keys WHERE user_id = $1 AND scope = $2 AND key = $3");
// Waits for a concurrent change with the same key. The answer is set at the end of the transaction.
statement!(InsertKey: () = "
    INSERT INTO staff_keys (user_id, scope, key, fingerprint, object_id, version, answer)
    VALUES ($1, $2, $3, $4, 0, 0, '')
    ON CONFLICT DO NOTHING");

#[derive(QueryableByName)]
#[diesel(table_name = staff_keys)]
struct KeyRow {
    fingerprint: Vec<u8>,
    object_id: i64,
    version: i64,
    answer: Vec<u8>,
}

impl TryFrom<KeyRow> for StoredChange {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let fingerprint = row.fingerprint.try_into().map_err(|_| bad_row("a fingerprint of another length"))?;
        let body = row.answer.into();
        Ok(Self { fingerprint: Fingerprint(fingerprint), object_id: row.object_id, version: row.version, body })
    }
}

#[async_trait]
impl ChangeStore for PostgresStore {
    async fn stored(&self, key: &KeyName) -> Result<Option<StoredChange>, StoreError> {
        let row: Option<KeyRow> = self
            .first(bind!(
                ReadKey,
                BigInt = key.user_id.0,
                Text = key.scope.0.clone(),
                Text = key.key.as_str().to_owned(),
            ))
            .await?;
        row.map(StoredChange::try_from).transpose()
    }

    async fn apply(
        &self,
        request: &ChangeRequest,
        change: &Change,
        encoder: Arc<dyn ChangeEncoder>,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.transact(async |connection| {
            // In the order of `anonymise`: all administrators, then the own account.
            let admins = match change {
                Change::User { .. } => lock_admins(connection).await?,
                Change::Movie(_)
                | Change::Theatre(_)
                | Change::Hall(_)
                | Change::Layout(_)
                | Change::TicketType(_)
                | Change::PriceList(_)
                | Change::Show(_)
                | Change::Programme(_) => Vec::new(),
            };
            let member = lock_member(connection, &request.bearer).await?;
            let member = member.ok_or(WriteFailure::Refused(ChangeError::SessionEnded))?;
            if !member.has(change.authority()) {
                return Err(WriteFailure::Refused(ChangeError::Forbidden));
            }
            if let Some(key) = &request.key
                && let Some(answer) = take_key(connection, key).await?
            {
                return Ok(answer);
            }
            let changed = match change {
                Change::Movie(edit) => Changed::Movie(catalog::edit_movie(connection, edit).await?),
                Change::Theatre(edit) => Changed::Theatre(catalog::edit_theatre(connection, edit).await?),
                Change::Hall(edit) => Changed::Hall(catalog::edit_hall(connection, edit).await?),
                Change::Layout(new) => Changed::Layout(layouts::add(connection, new).await?),
                Change::TicketType(edit) => Changed::TicketType(pricing::edit_ticket_type(connection, edit).await?),
                Change::PriceList(edit) => Changed::PriceList(pricing::edit_price_list(connection, edit).await?),
                Change::Show(edit) => {
                    Changed::Show(shows::edit(connection, edit, request.bearer.caller.user_id).await?)
                }
                Change::Programme(new) => Changed::Programme(shows::add(connection, new).await?),
                Change::User { before, after } => Changed::User(set_access(connection, before, after, &admins).await?),
            };
            for record in change.records(&changed) {
                insert_entry(connection, &request.entry(record)).await?;
            }
            let (object_id, version, body) = (changed.id(), changed.version(), encoder.encode(&changed));
            if let Some(ChangeKey { name, .. }) = &request.key {
                diesel::update(staff_keys::table.find((name.user_id.0, &name.scope.0, name.key.as_str())))
                    .set((
                        staff_keys::object_id.eq(object_id),
                        staff_keys::version.eq(version),
                        staff_keys::answer.eq(&body),
                    ))
                    .execute(connection)
                    .await?;
            }
            Ok(ChangeAnswer { object_id, version, body: body.into(), replayed: false })
        })
        .await
    }
}

/// Inserts the key of a request, or returns the answer that it remembers.
async fn take_key(connection: &mut AsyncPgConnection, key: &ChangeKey) -> Result<Option<ChangeAnswer>, Failure> {
    let ChangeKey { name, fingerprint } = key;
    let inserted = bind!(
        InsertKey,
        BigInt = name.user_id.0,
        Text = &name.scope.0,
        Text = name.key.as_str(),
        Binary = &fingerprint.0[..],
    );
    if inserted.execute(connection).await? == 1 {
        return Ok(None);
    }
    let row: KeyRow = bind!(ReadKey, BigInt = name.user_id.0, Text = &name.scope.0, Text = name.key.as_str())
        .get_result(connection)
        .await?;
    StoredChange::try_from(row)?.replay(*fingerprint).map(Some).map_err(WriteFailure::Refused)
}

/// Returns the refusal of a taken name if the statement violated that unique constraint.
fn name_taken(constraint: &str) -> impl Fn(Error) -> Failure {
    move |error| match &error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, information)
            if information.constraint_name() == Some(constraint) =>
        {
            refused(ChangeRefusal::NameTaken)
        }
        _ => WriteFailure::Query(error),
    }
}

/// Returns an error unless the guarded statement changed the row.
fn guarded(rows: usize) -> Result<(), Failure> {
    if rows == 1 { Ok(()) } else { Err(WriteFailure::Refused(ChangeError::Stale)) }
}

fn refused(refusal: ChangeRefusal) -> Failure {
    WriteFailure::Refused(refusal.into())
}
