//! Access tokens: JSON Web Tokens signed with HMAC-SHA-256.
//!
//! The algorithm is fixed: the header of a token cannot change it. Every claim is required except `sid`, which tokens of version 0.1.0
//! lack. Times are compared with the given [`Clock`], not with the library's.

use std::sync::Arc;
use std::time::Duration;

use domain::StoreError;
use domain::clock::Clock;
use domain::identity::{AccessTokenError, AccessTokens, Bearer, Caller, Role};
use domain::ids::{SessionId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The issuer claim.
const ISSUER: &str = "movie-booking";
/// The audience claim.
const AUDIENCE: &str = "movie-booking-api";
const ALGORITHM: Algorithm = Algorithm::HS256;
/// The maximum length of a token to verify. Issued tokens have about 300 characters.
const TOKEN_LENGTH_MAX: usize = 4_096;
/// The accepted difference between the clocks of replicas: a token may be issued this much later than our clock shows, so that it works at
/// once on every replica. Expiry has no tolerance, because a token must not work longer than promised.
const CLOCK_SKEW_SECONDS: i64 = 5;

/// The reason why a secret cannot sign tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JwtSecretError {
    /// The secret has fewer bytes than the digest, so it might be guessed (RFC 7518, 3.2).
    #[error("the secret has {length} bytes, but {} are needed", JwtAccessTokens::SECRET_LENGTH_MIN)]
    TooShort {
        /// The number of bytes of the secret.
        length: usize,
    },
}

/// The claims of a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    role: String,
    #[serde(rename = "gen")]
    generation: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Issues and verifies access tokens.
pub struct JwtAccessTokens {
    signing: EncodingKey,
    /// The current secret comes first.
    accepted: Vec<DecodingKey>,
    validation: Validation,
    clock: Arc<dyn Clock>,
}

impl JwtAccessTokens {
    /// The minimum length of a secret in bytes.
    pub const SECRET_LENGTH_MIN: usize = 32;

    /// Signs with `secret`. Tokens that were signed with one of the `previous` secrets are accepted too, so that a secret can be replaced
    /// without ending any session.
    pub fn new(
        secret: &SecretString,
        previous: &[SecretString],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JwtSecretError> {
        let signing = EncodingKey::from_secret(checked(secret)?);
        let accepted = std::iter::once(secret).chain(previous);
        let accepted = accepted.map(|secret| checked(secret).map(DecodingKey::from_secret));
        Ok(Self { signing, accepted: accepted.collect::<Result<_, _>>()?, validation: validation(), clock })
    }

    fn claims(&self, token: &str) -> Result<Claims, AccessTokenError> {
        let mut keys = self.accepted.iter();
        let claims = keys.find_map(|key| decode::<Claims>(token, key, &self.validation).ok());
        claims.map(|token| token.claims).ok_or(AccessTokenError)
    }
}

impl AccessTokens for JwtAccessTokens {
    fn issue(&self, bearer: &Bearer, ttl: Duration) -> Result<String, StoreError> {
        let Bearer { caller, session_id } = bearer;
        let now = self.clock.now().timestamp();
        let lifetime = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: caller.user_id.to_string(),
            role: caller.role.as_str().to_owned(),
            generation: caller.session_generation,
            sid: session_id.map(|id| id.to_string()),
            iat: now,
            nbf: now,
            exp: now.saturating_add(lifetime),
        };
        encode(&Header::new(ALGORITHM), &claims, &self.signing).map_err(StoreError::internal)
    }

    fn verify(&self, token: &str) -> Result<Bearer, AccessTokenError> {
        if token.len() > TOKEN_LENGTH_MAX {
            return Err(AccessTokenError);
        }
        let claims = self.claims(token)?;
        let now = self.clock.now().timestamp();
        let latest_start = now.saturating_add(CLOCK_SKEW_SECONDS);
        if claims.exp <= now || claims.nbf > latest_start || claims.iat > latest_start {
            return Err(AccessTokenError);
        }
        let caller = Caller {
            user_id: UserId(claims.sub.parse().map_err(|_| AccessTokenError)?),
            role: Role::parse(&claims.role).map_err(|_| AccessTokenError)?,
            session_generation: claims.generation,
        };
        let session_id = claims.sid.map(|id| id.parse().map(SessionId)).transpose().map_err(|_| AccessTokenError)?;
        Ok(Bearer { caller, session_id })
    }
}

fn checked(secret: &SecretString) -> Result<&[u8], JwtSecretError> {
    let bytes = secret.expose_secret().as_bytes();
    let length = bytes.len();
    if length < JwtAccessTokens::SECRET_LENGTH_MIN { Err(JwtSecretError::TooShort { length }) } else { Ok(bytes) }
}

