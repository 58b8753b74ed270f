//! Reproducible measurements. A timing is printed and never causes a failure.

mod booking;
mod database;
mod pgbench;
mod reports;
mod rivals;
mod served;
mod startup;
mod table;

use std::path::Path;

use clap::ValueEnum;

use crate::Failure;
use crate::test::{build_binary, build_server};

/// The part to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Part {
    /// Time from the start of the server to its first response.
    Start,
    /// Bookings a second, compared with PostgreSQL's own benchmark.
    Booking,
    /// Users who compete for the seats of one show, by the way in which commands are divided between committers.
    Rivals,
    /// Reports over ten million booked seats. Needs 6 GB of disk, and is measured only by name.
    Reports,
}

/// Measures a part, or everything. With `against`, measures only bookings on PostgreSQL, for both servers.
pub fn run(part: Option<Part>, seconds: u64, against: Option<&Path>) -> Result<(), Failure> {
    let server = build_server(&["--release"])?;
    // Not part of everything: generating the data takes minutes.
    if part == Some(Part::Reports) {
        return reports::run(&server);
    }
    let load = build_binary("load", "load", &["--release"])?;
    if let Some(other) = against {
        return booking::compare(&server, other, &load, seconds);
    }
    let measured = |this| part.is_none_or(|part| part == this);
    if measured(Part::Start) {
        startup::run(&server)?;
    }
    if measured(Part::Booking) {
        booking::run(&server, &load, seconds)?;
    }
    if measured(Part::Rivals) {
        rivals::run(&server, &load, seconds)?;
    }
    Ok(())
}
