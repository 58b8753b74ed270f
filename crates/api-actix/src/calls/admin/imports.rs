//! Imports and exports of the catalog, for administrators.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use catalog_file::{CatalogFile, Format, print};
use domain::transfer::{Count, ImportActor, ImportError, ImportMode, ImportReport};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Required;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema, Type};

use crate::http::call::{Input, Operation, Received, calls};
use crate::http::keys::UnkeyedChange;
use crate::http::media::{is_json_body, is_toml_body};
use crate::http::mistakes::Mistake;
use crate::http::problem::{Code, Problem};
use crate::http::query::{ParameterValue, Query, parameters};
use crate::http::reply::{Json, Reply};
use crate::http::request::check_encoding;
use crate::http::session::Admin;
use crate::wiring::state::AppState;

/// The most bytes of an imported file. A file of this size has about ten thousand shows.
const FILE_MAX: usize = 8 * 1024 * 1024;
const JSON: &str = "application/json";
const TOML: &str = "application/toml";

calls! { "staff"
    /// Import ticket types, movies, theatres, halls, price lists, programmes and shows from one file, all or none.
    ///
    /// The body is a file of at most 8 MiB as TOML or JSON. What exists with the same content stays unchanged, so a repeated import adds
    /// nothing. What exists with other content is a mistake. `errors` lists all mistakes of the file, each with its path and line.
    POST "/api/admin/imports" => import_catalog: "What was added", or [PreconditionFailed];

    /// Export all ticket types, movies, theatres, halls, price lists and shows as one file.
    ///
    /// An import of the file into an empty store gives a store with the same export. Retired objects, cancelled shows, users and bookings
    /// are left out.
    GET "/api/admin/exports" => export_catalog: "The file", or [Conflict];
}

parameters! {
    /// What an import does.
    pub struct ImportParameters {
        /// `true` checks the file and changes nothing.
        pub dry_run: Option<bool>,
        /// `true` keeps objects that exist with other content, and skips shows that do not fit to them.
        pub keep: Option<bool>,
    }

    /// The form of an export.
    pub struct ExportParameters {
        /// `json` by default.
        pub format: Option<FileFormat>,
    }
}

/// A format of files.
pub struct FileFormat(Format);

impl ParameterValue for FileFormat {
    fn schema() -> Schema {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["json", "toml"])).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        match text {
            "json" => Ok(Self(Format::Json)),
            "toml" => Ok(Self(Format::Toml)),
            _ => Err(Mistake::new("invalid", "must be json or toml")),
        }
    }
}

/// The body of an import.
pub struct ImportBody(CatalogFile);

/// The file as a schema. It names the lists alone: the reader of the file reports what is wrong in them with its line.
fn file_schema() -> Object {
    let list = || ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Object));
    let names = ["ticket_types", "movies", "theatres", "programmes", "shows"];
    let object = ObjectBuilder::new().schema_type(Type::Object).description(Some("docs/import.md has all members"));
    names.into_iter().fold(object, |object, name| object.property(name, list())).build()
}

fn text_schema() -> Object {
    ObjectBuilder::new().schema_type(Type::String).description(Some("The same members as TOML")).build()
}

impl Input for ImportBody {
    const IS_BODY: bool = true;
    const BYTES_MAX: usize = FILE_MAX;

    fn describe(operation: &mut Operation) {
        let body = RequestBodyBuilder::new()
            .content(JSON, ContentBuilder::new().schema(Some(file_schema())).build())
            .content(TOML, ContentBuilder::new().schema(Some(text_schema())).build())
            .required(Some(Required::True));
        operation.body = Some(body.build());
        operation.codes.extend([
            Code::MalformedJson,
            Code::ValidationFailed,
            Code::RequestTimeout,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
        ]);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        let headers = received.request.headers();
        check_encoding(headers)?;
        let format = if is_json_body(headers) {
            Format::Json
        } else if is_toml_body(headers) {
            Format::Toml
        } else {
            let detail = "Send the file in UTF-8, with one Content-Type: application/json or application/toml.";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        };
        let text = std::str::from_utf8(received.bytes()?)
            .map_err(|error| Problem::new(Code::MalformedJson, format!("The file is not UTF-8: {error}.")))?;
        CatalogFile::parse(text, format).map(Self).map_err(|mistakes| Problem::file(&mistakes))
    }
}

