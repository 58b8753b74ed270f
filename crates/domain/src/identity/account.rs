//! The values of an account. Each type has one constructor, which refuses invalid values.

use std::fmt;

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::ids::{SessionId, UserId};
use crate::text::{TextError, check_length, check_line, check_typeable, fold, opaque, shown_line, trim};

/// The name of a person: a line of 1 to 100 characters, under the rules of [`shown_line`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(String);

impl Name {
    pub const MAX: usize = 100;

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        shown_line(text, 1, Self::MAX).map(Self)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address: stored as typed except for surrounding white space, and compared case-insensitively.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Email {
    text: String,
    folded: String,
}

impl Email {
    /// The most characters of an address (RFC 5321, 4.5.3.1.3, less the brackets).
    pub const MAX: usize = 254;

    /// Parses the address of a new account: text before the last `@`, then a domain with a dot, without hidden characters, which the owner
    /// could not type again.
    ///
    /// Refuses text that cannot be an address. Whether the address exists can be proven only by its owner.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let email = Self::attempt(text)?;
        check_typeable(&email.text)?;
        Ok(email)
    }

    /// Parses an address to find an account by. Accounts created by version 0.2.0 or earlier may have hidden characters in their addresses;
    /// such an account is found by the same text.
    pub fn attempt(text: &str) -> Result<Self, TextError> {
        let text = trim(text);
        check_line(text, 1, Self::MAX)?;
        let (local, domain) = text.rsplit_once('@').ok_or(TextError::NotAnEmail)?;
        let labels_fit = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
        let fits = !local.is_empty() && labels_fit && !local.contains('@') && !text.chars().any(char::is_whitespace);
        if fits { Ok(Self { text: text.to_owned(), folded: fold(text) }) } else { Err(TextError::NotAnEmail) }
    }

    /// Returns the address as it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the address in the form used for comparison: two addresses are equal if their folded forms are.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

/// A password: 8 to 128 arbitrary characters, never trimmed, prepared by [`opaque`]. `Debug` does not print it.
#[derive(Clone)]
pub struct Password {
    prepared: String,
    /// The password as it was typed, if that differs from `prepared`.
    typed: Option<String>,
}

impl Password {
    pub const MIN: usize = 8;
    pub const MAX: usize = 128;

    /// The most characters of a password as typed: in normalization form C, each character is composed of at most four.
    const TYPED_MAX: usize = 4 * Self::MAX;

    /// Parses a new password. Its characters are counted after preparation.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let password = Self::attempt(text).ok_or(TextError::TooLong { max: Self::MAX })?;
        check_length(&password.prepared, Self::MIN, Self::MAX)?;
        Ok(password)
    }

    /// Returns a password to compare with a stored one. It need not satisfy the rules for new passwords; `None` if it is too long.
    pub fn attempt(text: &str) -> Option<Self> {
        check_length(text, 0, Self::TYPED_MAX).ok()?;
        let prepared = opaque(text);
        let typed = (prepared != text).then(|| text.to_owned());
        Some(Self { prepared, typed })
    }

    /// Returns the prepared characters, for the hasher only.
    pub fn reveal(&self) -> &str {
        &self.prepared
    }

    /// Returns the characters as typed, if preparation changed them. Hashes created by version 0.2.0 or earlier are hashes of these.
    pub fn reveal_typed(&self) -> Option<&str> {
        self.typed.as_deref()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A hashed password in PHC string format. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// The role of a user: what the user is permitted to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Buys tickets.
    Customer,
    /// Manages the movies, halls and shows of a cinema.
    Staff,
    /// Manages everything.
    Admin,
}

/// A text that is not a role.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a role is customer, staff or admin")]
pub struct RoleError;

impl Role {
    /// Returns the name in the store, in tokens and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Staff => "staff",
            Self::Admin => "admin",
        }
    }

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, RoleError> {
        match text {
            "customer" => Ok(Self::Customer),
            "staff" => Ok(Self::Staff),
            "admin" => Ok(Self::Admin),
            _ => Err(RoleError),
        }
    }
}

