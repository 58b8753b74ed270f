//! Responses that are not problems: each type renders and describes itself.

use std::marker::PhantomData;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, ETag, EntityTag, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use domain::admin::ChangeAnswer;
use domain::booking::{Answer, Subject};
use domain::ids::BookingId;
use domain::page;
use futures::Stream;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

use super::call::Operation;
use super::cursor::Cursor;
use super::preconditions::{client_has, version_tag};
use super::problem::Problem;
use super::query::next_link;

const JSON: &str = "application/json";

/// A typed response.
pub trait Reply {
    /// Adds the response to the call's description.
    fn describe(operation: &mut Operation);

    /// Renders the response to a request.
    fn render(self, request: &HttpRequest) -> Result<HttpResponse, Problem>;
}

/// Who may keep a response.
#[derive(Clone, Copy)]
pub enum Cache {
    /// The response says nothing about it.
    Unspecified,
    /// The caller's own client may, if it asks again each time.
    Private,
    /// Any client may, if it asks again each time.
    Revalidate,
    /// Tokens and secrets: no one.
    Never,
}

impl Cache {
    fn set(self, response: &mut HttpResponseBuilder) {
        let value = match self {
            Self::Unspecified => return,
            Self::Private => "private, no-cache",
            Self::Revalidate => "no-cache",
            Self::Never => "no-store",
        };
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static(value)));
    }
}

/// 200 with a JSON body.
pub struct Json<View> {
    view: View,
    cache: Cache,
}

impl<View> Json<View> {
    /// Returns a response that says nothing about caching.
    pub fn new(view: View) -> Self {
        Self { view, cache: Cache::Unspecified }
    }

    /// Returns a response that only the caller's client may keep.
    pub fn private(view: View) -> Self {
        Self { view, cache: Cache::Private }
    }

    /// Returns a response with secrets in it.
    pub fn secret(view: View) -> Self {
        Self { view, cache: Cache::Never }
    }
}

impl<View: Serialize + ToSchema> Reply for Json<View> {
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::OK, |response| response);
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let mut response = HttpResponse::Ok();
        self.cache.set(&mut response);
        Ok(response.json(self.view))
    }
}

/// 200 with a JSON body in the caller's language (`Accept-Language`).
pub struct Localized<View>(pub View);

impl<View: Serialize + ToSchema> Reply for Localized<View> {
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::OK, |response| response);
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let vary = (header::VARY, HeaderValue::from_static("Accept-Language, Accept-Encoding"));
        Ok(HttpResponse::Ok().insert_header(vary).json(self.0))
    }
}

/// 201 with a JSON body that has secrets in it, and the path of what was created.
pub struct Created<View> {
    pub view: View,
    pub location: &'static str,
}

impl<View: Serialize + ToSchema> Reply for Created<View> {
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::CREATED, |response| {
            response.header("Location", text_header("The path of what was created"))
        });
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let mut response = HttpResponse::Created();
        response.insert_header((header::LOCATION, self.location));
        Cache::Never.set(&mut response);
        Ok(response.json(self.view))
    }
}

/// 204.
pub struct NoContent;

impl Reply for NoContent {
    fn describe(operation: &mut Operation) {
        let response = ResponseBuilder::new().description(operation.success()).build();
        operation.responses.push((204, response));
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        Ok(HttpResponse::NoContent().finish())
    }
}

/// 200 with a page of a list: a bare array, with the next page in `Link` (RFC 8288).
pub struct Page<View> {
    views: Vec<View>,
    next: Option<String>,
    cache: Cache,
}

impl<View> Page<View> {
    /// Returns a list that has one page only.
    pub fn whole(views: Vec<View>) -> Self {
        Self { views, next: None, cache: Cache::Unspecified }
    }

    /// Renders each item of a page.
    pub fn new<Item, C: Cursor>(page: page::Page<Item, C>, view: impl FnMut(Item) -> View) -> Self {
        let next = page.next.as_ref().map(Cursor::encode);
        Self { views: page.items.into_iter().map(view).collect(), next, cache: Cache::Unspecified }
    }

    /// Returns the same page for the caller's client alone.
    pub fn private(self) -> Self {
        Self { cache: Cache::Private, ..self }
    }
}

impl<View: Serialize + ToSchema> Reply for Page<View> {
    fn describe(operation: &mut Operation) {
        let list = list_of::<View>(operation);
        describe_schema(operation, StatusCode::OK, list, |response| {
            response.header("Link", text_header("The next page, with `rel=\"next\"`; absent on the last page"))
        });
    }

    fn render(self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let mut response = HttpResponse::Ok();
        self.cache.set(&mut response);
        if let Some(cursor) = self.next {
            response.insert_header((header::LINK, next_link(request, &cursor)));
        }
        Ok(response.json(self.views))
    }
}

/// 201 with the stored answer to a command, and the path of what the command created.
pub struct CreatedByCommand<View>(Answer, PhantomData<View>);

/// 200 with the stored answer to a command.
pub struct ChangedByCommand<View>(Answer, PhantomData<View>);

/// 204 after a command.
pub struct DoneByCommand(pub Answer);

