//! Connections: one request at a time, in bounded memory, with a deadline for everything that depends on the client.
//!
//! actix-http 3.20 reads ahead as much as its read buffer holds (128 KiB), decodes up to 16 requests of it, and when the buffer is
//! full wakes itself until there is room (`h1/dispatcher.rs`, `read_available`). A client that pipelines requests and reads no
//! response therefore kept a core busy for as long as it stayed, and the responses took all memory: there is no timeout for writing.
//! The codec also keeps one flag for "the request is HEAD", so a pipelined request decides whether the response to the request before
//! it has a body (`h1/codec.rs`).
//!
//! [`Guarded`] stands between the socket and actix-http and hands out exactly one request. The next one follows once the response is
//! written to the socket: [`exchange`] reports when it is encoded, and actix-http flushes only when its write buffer is empty. What a
//! connection can take is bounded:
//!
//! - **Memory**: 40 KiB of input here; in actix-http one head (32 KiB), 160 KiB of a body while one arrives, and 48 KiB of output; and
//!   one response. A client that sends no body and reads nothing costs less than 100 KiB and its response. The system's send buffer
//!   is 128 KiB.
//! - **Time**: 10 s for a head from its first byte (or from the start of the connection), [`KEEP_ALIVE`](crate::settings::SETTINGS)
//!   between requests, 10 s for the rest of a body whose response is written, and 10 s without any progress of the output.
//! - **CPU**: none while it waits. It is woken by the socket or by the deadline.
//!
//! A head that is malformed, too large or late is answered here, with a problem document: actix-http would answer without a body
//! and log an error.

mod exchange;
mod framing;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use actix_http::{Extensions, HttpService, KeepAlive, Request, Response};
use actix_server::Server;
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, apply_fn_factory, fn_service, map_config,
};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::http::header::HttpDate;
use actix_web::web::Data;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::bytes::{Buf as _, BytesMut};
use tokio_util::io::poll_read_buf;

use self::exchange::{Exchange, FollowedBody};
use self::framing::{BodyFraming, FramingError, HEAD_MAX, parse_head};
use crate::http::problem::{Code, Problem};
use crate::wiring::state::AppState;

/// How long a client may take for the head of a request, and for the rest of a body whose response is written.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the output may stand still.
const STALL_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection is kept after its last response to let the client read it.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);
/// How much is read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// How much is read from the socket at once, and read ahead of the current request at most.
const READ_SIZE: usize = 8 * 1024;
/// How much of a body actix-http gets before it has to make something of it.
const HAND_OUT_MAX: usize = 16 * 1024;
/// The system's buffer for output, doubled by Linux. By default it grows to 4 MiB, and a slow client's progress shows only with each
/// third of it: at 128 KiB a client that reads 5 kB/s is seen to read.
const SEND_BUFFER: usize = 64 * 1024;
/// How many connections wait to be accepted.
const BACKLOG: i32 = 1024;

/// How a port is served.
pub struct Serving {
    /// Threads that serve; `None` for as many as the machine has cores.
    pub workers: Option<usize>,
    /// How long a connection stays open without a request.
    pub keep_alive: Duration,
    /// How long requests may take once the server stops.
    pub stop_max_seconds: u64,
    /// Renders problems and counts requests.
    pub state: Data<AppState>,
}

/// Opens a port.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves an application on a port, like `actix_web::HttpServer`, with connections that are [`Guarded`].
pub fn serve<F, I, S>(listener: TcpListener, serving: Serving, application: F) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<BoxBody>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    S::Service: 'static,
    S::Future: 'static,
{
    let Serving { workers, keep_alive, stop_max_seconds, state } = serving;
    let builder = Server::build().disable_signals().shutdown_timeout(stop_max_seconds);
    let builder = workers.into_iter().fold(builder, actix_server::ServerBuilder::workers);
    let stop = builder.graceful_shutdown_signal();
    let builder = builder.listen("http", listener, move || {
        let (stop, state) = (stop.clone(), state.clone());
        let application = map_config(application(), |()| AppConfig::default());
        let followed = apply_fn_factory(application, |request: Request, application: &S::Service| {
            let exchange = request.conn_data::<Rc<Exchange>>().cloned();
            let answering = actix_service::Service::call(application, request);
            async move {
                let response: Response<BoxBody> = match answering.await {
                    Ok(response) => response.into(),
                    Err(error) => error.into(),
                };
                Ok::<_, actix_web::Error>(response.map_body(|_, body| FollowedBody::new(body, exchange)))
            }
        });
        let http = HttpService::<Guarded, _, FollowedBody>::build()
            // As `HttpServer` does it: idle connections end as soon as the server stops, others after their response.
            .graceful_shutdown_signal(move || {
                let stop = stop.clone();
                async move { stop.notified().await }
            })
            // All deadlines of input are here.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER_TIME_MAX)
            .on_connect_ext(|guarded: &Guarded, data: &mut Extensions| {
                data.insert(Rc::clone(&guarded.exchange));
            })
            .h1::<_, FollowedBody>(followed);
        fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            // A response is written in several parts. With Nagle's algorithm the last one would wait for the client's delayed
            // acknowledgement of the one before, for 40 ms.
            let _ = stream.set_nodelay(true);
            let guarded = Guarded::new(stream, peer, keep_alive, state.clone());
            async move { Ok((guarded, peer)) }
        })
        .and_then(http)
    })?;
    Ok(builder.run())
}

