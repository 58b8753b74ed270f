//! Reading rows fallibly: what the database holds is parsed like any other input.

use domain::StoreError;
use domain::money::Currency;

use crate::error::bad_row;

/// Turns each row into what the domain calls it.
pub fn parse_all<Row, T>(rows: Vec<Row>, parse: impl Fn(Row) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(parse).collect()
}

/// A currency's letters.
pub fn currency(code: &str) -> Result<Currency, StoreError> {
    Currency::parse(code).map_err(bad_row)
}