/// Returns the checks of the library: signature, algorithm, issuer and audience. The presence of the other claims is checked by
/// deserialization.
fn validation() -> Validation {
    let mut validation = Validation::new(ALGORITHM);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["iss", "aud", "sub"]);
    // The times are compared in this module, with the given clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";
    const NOW: i64 = 1_700_000_000;
    const CALLER: Bearer = Bearer {
        caller: Caller { user_id: UserId(42), role: Role::Staff, session_generation: 7 },
        session_id: Some(SessionId(9)),
    };
    const HOUR: Duration = Duration::from_secs(3_600);

    struct SetClock(AtomicI64);

    impl Clock for SetClock {
        fn now(&self) -> DateTime<Utc> {
            DateTime::from_timestamp(self.0.load(Ordering::SeqCst), 999_999_999).unwrap()
        }
    }

    fn tokens_at(secret: &str, previous: &[&str], now: i64) -> JwtAccessTokens {
        let previous: Vec<_> = previous.iter().map(|secret| SecretString::from(*secret)).collect();
        JwtAccessTokens::new(&secret.into(), &previous, Arc::new(SetClock(AtomicI64::new(now)))).unwrap()
    }

    fn tokens() -> JwtAccessTokens {
        tokens_at(SECRET, &[], NOW)
    }

    fn claims() -> Value {
        json!({
            "iss": "movie-booking", "aud": "movie-booking-api", "sub": "42", "role": "staff", "gen": 7,
            "sid": "9", "iat": NOW, "nbf": NOW, "exp": NOW + 3_600,
        })
    }

    fn with(claim: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[claim] = value;
        claims
    }

    fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn accepts(claims: &Value) -> bool {
        tokens().verify(&signed(ALGORITHM, SECRET, claims)).is_ok()
    }

    #[test]
    fn a_token_says_who_is_calling() {
        for role in [Role::Customer, Role::Staff, Role::Admin] {
            let caller = Caller { user_id: UserId(i64::MAX), role, session_generation: 7 };
            for session_id in [None, Some(SessionId(i64::MAX))] {
                let bearer = Bearer { caller, session_id };
                let token = tokens().issue(&bearer, HOUR).unwrap();
                assert_eq!(tokens().verify(&token), Ok(bearer));
            }
        }
        assert_eq!(tokens().verify(&signed(ALGORITHM, SECRET, &claims())), Ok(CALLER));
    }

    #[test]
    fn an_issued_token_has_all_claims_and_no_others() {
        let token = tokens().issue(&CALLER, HOUR).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let part =
            |at: usize| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[at]).unwrap()).unwrap() };
        assert_eq!(part(0), json!({"typ": "JWT", "alg": "HS256"}));
        assert_eq!(part(1), claims());
    }

    #[test]
    fn a_token_works_until_the_second_it_expires() {
        let token = tokens().issue(&CALLER, HOUR).unwrap();
        assert_eq!(tokens_at(SECRET, &[], NOW + 3_599).verify(&token), Ok(CALLER));
        assert_eq!(tokens_at(SECRET, &[], NOW + 3_600).verify(&token), Err(AccessTokenError));
        assert_eq!(tokens_at(SECRET, &[], NOW + 1_000_000).verify(&token), Err(AccessTokenError));
    }

    #[test]
    fn a_lifetime_beyond_all_time_neither_overflows_nor_fails() {
        let token = tokens().issue(&CALLER, Duration::MAX).unwrap();
        assert_eq!(tokens().verify(&token), Ok(CALLER));
    }

    #[test]
    fn a_token_of_the_future_is_refused_but_for_the_skew_of_clocks() {
        for claim in ["nbf", "iat"] {
            assert!(accepts(&with(claim, json!(NOW + CLOCK_SKEW_SECONDS))), "{claim}");
            assert!(!accepts(&with(claim, json!(NOW + CLOCK_SKEW_SECONDS + 1))), "{claim}");
        }
    }

    #[test]
    fn every_claim_is_required() {
        for claim in ["iss", "aud", "sub", "role", "gen", "iat", "nbf", "exp"] {
            let mut without = claims();
            without.as_object_mut().unwrap().remove(claim);
            assert!(!accepts(&without), "without {claim}");
            assert!(!accepts(&with(claim, Value::Null)), "{claim} null");
            assert!(!accepts(&with(claim, json!({}))), "{claim} an object");
        }
    }

    #[test]
    fn a_token_of_the_release_before_names_no_session() {
        let mut without = claims();
        without.as_object_mut().unwrap().remove("sid");
        let bearer = Bearer { session_id: None, ..CALLER };
        assert_eq!(tokens().verify(&signed(ALGORITHM, SECRET, &without)), Ok(bearer));
        let token = tokens().issue(&bearer, HOUR).unwrap();
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), without);
    }

    #[test]
    fn a_claim_of_another_value_or_type_is_refused() {
        assert!(accepts(&claims()));
        let wrong = [
            ("iss", json!("someone")),
            ("iss", json!("")),
            ("iss", json!(["movie-booking"])),
            ("aud", json!("another-api")),
            ("aud", json!(["movie-booking-api", "another-api"])),
            ("role", json!("root")),
            ("role", json!("Admin")),
            ("sub", json!("")),
            ("sub", json!("ana")),
            ("sub", json!(42)),
            ("sub", json!("9223372036854775808")),
            ("sid", json!("")),
            ("sid", json!("ana")),
            ("sid", json!(9)),
            ("gen", json!("7")),
            ("gen", json!(1.5)),
            ("exp", json!("1700003600")),
            ("exp", json!(1e300)),
            ("exp", json!(-1)),
        ];
        for (claim, value) in wrong {
            assert!(!accepts(&with(claim, value.clone())), "{claim}: {value}");
        }
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
        for algorithm in ["none", "None", "NONE", ""] {
            let header = URL_SAFE_NO_PAD.encode(json!({"typ": "JWT", "alg": algorithm}).to_string());
            for signature in ["", "AAAA"] {
                let token = format!("{header}.{payload}.{signature}");
                assert_eq!(tokens().verify(&token), Err(AccessTokenError), "{token}");
            }
        }
        // The signature of a valid token behind a header with the algorithm `none`.
        let good = signed(ALGORITHM, SECRET, &claims());
        let rest = good.split_once('.').unwrap().1;
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        assert_eq!(tokens().verify(&format!("{none}.{rest}")), Err(AccessTokenError));
    }

    #[test]
    fn another_algorithm_is_refused_though_the_secret_is_ours() {
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            assert_eq!(tokens().verify(&signed(algorithm, SECRET, &claims())), Err(AccessTokenError), "{algorithm:?}");
        }
    }

    #[test]
    fn another_secret_is_refused() {
        assert_eq!(tokens().verify(&signed(ALGORITHM, OTHER, &claims())), Err(AccessTokenError));
    }

    #[test]
    fn a_token_that_was_changed_is_refused() {
        let token = tokens().issue(&CALLER, HOUR).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let admin = URL_SAFE_NO_PAD.encode(with("role", json!("admin")).to_string());
        assert_eq!(tokens().verify(&[parts[0], &admin, parts[2]].join(".")), Err(AccessTokenError));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            // The lowest bits of the replacement differ as well, because the last character of a part has bits without meaning.
            bytes[at] = if bytes[at] == b'A' { b'z' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(tokens().verify(&changed), Err(AccessTokenError), "changed at {at}");
        }
        assert_eq!(tokens().verify(&token[..token.len() - 1]), Err(AccessTokenError));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let token = tokens().issue(&CALLER, HOUR).unwrap();
        let garbage = [
            String::new(),
            ".".into(),
            "..".into(),
            "...".into(),
            "abc".into(),
            "a.b.c".into(),
            "\0".into(),
            "ключ.от.кино".into(),
            format!("Bearer {token}"),
            format!(" {token}"),
            format!("{token} "),
            format!("{token}\n"),
            format!("{token}.x"),
            format!("{token}="),
            "A".repeat(TOKEN_LENGTH_MAX),
        ];
        for text in garbage {
            assert_eq!(tokens().verify(&text), Err(AccessTokenError), "{text:?}");
        }
    }

    #[test]
    fn a_token_longer_than_the_bound_is_not_looked_at() {
        let padded = |length: usize| signed(ALGORITHM, SECRET, &with("more", json!("x".repeat(length))));
        let fits = padded(2_000);
        assert!(fits.len() <= TOKEN_LENGTH_MAX);
        assert_eq!(tokens().verify(&fits), Ok(CALLER));
        assert_eq!(tokens().verify(&padded(4_096)), Err(AccessTokenError));
    }

    #[test]
    fn a_previous_secret_is_accepted_but_not_signed_with() {
        let old = tokens_at(OTHER, &[], NOW).issue(&CALLER, HOUR).unwrap();
        let rotated = tokens_at(SECRET, &["another secret that is long enough", OTHER], NOW);
        assert_eq!(rotated.verify(&old), Ok(CALLER));
        let new = rotated.issue(&CALLER, HOUR).unwrap();
        assert_eq!(tokens().verify(&new), Ok(CALLER));
        assert_eq!(tokens_at(OTHER, &[], NOW).verify(&new), Err(AccessTokenError));
        assert_eq!(tokens().verify(&old), Err(AccessTokenError));
    }

    #[test]
    fn a_secret_has_32_bytes_at_least_previous_ones_too() {
        let clock = || Arc::new(SetClock(AtomicI64::new(NOW)));
        let short = SecretString::from(&SECRET[1..]);
        let error = JwtSecretError::TooShort { length: 31 };
        assert_eq!(JwtAccessTokens::new(&short, &[], clock()).err(), Some(error));
        assert_eq!(JwtAccessTokens::new(&SECRET.into(), &[short], clock()).err(), Some(error));
        assert_eq!(error.to_string(), "the secret has 31 bytes, but 32 are needed");
        assert_eq!(JwtAccessTokens::new(&"".into(), &[], clock()).err(), Some(JwtSecretError::TooShort { length: 0 }));
    }
}