/// What a connection waits for.
enum Waiting {
    /// The head of the next request. Parsed again once there are `parse_at` bytes, so that a head that comes byte by byte is not parsed
    /// for each of them.
    Head {
        /// When this began.
        since: Instant,
        /// When the first byte came.
        begun: Option<Instant>,
        parse_at: usize,
        /// How many bytes have no end of a head among them.
        searched: usize,
    },
    /// The rest of a body.
    Body(BodyFraming),
    /// The response: the whole request is handed out.
    Response,
    /// Its own refusal to be written, from this byte on.
    Refusal { text: Vec<u8>, written: usize },
    /// The client to close the connection, until then.
    Close { until: Instant, left: usize },
    /// Nothing more: the input has ended.
    Nothing,
}

/// A connection that hands out one request at a time. See the module's documentation.
pub struct Guarded {
    stream: TcpStream,
    peer: Option<SocketAddr>,
    state: Data<AppState>,
    keep_alive: Duration,
    exchange: Rc<Exchange>,
    waiting: Waiting,
    /// What was read and not handed out.
    input: BytesMut,
    /// How many bytes of it belong to the current request.
    owed: usize,
    /// How much is handed out until actix-http writes or flushes.
    budget: usize,
    /// Whether the client has ended its side.
    at_end: bool,
    /// Whether the socket wakes this task when there is input.
    is_registered: bool,
    is_first: bool,
    /// Since when the output stands still.
    blocked: Option<Instant>,
    /// Since when a response is written whose request is not read to its end.
    unread: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    fn new(stream: TcpStream, peer: Option<SocketAddr>, keep_alive: Duration, state: Data<AppState>) -> Self {
        let waiting = Waiting::Head { since: Instant::now(), begun: None, parse_at: 0, searched: 0 };
        Self {
            stream,
            peer,
            state,
            keep_alive,
            exchange: Rc::default(),
            waiting,
            input: BytesMut::new(),
            owed: 0,
            budget: HAND_OUT_MAX,
            at_end: false,
            is_registered: false,
            is_first: true,
            blocked: None,
            unread: None,
            timer: None,
        }
    }

    /// When what it waits for must have come.
    fn deadline(&self) -> Option<Instant> {
        if let Some(since) = self.blocked {
            return Some(since + STALL_TIME_MAX);
        }
        match &self.waiting {
            Waiting::Head { begun: Some(begun), .. } => Some(*begun + REQUEST_TIME_MAX),
            Waiting::Head { since, .. } if self.is_first => Some(*since + REQUEST_TIME_MAX),
            Waiting::Head { since, .. } => Some(*since + self.keep_alive),
            Waiting::Body(_) => self.unread.map(|since| since + REQUEST_TIME_MAX),
            Waiting::Close { until, .. } => Some(*until),
            Waiting::Response | Waiting::Refusal { .. } | Waiting::Nothing => None,
        }
    }

