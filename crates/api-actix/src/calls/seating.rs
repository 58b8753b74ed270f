//! Seat maps.

use std::collections::HashMap;

use actix_web::http::header::{self, ETag, EntityTag, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ids::{ShowId, UserId};
use domain::seating::SeatMap;
use sha2::{Digest as _, Sha256};

use super::{Answer, client_has};
use crate::calls::views::{ProblemView, SeatView};
use crate::http::problem::Problem;
use crate::http::request::{caller_if_known, path_id};
use crate::wiring::state::AppState;

/// A show's seats, by row and number, as they are now. With a token the caller's own seats are marked.
#[utoipa::path(get, path = "/api/shows/{show_id}/seats", tag = "seating", params(
    ("show_id" = i64, Path),
    ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the map that the client has")), responses(
    (status = 200, description = "The seat map, with a weak `ETag`", body = Vec<SeatView<'_>>),
    (status = 304, description = "The map is as the client has it"),
    (status = 400, description = "`validation_failed`: the id is none", body = ProblemView),
    (status = 404, description = "`show_not_found`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn seats(request: HttpRequest, state: Data<AppState>) -> Answer {
    let show_id = ShowId(path_id(&request, "show_id")?);
    let caller = caller_if_known(&request).map(|caller| caller.user_id);
    let map = state.seating.seat_map(show_id).await?;
    let body = body_for(&map, caller)?;
    let digest = Sha256::digest(&body);
    let tag = EntityTag::new_weak(URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default()));
    let known = client_has(&request, &tag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header(ETag(tag))
        .insert_header((header::VARY, HeaderValue::from_static("Authorization, Accept-Encoding")));
    let cache = if caller.is_some() { "private, no-cache" } else { "no-cache" };
    response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static(cache)));
    if known {
        return Ok(response.finish());
    }
    Ok(response.content_type("application/json").body(body))
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
