//! Who calls. A handler states its session requirement by the type of its first argument.
//!
//! Each request passes exactly one check of whether its session lasts, at the place that can tell for certain:
//!
//! | first argument | the session is checked |
//! | --- | --- |
//! | [`Anyone`] | never: the response is the same for all callers |
//! | [`MaybeCaller`] | before the handler; an invalid or ended session makes the caller anonymous |
//! | [`Caller`] | before the handler |
//! | [`Staff`], [`Admin`] | before the handler, and in the transaction of a change |
//! | [`Command`] | in the transaction that decides the command, or with the replayed response; before the response only if the request is invalid and no transaction begins |

use std::future::Future;

use actix_web::HttpMessage as _;
use domain::admin::{Authority, StaffMember};
use domain::identity::Bearer;
use utoipa::openapi::security::SecurityRequirement;

use super::call::{Operation, Received};
use super::openapi::BEARER;
use super::problem::{Code, Problem};
use super::request::Authorization;

/// A session requirement.
pub trait Session: Sized {
    /// Adds the requirement to the call's description.
    fn describe(operation: &mut Operation);

    /// Reads the caller, and checks the session where the type says so.
    fn read(received: &Received) -> impl Future<Output = Result<Self, Problem>>;

    /// Returns the problem to report for an invalid request.
    fn review(_received: &Received, problem: Problem) -> impl Future<Output = Problem> {
        std::future::ready(problem)
    }
}

/// The response is the same for all callers. A token is ignored.
pub struct Anyone;

/// A public call that adds something for a caller with a valid token.
pub struct MaybeCaller(pub Option<Bearer>);

/// A caller whose session lasts.
pub struct Caller(pub Bearer);

/// A caller who changes claims. The session is read in the snapshot that decides the command and guarded by its transaction.
pub struct Command(pub Bearer);

/// A member of staff, whose rights were read from the store for this request.
pub struct Staff(pub StaffMember);

/// An administrator, whose rights were read from the store for this request.
pub struct Admin(pub StaffMember);

impl Session for Anyone {
    fn describe(_: &mut Operation) {}

    async fn read(_: &Received) -> Result<Self, Problem> {
        Ok(Self)
    }
}

impl Session for MaybeCaller {
    fn describe(operation: &mut Operation) {
        operation.securities.push(SecurityRequirement::default());
        operation.securities.push(bearer());
    }

    async fn read(received: &Received) -> Result<Self, Problem> {
        let Ok(bearer) = authenticated(received) else { return Ok(Self(None)) };
        // A store that cannot be reached leaves the caller anonymous, or fails the handler's own read.
        let lasts = received.state.identity.lasts(&bearer).await.unwrap_or(false);
        Ok(Self(lasts.then_some(bearer)))
    }
}

impl Session for Caller {
    fn describe(operation: &mut Operation) {
        describe_required(operation);
    }

    async fn read(received: &Received) -> Result<Self, Problem> {
        let bearer = authenticated(received)?;
        check(received, &bearer).await?;
        Ok(Self(bearer))
    }
}

impl Session for Command {
    fn describe(operation: &mut Operation) {
        describe_required(operation);
    }

    async fn read(received: &Received) -> Result<Self, Problem> {
        authenticated(received).map(Self)
    }

    /// An ended session is reported before an invalid key, path or body.
    async fn review(received: &Received, problem: Problem) -> Problem {
        let Ok(bearer) = authenticated(received) else { return problem };
        match check(received, &bearer).await {
            Ok(()) => problem,
            Err(ended) => ended,
        }
    }
}

impl Session for Staff {
    fn describe(operation: &mut Operation) {
        describe_staff(operation, "staff");
    }

    async fn read(received: &Received) -> Result<Self, Problem> {
        member(received, Authority::Staff).await.map(Self)
    }
}

impl Session for Admin {
    fn describe(operation: &mut Operation) {
        describe_staff(operation, "admin");
    }

    async fn read(received: &Received) -> Result<Self, Problem> {
        member(received, Authority::Admin).await.map(Self)
    }
}

/// Returns the caller's rights, or the problem of a caller without this authority.
async fn member(received: &Received, authority: Authority) -> Result<StaffMember, Problem> {
    let bearer = authenticated(received)?;
    let member = received.state.admin.member(&bearer).await?.ok_or_else(Problem::session_ended)?;
    if member.has(authority) { Ok(member) } else { Err(Problem::not_staff(authority)) }
}

/// Names the role that the call requires in the security requirement, as OpenAPI 3.1 allows.
fn describe_staff(operation: &mut Operation, role: &str) {
    operation.securities.push(SecurityRequirement::new(BEARER, [role]));
    operation.codes.extend([Code::Unauthenticated, Code::Forbidden, Code::Unavailable]);
}

fn describe_required(operation: &mut Operation) {
    operation.securities.push(bearer());
    operation.codes.push(Code::Unauthenticated);
}

fn bearer() -> SecurityRequirement {
    SecurityRequirement::new(BEARER, Vec::<String>::new())
}

/// Returns the holder of a valid token. Whether its session lasts is not checked.
pub fn authenticated(received: &Received) -> Result<Bearer, Problem> {
    match received.request.extensions().get::<Authorization>() {
        Some(Authorization::Known(bearer)) => Ok(*bearer),
        _ => Err(Problem::unauthenticated()),
    }
}

async fn check(received: &Received, bearer: &Bearer) -> Result<(), Problem> {
    if received.state.identity.lasts(bearer).await? { Ok(()) } else { Err(Problem::session_ended()) }
}
