//! Programmes: the same show on many days, at the same local times.

use std::collections::BTreeSet;

use chrono::{
    DateTime, Datelike as _, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc,
    WeekdaySet,
};
use chrono_tz::Tz;
use thiserror::Error;

/// Shows of one movie in one hall on many days, at the same local times of the theatre.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Programme {
    pub first_day: NaiveDate,
    /// Inclusive.
    pub last_day: NaiveDate,
    /// The days of the week with shows.
    pub weekdays: WeekdaySet,
    /// The local times at which shows begin on each of these days.
    pub local_times: Vec<NaiveTime>,
    /// The duration of a show, including advertisements.
    pub duration: TimeDelta,
    /// The time after a show until the next one can begin.
    pub cleaning: TimeDelta,
}

/// A show of a programme.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgrammeStart {
    /// The local time of the theatre.
    pub local: NaiveDateTime,
    pub start_time: DateTime<Utc>,
    pub end_time: DateTime<Utc>,
    /// The time at which the next show may begin.
    pub hall_free_at: DateTime<Utc>,
    /// Whether the local time exists twice, because clocks go back. `start_time` is the first of both.
    pub ambiguous: bool,
}

/// The reason why a programme is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProgrammeError {
    #[error("the last day {last} is before the first day {first}")]
    DaysReversed { first: NaiveDate, last: NaiveDate },
    #[error("a programme over five years: {first} to {last}; the last possible day is {latest}")]
    TooLong { first: NaiveDate, last: NaiveDate, latest: NaiveDate },
    #[error("the days are outside the calendar")]
    OutsideCalendar,
    #[error("a programme has at least one weekday")]
    NoWeekdays,
    #[error("a programme has at least one local time")]
    NoTimes,
    #[error("the local time {time} is given twice")]
    RepeatedTime { time: NaiveTime },
    #[error("the days from {first} to {last} have none of the weekdays")]
    NoShows { first: NaiveDate, last: NaiveDate },
    #[error("the programme has {asked} shows; at most {max} are possible; split it")]
    TooManyShows {
        asked: usize,
        /// The maximum.
        max: usize,
    },
    #[error("a show lasts from 1 minute to 24 hours, and cleaning takes at most 24 hours")]
    Duration,
    #[error("these local times do not exist, because clocks go forward: {}; leave out these days or change the time", list(.0))]
    NonexistentTimes(Vec<NaiveDateTime>),
    #[error("the show on {second} begins before the hall is free after the show on {first}")]
    Overlap { first: NaiveDateTime, second: NaiveDateTime },
}

fn list(times: &[NaiveDateTime]) -> String {
    times.iter().map(|time| time.format("%Y-%m-%d %H:%M").to_string()).collect::<Vec<_>>().join(", ")
}

impl Programme {
    /// The maximum length. A longer programme is a mistyped year.
    pub const YEARS_MAX: u32 = 5;
    /// The maximum number of shows: they are written in one transaction. It is enough for a year of 13 shows a day.
    pub const SHOWS_MAX: usize = 5_000;
    /// The maximum duration of a show, and of the cleaning after it.
    const DURATION_MAX: TimeDelta = TimeDelta::hours(24);

    /// Returns the shows of the programme in a time zone, in the order of their starts.
    ///
    /// Local times stay local across daylight saving: 20:00 in Berlin is 19:00 UTC in winter and 18:00 UTC in summer. A local time that
    /// does not exist is an error, which lists all of them. A local time that exists twice means the first one, and its start is marked as
    /// `ambiguous`.
    pub fn starts(&self, timezone: Tz) -> Result<Vec<ProgrammeStart>, ProgrammeError> {
        let locals = self.local_starts()?;
        let mut starts = Vec::with_capacity(locals.len());
        let mut nonexistent = Vec::new();
        for local in locals {
            let (start, ambiguous) = match timezone.from_local_datetime(&local) {
                LocalResult::Single(start) => (start.to_utc(), false),
                LocalResult::Ambiguous(first, _) => (first.to_utc(), true),
                LocalResult::None => {
                    nonexistent.push(local);
                    continue;
                }
            };
            let end_time = start.checked_add_signed(self.duration).ok_or(ProgrammeError::OutsideCalendar)?;
            let hall_free_at = end_time.checked_add_signed(self.cleaning).ok_or(ProgrammeError::OutsideCalendar)?;
            starts.push(ProgrammeStart { local, start_time: start, end_time, hall_free_at, ambiguous });
        }
        if !nonexistent.is_empty() {
            return Err(ProgrammeError::NonexistentTimes(nonexistent));
        }
        // Instants and local times can differ in order where clocks go back.
        starts.sort_by_key(|start| start.start_time);
        for pair in starts.windows(2) {
            if let [first, second] = pair
                && second.start_time < first.hall_free_at
            {
                return Err(ProgrammeError::Overlap { first: first.local, second: second.local });
            }
        }
        Ok(starts)
    }

