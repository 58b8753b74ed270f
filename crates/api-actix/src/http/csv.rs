//! Files of comma-separated values (RFC 4180) that are sent part by part.

use std::io;

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use csv::{Terminator, WriterBuilder};
use futures::Stream;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::call::Operation;
use super::problem::Problem;
use super::reply::Reply;

/// 200 with a file of comma-separated values that no one may keep. If a part fails, the connection is cut: the body has no end.
pub struct CsvFile<Parts> {
    pub name: String,
    pub parts: Parts,
}

impl<Parts> Reply for CsvFile<Parts>
where
    Parts: Stream<Item = Result<Bytes, io::Error>> + 'static,
{
    fn describe(operation: &mut Operation) {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let disposition = HeaderBuilder::new().schema(Some(text())).description(Some("`attachment`, with a file name"));
        let response = ResponseBuilder::new()
            .description(operation.success())
            .content("text/csv", ContentBuilder::new().schema(Some(text())).build())
            .header("Content-Disposition", disposition.build());
        operation.responses.push((200, response.build()));
    }

    fn render(self, _: &HttpRequest) -> Result<HttpResponse, Problem> {
        let mut response = HttpResponse::Ok();
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        response.insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", self.name)));
        Ok(response.content_type("text/csv; charset=utf-8; header=present").streaming(self.parts))
    }
}

/// Returns records, each with its line break.
pub fn records<const N: usize>(records: impl IntoIterator<Item = [impl AsRef<[u8]>; N]>) -> Result<String, csv::Error> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    for record in records {
        writer.write_record(record)?;
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    String::from_utf8(bytes).map_err(|error| io::Error::other(error).into())
}

/// Returns a text as a cell that no spreadsheet takes for a formula: an apostrophe precedes the characters that begin one (OWASP, "CSV
/// Injection"). Full-width forms count as well: some spreadsheets treat them the same.
///
/// For example, `=1+1` becomes `'=1+1`.
pub fn cell(text: String) -> String {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => format!("'{text}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_with_special_characters_are_quoted() {
        assert_eq!(records([["a", "b"]]).unwrap(), "a,b\r\n");
        assert_eq!(
            records([["a,b", "say \"hi\"", "x\r\ny", ""]]).unwrap(),
            "\"a,b\",\"say \"\"hi\"\"\",\"x\r\ny\",\r\n"
        );
    }

    #[test]
    fn cells_that_look_like_formulas_begin_with_an_apostrophe() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            assert_eq!(cell(formula.to_owned()), format!("'{formula}"));
        }
        for text in ["", "Ana", "a=b", "'=1", "5-1", " x"] {
            assert_eq!(cell(text.to_owned()), text);
        }
    }

    proptest! {
        #[test]
        fn every_record_is_read_as_it_was_written(a in any::<String>(), b in any::<String>()) {
            let text = records([[&a, &b]]).unwrap();
            prop_assert!(text.ends_with("\r\n"));
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
            let records: Vec<_> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!(records.len(), 1);
            prop_assert_eq!(records[0].iter().collect::<Vec<_>>(), [a.as_str(), b.as_str()]);
        }
    }
}
