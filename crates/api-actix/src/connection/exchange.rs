//! Following a request through the application until its response is encoded.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

/// The most bytes of a response that are given to actix-http at once. It copies them into its write buffer, which it fills up to
/// 32 KiB and then waits: without slices the buffer would hold a whole response.
const SLICE_MAX: usize = 16 * 1024;

/// What a connection knows about the response to its current request.
#[derive(Default, Debug)]
pub struct Exchange {
    encoded: Cell<bool>,
}

impl Exchange {
    /// A new request is handed out: its response is not encoded.
    pub fn begin(&self) {
        self.encoded.set(false);
    }

    /// Returns whether the whole response is encoded, if not written.
    pub fn is_encoded(&self) -> bool {
        self.encoded.get()
    }
}

/// The body of a response. actix-http drops it once the response is encoded, or when the connection ends; the connection learns
/// that from here.
pub struct FollowedBody {
    body: BoxBody,
    /// What is left of the last part of the body.
    rest: Bytes,
    exchange: Option<Rc<Exchange>>,
}

impl FollowedBody {
    /// Follows a response of the exchange.
    pub fn new(body: BoxBody, exchange: Option<Rc<Exchange>>) -> Self {
        Self { body, rest: Bytes::new(), exchange }
    }

    fn next_slice(&mut self) -> Bytes {
        self.rest.split_to(self.rest.len().min(SLICE_MAX))
    }
}

impl Drop for FollowedBody {
    fn drop(&mut self) {
        if let Some(exchange) = &self.exchange {
            exchange.encoded.set(true);
        }
    }
}

impl MessageBody for FollowedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.next_slice())));
        }
        match this.body.as_pin_mut().poll_next(context) {
            Poll::Ready(Some(Ok(part))) => {
                this.rest = part;
                Poll::Ready(Some(Ok(this.next_slice())))
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_body_is_sliced_and_reports_its_end() {
        let exchange = Rc::new(Exchange::default());
        let whole: Vec<u8> = (0..40_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let mut body = FollowedBody::new(BoxBody::new(whole.clone()), Some(Rc::clone(&exchange)));
        assert_eq!(body.size(), BodySize::Sized(40_000));
        let mut parts = Vec::new();
        while let Some(part) = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
            parts.push(part.unwrap());
        }
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [16_384, 16_384, 7_232]);
        assert_eq!(parts.concat(), whole);
        assert!(!exchange.is_encoded());
        drop(body);
        assert!(exchange.is_encoded());
        exchange.begin();
        assert!(!exchange.is_encoded());
    }
}
