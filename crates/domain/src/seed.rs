//! Seeding a store: movies, theatres and shows from a plan.
//!
//! A plan identifies things by natural keys (a movie by its title, a hall by its theatre and name), so that applying it again adds what is
//! missing and changes nothing else.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::error::StoreError;
use crate::identity::NewUser;
use crate::money::{Currency, TaxRate};
use crate::pricing::TicketType;
pub use crate::seating::SeatSeed;
use crate::seating::{CategoryPrice, Section};

/// A movie of a plan. Identified by its title.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovieSeed {
    pub title: String,
    pub description: String,
    pub duration_minutes: i32,
    /// The main genre comes first.
    pub genres: Vec<String>,
    /// The spoken language.
    pub language: String,
    /// The age rating.
    pub certificate: String,
    /// The date of its release in cinemas.
    pub release_date: NaiveDate,
}

/// A theatre of a plan, with its halls. Identified by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TheatreSeed {
    pub name: String,
    pub location: String,
    /// The time zone of its days and clocks.
    pub timezone: Tz,
    pub currency: Currency,
    pub tax_rate: TaxRate,
    /// The minutes for which a hall is cleaned after a show.
    pub cleaning_minutes: i32,
    pub halls: Vec<HallSeed>,
}

/// A hall of a plan, with its first layout. Identified by its theatre and name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HallSeed {
    pub name: String,
    pub seats: Vec<SeatSeed>,
    /// The focal points of its sections. A section of seats that is missing here has none.
    pub sections: Vec<Section>,
}

/// A show of a plan. Identified by its hall and start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowSeed {
    pub movie_title: String,
    pub theatre_name: String,
    pub hall_name: String,
    pub start_time: DateTime<Utc>,
    pub end_time: DateTime<Utc>,
    /// The time at which the hall is cleaned and the next show may begin.
    pub hall_free_at: DateTime<Utc>,
    /// For example `2D`, `3D` or `IMAX`.
    pub format: String,
    pub language: String,
    pub currency: Currency,
    /// The price of each category and ticket type.
    pub prices: Vec<CategoryPrice>,
}

impl ShowSeed {
    /// Returns whether each of these categories has a price for adults.
    pub fn covers<'a>(&self, categories: impl IntoIterator<Item = &'a String>) -> bool {
        let has_price = |category: &String| {
            self.prices.iter().any(|price| price.ticket_type.is_adult() && price.category == *category)
        };
        categories.into_iter().all(has_price)
    }
}

/// A plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SeedPlan {
    /// Identified by their e-mail addresses.
    pub users: Vec<NewUser>,
    /// Identified by their codes.
    pub ticket_types: Vec<TicketType>,
    pub movies: Vec<MovieSeed>,
    pub theatres: Vec<TheatreSeed>,
    /// Each show names a movie, a theatre and a hall of this plan or of the store.
    pub shows: Vec<ShowSeed>,
}

/// The numbers of added rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seeded {
    pub users: usize,
    pub ticket_types: usize,
    pub movies: usize,
    pub theatres: usize,
    pub halls: usize,
    pub shows: usize,
}

/// Applies plans.
#[async_trait]
pub trait Seeder: Send + Sync {
    /// Adds everything in the plan that the store does not have, all or nothing. Concurrent calls add it once.
    ///
    /// Existing rows stay unchanged. A show is left out if its hall is taken at its time (including cleaning) by a show that is not
    /// cancelled, if its movie or hall is unknown, if a category of the hall's seats has no price for adults, or if one of its prices is for
    /// an unknown ticket type. A price for a category that the hall's seats do not have is not stored.
    async fn seed(&self, plan: &SeedPlan) -> Result<Seeded, StoreError>;

    /// Returns whether the store has no movie and no theatre: it has not been used yet.
    async fn is_empty(&self) -> Result<bool, StoreError>;
}
