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
use diesel::prelude::*;
use domain::StoreError;
use domain::admin::{
    Change, ChangeAnswer, ChangeEncoder, ChangeError, ChangeKey, ChangeRefusal, ChangeRequest, ChangeStore, Changed,
    StoredChange,
};
use domain::booking::{Fingerprint, KeyName};

pub(crate) use self::audit::insert_entry;
pub(crate) use self::counter::{delete_block, insert_booking_event, put_block};
use self::users::member;
use crate::failure::Failure;
use crate::row::parsed;
use crate::schema::staff_keys;
use crate::store::SqliteStore;
use crate::workers::in_transaction;

/// The reason why the transaction of a change is rolled back.
enum Undone {
    Refused(ChangeError),
    Failed(Failure),
}

impl From<ChangeError> for Undone {
    fn from(error: ChangeError) -> Self {
        Self::Refused(error)
    }
}

impl From<ChangeRefusal> for Undone {
    fn from(refusal: ChangeRefusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<diesel::result::Error> for Undone {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

#[async_trait]
impl ChangeStore for SqliteStore {
    async fn stored(&self, key: &KeyName) -> Result<Option<StoredChange>, StoreError> {
        let key = key.clone();
        Ok(self.read(move |connection| stored(connection, &key)).await?)
    }

    async fn apply(
        &self,
        request: &ChangeRequest,
        change: &Change,
        encoder: Arc<dyn ChangeEncoder>,
    ) -> Result<ChangeAnswer, ChangeError> {
        let (request, change, clock) = (request.clone(), change.clone(), self.clock());
        let outcome = self.on_writer(move |connection| {
            let applied = in_transaction(connection, |connection| {
                applied(connection, &request, &change, encoder.as_ref(), clock.now())
            });
            match applied {
                Ok(answer) => Ok(Ok(answer)),
                Err(Undone::Refused(error)) => Ok(Err(error)),
                Err(Undone::Failed(failure)) => Err(failure),
            }
        });
        outcome.await.map_err(|failure| ChangeError::Store(failure.into()))?
    }
}

fn applied(
    connection: &mut SqliteConnection,
    request: &ChangeRequest,
    change: &Change,
    encoder: &dyn ChangeEncoder,
    now: i64,
) -> Result<ChangeAnswer, Undone> {
    let member = member(connection, &request.bearer)?.ok_or(ChangeError::SessionEnded)?;
    if !member.has(change.authority()) {
        return Err(ChangeError::Forbidden.into());
    }
    if let Some(ChangeKey { name, fingerprint }) = &request.key
        && let Some(stored) = stored(connection, name)?
    {
        return Ok(stored.replay(*fingerprint)?);
    }
    let changed = match change {
        Change::Movie(edit) => Changed::Movie(catalog::edit_movie(connection, edit, now)?),
        Change::Theatre(edit) => Changed::Theatre(catalog::edit_theatre(connection, edit, now)?),
        Change::Hall(edit) => Changed::Hall(catalog::edit_hall(connection, edit, now)?),
        Change::Layout(new) => Changed::Layout(layouts::add(connection, new, now)?),
        Change::TicketType(edit) => Changed::TicketType(pricing::edit_ticket_type(connection, edit, now)?),
        Change::PriceList(edit) => Changed::PriceList(pricing::edit_price_list(connection, edit, now)?),
        Change::Show(edit) => Changed::Show(shows::edit(connection, edit, request.bearer.caller.user_id, now)?),
        Change::Programme(new) => Changed::Programme(shows::add(connection, new, now)?),
        Change::User { before, after } => Changed::User(users::set_access(connection, before, after, now)?),
    };
    for record in change.records(&changed) {
        insert_entry(connection, &request.entry(record), now)?;
    }
    let (object_id, version, body) = (changed.id(), changed.version(), encoder.encode(&changed));
    if let Some(ChangeKey { name, fingerprint }) = &request.key {
        diesel::insert_into(staff_keys::table)
            .values((
                staff_keys::user_id.eq(name.user_id.0),
                staff_keys::scope.eq(&name.scope.0),
                staff_keys::key.eq(name.key.as_str()),
                staff_keys::fingerprint.eq(&fingerprint.0[..]),
                staff_keys::object_id.eq(object_id),
                staff_keys::version.eq(version),
                staff_keys::answer.eq(&body),
                staff_keys::created_at.eq(now),
            ))
            .execute(connection)?;
    }
    Ok(ChangeAnswer { object_id, version, body: body.into(), replayed: false })
}

fn stored(connection: &mut SqliteConnection, key: &KeyName) -> Result<Option<StoredChange>, Failure> {
    let row: Option<(Vec<u8>, i64, i64, Vec<u8>)> = staff_keys::table
        .find((key.user_id.0, &key.scope.0, key.key.as_str()))
        .select((staff_keys::fingerprint, staff_keys::object_id, staff_keys::version, staff_keys::answer))
        .first(connection)
        .optional()?;
    row.map(|(fingerprint, object_id, version, answer)| {
        let fingerprint = Fingerprint(parsed(fingerprint.try_into(), "fingerprint")?);
        Ok(StoredChange { fingerprint, object_id, version, body: answer.into() })
    })
    .transpose()
}

/// Returns the refusal of a taken name if the statement violated that unique constraint.
fn name_taken(columns: &str) -> impl Fn(diesel::result::Error) -> Undone {
    move |error| {
        let failure = Failure::from(error);
        if failure.is_duplicate_of(columns) { ChangeRefusal::NameTaken.into() } else { failure.into() }
    }
}

/// Returns an error unless the guarded statement changed the row.
fn guarded(rows: usize) -> Result<(), Undone> {
    if rows == 1 { Ok(()) } else { Err(ChangeError::Stale.into()) }
}
