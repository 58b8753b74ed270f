//! The document of an import or an export.

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _, WeekdaySet};

pub use crate::admin::{SalesClosing, ShowFormat};
use crate::catalog::{CleaningTime, Duration, LanguageName, MovieDetails, PlaceName, TheatreDetails, Title};
use crate::money::Currency;
use crate::pricing::{PriceDraft, PriceRuleDraft, TicketTypeCode, TicketTypeDetails};
use crate::seating::PlannedLayout;

/// An item of a document: its name and its content, each unless it is invalid. The reader of the file reports what is invalid; the item
/// stays, so that its index is right and references to its name are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread<Name, Content> {
    pub name: Option<Name>,
    pub content: Option<Content>,
}

/// The content of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Document {
    pub ticket_types: Vec<Unread<TicketTypeCode, TicketTypeDetails>>,
    pub movies: Vec<Unread<Title, MovieDetails>>,
    pub theatres: Vec<TheatreDraft>,
    pub programmes: Vec<Option<ProgrammeDraft>>,
    pub shows: Vec<Option<ShowsDraft>>,
}

/// A theatre of a document, with its halls and price lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TheatreDraft {
    pub theatre: Unread<PlaceName, TheatreDetails>,
    /// The currency of its prices, also if the theatre is invalid.
    pub currency: Option<Currency>,
    pub halls: Vec<HallDraft>,
    pub price_lists: Vec<Unread<PlaceName, NamedPriceList>>,
}

/// A hall of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HallDraft {
    pub name: Option<PlaceName>,
    /// The seats of its plan: `Some(None)` if it has none, `None` if the plan is invalid.
    pub layout: Option<Option<PlannedLayout>>,
}

/// A price list of a document. Its theatre and currency are those of the theatre around it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedPriceList {
    pub prices: Vec<PriceDraft>,
    pub rules: Vec<PriceRuleDraft>,
}

/// Where the prices of a show come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PriceSource {
    /// The prices of this price list of the theatre at the start of the show.
    List(PlaceName),
    /// These prices.
    Given(Vec<PriceDraft>),
}

/// What the shows of an entry have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowTerms {
    pub movie: Title,
    pub theatre: PlaceName,
    pub hall: PlaceName,
    pub format: ShowFormat,
    /// `None` is the language of the movie.
    pub language: Option<LanguageName>,
    /// The duration, including advertisements; `None` is the duration of the movie.
    pub duration: Option<Duration>,
    /// `None` is the cleaning time of the theatre.
    pub cleaning: Option<CleaningTime>,
    pub prices: PriceSource,
    /// `None` if sales are open from the beginning.
    pub sales_open: Option<StartRef>,
    /// `None` if sales close when the show begins.
    pub sales_close: Option<SalesClosing>,
}

/// Shows at the same local times on many days.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgrammeDraft {
    pub terms: ShowTerms,
    pub first_day: DayRef,
    /// Inclusive.
    pub last_day: DayRef,
    pub weekdays: WeekdaySet,
    pub times: Vec<NaiveTime>,
    /// `None` for every week.
    pub alternation: Option<Alternation>,
}

/// Selects every n-th week, counted from the seven days that begin with `from`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alternation {
    /// 1 to [`Alternation::WEEKS_MAX`].
    pub weeks: i64,
    pub from: NaiveDate,
}

impl Alternation {
    /// The most weeks. A programme with longer pauses is several programmes.
    pub const WEEKS_MAX: i64 = 52;

    /// Returns whether a day is in one of the selected weeks.
    ///
    /// For example, every second week from Monday 2026-01-05 has the days 2026-01-05 to 2026-01-11, 2026-01-19 to 2026-01-25, and so on,
    /// in both directions.
    pub fn includes(&self, day: NaiveDate) -> bool {
        let week = (day - self.from).num_days().div_euclid(7);
        week.rem_euclid(self.weeks.max(1)) == 0
    }
}

/// Shows at given local times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowsDraft {
    pub terms: ShowTerms,
    pub starts: Vec<StartRef>,
}

/// A day of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DayRef {
    Date(NaiveDate),
    /// This many days after the day of the import, by the clock of the theatre.
    FromToday(i32),
}

impl DayRef {
    /// The most days before or after the day of the import: about ten years.
    pub const DAYS_MAX: i32 = 3_660;

    /// Parses a date like `2026-12-24`, or a number of days with its sign, like `+14`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(digits) = text.strip_prefix(['+', '-']) {
            let is_number = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            let days: i32 = text.parse().ok().filter(|_| is_number)?;
            return (-Self::DAYS_MAX..=Self::DAYS_MAX).contains(&days).then_some(Self::FromToday(days));
        }
        // Exactly ten characters: chrono's parser alone accepts 2026-1-5.
        let is_date = text.len() == 10 && text.is_ascii();
        text.parse().ok().filter(|_| is_date).map(Self::Date)
    }

    /// Returns the text that [`Self::parse`] reads.
    pub fn to_text(self) -> String {
        match self {
            Self::Date(date) => date.to_string(),
            Self::FromToday(days) => format!("{days:+}"),
        }
    }

    /// Returns the date, if the calendar has it.
    pub fn date(self, today: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Date(date) => Some(date),
            Self::FromToday(days) if days < 0 => today.checked_sub_days(Days::new(days.unsigned_abs().into())),
            Self::FromToday(days) => today.checked_add_days(Days::new(days.unsigned_abs().into())),
        }
    }
}

/// A local time of a theatre on a day of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StartRef {
    pub day: DayRef,
    pub time: NaiveTime,
    /// The offset from UTC in seconds, where the local time exists twice. Without it, the first of both is meant.
    pub offset: Option<i32>,
}

impl StartRef {
    /// Parses a local time like `2026-12-24T20:00`, `+1T20:00` or `2026-10-25T02:30+01:00`. Seconds are optional.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 25 && text.is_ascii() {
            let zoned = DateTime::<FixedOffset>::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%:z").ok()?;
            let local = zoned.naive_local();
            let offset = Some(zoned.offset().local_minus_utc());
            return Some(Self { day: DayRef::Date(local.date()), time: local.time(), offset });
        }
        let (day, time) = text.split_once('T')?;
        if let Some((_, offset)) = time.split_at_checked(5).filter(|(_, offset)| offset.len() == 6) {
            return Self::parse(&format!("{day}T{}:00{offset}", time.get(..5)?));
        }
        let time = parse_time(time)?;
        Some(Self { day: DayRef::parse(day)?, time, offset: None })
    }

    /// Returns the text that [`Self::parse`] reads.
    pub fn to_text(self) -> String {
        let day = self.day.to_text();
        let offset = self.offset.and_then(FixedOffset::east_opt).map(|offset| offset.to_string()).unwrap_or_default();
        format!("{day}T{}{offset}", time_text(self.time))
    }

    /// Returns the local time, if the calendar has its day.
    pub fn local(self, today: NaiveDate) -> Option<NaiveDateTime> {
        Some(self.day.date(today)?.and_time(self.time))
    }
}

/// Parses a time of day like `20:00` or `20:00:30`.
pub fn parse_time(text: &str) -> Option<NaiveTime> {
    let form = match text.len() {
        5 => "%H:%M",
        8 => "%H:%M:%S",
        _ => return None,
    };
    // Chrono reads 23:59:60 as a leap second, at which no show begins.
    NaiveTime::parse_from_str(text, form).ok().filter(|time| text.is_ascii() && time.nanosecond() == 0)
}

/// Returns the text of a time of day: with seconds only if there are some.
pub fn time_text(time: NaiveTime) -> String {
    let form = if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    time.format(form).to_string()
}
