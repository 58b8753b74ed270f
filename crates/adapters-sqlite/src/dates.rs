//! Sets rows that are dated in the future to the present.

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use domain::StoreError;

use crate::failure::Failure;
use crate::store::SqliteStore;
use crate::workers::{in_snapshot, in_transaction};

/// Columns that end in `_at` and contain a planned time, not the time of writing.
const PLANNED: [&str; 4] = ["hall_free_at", "sales_open_at", "sales_close_at", "expires_at"];

/// The rows that were dated later than the system's clock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Redated {
    /// The number of rows by table; tables without such rows are absent.
    pub rows: BTreeMap<String, usize>,
}

impl SqliteStore {
    /// Returns the rows that are dated later than the system's clock. Changes nothing.
    pub async fn dated_later(&self) -> Result<Redated, StoreError> {
        let clock = self.clock();
        Ok(self
            .on_writer(move |connection| in_snapshot(connection, |connection| later(connection, clock.now())))
            .await?)
    }

    /// Dates these rows now. Their tokens and holds expire earlier by the same amount, so that they last as long from now as they should.
    /// Planned times (of shows and sales) stay. No server may run during the call.
    pub async fn date_now(&self) -> Result<Redated, StoreError> {
        let clock = self.clock();
        let dated = self.on_writer(move |connection| {
            in_transaction(connection, |connection| {
                let now = clock.now();
                let found = later(connection, now)?;
                date(connection, now)?;
                Ok(found)
            })
        });
        Ok(dated.await?)
    }
}

/// A column with the time at which a row was written, changed or expires.
#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table: String,
    #[diesel(sql_type = Text)]
    column: String,
}

/// Returns the columns of all tables that end in `_at`, from the schema, so that new tables are included.
fn columns(connection: &mut SqliteConnection) -> Result<Vec<Column>, Failure> {
    Ok(diesel::sql_query(
        "SELECT tables.name AS \"table\", columns.name AS \"column\"
         FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns
         WHERE tables.type = 'table' AND columns.type = 'INTEGER' AND columns.name GLOB '*_at'
         ORDER BY tables.name, columns.name",
    )
    .load(connection)?)
}

fn written(columns: Vec<Column>) -> BTreeMap<String, Vec<String>> {
    let mut of_tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Column { table, column } in columns {
        if !PLANNED.contains(&column.as_str()) {
            of_tables.entry(table).or_default().push(column);
        }
    }
    of_tables
}

fn later(connection: &mut SqliteConnection, now: i64) -> Result<Redated, Failure> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    let mut found = Redated::default();
    for (table, columns) in written(columns(connection)?) {
        let is_later = columns.iter().map(|column| format!("{column} > {now}")).collect::<Vec<_>>().join(" OR ");
        let sql = format!("SELECT count(*) AS rows FROM {table} WHERE {is_later}");
        let count: Count = diesel::sql_query(sql).get_result(connection)?;
        if count.rows > 0 {
            found.rows.insert(table, usize::try_from(count.rows).unwrap_or(usize::MAX));
        }
    }
    Ok(found)
}

fn date(connection: &mut SqliteConnection, now: i64) -> Result<(), Failure> {
    let all = columns(connection)?;
    let expiring: Vec<_> =
        all.iter().filter(|column| column.column == "expires_at").map(|column| &column.table).collect();
    let of_tables = written(
        all.iter().map(|Column { table, column }| Column { table: table.clone(), column: column.clone() }).collect(),
    );
    // Expiry times change first, because they are computed from the creation times that change below.
    for table in expiring {
        if of_tables.get(table).is_some_and(|columns| columns.iter().any(|column| column == "created_at")) {
            connection.batch_execute(&format!(
                "UPDATE {table} SET expires_at = expires_at - (created_at - {now}) WHERE created_at > {now}"
            ))?;
        }
    }
    // A held claim expires with its hold.
    connection.batch_execute(
        "UPDATE seat_claims SET expires_at = (SELECT holds.expires_at FROM holds WHERE holds.id = seat_claims.hold_id)
         WHERE hold_id IN (SELECT id FROM holds)",
    )?;
    for (table, columns) in &of_tables {
        for column in columns {
            connection.batch_execute(&format!("UPDATE {table} SET {column} = {now} WHERE {column} > {now}"))?;
        }
    }
    Ok(())
}
