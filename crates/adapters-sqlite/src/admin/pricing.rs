//! Changes of ticket types.

use diesel::prelude::*;
use domain::admin::Edit;
use domain::ids::TicketTypeId;
use domain::pricing::{ManagedTicketType, TicketTypeDetails};

use super::{Undone, guarded, name_taken};
use crate::failure::Failure;
use crate::pricing::{managed_ticket_type, stored_names};
use crate::schema::ticket_types;

/// The unique constraint of codes, as SQLite reports it.
const CODE: &str = "ticket_types.code";

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
