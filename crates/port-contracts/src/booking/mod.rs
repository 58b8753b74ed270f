//! Cases of booking: through queues with committers, by direct calls of the write port, and by reading the history.

mod account_limits;
mod by_hand;
mod history;
mod holds;
mod races;
mod rules;
mod tables;
mod ticket_types;

pub use account_limits::*;
pub use by_hand::*;
pub use history::*;
pub use holds::*;
pub use races::*;
pub use rules::*;
pub use tables::*;
pub use ticket_types::*;
