//! Running commands.

use domain::booking::{Action, Answer, CommandError, CommandRequest, HoldSeats, Refusal, SeatGapRule, WantedSeats};
use domain::ids::{SeatId, ShowId};
use domain::seating::SeatSelection;
use serde_json::Value;

use crate::http::problem::Problem;
use crate::telemetry::request_context::in_span;
use crate::wiring::state::AppState;

/// Runs a command. A refusal of seats that cannot be had names others.
pub async fn execute(state: &AppState, request: CommandRequest) -> Result<Answer, Problem> {
    let wanted = match &request.action {
        Action::Book(book) => Some((book.show_id, book.seats.selection().clone())),
        Action::Hold(HoldSeats { show_id, seats: WantedSeats::These(seats) }) => {
            Some((*show_id, seats.selection().clone()))
        }
        Action::Sell(sale) => Some((sale.show_id, sale.seats.selection().clone())),
        Action::Correct(booking, seats, _) => Some((booking.show_id, seats.selection().clone())),
        _ => None,
    };
    match in_span("booking.commit", state.booking.execute(request)).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(with_alternatives(state, error, wanted).await),
    }
}

/// Adds free seats to a refusal of seats that were chosen one by one.
pub async fn with_alternatives(
    state: &AppState,
    error: CommandError,
    wanted: Option<(ShowId, SeatSelection)>,
) -> Problem {
    let several = |seats: &SeatSelection| seats.seats().len() > 1;
    let asked = match (&error, wanted) {
        (CommandError::Refused(Refusal::SeatUnavailable { .. }), Some((show_id, seats))) if several(&seats) => {
            Some((show_id, seats))
        }
        (CommandError::Refused(Refusal::SeatsLeaveGap { .. }), Some(wanted)) => Some(wanted),
        _ => None,
    };
    let problem = Problem::from(error);
    let Some((show_id, seats)) = asked else { return problem };
    let forbid_gaps = state.settings.rules.seat_gaps == SeatGapRule::Forbid;
    // The refusal stands whether or not the store can list alternatives.
    match state.seating.alternatives(show_id, seats.seats(), forbid_gaps).await {
        Ok(groups) => {
            let ids = |group: &Vec<SeatId>| group.iter().map(|seat| Value::from(seat.0)).collect::<Value>();
            problem.with("alternatives", groups.iter().map(ids).collect())
        }
        Err(_) => problem,
    }
}
