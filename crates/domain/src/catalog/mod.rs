//! Movies, theatres with their halls, and shows.

mod details;
mod ports;
mod programme;
mod service;
mod types;

pub use details::{
    Certificate, CleaningTime, Description, Duration, Genres, GenresError, HallChange, HallDetails, LanguageName,
    Location, Minutes, MovieChange, MovieDetails, OutOfBounds, PlaceName, PosterUrl, PosterUrlError, ReleaseDate,
    ReleaseDateError, TheatreChange, TheatreDetails, TimeZoneError, Title, movie_search_folded, time_zone,
};
#[cfg(feature = "mock")]
pub use ports::MockCatalogStore;
pub use ports::{
    CatalogStore, DayWindow, HallCursor, HallFilter, MovieCursor, MovieFilter, ShowCursor, ShowFilter, TheatreCursor,
    TheatreFilter,
};
pub use programme::{Programme, ProgrammeError, ProgrammeStart};
pub use service::{CatalogService, MovieQuery, MovieShowsError, ShowQuery, all_theatres, windows_of};
pub use types::{Hall, HallSummary, Movie, Show, ShowStatus, ShowStatusError, Theatre, day_in};
