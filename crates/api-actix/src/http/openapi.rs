//! The OpenAPI document, generated from the calls.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::calls::{account, booking, catalog, docs, holds, identity, operations, seating};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Movie booking",
        description = "Look up movies and shows, see live seat maps, and book seats that are sold once. Errors are problem details (RFC 9457) with a stable `code`. Lists are bare arrays; the next page is in the `Link` header.",
        license(name = "MIT OR Apache-2.0")
    ),
    servers((url = "/")),
    paths(
        identity::register, identity::login, identity::refresh, identity::logout, identity::me,
        account::update, account::delete, account::sessions, account::end_session, account::export,
        catalog::movies, catalog::movie, catalog::movie_shows, catalog::shows, catalog::show, catalog::theatres,
        catalog::theatre, seating::seats, holds::make, holds::holds, holds::hold, holds::extend, holds::release,
        booking::book, booking::history, booking::booking, booking::cancel, booking::change_seats,
        operations::healthz, operations::readyz, operations::metrics, docs::document, docs::home,
        docs::redirect
    ),
    modifiers(&Bearer),
    tags(
        (name = "identity", description = "Accounts and sessions"),
        (name = "catalog", description = "Movies, shows and theatres"),
        (name = "seating", description = "Seat maps"),
        (name = "booking", description = "Holds and bookings"),
        (name = "operations", description = "For those who run the server")
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document as it is served and committed.
pub fn to_json() -> String {
    // Strings, numbers and maps: there is nothing in it that JSON can't hold.
    Document::openapi().to_pretty_json().unwrap_or_default() + "\n"
}
