//! Random bytes, and the secrets derived from them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::identity::{RefreshToken, RefreshTokenHash, RefreshTokens};
use domain::random::Random;
use rand::Rng;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// The number of random bytes of a refresh token. Equal to the length of its digest: guessing a token is as hard as inverting the digest.
const REFRESH_TOKEN_BYTES: usize = 32;
/// The number of random bytes of a secret, for HMAC with SHA-256 (RFC 2104 requires at least 32).
const SECRET_BYTES: usize = 48;
/// The number of characters of a random password: 80 random bits.
const PASSWORD_LENGTH: usize = 16;
/// The alphabet of random passwords: no `l` and `1`, `o` and `0`, and no upper case, so that they can be read aloud. Its length of 32
/// divides 256, so that all characters are equally likely.
const PASSWORD_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A cryptographic generator for each thread, seeded and regularly reseeded by the operating system.
#[derive(Clone, Copy, Default, Debug)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Refresh tokens of 32 random bytes in base64url without padding, stored as their SHA-256.
#[derive(Clone, Copy, Default, Debug)]
pub struct RandomRefreshTokens;

impl RefreshTokens for RandomRefreshTokens {
    fn draw(&self) -> RefreshToken {
        RefreshToken(URL_SAFE_NO_PAD.encode(drawn::<REFRESH_TOKEN_BYTES>()))
    }

    fn digest(&self, token: &RefreshToken) -> RefreshTokenHash {
        RefreshTokenHash(Sha256::digest(token.0.as_bytes()).into())
    }
}

/// Returns a password for an account that is created without a user to choose one: 16 characters that are hard to misread.
pub fn random_password() -> String {
    let bytes = drawn::<PASSWORD_LENGTH>();
    let text = bytes.iter().filter_map(|byte| PASSWORD_ALPHABET.get(usize::from(byte % 32)));
    text.copied().map(char::from).collect()
}

/// Returns a secret that signs access tokens: 48 random bytes in base64url without padding.
pub fn random_secret() -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(drawn::<SECRET_BYTES>()))
}

fn drawn<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    OsRandom.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::identity::Password;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn random_bytes_fill_the_whole_slice_and_differ() {
        let draws: BTreeSet<[u8; 16]> = (0..1_000).map(|_| drawn()).collect();
        assert_eq!(draws.len(), 1_000);
        let mut many = [0; 4_096];
        OsRandom.fill(&mut many);
        let zeroes = many.iter().filter(|byte| **byte == 0).count();
        assert!(zeroes < 64, "{zeroes} of 4096 random bytes are zero");
    }

    #[test]
    fn refresh_tokens_are_32_bytes_in_base64url_and_no_two_are_the_same() {
        let tokens: BTreeSet<String> = (0..100).map(|_| RandomRefreshTokens.draw().0).collect();
        assert_eq!(tokens.len(), 100);
        for token in tokens {
            assert_eq!(URL_SAFE_NO_PAD.decode(token).unwrap().len(), REFRESH_TOKEN_BYTES);
        }
    }

    #[test]
    fn a_refresh_token_is_stored_as_the_sha_256_of_its_text() {
        // The example of FIPS 180-2, B.1.
        let digest = RandomRefreshTokens.digest(&RefreshToken("abc".into()));
        assert_eq!(hex::encode(digest.0), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_random_password_is_a_password_of_16_characters_of_the_alphabet() {
        let drawn: BTreeSet<String> = (0..100).map(|_| random_password()).collect();
        assert_eq!(drawn.len(), 100);
        for password in drawn {
            assert_eq!(password.len(), PASSWORD_LENGTH);
            assert!(password.bytes().all(|byte| PASSWORD_ALPHABET.contains(&byte)), "{password}");
            assert!(Password::parse(&password).is_ok());
        }
    }

    #[test]
    fn the_password_alphabet_has_no_character_twice() {
        assert_eq!(PASSWORD_ALPHABET.iter().collect::<BTreeSet<_>>().len(), 32);
    }

    #[test]
    fn a_random_secret_has_64_characters_and_does_not_print() {
        let secret = random_secret();
        assert_eq!(secret.expose_secret().len(), 64);
        assert!(!format!("{secret:?}").contains(secret.expose_secret()));
        assert_ne!(secret.expose_secret(), random_secret().expose_secret());
    }
}
