//! Import and export of the catalog as one document: ticket types, movies, theatres with their halls and price lists, programmes and shows.
//!
//! A [`Document`] refers to objects by name, never by id, so that it means the same in every store. An import is decided here: the store
//! reads what it has, [`ImportPlan::objects`] and [`PlannedObjects::shows`] compare it with the document, and the store writes the result in
//! the same transaction.

mod document;
mod export;
mod mistake;
mod plan;
mod ports;
mod service;
mod shows;

pub use document::{
    Alternation, DayRef, Document, HallDraft, NamedPriceList, PriceSource, ProgrammeDraft, SalesClosing, ShowFormat,
    ShowTerms, ShowsDraft, StartRef, TheatreDraft, Unread, parse_time, time_text,
};
pub use export::ExportError;
pub use mistake::{ImportMistake, ImportMistakeReason};
pub use plan::{
    Count, ImportMode, ImportPlan, ImportReport, NewHall, NewListing, PlannedObjects, StoredCatalog, StoredHall,
};
#[cfg(feature = "mock")]
pub use ports::MockTransferStore;
pub use ports::{ImportActor, ImportError, TransferStore};
pub use service::TransferService;
pub use shows::{ImportSteps, PlannedShow, ShowWindow, StoredShow};
