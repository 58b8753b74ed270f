//! Users: what they may do.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::admin::{
    BoxOfficeAccount, ChangeRefusal, ManagedUser, StaffMember, StaffStore, UserAccess, UserCursor, UserFilter,
};
use domain::identity::{AnonymousAccount, Bearer, Role, SessionStore as _};
use domain::ids::{TheatreId, UserId};
use domain::page::{Filling, PageRequest};

use super::{Failure, guarded, refused};
use crate::error::bad_row;
use crate::identity::{end_sessions, lock_own_account};
use crate::rows::listed;
use crate::schema::{staff_theatres, theatres, users};
use crate::statement::{bind, statement};
use crate::store::PostgresStore;

macro_rules! user_columns {
    () => {
        "SELECT u.id, u.name, u.email, u.role, u.session_generation, u.created_at, u.disabled_at, u.version,
            array(SELECT s.theatre_id FROM staff_theatres s WHERE s.user_id = u.id) AS theatre_ids
        FROM users u "
    };
}

statement!(ListUsers: Untyped = concat!(user_columns!(), "
    WHERE u.password_hash <> ALL ($1::text[])
      AND ($2::text IS NULL OR position($2 IN coalesce(u.name_folded, lower(u.name))) > 0
        OR position($2 IN u.email_folded) > 0)
      AND ($3::text IS NULL OR u.role = $3)
      AND ($4::bigint IS NULL OR u.id > $4)
    ORDER BY u.id
    LIMIT $5"));
statement!(OneUser: Untyped = concat!(user_columns!(), "WHERE u.id = $1"));
statement!(LiveUser: Untyped = concat!(user_columns!(), "WHERE u.id = $1 AND u.password_hash <> ALL ($2::text[])"));

/// Returns the hashes of accounts that belong to no person: deleted ones, and those of box offices.
fn no_person() -> Vec<String> {
    [AnonymousAccount::PASSWORD_HASH, BoxOfficeAccount::PASSWORD_HASH].map(str::to_owned).into()
}

#[derive(QueryableByName)]
#[diesel(table_name = users)]
struct ManagedRow {
    id: i64,
    name: String,
    email: String,
    role: String,
    session_generation: i64,
    created_at: DateTime<Utc>,
    disabled_at: Option<DateTime<Utc>>,
    version: i64,
    #[diesel(sql_type = Array<BigInt>)]
    theatre_ids: Vec<i64>,
}

impl TryFrom<ManagedRow> for ManagedUser {
    type Error = StoreError;

    fn try_from(row: ManagedRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId(row.id),
            name: row.name,
            email: row.email,
            access: UserAccess {
                role: Role::parse(&row.role).map_err(bad_row)?,
                theatres: row.theatre_ids.into_iter().map(TheatreId).collect(),
                disabled: row.disabled_at.is_some(),
            },
            session_generation: row.session_generation,
            created_at: row.created_at,
            version: row.version,
        })
    }
}

/// Returns the rights of a user with this row.
fn member_of(user: ManagedUser) -> StaffMember {
    StaffMember { role: user.access.role, theatres: user.access.theatres }
}

#[async_trait]
impl StaffStore for PostgresStore {
    async fn member(&self, bearer: &Bearer) -> Result<Option<StaffMember>, StoreError> {
        if !self.lasts(bearer).await? {
            return Ok(None);
        }
        let row: Option<ManagedRow> = self.first(bind!(OneUser, BigInt = bearer.caller.user_id.0)).await?;
        row.map(|row| ManagedUser::try_from(row).map(member_of)).transpose()
    }

    async fn users(&self, filter: &UserFilter, page: &PageRequest<UserCursor>) -> Result<Vec<ManagedUser>, StoreError> {
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<ManagedRow> = self
                .load(bind!(
                    ListUsers,
                    Array<Text> = no_person(),
                    Nullable<Text> = filter.search.clone(),
                    Nullable<Text> = filter.role.map(|role| role.as_str().to_owned()),
                    Nullable<BigInt> = page.after.map(|UserCursor(id)| id.0),
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &ManagedRow| UserCursor(UserId(row.id));
            filling.add(rows, place, |row| listed("users", row.id, ManagedUser::try_from(row)));
        }
        Ok(filling.into_items())
    }

    async fn user(&self, id: UserId) -> Result<Option<ManagedUser>, StoreError> {
        let row: Option<ManagedRow> = self.first(bind!(LiveUser, BigInt = id.0, Array<Text> = no_person())).await?;
        row.map(ManagedUser::try_from).transpose()
    }
}

/// Returns the rights of a bearer whose session is live, and locks the account.
pub(super) async fn lock_member(
    connection: &mut AsyncPgConnection,
    bearer: &Bearer,
) -> Result<Option<StaffMember>, Failure> {
    let Some(id) = lock_own_account(connection, bearer).await? else { return Ok(None) };
    Ok(Some(member_of(user_by_id(connection, id).await?)))
}

async fn user_by_id(connection: &mut AsyncPgConnection, id: i64) -> Result<ManagedUser, Failure> {
    let row: ManagedRow = bind!(OneUser, BigInt = id).get_result(connection).await?;
    Ok(row.try_into()?)
}

/// Sets what a user may do. `admins` are the administrators who are not disabled, locked.
pub(super) async fn set_access(
    connection: &mut AsyncPgConnection,
    before: &ManagedUser,
    after: &UserAccess,
    admins: &[i64],
) -> Result<ManagedUser, Failure> {
    let id = before.id.0;
    let UserAccess { role, theatres, disabled } = after;
    let row = users::table.find(id).filter(users::version.eq(before.version));
    let values = (users::role.eq(role.as_str()), users::version.eq(users::version + 1));
    guarded(diesel::update(row).set(values).execute(connection).await?)?;
    let wanted: BTreeSet<i64> = theatres.iter().map(|id| id.0).collect();
    let known: i64 = theatres::table.filter(theatres::id.eq_any(&wanted)).count().get_result(connection).await?;
    if usize::try_from(known) != Ok(wanted.len()) {
        return Err(refused(ChangeRefusal::TheatreNotFound));
    }
    let stays_admin = *role == Role::Admin && !disabled;
    if !stays_admin && admins.iter().all(|admin| *admin == id) {
        return Err(refused(ChangeRefusal::LastAdmin));
    }
    diesel::delete(staff_theatres::table.filter(staff_theatres::user_id.eq(id))).execute(connection).await?;
    let rows: Vec<_> =
        wanted.iter().map(|theatre| (staff_theatres::user_id.eq(id), staff_theatres::theatre_id.eq(theatre))).collect();
    diesel::insert_into(staff_theatres::table).values(rows).execute(connection).await?;
    if *disabled != before.access.disabled {
        let user = diesel::update(users::table.find(id));
        if *disabled {
            user.set(users::disabled_at.eq(now)).execute(connection).await?;
        } else {
            user.set(users::disabled_at.eq(None::<DateTime<Utc>>)).execute(connection).await?;
        }
    }
    if after.loses_rights(&before.access) {
        let raised = users::session_generation.eq(users::session_generation + 1);
        diesel::update(users::table.find(id)).set(raised).execute(connection).await?;
        end_sessions(connection, id, None).await?;
    }
    user_by_id(connection, id).await
}
