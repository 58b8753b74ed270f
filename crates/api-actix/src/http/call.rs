//! A call of the API, declared once. Its route, its parsing and its part of the OpenAPI document follow from the declaration
//! (`calls!` in a module of [`crate::calls`]) and from the handler's signature:
//!
//! - the first argument is the session requirement ([`Session`]);
//! - the other arguments are parts of the request ([`Input`]), read in their order, so errors are found in that order;
//! - the result is a typed response ([`Reply`]) or a [`Problem`].
//!
//! A handler without a session requirement, with an argument or a result that is not described, does not compile.

use std::cell::OnceCell;
use std::future::Future;

use actix_web::http::Method;
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, Route};
use serde_json::Value;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::response::Response;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{RefOr, Schema};

use super::problem::{Code, Problem};
use super::reply::Reply;
use super::request::{Authorization, BODY_MAX, drain, read_body, read_json};
use super::session::Session;
use crate::wiring::state::AppState;

/// Declares the calls of a feature, as `calls()`.
///
/// `GET "/api/movies/{movie_id}" => movie: "The movie", or [MovieNotFound];` stands for the handler `movie`, whose name is the
/// operation's id. The text describes the success. The codes are those of the handler's own problems; the codes of its arguments are
/// added. The first paragraph of the documentation is the operation's summary, the others are its description.
macro_rules! calls {
    ($tag:literal $($(#[doc = $doc:literal])+ $method:ident $path:literal => $handler:ident: $success:literal
        $(, or [$($code:ident),+ $(,)?])?;)+) => {
        /// Returns the calls of this feature.
        pub fn calls() -> Vec<$crate::http::call::Call> {
            vec![$($crate::http::call::Call::new(
                $crate::http::call::Declaration {
                    method: ::actix_web::http::Method::$method,
                    path: $path,
                    tag: $tag,
                    name: stringify!($handler),
                    documentation: concat!($($doc, "\n"),+),
                    success: $success,
                    codes: &[$($($crate::http::problem::Code::$code),+)?],
                },
                $handler,
            )),+]
        }
    };
}
pub(crate) use calls;

/// What `calls!` states about a call.
#[derive(Clone)]
pub struct Declaration {
    pub method: Method,
    /// The path template, like `/api/movies/{movie_id}`.
    pub path: &'static str,
    pub tag: &'static str,
    /// The handler's name, which is the operation's id.
    pub name: &'static str,
    pub documentation: &'static str,
    /// Describes the response of a success.
    pub success: &'static str,
    /// The codes of the handler's own problems.
    pub codes: &'static [Code],
}

/// A call: its declaration, with what follows from its handler.
pub struct Call {
    pub declaration: Declaration,
    describe: fn(&mut Operation),
    route: Box<dyn Fn() -> Route>,
}

impl Call {
    /// Joins a declaration with its handler.
    pub fn new<Inputs: 'static, H: Handler<Inputs>>(declaration: Declaration, handler: H) -> Self {
        let (method, path) = (declaration.method.clone(), declaration.path);
        let route = move || {
            let name = method.clone();
            web::method(method.clone())
                .to(move |request, payload, state| answer(handler, name.clone(), path, request, payload, state))
        };
        Self { declaration, describe: H::describe, route: Box::new(route) }
    }

    /// Returns the route that serves the call.
    pub fn route(&self) -> Route {
        (self.route)()
    }

    /// Describes the call for the OpenAPI document.
    pub fn operation(&self) -> Operation {
        let mut operation = Operation {
            success: self.declaration.success,
            codes: self.declaration.codes.to_vec(),
            ..Operation::default()
        };
        (self.describe)(&mut operation);
        operation
    }
}

/// What a call's arguments and result add to its description.
#[derive(Default)]
pub struct Operation {
    pub parameters: Vec<Parameter>,
    pub body: Option<RequestBody>,
    pub securities: Vec<SecurityRequirement>,
    /// The codes of its problems, in any order, possibly repeated.
    pub codes: Vec<Code>,
    /// Responses that are not problems, by status.
    pub responses: Vec<(u16, Response)>,
    /// The schemas that its parts refer to, by name.
    pub schemas: Vec<(String, RefOr<Schema>)>,
    success: &'static str,
}

impl Operation {
    /// Returns the description of a success.
    pub fn success(&self) -> &'static str {
        self.success
    }
}

/// A request whose body has arrived.
pub struct Received {
    pub request: HttpRequest,
    pub state: Data<AppState>,
    method: Method,
    path: &'static str,
    body: Option<Result<Vec<u8>, Problem>>,
    json: OnceCell<Result<Value, Problem>>,
}

