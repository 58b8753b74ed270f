//! Filling a store: movies, theatres and shows from a plan.
//!
//! A plan names things as people do (a movie by its title, a hall by its theatre and name), so that applying it again
//! adds what is missing and changes nothing else.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::error::StoreError;
use crate::identity::NewUser;
use crate::money::Currency;
use crate::seating::CategoryPrice;

/// A movie to be there. Known by its title.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovieSeed {
    pub title: String,
    /// What it is about.
    pub description: String,
    /// How long it runs, in minutes.
    pub duration_minutes: i32,
    /// Its genres, the main one first.
    pub genres: Vec<String>,
    /// The language that is spoken.
    pub language: String,
    /// The age rating.
    pub certificate: String,
    /// When it came to cinemas.
    pub release_date: NaiveDate,
}

/// A theatre to be there, with its halls. Known by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TheatreSeed {
    pub name: String,
    /// Where it is.
    pub location: String,
    /// The timezone of its days and clocks.
    pub timezone: Tz,
    pub halls: Vec<HallSeed>,
}

/// A hall to be there, with its first layout. Known by its name in its theatre.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HallSeed {
    pub name: String,
    pub seats: Vec<SeatSeed>,
}

/// A seat of a hall to be there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatSeed {
    /// The row's letters.
    pub row: String,
    /// The number in the row.
    pub number: i32,
    /// What its price depends on.
    pub category: String,
    /// Whether it is meant for people in a wheelchair.
    pub accessible: bool,
    /// Where it stands, from the left, in seat widths.
    pub x: i32,
    /// Where it stands, from the screen, in seat depths.
    pub y: i32,
}

/// A show to be there. Known by its hall and start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowSeed {
    /// The title of the movie.
    pub movie_title: String,
    /// The name of the theatre.
    pub theatre_name: String,
    /// The name of the hall.
    pub hall_name: String,
    /// When it begins.
    pub start_time: DateTime<Utc>,
    /// When it ends.
    pub end_time: DateTime<Utc>,
    /// When the hall is clean, and the next show may begin.
    pub hall_free_at: DateTime<Utc>,
    /// `2D`, `3D`, `IMAX`.
    pub format: String,
    /// The language of this show.
    pub language: String,
    /// The currency of its prices.
    pub currency: Currency,
    /// What each category costs.
    pub prices: Vec<CategoryPrice>,
}

/// What is to be there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SeedPlan {
    /// Accounts, known by their addresses.
    pub users: Vec<NewUser>,
    pub movies: Vec<MovieSeed>,
    pub theatres: Vec<TheatreSeed>,
    /// Shows. Each names a movie, a theatre and a hall of this plan or of the store.
    pub shows: Vec<ShowSeed>,
}

/// What applying a plan has added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seeded {
    /// Accounts.
    pub users: usize,
    pub movies: usize,
    pub theatres: usize,
    pub halls: usize,
    pub shows: usize,
}

/// Applies plans.
#[async_trait]
pub trait Seeder: Send + Sync {
    /// Adds what the plan has and the store does not, all or nothing; two at once add it once.
    ///
    /// What is there stays as it is. A show whose hall is taken at its time (cleaning included) by a show that isn't cancelled,
    /// whose movie or hall is unknown, or for which a category of the hall's seats has no price is left out. A price for a
    /// category that the hall's seats don't have is not stored.
    async fn seed(&self, plan: &SeedPlan) -> Result<Seeded, StoreError>;

    /// Returns whether the store has no movie and no theatre: nobody has used it yet.
    async fn is_empty(&self) -> Result<bool, StoreError>;
}
