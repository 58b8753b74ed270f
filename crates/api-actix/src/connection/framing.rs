//! Where a request ends: its head by `httparse`, its body by `Content-Length` or chunks (RFC 9112, 6 and 7).
//!
//! The rules are those of actix-http's decoder, or stricter: what it would read in another way than this module is refused here. A
//! test compares the two.

use std::str::FromStr as _;

use actix_web::http::{Method, Uri, header};

/// The largest head of a request, with its headers. Proxies use 8 to 32 KiB.
pub const HEAD_MAX: usize = 32 * 1024;
/// The most headers of a request, as in actix-http.
const HEADERS_MAX: usize = 96;
/// The most bytes of chunk extensions and trailers of a body. Both are ignored.
const CHUNK_EXTRA_MAX: usize = 16 * 1024;

/// Why bytes are not a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FramingError {
    /// They are not HTTP/1.1, or where the body ends is ambiguous.
    Malformed(&'static str),
    /// The head has too many bytes or headers.
    TooLarge,
}

/// How a request's body ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    /// After this many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked(Chunks),
    /// With the connection: the request asks for another protocol, which this server does not speak.
    Connection,
}

/// A request's head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// How many bytes it has, empty lines before it included.
    pub length: usize,
    /// How its body ends.
    pub body: BodyFraming,
}

/// Parses the head at the start of `bytes`. Returns `None` if it is not complete yet.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>, FramingError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(FramingError::TooLarge),
        Err(httparse::Error::Version) => {
            return Err(FramingError::Malformed("the version is not HTTP/1.1 or HTTP/1.0"));
        }
        Err(_) => return Err(FramingError::Malformed("the request line or a header is malformed")),
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(FramingError::Malformed("the request line is incomplete"));
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| FramingError::Malformed("the method is invalid"))?;
    Uri::from_str(target).map_err(|_| FramingError::Malformed("the request target is invalid"))?;
    let body = body_framing(&method, version == 1, request.headers)?;
    Ok(Some(Head { length, body }))
}

/// Where the body ends, if all headers agree about it.
fn body_framing(
    method: &Method,
    is_http_1_1: bool,
    headers: &[httparse::Header<'_>],
) -> Result<BodyFraming, FramingError> {
    let only = |name: header::HeaderName, twice| {
        let mut values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name.as_str()));
        let value = values.next().map(|header| header.value);
        if values.next().is_some() { Err(FramingError::Malformed(twice)) } else { Ok(value) }
    };
    let host = only(header::HOST, "there are several Host headers")?;
    if is_http_1_1 && host.is_none() {
        return Err(FramingError::Malformed("the Host header is missing"));
    }
    let length = only(header::CONTENT_LENGTH, "there are several Content-Length headers")?;
    let length = length.map(parse_length).transpose()?;
    let encoding = only(header::TRANSFER_ENCODING, "there are several Transfer-Encoding headers")?;
    if let Some(encoding) = encoding {
        return match (is_http_1_1, length) {
            (false, _) => Err(FramingError::Malformed("Transfer-Encoding needs HTTP/1.1")),
            (true, Some(_)) => Err(FramingError::Malformed("there are both Content-Length and Transfer-Encoding")),
            (true, None) if encoding.trim_ascii().eq_ignore_ascii_case(b"chunked") => {
                Ok(BodyFraming::Chunked(Chunks::new()))
            }
            (true, None) => Err(FramingError::Malformed("the Transfer-Encoding is not chunked")),
        };
    }
    let is_upgrade = |header: &httparse::Header<'_>| {
        header.name.eq_ignore_ascii_case("upgrade") && header.value.trim_ascii().eq_ignore_ascii_case(b"websocket")
    };
    if headers.iter().any(is_upgrade) {
        return Ok(BodyFraming::Connection);
    }
    match length {
        None if !is_http_1_1 && method == Method::POST => {
            Err(FramingError::Malformed("a POST of HTTP/1.0 needs a Content-Length"))
        }
        None | Some(0) if method == Method::CONNECT => Ok(BodyFraming::Connection),
        length => Ok(BodyFraming::Length(length.unwrap_or(0))),
    }
}

fn parse_length(value: &[u8]) -> Result<u64, FramingError> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(FramingError::Malformed("the Content-Length is not a number"))
}

/// What the next byte of a chunked body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Size { digits: u8 },
    AfterSize,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    LastLineFeed,
    End,
}

/// A chunked body, followed byte by byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunks {
    at: At,
    /// How many bytes the chunk still has.
    size: u64,
    /// How many bytes of extensions and trailers there were.
    extra: usize,
}

impl Chunks {
    fn new() -> Self {
        Self { at: At::Size { digits: 0 }, size: 0, extra: 0 }
    }