impl<View> From<Answer> for CreatedByCommand<View> {
    fn from(answer: Answer) -> Self {
        Self(answer, PhantomData)
    }
}

impl<View> From<Answer> for ChangedByCommand<View> {
    fn from(answer: Answer) -> Self {
        Self(answer, PhantomData)
    }
}

impl<View: ToSchema> Reply for CreatedByCommand<View> {
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::CREATED, |response| {
            replayed(response).header("Location", text_header("The path of what was created"))
        });
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let Self(answer, _) = self;
        let location = match &answer.subject {
            Subject::Booking(id) => format!("/api/bookings/{id}"),
            Subject::Hold(id) => format!("/api/holds/{}", id.as_str()),
            Subject::Show(id) => format!("/api/shows/{id}"),
        };
        Ok(created(answer, location))
    }
}

/// 201 with the stored answer to a sale by staff, and the path where staff find the booking.
pub struct SoldByStaff<View> {
    answer: Answer,
    booking: BookingId,
    view: PhantomData<View>,
}

impl<View> SoldByStaff<View> {
    /// Returns the response; `None` if the answer is not about a booking.
    pub fn new(answer: Answer) -> Option<Self> {
        let booking = answer.subject.booking_id()?;
        Some(Self { answer, booking, view: PhantomData })
    }
}

impl<View: ToSchema> Reply for SoldByStaff<View> {
    fn describe(operation: &mut Operation) {
        CreatedByCommand::<View>::describe(operation);
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let location = format!("/api/admin/bookings/{}", self.booking);
        Ok(created(self.answer, location))
    }
}

fn created(answer: Answer, location: String) -> HttpResponse {
    let mut response = answered(StatusCode::CREATED, answer.replayed);
    response.insert_header((header::LOCATION, location));
    response.content_type(JSON).body(answer.body.to_vec())
}

impl<View: ToSchema> Reply for ChangedByCommand<View> {
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::OK, replayed);
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let Self(answer, _) = self;
        Ok(answered(StatusCode::OK, answer.replayed).content_type(JSON).body(answer.body.to_vec()))
    }
}

impl Reply for DoneByCommand {
    fn describe(operation: &mut Operation) {
        let response = replayed(ResponseBuilder::new().description(operation.success())).build();
        operation.responses.push((204, response));
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        Ok(answered(StatusCode::NO_CONTENT, self.0.replayed).finish())
    }
}

fn answered(status: StatusCode, is_replayed: bool) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    Cache::Private.set(&mut response);
    if is_replayed {
        response.insert_header((HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true")));
    }
    response
}

fn replayed(response: ResponseBuilder) -> ResponseBuilder {
    response
        .header("Idempotent-Replayed", text_header("`true` if an earlier request with the same key was answered so"))
}

/// 200 with an object that staff change, and the tag of its version.
pub struct Versioned<View> {
    pub view: View,
    pub version: i64,
}

impl<View: Serialize + ToSchema> Reply for Versioned<View> {
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::OK, tagged);
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let mut response = HttpResponse::Ok();
        Cache::Private.set(&mut response);
        Ok(response.insert_header(ETag(version_tag(self.version))).json(self.view))
    }
}

/// 201 with an object that staff have created, its path, and the tag of its version.
pub struct CreatedByChange<View> {
    answer: ChangeAnswer,
    /// The path above the object's; `None` if it is that of the request.
    collection: Option<&'static str>,
    view: PhantomData<View>,
}

impl<View> CreatedByChange<View> {
    /// Returns the response with an object whose path is below this one.
    pub fn below(collection: &'static str, answer: ChangeAnswer) -> Self {
        Self { answer, collection: Some(collection), view: PhantomData }
    }
}

/// 200 with an object that staff have changed, and the tag of its version.
pub struct UpdatedByChange<View>(ChangeAnswer, PhantomData<View>);

/// 204 after staff have retired an object.
pub struct RetiredByChange(pub ChangeAnswer);

impl<View> From<ChangeAnswer> for CreatedByChange<View> {
    fn from(answer: ChangeAnswer) -> Self {
        Self { answer, collection: None, view: PhantomData }
    }
}

impl<View> From<ChangeAnswer> for UpdatedByChange<View> {
    fn from(answer: ChangeAnswer) -> Self {
        Self(answer, PhantomData)
    }
}

impl<View: ToSchema> Reply for CreatedByChange<View> {
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::CREATED, |response| {
            replayed(tagged(response)).header("Location", text_header("The path of what was created"))
        });
    }

    fn render(self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let Self { answer, collection, .. } = self;
        let mut response = answered(StatusCode::CREATED, answer.replayed);
        let collection = collection.unwrap_or_else(|| request.path());
        response.insert_header((header::LOCATION, format!("{collection}/{}", answer.object_id)));
        response.insert_header(ETag(version_tag(answer.version)));
        Ok(response.content_type(JSON).body(answer.body.to_vec()))
    }
}

