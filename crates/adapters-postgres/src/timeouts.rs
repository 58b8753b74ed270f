//! Time limits of database calls.

use std::time::Duration;

/// The time limit of a database call, including the wait for a connection.
pub const CALL_MAX: Duration = Duration::from_secs(5);
/// The default of `connect_timeout`: the time limit of connecting to one address, including the login.
pub const CONNECT_MAX: Duration = Duration::from_secs(3);
