//! The body of an answer on its way: what the peer has not taken of it is known to the [`Pace`] of its connection.

use std::{
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::deadlines::{Pace, Untaken};

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) pace: Pace,
}

impl HttpBody for Answer {
    type Data = Part;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, axum::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        frame.map_ok(|frame| frame.map_data(|bytes| Part::new(bytes, &this.pace)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes that the HTTP library has until they are written, or their stream ends.
#[derive(Debug)]
pub(super) struct Part {
    bytes: Bytes,
    /// `None` of nothing: there is nothing to be taken.
    untaken: Option<Untaken>,
}

impl Part {
    fn new(bytes: Bytes, pace: &Pace) -> Self {
        let untaken = (!bytes.is_empty()).then(|| pace.answer(bytes.len()));
        Self { bytes, untaken }
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(untaken) = &mut self.untaken {
            untaken.taken(count);
        }
    }
}
