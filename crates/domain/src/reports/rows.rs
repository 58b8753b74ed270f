//! The rows of reports: what they are about, and their order.

use chrono::{DateTime, NaiveDate, Utc};
use thiserror::Error;

use super::ledger::{ReportShow, SoldTickets};
use crate::ids::{MovieId, ShowId, TheatreId};
use crate::pricing::TicketTypeCode;

/// What the rows of a report are about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dimension {
    Show,
    Movie,
    Theatre,
    /// The day on which the show begins, in the time zone of its theatre.
    Day,
    TicketType,
    Channel,
}

/// The error of a text that is not a dimension.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("must be one of {}", Dimension::ALL.map(Dimension::as_str).join(", "))]
pub struct DimensionError;

impl Dimension {
    /// All dimensions.
    pub const ALL: [Self; 6] = [Self::Show, Self::Movie, Self::Theatre, Self::Day, Self::TicketType, Self::Channel];
    /// Those of which each show has one value.
    pub const OF_SHOWS: [Self; 4] = [Self::Show, Self::Movie, Self::Theatre, Self::Day];

    /// Returns the name in requests and responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Show => "show",
            Self::Movie => "movie",
            Self::Theatre => "theatre",
            Self::Day => "day",
            Self::TicketType => "ticket_type",
            Self::Channel => "channel",
        }
    }

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, DimensionError> {
        Self::ALL.into_iter().find(|dimension| dimension.as_str() == text).ok_or(DimensionError)
    }
}

/// What one row is about. Rows are in this order: shows by their start, movies and theatres by their name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RowName {
    Show { start_time: DateTime<Utc>, id: ShowId, movie: String, theatre: String, hall: String, day: NaiveDate },
    Movie { title: String, id: MovieId },
    Theatre { name: String, id: TheatreId },
    Day(NaiveDate),
    TicketType(String),
    Channel(String),
}

impl RowName {
    /// Returns the row of a show with these tickets; `None` if the rows are about tickets, and there are none.
    pub(super) fn of(dimension: Dimension, show: &Located<'_>, tickets: Option<&SoldTickets>) -> Option<Self> {
        let Located { show, theatre, day } = *show;
        Some(match dimension {
            Dimension::Show => Self::Show {
                start_time: show.start_time,
                id: show.id,
                movie: show.movie_title.clone(),
                theatre: theatre.to_owned(),
                hall: show.hall_name.clone(),
                day,
            },
            Dimension::Movie => Self::Movie { title: show.movie_title.clone(), id: show.movie_id },
            Dimension::Theatre => Self::Theatre { name: theatre.to_owned(), id: show.theatre_id },
            Dimension::Day => Self::Day(day),
            Dimension::TicketType => Self::TicketType(TicketTypeCode::as_str(&tickets?.ticket_type).to_owned()),
            Dimension::Channel => Self::Channel(tickets?.channel.clone()),
        })
    }
}

/// A show with the name of its theatre, and its day there.
#[derive(Clone, Copy)]
pub(super) struct Located<'a> {
    pub show: &'a ReportShow,
    pub theatre: &'a str,
    pub day: NaiveDate,
}
