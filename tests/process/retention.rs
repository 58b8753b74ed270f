//! A running server deletes old rows by itself.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use tokio_postgres::NoTls;

use super::support::{Kind, Site};

const DAY: i64 = 24 * 3_600;

impl Site {
    fn sqlite(&self) -> SqliteConnection {
        let file = self.path("data/movie-booking.db");
        let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 30000").unwrap();
        connection
    }

    async fn execute(&self, sql: &str) {
        match &self.database {
            Some(database) => database.execute(sql).await.unwrap(),
            None => self.sqlite().batch_execute(sql).unwrap(),
        }
    }

    /// Counts rows of the store, whether or not a server runs.
    pub async fn count(&self, of: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Counted {
            #[diesel(sql_type = BigInt)]
            number: i64,
        }
        let sql = format!("SELECT count(*) AS number FROM {of}");
        match &self.database {
            Some(database) => {
                let (client, connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
                tokio::spawn(connection);
                client.query_one(&sql, &[]).await.unwrap().get(0)
            }
            None => diesel::sql_query(sql).get_result::<Counted>(&mut self.sqlite()).unwrap().number,
        }
    }

    /// Makes all rows of a table older by `seconds`, in one column.
    async fn age(&self, table: &str, column: &str, seconds: i64) {
        let older = match self.database {
            Some(_) => format!("{column} - interval '{seconds} seconds'"),
            None => format!("{column} - {seconds} * 1000000"),
        };
        self.execute(&format!("UPDATE {table} SET {column} = {older}")).await;
    }
}

async fn old_rows_are_swept_and_a_late_retry_returns_the_current_booking(kind: Kind) {
    let site = Site::of(kind).await.with("IDEMPOTENCY_TTL", "48h").with("LOG_FORMAT", "json");
    let server = site.serve();
    let client = &server.client;
    let token = client.sign_up("ana@example.org").await;
    let show = client.shows(1).await[0];
    let seats = client.free_seats(show).await;
    let first = client.book(&token, "old", seats[0]).await;
    first.expect(201);
    assert_eq!(server.stop().code, Some(0));

    // The rows are now a week and three days old. The sign-up's refresh token expired a month ago.
    site.age("idempotency_keys", "created_at", 10 * DAY).await;
    site.age("outbox", "created_at", 10 * DAY).await;
    site.age("refresh_tokens", "expires_at", 70 * DAY).await;
    site.execute("UPDATE bookings SET status = 'refunded', cancelled_at = booked_at").await;
    // These rows are young.
    let server = site.serve();
    let client = &server.client;
    // The first session is deleted with its refresh token, so the test needs a new access token.
    let login = client.login("ana@example.org", "correct horse battery").await.expect(200);
    let token = login["token"].as_str().unwrap();
    let young = client.book(token, "young", seats[1]).await;
    young.expect(201);

    let began = Instant::now();
    let left = async || {
        let answers = site.count("idempotency_keys WHERE answer IS NOT NULL").await;
        (answers, site.count("outbox").await, site.count("refresh_tokens").await, site.count("sessions").await)
    };
    while left().await != (1, 1, 1, 1) {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is swept: {:?}", left().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((site.count("idempotency_keys").await, site.count("bookings").await), (2, 2));
    // The bytes of the answer are deleted. The key still identifies its booking.
    let late = client.book(token, "old", seats[0]).await;
    assert!(late.replayed());
    let (told, before) = (&late.expect(201)["booking"], &first.json()["booking"]);
    assert_eq!(
        (&told["id"], &told["reference"], told["status"].as_str()),
        (&before["id"], &before["reference"], Some("refunded"))
    );
    let again = client.book(token, "young", seats[1]).await;
    assert_eq!((again.status, again.replayed(), &again.text), (201, true, &young.text));
    assert_eq!(client.book(token, "old", seats[2]).await.expect(422)["code"], "idempotency_key_reused");
    assert_eq!(client.history(token).await.len(), 2);
    let ended = server.stop();
    assert_eq!(ended.stderr.lines().filter(|line| line.contains("retention.swept")).count(), 3, "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_are_swept_embedded() {
    old_rows_are_swept_and_a_late_retry_returns_the_current_booking(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_are_swept_postgres() {
    old_rows_are_swept_and_a_late_retry_returns_the_current_booking(Kind::Postgres).await;
}