impl<View: ToSchema> Reply for UpdatedByChange<View> {
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::OK, |response| replayed(tagged(response)));
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let Self(answer, _) = self;
        let mut response = answered(StatusCode::OK, answer.replayed);
        response.insert_header(ETag(version_tag(answer.version)));
        Ok(response.content_type(JSON).body(answer.body.to_vec()))
    }
}

impl Reply for RetiredByChange {
    fn describe(operation: &mut Operation) {
        let response = replayed(ResponseBuilder::new().description(operation.success())).build();
        operation.responses.push((204, response));
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        Ok(answered(StatusCode::NO_CONTENT, self.0.replayed).finish())
    }
}

/// 200 with a preview of an object, or 201 with the object that staff have created, and its path.
pub enum PreviewedOrCreated<View> {
    Previewed(View),
    Created { answer: ChangeAnswer, location: String },
}

impl<View: Serialize + ToSchema> Reply for PreviewedOrCreated<View> {
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::OK, |response| response);
        describe::<View>(operation, StatusCode::CREATED, |response| {
            replayed(response).header("Location", text_header("The path of what was created"))
        });
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        match self {
            Self::Previewed(view) => {
                let mut response = HttpResponse::Ok();
                Cache::Private.set(&mut response);
                Ok(response.json(view))
            }
            Self::Created { answer, location } => {
                let mut response = answered(StatusCode::CREATED, answer.replayed);
                response.insert_header((header::LOCATION, location));
                Ok(response.content_type(JSON).body(answer.body.to_vec()))
            }
        }
    }
}

fn tagged(response: ResponseBuilder) -> ResponseBuilder {
    response.header("ETag", text_header("The tag of the object's version, for `If-Match`"))
}

/// 200 with a JSON list that has a tag, or 304 if the client has it.
pub struct TaggedList<View> {
    pub tag: EntityTag,
    pub cache: Cache,
    pub vary: &'static str,
    pub body: Vec<u8>,
    pub view: PhantomData<View>,
}

impl<View: ToSchema> Reply for TaggedList<View> {
    fn describe(operation: &mut Operation) {
        let list = list_of::<View>(operation);
        describe_schema(operation, StatusCode::OK, list, |response| {
            response.header("ETag", text_header("The tag of the list"))
        });
    }

    fn render(self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let known = client_has(request, &self.tag);
        let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response.insert_header(ETag(self.tag)).insert_header((header::VARY, HeaderValue::from_static(self.vary)));
        self.cache.set(&mut response);
        if known { Ok(response.finish()) } else { Ok(response.content_type(JSON).body(self.body)) }
    }
}

/// 200 with a JSON file that is sent part by part.
pub struct Download<View, Parts> {
    pub name: &'static str,
    pub parts: Parts,
    pub view: PhantomData<View>,
}

impl<View, Parts> Reply for Download<View, Parts>
where
    View: ToSchema,
    Parts: Stream<Item = Result<Bytes, std::io::Error>> + 'static,
{
    fn describe(operation: &mut Operation) {
        describe::<View>(operation, StatusCode::OK, |response| response);
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let mut response = HttpResponse::Ok();
        Cache::Never.set(&mut response);
        response.insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", self.name)));
        Ok(response.content_type(JSON).streaming(self.parts))
    }
}

/// A response that is rendered already, with a success of one status and content type.
pub struct Rendered<const STATUS: u16, Content>(pub HttpResponse, pub PhantomData<Content>);

/// The content of a [`Rendered`] response.
pub trait Content {
    /// The media type, without parameters, and the type of the content; `None` for a response without a body.
    const MEDIA_TYPE: Option<(&'static str, Type)>;
}

impl<const STATUS: u16, C: Content> Reply for Rendered<STATUS, C> {
    fn describe(operation: &mut Operation) {
        let response = ResponseBuilder::new().description(operation.success());
        let response = match C::MEDIA_TYPE {
            Some((media_type, kind)) => {
                let schema = ObjectBuilder::new().schema_type(kind);
                response.content(media_type, ContentBuilder::new().schema(Some(schema)).build())
            }
            None => response,
        };
        operation.responses.push((STATUS, response.build()));
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        Ok(self.0)
    }
}

/// Adds a JSON response.
pub fn describe<View: ToSchema>(
    operation: &mut Operation,
    status: StatusCode,
    more: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
) {
    let schema = reference_to::<View>(operation);
    describe_schema(operation, status, schema, more);
}

fn describe_schema(
    operation: &mut Operation,
    status: StatusCode,
    schema: impl Into<RefOr<Schema>>,
    more: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
) {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = more(ResponseBuilder::new().description(operation.success()).content(JSON, content)).build();
    operation.responses.push((status.as_u16(), response));
}

/// Adds the schema of a view, and of those inside it, to the document's, and returns a reference to it.
pub fn reference_to<View: ToSchema>(operation: &mut Operation) -> Ref {
    operation.schemas.push((View::name().into_owned(), View::schema()));
    View::schemas(&mut operation.schemas);
    Ref::from_schema_name(View::name())
}

fn list_of<View: ToSchema>(operation: &mut Operation) -> Schema {
    ArrayBuilder::new().items(reference_to::<View>(operation)).build().into()
}

fn text_header(description: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .description(Some(description))
        .build()
}
