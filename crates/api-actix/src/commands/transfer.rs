//! The commands `import` and `export`.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use adapters_auth::SystemClock;
use catalog_file::{CatalogFile, FileMistake, Format};
use clap::ValueEnum;
use domain::transfer::{Count, ImportActor, ImportError, ImportMode, ImportReport, TransferService};

use super::{Outcome, print};
use crate::settings::Config;
use crate::wiring::stores::{OpenStore, Purpose};

/// The most bytes of a file: enough for the shows that an import can have. It is read as a whole.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// A format of files.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum FileFormat {
    Toml,
    Json,
}

fn service(store: &OpenStore) -> TransferService {
    TransferService::new(store.ports.transfer.clone(), Arc::new(SystemClock))
}

/// Imports a file.
pub(super) async fn import(config: &Config, file: &Path, dry_run: bool, keep: bool) -> Outcome {
    let text = read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let mut parsed = CatalogFile::parse(&text, Format::of_text(&text)).map_err(|mistakes| refused(&mistakes))?;
    let store = OpenStore::open(config, Purpose::Administer).await?;
    let document = std::mem::take(&mut parsed.document);
    let mode = if keep { ImportMode::Keep } else { ImportMode::Strict };
    // A file with mistakes is compared with the store as well, so that the report has all of them.
    let is_dry_run = dry_run || !parsed.mistakes.is_empty();
    let imported = service(&store).import(document, mode, is_dry_run, &ImportActor::CommandLine).await;
    match imported {
        Ok(report) if parsed.mistakes.is_empty() => {
            print(&described(&report, dry_run));
            Ok(())
        }
        Ok(_) => Err(refused(&parsed.report(Vec::new())).into()),
        Err(ImportError::Invalid(mistakes)) => Err(refused(&parsed.report(mistakes)).into()),
        Err(error) => Err(error.into()),
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limited = if file == Path::new("-") {
        std::io::stdin().take(FILE_MAX + 1).read_to_string(&mut text)?
    } else {
        std::fs::File::open(file)?.take(FILE_MAX + 1).read_to_string(&mut text)?
    };
    let is_too_long = u64::try_from(limited).unwrap_or(u64::MAX) > FILE_MAX;
    if is_too_long { Err(std::io::Error::other(format!("it has more than {FILE_MAX} bytes"))) } else { Ok(text) }
}

fn refused(mistakes: &[FileMistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
    format!("nothing was imported, because the file has mistakes:{}", lines.concat())
}

fn described(report: &ImportReport, dry_run: bool) -> String {
    let ImportReport { ticket_types, movies, theatres, halls, price_lists, shows } = report;
    let kinds = [
        ("ticket types", ticket_types),
        ("movies", movies),
        ("theatres", theatres),
        ("halls", halls),
        ("price lists", price_lists),
        ("shows", shows),
    ];
    let line = |(name, Count { added, unchanged, skipped }): (&str, &Count)| {
        format!("  {name:<13} {added:>6} {unchanged:>10} {skipped:>8}\n")
    };
    let head = if dry_run { "Nothing was changed. An import would add:" } else { "Imported:" };
    format!("{head}\n{:<15} {:>6} {:>10} {:>8}\n{}", "", "added", "unchanged", "skipped", kinds.map(line).concat())
}

/// Exports the catalog.
pub(super) async fn export(config: &Config, file: Option<&Path>, format: Option<FileFormat>) -> Outcome {
    let is_json = file.and_then(Path::extension).is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let format = match format {
        Some(FileFormat::Toml) => Format::Toml,
        Some(FileFormat::Json) => Format::Json,
        None if is_json => Format::Json,
        None => Format::Toml,
    };
    let store = OpenStore::open(config, Purpose::Administer).await?;
    let text = catalog_file::print(&service(&store).export().await?, format);
    let Some(file) = file else {
        print(&text);
        return Ok(());
    };
    // An existing file is never overwritten.
    let mut created = OpenOptions::new().write(true).create_new(true).open(file)?;
    created.write_all(text.as_bytes()).and_then(|()| created.sync_all())?;
    print(&format!("Exported the catalog to {}: {} bytes.\n", file.display(), text.len()));
    Ok(())
}
