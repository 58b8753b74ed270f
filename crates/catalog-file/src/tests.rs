use chrono::{DateTime, Utc};
use domain::ids::TicketTypeId;
use domain::pricing::{ManagedTicketType, TicketTypeCode, TicketTypeNames};
use domain::transfer::{ImportMode, ImportPlan, ImportReport, ImportSteps, StoredCatalog};
use proptest::prelude::*;

use super::*;

/// The example of `docs/import.md`.
const EXAMPLE: &str = include_str!("../../../docs/import.toml");

fn now() -> DateTime<Utc> {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

/// A store without anything but the ticket type that every store has.
fn empty_store() -> StoredCatalog {
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
    StoredCatalog { ticket_types: vec![adult], ..StoredCatalog::default() }
}

fn imported(text: &str) -> Result<ImportSteps, Vec<FileMistake>> {
    let mut file = CatalogFile::parse(text, Format::of_text(text))?;
    let document = std::mem::take(&mut file.document);
    let plan = ImportPlan { document, now: now(), mode: ImportMode::Strict, is_dry_run: false };
    match plan.objects(&empty_store()).shows(&[]) {
        Ok(steps) if file.mistakes.is_empty() => Ok(steps),
        Ok(_) => Err(file.report(Vec::new())),
        Err(mistakes) => Err(file.report(mistakes)),
    }
}

/// Returns the mistakes of a text, each as `line path code`.
fn mistakes(text: &str) -> Vec<String> {
    let found = imported(text).err().unwrap_or_default();
    found.iter().map(|mistake| format!("{} {} {}", mistake.line, mistake.path, mistake.code)).collect()
}

/// Returns the mistakes of the example after a change.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(EXAMPLE.contains(from), "the example has no {from}");
    let line = EXAMPLE.split(from).next().unwrap().lines().count().max(1);
    let found = imported(&EXAMPLE.replacen(from, to, 1)).err().unwrap_or_default();
    let near = |mistake: &FileMistake| {
        // Most of them are where the change is.
        let place = if mistake.line.abs_diff(line) <= 1 { String::new() } else { format!("{} ", mistake.line) };
        format!("{place}{} {}", mistake.path, mistake.code)
    };
    found.iter().map(near).collect()
}

#[test]
fn example_is_imported() {
    let ImportReport { ticket_types, movies, theatres, halls, price_lists, shows } = imported(EXAMPLE).unwrap().report;
    let added = [ticket_types, movies, theatres, halls, price_lists, shows].map(|count| count.added);
    assert_eq!(added, [1, 2, 1, 2, 1, 33]);
}

#[test]
fn both_formats_have_the_same_content() {
    let file = CatalogFile::parse(EXAMPLE, Format::Toml).unwrap();
    let json = print(&file.document, Format::Json);
    assert_eq!(Format::of_text(&json), Format::Json);
    let same = CatalogFile::parse(&json, Format::Json).unwrap();
    assert_eq!((&same.document, &same.mistakes), (&file.document, &file.mistakes));
    let toml = print(&same.document, Format::Toml);
    assert_eq!(CatalogFile::parse(&toml, Format::Toml).unwrap().document, file.document);
    assert_eq!(print(&CatalogFile::parse(&toml, Format::Toml).unwrap().document, Format::Toml), toml);
}

#[test]
fn bad_values_are_found_with_line_and_path() {
    for (from, to, expected) in [
        ("Europe/Berlin", "Europe/Bonn", vec!["theatres[0].timezone invalid"]),
        ("duration_minutes = 122", "duration_minutes = 1_800", vec!["movies[0].duration_minutes out_of_range"]),
        ("duration_minutes = 122", "duration_minutes = \"122\"", vec!["movies[0].duration_minutes wrong_type"]),
        ("\"12.50\"", "\"-12.50\"", vec!["theatres[0].price_lists[0].prices[0].price out_of_range"]),
        ("\"12.50\"", "\"1000000.00\"", vec!["theatres[0].price_lists[0].prices[0].price out_of_range"]),
        ("\"12.50\"", "\"12,50\"", vec!["theatres[0].price_lists[0].prices[0].price invalid"]),
        ("certificate = \"0\"", "certifcate = \"0\"", vec!["movies[0].certifcate unknown_member"]),
        ("currency = \"EUR\"", "currency = \"Euro\"", vec!["theatres[0].currency invalid"]),
        ("release_date = 2001-04-25", "release_date = 2001-13-25", vec![" malformed"]),
        ("last_day = \"+13\"", "last_day = \"2032-01-01\"", vec!["programmes[0].last_day programme_too_long"]),
        ("last_day = \"+13\"", "last_day = \"-1\"", vec!["programmes[0].last_day invalid"]),
        ("last_day = \"+13\"", "last_day = \"later\"", vec!["programmes[0].last_day invalid"]),
    ] {
        assert_eq!(changed(from, to), expected, "{to}");
    }
}

