//! The OpenAPI document, and pages to browse it that name no other host.

use std::collections::HashMap;
use std::io::Write as _;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use actix_web::http::StatusCode;
use actix_web::http::header::{
    self, AcceptEncoding, CacheControl, CacheDirective, ContentEncoding, ETag, Encoding, EntityTag, HeaderValue,
};
use actix_web::web::{self, Bytes};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, HttpResponseBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use utoipa::openapi::schema::Type;
use utoipa_swagger_ui::Config;

use crate::http::call::calls;
use crate::http::openapi;
use crate::http::preconditions::{IfNoneMatch, client_has};
use crate::http::problem::Problem;
use crate::http::reply::{Content, Rendered};
use crate::http::session::Anyone;

/// What the pages may load: what this server has. They can't be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// Files smaller than this gain nothing from compression.
const COMPRESS_MIN: usize = 1024;
/// Brotli's quality for files that are compressed once: 9 makes the largest file a tenth smaller than 5 and takes a third of a second.
const BROTLI_QUALITY: u32 = 9;
/// Brotli's default window, 4 MiB.
const BROTLI_WINDOW: u32 = 22;

calls! { "operations"
    /// Redirect to the documentation.
    GET "/" => home: "The documentation is at `/docs/`";

    /// Redirect to the documentation.
    GET "/docs" => redirect: "The documentation is at `/docs/`";

    /// Get this document.
    GET "/api/openapi.json" => document: "The OpenAPI document, with an `ETag`";
}

/// A redirect has no body.
pub struct NoBody;

impl Content for NoBody {
    const MEDIA_TYPE: Option<(&'static str, Type)> = None;
}

async fn home(_: Anyone) -> Result<Rendered<302, NoBody>, Problem> {
    Ok(Rendered(to_pages(HttpResponse::Found()), PhantomData))
}

async fn redirect(_: Anyone) -> Result<Rendered<301, NoBody>, Problem> {
    Ok(Rendered(to_pages(HttpResponse::MovedPermanently()), PhantomData))
}

fn to_pages(mut response: HttpResponseBuilder) -> HttpResponse {
    unframed(&mut response).insert_header((header::LOCATION, "/docs/")).finish()
}

/// A JSON document of any shape.
pub struct JsonDocument;

impl Content for JsonDocument {
    const MEDIA_TYPE: Option<(&'static str, Type)> = Some(("application/json", Type::Object));
}

async fn document(_: Anyone, _: IfNoneMatch, request: HttpRequest) -> Result<Rendered<200, JsonDocument>, Problem> {
    static DOCUMENT: LazyLock<StaticFile> =
        LazyLock::new(|| StaticFile::new("application/json".to_owned(), Bytes::from(openapi::to_json())));
    Ok(Rendered(DOCUMENT.respond(&request, HttpResponse::Ok()).await?, PhantomData))
}

/// Routes the files of the pages, which are no calls of the API.
pub fn route_files(config: &mut web::ServiceConfig) {
    config.service(web::resource("/docs/{file:.*}").get(file));
}

async fn file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let found = find(request.match_info().get("file").unwrap_or_default())?;
    let file = found.ok_or_else(|| Problem::of_status(StatusCode::NOT_FOUND))?;
    let mut response = HttpResponse::Ok();
    unframed(&mut response);
    file.respond(&request, response).await
}

/// Returns a file of the pages. Files are kept once they were asked for: there are a dozen, and unknown names are not kept.
fn find(path: &str) -> Result<Option<Arc<StaticFile>>, Problem> {
    static FILES: LazyLock<Mutex<HashMap<String, Arc<StaticFile>>>> = LazyLock::new(Mutex::default);
    if let Some(file) = FILES.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
        return Ok(Some(Arc::clone(file)));
    }
    // The validator would be another host's.
    let config = Config::from("/api/openapi.json").validator_url("none").use_base_layout();
    let Some(found) = utoipa_swagger_ui::serve(path, Arc::new(config)).map_err(Problem::internal)? else {
        return Ok(None);
    };
    let file = StaticFile::new(found.content_type, Bytes::from(found.bytes.into_owned()));
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Some(Arc::clone(files.entry(path.to_owned()).or_insert_with(|| Arc::new(file)))))
}

