//! The shapes on the wire, and how the domain's values become them.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::booking::{AnswerEncoder, Booking, Hold, SoldSeat};
use domain::catalog::{HallSummary, Movie, Show, Theatre};
use domain::identity::{AccessToken, Session, SignedIn, UpdatedProfile, User};
use domain::ids::SessionId;
use domain::money::{Currency, Money};
use domain::seating::SeatOnMap;
use serde::Serialize;
use utoipa::ToSchema;

/// An instant as it is written: RFC 3339, UTC, milliseconds.
pub fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A user's profile.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserView {
    id: i64,
    name: String,
    email: String,
    /// `customer`, `staff` or `admin`.
    role: &'static str,
    created_at: String,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id.0,
            name: user.name,
            email: user.email,
            role: user.role.as_str(),
            created_at: instant(user.created_at),
        }
    }
}

/// A user who has just proven who they are, with the tokens of the session.
#[derive(Serialize, ToSchema)]
#[schema(as = SignedIn)]
pub struct SignedInView {
    id: i64,
    name: String,
    email: String,
    /// `customer`, `staff` or `admin`.
    role: &'static str,
    /// The access token.
    token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// How long the access token works, in seconds.
    expires_in: u64,
    /// Works once, for a new pair of tokens.
    refresh_token: String,
}

impl From<SignedIn> for SignedInView {
    fn from(SignedIn { user, tokens }: SignedIn) -> Self {
        Self {
            id: user.id.0,
            name: user.name,
            email: user.email,
            role: user.role.as_str(),
            token: tokens.access_token,
            token_type: "Bearer",
            expires_in: tokens.expires_in.as_secs(),
            refresh_token: tokens.refresh_token.0,
        }
    }
}

/// A user's profile after a change. With a new password it has the token that the caller goes on with: the one that it called with is
/// over.
#[derive(Serialize, ToSchema)]
#[schema(as = UpdatedUser)]
pub struct UpdatedUserView {
    id: i64,
    name: String,
    email: String,
    /// `customer`, `staff` or `admin`.
    role: &'static str,
    created_at: String,
    /// Only with a new password: the access token from here on. The refresh token stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Beside `token`, always `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// Beside `token`: how long it works, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

impl From<UpdatedProfile> for UpdatedUserView {
    fn from(UpdatedProfile { user, token }: UpdatedProfile) -> Self {
        let UserView { id, name, email, role, created_at } = user.into();
        let (token, expires_in) = match token {
            Some(AccessToken { token, expires_in }) => (Some(token), Some(expires_in.as_secs())),
            None => (None, None),
        };
        let token_type = token.is_some().then_some("Bearer");
        Self { id, name, email, role, created_at, token, token_type, expires_in }
    }
}

/// A session: a login, and what followed from it.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView {
    id: i64,
    created_at: String,
    /// When its refresh token was last used, or it began.
    last_used_at: String,
    /// When it is over if its refresh token is not used.
    expires_at: String,
    /// Whether the caller calls in it.
    current: bool,
}

impl SessionView {
    /// A session as a caller in `current` sees it.
    pub fn new(session: &Session, current: Option<SessionId>) -> Self {
        Self {
            id: session.id.0,
            created_at: instant(session.created_at),
            last_used_at: instant(session.last_used_at),
            expires_at: instant(session.expires_at),
            current: current == Some(session.id),
        }
    }
}

/// What is stored about the caller. Only described here: the answer is written part by part.
#[derive(Serialize, ToSchema)]
#[schema(as = Export)]
pub struct ExportView<'booking> {
    profile: UserView,
    /// Those that last, newest first.
    sessions: Vec<SessionView>,
    /// Those that are live.
    holds: Vec<HoldView<'booking>>,
    /// All of them, newest first.
    bookings: Vec<BookingView<'booking>>,
}

/// A movie.
#[derive(Serialize, ToSchema)]
#[schema(as = Movie)]
pub struct MovieView {
    id: i64,
    title: String,
    description: String,
    duration_minutes: i32,
    genres: Vec<String>,
    language: String,
    certificate: String,
    poster_url: Option<String>,
    #[schema(format = Date, example = "2001-07-20")]
    release_date: String,
    created_at: String,
    updated_at: String,
}

