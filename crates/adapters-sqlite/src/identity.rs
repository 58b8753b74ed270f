//! Accounts and sessions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use domain::StoreError;
use domain::admin::ChangeOrigin;
use domain::identity::{
    Account, AccountChange, AnonymiseError, AnonymousAccount, Bearer, ChangeAccountError, CreatedUser, Email,
    NewRefreshToken, NewUser, PasswordHash, RefreshTokenHash, Role, Rotation, Session, SessionCursor, SessionStore,
    User, UserStore, UserStoreError,
};
use domain::ids::{SessionId, UserId};
use domain::page::{Filling, PageRequest};
use domain::text::fold;

use crate::admin::insert_entry;
use crate::failure::Failure;
use crate::row::{after, instant, listed, micros, parsed};
use crate::schema::{refresh_tokens, sessions, staff_theatres, users};
use crate::store::SqliteStore;

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct UserRow {
    pub(crate) id: i64,
    name: String,
    email: String,
    pub(crate) role: String,
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

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct AccountRow {
    #[diesel(embed)]
    user: UserRow,
    password_hash: String,
    disabled_at: Option<i64>,
}

impl TryFrom<AccountRow> for Account {
    type Error = Failure;

    fn try_from(row: AccountRow) -> Result<Self, Failure> {
        let password_hash = PasswordHash(row.password_hash);
        Ok(Self { user: row.user.try_into()?, password_hash, disabled: row.disabled_at.is_some() })
    }
}

#[async_trait]
impl UserStore for SqliteStore {
    async fn create<'a>(
        &self,
        user: &NewUser,
        session: Option<&'a NewRefreshToken>,
    ) -> Result<CreatedUser, UserStoreError> {
        let (user, session, clock) = (user.clone(), session.copied(), self.clock());
        let created = self.write(move |connection| {
            let now = clock.now();
            let row = insert_user(connection, &user, now)?;
            let session_id = match session {
                Some(token) => Some(open_session(connection, row.id, &token, now)?),
                None => None,
            };
            Ok(CreatedUser { user: row.try_into()?, session_id })
        });
        created.await.map_err(not_created)
    }

    async fn create_by_operator(&self, user: &NewUser, origin: &ChangeOrigin) -> Result<User, UserStoreError> {
        let (user, origin, clock) = (user.clone(), origin.clone(), self.clock());
        let created = self.write(move |connection| {
            let now = clock.now();
            let user = User::try_from(insert_user(connection, &user, now)?)?;
            insert_entry(connection, &origin.account_created(&user), now)?;
            Ok(user)
        });
        created.await.map_err(not_created)
    }

    async fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        let folded = email.folded().to_owned();
        let found = self.read(move |connection| {
            let row: Option<AccountRow> = users::table
                .filter(users::email_folded.eq(folded))
                .select(AccountRow::as_select())
                .first(connection)
                .optional()?;
            row.map(Account::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn by_id(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let found = self.read(move |connection| {
            let row = users::table.find(id.0).select(UserRow::as_select()).get_result(connection).optional()?;
            row.map(User::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        let found = self.read(move |connection| {
            let row: Option<AccountRow> =
                users::table.find(id.0).select(AccountRow::as_select()).first(connection).optional()?;
            row.map(Account::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn reset_password(
        &self,
        email: &Email,
        password: &PasswordHash,
        origin: &ChangeOrigin,
    ) -> Result<Option<User>, StoreError> {
        let (folded, hash, clock) = (email.folded().to_owned(), password.0.clone(), self.clock());
        let origin = origin.clone();
        let reset = self.write(move |connection| {
            let row: Option<UserRow> = diesel::update(users::table.filter(users::email_folded.eq(folded)))
                .set((users::password_hash.eq(hash), users::session_generation.eq(users::session_generation + 1)))
                .returning(UserRow::as_returning())
                .get_result(connection)
                .optional()?;
            let Some(row) = row else { return Ok(None) };
            let now = clock.now();
            end_sessions(connection, row.id, None, now)?;
            let user = User::try_from(row)?;
            insert_entry(connection, &origin.password_reset(&user), now)?;
            Ok(Some(user))
        });
        Ok(reset.await?)
    }

    async fn replace_hash(&self, user: UserId, old: &PasswordHash, new: &PasswordHash) -> Result<(), StoreError> {
        let (old, new) = (old.0.clone(), new.0.clone());
        let replaced = self.write(move |connection| {
            diesel::update(users::table.find(user.0).filter(users::password_hash.eq(old)))
                .set(users::password_hash.eq(new))
                .execute(connection)?;
            Ok(())
        });
        Ok(replaced.await?)
    }

    async fn change(&self, bearer: &Bearer, change: &AccountChange) -> Result<User, ChangeAccountError> {
        let (bearer, change, clock) = (*bearer, change.clone(), self.clock());
        let changed = self.write(move |connection| changed(connection, &bearer, &change, clock.now()));
        match changed.await {
            Ok(user) => user.ok_or(ChangeAccountError::SessionEnded),
            Err(failure) if failure.is_duplicate_of("users.email_folded") => Err(ChangeAccountError::EmailTaken),
            Err(failure) => Err(ChangeAccountError::Store(failure.into())),
        }
    }

    async fn anonymise(&self, bearer: &Bearer) -> Result<(), AnonymiseError> {
        let (bearer, clock) = (*bearer, self.clock());
        let outcome = self.write(move |connection| anonymised(connection, &bearer, clock.now()));
        outcome.await.map_err(|failure| AnonymiseError::Store(failure.into()))?
    }
}

fn not_created(failure: Failure) -> UserStoreError {
    if failure.is_duplicate_of("users.email_folded") {
        UserStoreError::EmailTaken
    } else {
        UserStoreError::Store(failure.into())
    }
}

/// Returns the account of a bearer whose session is live.
pub(crate) fn own_account(connection: &mut SqliteConnection, bearer: &Bearer) -> Result<Option<UserRow>, Failure> {
    let caller = bearer.caller;
    if let Some(session_id) = bearer.session_id {
        let live: Option<i64> = sessions::table
            .find(session_id.0)
            .filter(sessions::user_id.eq(caller.user_id.0))
            .filter(sessions::ended_at.is_null())
            .select(sessions::id)
            .first(connection)
            .optional()?;
        if live.is_none() {
            return Ok(None);
        }
    }
    Ok(users::table
        .find(caller.user_id.0)
        .filter(users::session_generation.eq(caller.session_generation))
        .select(UserRow::as_select())
        .first(connection)
        .optional()?)
}

fn changed(
    connection: &mut SqliteConnection,
    bearer: &Bearer,
    change: &AccountChange,
    now: i64,
) -> Result<Option<User>, Failure> {
    let Some(row) = own_account(connection, bearer)? else { return Ok(None) };
    let AccountChange { name, email, password_hash } = change;
    let user = users::table.find(row.id);
    if let Some(name) = name {
        let name = (users::name.eq(name.as_str()), users::name_folded.eq(fold(name.as_str())));
        diesel::update(user).set(name).execute(connection)?;
    }
    if let Some(email) = email {
        let address = (users::email.eq(email.as_str()), users::email_folded.eq(email.folded()));
        diesel::update(user).set(address).execute(connection)?;
    }
    if let Some(hash) = password_hash {
        let password = (users::password_hash.eq(&hash.0), users::session_generation.eq(users::session_generation + 1));
        diesel::update(user).set(password).execute(connection)?;
        end_sessions(connection, row.id, bearer.session_id, now)?;
    }
    diesel::update(user).set(users::version.eq(users::version + 1)).execute(connection)?;
    let row: UserRow = user.select(UserRow::as_select()).first(connection)?;
    User::try_from(row).map(Some)
}

fn anonymised(
    connection: &mut SqliteConnection,
    bearer: &Bearer,
    now: i64,
) -> Result<Result<(), AnonymiseError>, Failure> {
    let Some(row) = own_account(connection, bearer)? else { return Ok(Err(AnonymiseError::SessionEnded)) };
    if row.role == Role::Admin.as_str() && is_last_admin(connection, row.id)? {
        return Ok(Err(AnonymiseError::LastAdmin));
    }
    let anonymous = AnonymousAccount::of(UserId(row.id));
    diesel::update(users::table.find(row.id))
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
        .execute(connection)?;
    diesel::delete(staff_theatres::table.filter(staff_theatres::user_id.eq(row.id))).execute(connection)?;
    end_sessions(connection, row.id, None, now)?;
    Ok(Ok(()))
}

/// Returns whether no other user is an administrator who is not disabled.
pub(crate) fn is_last_admin(connection: &mut SqliteConnection, user_id: i64) -> Result<bool, Failure> {
    let others = users::table
        .filter(users::role.eq(Role::Admin.as_str()))
        .filter(users::disabled_at.is_null())
        .filter(users::id.ne(user_id));
    Ok(!diesel::select(exists(others)).get_result::<bool>(connection)?)
}

/// Ends the user's sessions except `kept`.
pub(crate) fn end_sessions(
    connection: &mut SqliteConnection,
    user_id: i64,
    kept: Option<SessionId>,
    now: i64,
) -> Result<(), Failure> {
    // Ids begin at 1, so 0 excludes no session.
    let kept = kept.map_or(0, |id| id.0);
    let live = sessions::table.filter(sessions::user_id.eq(user_id)).filter(sessions::ended_at.is_null());
    diesel::update(live.filter(sessions::id.ne(kept))).set(sessions::ended_at.eq(now)).execute(connection)?;
    Ok(())
}

pub(crate) fn insert_user(connection: &mut SqliteConnection, user: &NewUser, now: i64) -> Result<UserRow, Failure> {
    let row = diesel::insert_into(users::table)
        .values((
            users::name.eq(user.name.as_str()),
            users::name_folded.eq(fold(user.name.as_str())),
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

/// Opens a session of the user with its first token.
fn open_session(
    connection: &mut SqliteConnection,
    user_id: i64,
    token: &NewRefreshToken,
    now: i64,
) -> Result<SessionId, Failure> {
    let session_id: i64 = diesel::insert_into(sessions::table)
        .values((sessions::user_id.eq(user_id), sessions::created_at.eq(now)))
        .returning(sessions::id)
        .get_result(connection)?;
    insert_token(connection, session_id, token, now)?;
    Ok(SessionId(session_id))
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
    async fn open(&self, user: &User, token: &NewRefreshToken) -> Result<Option<SessionId>, StoreError> {
        let (id, generation, token, clock) = (user.id.0, user.session_generation, *token, self.clock());
        let opened = self.write(move |connection| {
            let current: Option<i64> =
                users::table.find(id).select(users::session_generation).get_result(connection).optional()?;
            if current != Some(generation) {
                return Ok(None);
            }
            open_session(connection, id, &token, clock.now()).map(Some)
        });
        Ok(opened.await?)
    }

    async fn rotate(&self, presented: &RefreshTokenHash, next: &NewRefreshToken) -> Result<Rotation, StoreError> {
        let (presented, next, clock) = (*presented, *next, self.clock());
        Ok(self.write(move |connection| rotated(connection, &presented, &next, clock.now())).await?)
    }

    async fn end(&self, presented: &RefreshTokenHash) -> Result<Option<SessionId>, StoreError> {
        let (presented, clock) = (*presented, self.clock());
        let ended = self.write(move |connection| {
            let session_id: Option<i64> = refresh_tokens::table
                .find(presented.0.to_vec())
                .select(refresh_tokens::session_id)
                .first(connection)
                .optional()?;
            if let Some(session_id) = session_id {
                end_session(connection, session_id, clock.now())?;
            }
            Ok(session_id.map(SessionId))
        });
        Ok(ended.await?)
    }

    async fn end_one(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        let clock = self.clock();
        let ended = self.write(move |connection| {
            let live =
                sessions::table.find(id.0).filter(sessions::user_id.eq(user.0)).filter(sessions::ended_at.is_null());
            Ok(diesel::update(live).set(sessions::ended_at.eq(clock.now())).execute(connection)? > 0)
        });
        Ok(ended.await?)
    }

    async fn sessions(&self, user: UserId, page: &PageRequest<SessionCursor>) -> Result<Vec<Session>, StoreError> {
        let (mut filling, clock) = (Filling::of(page), self.clock());
        let found = self.read(move |connection| {
            let now = clock.now();
            while let Some(page) = filling.next() {
                let rows = live_sessions(connection, user, &page, now)?;
                let place = |row: &SessionRow| SessionCursor {
                    created_at: instant(row.1, "created_at").unwrap_or(DateTime::<Utc>::MAX_UTC),
                    id: SessionId(row.0),
                };
                filling.add(rows, place, |row| listed("sessions", row.0, session(row)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError> {
        let bearer = *bearer;
        Ok(self.read(move |connection| Ok(own_account(connection, &bearer)?.is_some())).await?)
    }
}

/// Id, creation, last use and expiry.
type SessionRow = (i64, i64, i64, i64);

fn session((id, created_at, last_used_at, expires_at): SessionRow) -> Result<Session, Failure> {
    Ok(Session {
        id: SessionId(id),
        created_at: instant(created_at, "created_at")?,
        last_used_at: instant(last_used_at, "created_at")?,
        expires_at: instant(expires_at, "expires_at")?,
    })
}

/// Selects a user's live sessions. A live session has exactly one unused token. It was issued with the last token pair, and the session
/// expires with it.
fn live_sessions(
    connection: &mut SqliteConnection,
    user: UserId,
    page: &PageRequest<SessionCursor>,
    now: i64,
) -> Result<Vec<SessionRow>, Failure> {
    let mut query = sessions::table
        .inner_join(refresh_tokens::table.on(refresh_tokens::session_id.eq(sessions::id)))
        .filter(sessions::user_id.eq(user.0))
        .filter(sessions::ended_at.is_null())
        .filter(refresh_tokens::used_at.is_null())
        .filter(refresh_tokens::expires_at.gt(now))
        .into_boxed();
    if let Some(SessionCursor { created_at, id }) = page.after {
        let at = micros(created_at);
        query = query.filter(sessions::created_at.lt(at).or(sessions::created_at.eq(at).and(sessions::id.lt(id.0))));
    }
    let rows = query
        .order((sessions::created_at.desc(), sessions::id.desc()))
        .limit(page.rows())
        .select((sessions::id, sessions::created_at, refresh_tokens::created_at, refresh_tokens::expires_at))
        .load(connection)?;
    Ok(rows)
}

/// A token with its session: the session's id, the token's expiry, the time of its use, and the session's end.
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
        // The token was used before, so either this caller or the holder of the next token has a stolen one.
        end_session(connection, session_id, now)?;
        return Ok(Rotation::Reused { session_id: SessionId(session_id) });
    }
    diesel::update(refresh_tokens::table.find(presented.0.to_vec()))
        .set(refresh_tokens::used_at.eq(now))
        .execute(connection)?;
    insert_token(connection, session_id, next, now)?;
    Ok(Rotation::Rotated { user: user.try_into()?, session_id: SessionId(session_id) })
}

fn end_session(connection: &mut SqliteConnection, session_id: i64, now: i64) -> Result<(), Failure> {
    let live = sessions::table.find(session_id).filter(sessions::ended_at.is_null());
    diesel::update(live).set(sessions::ended_at.eq(now)).execute(connection)?;
    Ok(())
}