/// The numbers of objects of a kind.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportCount)]
pub struct CountView {
    #[schema(minimum = 0)]
    added: usize,
    /// Those that exist with the same content.
    #[schema(minimum = 0)]
    unchanged: usize,
    /// Those that were left out because of `keep`.
    #[schema(minimum = 0)]
    skipped: usize,
}

/// What an import has added, or with `dry_run` would add.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportReport)]
pub struct ReportView {
    dry_run: bool,
    ticket_types: CountView,
    movies: CountView,
    theatres: CountView,
    halls: CountView,
    price_lists: CountView,
    shows: CountView,
}

fn view(dry_run: bool, report: ImportReport) -> ReportView {
    let count = |Count { added, unchanged, skipped }| CountView { added, unchanged, skipped };
    let ImportReport { ticket_types, movies, theatres, halls, price_lists, shows } = report;
    ReportView {
        dry_run,
        ticket_types: count(ticket_types),
        movies: count(movies),
        theatres: count(theatres),
        halls: count(halls),
        price_lists: count(price_lists),
        shows: count(shows),
    }
}

async fn import_catalog(
    Admin(_): Admin,
    UnkeyedChange(request): UnkeyedChange,
    Query(ImportParameters { dry_run, keep }): Query<ImportParameters>,
    ImportBody(mut file): ImportBody,
    state: Data<AppState>,
) -> Result<Json<ReportView>, Problem> {
    let dry_run = dry_run.unwrap_or_default();
    let mode = if keep.unwrap_or_default() { ImportMode::Keep } else { ImportMode::Strict };
    let document = std::mem::take(&mut file.document);
    // A file with mistakes is compared with the store as well, so that the report has all of them.
    let is_dry_run = dry_run || !file.mistakes.is_empty();
    match state.transfer.import(document, mode, is_dry_run, &ImportActor::Staff(request)).await {
        Ok(report) if file.mistakes.is_empty() => Ok(Json::private(view(dry_run, report))),
        Ok(_) => Err(Problem::file(&file.report(Vec::new()))),
        Err(ImportError::Invalid(mistakes)) => Err(Problem::file(&file.report(mistakes))),
        Err(ImportError::SessionEnded) => Err(Problem::session_ended()),
        Err(ImportError::Forbidden) => Err(Problem::not_staff(domain::admin::Authority::Admin)),
        Err(ImportError::Stale) => Err(Problem::new(
            Code::PreconditionFailed,
            "The catalog was changed concurrently, and nothing was imported. Import the file again.",
        )),
        Err(ImportError::Store(error)) => Err(error.into()),
    }
}

/// 200 with a file.
pub struct FileReply {
    text: String,
    format: Format,
}

impl Reply for FileReply {
    fn describe(operation: &mut Operation) {
        let response = ResponseBuilder::new()
            .description(operation.success())
            .content(JSON, ContentBuilder::new().schema(Some(file_schema())).build())
            .content(TOML, ContentBuilder::new().schema(Some(text_schema())).build());
        operation.responses.push((200, response.build()));
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let (media_type, disposition) = match self.format {
            Format::Json => (JSON, "attachment; filename=\"catalog.json\""),
            Format::Toml => ("application/toml; charset=utf-8", "attachment; filename=\"catalog.toml\""),
        };
        let mut response = HttpResponse::Ok();
        response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(media_type)));
        response.insert_header((header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition)));
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")));
        Ok(response.body(self.text))
    }
}

async fn export_catalog(
    Admin(_): Admin,
    Query(ExportParameters { format }): Query<ExportParameters>,
    state: Data<AppState>,
) -> Result<FileReply, Problem> {
    let FileFormat(format) = format.unwrap_or(FileFormat(Format::Json));
    let document = state.transfer.export().await?;
    Ok(FileReply { text: print(&document, format), format })
}
