//! Names and secrets that nobody else has.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;

use crate::Failure;

/// 16 random bytes, in hexadecimal. As text they are 32 bytes: enough for a secret, and PostgreSQL cuts names at 63.
pub fn random_hex() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|error| format!("/dev/urandom cannot be read: {error}"))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let (one, other) = (random_hex().unwrap(), random_hex().unwrap());
        assert_eq!((one.len(), other.len()), (32, 32));
        assert_ne!(one, other);
    }
}
