//! Changes of ticket types and price lists.

use diesel::prelude::*;
use domain::admin::{ChangeError, ChangeRefusal, Edit};
use domain::ids::{PriceListId, TicketTypeId};
use domain::pricing::{ManagedPriceList, ManagedTicketType, PriceListDetails, TicketTypeDetails};
use domain::text::fold;
use stored_json::{stored_names, stored_price_list};

use super::{Undone, guarded, name_taken};
use crate::failure::Failure;
use crate::pricing::{managed_price_list, managed_ticket_type};
use crate::schema::{price_lists, theatres, ticket_types};

/// The unique constraint of codes, as SQLite reports it.
const CODE: &str = "ticket_types.code";
/// The unique constraint of the names of price lists.
const NAME: &str = "price_lists.theatre_id, price_lists.name";

/// The columns that the details of a ticket type set.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = ticket_types)]
struct TicketTypeValues {
    code: String,
    names: String,
    needs_proof: i64,
    position: i64,
    search_folded: String,
    updated_at: i64,
}

impl TicketTypeValues {
    fn new(details: &TicketTypeDetails, now: i64) -> Self {
        Self {
            code: details.code.as_str().to_owned(),
            names: stored_names(&details.names),
            needs_proof: i64::from(details.needs_proof),
            position: i64::from(details.position),
            search_folded: details.search_folded(),
            updated_at: now,
        }
    }
}

pub(super) fn edit_ticket_type(
    connection: &mut SqliteConnection,
    edit: &Edit<TicketTypeDetails, ManagedTicketType>,
    now: i64,
) -> Result<ManagedTicketType, Undone> {
    let raised = ticket_types::version.eq(ticket_types::version + 1);
    let id = match edit {
        Edit::Create(details) => diesel::insert_into(ticket_types::table)
            .values((TicketTypeValues::new(details, now), ticket_types::created_at.eq(now)))
            .returning(ticket_types::id)
            .get_result(connection)
            .map_err(name_taken(CODE))?,
        Edit::Update { before, after } => {
            let row = ticket_types::table.find(before.id.0).filter(ticket_types::version.eq(before.version));
            let values = (TicketTypeValues::new(after, now), raised);
            guarded(diesel::update(row).set(values).execute(connection)?)?;
            before.id.0
        }
        Edit::Retire(before) => {
            let row = ticket_types::table.find(before.id.0).filter(ticket_types::version.eq(before.version));
            if before.retired_at.is_none() {
                let values = (ticket_types::retired_at.eq(now), ticket_types::updated_at.eq(now), raised);
                guarded(diesel::update(row).set(values).execute(connection)?)?;
            }
            before.id.0
        }
    };
    Ok(managed_ticket_type(connection, TicketTypeId(id))?.ok_or(Failure::Stale("the ticket type is missing"))?)
}

/// The columns that the details of a price list set.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = price_lists)]
struct PriceListValues {
    name: String,
    name_folded: String,
    content: String,
    updated_at: i64,
}

impl PriceListValues {
    fn new(details: &PriceListDetails, now: i64) -> Self {
        Self {
            name: details.name.as_str().to_owned(),
            name_folded: fold(details.name.as_str()),
            content: stored_price_list(&details.list),
            updated_at: now,
        }
    }
}

pub(super) fn edit_price_list(
    connection: &mut SqliteConnection,
    edit: &Edit<PriceListDetails, ManagedPriceList>,
    now: i64,
) -> Result<ManagedPriceList, Undone> {
    let raised = price_lists::version.eq(price_lists::version + 1);
    let id = match edit {
        Edit::Create(details) => {
            let (theatre, currency) = (details.list.theatre_id().0, details.list.currency());
            let found: Option<String> = theatres::table
                .find(theatre)
                .filter(theatres::retired_at.is_null())
                .select(theatres::currency)
                .first(connection)
                .optional()?;
            if found.ok_or(ChangeRefusal::TheatreNotFound)? != currency.code() {
                return Err(ChangeError::Stale.into());
            }
            diesel::insert_into(price_lists::table)
                .values((
                    PriceListValues::new(details, now),
                    price_lists::theatre_id.eq(theatre),
                    price_lists::currency.eq(currency.code()),
                    price_lists::created_at.eq(now),
                ))
                .returning(price_lists::id)
                .get_result(connection)
                .map_err(name_taken(NAME))?
        }
        Edit::Update { before, after } => {
            let row = price_lists::table.find(before.id.0).filter(price_lists::version.eq(before.version));
            let values = (PriceListValues::new(after, now), raised);
            guarded(diesel::update(row).set(values).execute(connection).map_err(name_taken(NAME))?)?;
            before.id.0
        }
        Edit::Retire(before) => {
            let row = price_lists::table.find(before.id.0).filter(price_lists::version.eq(before.version));
            if before.retired_at.is_none() {
                let values = (price_lists::retired_at.eq(now), price_lists::updated_at.eq(now), raised);
                guarded(diesel::update(row).set(values).execute(connection)?)?;
            }
            before.id.0
        }
    };
    Ok(managed_price_list(connection, PriceListId(id))?.ok_or(Failure::Stale("the price list is missing"))?)
}

/// Returns an error if the theatre has a price list that is not retired.
pub(super) fn check_no_price_lists(connection: &mut SqliteConnection, theatre: i64) -> Result<(), Undone> {
    let found: Option<i64> = price_lists::table
        .filter(price_lists::theatre_id.eq(theatre))
        .filter(price_lists::retired_at.is_null())
        .select(price_lists::id)
        .first(connection)
        .optional()?;
    if found.is_some() { Err(ChangeRefusal::HasPriceLists.into()) } else { Ok(()) }
}