impl From<Movie> for MovieView {
    fn from(movie: Movie) -> Self {
        Self {
            id: movie.id.0,
            title: movie.title,
            description: movie.description,
            duration_minutes: movie.duration_minutes,
            genres: movie.genres,
            language: movie.language,
            certificate: movie.certificate,
            poster_url: movie.poster_url,
            release_date: movie.release_date.to_string(),
            created_at: instant(movie.created_at),
            updated_at: instant(movie.updated_at),
        }
    }
}

/// A show.
#[derive(Serialize, ToSchema)]
#[schema(as = Show)]
pub struct ShowView {
    id: i64,
    movie_id: i64,
    movie_title: String,
    theatre_id: i64,
    theatre_name: String,
    hall_id: i64,
    hall_name: String,
    start_time: String,
    end_time: String,
    /// `2D`, `3D`, …
    format: String,
    language: String,
    /// ISO 4217.
    currency: String,
    /// The price of the cheapest seat, in major units.
    #[schema(example = "12.50")]
    price_from: String,
    seats_total: i64,
    /// Neither held, nor booked, nor kept by the house.
    seats_available: i64,
    /// `scheduled` or `cancelled`.
    status: &'static str,
}

impl From<Show> for ShowView {
    fn from(show: Show) -> Self {
        Self {
            id: show.id.0,
            movie_id: show.movie_id.0,
            movie_title: show.movie_title,
            theatre_id: show.theatre_id.0,
            theatre_name: show.theatre_name,
            hall_id: show.hall_id.0,
            hall_name: show.hall_name,
            start_time: instant(show.start_time),
            end_time: instant(show.end_time),
            format: show.format,
            language: show.language,
            currency: show.price_from.currency.code().to_owned(),
            price_from: show.price_from.to_string(),
            seats_total: show.seats_total,
            seats_available: show.seats_available,
            status: show.status.as_str(),
        }
    }
}

/// A hall of a theatre.
#[derive(Serialize, ToSchema)]
#[schema(as = Hall)]
pub struct HallView {
    id: i64,
    name: String,
    seats_total: i64,
}

impl From<HallSummary> for HallView {
    fn from(hall: HallSummary) -> Self {
        Self { id: hall.id.0, name: hall.name, seats_total: hall.seats_total }
    }
}

/// A theatre.
#[derive(Serialize, ToSchema)]
#[schema(as = Theatre)]
pub struct TheatreView {
    id: i64,
    name: String,
    location: String,
    /// An IANA name, like `Europe/Berlin`.
    timezone: &'static str,
    halls: Vec<HallView>,
}

impl From<Theatre> for TheatreView {
    fn from(theatre: Theatre) -> Self {
        Self {
            id: theatre.id.0,
            name: theatre.name,
            location: theatre.location,
            timezone: theatre.timezone.name(),
            halls: theatre.halls.into_iter().map(HallView::from).collect(),
        }
    }
}

/// A seat of a show.
#[derive(Serialize, ToSchema)]
#[schema(as = Seat)]
pub struct SeatView<'map> {
    id: i64,
    row: &'map str,
    number: i32,
    /// `available`, `held` or `booked`.
    status: &'static str,
    /// In major units.
    price: String,
    /// ISO 4217.
    currency: &'map str,
    category: &'map str,
    accessible: bool,
    x: i32,
    y: i32,
    /// Only on the caller's own seats.
    #[serde(skip_serializing_if = "Option::is_none")]
    mine: Option<bool>,
    /// Only on the caller's own seats.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<i64>,
}

impl<'map> SeatView<'map> {
    /// A seat as the caller sees it.
    pub fn new(on_map: &SeatOnMap<'map>, price: String, currency: &'map str, caller: Option<i64>) -> Self {
        let seat = on_map.seat;
        Self {
            id: seat.id.0,
            row: &seat.row,
            number: seat.number,
            status: on_map.availability.as_str(),
            price,
            currency,
            category: &seat.category,
            accessible: seat.accessible,
            x: seat.x,
            y: seat.y,
            mine: on_map.mine.then_some(true),
            user_id: caller.filter(|_| on_map.mine),
        }
    }
}

/// A seat of a hold or a booking.
#[derive(Serialize, ToSchema)]
#[schema(as = SoldSeat)]
pub struct SoldSeatView<'booking> {
    id: i64,
    row: &'booking str,
    number: i32,
    category: &'booking str,
    /// As it was held or sold, in major units.
    price: String,
}