#[test]
fn unknown_references_are_found() {
    for (from, to, expected) in [
        ("movie = \"Amélie\"", "movie = \"Amelie\"", vec!["programmes[0].movie unknown"]),
        ("hall = \"Saal 1\"", "hall = \"Saal 9\"", vec!["programmes[0].hall unknown"]),
        ("price_list = \"Standard\"", "price_list = \"Normal\"", vec!["programmes[0].price_list unknown"]),
        (
            "ticket_type = \"child\", price = \"9.00\"",
            "ticket_type = \"kid\", price = \"9.00\"",
            vec!["theatres[0].price_lists[0].prices[1].ticket_type unknown"],
        ),
        (
            "category = \"premium\", price = \"16.00\"",
            "category = \"premuim\", price = \"16.00\"",
            vec!["99 shows[0].prices price_missing", "shows[0].prices[1].category category_unknown"],
        ),
    ] {
        assert_eq!(changed(from, to), expected, "{to}");
    }
    // A theatre that is not in the file has no hall and no price list to name.
    assert_eq!(changed("theatre = \"Lichtburg\"", "theatre = \"Capitol\""), ["programmes[0].theatre unknown"]);
}

#[test]
fn price_list_without_a_needed_price_is_refused() {
    let line = "    { category = \"premium\", ticket_type = \"adult\", price = \"15.00\" },\n";
    let found = imported(&EXAMPLE.replacen(line, "", 1)).unwrap_err();
    let [mistake] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((mistake.path.as_str(), mistake.code), ("programmes[0].price_list", "price_missing"));
    assert!(mistake.message.contains("premium/adult"), "{mistake}");
}

#[test]
fn mistakes_of_a_plan_have_the_lines_of_the_file() {
    let line = EXAMPLE.lines().position(|line| line.starts_with("B | ")).unwrap() + 1;
    // Two rows with the same numbers.
    let overlapping = EXAMPLE.replacen("\nB | ", "\nA | ", 1);
    let found = mistakes(&overlapping);
    assert!(!found.is_empty());
    assert!(found.contains(&format!("{line} theatres[0].halls[0].plan seat_repeated")), "{found:?}");
    assert!(
        found.iter().all(|mistake| mistake.starts_with(&format!("{line} theatres[0].halls[0].plan "))),
        "{found:?}"
    );
    // Two seats on one place.
    let same_place = EXAMPLE.replacen("\nB | ", "\nB [depth 1] | ", 1);
    let found = mistakes(&same_place);
    assert!(!found.is_empty());
    assert!(
        found.iter().all(|mistake| mistake == &format!("{line} theatres[0].halls[0].plan place_taken")),
        "{found:?}"
    );
    assert!(
        mistakes(&EXAMPLE.replacen("\nB | ", "\nB | x", 1))[0].ends_with("theatres[0].halls[0].plan letter_unknown")
    );
}

#[test]
fn all_mistakes_are_in_one_report() {
    let wrong = EXAMPLE
        .replacen("duration_minutes = 122", "duration_minutes = 0", 1)
        .replacen("Europe/Berlin", "Berlin", 1)
        .replacen("\"12.50\"", "\"-1\"", 1)
        .replacen("hall = \"Saal 1\"", "hall = \"Saal 9\"", 1);
    let found: Vec<_> = mistakes(&wrong).into_iter().map(|found| found.split_once(' ').unwrap().1.to_owned()).collect();
    let expected = [
        "movies[0].duration_minutes out_of_range",
        "theatres[0].timezone invalid",
        "theatres[0].price_lists[0].prices[0].price out_of_range",
        "programmes[0].hall unknown",
    ];
    assert_eq!(found, expected);
    let lines: Vec<usize> = imported(&wrong).unwrap_err().iter().map(|mistake| mistake.line).collect();
    assert!(lines.is_sorted(), "{lines:?}");
}

