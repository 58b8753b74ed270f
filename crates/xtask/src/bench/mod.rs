//! Figures that anyone can measure again. A timing is printed, never asserted.

mod booking;
mod database;
mod pgbench;
mod rivals;
mod served;
mod startup;
mod table;

use std::path::Path;

use clap::ValueEnum;

use crate::Failure;
use crate::test::{build_binary, build_server};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Part {
    /// From the start of the server to its first answer.
    Start,
    /// Bookings a second, beside PostgreSQL's own benchmark.
    Booking,
    /// Users who compete for the seats of one show, by the way in which commands are divided between committers.
    Rivals,
}

/// Measures a part, or everything; `against` another server, bookings on PostgreSQL alone.
pub fn run(part: Option<Part>, seconds: u64, against: Option<&Path>) -> Result<(), Failure> {
    let server = build_server(&["--release"])?;
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
