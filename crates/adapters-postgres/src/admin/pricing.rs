//! Changes of ticket types.

use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::admin::Edit;
use domain::pricing::{ManagedTicketType, TicketTypeDetails};

use super::{Failure, guarded, name_taken};
use crate::pricing::{stored_names, ticket_type_by_id};
use crate::schema::ticket_types;

const CODE: &str = "ticket_types_code_unique";

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
