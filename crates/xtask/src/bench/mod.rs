//! Figures that anyone can measure again. A timing is printed, never asserted.

mod booking;
mod pgbench;
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
}

/// Measures a part, or everything; `against` another server, bookings on PostgreSQL alone.
pub fn run(part: Option<Part>, seconds: u64, against: Option<&Path>) -> Result<(), Failure> {
    let server = build_server(&["--release"])?;
    if let Some(other) = against {
        let load = build_binary("load", "load", &["--release"])?;
        return booking::compare(&server, other, &load, seconds);
    }
    if part != Some(Part::Booking) {
        startup::run(&server)?;
    }
    if part != Some(Part::Start) {
        let load = build_binary("load", "load", &["--release"])?;
        booking::run(&server, &load, seconds)?;
    }
    Ok(())
}
