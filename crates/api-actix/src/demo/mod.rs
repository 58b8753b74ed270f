//! Demo data: movies that exist, theatres that don't, and what they show around today. All of it is `demo.toml`, a file as `import` reads it.

pub mod seeding;

use catalog_file::{CatalogFile, FileMistake, Format};
use domain::transfer::Document;

/// The file.
const FILE: &str = include_str!("../../demo.toml");

/// Returns the ticket types, the movies, the theatres and their shows from three days before today to fourteen days after it, by each
/// theatre's own calendar.
///
/// A later day's import has the same shows on the days that both have: it adds only what is new.
pub fn document() -> Result<Document, Vec<FileMistake>> {
    let mut file = CatalogFile::parse(FILE, Format::Toml)?;
    let document = std::mem::take(&mut file.document);
    if file.mistakes.is_empty() { Ok(document) } else { Err(file.report(Vec::new())) }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Timelike, Utc};
    use chrono_tz::Tz;
    use domain::ids::TicketTypeId;
    use domain::pricing::{ManagedTicketType, TicketTypeCode, TicketTypeNames};
    use domain::seating::CategoryPrice;
    use domain::seed::ShowSeed;
    use domain::transfer::{ImportMode, ImportPlan, StoredCatalog};

    use super::*;

    /// What is imported into a new store.
    struct Plan {
        document: Document,
        shows: Vec<ShowSeed>,
    }

    /// Returns the plan of an import at this time. `document` is the demo data.
    fn imported(document: &Document, now: DateTime<Utc>) -> Plan {
        let names = TicketTypeNames::parse([("en".to_owned(), "Adult".to_owned())]).unwrap();
        let adult = ManagedTicketType {
            id: TicketTypeId(1),
            code: TicketTypeCode::ADULT,
            names,
            needs_proof: false,
            position: 0,
            retired_at: None,
            version: 1,
        };
        let new_store = StoredCatalog { ticket_types: vec![adult], ..StoredCatalog::default() };
        let plan = ImportPlan { document: document.clone(), now, mode: ImportMode::Strict, is_dry_run: false };
        let steps = plan.objects(&new_store).shows(&[]).unwrap();
        Plan { document: plan.document, shows: steps.shows.into_iter().map(|planned| planned.show).collect() }
    }

    impl Plan {
        fn titles(&self) -> BTreeSet<&str> {
            self.document.movies.iter().map(|movie| movie.name.as_ref().unwrap().as_str()).collect()
        }

        fn theatre_names(&self) -> Vec<&str> {
            self.document.theatres.iter().map(|draft| draft.theatre.name.as_ref().unwrap().as_str()).collect()
        }

        /// Returns the categories of each hall, by theatre and hall.
        fn halls(&self) -> BTreeMap<(&str, &str), BTreeSet<&str>> {
            let mut halls = BTreeMap::new();
            for (theatre, draft) in self.theatre_names().into_iter().zip(&self.document.theatres) {
                for hall in &draft.halls {
                    let seats = &hall.layout.as_ref().unwrap().as_ref().unwrap().seats;
                    let categories = seats.iter().map(|seat| seat.category.as_str()).collect();
                    halls.insert((theatre, hall.name.as_ref().unwrap().as_str()), categories);
                }
            }
            halls
        }
    }

    /// Ordinary days, midnights of the three theatres, and days on or near which clocks change in Berlin or New York.
    const NOWS: [&str; 12] = [
        "2026-01-01T00:00:00Z",
        "2026-02-27T15:00:00Z",
        "2026-02-28T23:30:00Z",
        "2026-03-07T12:00:00Z",
        "2026-03-08T06:59:59Z",
        "2026-03-29T00:59:59Z",
        "2026-03-29T01:00:00Z",
        "2026-06-15T04:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-11-01T05:30:00Z",
        "2028-02-29T23:59:59.999Z",
        "2031-12-31T14:59:59Z",
    ];

    fn plans() -> impl Iterator<Item = (DateTime<Utc>, Plan)> {
        let document = document().unwrap();
        NOWS.into_iter().map(move |now| {
            let now = now.parse().unwrap();
            (now, imported(&document, now))
        })
    }

    fn timezones(plan: &Plan) -> BTreeMap<&str, Tz> {
        let timezones = plan.document.theatres.iter().map(|draft| draft.theatre.content.as_ref().unwrap().timezone);
        plan.theatre_names().into_iter().zip(timezones).collect()
    }

    /// Returns the shows of each hall on each local day.
    fn by_day(plan: &Plan) -> BTreeMap<(&str, &str, NaiveDate), Vec<&ShowSeed>> {
        let timezones = timezones(plan);
        let mut days: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for show in &plan.shows {
            let date = show.start_time.with_timezone(&timezones[show.theatre_name.as_str()]).date_naive();
            days.entry((show.theatre_name.as_str(), show.hall_name.as_str(), date)).or_default().push(show);
        }
        days
    }

    #[test]
    fn every_hall_has_four_or_five_shows_a_day_from_three_days_ago_for_two_weeks_to_come() {
        for (now, plan) in plans() {
            let days = by_day(&plan);
            let (halls, timezones) = (plan.halls(), timezones(&plan));
            assert_eq!(halls.len(), 7);
            assert_eq!(days.len(), halls.len() * 18, "{now}");
            for (theatre, hall) in halls.into_keys() {
                let today = now.with_timezone(&timezones[theatre]).date_naive();
                for day in 0..18 {
                    let date = today - Days::new(3) + Days::new(day);
                    let shows = &days[&(theatre, hall, date)];
                    assert!((4..=5).contains(&shows.len()), "{now} {hall} {date}: {}", shows.len());
                    assert!(day >= 3 || shows.iter().all(|show| show.start_time < now), "{now} {date}");
                    assert!(day <= 3 || shows.iter().all(|show| show.start_time > now), "{now} {date}");
                }
            }
        }
    }

    #[test]
    fn no_show_begins_before_the_hall_is_free() {
        for (now, plan) in plans() {
            let contents = plan.document.movies.iter().map(|movie| movie.content.as_ref().unwrap());
            let minutes: BTreeMap<_, _> =
                contents.map(|movie| (movie.title.as_str(), movie.duration.minutes())).collect();
            let mut halls: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for show in &plan.shows {
                let running = TimeDelta::minutes(minutes[show.movie_title.as_str()].into());
                assert_eq!(show.end_time - show.start_time, running + TimeDelta::minutes(15));
                assert_eq!(show.hall_free_at - show.end_time, TimeDelta::minutes(15));
                halls.entry((&show.theatre_name, &show.hall_name)).or_default().push(show);
            }
            for shows in halls.values_mut() {
                shows.sort_by_key(|show| show.start_time);
                for pair in shows.windows(2) {
                    assert!(pair[0].hall_free_at <= pair[1].start_time, "{now} {:?} {:?}", pair[0], pair[1]);
                }
            }
        }
    }

    #[test]
    fn shows_begin_at_round_times_of_the_local_day_whatever_the_clocks_do() {
        for (now, plan) in plans() {
            let timezones = timezones(&plan);
            for show in &plan.shows {
                let local = show.start_time.with_timezone(&timezones[show.theatre_name.as_str()]);
                assert!(local.minute() % 15 == 0 && local.second() == 0 && local.nanosecond() == 0, "{now} {local}");
                assert!((10..23).contains(&local.hour()), "{now} {local}");
            }
            for ((theatre, hall, date), shows) in by_day(&plan) {
                let first = shows[0].start_time.with_timezone(&timezones[theatre]);
                let expected = match hall {
                    "Großer Saal" | "Auditorium 1" | "Hall Kaede" => (11, 0),
                    "Kaminzimmer" => (12, 0),
                    _ => (10, 30),
                };
                assert_eq!((first.hour(), first.minute()), expected, "{now} {hall} {date}");
            }
        }
    }

    #[test]
    fn a_later_plan_has_the_same_shows_on_the_days_both_have() {
        for (now, plan) in plans() {
            for later in [TimeDelta::seconds(1), TimeDelta::hours(7), TimeDelta::days(1), TimeDelta::days(9)] {
                let later = imported(&plan.document, now + later);
                let (before, after) = (by_day(&plan), by_day(&later));
                let common: Vec<_> = before.keys().filter(|day| after.contains_key(*day)).collect();
                assert!(common.len() >= 7 * 9, "{now}");
                for day in common {
                    assert_eq!(before[day], after[day], "{now} {day:?}");
                }
            }
        }
    }

    #[test]
    fn every_name_that_a_show_has_is_one_of_the_plans_and_every_category_has_a_price() {
        for (now, plan) in plans() {
            let (titles, halls) = (plan.titles(), plan.halls());
            for show in &plan.shows {
                assert!(titles.contains(show.movie_title.as_str()), "{now} {show:?}");
                let categories: BTreeSet<_> = show.prices.iter().map(|price| price.category.as_str()).collect();
                let pairs: BTreeSet<_> =
                    show.prices.iter().map(|price| (&price.category, price.ticket_type.as_str())).collect();
                assert_eq!(
                    (pairs.len(), show.prices.len()),
                    (categories.len() * 2, categories.len() * 2),
                    "{now} {show:?}"
                );
                assert_eq!(halls[&(show.theatre_name.as_str(), show.hall_name.as_str())], categories, "{now} {show:?}");
                assert!(show.prices.iter().all(|price| price.minor > 0), "{now} {show:?}");
                assert!(["2D", "3D", "IMAX"].contains(&show.format.as_str()), "{now} {show:?}");
            }
        }
    }

    #[test]
    fn a_hall_shows_no_movie_twice_a_day_and_a_theatre_shows_all_in_time() {
        for (now, plan) in plans() {
            for ((_, hall, date), shows) in by_day(&plan) {
                let titles: BTreeSet<_> = shows.iter().map(|show| &show.movie_title).collect();
                assert_eq!(titles.len(), shows.len(), "{now} {hall} {date}");
            }
            for theatre in plan.theatre_names() {
                let shows = plan.shows.iter().filter(|show| show.theatre_name == theatre && show.start_time > now);
                let titles: BTreeSet<_> = shows.map(|show| &show.movie_title).collect();
                assert_eq!(titles.len(), plan.titles().len(), "{now} {theatre}");
            }
        }
    }

    #[test]
    fn there_are_all_formats_and_languages_of_each_kind() {
        for (now, plan) in plans() {
            let formats: BTreeSet<_> = plan.shows.iter().map(|show| show.format.as_str()).collect();
            assert_eq!(formats, BTreeSet::from(["2D", "3D", "IMAX"]), "{now}");
            let languages: BTreeSet<_> = plan.shows.iter().map(|show| show.language.as_str()).collect();
            for language in
                ["Japanese", "English (dubbed)", "Japanese (English subtitles)", "Korean (German subtitles)"]
            {
                assert!(languages.contains(language), "{now} {language}");
            }
        }
    }

    #[test]
    fn a_child_pays_less_than_an_adult() {
        let (_, plan) = plans().next().unwrap();
        let names = plan.document.ticket_types.iter().map(|ticket_type| ticket_type.name.as_ref().unwrap().as_str());
        let codes: Vec<_> = names.collect();
        assert_eq!(codes, ["child"]);
        let show = &plan.shows[0];
        for adult in show.prices.iter().filter(|price| price.ticket_type.is_adult()) {
            let is_child = |price: &&CategoryPrice| price.category == adult.category && !price.ticket_type.is_adult();
            let child = show.prices.iter().find(is_child).unwrap();
            assert!(child.minor < adult.minor && child.minor % 50 == 0, "{adult:?} {child:?}");
        }
    }

    #[test]
    fn evenings_and_weekends_cost_more_than_matinees() {
        // A Thursday.
        let plan = imported(&document().unwrap(), "2026-01-01T00:00:00Z".parse().unwrap());
        let timezones = timezones(&plan);
        let mut standard: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for show in plan.shows.iter().filter(|show| show.format == "2D" && show.theatre_name == "Shinjuku Eigakan") {
            let local = show.start_time.with_timezone(&timezones[show.theatre_name.as_str()]);
            let price = show.prices.iter().find(|price| price.category == "standard").unwrap();
            standard
                .entry((local.weekday().num_days_from_monday(), local.hour() >= 17))
                .or_default()
                .insert(price.minor);
        }
        for (day, evening) in [(0, false), (3, false), (4, false)] {
            assert_eq!(standard[&(day, evening)], BTreeSet::from([1300]), "{day}");
        }
        for (day, evening) in [(0, true), (3, true), (5, false), (6, false)] {
            assert_eq!(standard[&(day, evening)], BTreeSet::from([1900]), "{day}");
        }
        for (day, evening) in [(4, true), (5, true), (6, true)] {
            assert_eq!(standard[&(day, evening)], BTreeSet::from([2100]), "{day}");
        }
    }

    #[test]
    fn the_shows_of_a_day_stay_what_they_are() {
        // Stores are filled already: a change here would add a second schedule to the first.
        let plan = imported(&document().unwrap(), "2026-06-15T04:00:00Z".parse().unwrap());
        let days = by_day(&plan);
        let shows = &days[&("Lichtburg", "Großer Saal", NaiveDate::from_ymd_opt(2026, 6, 20).unwrap())];
        let shows: Vec<_> =
            shows.iter().map(|show| (show.start_time.to_rfc3339(), show.movie_title.as_str())).collect();
        let shows: Vec<_> = shows.iter().map(|(start, title)| (start.as_str(), *title)).collect();
        let expected = [
            ("2026-06-20T09:00:00+00:00", "RRR"),
            ("2026-06-20T12:45:00+00:00", "City of God"),
            ("2026-06-20T15:30:00+00:00", "Amélie"),
            ("2026-06-20T18:30:00+00:00", "The Lives of Others"),
        ];
        assert_eq!(shows, expected);
    }

    #[test]
    fn halls_have_their_sizes_love_seats_and_sections() {
        let document = document().unwrap();
        let halls = document.theatres.iter().flat_map(|draft| &draft.halls);
        let layouts: Vec<_> = halls.map(|hall| hall.layout.as_ref().unwrap().as_ref().unwrap()).collect();
        let sizes: Vec<_> = layouts.iter().map(|layout| layout.seats.len()).collect();
        assert_eq!(sizes, [500, 110, 24, 278, 64, 203, 59]);
        assert!(layouts.iter().all(|layout| layout.seats.iter().any(|seat| seat.accessible)));
        assert_eq!(layouts.iter().flat_map(|layout| &layout.seats).filter(|seat| seat.pair.is_some()).count(), 12);
        let sections: Vec<_> = layouts.iter().flat_map(|layout| &layout.sections).collect();
        assert_eq!(sections.iter().map(|section| section.name.as_str()).collect::<Vec<_>>(), ["Balcony"]);
        // The largest hall has rows beyond Z, which bend around the screen.
        let last: Vec<_> = layouts[0].seats.iter().filter(|seat| seat.row == "AB").map(|seat| seat.y).collect();
        assert_eq!(last.len(), 22);
        assert!(last.first() == last.last() && last.first() < last.get(11));
    }
}