/// A user's profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    pub id: UserId,
    pub name: String,
    /// The address as it was typed.
    pub email: String,
    pub role: Role,
    /// Increased when all sessions of the account end. Access tokens carry it.
    pub session_generation: i64,
    pub created_at: DateTime<Utc>,
}

impl User {
    /// Returns the identity of this user for access tokens.
    pub fn caller(&self) -> Caller {
        Caller { user_id: self.id, role: self.role, session_generation: self.session_generation }
    }
}

/// A user with the password hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub user: User,
    pub password_hash: PasswordHash,
    /// Whether an administrator has disabled it. A disabled account cannot log in.
    pub disabled: bool,
}

/// A user to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUser {
    pub name: Name,
    /// Unique among users.
    pub email: Email,
    pub password_hash: PasswordHash,
    pub role: Role,
}

/// A user who was created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatedUser {
    pub user: User,
    /// The first session, if one was requested.
    pub session_id: Option<SessionId>,
}

/// The changes to an account. A `None` field stays unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountChange {
    pub name: Option<Name>,
    pub email: Option<Email>,
    pub password_hash: Option<PasswordHash>,
}

/// A live session: it was not ended, and its refresh token has not expired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    pub id: SessionId,
    /// The time of the sign-up or login that began it.
    pub created_at: DateTime<Utc>,
    /// The last use of its refresh token, or the beginning of the session if there was none.
    pub last_used_at: DateTime<Utc>,
    /// The time at which it expires if its refresh token is not used.
    pub expires_at: DateTime<Utc>,
}

/// The position of a session in a list of sessions, which is ordered newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionCursor {
    pub created_at: DateTime<Utc>,
    pub id: SessionId,
}

/// The caller as identified by an access token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Caller {
    pub user_id: UserId,
    pub role: Role,
    /// The session generation of the account when the token was issued.
    pub session_generation: i64,
}

/// The bearer of an access token: the caller and the session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bearer {
    pub caller: Caller,
    /// The session. `None` in tokens of version 0.1.0, which become invalid only when all sessions of the account end.
    pub session_id: Option<SessionId>,
}

/// A refresh token as the client holds it. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(pub String);

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(…)")
    }
}

/// A refresh token as it is stored: a plain digest, because the token has enough randomness to need no slow hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefreshTokenHash(pub [u8; 32]);

/// The values that replace those of a deleted account. Its row stays, because bookings refer to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnonymousAccount {
    pub name: &'static str,
    /// An e-mail address always has an `@`, so this value can be neither registered nor used to log in.
    pub email: String,
    pub role: Role,
}

impl AnonymousAccount {
    /// No valid hash has this form, so no password matches. No other account has it.
    pub const PASSWORD_HASH: &'static str = "!";

