//! Accounts, sessions and refresh tokens.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{exists, now};
use diesel::prelude::*;
use diesel::result::{Error, QueryResult};
use diesel::sql_types::{Interval, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::identity::{
    Account, Email, NewRefreshToken, NewUser, PasswordHash, RefreshTokenHash, Role, Rotation, SessionStore, User,
    UserStore, UserStoreError,
};
use domain::ids::UserId;

use crate::connect::{PostgresStore, WriteFailure, within};
use crate::error::bad_row;
use crate::schema::{refresh_tokens, sessions, users};

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct UserRow {
    id: i64,
    name: String,
    email: String,
    password_hash: String,
    role: String,
    session_generation: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<UserRow> for Account {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        let user = User {
            id: UserId(row.id),
            name: row.name,
            email: row.email,
            role: Role::parse(&row.role).map_err(bad_row)?,
            session_generation: row.session_generation,
            created_at: row.created_at,
        };
        Ok(Self { user, password_hash: PasswordHash(row.password_hash) })
    }
}

#[async_trait]
impl UserStore for PostgresStore {
    async fn create<'a>(&self, new: &NewUser, session: Option<&'a NewRefreshToken>) -> Result<User, UserStoreError> {
        let mut transaction = self.begin().await?;
        let connection = transaction.connection()?;
        let outcome = within(async {
            let row = insert_user(connection, new).await?;
            let Some(row) = row else { return Err(WriteFailure::Refused(UserStoreError::EmailTaken)) };
            if let Some(token) = session {
                open_session(connection, row.id, token).await?;
            }
            Account::try_from(row).map(|account| account.user).map_err(WriteFailure::Store)
        })
        .await;
        transaction.finish(outcome).await
    }

    async fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        let row = self
            .first(users::table.filter(users::email_folded.eq(email.folded().to_owned())).select(UserRow::as_select()))
            .await?;
        row.map(Account::try_from).transpose()
    }

    async fn by_id(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let row = self.first(users::table.find(id.0).select(UserRow::as_select())).await?;
        row.map(|row| Account::try_from(row).map(|account| account.user)).transpose()
    }

    async fn reset_password(&self, email: &Email, password: &PasswordHash) -> Result<Option<User>, StoreError> {
        let mut transaction = self.begin().await?;
        let connection = transaction.connection()?;
        let outcome = within(async {
            let row: Option<UserRow> =
                diesel::update(users::table.filter(users::email_folded.eq(email.folded().to_owned())))
                    .set((
                        users::password_hash.eq(&password.0),
                        users::session_generation.eq(users::session_generation + 1),
                    ))
                    .returning(UserRow::as_returning())
                    .get_result(connection)
                    .await
                    .optional()?;
            let Some(row) = row else { return Ok(None) };
            diesel::update(sessions::table.filter(sessions::user_id.eq(row.id)).filter(sessions::ended_at.is_null()))
                .set(sessions::ended_at.eq(now))
                .execute(connection)
                .await?;
            Account::try_from(row).map(|account| Some(account.user)).map_err(WriteFailure::Store)
        })
        .await;
        transaction.finish(outcome).await
    }
}