    fn local_starts(&self) -> Result<Vec<NaiveDateTime>, ProgrammeError> {
        let (first, last) = (self.first_day, self.last_day);
        if last < first {
            return Err(ProgrammeError::DaysReversed { first, last });
        }
        let latest = first.checked_add_months(Months::new(Self::YEARS_MAX * 12)).and_then(|end| end.pred_opt());
        let latest = latest.ok_or(ProgrammeError::OutsideCalendar)?;
        if last > latest {
            return Err(ProgrammeError::TooLong { first, last, latest });
        }
        if self.weekdays.is_empty() {
            return Err(ProgrammeError::NoWeekdays);
        }
        if self.local_times.is_empty() {
            return Err(ProgrammeError::NoTimes);
        }
        let mut times = BTreeSet::new();
        if let Some(time) = self.local_times.iter().copied().find(|time| !times.insert(*time)) {
            return Err(ProgrammeError::RepeatedTime { time });
        }
        let lasts = TimeDelta::minutes(1)..=Self::DURATION_MAX;
        if !lasts.contains(&self.duration) || !(TimeDelta::zero()..=Self::DURATION_MAX).contains(&self.cleaning) {
            return Err(ProgrammeError::Duration);
        }
        let days = first.iter_days().take_while(|day| *day <= last);
        let days: Vec<_> = days.filter(|day| self.weekdays.contains(day.weekday())).collect();
        let asked = days.len().saturating_mul(times.len());
        if asked == 0 {
            return Err(ProgrammeError::NoShows { first, last });
        }
        if asked > Self::SHOWS_MAX {
            return Err(ProgrammeError::TooManyShows { asked, max: Self::SHOWS_MAX });
        }
        Ok(days.iter().flat_map(|day| times.iter().map(|time| day.and_time(*time))).collect())
    }
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;
    use chrono_tz::{Australia::Lord_Howe, Europe::Berlin, Pacific::Apia};
    use proptest::prelude::*;

    use super::*;

    fn daily(first: &str, last: &str, times: &[&str]) -> Programme {
        Programme {
            first_day: first.parse().unwrap(),
            last_day: last.parse().unwrap(),
            weekdays: WeekdaySet::ALL,
            local_times: times.iter().map(|time| NaiveTime::parse_from_str(time, "%H:%M").unwrap()).collect(),
            duration: TimeDelta::minutes(20),
            cleaning: TimeDelta::minutes(5),
        }
    }

