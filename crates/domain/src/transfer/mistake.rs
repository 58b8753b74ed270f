//! The mistakes of an import.

use chrono::NaiveDateTime;
use thiserror::Error;

use crate::catalog::ProgrammeError;
use crate::money::AmountError;
use crate::pricing::{MissingPrices, PriceMistakeReason};

/// A mistake of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportMistake {
    /// The path of the value, like `theatres[0].price_lists[1].prices[2].price`.
    pub path: String,
    pub reason: ImportMistakeReason,
}

/// What is wrong with a value of a document: a predicate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportMistakeReason {
    #[error("repeats the name of {first}; keep one of both")]
    Repeated {
        /// The path of the first one.
        first: String,
    },
    #[error("is the name of an existing {kind} that differs in {}; an import changes nothing that exists: use another name, or give it the same content", .fields.join(", "))]
    NameTaken { kind: &'static str, fields: Vec<String> },
    #[error("is the name of a retired {kind}; use another name")]
    Retired { kind: &'static str },
    #[error("is the name of no {kind}, neither in the file nor in the store; add the {kind}, or correct the name")]
    Unknown { kind: &'static str },
    #[error("is the name of a hall without seats; give the hall a plan")]
    NoSeats,
    #[error(transparent)]
    Price(PriceMistakeReason),
    #[error("is no category of the hall; its categories are {}", .categories.join(", "))]
    UnknownCategory { categories: Vec<String> },
    #[error("is invalid: {0}")]
    MissingPrices(#[from] MissingPrices),
    #[error("is invalid: {0}")]
    Programme(#[from] ProgrammeError),
    #[error("is outside the calendar")]
    OutsideCalendar,
    #[error("does not exist, because clocks go forward; use another time")]
    NonexistentTime,
    #[error("has an offset that the time zone of the theatre does not have at that time; leave it out")]
    WrongOffset,
    #[error("is not before the end of the sale of the show at {}", local(.start))]
    SalesReversed { start: NaiveDateTime },
    #[error("has a show at {} that begins before the hall is free after the show of {other} at {}; change one of both", local(.start), local(.other_start))]
    Overlap { start: NaiveDateTime, other: String, other_start: NaiveDateTime },
    #[error("has a show at {} that begins before the hall is free: there is a show of {movie:?} at {}; change the time", local(.start), local(.other_start))]
    Occupied { start: NaiveDateTime, movie: String, other_start: NaiveDateTime },
    #[error("has a show at {} that exists with other content: {} differs", local(.start), .fields.join(", "))]
    ShowDiffers { start: NaiveDateTime, fields: Vec<String> },
    #[error("has a show at {} that was cancelled; remove it", local(.start))]
    ShowCancelled { start: NaiveDateTime },
    #[error("must be at most {max}: the file has more shows; divide it")]
    TooManyShows {
        /// The maximum.
        max: usize,
    },
}

fn local(time: &NaiveDateTime) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

impl ImportMistakeReason {
    /// Returns the stable name of the mistake.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Repeated { .. } => "repeated",
            Self::NameTaken { .. } => "name_taken",
            Self::Retired { .. } => "retired",
            Self::Unknown { .. } => "unknown",
            Self::NoSeats => "no_seats",
            Self::Price(reason) => match reason {
                PriceMistakeReason::Amount(AmountError::Negative | AmountError::TooLarge)
                | PriceMistakeReason::TooHigh(_) => "out_of_range",
                PriceMistakeReason::UnknownTicketType => "unknown",
                PriceMistakeReason::RetiredTicketType => "retired",
                PriceMistakeReason::Repeated => "repeated",
                PriceMistakeReason::Empty => "too_few",
                PriceMistakeReason::TooMany { .. } => "too_many",
                PriceMistakeReason::Amount(AmountError::Malformed { .. } | AmountError::TooManyDecimals { .. })
                | PriceMistakeReason::DatesReversed
                | PriceMistakeReason::NoHours
                | PriceMistakeReason::Other(_) => "invalid",
            },
            Self::UnknownCategory { .. } => "category_unknown",
            Self::MissingPrices(_) => "price_missing",
            Self::Programme(error) => match error {
                ProgrammeError::TooLong { .. } => "programme_too_long",
                ProgrammeError::Overlap { .. } => "show_overlap",
                ProgrammeError::NonexistentTimes(_) => "time_nonexistent",
                ProgrammeError::TooManyShows { .. } => "too_many",
                ProgrammeError::DaysReversed { .. }
                | ProgrammeError::OutsideCalendar
                | ProgrammeError::NoWeekdays
                | ProgrammeError::NoTimes
                | ProgrammeError::RepeatedTime { .. }
                | ProgrammeError::NoShows { .. }
                | ProgrammeError::Duration => "invalid",
            },
            Self::OutsideCalendar | Self::WrongOffset | Self::SalesReversed { .. } => "invalid",
            Self::NonexistentTime => "time_nonexistent",
            Self::Overlap { .. } | Self::Occupied { .. } => "show_overlap",
            Self::ShowDiffers { .. } => "show_exists",
            Self::ShowCancelled { .. } => "show_cancelled",
            Self::TooManyShows { .. } => "too_many",
        }
    }
}
