//! Movies, theatres with their halls, and shows.

mod ports;
mod programme;
mod service;
mod types;

#[cfg(feature = "mock")]
pub use ports::MockCatalogStore;
pub use ports::{CatalogStore, DayWindow, MovieCursor, MovieFilter, ShowCursor, ShowFilter, TheatreCursor};
pub use programme::{Programme, ProgrammeError, ProgrammeStart};
pub use service::{CatalogService, MovieQuery, MovieShowsError, ShowQuery};
pub use types::{HallSummary, Movie, Show, ShowStatus, ShowStatusError, Theatre, day_in};
