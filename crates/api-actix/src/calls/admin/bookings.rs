//! Bookings of all customers, for staff.

use actix_web::web::Data;
use chrono::NaiveDate;
use domain::admin::{ChangeRequest, StaffBooking, StaffBookingQuery};
use domain::booking::{Action, BookingCursor, BookingStatus, PaymentKind, ShowBooking, StaffAct};
use domain::ids::{BookingId, ShowId};
use domain::page::PageRequest;
use domain::text::Line;
use serde::Serialize;
use utoipa::ToSchema;

use crate::calls::answers::{BookingView, channel, payment_kind};
use crate::calls::commands::execute;
use crate::http::body::{Body, body};
use crate::http::call::calls;
use crate::http::problem::Problem;
use crate::http::query::{Path, Query, parameters};
use crate::http::reply::{ChangedByCommand, Json, Page};
use crate::http::session::Staff;
use crate::http::values::FilterText;
use crate::wiring::state::AppState;

calls! { "staff"
    /// List the bookings of your theatres, newest first.
    ///
    /// Administrators see the bookings of all theatres.
    GET "/api/admin/bookings" => staff_bookings: "A page of bookings";

    /// Get a booking of your theatres.
    GET "/api/admin/bookings/{booking_id}" => staff_booking: "The booking", or [BookingNotFound];

    /// Cancel a customer's booking.
    ///
    /// At any time, and without counting towards the customer's limit. Its seats are free again. A cancelled booking stays as it is.
    POST "/api/admin/bookings/{booking_id}/cancel" => cancel_for_customer: "The cancelled booking",
        or [BookingNotFound, BookingNotCancellable, Overloaded, OutcomeUnknown];
}

parameters! {
    /// Which bookings.
    pub struct StaffBookingParameters {
        /// A part of the customer's name or e-mail address, or a whole reference. Case is ignored.
        pub search: Option<FilterText>,
        /// Bookings of this show.
        pub show_id: Option<ShowId>,
        /// Bookings of shows on this day, in the theatre's time zone: YYYY-MM-DD.
        pub date: Option<NaiveDate>,
        /// Bookings with this status.
        pub status: Option<BookingStatus>,
    }
}

body! {
    /// Why staff do something.
    pub struct Because as "Because" {
        /// For the audit log: 1 to 500 characters.
        #[example = "The projector is broken"]
        pub reason: Line<1, 500>,
    }
}

/// A booking with its customer.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffBooking)]
pub struct StaffBookingView {
    #[serde(flatten)]
    booking: BookingView,
    theatre_id: i64,
    customer_name: String,
    customer_email: String,
    #[schema(schema_with = channel)]
    channel: &'static str,
    #[schema(schema_with = payment_kind)]
    payment_kind: Option<&'static str>,
}

impl From<StaffBooking> for StaffBookingView {
    fn from(found: StaffBooking) -> Self {
        Self {
            booking: BookingView::from(&found.booking),
            theatre_id: found.theatre_id.0,
            customer_name: found.customer_name,
            customer_email: found.customer_email,
            channel: found.booking.sale.channel(),
            payment_kind: found.booking.sale.payment_kind().map(PaymentKind::as_str),
        }
    }
}

async fn staff_bookings(
    Staff(member): Staff,
    Query((parameters, page)): Query<(StaffBookingParameters, PageRequest<BookingCursor>)>,
    state: Data<AppState>,
) -> Result<Page<StaffBookingView>, Problem> {
    let StaffBookingParameters { search, show_id, date, status } = parameters;
    let search = search.and_then(FilterText::into_filter);
    let bookings = state.admin.bookings(&member, StaffBookingQuery { search, show_id, date, status }, &page).await?;
    Ok(Page::new(bookings, StaffBookingView::from).private())
}

async fn staff_booking(
    Staff(member): Staff,
    Path(id): Path<BookingId>,
    state: Data<AppState>,
) -> Result<Json<StaffBookingView>, Problem> {
    Ok(Json::private(state.admin.booking(&member, id).await?.into()))
}

async fn cancel_for_customer(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<BookingId>,
    Body(Because { reason }): Body<Because>,
    state: Data<AppState>,
) -> Result<ChangedByCommand<BookingView>, Problem> {
    let (booking, act) = act_on(&state.admin.booking(&member, id).await?, &request, &reason);
    Ok(execute(&state, request.command(Action::CancelFor(booking, act))).await?.into())
}

/// Returns the booking that staff act on, and what the audit log records of it.
pub(super) fn act_on(found: &StaffBooking, request: &ChangeRequest, reason: &Line<1, 500>) -> (ShowBooking, StaffAct) {
    let StaffBooking { booking, theatre_id, .. } = found;
    let act = StaffAct {
        origin: request.origin.clone(),
        theatre_id: *theatre_id,
        customer: booking.user_id,
        reason: reason.as_str().to_owned(),
    };
    (ShowBooking { show_id: booking.show_id, booking_id: booking.id }, act)
}