/// A file that never changes while the process runs, compressed once for each encoding, when it is first asked for.
struct StaticFile {
    content_type: String,
    digest: String,
    plain: Bytes,
    gzip: OnceCell<Bytes>,
    brotli: OnceCell<Bytes>,
}

impl StaticFile {
    fn new(content_type: String, plain: Bytes) -> Self {
        let digest = Sha256::digest(&plain);
        let digest = URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default());
        Self { content_type, digest, plain, gzip: OnceCell::new(), brotli: OnceCell::new() }
    }

    async fn respond(&self, request: &HttpRequest, mut response: HttpResponseBuilder) -> Result<HttpResponse, Problem> {
        let encoding = self.negotiate(request);
        // One tag for each encoding: a strong tag stands for the bytes.
        let tag = EntityTag::new_strong(format!("{}-{}", self.digest, encoding.as_str()));
        let known = client_has(request, &tag);
        if known {
            response.status(StatusCode::NOT_MODIFIED);
        }
        response
            .insert_header(ETag(tag))
            .insert_header(CacheControl(vec![CacheDirective::NoCache]))
            .insert_header((header::VARY, "Accept-Encoding"));
        if known {
            return Ok(response.finish());
        }
        let body = self.encoded(encoding).await?;
        // Also for `identity`: the compressing middleware leaves a response alone that names its encoding.
        response.insert_header(encoding);
        Ok(response.content_type(self.content_type.as_str()).body(body))
    }

    /// Returns the best encoding that the client accepts and that makes the file smaller.
    fn negotiate(&self, request: &HttpRequest) -> ContentEncoding {
        let is_image = self.content_type.starts_with("image/") && !self.content_type.starts_with("image/svg");
        let accepted = request.get_header::<AcceptEncoding>().filter(|_| self.plain.len() >= COMPRESS_MIN && !is_image);
        let offered = [Encoding::identity(), Encoding::brotli(), Encoding::gzip()];
        match accepted.and_then(|accepted| accepted.negotiate(offered.iter())) {
            Some(Encoding::Known(encoding @ (ContentEncoding::Brotli | ContentEncoding::Gzip))) => encoding,
            _ => ContentEncoding::Identity,
        }
    }

    /// Returns the bytes in an encoding. However many ask for them at first, they are made once, and on no thread that serves.
    async fn encoded(&self, encoding: ContentEncoding) -> Result<Bytes, Problem> {
        let (cell, compress): (_, Compress) = match encoding {
            ContentEncoding::Brotli => (&self.brotli, brotli),
            ContentEncoding::Gzip => (&self.gzip, gzip),
            _ => return Ok(self.plain.clone()),
        };
        let bytes = cell.get_or_try_init(|| async {
            let plain = self.plain.clone();
            let compressed = tokio::task::spawn_blocking(move || compress(&plain)).await;
            compressed.map_err(Problem::internal)?.map(Bytes::from).map_err(Problem::internal)
        });
        Ok(bytes.await?.clone())
    }
}

type Compress = fn(&[u8]) -> std::io::Result<Vec<u8>>;

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()
}

fn brotli(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    const BUFFER: usize = 32 * 1024;
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), BUFFER, BROTLI_QUALITY, BROTLI_WINDOW);
    encoder.write_all(plain)?;
    encoder.flush()?;
    Ok(encoder.into_inner())
}

/// What no other page may show inside itself.
fn unframed(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response
        .insert_header((header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")))
        .insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    async fn encoded(encoding: &'static str) -> (ContentEncoding, Bytes) {
        let file = find("swagger-ui.css").unwrap().unwrap();
        let request = TestRequest::default().insert_header((header::ACCEPT_ENCODING, encoding)).to_http_request();
        let encoding = file.negotiate(&request);
        (encoding, file.encoded(encoding).await.unwrap())
    }

    #[tokio::test]
    async fn a_file_is_compressed_once() {
        for (accepted, expected) in [("gzip", ContentEncoding::Gzip), ("br", ContentEncoding::Brotli)] {
            let ((encoding, first), (_, second)) = futures::join!(encoded(accepted), encoded(accepted));
            assert_eq!(encoding, expected);
            let (_, third) = encoded(accepted).await;
            assert!(first.as_ptr() == second.as_ptr() && first.as_ptr() == third.as_ptr(), "{accepted}");
        }
        assert!(find("../Cargo.toml").unwrap().is_none());
    }
}
