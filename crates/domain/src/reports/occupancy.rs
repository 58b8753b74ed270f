//! How full the shows were.

use std::collections::{BTreeMap, HashMap};

use super::ledger::{ReportShow, SeatCount, counts_as_sold};
use super::rows::{Dimension, RowName};
use super::selection::ShowSelection;
use crate::ids::ShowId;

/// Numbers of seats.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Occupancy {
    pub shows: i64,
    /// The seats of the halls.
    pub seats: i64,
    pub sold: i64,
    /// The seats that the cinema keeps from sale.
    pub blocked: i64,
}

impl Occupancy {
    /// Returns the number of seats that are neither sold nor blocked. Held seats are free: they are not sold.
    pub fn free(&self) -> i64 {
        self.seats.saturating_sub(self.sold).saturating_sub(self.blocked)
    }

    /// Returns the share of sold seats in hundredths of a percent, rounded half up. No seats are 0.
    ///
    /// For example, 1 of 3 seats is 3333.
    pub fn basis_points(&self) -> i64 {
        if self.seats <= 0 {
            return 0;
        }
        let (sold, seats) = (i128::from(self.sold), i128::from(self.seats));
        i64::try_from((sold * 10_000 + seats / 2) / seats).unwrap_or(i64::MAX)
    }

    fn add(&mut self, other: &Self) {
        self.shows = self.shows.saturating_add(other.shows);
        self.seats = self.seats.saturating_add(other.seats);
        self.sold = self.sold.saturating_add(other.sold);
        self.blocked = self.blocked.saturating_add(other.blocked);
    }
}

/// A row of the report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OccupancyRow {
    pub name: RowName,
    pub occupancy: Occupancy,
}

/// The occupancy of the shows of a selection. Cancelled shows are left out.
pub struct OccupancyReport {
    selection: ShowSelection,
    dimension: Dimension,
    shows: HashMap<ShowId, (RowName, Occupancy)>,
}

impl OccupancyReport {
    /// Begins a report.
    pub fn new(selection: ShowSelection, dimension: Dimension) -> Self {
        Self { selection, dimension, shows: HashMap::new() }
    }

    /// Returns the shows that the report is about.
    pub fn selection(&self) -> &ShowSelection {
        &self.selection
    }

    /// Adds a show. Its seats and claims follow.
    pub fn show(&mut self, show: &ReportShow) {
        let located = self.selection.locate(show).filter(|_| !show.is_cancelled);
        if let Some(name) = located.and_then(|located| RowName::of(self.dimension, &located, None)) {
            let occupancy = Occupancy { shows: 1, seats: show.seats_total, ..Occupancy::default() };
            self.shows.insert(show.id, (name, occupancy));
        }
    }

    /// Adds booked seats of a show.
    pub fn booked(&mut self, count: &SeatCount) {
        if let Some((_, occupancy)) = self.shows.get_mut(&count.show_id)
            && counts_as_sold(count.status)
        {
            occupancy.sold = occupancy.sold.saturating_add(count.seats);
        }
    }

    /// Adds blocked seats of a show.
    pub fn blocked(&mut self, show_id: ShowId, seats: i64) {
        if let Some((_, occupancy)) = self.shows.get_mut(&show_id) {
            occupancy.blocked = occupancy.blocked.saturating_add(seats);
        }
    }

    /// Returns the rows in their order, and their total.
    pub fn finish(self) -> (Vec<OccupancyRow>, Occupancy) {
        let (mut rows, mut total) = (BTreeMap::<RowName, Occupancy>::new(), Occupancy::default());
        for (name, occupancy) in self.shows.into_values() {
            total.add(&occupancy);
            rows.entry(name).or_default().add(&occupancy);
        }
        (rows.into_iter().map(|(name, occupancy)| OccupancyRow { name, occupancy }).collect(), total)
    }
}
