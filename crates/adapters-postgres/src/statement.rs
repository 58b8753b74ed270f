//! SQL that is prepared once for each connection.
//!
//! diesel never caches a `sql_query` as a prepared statement, because its text may change. Here each text belongs to a type, so it can be
//! cached.

use std::marker::PhantomData;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;

/// A statement with a constant text and the types of its columns.
pub trait Statement: 'static {
    /// The text, with `$1`, `$2` … for its parameters.
    const SQL: &'static str;
    /// `Untyped` if its rows are structs whose fields have the names and types of the columns; otherwise the SQL type of the row; `()` if
    /// it returns no rows.
    type Columns;
}

/// A statement with its parameters.
pub struct Prepared<S, Q> {
    query: Q,
    statement: PhantomData<S>,
}

/// Creates a prepared statement. `query` must be `diesel::sql_query(S::SQL)` with its parameters bound.
pub fn prepared<S: Statement, Q>(query: Q) -> Prepared<S, Q> {
    Prepared { query, statement: PhantomData }
}

impl<S, Q: Clone> Clone for Prepared<S, Q> {
    fn clone(&self) -> Self {
        Self { query: self.query.clone(), statement: PhantomData }
    }
}

impl<S: Statement, Q> QueryId for Prepared<S, Q> {
    type QueryId = Prepared<S, ()>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<S: Statement, Q: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<S, Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<S: Statement, Q> Query for Prepared<S, Q> {
    type SqlType = S::Columns;
}

/// Declares a statement: `statement!(Name: Untyped = "SELECT …");`
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident: $columns:ty = $sql:expr) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl $crate::statement::Statement for $name {
            const SQL: &'static str = $sql;
            type Columns = $columns;
        }
    };
}

/// Binds the parameters of a declared statement: `bind!(Name, BigInt = id, Text = name)`.
macro_rules! bind {
    ($name:ident $(, $sql_type:ty = $value:expr)* $(,)?) => {
        $crate::statement::prepared::<$name, _>(
            diesel::sql_query(<$name as $crate::statement::Statement>::SQL)$(.bind::<$sql_type, _>($value))*
        )
    };
}

pub(crate) use {bind, statement};
