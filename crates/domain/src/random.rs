//! The port of randomness, and the values drawn from it.

use std::fmt;

use thiserror::Error;

/// A source of unguessable bytes.
pub trait Random: Send + Sync {
    /// Fills `bytes` from a cryptographically secure source.
    fn fill(&self, bytes: &mut [u8]);
}

/// Crockford's alphabet. It has no I, L, O or U, so that characters are not misread at the door.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Draws `N` characters of Crockford's base 32, five random bits each.
pub(crate) fn draw_crockford<const N: usize>(random: &dyn Random) -> String {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    // 32 divides 256, so each character is as likely as any other.
    bytes.iter().filter_map(|byte| CROCKFORD.get(usize::from(byte % 32))).copied().map(char::from).collect()
}

/// Returns whether a text is `length` characters of Crockford's base 32.
pub(crate) fn is_crockford(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| CROCKFORD.contains(&byte))
}

/// The reference printed on a ticket: 10 upper-case characters of Crockford's base 32, 50 random bits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reference(String);

/// The error of a text that is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a reference is 10 characters of Crockford's base 32")]
pub struct ReferenceError;

impl Reference {
    /// The number of characters of a reference.
    pub const LENGTH: usize = 10;

    /// Draws a reference.
    pub fn draw(random: &dyn Random) -> Self {
        Self(draw_crockford::<{ Self::LENGTH }>(random))
    }

    /// Parses a stored reference.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_crockford(text, Self::LENGTH) { Ok(Self(text.to_owned())) } else { Err(ReferenceError) }
    }

    /// Returns the ten characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Identifies one run of a command. It is drawn once, and kept when the write is retried: a committer that lost its connection recognizes
/// by it whether its own write committed the key that it finds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId(pub [u8; 16]);

impl OperationId {
    /// Draws an operation id.
    pub fn draw(random: &dyn Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(bytes)
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for (byte, value) in bytes.iter_mut().zip(27_u8..) {
                *byte = value;
            }
        }
    }

    #[test]
    fn a_reference_is_ten_characters_of_crockfords_alphabet() {
        let reference = Reference::draw(&Counting);
        assert_eq!(reference.as_str(), "VWXYZ01234");
        assert_eq!(Reference::parse(reference.as_str()), Ok(reference));
        for wrong in ["", "VWXYZ0123", "VWXYZ012345", "VWXYZ0123I", "vwxyz01234"] {
            assert_eq!(Reference::parse(wrong), Err(ReferenceError), "{wrong}");
        }
    }
}
