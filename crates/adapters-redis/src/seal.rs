//! Names and values that Redis can neither read nor forge: MACs by a key that only the servers have.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The length of a MAC in bytes.
pub(crate) const MAC_BYTES: usize = 32;
/// The block of SHA-256 in bytes: HMAC pads its keys to this length.
const BLOCK_BYTES: usize = 64;
/// The purpose of the key. A change of the form of names or values must change it too.
const LABEL: &[u8] = b"movie-booking redis 1";

/// The key that authenticates entries between servers. Servers with the same secret derive the same key.
#[derive(Clone)]
pub struct ServerKey(Hmac<Sha256>);

impl ServerKey {
    /// Derives the key from the secret of all servers. The use of one of the two reveals nothing about the other.
    ///
    /// This is not HKDF: servers of two versions with different keys would not share entries during a rolling upgrade.
    pub fn derive(secret: &[u8]) -> Self {
        let mut root = keyed(&Sha256::digest(secret).into());
        root.update(LABEL);
        Self(keyed(&root.finalize().into_bytes().into()))
    }

    /// Returns a MAC for one purpose. MACs of different purposes never agree.
    pub(crate) fn mac(&self, purpose: &str) -> Mac {
        Mac(self.0.clone()).text(purpose.as_bytes())
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; BLOCK_BYTES];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&block.into())
}

/// A MAC over several parts. Texts are preceded by their lengths, so that no two lists of parts have the same bytes.
pub(crate) struct Mac(Hmac<Sha256>);

impl Mac {
    pub(crate) fn text(mut self, text: &[u8]) -> Self {
        // No stored text has 2^64 bytes.
        self.0.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(text);
        self
    }

    pub(crate) fn number(mut self, number: i64) -> Self {
        self.0.update(&number.to_be_bytes());
        self
    }

    pub(crate) fn bytes(self) -> [u8; MAC_BYTES] {
        self.0.finalize().into_bytes().into()
    }

    /// Returns the MAC in hexadecimal.
    pub(crate) fn hex(self) -> String {
        hex::encode(self.bytes())
    }

    /// Returns whether these bytes are this MAC. Compares in constant time.
    pub(crate) fn is(self, bytes: &[u8]) -> bool {
        self.0.verify_slice(bytes).is_ok()
    }
}

/// Parses a hexadecimal text in lower case, the only form that [`Mac::hex`] writes.
pub(crate) fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(text).ok()?;
    (hex::encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ServerKey {
        ServerKey::derive(b"a secret")
    }

    #[test]
    fn a_mac_depends_on_secret_purpose_and_every_part() {
        let macs = [
            key().mac("p").text(b"ab").text(b"c").bytes(),
            key().mac("p").text(b"a").text(b"bc").bytes(),
            key().mac("p").text(b"abc").bytes(),
            key().mac("p").text(b"ab").text(b"c").text(b"").bytes(),
            key().mac("pa").text(b"b").text(b"c").bytes(),
            key().mac("p").text(b"ab").number(1).bytes(),
            key().mac("p").text(b"ab").number(-1).bytes(),
            ServerKey::derive(b"another").mac("p").text(b"ab").text(b"c").bytes(),
        ];
        for (at, mac) in macs.iter().enumerate() {
            assert!(!macs[..at].contains(mac), "{at}");
        }
        let mut bytes = macs[0];
        assert!(key().mac("p").text(b"ab").text(b"c").is(&bytes));
        assert!(!key().mac("p").text(b"ab").text(b"c").is(&bytes[..31]));
        bytes[31] ^= 1;
        assert!(!key().mac("p").text(b"ab").text(b"c").is(&bytes));
    }

    #[test]
    fn a_key_is_not_the_secret_it_is_derived_from() {
        // RFC 4231, test case 2: checks HMAC itself.
        let mut block = [0; BLOCK_BYTES];
        block[..4].copy_from_slice(b"Jefe");
        let mut mac: Hmac<Sha256> = Hmac::new(&block.into());
        mac.update(b"what do ya want for nothing?");
        let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(mac.finalize().into_bytes()), known);
        assert_ne!(ServerKey::derive(b"Jefe").mac("what do ya want for nothing?").hex(), known);
    }

    #[test]
    fn hexadecimal_is_read_as_it_is_written() {
        let bytes = [0, 1, 0x9a, 0xff];
        assert_eq!(hex::encode(bytes), "00019aff");
        assert_eq!(bytes_of_hex("00019aff"), Some(bytes.to_vec()));
        for wrong in ["0", "0g", "AB", "é", "00 1"] {
            assert_eq!(bytes_of_hex(wrong), None, "{wrong}");
        }
    }
}
