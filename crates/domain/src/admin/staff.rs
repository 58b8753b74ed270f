//! Who works for the cinema, and where.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::identity::Role;
use crate::ids::{TheatreId, UserId};

/// A user with the rights that the store has for them now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaffMember {
    pub role: Role,
    /// The theatres that a user of the role `staff` works for.
    pub theatres: BTreeSet<TheatreId>,
}

/// What a call or a change requires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authority {
    /// Any member of staff.
    Staff,
    /// A member of staff who works for this theatre.
    Theatre(TheatreId),
    /// An administrator.
    Admin,
}

impl StaffMember {
    /// Returns whether the user has this authority. Administrators have all.
    pub fn has(&self, authority: Authority) -> bool {
        match (self.role, authority) {
            (Role::Admin, _) | (Role::Staff, Authority::Staff) => true,
            (Role::Staff, Authority::Theatre(theatre)) => self.theatres.contains(&theatre),
            (Role::Staff, Authority::Admin) | (Role::Customer, _) => false,
        }
    }

    /// Returns the theatres to which lists are limited; `None` for an administrator, who sees all.
    pub fn limited_to(&self) -> Option<Vec<TheatreId>> {
        match self.role {
            Role::Admin => None,
            Role::Staff | Role::Customer => Some(self.theatres.iter().copied().collect()),
        }
    }
}

/// What a user may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserAccess {
    pub role: Role,
    /// The theatres that a user of the role `staff` works for. Kept, without effect, for other roles.
    pub theatres: BTreeSet<TheatreId>,
    /// A disabled user has no session and cannot log in.
    pub disabled: bool,
}

impl UserAccess {
    /// Returns whether the user loses a right compared to `before`. All sessions end then: a command that a member of staff has sent is checked
    /// against the session generation in its own transaction.
    pub fn loses_rights(&self, before: &Self) -> bool {
        let rank = |role: Role| match role {
            Role::Customer => 0,
            Role::Staff => 1,
            Role::Admin => 2,
        };
        let works_less =
            self.role == Role::Staff && before.role == Role::Staff && !before.theatres.is_subset(&self.theatres);
        (self.disabled && !before.disabled) || rank(self.role) < rank(before.role) || works_less
    }
}

/// A user as administrators see them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManagedUser {
    pub id: UserId,
    pub name: String,
    /// The address as it was typed.
    pub email: String,
    pub access: UserAccess,
    /// The sessions of lower generations have ended.
    pub session_generation: i64,
    pub created_at: DateTime<Utc>,
    /// Increased by every change of the account.
    pub version: i64,
}

/// Changes of what a user may do. A `None` field stays unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserAccessChange {
    pub role: Option<Role>,
    pub theatres: Option<BTreeSet<TheatreId>>,
    pub disabled: Option<bool>,
}

impl UserAccessChange {
    /// Returns the access after the change.
    pub fn apply(self, access: &UserAccess) -> UserAccess {
        UserAccess {
            role: self.role.unwrap_or(access.role),
            theatres: self.theatres.unwrap_or_else(|| access.theatres.clone()),
            disabled: self.disabled.unwrap_or(access.disabled),
        }
    }
}

/// Selects users. A user must satisfy every given condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserFilter {
    /// A substring of the name or the e-mail address, folded.
    pub search: Option<String>,
    pub role: Option<Role>,
}

/// The position of a user in the list of users, which is ordered by id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserCursor(pub UserId);

#[cfg(test)]
mod tests {
    use super::*;

    fn member(role: Role, theatres: &[i64]) -> StaffMember {
        StaffMember { role, theatres: theatres.iter().copied().map(TheatreId).collect() }
    }

    #[test]
    fn staff_work_for_their_theatres_and_administrators_for_all() {
        let authorities =
            [Authority::Staff, Authority::Theatre(TheatreId(1)), Authority::Theatre(TheatreId(2)), Authority::Admin];
        for (member, expected) in [
            (member(Role::Customer, &[1]), [false, false, false, false]),
            (member(Role::Staff, &[]), [true, false, false, false]),
            (member(Role::Staff, &[1]), [true, true, false, false]),
            (member(Role::Admin, &[]), [true, true, true, true]),
        ] {
            assert_eq!(authorities.map(|authority| member.has(authority)), expected, "{member:?}");
        }
    }

    #[test]
    fn rights_are_lost_by_role_theatres_and_disabling() {
        let access = |role, theatres: &[i64], disabled| UserAccess {
            role,
            theatres: theatres.iter().copied().map(TheatreId).collect(),
            disabled,
        };
        let (staff, admin) = (access(Role::Staff, &[1, 2], false), access(Role::Admin, &[], false));
        for (before, after, expected) in [
            (&staff, access(Role::Staff, &[1, 2, 3], false), false),
            (&staff, access(Role::Staff, &[1, 3], false), true),
            (&staff, access(Role::Customer, &[1, 2], false), true),
            (&staff, access(Role::Admin, &[], false), false),
            (&staff, access(Role::Staff, &[1, 2], true), true),
            (&admin, access(Role::Staff, &[1], false), true),
            (&access(Role::Customer, &[1], true), access(Role::Customer, &[], true), false),
        ] {
            assert_eq!(after.loses_rights(before), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn lists_of_staff_are_limited_to_their_theatres() {
        assert_eq!(member(Role::Admin, &[1]).limited_to(), None);
        assert_eq!(member(Role::Staff, &[2, 1]).limited_to(), Some(vec![TheatreId(1), TheatreId(2)]));
        assert_eq!(member(Role::Staff, &[]).limited_to(), Some(Vec::new()));
    }
}
