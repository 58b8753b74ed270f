//! Replacing the secret that signs access tokens.

use super::support::{JWT_SECRET, Kind, Site};

/// The successor of [`JWT_SECRET`].
const NEXT: &str = "the-next-secret-of-the-tests-has-more-than-32-bytes";

async fn secret_is_replaced_without_ending_a_session(kind: Kind) {
    let site = Site::of(kind).await.with("JWT_SECRET", JWT_SECRET);
    let server = site.serve();
    let old = server.client.sign_up("ana@example.org").await;
    assert_eq!(server.stop().code, Some(0));

    let site = site.with("JWT_SECRET", NEXT).with("JWT_SECRET_PREVIOUS", JWT_SECRET);
    let server = site.serve();
    assert_eq!(server.client.get_as(&old, "/api/me").await.expect(200)["email"], "ana@example.org");
    let new = server.client.login("ana@example.org", "correct horse battery").await.expect(200);
    let new = new["token"].as_str().unwrap().to_owned();
    assert_eq!(server.stop().code, Some(0));

    // A server with only the new secret accepts tokens signed with it, and none signed with the old one.
    let site = site.without("JWT_SECRET_PREVIOUS");
    let server = site.serve();
    assert_eq!(server.client.get_as(&new, "/api/me").await.expect(200)["email"], "ana@example.org");
    assert_eq!(server.client.get_as(&old, "/api/me").await.expect(401)["code"], "unauthenticated");
    assert_eq!(server.stop().code, Some(0));

    // A server that still signs with the old secret already accepts tokens signed with the new one.
    let early = site.with("JWT_SECRET", JWT_SECRET).with("JWT_SECRET_PREVIOUS", NEXT);
    let server = early.serve();
    for token in [&old, &new] {
        server.client.get_as(token, "/api/me").await.expect(200);
    }
    assert_eq!(server.stop().code, Some(0));

    // A server with only the old secret rejects tokens signed with the new one.
    let server = early.without("JWT_SECRET_PREVIOUS").serve();
    assert_eq!(server.client.get_as(&new, "/api/me").await.expect(401)["code"], "unauthenticated");
    server.client.get_as(&old, "/api/me").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_replaced_without_ending_a_session_embedded() {
    secret_is_replaced_without_ending_a_session(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_replaced_without_ending_a_session_postgres() {
    secret_is_replaced_without_ending_a_session(Kind::Postgres).await;
}
