//! Which shows a report is about.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::ledger::ReportShow;
use super::rows::Located;
use crate::catalog::{DayWindow, Theatre, day_in};
use crate::ids::{MovieId, TheatreId};
use crate::money::TaxRate;

/// Which shows are asked for. A show must satisfy every given condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportQuery {
    /// The first day on which shows begin, in the time zone of their theatre.
    pub from: NaiveDate,
    /// The last day, inclusive.
    pub to: NaiveDate,
    pub theatre_id: Option<TheatreId>,
    pub movie_id: Option<MovieId>,
}

/// The shows of a report: those that begin in the window of their theatre.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowSelection {
    pub movie_id: Option<MovieId>,
    theatres: BTreeMap<TheatreId, (DayWindow, Theatre)>,
}

impl ShowSelection {
    /// Returns the shows that begin on the days of the query in these theatres.
    pub fn new(query: &ReportQuery, theatres: Vec<Theatre>) -> Self {
        let windowed = theatres.into_iter().filter_map(|theatre| {
            let ((from, _), (_, to)) = (day_in(theatre.timezone, query.from)?, day_in(theatre.timezone, query.to)?);
            Some((theatre.id, (DayWindow { theatre_id: theatre.id, from, to }, theatre)))
        });
        Self { movie_id: query.movie_id, theatres: windowed.collect() }
    }

    /// Returns the window of each theatre.
    pub fn windows(&self) -> Vec<DayWindow> {
        self.theatres.values().map(|(window, _)| *window).collect()
    }

    /// Returns a theatre of the selection.
    pub fn theatre(&self, id: TheatreId) -> Option<&Theatre> {
        self.theatres.get(&id).map(|(_, theatre)| theatre)
    }

    /// Returns the rate that applies to tickets of a show that have none of their own.
    pub(super) fn tax_rate(&self, show: &ReportShow) -> TaxRate {
        self.theatre(show.theatre_id).map_or(TaxRate::ZERO, |theatre| theatre.tax_rate)
    }

    /// Returns a show with its theatre and its day; `None` if its theatre is not part of the selection.
    pub(super) fn locate<'a>(&'a self, show: &'a ReportShow) -> Option<Located<'a>> {
        let theatre = self.theatre(show.theatre_id)?;
        let day = show.start_time.with_timezone(&theatre.timezone).date_naive();
        Some(Located { show, theatre: &theatre.name, day })
    }
}
