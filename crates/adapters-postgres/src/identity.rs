//! Accounts, sessions and refresh tokens.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error, QueryResult};
use diesel::sql_types::{Interval, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::admin::ChangeOrigin;
use domain::identity::{
    Account, AccountChange, AnonymiseError, AnonymousAccount, Bearer, ChangeAccountError, CreatedUser, Email,
    NewRefreshToken, NewUser, PasswordHash, RefreshTokenHash, Role, Rotation, Session, SessionCursor, SessionStore,
    User, UserStore, UserStoreError,
};
use domain::ids::{SessionId, UserId};
use domain::page::PageRequest;
use domain::text::fold;

use crate::admin::insert_entry;
use crate::error::bad_row;
use crate::schema::{refresh_tokens, sessions, staff_theatres, users};
use crate::store::{PostgresStore, WriteFailure};

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
    disabled_at: Option<DateTime<Utc>>,
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
        Ok(Self { user, password_hash: PasswordHash(row.password_hash), disabled: row.disabled_at.is_some() })
    }
}

#[async_trait]
impl UserStore for PostgresStore {
    async fn create<'a>(
        &self,
        new: &NewUser,
        session: Option<&'a NewRefreshToken>,
    ) -> Result<CreatedUser, UserStoreError> {
        self.transact(async |connection| {
            let row = insert_user(connection, new).await?;
            let Some(row) = row else { return Err(WriteFailure::Refused(UserStoreError::EmailTaken)) };
            let session_id = match session {
                Some(token) => Some(open_session(connection, row.id, token).await?),
                None => None,
            };
            let user = Account::try_from(row).map_err(WriteFailure::Store)?.user;
            Ok(CreatedUser { user, session_id })
        })
        .await
    }

    async fn create_by_operator(&self, new: &NewUser, origin: &ChangeOrigin) -> Result<User, UserStoreError> {
        self.transact(async |connection| {
            let row = insert_user(connection, new).await?;
            let Some(row) = row else { return Err(WriteFailure::Refused(UserStoreError::EmailTaken)) };
            let user = Account::try_from(row).map_err(WriteFailure::Store)?.user;
            insert_entry(connection, &origin.account_created(&user)).await?;
            Ok(user)
        })
        .await
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

    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        let row = self.first(users::table.find(id.0).select(UserRow::as_select())).await?;
        row.map(Account::try_from).transpose()
    }

    async fn reset_password(
        &self,
        email: &Email,
        password: &PasswordHash,
        origin: &ChangeOrigin,
    ) -> Result<Option<User>, StoreError> {
        self.transact(async |connection| {
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
            end_sessions(connection, row.id, None).await?;
            let user = Account::try_from(row).map_err(WriteFailure::Store)?.user;
            insert_entry(connection, &origin.password_reset(&user)).await?;
            Ok(Some(user))
        })
        .await
    }

    async fn replace_hash(&self, user: UserId, old: &PasswordHash, new: &PasswordHash) -> Result<(), StoreError> {
        self.transact(async |connection| {
            diesel::update(users::table.find(user.0).filter(users::password_hash.eq(&old.0)))
                .set(users::password_hash.eq(&new.0))
                .execute(connection)
                .await?;
            Ok(())
        })
        .await
    }

    async fn change(&self, bearer: &Bearer, change: &AccountChange) -> Result<User, ChangeAccountError> {
        self.transact(async |connection| {
            let Some(id) = lock_own_account(connection, bearer).await? else {
                return Err(WriteFailure::Refused(ChangeAccountError::SessionEnded));
            };
            let changed = change_account(connection, id, change).await.map_err(|error| match error {
                Error::DatabaseError(DatabaseErrorKind::UniqueViolation, ref information)
                    if information.constraint_name() == Some("users_email_unique") =>
                {
                    WriteFailure::Refused(ChangeAccountError::EmailTaken)
                }
                error => WriteFailure::Query(error),
            });
            let row = changed?;
            if change.password_hash.is_some() {
                end_sessions(connection, id, bearer.session_id).await?;
            }
            Account::try_from(row).map(|account| account.user).map_err(WriteFailure::Store)
        })
        .await
    }

    async fn anonymise(&self, bearer: &Bearer) -> Result<(), AnonymiseError> {
        self.transact(async |connection| {
            let admins = lock_admins_if_one(connection, bearer.caller.user_id).await?;
            let Some(id) = lock_own_account(connection, bearer).await? else {
                return Err(WriteFailure::Refused(AnonymiseError::SessionEnded));
            };
            if admins == [id] {
                return Err(WriteFailure::Refused(AnonymiseError::LastAdmin));
            }
            let anonymous = AnonymousAccount::of(UserId(id));
            diesel::update(users::table.find(id))
                .set((
                    users::name.eq(anonymous.name),
                    users::name_folded.eq(""),
                    users::email.eq(&anonymous.email),
                    users::email_folded.eq(&anonymous.email),
                    users::password_hash.eq(AnonymousAccount::PASSWORD_HASH),
                    users::role.eq(anonymous.role.as_str()),
                    users::session_generation.eq(users::session_generation + 1),
                    users::version.eq(users::version + 1),
                ))
                .execute(connection)
                .await?;
            diesel::delete(staff_theatres::table.filter(staff_theatres::user_id.eq(id))).execute(connection).await?;
            end_sessions(connection, id, None).await?;
            Ok(())
        })
        .await
    }
}

