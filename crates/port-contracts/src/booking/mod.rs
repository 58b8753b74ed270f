//! Selling: through queues with committers, by hand on the port that committers write to, and the history of it.

mod account_limits;
mod by_hand;
mod history;
mod holds;
mod races;
mod rules;
mod tables;

pub use account_limits::*;
pub use by_hand::*;
pub use history::*;
pub use holds::*;
pub use races::*;
pub use rules::*;
pub use tables::*;
