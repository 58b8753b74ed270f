//! Names and secrets that nobody else has.

/// 16 random bytes, in hexadecimal. As text they are 32 bytes: enough for a secret, and PostgreSQL cuts names at 63.
pub fn random_hex() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
