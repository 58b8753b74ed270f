//! Unique names and secrets.

/// Returns 16 random bytes in hexadecimal. The text has 32 bytes: enough for a secret, and less than PostgreSQL's limit of 63 for names.
pub fn random_hex() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
