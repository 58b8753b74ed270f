//! Seat maps.

use std::collections::HashMap;
use std::marker::PhantomData;

use actix_web::http::header::EntityTag;
use actix_web::web::Data;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ids::{ShowId, UserId};
use domain::seating::{SeatMap, SeatOnMap};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use super::one_of;
use crate::http::call::calls;
use crate::http::preconditions::IfNoneMatch;
use crate::http::problem::Problem;
use crate::http::query::Path;
use crate::http::reply::{Cache, TaggedList};
use crate::http::session::MaybeCaller;
use crate::wiring::state::AppState;

calls! { "seating"
    /// Get the seat map of a show.
    ///
    /// The seats by row and number, with their current status. With a token, the caller's own seats are marked.
    GET "/api/shows/{show_id}/seats" => seats: "The seat map, with a weak `ETag`", or [ShowNotFound, Unavailable];
}

/// A seat of a show.
#[derive(Serialize, ToSchema)]
#[schema(as = Seat)]
pub struct SeatView<'map> {
    id: i64,
    row: &'map str,
    number: i32,
    #[schema(schema_with = seat_status)]
    status: &'static str,
    /// In major units.
    price: String,
    /// ISO 4217.
    currency: &'map str,
    category: &'map str,
    accessible: bool,
    /// The position from the left, in seat widths.
    x: i32,
    /// The position from the screen, in seat depths.
    y: i32,
    /// The section of the hall, such as a balcony. Absent in the main section.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    section: Option<&'map str>,
    /// The other half of a love seat: both are booked together only. Absent on other seats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pair_seat_id: Option<i64>,
    /// Only on the caller's own seats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    mine: Option<bool>,
    /// Only on the caller's own seats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_id: Option<i64>,
}

impl<'map> SeatView<'map> {
    /// Returns a seat as the caller sees it.
    pub fn new(on_map: &SeatOnMap<'map>, price: String, currency: &'map str, caller: Option<i64>) -> Self {
        let seat = on_map.seat;
        Self {
            id: seat.id.0,
            row: seat.row.as_str(),
            number: seat.number,
            status: on_map.availability.as_str(),
            price,
            currency,
            category: &seat.category,
            accessible: seat.accessible,
            x: seat.x,
            y: seat.y,
            section: Some(seat.section.as_str()).filter(|section| !section.is_empty()),
            pair_seat_id: on_map.partner.map(|partner| partner.0),
            mine: on_map.mine.then_some(true),
            user_id: caller.filter(|_| on_map.mine),
        }
    }
}

fn seat_status() -> Object {
    one_of(["available", "held", "booked"])
}

async fn seats(
    MaybeCaller(bearer): MaybeCaller,
    Path(show_id): Path<ShowId>,
    _: IfNoneMatch,
    state: Data<AppState>,
) -> Result<TaggedList<SeatView<'static>>, Problem> {
    let caller = bearer.map(|bearer| bearer.caller.user_id);
    let body = body_for(&state.seating.seat_map(show_id).await?, caller)?;
    let digest = Sha256::digest(&body);
    let tag = EntityTag::new_weak(URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default()));
    let cache = if caller.is_some() { Cache::Private } else { Cache::Revalidate };
    Ok(TaggedList { tag, cache, vary: "Authorization, Accept-Encoding", body, view: PhantomData })
}

fn body_for(map: &SeatMap, caller: Option<UserId>) -> Result<Vec<u8>, Problem> {
    // Hundreds of seats have a handful of prices.
    let mut prices: HashMap<i64, String> = HashMap::new();
    let currency = map.currency();
    let seats: Vec<_> = map
        .seats_for(caller)
        .map(|seat| {
            let price = prices.entry(seat.price.minor).or_insert_with(|| seat.price.to_string()).clone();
            SeatView::new(&seat, price, currency.code(), caller.map(|id| id.0))
        })
        .collect();
    serde_json::to_vec(&seats).map_err(Problem::internal)
}