#[async_trait]
impl SessionStore for PostgresStore {
    async fn open(&self, user: UserId, token: &NewRefreshToken) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let connection = transaction.connection()?;
        let outcome = within(async { Ok(open_session(connection, user.0, token).await?) }).await;
        transaction.finish(outcome).await
    }

    async fn rotate(&self, presented: &RefreshTokenHash, next: &NewRefreshToken) -> Result<Rotation, StoreError> {
        let mut transaction = self.begin().await?;
        let connection = transaction.connection()?;
        let outcome = within(async {
            // The row is locked: of many who present the token at once each sees what the one before has done.
            let found: Option<(i64, Option<DateTime<Utc>>)> = refresh_tokens::table
                .filter(refresh_tokens::token_hash.eq(presented.0.as_slice()))
                .filter(refresh_tokens::expires_at.gt(now))
                .select((refresh_tokens::session_id, refresh_tokens::used_at))
                .for_update()
                .first(connection)
                .await
                .optional()?;
            let Some((session_id, used_at)) = found else { return Ok(Rotation::Refused) };
            let live: bool = diesel::select(exists(
                sessions::table.filter(sessions::id.eq(session_id)).filter(sessions::ended_at.is_null()),
            ))
            .get_result(connection)
            .await?;
            if !live {
                return Ok(Rotation::Refused);
            }
            if used_at.is_some() {
                end_session(connection, session_id).await?;
                return Ok(Rotation::Reused);
            }
            diesel::update(refresh_tokens::table.find(presented.0.as_slice()))
                .set(refresh_tokens::used_at.eq(now))
                .execute(connection)
                .await?;
            insert_token(connection, session_id, next).await?;
            let row: UserRow = users::table
                .inner_join(sessions::table)
                .filter(sessions::id.eq(session_id))
                .select(UserRow::as_select())
                .first(connection)
                .await?;
            Account::try_from(row).map(|account| Rotation::Rotated(account.user)).map_err(WriteFailure::Store)
        })
        .await;
        transaction.finish(outcome).await
    }

    async fn end(&self, presented: &RefreshTokenHash) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let connection = transaction.connection()?;
        let outcome = within(async {
            let session: Option<i64> = refresh_tokens::table
                .find(presented.0.as_slice())
                .select(refresh_tokens::session_id)
                .first(connection)
                .await
                .optional()?;
            if let Some(session_id) = session {
                end_session(connection, session_id).await?;
            }
            Ok(())
        })
        .await;
        transaction.finish(outcome).await
    }
}

/// The new account, or `None` if its address is taken: `ON CONFLICT` waits for rivals, and leaves the transaction whole.
pub(crate) async fn insert_user_if_new(connection: &mut AsyncPgConnection, new: &NewUser) -> QueryResult<Option<i64>> {
    Ok(insert_user(connection, new).await?.map(|row| row.id))
}

async fn insert_user(connection: &mut AsyncPgConnection, new: &NewUser) -> QueryResult<Option<UserRow>> {
    diesel::insert_into(users::table)
        .values((
            users::name.eq(new.name.as_str()),
            users::email.eq(new.email.as_str()),
            users::email_folded.eq(new.email.folded()),
            users::password_hash.eq(&new.password_hash.0),
            users::role.eq(new.role.as_str()),
        ))
        .on_conflict(users::email_folded)
        .do_nothing()
        .returning(UserRow::as_returning())
        .get_result(connection)
        .await
        .optional()
}

async fn open_session(connection: &mut AsyncPgConnection, user_id: i64, token: &NewRefreshToken) -> QueryResult<()> {
    let session_id: i64 = diesel::insert_into(sessions::table)
        .values(sessions::user_id.eq(user_id))
        .returning(sessions::id)
        .get_result(connection)
        .await?;
    insert_token(connection, session_id, token).await
}

async fn insert_token(connection: &mut AsyncPgConnection, session_id: i64, token: &NewRefreshToken) -> QueryResult<()> {
    let ttl = TimeDelta::from_std(token.ttl).map_err(|error| Error::SerializationError(error.into()))?;
    diesel::insert_into(refresh_tokens::table)
        .values((
            refresh_tokens::token_hash.eq(token.hash.0.as_slice()),
            refresh_tokens::session_id.eq(session_id),
            refresh_tokens::expires_at.eq(now.into_sql::<Timestamptz>() + ttl.into_sql::<Interval>()),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

async fn end_session(connection: &mut AsyncPgConnection, session_id: i64) -> QueryResult<()> {
    diesel::update(sessions::table.find(session_id).filter(sessions::ended_at.is_null()))
        .set(sessions::ended_at.eq(now))
        .execute(connection)
        .await?;
    Ok(())
}