impl<'booking> SoldSeatView<'booking> {
    fn list(seats: &'booking [SoldSeat], currency: Currency) -> Vec<Self> {
        let view = |seat: &'booking SoldSeat| Self {
            id: seat.id.0,
            row: &seat.row,
            number: seat.number,
            category: &seat.category,
            price: Money::new(seat.price_minor, currency).to_string(),
        };
        seats.iter().map(view).collect()
    }
}

/// Seats that are kept for the caller for some minutes.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldView<'hold> {
    /// Unguessable.
    #[schema(example = "1-7Q2XK0M4ZD7Q2XK0M4ZD7Q2XK0")]
    id: &'hold str,
    show_id: i64,
    seats: Vec<SoldSeatView<'hold>>,
    /// What the booking will cost, in major units.
    total: String,
    /// ISO 4217.
    currency: &'hold str,
    /// At this instant the seats are anybody's again.
    expires_at: String,
}

impl<'hold> From<&'hold Hold> for HoldView<'hold> {
    fn from(hold: &'hold Hold) -> Self {
        Self {
            id: hold.id.as_str(),
            show_id: hold.show_id.0,
            seats: SoldSeatView::list(&hold.seats, hold.currency),
            total: hold.total().to_string(),
            currency: hold.currency.code(),
            expires_at: instant(hold.expires_at),
        }
    }
}

/// A booking.
#[derive(Serialize, ToSchema)]
#[schema(as = Booking)]
pub struct BookingView<'booking> {
    id: i64,
    /// What is printed on the ticket.
    #[schema(example = "7Q2XK0M4ZD")]
    reference: &'booking str,
    user_id: i64,
    show_id: i64,
    /// The first seat.
    seat_id: Option<i64>,
    seat_ids: Vec<i64>,
    seats: Vec<SoldSeatView<'booking>>,
    /// `pending_payment`, `confirmed`, `cancelled`, `expired` or `refunded`.
    status: &'static str,
    /// In major units.
    total: String,
    /// ISO 4217.
    currency: &'booking str,
    booked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_at: Option<String>,
    movie_title: &'booking str,
    theatre_name: &'booking str,
    hall_name: &'booking str,
    start_time: String,
}

impl<'booking> From<&'booking Booking> for BookingView<'booking> {
    fn from(booking: &'booking Booking) -> Self {
        Self {
            id: booking.id.0,
            reference: booking.reference.as_str(),
            user_id: booking.user_id.0,
            show_id: booking.show_id.0,
            seat_id: booking.seats.first().map(|seat| seat.id.0),
            seat_ids: booking.seats.iter().map(|seat| seat.id.0).collect(),
            seats: SoldSeatView::list(&booking.seats, booking.currency),
            status: booking.status().as_str(),
            total: booking.total().to_string(),
            currency: booking.currency.code(),
            booked_at: instant(booking.booked_at),
            cancelled_at: booking.state.cancelled_at().map(instant),
            movie_title: &booking.movie_title,
            theatre_name: &booking.theatre_name,
            hall_name: &booking.hall_name,
            start_time: instant(booking.start_time),
        }
    }
}

/// The answer to a booking.
#[derive(Serialize, ToSchema)]
#[schema(as = Booked)]
pub struct BookedView<'booking> {
    /// For people.
    #[schema(example = "Booking successful!")]
    message: &'static str,
    booking: BookingView<'booking>,
}

/// Writes the answers that keys remember.
pub struct JsonAnswers;

impl AnswerEncoder for JsonAnswers {
    fn encode_booked(&self, booking: &Booking) -> Vec<u8> {
        to_json(&BookedView { message: "Booking successful!", booking: booking.into() })
    }

    fn encode_booking(&self, booking: &Booking) -> Vec<u8> {
        to_json(&BookingView::from(booking))
    }

    fn encode_hold(&self, hold: &Hold) -> Vec<u8> {
        to_json(&HoldView::from(hold))
    }
}

fn to_json(view: &impl Serialize) -> Vec<u8> {
    // Strings and numbers in structs: there is nothing in it that JSON can't hold.
    serde_json::to_vec(view).unwrap_or_default()
}

/// A field that is not as it must be.
#[derive(Serialize, ToSchema)]
#[schema(as = FieldError)]
pub struct FieldErrorView {
    field: String,
    code: String,
    message: String,
}

