//! Accounts and sessions.

use async_trait::async_trait;
use diesel::prelude::*;
use domain::StoreError;
use domain::identity::{
    Account, Email, NewRefreshToken, NewUser, PasswordHash, RefreshTokenHash, Role, Rotation, SessionStore, User,
    UserStore, UserStoreError,
};
use domain::ids::UserId;

use crate::failure::Failure;
use crate::row::{after, instant, parsed};
use crate::schema::{refresh_tokens, sessions, users};
use crate::store::SqliteStore;

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct UserRow {
    id: i64,
    name: String,
    email: String,
    role: String,
    session_generation: i64,
    created_at: i64,
}

impl TryFrom<UserRow> for User {
    type Error = Failure;

    fn try_from(row: UserRow) -> Result<Self, Failure> {
        Ok(Self {
            id: UserId(row.id),
            name: row.name,
            email: row.email,
            role: parsed(Role::parse(&row.role), "role")?,
            session_generation: row.session_generation,
            created_at: instant(row.created_at, "created_at")?,
        })
    }
}

#[async_trait]
impl UserStore for SqliteStore {
    async fn create<'a>(&self, user: &NewUser, session: Option<&'a NewRefreshToken>) -> Result<User, UserStoreError> {
        let (user, session, clock) = (user.clone(), session.copied(), self.clock());
        let created = self.write(move |connection| {
            let now = clock.now();
            let row = insert_user(connection, &user, now)?;
            if let Some(token) = session {
                open_session(connection, row.id, &token, now)?;
            }
            row.try_into()
        });
        created.await.map_err(|failure: Failure| {
            if failure.is_duplicate_of("users.email_folded") {
                UserStoreError::EmailTaken
            } else {
                UserStoreError::Store(failure.into())
            }
        })
    }

    async fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        let folded = email.folded().to_owned();
        let found = self.read(move |connection| {
            let row: Option<(UserRow, String)> = users::table
                .filter(users::email_folded.eq(folded))
                .select((UserRow::as_select(), users::password_hash))
                .first(connection)
                .optional()?;
            row.map(|(user, hash)| Ok(Account { user: user.try_into()?, password_hash: PasswordHash(hash) }))
                .transpose()
        });
        Ok(found.await?)
    }

    async fn by_id(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let found = self.read(move |connection| {
            let row = users::table.find(id.0).select(UserRow::as_select()).first(connection).optional()?;
            row.map(User::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn reset_password(&self, email: &Email, password: &PasswordHash) -> Result<Option<User>, StoreError> {
        let (folded, hash, clock) = (email.folded().to_owned(), password.0.clone(), self.clock());
        let reset = self.write(move |connection| {
            let row: Option<UserRow> = diesel::update(users::table.filter(users::email_folded.eq(folded)))
                .set((users::password_hash.eq(hash), users::session_generation.eq(users::session_generation + 1)))
                .returning(UserRow::as_returning())
                .get_result(connection)
                .optional()?;
            let Some(row) = row else { return Ok(None) };
            let live = sessions::table.filter(sessions::user_id.eq(row.id)).filter(sessions::ended_at.is_null());
            diesel::update(live).set(sessions::ended_at.eq(clock.now())).execute(connection)?;
            User::try_from(row).map(Some)
        });
        Ok(reset.await?)
    }
}

pub(crate) fn insert_user(connection: &mut SqliteConnection, user: &NewUser, now: i64) -> Result<UserRow, Failure> {
    let row = diesel::insert_into(users::table)
        .values((
            users::name.eq(user.name.as_str()),
            users::email.eq(user.email.as_str()),
            users::email_folded.eq(user.email.folded()),
            users::password_hash.eq(&user.password_hash.0),
            users::role.eq(user.role.as_str()),
            users::created_at.eq(now),
        ))
        .returning(UserRow::as_returning())
        .get_result(connection)?;
    Ok(row)
}

/// Begins a session of the user with its first token.
fn open_session(
    connection: &mut SqliteConnection,
    user_id: i64,
    token: &NewRefreshToken,
    now: i64,
) -> Result<(), Failure> {
    let session_id: i64 = diesel::insert_into(sessions::table)
        .values((sessions::user_id.eq(user_id), sessions::created_at.eq(now)))
        .returning(sessions::id)
        .get_result(connection)?;
    insert_token(connection, session_id, token, now)
}

fn insert_token(
    connection: &mut SqliteConnection,
    session_id: i64,
    token: &NewRefreshToken,
    now: i64,
) -> Result<(), Failure> {
    diesel::insert_into(refresh_tokens::table)
        .values((
            refresh_tokens::token_hash.eq(&token.hash.0[..]),
            refresh_tokens::session_id.eq(session_id),
            refresh_tokens::created_at.eq(now),
            refresh_tokens::expires_at.eq(after(now, token.ttl)),
        ))
        .execute(connection)?;
    Ok(())
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn open(&self, user: UserId, token: &NewRefreshToken) -> Result<(), StoreError> {
        let (token, clock) = (*token, self.clock());
        Ok(self.write(move |connection| open_session(connection, user.0, &token, clock.now())).await?)
    }

    async fn rotate(&self, presented: &RefreshTokenHash, next: &NewRefreshToken) -> Result<Rotation, StoreError> {
        let (presented, next, clock) = (*presented, *next, self.clock());
        Ok(self.write(move |connection| rotated(connection, &presented, &next, clock.now())).await?)
    }

    async fn end(&self, presented: &RefreshTokenHash) -> Result<(), StoreError> {
        let (presented, clock) = (*presented, self.clock());
        let ended = self.write(move |connection| {
            let session_id: Option<i64> = refresh_tokens::table
                .find(presented.0.to_vec())
                .select(refresh_tokens::session_id)
                .first(connection)
                .optional()?;
            session_id.map_or(Ok(()), |session_id| end_session(connection, session_id, clock.now()))
        });
        Ok(ended.await?)
    }
}

/// A token with its session: the session's id, when the token runs out, when it was used, when the session was ended.
type PresentedToken = (i64, i64, Option<i64>, Option<i64>);

fn rotated(
    connection: &mut SqliteConnection,
    presented: &RefreshTokenHash,
    next: &NewRefreshToken,
    now: i64,
) -> Result<Rotation, Failure> {
    let found: Option<(PresentedToken, UserRow)> = refresh_tokens::table
        .inner_join(sessions::table.on(sessions::id.eq(refresh_tokens::session_id)))
        .inner_join(users::table.on(users::id.eq(sessions::user_id)))
        .filter(refresh_tokens::token_hash.eq(&presented.0[..]))
        .select((
            (sessions::id, refresh_tokens::expires_at, refresh_tokens::used_at, sessions::ended_at),
            UserRow::as_select(),
        ))
        .first(connection)
        .optional()?;
    let Some(((session_id, expires_at, used_at, ended_at), user)) = found else { return Ok(Rotation::Refused) };
    if ended_at.is_some() || expires_at <= now {
        return Ok(Rotation::Refused);
    }
    if used_at.is_some() {
        // Whoever has the next token has a stolen one, or is who was stolen from.
        end_session(connection, session_id, now)?;
        return Ok(Rotation::Reused);
    }
    diesel::update(refresh_tokens::table.find(presented.0.to_vec()))
        .set(refresh_tokens::used_at.eq(now))
        .execute(connection)?;
    insert_token(connection, session_id, next, now)?;
    user.try_into().map(Rotation::Rotated)
}

fn end_session(connection: &mut SqliteConnection, session_id: i64, now: i64) -> Result<(), Failure> {
    let live = sessions::table.find(session_id).filter(sessions::ended_at.is_null());
    diesel::update(live).set(sessions::ended_at.eq(now)).execute(connection)?;
    Ok(())
}
