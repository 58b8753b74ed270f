//! The command `import`.

use std::path::PathBuf;
use std::sync::Arc;

use adapters_auth::{OsRandom, check_foreign_hash};
use adapters_postgres::{ExpressTerms, PostgresSettings, read_express};
use clap::Args;
use domain::catalog::{Duration, time_zone};
use domain::former::{FormerImported, FormerTerms, SkippedRow};
use domain::money::{Currency, Money};

use super::{Outcome, print, transfer};
use crate::settings::Config;
use crate::wiring::stores::{OpenStore, Purpose};

/// What to import.
#[derive(Args)]
pub struct ImportArguments {
    /// A TOML or JSON file of ticket types, movies, theatres, halls, price lists, programmes and shows, or - for standard input. The server can
    /// keep running. docs/import.md describes it.
    #[arg(conflicts_with = "from_express")]
    file: Option<PathBuf>,
    /// Check the file and report what would be added, without changing anything.
    #[arg(long, requires = "file")]
    dry_run: bool,
    /// Keep objects that exist with other content, and skip shows that do not fit to them.
    #[arg(long, requires = "file")]
    keep: bool,
    /// Import users, movies, theatres, shows, seats and bookings from the PostgreSQL database of the Express "Movie Booking API". A second
    /// import adds only what is new. Stop the servers first: they do not notice imported bookings. `-` reads the address from standard input, so that its password is not in the list of processes.
    #[arg(long, value_name = "DATABASE_URL", requires = "timezone", requires = "currency")]
    from_express: Option<String>,
    /// The time zone of the theatres, like Europe/Berlin. Times without an offset are local times there.
    #[arg(long, value_name = "NAME", requires = "from_express")]
    timezone: Option<String>,
    /// The currency of the prices, like EUR.
    #[arg(long, value_name = "CODE", requires = "from_express")]
    currency: Option<String>,
    /// The price of a seat in shows without a price, like 12.50.
    #[arg(long, value_name = "AMOUNT", requires = "from_express")]
    price: Option<String>,
    /// The duration of movies without one, in minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 120, requires = "from_express")]
    duration: i64,
}

/// Runs the command.
pub async fn import(config: &Config, arguments: ImportArguments) -> Outcome {
    let ImportArguments { file, dry_run, keep, from_express, timezone, currency, price, duration } = arguments;
    if let Some(file) = file {
        return transfer::import(config, &file, dry_run, keep).await;
    }
    let (Some(url), Some(timezone), Some(currency)) = (from_express, timezone, currency) else {
        return Err(
            "nothing to import: give a file, or --from-express DATABASE_URL with --timezone and --currency".into()
        );
    };
    let timezone = time_zone(&timezone).map_err(|error| format!("--timezone {error}"))?;
    let currency = Currency::parse(&currency).map_err(|error| format!("--currency: {error}"))?;
    let price = price.map(|text| Money::parse(&text, currency)).transpose();
    let price = price.map_err(|error| format!("--price {error}"))?;
    let terms = ExpressTerms {
        former: FormerTerms { timezone, currency },
        price_minor: price.map(|price| price.minor),
        duration: Duration::parse(duration).map_err(|error| format!("--duration {error}"))?,
        check_hash: check_foreign_hash,
    };
    let url = if url == "-" { read_line()? } else { url };
    let settings = PostgresSettings::parse(&url, 1).map_err(|error| format!("--from-express: {error}"))?;
    let source = read_express(&settings, &terms).await?;
    let store = OpenStore::open(config, Purpose::Administer).await?;
    let imported = store.ports.former.import_former(&source, Arc::new(OsRandom)).await?;
    print(&report(&imported));
    Ok(())
}

fn read_line() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Returns the counts, and a line for each skipped row.
fn report(imported: &FormerImported) -> String {
    let FormerImported { users, movies, theatres, halls, shows, bookings, blocked, renumbered, skipped } = imported;
    let mut lines = vec![format!(
        "Imported {users} users, {movies} movies, {theatres} theatres with {halls} new halls, {shows} shows and {bookings} bookings."
    )];
    if *blocked > 0 {
        lines.push(format!("{blocked} seats were taken without a booking, and are blocked."));
    }
    if *renumbered > 0 {
        lines.push(format!("{renumbered} rows have another id than before, because theirs was taken."));
    }
    if !skipped.is_empty() {
        lines.push(format!("{} rows need attention:", skipped.len()));
    }
    lines.extend(skipped.iter().map(|SkippedRow { table, id, reason }| format!("  {table} {id}: {reason}")));
    lines.join("\n") + "\n"
}