    fn starts(programme: &Programme, timezone: Tz) -> Vec<(String, bool)> {
        let starts = programme.starts(timezone).unwrap();
        starts.iter().map(|start| (start.start_time.format("%m-%dT%H:%MZ").to_string(), start.ambiguous)).collect()
    }

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
    }

    #[test]
    fn local_times_stay_local_across_daylight_saving() {
        let spring = daily("2026-03-28", "2026-03-30", &["20:00"]);
        let expected = ["03-28T19:00Z", "03-29T18:00Z", "03-30T18:00Z"].map(|start| (start.to_owned(), false));
        assert_eq!(starts(&spring, Berlin), expected);
        let autumn = daily("2026-10-24", "2026-10-26", &["20:00"]);
        let expected = ["10-24T18:00Z", "10-25T19:00Z", "10-26T19:00Z"].map(|start| (start.to_owned(), false));
        assert_eq!(starts(&autumn, Berlin), expected);
    }

    #[test]
    fn local_times_that_do_not_exist_are_named() {
        let error = daily("2026-03-28", "2026-03-30", &["02:30", "20:00"]).starts(Berlin).unwrap_err();
        assert_eq!(error, ProgrammeError::NonexistentTimes(vec![at("2026-03-29 02:30")]));
        assert!(error.to_string().contains("2026-03-29 02:30"), "{error}");
        assert!(daily("2026-03-29", "2026-03-29", &["01:30", "03:00"]).starts(Berlin).is_ok());
    }

    #[test]
    fn the_first_of_two_equal_local_times_is_taken_and_reported() {
        let autumn = daily("2026-10-24", "2026-10-26", &["02:30"]);
        let expected = [("10-24T00:30Z", false), ("10-25T00:30Z", true), ("10-26T01:30Z", false)];
        assert_eq!(starts(&autumn, Berlin), expected.map(|(start, ambiguous)| (start.to_owned(), ambiguous)));
    }

    #[test]
    fn a_change_of_half_an_hour_is_handled() {
        // On Lord Howe Island, clocks go from 02:00 to 02:30, and in autumn from 02:00 to 01:30.
        let error = daily("2026-10-04", "2026-10-04", &["02:15"]).starts(Lord_Howe).unwrap_err();
        assert_eq!(error, ProgrammeError::NonexistentTimes(vec![at("2026-10-04 02:15")]));
        let spring = daily("2026-10-03", "2026-10-05", &["20:00"]);
        let expected = ["10-03T09:30Z", "10-04T09:00Z", "10-05T09:00Z"].map(|start| (start.to_owned(), false));
        assert_eq!(starts(&spring, Lord_Howe), expected);
        let autumn = daily("2026-04-05", "2026-04-05", &["01:45", "20:00"]);
        let expected = [("04-04T14:45Z", true), ("04-05T09:30Z", false)];
        assert_eq!(starts(&autumn, Lord_Howe), expected.map(|(start, ambiguous)| (start.to_owned(), ambiguous)));
    }

    #[test]
    fn a_day_that_a_country_skipped_has_no_times() {
        // Samoa went from 2011-12-29 to 2011-12-31.
        let error = daily("2011-12-29", "2011-12-31", &["10:00", "20:00"]).starts(Apia).unwrap_err();
        assert_eq!(error, ProgrammeError::NonexistentTimes(vec![at("2011-12-30 10:00"), at("2011-12-30 20:00")]));
    }

    #[test]
    fn shows_are_on_the_given_weekdays_alone() {
        let mut weekend = daily("2026-11-30", "2026-12-13", &["20:00", "15:00"]);
        weekend.weekdays = WeekdaySet::from_array([Weekday::Sat, Weekday::Sun]);
        let days: Vec<_> = weekend.starts(Berlin).unwrap().iter().map(|start| start.local.to_string()).collect();
        assert_eq!(days.len(), 8);
        assert_eq!(days[..3], ["2026-12-05 15:00:00", "2026-12-05 20:00:00", "2026-12-06 15:00:00"]);
        weekend.last_day = "2026-12-04".parse().unwrap();
        assert!(matches!(weekend.starts(Berlin), Err(ProgrammeError::NoShows { .. })));
        weekend.weekdays = WeekdaySet::EMPTY;
        assert_eq!(weekend.starts(Berlin), Err(ProgrammeError::NoWeekdays));
    }

    #[test]
    fn a_programme_lasts_at_most_five_years() {
        let weekly = |last: &str| Programme {
            weekdays: WeekdaySet::single(Weekday::Mon),
            ..daily("2026-01-01", last, &["20:00"])
        };
        assert_eq!(weekly("2030-12-31").starts(Berlin).unwrap().len(), 261);
        let error = weekly("2031-01-01").starts(Berlin).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a programme over five years: 2026-01-01 to 2031-01-01; the last possible day is 2030-12-31"
        );
        // A leap day has no anniversary in most years.
        assert!(Programme { first_day: "2028-02-29".parse().unwrap(), ..weekly("2033-02-27") }.starts(Berlin).is_ok());
        assert!(Programme { first_day: "2028-02-29".parse().unwrap(), ..weekly("2033-02-28") }.starts(Berlin).is_err());
    }

    #[test]
    fn a_programme_has_at_most_5000_shows() {
        let programme =
            daily("2026-01-01", "2027-12-31", &["10:00", "12:00", "14:00", "16:00", "18:00", "20:00", "22:00"]);
        assert_eq!(programme.starts(Berlin), Err(ProgrammeError::TooManyShows { asked: 5_110, max: 5_000 }));
        let programme = Programme { last_day: "2027-12-15".parse().unwrap(), ..programme };
        assert_eq!(programme.starts(Berlin).unwrap().len(), 4_998);
    }

    #[test]
    fn invalid_days_times_and_durations_are_refused() {
        let reversed = daily("2026-01-02", "2026-01-01", &["20:00"]).starts(Berlin);
        assert!(matches!(reversed, Err(ProgrammeError::DaysReversed { .. })));
        assert_eq!(daily("2026-01-01", "2026-01-01", &[]).starts(Berlin), Err(ProgrammeError::NoTimes));
        let twice = daily("2026-01-01", "2026-01-01", &["20:00", "15:00", "20:00"]).starts(Berlin);
        assert!(matches!(twice, Err(ProgrammeError::RepeatedTime { .. })));
        let day = || daily("2026-01-01", "2026-01-01", &["20:00"]);
        for (duration, cleaning) in [(0, 0), (-1, 0), (24 * 60 + 1, 0), (90, -1), (90, 24 * 60 + 1)] {
            let (duration, cleaning) = (TimeDelta::minutes(duration), TimeDelta::minutes(cleaning));
            assert_eq!(Programme { duration, cleaning, ..day() }.starts(Berlin), Err(ProgrammeError::Duration));
        }
        let last = Programme { first_day: NaiveDate::MAX, last_day: NaiveDate::MAX, ..day() };
        assert_eq!(last.starts(Berlin), Err(ProgrammeError::OutsideCalendar));
    }

    #[test]
    fn shows_of_a_programme_do_not_overlap() {
        let programme = |minutes| Programme {
            duration: TimeDelta::minutes(minutes),
            ..daily("2026-01-01", "2026-01-02", &["20:00", "22:00"])
        };
        assert!(programme(115).starts(Berlin).is_ok());
        assert_eq!(
            programme(116).starts(Berlin),
            Err(ProgrammeError::Overlap { first: at("2026-01-01 20:00"), second: at("2026-01-01 22:00") })
        );
        // The hour before clocks go back is followed by the same hour.
        let night =
            Programme { duration: TimeDelta::minutes(90), ..daily("2026-10-25", "2026-10-25", &["02:00", "03:00"]) };
        assert!(night.starts(Berlin).is_ok());
        // The hour that is skipped is missing between two shows.
        let night =
            Programme { first_day: "2026-03-29".parse().unwrap(), last_day: "2026-03-29".parse().unwrap(), ..night };
        let night = Programme { local_times: vec!["01:30:00".parse().unwrap(), "03:30:00".parse().unwrap()], ..night };
        assert!(matches!(night.starts(Berlin), Err(ProgrammeError::Overlap { .. })));
    }

    proptest! {
        #[test]
        fn every_start_is_at_its_local_time(day in 0_i64..3_000, hour in 0_u32..24, zone in 0_usize..600) {
            let timezone = chrono_tz::TZ_VARIANTS[zone % chrono_tz::TZ_VARIANTS.len()];
            let first = NaiveDate::default() + TimeDelta::days(18_000 + day);
            let programme = Programme {
                first_day: first,
                last_day: first + TimeDelta::days(3),
                local_times: vec![NaiveTime::from_hms_opt(hour, 30, 0).unwrap()],
                ..daily("2026-01-01", "2026-01-01", &[])
            };
            if let Ok(starts) = programme.starts(timezone) {
                prop_assert_eq!(starts.len(), 4);
                for start in starts {
                    prop_assert_eq!(start.start_time.with_timezone(&timezone).naive_local(), start.local);
                }
            }
        }
    }
}
