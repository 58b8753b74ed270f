//! Adapters of identity that are the same in every deployment: hashed passwords, signed access tokens, random values, and the clocks of the
//! operating system.

pub mod access_tokens;
mod bcrypt_hash;
pub mod clock;
mod fair_queue;
pub mod passwords;
pub mod random;

pub use access_tokens::{JwtAccessTokens, JwtSecretError};
pub use bcrypt_hash::check_foreign_hash;
pub use clock::{SystemClock, TokioTimer};
pub use passwords::{Argon2Passwords, PasswordLoad};
pub use random::{OsRandom, RandomRefreshTokens, random_password, random_secret};