    /// Returns whether the deadline has passed. If not, this task is woken when it does. The timer is moved only when it fires too early or
    /// would fire too late: most requests cost no change of it.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline() else { return false };
        if Instant::now() >= deadline {
            return true;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            timer.as_mut().reset(deadline);
        }
        false
    }

    /// Reads some input, at most `READ_SIZE` bytes. Returns whether there was any before the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.at_end {
            return Poll::Ready(Ok(false));
        }
        self.input.reserve(READ_SIZE);
        let read = poll_read_buf(Pin::new(&mut self.stream), context, &mut self.input);
        self.is_registered = read.is_pending();
        let read = ready!(read)?;
        self.at_end = read == 0;
        Poll::Ready(Ok(!self.at_end))
    }

    /// Finds out which bytes belong to the current request, and hands some of them out.
    fn poll_request(&mut self, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.owed > 0 {
                return self.hand_out(context, out);
            }
            match self.waiting {
                Waiting::Head { .. } => ready!(self.poll_head(context))?,
                Waiting::Body(_) => ready!(self.poll_body(context))?,
                Waiting::Response => return self.poll_ahead(context),
                Waiting::Refusal { .. } => ready!(self.poll_refusal(context))?,
                Waiting::Close { .. } => ready!(self.poll_linger(context)),
                Waiting::Nothing => return Poll::Ready(Ok(())),
            }
        }
    }

    fn hand_out(&mut self, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.owed.min(out.remaining()).min(self.budget);
        if length == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(bytes) = self.input.get(..length) {
            out.put_slice(bytes);
        }
        self.input.advance(length);
        self.owed = self.owed.saturating_sub(length);
        self.budget = self.budget.saturating_sub(length);
        Poll::Ready(Ok(()))
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Waiting::Head { begun, parse_at, searched, .. } = &mut self.waiting else { return Poll::Ready(Ok(())) };
            if !self.input.is_empty() {
                begun.get_or_insert_with(Instant::now);
                let news = self.input.get(searched.saturating_sub(2)..).unwrap_or_default();
                let may_be_whole = self.input.len() >= *parse_at || has_empty_line(news);
                *searched = self.input.len();
                let parsed = if may_be_whole { parse_head(&self.input) } else { Ok(None) };
                match parsed {
                    Ok(Some(head)) => {
                        self.exchange.begin();
                        (self.is_first, self.unread) = (false, None);
                        self.owed = head.length;
                        self.waiting = match head.body {
                            BodyFraming::Length(0) => Waiting::Response,
                            body => Waiting::Body(body),
                        };
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) if may_be_whole => *parse_at = self.input.len().saturating_mul(2).min(HEAD_MAX),
                    Ok(None) => {}
                    Err(error) => {
                        self.refuse(&problem_of(error));
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            match self.poll_fill(context) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    self.waiting = Waiting::Nothing;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if !self.is_late(context) {
                        return Poll::Pending;
                    }
                    if self.is_first || !self.input.is_empty() {
                        self.refuse(&Problem::new(
                            Code::RequestTimeout,
                            "The head of the request did not arrive in time. Send it again.",
                        ));
                    } else {
                        self.waiting = Waiting::Nothing;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.waiting, Waiting::Body(BodyFraming::Connection)) {
            // Nothing that comes is a request.
            self.waiting = Waiting::Nothing;
            return Poll::Ready(Ok(()));
        }
        if self.input.is_empty() {
            let filled = match self.poll_fill(context) {
                Poll::Pending if !self.is_late(context) => return Poll::Pending,
                Poll::Pending => false,
                Poll::Ready(filled) => filled?,
            };
            if !filled {
                self.waiting = Waiting::Nothing;
                return Poll::Ready(Ok(()));
            }
        }
        let Waiting::Body(framing) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let (owed, is_done) = match framing {
            BodyFraming::Length(left) => {
                let owed = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                *left = left.saturating_sub(u64::try_from(owed).unwrap_or(u64::MAX));
                (owed, *left == 0)
            }
            BodyFraming::Chunked(chunks) => match chunks.advance(&self.input) {
                Ok(owed) => (owed, chunks.is_done()),
                // The end of this body is unknown: the handler gets an incomplete body, and the connection ends.
                Err(_) => {
                    self.waiting = Waiting::Nothing;
                    return Poll::Ready(Ok(()));
                }
            },
            BodyFraming::Connection => (0, true),
        };
        self.owed = owed;
        if is_done {
            self.waiting = Waiting::Response;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a little ahead while a response is made: so it is seen when the client goes away.
    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.input.len() < READ_SIZE {
            if !ready!(self.poll_fill(context))? {
                if !self.input.is_empty() {
                    break;
                }
                self.waiting = Waiting::Nothing;
                return Poll::Ready(Ok(()));
            }
        }
        self.is_registered = false;
        Poll::Pending
    }

    /// Answers what is not a request. Everything before it is answered and written.
    fn refuse(&mut self, problem: &Problem) {
        let request_id = self.state.draw_request_id();
        let (status, body) = (problem.code().status(), problem.body(&request_id));
        let (reason, peer) = (problem.detail(), self.peer.map(tracing::field::display));
        tracing::info!(status = status.as_u16(), reason, peer, request_id, "request.refused");
        self.state.metrics.request_refused(status);
        let date = HttpDate::from(SystemTime::now());
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\nx-content-type-options: nosniff\r\nx-request-id: \
             {request_id}\r\ncontent-length: {}\r\nconnection: close\r\ndate: {date}\r\n\r\n{body}",
            body.len()
        );
        self.input = BytesMut::new();
        self.waiting = Waiting::Refusal { text: text.into_bytes(), written: 0 };
    }

    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Waiting::Refusal { text, written } = &mut self.waiting {
            let rest = text.get(*written..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(more @ 1..)) => {
                    *written += more;
                    self.blocked = None;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.stalled(context).map(Err),
            }
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        self.linger();
        Poll::Ready(Ok(()))
    }

    fn linger(&mut self) {
        self.waiting = Waiting::Close { until: Instant::now() + LINGER_TIME_MAX, left: LINGER_BYTES_MAX };
    }

    /// Throws away what the client still sends until it closes its side. A socket that is closed with unread input resets the
    /// connection, and the client may lose the response.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Waiting::Close { left, .. } = &mut self.waiting {
            *left = left.saturating_sub(self.input.len());
            let is_enough = *left == 0;
            self.input.clear();
            match self.poll_fill(context) {
                Poll::Pending if !self.is_late(context) => return Poll::Pending,
                Poll::Ready(Ok(true)) if !is_enough => {}
                _ => self.waiting = Waiting::Nothing,
            }
        }
        Poll::Ready(())
    }

    /// Returns the output stands still: an error once it has done so for too long.
    fn stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.blocked.get_or_insert_with(Instant::now);
        if !self.is_late(context) {
            return Poll::Pending;
        }
        tracing::info!(peer = self.peer.map(tracing::field::display), "connection.stalled");
        // What was not sent would otherwise stay with the system until it gives up.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))
    }

    /// The response is written: the next request can be handed out.
    fn finish_response(&mut self, context: &mut Context<'_>) {
        let since = Instant::now();
        if matches!(self.waiting, Waiting::Body(_)) || self.owed > 0 {
            self.unread.get_or_insert(since);
        } else if matches!(self.waiting, Waiting::Response) {
            if self.input.is_empty() && self.input.capacity() > READ_SIZE {
                self.input = BytesMut::new();
            }
            self.waiting = Waiting::Head { since, begun: None, parse_at: 0, searched: 0 };
            self.exchange.begin();
            if !self.input.is_empty() || !self.is_registered {
                context.waker().wake_by_ref();
            }
        }
        if self.is_late(context) {
            context.waker().wake_by_ref();
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_refusing = matches!(this.waiting, Waiting::Refusal { .. });
        if this.blocked.is_some() && !is_refusing {
            // No request is read while responses wait.
            return this.stalled(context).map(Err);
        }
        this.poll_request(context, out)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.budget = HAND_OUT_MAX;
        match Pin::new(&mut this.stream).poll_write(context, bytes) {
            Poll::Pending => this.stalled(context).map(Err),
            Poll::Ready(written) => {
                if this.blocked.take().is_some() {
                    // Nothing was read meanwhile, so the socket does not wake this task for input that has arrived.
                    context.waker().wake_by_ref();
                }
                Poll::Ready(written)
            }
        }
    }

    /// Called by actix-http when all its output is written.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.budget = HAND_OUT_MAX;
        if this.exchange.is_encoded() {
            this.finish_response(context);
        }
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !matches!(this.waiting, Waiting::Close { .. } | Waiting::Nothing) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            // Most clients have sent nothing more, and are not waited for.
            match this.input.is_empty().then(|| this.poll_fill(context)) {
                Some(Poll::Pending | Poll::Ready(Ok(false) | Err(_))) => this.waiting = Waiting::Nothing,
                Some(Poll::Ready(Ok(true))) | None => this.linger(),
            }
        } else if matches!(this.waiting, Waiting::Nothing) {
            return Pin::new(&mut this.stream).poll_shutdown(context);
        }
        this.poll_linger(context).map(Ok)
    }
}

/// Returns whether there is the end of an empty line, which ends a head. Line feeds alone end lines too, for `httparse`.
fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|triple| triple == b"\n\r\n")
}

fn problem_of(error: FramingError) -> Problem {
    match error {
        FramingError::Malformed(reason) => {
            Problem::new(Code::MalformedRequest, format!("The request is not valid HTTP: {reason}."))
        }
        FramingError::TooLarge => Problem::new(
            Code::HeadersTooLarge,
            format!("The request line and the headers have more than {HEAD_MAX} bytes, or there are too many headers."),
        ),
    }
}
