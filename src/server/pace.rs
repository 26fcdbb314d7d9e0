//! How long one connection may take: its deadlines, and the stream that notes what they are about.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::framing::Framing;

/// The times of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For a head, from its first byte; the first one from the connection on.
    pub(super) header: Duration,
    /// Between an answer and the next request.
    pub(super) idle: Duration,
    /// For a peer to take any of what it is sent.
    pub(super) write: Duration,
}

impl Times {
    fn least(&self) -> Duration {
        self.header.min(self.idle).min(self.write)
    }
}

/// What one connection is at.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    /// Requests that are being answered.
    under_way: u32,
    /// Has there been a request?
    answered: bool,
    /// Since when nothing is under way.
    since: Instant,
    /// When the head began that is not complete.
    head: Option<Instant>,
    /// Since when the peer takes nothing.
    stalled: Option<Instant>,
}

impl State {
    fn deadline(&self, times: &Times) -> Option<Instant> {
        let write = self.stalled.map(|since| since + times.write);
        let read = (self.under_way == 0).then(|| match self.head {
            _ if !self.answered => self.since + times.header,
            // A head may come while the request before it is answered.
            Some(begun) => begun.max(self.since) + times.header,
            None => self.since + times.idle,
        });
        write.into_iter().chain(read).min()
    }
}

impl Pace {
    /// A connection that begins now.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            under_way: 0,
            answered: false,
            since: Instant::now(),
            head: None,
            stalled: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is under way for as long as what is returned lives.
    pub(super) fn request(&self) -> UnderWay {
        self.state().under_way += 1;
        UnderWay(self.clone())
    }

    /// Ready when the connection has taken too long.
    pub(super) async fn over(&self, times: &Times) {
        loop {
            let now = Instant::now();
            let deadline = self.state().deadline(times);
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            // What begins after now has a deadline after this: none is missed, and no request sets a timer.
            let look = now + times.least();
            tokio::time::sleep_until(deadline.map_or(look, |deadline| deadline.min(look))).await;
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct UnderWay(Pace);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        state.answered = true;
        state.since = Instant::now();
    }
}

/// No request can be read from these bytes, wherever in a head they stand: the HTTP library answers 400 and closes.
const UNREADABLE: &[u8] = b"\0\r\n\r\n";

/// A stream that notes heads and stalls in its [`Pace`], and ends in unreadable bytes where [`Framing`] refuses.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    pace: Pace,
    framing: Framing,
    is_in_head: bool,
    is_stalled: bool,
    /// Set when the stream is refused: what is left of [`UNREADABLE`].
    refused: Option<&'static [u8]>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, pace: Pace) -> Self {
        Self {
            stream,
            pace,
            framing: Framing::new(),
            is_in_head: false,
            is_stalled: false,
            refused: None,
        }
    }

    fn refuse(left: &mut &'static [u8], buffer: &mut ReadBuf<'_>) {
        let (now, later) = left.split_at(left.len().min(buffer.remaining()));
        buffer.put_slice(now);
        *left = later;
    }

    fn note_head(&mut self) {
        let is_in_head = self.framing.is_in_head();
        if is_in_head != self.is_in_head {
            self.is_in_head = is_in_head;
            self.pace.state().head = is_in_head.then(Instant::now);
        }
    }

    fn note_write<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let is_stalled = written.is_pending();
        if is_stalled != self.is_stalled {
            self.is_stalled = is_stalled;
            self.pace.state().stalled = is_stalled.then(Instant::now);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.refused {
            // Neither more bytes nor an end: a request before this one may still be answered.
            Some([]) => return Poll::Pending,
            Some(left) => {
                Self::refuse(left, buffer);
                return Poll::Ready(Ok(()));
            }
            None => {}
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let new = &buffer.filled()[before..];
        let (came, passed) = (new.len(), this.framing.pass(new));
        this.note_head();
        if passed < came {
            buffer.set_filled(before + passed);
            Self::refuse(this.refused.insert(UNREADABLE), buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.note_write(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, bytes);
        this.note_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.note_write(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.note_write(shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_deadline() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let times = Times {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            write: Duration::from_secs(20),
        };
        let new = State {
            under_way: 0,
            answered: false,
            since: start,
            head: None,
            stalled: None,
        };
        let idle = State {
            answered: true,
            since: at(5),
            ..new
        };
        let table = [
            ("nothing came", new, Some(at(10))),
            (
                "the first head drips",
                State {
                    head: Some(at(9)),
                    ..new
                },
                Some(at(10)),
            ),
            ("idle", idle, Some(at(35))),
            (
                "the next head drips",
                State {
                    head: Some(at(20)),
                    ..idle
                },
                Some(at(30)),
            ),
            (
                "a head that came early",
                State {
                    head: Some(at(1)),
                    ..idle
                },
                Some(at(15)),
            ),
            (
                "a request is answered",
                State {
                    under_way: 1,
                    ..idle
                },
                None,
            ),
            (
                "an answer is not taken",
                State {
                    under_way: 1,
                    stalled: Some(at(6)),
                    ..idle
                },
                Some(at(26)),
            ),
        ];
        for (case, state, expected) in table {
            assert_eq!(state.deadline(&times), expected, "{case}");
        }
    }
}