    /// Returns the replacement values for the account of this user.
    pub fn of(user_id: UserId) -> Self {
        Self { name: "Deleted account", email: format!("deleted-{user_id}"), role: Role::Customer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_have_1_to_100_characters() {
        assert_eq!(Name::parse("  Ana ").unwrap().as_str(), "Ana");
        assert_eq!(Name::parse("   "), Err(TextError::TooShort { min: 1 }));
        assert!(Name::parse(&"é".repeat(100)).is_ok());
        assert_eq!(Name::parse(&"é".repeat(101)), Err(TextError::TooLong { max: 100 }));
        assert_eq!(Name::parse("A\0na"), Err(TextError::ControlCharacter));
        assert_eq!(Name::parse("Ame\u{301}lie"), Name::parse("Am\u{e9}lie"));
    }

    #[test]
    fn names_with_hidden_characters_are_rejected() {
        for hidden in ['\u{200b}', '\u{202e}', '\u{2800}', '\u{3164}', '\u{115f}', '\u{ad}', '\u{feff}', '\u{e0041}'] {
            for name in [format!("A{hidden}na"), format!("Ana{hidden}"), hidden.to_string()] {
                assert_eq!(Name::parse(&name), Err(TextError::HiddenCharacter(hidden)), "{name:?}");
            }
        }
        assert_eq!(Name::parse("می\u{200c}نا").unwrap().as_str(), "می\u{200c}نا");
    }

    #[test]
    fn emails_with_hidden_characters_are_found_but_not_accepted() {
        for hidden in
            ['\u{200b}', '\u{200d}', '\u{202e}', '\u{2800}', '\u{3164}', '\u{fe0f}', '\u{feff}', '\u{e000}', '\u{378}']
        {
            for text in [
                format!("kim@example.org{hidden}"),
                format!("{hidden}kim@example.org"),
                format!("ki{hidden}m@example.org"),
            ] {
                assert_eq!(Email::parse(&text), Err(TextError::HiddenCharacter(hidden)), "{text:?}");
                assert_eq!(Email::attempt(&text).unwrap().folded(), fold(&text), "{text:?}");
            }
        }
        assert!(Email::parse("ana.müller@bücher.example").is_ok());
        assert!(Email::parse("用户@例子.example").is_ok());
    }

    #[test]
    fn emails_are_trimmed_and_compared_without_case() {
        let email = Email::parse(" Ana@Example.ORG ").unwrap();
        assert_eq!(email.as_str(), "Ana@Example.ORG");
        assert_eq!(email.folded(), Email::parse("aNA@example.org").unwrap().folded());
        for wrong in ["ana", "@example.org", "ana@", "ana@example", "ana@.org", "a na@example.org", "a@b@example.org"] {
            assert_eq!(Email::parse(wrong), Err(TextError::NotAnEmail), "{wrong}");
        }
        let domain = "@example.org";
        assert!(Email::parse(&format!("{}{domain}", "a".repeat(Email::MAX - domain.len()))).is_ok());
        let long = format!("{}{domain}", "a".repeat(Email::MAX - domain.len() + 1));
        assert_eq!(Email::parse(&long), Err(TextError::TooLong { max: 254 }));
    }

    #[test]
    fn passwords_are_never_trimmed_and_never_printed() {
        let password = Password::parse("  sp\0ce ").unwrap();
        assert_eq!(password.reveal(), "  sp\0ce ");
        assert_eq!(format!("{password:?}"), "Password(…)");
        assert!(Password::parse(&"パ".repeat(8)).is_ok());
        assert!(Password::parse(&"パ".repeat(7)).is_err());
        assert!(Password::parse(&"パ".repeat(128)).is_ok());
        assert!(Password::parse(&"パ".repeat(129)).is_err());
    }

    #[test]
    fn passwords_are_counted_as_they_are_prepared() {
        let password = Password::parse(&"o\u{308}".repeat(128)).unwrap();
        assert_eq!(password.reveal(), "ö".repeat(128));
        assert_eq!(password.reveal_typed(), Some("o\u{308}".repeat(128).as_str()));
        assert_eq!(Password::parse("ö".repeat(8).as_str()).unwrap().reveal_typed(), None);
        assert!(matches!(Password::parse(&"o\u{308}".repeat(4)), Err(TextError::TooShort { min: 8 })));
        assert!(matches!(Password::parse(&"o\u{308}".repeat(129)), Err(TextError::TooLong { max: 128 })));
        // In form C, each of these is two characters: too long for a new password, but valid for an old one.
        let old = "\u{958}".repeat(128);
        assert!(Password::parse(&old).is_err());
        assert_eq!(Password::attempt(&old).unwrap().reveal_typed(), Some(old.as_str()));
        assert!(Password::attempt(&"x".repeat(513)).is_none());
    }

    #[test]
    fn roles_read_as_they_are_written() {
        for role in [Role::Customer, Role::Staff, Role::Admin] {
            assert_eq!(Role::parse(role.as_str()), Ok(role));
        }
        assert_eq!(Role::parse("root"), Err(RoleError));
    }
}