impl Received {
    /// Returns the body as JSON. An absent body is an error unless `is_optional`; then it is an object without members.
    pub fn json(&self, is_optional: bool) -> Result<&Value, Problem> {
        let json = self.json.get_or_init(|| match &self.body {
            Some(Ok(bytes)) if bytes.is_empty() && is_optional => Ok(Value::Object(serde_json::Map::new())),
            Some(body) => read_json(self.request.headers(), body.as_ref()),
            None => Ok(Value::Null),
        });
        json.as_ref().map_err(Problem::clone)
    }

    /// Returns the body as it arrived, in whatever format.
    pub fn bytes(&self) -> Result<&[u8], Problem> {
        match &self.body {
            Some(body) => body.as_deref().map_err(Problem::clone),
            None => Ok(&[]),
        }
    }

    /// Returns method and path, like `POST /api/bookings/3/cancel`. The path is built from the template and the decoded parameters:
    /// with the client's own spelling, two spellings of one path would be two scopes of idempotency keys. Stored keys have this form, so
    /// it must not change.
    pub fn scope(&self) -> String {
        let parameters = self.request.match_info().iter();
        let path =
            parameters.fold(self.path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
        format!("{} {path}", self.method)
    }
}

/// A part of a request.
pub trait Input: Sized {
    /// Whether this is the body. The body of a call without one is read and discarded.
    const IS_BODY: bool = false;
    /// The most bytes of the body from a caller with a valid token. Others get [`BODY_MAX`].
    const BYTES_MAX: usize = BODY_MAX;

    /// Adds this part, and the codes of its problems, to the call's description.
    fn describe(operation: &mut Operation);

    /// Reads this part.
    fn read(received: &Received) -> Result<Self, Problem>;
}

impl Input for Data<AppState> {
    fn describe(_: &mut Operation) {}

    fn read(received: &Received) -> Result<Self, Problem> {
        Ok(received.state.clone())
    }
}

/// The request itself, for what is negotiated while the response is made.
impl Input for HttpRequest {
    fn describe(_: &mut Operation) {}

    fn read(received: &Received) -> Result<Self, Problem> {
        Ok(received.request.clone())
    }
}

/// A function that answers a call.
pub trait Handler<Inputs>: Copy + 'static {
    /// Whether one of its arguments is the body.
    const HAS_BODY: bool;
    /// The most bytes of the body.
    const BYTES_MAX: usize;

    /// Describes arguments and result.
    fn describe(operation: &mut Operation);

    /// Reads the arguments and calls the function.
    fn answer(self, received: &Received) -> impl Future<Output = Result<HttpResponse, Problem>>;
}

macro_rules! handlers {
    ($($Input:ident $input:ident),*) => {
        impl<Function, Answer, Requirement, $($Input,)* Response> Handler<(Requirement, $($Input,)*)> for Function
        where
            Function: Fn(Requirement, $($Input),*) -> Answer + Copy + 'static,
            Answer: Future<Output = Result<Response, Problem>>,
            Requirement: Session,
            $($Input: Input,)*
            Response: Reply,
        {
            const HAS_BODY: bool = false $(|| $Input::IS_BODY)*;
            const BYTES_MAX: usize = {
                let max = BODY_MAX;
                $(let max = if $Input::IS_BODY { $Input::BYTES_MAX } else { max };)*
                max
            };

            fn describe(operation: &mut Operation) {
                Requirement::describe(operation);
                $($Input::describe(operation);)*
                Response::describe(operation);
            }

            async fn answer(self, received: &Received) -> Result<HttpResponse, Problem> {
                let session = Requirement::read(received).await?;
                $(let $input = match $Input::read(received) {
                    Ok(input) => input,
                    Err(problem) => return Err(Requirement::review(received, problem).await),
                };)*
                self(session, $($input),*).await?.render(&received.request)
            }
        }
    };
}

handlers!();
handlers!(A a);
handlers!(A a, B b);
handlers!(A a, B b, C c);
handlers!(A a, B b, C c, D d);
handlers!(A a, B b, C c, D d, E e);

async fn answer<Inputs, H: Handler<Inputs>>(
    handler: H,
    method: Method,
    path: &'static str,
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    // A client that is answered while it is still sending may never read the answer.
    let body = if H::HAS_BODY {
        // A caller without an account cannot fill the memory.
        let is_known = matches!(request.extensions().get::<Authorization>(), Some(Authorization::Known(_)));
        Some(read_body(payload, if is_known { H::BYTES_MAX } else { BODY_MAX }).await)
    } else {
        if method != Method::GET {
            drain(payload).await;
        }
        None
    };
    let received = Received { request, state, method, path, body, json: OnceCell::new() };
    handler.answer(&received).await
}
