//! What the shows brought in.

use std::collections::{BTreeMap, HashMap};

use super::ledger::{ReportShow, SoldTickets, counts_as_cancelled, counts_as_sold};
use super::rows::{Dimension, RowName};
use super::selection::ShowSelection;
use crate::ids::ShowId;
use crate::money::Currency;

/// Tickets and amounts in one currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Revenue {
    /// Sold tickets, complimentary ones included.
    pub tickets: i64,
    pub cancelled_tickets: i64,
    /// The prices of the sold tickets, which include the tax.
    pub gross_minor: i64,
    /// The tax in `gross_minor`: the sum of the tax of each ticket.
    pub tax_minor: i64,
}

impl Revenue {
    /// Returns the gross amount without the tax.
    pub fn net_minor(&self) -> i64 {
        self.gross_minor.saturating_sub(self.tax_minor)
    }

    fn add(&mut self, other: &Self) {
        self.tickets = self.tickets.saturating_add(other.tickets);
        self.cancelled_tickets = self.cancelled_tickets.saturating_add(other.cancelled_tickets);
        self.gross_minor = self.gross_minor.saturating_add(other.gross_minor);
        self.tax_minor = self.tax_minor.saturating_add(other.tax_minor);
    }
}

/// A row of the report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevenueRow {
    pub name: RowName,
    pub currency: Currency,
    pub revenue: Revenue,
}

/// The revenue of the shows of a selection, cancelled shows included. Amounts of different currencies are never added.
pub struct RevenueReport {
    selection: ShowSelection,
    dimension: Dimension,
    shows: HashMap<ShowId, ReportShow>,
    rows: BTreeMap<(RowName, Currency), Revenue>,
    totals: BTreeMap<Currency, Revenue>,
}

impl RevenueReport {
    /// Begins a report.
    pub fn new(selection: ShowSelection, dimension: Dimension) -> Self {
        Self { selection, dimension, shows: HashMap::new(), rows: BTreeMap::new(), totals: BTreeMap::new() }
    }

    /// Returns the shows that the report is about.
    pub fn selection(&self) -> &ShowSelection {
        &self.selection
    }

    /// Adds a show. Its tickets follow.
    pub fn show(&mut self, show: ReportShow) {
        self.shows.insert(show.id, show);
    }

    /// Adds tickets of a show.
    pub fn tickets(&mut self, tickets: &SoldTickets) {
        let Some(show) = self.shows.get(&tickets.show_id) else { return };
        let located = self.selection.locate(show);
        let Some(name) = located.and_then(|located| RowName::of(self.dimension, &located, Some(tickets))) else {
            return;
        };
        let added = if counts_as_sold(tickets.status) {
            let (gross_minor, tax_minor) = tickets.gross_and_tax(self.selection.tax_rate(show));
            Revenue { tickets: tickets.tickets, cancelled_tickets: 0, gross_minor, tax_minor }
        } else if counts_as_cancelled(tickets.status) {
            Revenue { cancelled_tickets: tickets.tickets, ..Revenue::default() }
        } else {
            return;
        };
        self.rows.entry((name, tickets.currency)).or_default().add(&added);
        self.totals.entry(tickets.currency).or_default().add(&added);
    }

    /// Returns the rows in their order, and the total of each currency.
    pub fn finish(self) -> (Vec<RevenueRow>, Vec<(Currency, Revenue)>) {
        let rows = self.rows.into_iter().map(|((name, currency), revenue)| RevenueRow { name, currency, revenue });
        (rows.collect(), self.totals.into_iter().collect())
    }
}