/// Locks and returns the ids of all administrators who are not disabled if this user is an administrator.
async fn lock_admins_if_one(connection: &mut AsyncPgConnection, user: UserId) -> QueryResult<Vec<i64>> {
    let admin = Role::Admin.as_str();
    let role: Option<String> = users::table.find(user.0).select(users::role).first(connection).await.optional()?;
    if role.as_deref() != Some(admin) {
        return Ok(Vec::new());
    }
    lock_admins(connection).await
}

/// Locks and returns the ids of all administrators who are not disabled. The lock serialises concurrent requests that would each leave one
/// administrator less, so the second sees the result of the first.
pub(crate) async fn lock_admins(connection: &mut AsyncPgConnection) -> QueryResult<Vec<i64>> {
    let admins = users::table.filter(users::role.eq(Role::Admin.as_str())).filter(users::disabled_at.is_null());
    admins.order(users::id).select(users::id).for_update().load(connection).await
}

/// Returns the id of the bearer's account, and locks it, if the session is live. Locks the account first, then the session, which is the order in which a
/// password change ends sessions.
pub(crate) async fn lock_own_account(connection: &mut AsyncPgConnection, bearer: &Bearer) -> QueryResult<Option<i64>> {
    let caller = bearer.caller;
    let id: Option<i64> = users::table
        .find(caller.user_id.0)
        .filter(users::session_generation.eq(caller.session_generation))
        .select(users::id)
        .for_no_key_update()
        .first(connection)
        .await
        .optional()?;
    let (Some(id), Some(session_id)) = (id, bearer.session_id) else { return Ok(id) };
    let live: Option<i64> = sessions::table
        .find(session_id.0)
        .filter(sessions::user_id.eq(id))
        .filter(sessions::ended_at.is_null())
        .select(sessions::id)
        .for_update()
        .first(connection)
        .await
        .optional()?;
    Ok(live.map(|_| id))
}

async fn change_account(connection: &mut AsyncPgConnection, id: i64, change: &AccountChange) -> QueryResult<UserRow> {
    let AccountChange { name, email, password_hash } = change;
    let user = users::table.find(id);
    if let Some(name) = name {
        let name = (users::name.eq(name.as_str()), users::name_folded.eq(fold(name.as_str())));
        diesel::update(user).set(name).execute(connection).await?;
    }
    if let Some(email) = email {
        let address = (users::email.eq(email.as_str()), users::email_folded.eq(email.folded()));
        diesel::update(user).set(address).execute(connection).await?;
    }
    if let Some(hash) = password_hash {
        let password = (users::password_hash.eq(&hash.0), users::session_generation.eq(users::session_generation + 1));
        diesel::update(user).set(password).execute(connection).await?;
    }
    diesel::update(user).set(users::version.eq(users::version + 1)).execute(connection).await?;
    user.select(UserRow::as_select()).first(connection).await
}

/// Ends the user's sessions except `kept`.
pub(crate) async fn end_sessions(
    connection: &mut AsyncPgConnection,
    user_id: i64,
    kept: Option<SessionId>,
) -> QueryResult<()> {
    // Ids begin at 1, so 0 excludes no session.
    let kept = kept.map_or(0, |id| id.0);
    diesel::update(
        sessions::table
            .filter(sessions::user_id.eq(user_id))
            .filter(sessions::ended_at.is_null())
            .filter(sessions::id.ne(kept)),
    )
    .set(sessions::ended_at.eq(now))
    .execute(connection)
    .await?;
    Ok(())
}

#[async_trait]
impl SessionStore for PostgresStore {
    async fn open(&self, user: &User, token: &NewRefreshToken) -> Result<Option<SessionId>, StoreError> {
        self.transact(async |connection| {
            // The lock serialises this with a password change: the change either waits and ends this session, or it is seen here.
            let current: Option<i64> = users::table
                .find(user.id.0)
                .filter(users::session_generation.eq(user.session_generation))
                .select(users::id)
                .for_share()
                .first(connection)
                .await
                .optional()?;
            Ok(match current {
                Some(id) => Some(open_session(connection, id, token).await?),
                None => None,
            })
        })
        .await
    }