/// Problem details (RFC 9457). `message` repeats `detail`.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemView {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    message: String,
    code: String,
    request_id: String,
    /// With `validation_failed`: every field that is not as it must be.
    errors: Option<Vec<FieldErrorView>>,
    /// With `seat_unavailable` and `seat_not_found`: those seats; with `seats_leave_gap`: the seats that would stay empty.
    seat_ids: Option<Vec<i64>>,
    /// With `seat_unavailable`: the caller's own hold, if it has some of those seats.
    hold_id: Option<String>,
    /// With `seat_unavailable` for several seats, and `seats_leave_gap`: up to three groups of as many free seats together.
    alternatives: Option<Vec<Vec<i64>>>,
}

/// A sign-up.
#[derive(Serialize, ToSchema)]
#[schema(as = Register)]
pub struct RegisterBody {
    /// 1 to 100 characters.
    #[schema(max_length = 100, min_length = 1, example = "Ana Costa")]
    name: String,
    #[schema(max_length = 254, example = "ana@example.org")]
    email: String,
    /// 8 to 128 characters, any characters.
    #[schema(max_length = 128, min_length = 8, example = "correct horse battery")]
    password: String,
}

/// A login.
#[derive(Serialize, ToSchema)]
#[schema(as = Login)]
pub struct LoginBody {
    #[schema(example = "ana@example.org")]
    email: String,
    #[schema(example = "correct horse battery")]
    password: String,
}

/// A change of the profile: what is not given stays.
#[derive(Serialize, ToSchema)]
#[schema(as = UpdateUser)]
pub struct UpdateUserBody {
    /// 1 to 100 characters.
    #[schema(max_length = 100, min_length = 1, example = "Ana Costa")]
    name: Option<String>,
    #[schema(max_length = 254, example = "ana@example.org")]
    email: Option<String>,
    /// 8 to 128 characters, any characters.
    #[schema(max_length = 128, min_length = 8, example = "another correct horse")]
    password: Option<String>,
    /// Needed for another address or password.
    #[schema(example = "correct horse battery")]
    current_password: Option<String>,
}

/// The proof that an account is deleted by who it is of.
#[derive(Serialize, ToSchema)]
#[schema(as = DeleteUser)]
pub struct DeleteUserBody {
    #[schema(example = "correct horse battery")]
    current_password: String,
}

/// A refresh token.
#[derive(Serialize, ToSchema)]
#[schema(as = RefreshToken)]
pub struct RefreshTokenBody {
    refresh_token: String,
}

/// A booking to be made: of exactly one of `seat_id`, `seat_ids` and `hold_id`, and `show_id` with the first two.
#[derive(Serialize, ToSchema)]
#[schema(as = Book)]
pub struct BookBody {
    #[schema(example = 1)]
    show_id: Option<i64>,
    #[schema(example = 1)]
    seat_id: Option<i64>,
    /// All of them are booked, or none.
    seat_ids: Option<Vec<i64>>,
    /// The caller's own hold: exactly its seats are booked, at its prices.
    hold_id: Option<String>,
}

/// Seats to be held: `seat_ids`, or `quantity` for the best seats together.
#[derive(Serialize, ToSchema)]
#[schema(as = HoldSeats)]
pub struct HoldBody {
    /// All of them are held, or none.
    seat_ids: Option<Vec<i64>>,
    /// So many seats: in as few rows as can be, with as few single seats left empty, as near as can be to where one sees best.
    #[schema(minimum = 1, example = 2)]
    quantity: Option<u32>,
    /// With `quantity`: only seats of this category.
    category: Option<String>,
    /// With `quantity`: only accessible seats, or none of them.
    accessible: Option<bool>,
}

/// Other seats for a booking.
#[derive(Serialize, ToSchema)]
#[schema(as = ChangeSeats)]
pub struct ChangeSeatsBody {
    /// As many as the booking has.
    seat_ids: Vec<i64>,
}

/// Whether the server can do its work.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub struct HealthView {
    /// `ok`; `degraded` where something is gone that the server can do without; `unavailable` where something that is needed is.
    pub status: &'static str,
    /// Each dependency by name: `ok` or `unavailable`; and each defect of one that still works: `replication` is `none`.
    pub dependencies: std::collections::BTreeMap<&'static str, &'static str>,
    /// What an operator should correct, one sentence each.
    pub warnings: Vec<String>,
}
