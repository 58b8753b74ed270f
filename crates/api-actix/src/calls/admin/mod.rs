//! The calls of the cinema's staff. Each states the role that it needs by its first argument.

mod audit;
mod bookings;
mod counter;
mod halls;
mod imports;
mod layouts;
mod movies;
mod price_lists;
mod reports;
mod shows;
mod theatres;
mod ticket_types;
mod users;

use domain::admin::{ChangeEncoder, Changed};
use serde::Serialize;

use self::halls::StaffHallView;
use self::layouts::LayoutView;
use self::movies::StaffMovieView;
use self::price_lists::PriceListView;
use self::shows::{ProgrammeView, StaffShowView};
use self::theatres::StaffTheatreView;
use self::ticket_types::StaffTicketTypeView;
use self::users::StaffUserView;
use crate::http::call::Call;
use crate::http::query::parameters;
use crate::http::values::FilterText;

/// Returns the calls of this feature.
pub fn calls() -> Vec<Call> {
    let objects = [
        bookings::calls(),
        counter::calls(),
        movies::calls(),
        theatres::calls(),
        halls::calls(),
        layouts::calls(),
        ticket_types::calls(),
        price_lists::calls(),
        shows::calls(),
        users::calls(),
        audit::calls(),
        reports::calls(),
        imports::calls(),
    ];
    objects.into_iter().flatten().collect()
}

parameters! {
    /// Which objects of a list.
    pub struct SearchParameter {
        /// A part of the names. Case is ignored, and no character is special.
        pub search: Option<FilterText>,
    }
}

impl SearchParameter {
    fn into_filter(self) -> Option<String> {
        self.search.and_then(FilterText::into_filter)
    }
}

/// Encodes objects as responses show them.
pub struct JsonObjects;

impl ChangeEncoder for JsonObjects {
    fn encode(&self, changed: &Changed) -> Vec<u8> {
        match changed.clone() {
            Changed::Movie(movie) => json(&StaffMovieView::from(movie)),
            Changed::Theatre(theatre) => json(&StaffTheatreView::from(theatre)),
            Changed::Hall(hall) => json(&StaffHallView::from(hall)),
            Changed::Layout(added) => json(&LayoutView::from(added)),
            Changed::User(user) => json(&StaffUserView::from(user)),
            Changed::PriceList(list) => json(&PriceListView::from(list)),
            Changed::Show(show) => json(&StaffShowView::from(show)),
            Changed::Programme(shows) => json(&ProgrammeView::from(shows)),
            Changed::TicketType(ticket_type) => json(&StaffTicketTypeView::from(ticket_type)),
        }
    }
}

fn json(view: &impl Serialize) -> Vec<u8> {
    // Strings and numbers can always be written as JSON.
    serde_json::to_vec(view).unwrap_or_default()
}
