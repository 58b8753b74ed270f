//! bcrypt hashes of the API that this system replaces. They are compared, never created.

use std::str::FromStr as _;

use bcrypt::{BcryptError, HashParts};
use thiserror::Error;

/// The lowest cost of bcrypt.
const COST_MIN: u32 = 4;
/// The highest accepted cost: about a second of a core. Each step doubles the time, and a cost of 31 would occupy a worker for a day. The
/// usual cost of Node's libraries is 10.
const COST_MAX: u32 = 14;
/// The salt of computations whose result is discarded.
const DISCARDED_SALT: [u8; 16] = *b"no real password";

/// The reason why a text that looks like a bcrypt hash is not accepted.
#[derive(Debug, Error)]
pub enum BcryptHashError {
    #[error("the bcrypt hash has the cost {cost}; accepted are {COST_MIN} to {COST_MAX}")]
    Cost { cost: u32 },
    #[error("the bcrypt hash is damaged: {0}")]
    Damaged(BcryptError),
}

/// A bcrypt hash with an accepted cost.
pub struct BcryptHash<'a> {
    text: &'a str,
    cost: u32,
}

impl<'a> BcryptHash<'a> {
    /// Parses a hash. Returns `None` if it does not begin like one of bcrypt: `$2a$`, `$2b$` or `$2y$`, which are the same algorithm. `$2x$`
    /// is a defective one, and is not accepted.
    pub fn parse(text: &'a str) -> Option<Result<Self, BcryptHashError>> {
        if !["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return None;
        }
        Some(match HashParts::from_str(text).map(|parts| parts.get_cost()) {
            Ok(cost) if (COST_MIN..=COST_MAX).contains(&cost) => Ok(Self { text, cost }),
            Ok(cost) => Err(BcryptHashError::Cost { cost }),
            Err(error) => Err(BcryptHashError::Damaged(error)),
        })
    }

    /// Returns the binary logarithm of the number of rounds.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Returns whether this is the hash of the password. Like the libraries that created it, reads the first 72 bytes only.
    pub fn matches(&self, password: &str) -> bool {
        // Parsed before: an error is impossible.
        bcrypt::verify(password, self.text).unwrap_or(false)
    }
}

/// Computes a hash of this cost and discards it.
pub fn burn(password: &str, cost: u32) {
    let _ = std::hint::black_box(bcrypt::hash_with_salt(password, cost, DISCARDED_SALT));
}

/// Returns why this hash of another system would not be accepted at a login; `Ok` if it would.
pub fn check_foreign_hash(hash: &str) -> Result<(), String> {
    match BcryptHash::parse(hash) {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the password hash is not one of bcrypt ($2a$, $2b$ or $2y$)".to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a hash of this password.
    pub fn hash_of(password: &str, cost: u32) -> String {
        bcrypt::hash_with_salt(password, cost, *b"0123456789abcdef").unwrap().to_string()
    }

    fn matches(password: &str, hash: &str) -> bool {
        BcryptHash::parse(hash).unwrap().unwrap().matches(password)
    }

    #[test]
    fn published_test_vectors_match() {
        // From the tests of OpenBSD's and Openwall's implementations.
        for (password, hash) in [
            ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
            ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
            ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
        ] {
            assert!(matches(password, hash), "{password}");
            assert!(!matches(&format!("{password}!"), hash), "{password}");
        }
    }

    #[test]
    fn prefixes_of_the_same_algorithm_are_accepted_and_others_are_not() {
        let hash = hash_of("password1", 4);
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            assert!(matches("password1", &hash.replacen("$2b$", prefix, 1)), "{prefix}");
        }
        for other in ["$2x$", "$2$", "$argon2id$", ""] {
            assert!(BcryptHash::parse(&hash.replacen("$2b$", other, 1)).is_none(), "{other}");
        }
    }

    #[test]
    fn only_the_first_72_bytes_count() {
        let long = "\u{e9}".repeat(36);
        let hash = hash_of(&format!("{long}abc"), 4);
        assert!(matches(&long, &hash) && matches(&format!("{long}xyz"), &hash));
        assert!(!matches(&"\u{e9}".repeat(35), &hash));
    }

    #[test]
    fn costs_beyond_the_limits_are_refused() {
        let hash = hash_of("password1", 4);
        for cost in ["03", "15", "31", "99"] {
            let hash = hash.replacen("$04$", &format!("${cost}$"), 1);
            assert!(matches!(BcryptHash::parse(&hash), Some(Err(BcryptHashError::Cost { .. }))), "{hash}");
        }
        assert!(BcryptHash::parse(&hash.replacen("$04$", "$14$", 1)).unwrap().is_ok());
        assert!(matches!(BcryptHash::parse("$2b$10$short"), Some(Err(BcryptHashError::Damaged(_)))));
    }

    #[test]
    fn foreign_hashes_are_checked_as_at_a_login() {
        assert_eq!(check_foreign_hash(&hash_of("password1", 4)), Ok(()));
        assert!(check_foreign_hash("5f4dcc3b5aa765d61d8327deb882cf99").unwrap_err().contains("not one of bcrypt"));
        assert!(check_foreign_hash("$2b$31$short").unwrap_err().contains("damaged"));
    }
}
