//! How long the database may take.

use std::time::Duration;

/// How long a call to the database may take, waiting for a connection included.
pub const CALL_MAX: Duration = Duration::from_secs(5);
/// How long connecting to one address may take without `connect_timeout`, logging in included.
pub const CONNECT_MAX: Duration = Duration::from_secs(3);