    /// Returns whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.at == At::End
    }

    /// Follows the body through `bytes`. Returns how many of them belong to it: fewer than all only if it ends among them.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, FramingError> {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used).filter(|_| !self.is_done()) {
            if self.at == At::Data {
                let left = bytes.len().saturating_sub(used);
                let data = usize::try_from(self.size).map_or(left, |size| size.min(left));
                used += data;
                self.size = self.size.saturating_sub(u64::try_from(data).unwrap_or(u64::MAX));
                if self.size == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            self.at = self.step(byte)?;
            used += 1;
        }
        Ok(used)
    }

    fn step(&mut self, byte: u8) -> Result<At, FramingError> {
        const MALFORMED: FramingError = FramingError::Malformed("a chunk of the body is malformed");
        if matches!(self.at, At::AfterSize | At::Extension | At::TrailerStart | At::Trailer) {
            self.extra += 1;
            if self.extra > CHUNK_EXTRA_MAX {
                return Err(FramingError::TooLarge);
            }
        }
        match (self.at, byte) {
            (At::Size { digits }, byte) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.size = if digits == 0 { 0 } else { self.size << 4 } | u64::from(digit);
                Ok(At::Size { digits: digits + 1 })
            }
            (At::Size { digits: 1.. } | At::AfterSize, b' ' | b'\t') => Ok(At::AfterSize),
            (At::Size { digits: 1.. } | At::AfterSize, b';') => Ok(At::Extension),
            (At::Size { digits: 1.. } | At::AfterSize | At::Extension, b'\r') => Ok(At::SizeLineFeed),
            (At::Extension, b'\t' | 0x20..=0x7e | 0x80..) => Ok(At::Extension),
            (At::SizeLineFeed, b'\n') if self.size == 0 => Ok(At::TrailerStart),
            (At::SizeLineFeed, b'\n') => Ok(At::Data),
            (At::DataReturn, b'\r') => Ok(At::DataLineFeed),
            (At::DataLineFeed, b'\n') => Ok(At::Size { digits: 0 }),
            (At::TrailerStart, b'\r') => Ok(At::LastLineFeed),
            (At::Trailer, b'\r') => Ok(At::TrailerLineFeed),
            (At::TrailerStart | At::Trailer, b'\t' | 0x20..=0x7e | 0x80..) => Ok(At::Trailer),
            (At::TrailerLineFeed, b'\n') => Ok(At::TrailerStart),
            (At::LastLineFeed, b'\n') => Ok(At::End),
            _ => Err(MALFORMED),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_http::h1::{Codec, Message};
    use proptest::prelude::*;
    use tokio_util::bytes::BytesMut;
    use tokio_util::codec::Decoder as _;

    use super::*;

    /// What either reader makes of the bytes at their start.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Reading {
        /// A whole request, of this many bytes.
        Whole(usize),
        /// More bytes are needed.
        Partial,
        /// A request that takes the rest of the connection.
        ToTheEnd,
        Refused,
    }

    /// By this module, handed the bytes in pieces of `piece`.
    fn ours(bytes: &[u8], piece: usize) -> Reading {
        let mut known = 0;
        let head = loop {
            known = bytes.len().min(known + piece);
            match parse_head(&bytes[..known]) {
                Ok(Some(head)) => break head,
                Ok(None) if known == bytes.len() => return Reading::Partial,
                Ok(None) => {}
                Err(_) => return Reading::Refused,
            }
        };
        match head.body {
            BodyFraming::Connection => Reading::ToTheEnd,
            BodyFraming::Length(length) => {
                let end = head.length + usize::try_from(length).unwrap();
                if end <= bytes.len() { Reading::Whole(end) } else { Reading::Partial }
            }
            BodyFraming::Chunked(mut chunks) => {
                let mut used = head.length;
                while !chunks.is_done() && used < bytes.len() {
                    match chunks.advance(&bytes[used..bytes.len().min(used + piece)]) {
                        Ok(more) => used += more,
                        Err(_) => return Reading::Refused,
                    }
                }
                if chunks.is_done() { Reading::Whole(used) } else { Reading::Partial }
            }
        }
    }

    /// By actix-http.
    fn theirs(bytes: &[u8]) -> Reading {
        // The codec starts a task that keeps the date. It is never polled.
        let tasks = tokio::task::LocalSet::new();
        let _entered = tasks.enter();
        let mut codec = Codec::default();
        let mut rest = BytesMut::from(bytes);
        match codec.decode(&mut rest) {
            Ok(Some(Message::Item(_))) => {}
            Ok(_) => return Reading::Partial,
            Err(_) => return Reading::Refused,
        }
        match codec.message_type() {
            actix_http::h1::MessageType::None => return Reading::Whole(bytes.len() - rest.len()),
            actix_http::h1::MessageType::Stream => return Reading::ToTheEnd,
            actix_http::h1::MessageType::Payload => {}
        }
        loop {
            match codec.decode(&mut rest) {
                Ok(Some(Message::Chunk(Some(_)))) => {}
                Ok(Some(_)) => return Reading::Whole(bytes.len() - rest.len()),
                Ok(None) => return Reading::Partial,
                Err(_) => return Reading::Refused,
            }
        }
    }

    /// Both read the same request, or this module refuses it.
    #[track_caller]
    fn check(bytes: &[u8]) -> Reading {
        let (whole, theirs) = (ours(bytes, bytes.len().max(1)), theirs(bytes));
        for piece in [1, 2, 7, 64] {
            assert_eq!(ours(bytes, piece), whole, "{piece}: {:?}", String::from_utf8_lossy(bytes));
        }
        assert!(
            whole == theirs || whole == Reading::Refused,
            "{whole:?}, {theirs:?}: {:?}",
            String::from_utf8_lossy(bytes)
        );
        whole
    }

    fn request(start: &str, headers: &[&str], body: &str) -> Vec<u8> {
        format!("{start}\r\n{}\r\n\r\n{body}", headers.join("\r\n")).into_bytes()
    }

    #[test]
    fn requests_end_where_their_framing_says() {
        let cases = [
            (request("GET / HTTP/1.1", &["Host: x"], ""), 0),
            (request("HEAD / HTTP/1.1", &["Host: x"], "GET"), 3),
            (request("\r\n\r\nGET / HTTP/1.1", &["Host: x"], "G"), 1),
            (request("GET / HTTP/1.0", &["A: b"], "GET"), 3),
            (request("POST / HTTP/1.1", &["Host: x"], "GET"), 3),
            (request("POST / HTTP/1.1", &["Host: x", "Content-Length: 0"], "GET"), 3),
            (request("POST / HTTP/1.1", &["Host: x", "content-length:  003 "], "abcGET"), 3),
            (request("POST / HTTP/1.0", &["Content-Length: 3"], "abcGET"), 3),
            (request("GET / HTTP/1.1", &["Host: x", "Content-Length: 3"], "abcGET"), 3),
            (request("POST / HTTP/1.1", &["Host: x", "Expect: 100-continue", "Content-Length: 3"], "abc"), 0),
            (request("POST / HTTP/1.1", &["Host: x", "Transfer-Encoding: chunked"], "0\r\n\r\nGET"), 3),
            (
                request(
                    "POST / HTTP/1.1",
                    &["Host: x", "Transfer-Encoding: Chunked"],
                    "3\r\nabc\r\n00a \t;x=\"y\r\n0123456789\r\n0;z\r\nA: b\r\nC: d\r\n\r\nGET",
                ),
                3,
            ),
            (request("GET http://y/z HTTP/1.1", &["Host: x"], ""), 0),
            (request("OPTIONS * HTTP/1.1", &["Host:"], ""), 0),
        ];
        for (bytes, rest) in cases {
            assert_eq!(check(&bytes), Reading::Whole(bytes.len() - rest), "{}", String::from_utf8_lossy(&bytes));
            // No part of a request is a whole one.
            for end in 0..bytes.len() - rest {
                assert_eq!(check(&bytes[..end]), Reading::Partial, "{end}: {}", String::from_utf8_lossy(&bytes));
            }
        }
    }

    #[test]
    fn other_protocols_take_the_connection() {
        for bytes in [
            request("GET / HTTP/1.1", &["Host: x", "Upgrade: websocket", "Connection: upgrade"], "GET"),
            request("POST / HTTP/1.1", &["Host: x", "Content-Length: 2", "Upgrade: WebSocket"], "ab"),
            request("CONNECT x:1 HTTP/1.1", &["Host: x"], ""),
            request("CONNECT x:1 HTTP/1.1", &["Host: x", "Content-Length: 0"], ""),
        ] {
            assert_eq!(check(&bytes), Reading::ToTheEnd, "{}", String::from_utf8_lossy(&bytes));
        }
        let ordinary = request("GET / HTTP/1.1", &["Host: x", "Upgrade: h2c", "Connection: upgrade"], "");
        assert_eq!(check(&ordinary), Reading::Whole(ordinary.len()));
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        let post = |headers: &[&str], body: &str| request("POST / HTTP/1.1", &[&["Host: x"], headers].concat(), body);
        let chunked = |body: &str| post(&["Transfer-Encoding: chunked"], body);
        for bytes in [
            request("NONSENSE", &[], ""),
            request("GET / HTTP/2.0", &["Host: x"], ""),
            request("GET / HTTP/1.1", &["A: b"], ""),
            request("GET / HTTP/1.1", &["Host: x", "Host: x"], ""),
            request("GET / HTTP/1.1", &["Host: x", "no header"], ""),
            request("GET / HTTP/1.1", &["Host: x", "A : b"], ""),
            request("GET / HTTP/1.1", &["Host: x", "A: b", " folded"], ""),
            request("GET a b HTTP/1.1", &["Host: x"], ""),
            request("GET /\u{1} HTTP/1.1", &["Host: x"], ""),
            request("POST / HTTP/1.0", &["A: b"], ""),
            request("POST / HTTP/1.0", &["Transfer-Encoding: chunked"], "0\r\n\r\n"),
            post(&["Content-Length: 2", "Content-Length: 2"], "ab"),
            post(&["Content-Length: 2, 2"], "ab"),
            post(&["Content-Length: +2"], "ab"),
            post(&["Content-Length: -2"], "ab"),
            post(&["Content-Length: 0x2"], "ab"),
            post(&["Content-Length:"], ""),
            post(&["Content-Length: 18446744073709551616"], ""),
            post(&["Content-Length: 2", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
            post(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
            post(&["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n"),
            post(&["Transfer-Encoding: identity"], ""),
            post(&["Transfer-Encoding: xchunked"], "0\r\n\r\n"),
            chunked("\r\n"),
            chunked("x\r\n"),
            chunked(";x\r\n"),
            chunked("-1\r\n"),
            chunked("1\nab\r\n"),
            chunked("1 1\r\na\r\n"),
            chunked("1\r\nab\r\n"),
            chunked("1;\u{0}\r\na\r\n"),
            chunked("10000000000000000\r\n"),
            chunked("0\r\nA: b\nC: d\r\n\r\n"),
            chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(CHUNK_EXTRA_MAX))),
            chunked(&format!("0\r\nA: {}\r\n\r\n", "x".repeat(CHUNK_EXTRA_MAX))),
        ] {
            assert_eq!(check(&bytes), Reading::Refused, "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn heads_are_bounded() {
        let with = |headers: &[&str]| request("GET / HTTP/1.1", &[&["Host: x"], headers].concat(), "");
        let long = format!("A: {}", "x".repeat(HEAD_MAX));
        assert_eq!(parse_head(&with(&[&long])), Err(FramingError::TooLarge));
        assert_eq!(parse_head(&vec![b'G'; HEAD_MAX]), Err(FramingError::TooLarge));
        assert_eq!(parse_head(&with(&["A: b"; HEADERS_MAX])), Err(FramingError::TooLarge));
        assert!(parse_head(&with(&["A: b"; HEADERS_MAX - 1])).is_ok_and(|head| head.is_some()));
    }

    fn fragment() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "GET",
            "HEAD",
            "POST",
            "CONNECT",
            " ",
            "/",
            "*",
            "http://x/",
            " HTTP/1.1\r\n",
            " HTTP/1.0\r\n",
            "Host: x\r\n",
            "Content-Length: 3\r\n",
            "Content-Length: 0\r\n",
            "content-length:7\n",
            "Transfer-Encoding: chunked\r\n",
            "transfer-encoding:\tCHUNKED \r\n",
            "Transfer-Encoding: identity\r\n",
            "Upgrade: websocket\r\n",
            "Connection: upgrade\r\n",
            "Expect: 100-continue\r\n",
            "X: y\r\n",
            "X:\r\n",
            "\r\n",
            "\n",
            "\r",
            "abc",
            "0",
            "3",
            "a",
            "F",
            ";x=y",
            "\t",
            "\u{0}",
            "\u{7f}",
            "é",
            "\r\n\r\n",
            "3\r\nabc\r\n",
            "0\r\n\r\n",
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Whatever arrives: this module never sees another end of a request than actix-http.
        #[test]
        fn framing_agrees_with_actix(pieces in prop::collection::vec(fragment(), 0..24), raw in prop::collection::vec(any::<u8>(), 0..8)) {
            check(&pieces.concat().into_bytes());
            check(&[pieces.concat().as_bytes(), &raw].concat());
        }

        #[test]
        fn framing_of_requests_agrees_with_actix(
            start in prop::sample::select(vec!["GET / HTTP/1.1\r\n", "POST /a HTTP/1.1\r\n", "POST / HTTP/1.0\r\n", "HEAD / HTTP/1.0\r\n"]),
            headers in prop::collection::vec(fragment(), 0..4),
            framing in prop::sample::select(vec!["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"]),
            body in prop::collection::vec(fragment(), 0..12),
        ) {
            check(format!("{start}Host: x\r\n{}{framing}\r\n{}", headers.concat(), body.concat()).as_bytes());
        }
    }
}
