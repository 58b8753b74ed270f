//! Changes of ticket types and price lists.

use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::admin::{ChangeError, ChangeRefusal, Edit};
use domain::pricing::{ManagedPriceList, ManagedTicketType, PriceListDetails, TicketTypeDetails};
use domain::text::fold;
use stored_json::{stored_names, stored_price_list};

use super::{Failure, guarded, name_taken, refused};
use crate::pricing::{price_list_by_id, ticket_type_by_id};
use crate::schema::{price_lists, theatres, ticket_types};
use crate::store::WriteFailure;

const CODE: &str = "ticket_types_code_unique";
const NAME: &str = "price_lists_name_unique";

/// The columns that the details of a ticket type set.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = ticket_types)]
struct TicketTypeValues {
    code: String,
    names: String,
    needs_proof: bool,
    position: i32,
    search_folded: String,
}

impl TicketTypeValues {
    fn new(details: &TicketTypeDetails) -> Self {
        Self {
            code: details.code.as_str().to_owned(),
            names: stored_names(&details.names),
            needs_proof: details.needs_proof,
            position: details.position,
            search_folded: details.search_folded(),
        }
    }
}

pub(super) async fn edit_ticket_type(
    connection: &mut AsyncPgConnection,
    edit: &Edit<TicketTypeDetails, ManagedTicketType>,
) -> Result<ManagedTicketType, Failure> {
    let raised = (ticket_types::version.eq(ticket_types::version + 1), ticket_types::updated_at.eq(now));
    let id = match edit {
        Edit::Create(details) => diesel::insert_into(ticket_types::table)
            .values(TicketTypeValues::new(details))
            .returning(ticket_types::id)
            .get_result(connection)
            .await
            .map_err(name_taken(CODE))?,
        Edit::Update { before, after } => {
            let row = ticket_types::table.find(before.id.0).filter(ticket_types::version.eq(before.version));
            let values = (TicketTypeValues::new(after), raised);
            guarded(diesel::update(row).set(values).execute(connection).await?)?;
            before.id.0
        }
        Edit::Retire(before) => {
            let row = ticket_types::table.find(before.id.0).filter(ticket_types::version.eq(before.version));
            if before.retired_at.is_none() {
                let values = (ticket_types::retired_at.eq(now), raised);
                guarded(diesel::update(row).set(values).execute(connection).await?)?;
            }
            before.id.0
        }
    };
    ticket_type_by_id(connection, id).await
}

/// The columns that the details of a price list set.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = price_lists)]
struct PriceListValues {
    name: String,
    name_folded: String,
    content: String,
}

impl PriceListValues {
    fn new(details: &PriceListDetails) -> Self {
        Self {
            name: details.name.as_str().to_owned(),
            name_folded: fold(details.name.as_str()),
            content: stored_price_list(&details.list),
        }
    }
}

pub(super) async fn edit_price_list(
    connection: &mut AsyncPgConnection,
    edit: &Edit<PriceListDetails, ManagedPriceList>,
) -> Result<ManagedPriceList, Failure> {
    let raised = (price_lists::version.eq(price_lists::version + 1), price_lists::updated_at.eq(now));
    let id = match edit {
        Edit::Create(details) => {
            let (theatre, currency) = (details.list.theatre_id().0, details.list.currency());
            // Locked, so that a concurrent change of the currency sees the list, or is seen here.
            let found: Option<String> = theatres::table
                .find(theatre)
                .filter(theatres::retired_at.is_null())
                .select(theatres::currency)
                .for_share()
                .first(connection)
                .await
                .optional()?;
            if found.ok_or_else(|| refused(ChangeRefusal::TheatreNotFound))? != currency.code() {
                return Err(WriteFailure::Refused(ChangeError::Stale));
            }
            diesel::insert_into(price_lists::table)
                .values((
                    PriceListValues::new(details),
                    price_lists::theatre_id.eq(theatre),
                    price_lists::currency.eq(currency.code()),
                ))
                .returning(price_lists::id)
                .get_result(connection)
                .await
                .map_err(name_taken(NAME))?
        }
        Edit::Update { before, after } => {
            let row = price_lists::table.find(before.id.0).filter(price_lists::version.eq(before.version));
            let values = (PriceListValues::new(after), raised);
            guarded(diesel::update(row).set(values).execute(connection).await.map_err(name_taken(NAME))?)?;
            before.id.0
        }
        Edit::Retire(before) => {
            let row = price_lists::table.find(before.id.0).filter(price_lists::version.eq(before.version));
            if before.retired_at.is_none() {
                let values = (price_lists::retired_at.eq(now), raised);
                guarded(diesel::update(row).set(values).execute(connection).await?)?;
            }
            before.id.0
        }
    };
    price_list_by_id(connection, id).await
}

/// Returns an error if the theatre has a price list that is not retired. The theatre's row is locked, as for a new list.
pub(super) async fn check_no_price_lists(connection: &mut AsyncPgConnection, theatre: i64) -> Result<(), Failure> {
    let found: Option<i64> = price_lists::table
        .filter(price_lists::theatre_id.eq(theatre))
        .filter(price_lists::retired_at.is_null())
        .select(price_lists::id)
        .first(connection)
        .await
        .optional()?;
    if found.is_some() { Err(refused(ChangeRefusal::HasPriceLists)) } else { Ok(()) }
}