    async fn rotate(&self, presented: &RefreshTokenHash, next: &NewRefreshToken) -> Result<Rotation, StoreError> {
        self.transact(async |connection| {
            // The row lock serialises concurrent uses of one token: each sees the result of the previous one.
            let found: Option<(i64, Option<DateTime<Utc>>)> = refresh_tokens::table
                .filter(refresh_tokens::token_hash.eq(presented.0.as_slice()))
                .filter(refresh_tokens::expires_at.gt(now))
                .select((refresh_tokens::session_id, refresh_tokens::used_at))
                .for_update()
                .first(connection)
                .await
                .optional()?;
            let Some((session_id, used_at)) = found else { return Ok(Rotation::Refused) };
            // Locked as well: a request that ends the session waits until the next token is stored, and the user is read after the lock.
            let live: Option<i64> = sessions::table
                .find(session_id)
                .filter(sessions::ended_at.is_null())
                .select(sessions::id)
                .for_update()
                .first(connection)
                .await
                .optional()?;
            if live.is_none() {
                return Ok(Rotation::Refused);
            }
            if used_at.is_some() {
                end_session(connection, session_id).await?;
                return Ok(Rotation::Reused { session_id: SessionId(session_id) });
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
            let user = Account::try_from(row).map_err(WriteFailure::Store)?.user;
            Ok(Rotation::Rotated { user, session_id: SessionId(session_id) })
        })
        .await
    }

    async fn end(&self, presented: &RefreshTokenHash) -> Result<Option<SessionId>, StoreError> {
        self.transact(async |connection| {
            let session: Option<i64> = refresh_tokens::table
                .find(presented.0.as_slice())
                .select(refresh_tokens::session_id)
                .first(connection)
                .await
                .optional()?;
            if let Some(session_id) = session {
                end_session(connection, session_id).await?;
            }
            Ok(session.map(SessionId))
        })
        .await
    }

    async fn end_one(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        self.transact(async |connection| {
            let live =
                sessions::table.find(id.0).filter(sessions::user_id.eq(user.0)).filter(sessions::ended_at.is_null());
            Ok(diesel::update(live).set(sessions::ended_at.eq(now)).execute(connection).await? > 0)
        })
        .await
    }

    async fn sessions(&self, user: UserId, page: &PageRequest<SessionCursor>) -> Result<Vec<Session>, StoreError> {
        // A live session has exactly one unused token. It was issued with the last token pair, and the session expires with it.
        let live = sessions::table
            .inner_join(refresh_tokens::table)
            .filter(sessions::user_id.eq(user.0))
            .filter(sessions::ended_at.is_null())
            .filter(refresh_tokens::used_at.is_null())
            .filter(refresh_tokens::expires_at.gt(now))
            .order((sessions::created_at.desc(), sessions::id.desc()))
            .limit(page.rows())
            .select((SessionRow::as_select(), UnusedTokenRow::as_select()));
        let rows: Vec<(SessionRow, UnusedTokenRow)> = match page.after {
            None => self.load(live).await?,
            Some(SessionCursor { created_at: at, id }) => {
                let later = sessions::created_at.lt(at).or(sessions::created_at.eq(at).and(sessions::id.lt(id.0)));
                self.load(live.filter(later)).await?
            }
        };
        let session = |(session, token): (SessionRow, UnusedTokenRow)| Session {
            id: SessionId(session.id),
            created_at: session.created_at,
            last_used_at: token.created_at,
            expires_at: token.expires_at,
        };
        Ok(rows.into_iter().map(session).collect())
    }

    async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError> {
        let caller = bearer.caller;
        let account = users::table
            .filter(users::id.eq(caller.user_id.0))
            .filter(users::session_generation.eq(caller.session_generation));
        let found: Option<i64> = match bearer.session_id {
            None => self.first(account.select(users::id)).await?,
            Some(session_id) => {
                let live = account
                    .inner_join(sessions::table)
                    .filter(sessions::id.eq(session_id.0))
                    .filter(sessions::ended_at.is_null());
                self.first(live.select(sessions::id)).await?
            }
        };
        Ok(found.is_some())
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
struct SessionRow {
    id: i64,
    created_at: DateTime<Utc>,
}

/// The unused token of a session.
#[derive(Queryable, Selectable)]
#[diesel(table_name = refresh_tokens)]
struct UnusedTokenRow {
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// Inserts an account, and returns `None` if the address is taken. `ON CONFLICT` waits for concurrent inserts and does not abort the
/// transaction.
pub(crate) async fn insert_user_if_new(connection: &mut AsyncPgConnection, new: &NewUser) -> QueryResult<Option<i64>> {
    Ok(insert_user(connection, new).await?.map(|row| row.id))
}

async fn insert_user(connection: &mut AsyncPgConnection, new: &NewUser) -> QueryResult<Option<UserRow>> {
    diesel::insert_into(users::table)
        .values((
            users::name.eq(new.name.as_str()),
            users::name_folded.eq(fold(new.name.as_str())),
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

async fn open_session(
    connection: &mut AsyncPgConnection,
    user_id: i64,
    token: &NewRefreshToken,
) -> QueryResult<SessionId> {
    let session_id: i64 = diesel::insert_into(sessions::table)
        .values(sessions::user_id.eq(user_id))
        .returning(sessions::id)
        .get_result(connection)
        .await?;
    insert_token(connection, session_id, token).await?;
    Ok(SessionId(session_id))
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
