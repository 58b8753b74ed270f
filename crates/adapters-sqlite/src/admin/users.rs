//! Users: what they may do.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::admin::{
    BoxOfficeAccount, ChangeRefusal, ManagedUser, StaffMember, StaffStore, UserAccess, UserCursor, UserFilter,
};
use domain::identity::{AnonymousAccount, Bearer, Role};
use domain::ids::{TheatreId, UserId};
use domain::page::{Filling, PageRequest};

use super::{Undone, guarded};
use crate::failure::Failure;
use crate::identity::{end_sessions, is_last_admin, own_account};
use crate::row::{instant, listed, parsed};
use crate::schema::{staff_theatres, theatres, users};
use crate::store::SqliteStore;

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct ManagedRow {
    id: i64,
    name: String,
    email: String,
    role: String,
    session_generation: i64,
    created_at: i64,
    disabled_at: Option<i64>,
    version: i64,
}

/// The hashes of accounts that belong to no person: deleted ones, and those of box offices.
const NO_PERSON: [&str; 2] = [AnonymousAccount::PASSWORD_HASH, BoxOfficeAccount::PASSWORD_HASH];

/// The theatres of each user.
type TheatresOf = HashMap<i64, BTreeSet<TheatreId>>;

fn managed(row: ManagedRow, theatres_of: &mut TheatresOf) -> Result<ManagedUser, Failure> {
    Ok(ManagedUser {
        id: UserId(row.id),
        name: row.name,
        email: row.email,
        access: UserAccess {
            role: parsed(Role::parse(&row.role), "role")?,
            theatres: theatres_of.remove(&row.id).unwrap_or_default(),
            disabled: row.disabled_at.is_some(),
        },
        session_generation: row.session_generation,
        created_at: instant(row.created_at, "created_at")?,
        version: row.version,
    })
}

#[async_trait]
impl StaffStore for SqliteStore {
    async fn member(&self, bearer: &Bearer) -> Result<Option<StaffMember>, StoreError> {
        let bearer = *bearer;
        Ok(self.read(move |connection| member(connection, &bearer)).await?)
    }

    async fn users(&self, filter: &UserFilter, page: &PageRequest<UserCursor>) -> Result<Vec<ManagedUser>, StoreError> {
        let (filter, mut filling) = (filter.clone(), Filling::of(page));
        let found = self.read(move |connection| {
            while let Some(page) = filling.next() {
                let rows = users_page(connection, filter.clone(), &page)?;
                let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
                let mut theatres_of = theatres_of(connection, &ids)?;
                let place = |row: &ManagedRow| UserCursor(UserId(row.id));
                filling.add(rows, place, |row| listed("users", row.id, managed(row, &mut theatres_of)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn user(&self, id: UserId) -> Result<Option<ManagedUser>, StoreError> {
        Ok(self.read(move |connection| user(connection, id)).await?)
    }
}

/// Returns the rights of a bearer whose session is live.
pub(super) fn member(connection: &mut SqliteConnection, bearer: &Bearer) -> Result<Option<StaffMember>, Failure> {
    let Some(row) = own_account(connection, bearer)? else { return Ok(None) };
    let theatres = theatres_of(connection, &[row.id])?.remove(&row.id).unwrap_or_default();
    Ok(Some(StaffMember { role: parsed(Role::parse(&row.role), "role")?, theatres }))
}

fn theatres_of(connection: &mut SqliteConnection, users: &[i64]) -> Result<TheatresOf, Failure> {
    let rows: Vec<(i64, i64)> = staff_theatres::table.filter(staff_theatres::user_id.eq_any(users)).load(connection)?;
    let mut theatres_of = TheatresOf::new();
    for (user_id, theatre_id) in rows {
        theatres_of.entry(user_id).or_default().insert(TheatreId(theatre_id));
    }
    Ok(theatres_of)
}

fn users_page(
    connection: &mut SqliteConnection,
    filter: UserFilter,
    page: &PageRequest<UserCursor>,
) -> Result<Vec<ManagedRow>, Failure> {
    let UserFilter { search, role } = filter;
    let mut query = users::table
        .filter(users::password_hash.ne_all(NO_PERSON))
        .select(ManagedRow::as_select())
        .into_boxed::<Sqlite>();
    if let Some(part) = search {
        let found = sql::<Bool>("(instr(coalesce(users.name_folded, lower(users.name)), ")
            .bind::<Text, _>(part.clone())
            .sql(") > 0 OR instr(users.email_folded, ")
            .bind::<Text, _>(part)
            .sql(") > 0)");
        query = query.filter(found);
    }
    if let Some(role) = role {
        query = query.filter(users::role.eq(role.as_str()));
    }
    if let Some(UserCursor(id)) = page.after {
        query = query.filter(users::id.gt(id.0));
    }
    Ok(query.order(users::id).limit(page.rows()).load(connection)?)
}

/// Reads one user.
fn user(connection: &mut SqliteConnection, id: UserId) -> Result<Option<ManagedUser>, Failure> {
    let row = users::table
        .find(id.0)
        .filter(users::password_hash.ne_all(NO_PERSON))
        .select(ManagedRow::as_select())
        .first(connection)
        .optional()?;
    let mut theatres_of = theatres_of(connection, &[id.0])?;
    row.map(|row| managed(row, &mut theatres_of)).transpose()
}

/// Sets what a user may do.
pub(super) fn set_access(
    connection: &mut SqliteConnection,
    before: &ManagedUser,
    after: &UserAccess,
    now: i64,
) -> Result<ManagedUser, Undone> {
    let id = before.id.0;
    let UserAccess { role, theatres, disabled } = after;
    let keeps_admin = *role == Role::Admin && !disabled;
    let row = users::table.find(id).filter(users::version.eq(before.version));
    guarded(
        diesel::update(row)
            .set((users::role.eq(role.as_str()), users::version.eq(users::version + 1)))
            .execute(connection)?,
    )?;
    let wanted: Vec<i64> = theatres.iter().map(|id| id.0).collect();
    let known: i64 = theatres::table.filter(theatres::id.eq_any(&wanted)).count().get_result(connection)?;
    if usize::try_from(known) != Ok(wanted.len()) {
        return Err(ChangeRefusal::TheatreNotFound.into());
    }
    if !keeps_admin && is_last_admin(connection, id)? {
        return Err(ChangeRefusal::LastAdmin.into());
    }
    diesel::delete(staff_theatres::table.filter(staff_theatres::user_id.eq(id))).execute(connection)?;
    let rows: Vec<_> =
        wanted.iter().map(|theatre| (staff_theatres::user_id.eq(id), staff_theatres::theatre_id.eq(theatre))).collect();
    diesel::insert_into(staff_theatres::table).values(rows).execute(connection)?;
    if *disabled != before.access.disabled {
        let disabled_at = users::disabled_at.eq(disabled.then_some(now));
        diesel::update(users::table.find(id)).set(disabled_at).execute(connection)?;
    }
    if after.loses_rights(&before.access) {
        let raised = users::session_generation.eq(users::session_generation + 1);
        diesel::update(users::table.find(id)).set(raised).execute(connection)?;
        end_sessions(connection, id, None, now)?;
    }
    Ok(user(connection, before.id)?.ok_or(Failure::Stale("the user was deleted"))?)
}
