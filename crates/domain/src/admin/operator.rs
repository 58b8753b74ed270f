//! Changes that the operator makes on the command line, in the audit log.

use super::{AuditAction, AuditRecord, ChangeOrigin, Fields, ObjectKind};
use crate::booking::NewAuditEntry;
use crate::identity::User;

impl ChangeOrigin {
    /// The address of changes on the command line. No client has it, because those of clients are IP addresses.
    pub const COMMAND_LINE: &'static str = "command line";

    /// Returns the origin of a change on the command line. `request_id` identifies the run of the command.
    pub fn command_line(request_id: impl Into<String>) -> Self {
        Self { request_id: request_id.into(), address: Self::COMMAND_LINE.to_owned() }
    }

    /// Returns the entry of an account that the operator created.
    pub fn account_created(&self, user: &User) -> NewAuditEntry {
        let after = Fields::default().with("role", user.role.as_str()).with("disabled", "false");
        self.of_account(user, AuditAction::Create, after)
    }

    /// Returns the entry of a password that the operator reset. It has no part of the password or its hash.
    pub fn password_reset(&self, user: &User) -> NewAuditEntry {
        self.of_account(user, AuditAction::Update, Fields::default().with("password", "reset"))
    }

    /// The operator is no user, and earlier releases read an actor from every entry. So the actor is the account itself.
    fn of_account(&self, user: &User, action: AuditAction, after: Fields) -> NewAuditEntry {
        let record = AuditRecord {
            action,
            object_kind: ObjectKind::User,
            object_id: user.id.0,
            theatre_id: None,
            before: Fields::default(),
            after,
        };
        NewAuditEntry { actor_id: user.id, origin: self.clone(), record }
    }
}
