//! What staff do with seats: sales at the box office, blocks and corrections.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::admin::ChangeOrigin;
use crate::ids::{ShowId, TheatreId, UserId};
use crate::seating::{SeatSelection, TicketSelection};

/// How a box-office sale is paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PaymentKind {
    Cash,
    CardTerminal,
    /// Free of charge: all seats have the price zero.
    Complimentary,
}

/// The error for an unknown kind of payment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("must be cash, card_terminal or complimentary")]
pub struct PaymentKindError;

impl PaymentKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Cash, Self::CardTerminal, Self::Complimentary];

    /// Returns the name in the store and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::CardTerminal => "card_terminal",
            Self::Complimentary => "complimentary",
        }
    }

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, PaymentKindError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(PaymentKindError)
    }
}

/// Where a booking was sold, and how it was paid there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sale {
    Online,
    BoxOffice(PaymentKind),
}

/// The channel and the payment kind of a booking contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a booking of this channel has another payment kind")]
pub struct SaleError;

impl Sale {
    /// The channels.
    pub const CHANNELS: [&'static str; 2] = ["online", "box_office"];

    /// Returns the name of the channel in the store and in responses.
    pub fn channel(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::BoxOffice(_) => "box_office",
        }
    }

    /// Returns the payment kind of a box-office sale.
    pub fn payment_kind(self) -> Option<PaymentKind> {
        match self {
            Self::Online => None,
            Self::BoxOffice(kind) => Some(kind),
        }
    }

    /// Returns the sale that a store has kept.
    pub fn from_stored(channel: &str, payment_kind: Option<&str>) -> Result<Self, SaleError> {
        match (channel, payment_kind) {
            ("online", None) => Ok(Self::Online),
            ("box_office", Some(kind)) => PaymentKind::parse(kind).map(Self::BoxOffice).map_err(|_| SaleError),
            _ => Err(SaleError),
        }
    }
}

/// A rule that a box-office sale may break.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Override {
    /// The sale may leave a single seat empty.
    SeatGap,
    /// The sale may have more seats than a booking of a customer, up to [`CounterSale::SEATS_MAX`].
    SeatLimit,
}

/// The error for an unknown override.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("must be seat_gap or seat_limit")]
pub struct OverrideError;

impl Override {
    /// All overrides.
    pub const ALL: [Self; 2] = [Self::SeatGap, Self::SeatLimit];

    /// Returns the name in requests and in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SeatGap => "seat_gap",
            Self::SeatLimit => "seat_limit",
        }
    }

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, OverrideError> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == text).ok_or(OverrideError)
    }
}

/// The payment of a box-office sale, the rules that it breaks, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaleTerms {
    payment: PaymentKind,
    overrides: BTreeSet<Override>,
    reason: Option<String>,
}

/// A complimentary sale, or one that breaks a rule, has no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is required for a complimentary sale and with an override")]
pub struct ReasonRequired;

impl SaleTerms {
    /// Returns the terms. A complimentary sale, and one that breaks a rule, needs a reason.
    pub fn new(
        payment: PaymentKind,
        overrides: BTreeSet<Override>,
        reason: Option<String>,
    ) -> Result<Self, ReasonRequired> {
        let needs_reason = payment == PaymentKind::Complimentary || !overrides.is_empty();
        if needs_reason && reason.is_none() {
            return Err(ReasonRequired);
        }
        Ok(Self { payment, overrides, reason })
    }

    /// Returns how the sale is paid.
    pub fn payment(&self) -> PaymentKind {
        self.payment
    }

    /// Returns whether the sale may break a rule.
    pub fn may_break(&self, rule: Override) -> bool {
        self.overrides.contains(&rule)
    }

    /// Returns the names of the rules that the sale may break, for the audit log; `None` if there are none.
    pub fn overrides_text(&self) -> Option<String> {
        let names: Vec<_> = self.overrides.iter().map(|rule| rule.as_str()).collect();
        Some(names.join(", ")).filter(|names| !names.is_empty())
    }

    /// Returns the reason, if one was given.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

/// A sale at the box office: all of these seats or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CounterSale {
    pub show_id: ShowId,
    pub seats: TicketSelection,
    /// The owner of the booking: a customer, or the account of the theatre's box office.
    pub owner: UserId,
    pub terms: SaleTerms,
    pub origin: ChangeOrigin,
    /// The theatre of the show.
    pub theatre_id: TheatreId,
}

impl CounterSale {
    /// The maximum number of seats with [`Override::SeatLimit`]. A batch of such sales still commits within the time of a request.
    pub const SEATS_MAX: usize = 100;
}

/// Seats of a show to block for the house, or to release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HouseSeats {
    pub show_id: ShowId,
    pub seats: SeatSelection,
    pub reason: String,
    pub origin: ChangeOrigin,
    /// The theatre of the show.
    pub theatre_id: TheatreId,
}

impl HouseSeats {
    /// The maximum number of seats: the seats of the largest hall.
    pub const SEATS_MAX: usize = 2_000;
}

/// The seats that staff give to a booking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorrectedSeats {
    /// Ticket types stay as sold; a new seat has the ticket type of the seat that it replaces.
    Seats(SeatSelection),
    Tickets(TicketSelection),
}

impl CorrectedSeats {
    /// Returns the seats without their ticket types.
    pub fn selection(&self) -> &SeatSelection {
        match self {
            Self::Seats(seats) => seats,
            Self::Tickets(tickets) => tickets.selection(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_are_written() {
        for kind in PaymentKind::ALL {
            assert_eq!(PaymentKind::parse(kind.as_str()), Ok(kind));
            let sale = Sale::BoxOffice(kind);
            assert_eq!(Sale::from_stored(sale.channel(), sale.payment_kind().map(PaymentKind::as_str)), Ok(sale));
        }
        assert_eq!(Sale::from_stored("online", None), Ok(Sale::Online));
        for (channel, kind) in [("online", Some("cash")), ("box_office", None), ("box_office", Some("x")), ("x", None)]
        {
            assert_eq!(Sale::from_stored(channel, kind), Err(SaleError), "{channel} {kind:?}");
        }
        for rule in Override::ALL {
            assert_eq!(Override::parse(rule.as_str()), Ok(rule));
        }
        assert_eq!((PaymentKind::parse("bitcoin"), Override::parse("")), (Err(PaymentKindError), Err(OverrideError)));
    }

    #[test]
    fn complimentary_sales_and_overrides_need_a_reason() {
        let new = |payment, rules: &[Override], reason: Option<&str>| {
            SaleTerms::new(payment, rules.iter().copied().collect(), reason.map(str::to_owned))
        };
        assert!(new(PaymentKind::Cash, &[], None).is_ok());
        assert_eq!(new(PaymentKind::Complimentary, &[], None), Err(ReasonRequired));
        assert_eq!(new(PaymentKind::CardTerminal, &[Override::SeatGap], None), Err(ReasonRequired));
        let terms = new(PaymentKind::Cash, &[Override::SeatLimit, Override::SeatGap], Some("A school class")).unwrap();
        assert_eq!(terms.overrides_text().as_deref(), Some("seat_gap, seat_limit"));
        assert!(terms.may_break(Override::SeatGap) && terms.reason() == Some("A school class"));
        assert_eq!(new(PaymentKind::Complimentary, &[], Some("Press")).unwrap().overrides_text(), None);
    }
}