#[test]
fn duplicate_names_are_refused() {
    for section in ["ticket_types", "movies", "theatres"] {
        let mut file = CatalogFile::parse(EXAMPLE, Format::Toml).unwrap();
        let document = &mut file.document;
        match section {
            "ticket_types" => document.ticket_types.push(document.ticket_types[0].clone()),
            "movies" => document.movies.push(document.movies[0].clone()),
            _ => document.theatres.push(document.theatres[0].clone()),
        }
        let text = print(document, Format::Json);
        let found = imported(&text).unwrap_err();
        assert_eq!(found[0].code, "repeated", "{section}: {found:?}");
        assert!(found[0].path.starts_with(section) && found[0].line > 1, "{found:?}");
    }
    assert_eq!(mistakes("{\"movies\": [], \"movies\": []}"), ["1  malformed"]);
    assert_eq!(mistakes("[[movies]]\ntitle = \"A\"\ntitle = \"B\"\n")[0], "3  malformed");
}

#[test]
fn overlapping_shows_are_refused() {
    let twice = format!("{EXAMPLE}\n{}", EXAMPLE.split("\n\n").find(|part| part.contains("[[shows]]")).unwrap());
    let found = imported(&twice).unwrap_err();
    assert!(found.iter().all(|mistake| mistake.code == "show_overlap"), "{found:?}");
    assert!(found[0].message.contains("shows[0]"), "{found:?}");
}

#[test]
fn local_times_follow_the_clocks_of_the_theatre() {
    let start = |start: &str| {
        let text = EXAMPLE.replacen("\"2026-12-24T15:00\"", &format!("\"{start}\""), 1);
        imported(&text).map(|steps| {
            let starts: Vec<_> = steps.shows.iter().map(|show| show.show.start_time.to_rfc3339()).collect();
            starts.into_iter().find(|start| start.starts_with("2027-")).unwrap_or_default()
        })
    };
    assert_eq!(start("2027-03-28T02:30").unwrap_err()[0].code, "time_nonexistent");
    assert_eq!(start("2027-10-31T02:30").unwrap(), "2027-10-31T00:30:00+00:00");
    assert_eq!(start("2027-10-31T02:30+01:00").unwrap(), "2027-10-31T01:30:00+00:00");
    assert_eq!(start("2027-10-31T02:30+05:00").unwrap_err()[0].code, "invalid");
}

#[test]
fn formulas_in_names_are_plain_text() {
    let text = EXAMPLE.replace("Amélie", "=HYPERLINK(\\\"x\\\")");
    assert_eq!(imported(&text).unwrap().movies[0].title.as_str(), "=HYPERLINK(\"x\")");
}

#[test]
fn other_texts_are_malformed() {
    for wrong in ["{", "{}}", "[", "{\"movies\": 01}", "{'movies': []}", "movies = ", "= 1", "{\"a\": [1,]}"] {
        assert!(mistakes(wrong)[0].ends_with(" malformed"), "{wrong}: {:?}", mistakes(wrong));
    }
    assert_eq!(mistakes("movies = 1"), ["1 movies wrong_type"]);
    assert_eq!(
        mistakes("movies = [1]"),
        [
            "1 movies[0] wrong_type",
            "1 movies[0].title required",
            "1 movies[0].duration_minutes required",
            "1 movies[0].language required",
            "1 movies[0].release_date required",
        ]
    );
    let deep = format!("{{\"movies\": {}", "[".repeat(100_000));
    assert!(mistakes(&deep)[0].ends_with(" malformed"));
    let deep = format!("movies = {}", "[".repeat(100_000));
    assert!(mistakes(&deep)[0].ends_with(" malformed"));
}

#[test]
fn report_of_a_wrong_file_ends() {
    let text = format!("movies = [{}]", "1, ".repeat(1_000));
    let found = mistakes(&text);
    assert_eq!(found.len(), MISTAKES_MAX + 1);
    assert!(found.last().unwrap().ends_with("more_mistakes"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_reported(text in "\\PC*") {
        let _ = imported(&text);
    }

    #[test]
    fn texts_read_as_they_are_written(title in "[ -~äß語]{1,40}", description in "[ -~\n語]{0,80}") {
        let Ok(title) = domain::catalog::Title::parse(&title) else { return Ok(()) };
        let mut file = CatalogFile::parse(EXAMPLE, Format::Toml).unwrap();
        let movie = &mut file.document.movies[0];
        movie.name = Some(title.clone());
        let details = movie.content.as_mut().unwrap();
        details.title = title;
        details.description = domain::catalog::Description::parse(&description).unwrap();
        for format in [Format::Toml, Format::Json] {
            let text = print(&file.document, format);
            prop_assert_eq!(&CatalogFile::parse(&text, format).unwrap().document, &file.document);
        }
    }
}
