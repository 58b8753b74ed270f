//! The prices of shows.

use actix_web::web::Data;
use domain::ids::ShowId;
use domain::money::Money;
use domain::pricing::OfferedPrices;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::call::calls;
use crate::http::language::Languages;
use crate::http::problem::Problem;
use crate::http::query::Path;
use crate::http::reply::Localized;
use crate::http::session::Anyone;
use crate::wiring::state::AppState;

calls! { "seating"
    /// Get the prices of a show.
    ///
    /// A price for each category of seats and each ticket type that the show sells.
    GET "/api/shows/{show_id}/prices" => show_prices: "The prices", or [ShowNotFound, Unavailable];
}

/// The prices of a show, by category, then ticket type.
#[derive(Serialize, ToSchema)]
#[schema(as = ShowPrices)]
pub struct ShowPricesView {
    /// ISO 4217.
    currency: String,
    prices: Vec<ShowPriceView>,
}

/// The price of a seat of this category for this ticket type.
#[derive(Serialize, ToSchema)]
#[schema(as = ShowPrice)]
pub struct ShowPriceView {
    category: String,
    /// The code of the ticket type.
    #[schema(example = "adult")]
    ticket_type: String,
    /// The name of the ticket type in the caller's language.
    name: String,
    /// In major units.
    price: String,
}

impl ShowPricesView {
    fn new(offered: OfferedPrices, languages: &Languages) -> Self {
        let currency = offered.currency;
        let prices = offered.prices.into_iter().map(|price| ShowPriceView {
            name: price.ticket_type.names.in_language(languages.tags()).to_owned(),
            category: price.category,
            ticket_type: price.ticket_type.code.as_str().to_owned(),
            price: Money::new(price.minor, currency).to_string(),
        });
        Self { currency: currency.code().to_owned(), prices: prices.collect() }
    }
}

async fn show_prices(
    _: Anyone,
    Path(show_id): Path<ShowId>,
    languages: Languages,
    state: Data<AppState>,
) -> Result<Localized<ShowPricesView>, Problem> {
    Ok(Localized(ShowPricesView::new(state.pricing.show_prices(show_id).await?, &languages)))
}
