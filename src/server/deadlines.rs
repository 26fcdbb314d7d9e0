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
    sync::Notify,
    time::Instant,
};

use super::framing::Framing;

/// Bytes of answers that may lie here until the peer takes them, for one connection: with more, no further request of it is
/// worked on.
const UNTAKEN: usize = 256 * 1_024;
/// A connection on which others move may leave one answer alone so many times longer: HTTP/2 serves its streams in turn.
const IN_TURN: u32 = 4;

/// The times of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For a head, from its first byte; the first one from the connection on.
    pub(super) header: Duration,
    /// Between an answer and the next request.
    pub(super) idle: Duration,
    /// For a peer to take any of what it is sent, or of an answer that it does not have sent.
    pub(super) write: Duration,
}

impl Times {
    fn least(&self) -> Duration {
        self.header.min(self.idle).min(self.write)
    }
}

/// What one connection is at.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when the peer has taken so much that there is room again.
    room: Notify,
}

#[derive(Clone, Debug)]
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
    /// Answers that are not wholly taken: each with its number, and when it moved last.
    untaken: Vec<(u64, Instant)>,
    /// Their bytes.
    bytes: usize,
    /// When one of them moved last.
    moved: Instant,
    /// How many there have been.
    answers: u64,
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            under_way: 0,
            answered: false,
            since: now,
            head: None,
            stalled: None,
            untaken: Vec::new(),
            bytes: 0,
            moved: now,
            answers: 0,
        }
    }

    /// When the peer has left an answer alone for too long. A stream of HTTP/2 without a window does not stall the
    /// connection: its bytes stay with us, and nothing is there to be written.
    fn left_alone(&self, times: &Times) -> Option<Instant> {
        let oldest = self.untaken.iter().map(|(_, moved)| *moved).min()?;
        let if_nothing_moves = oldest.max(self.moved) + times.write;
        Some(if_nothing_moves.min(oldest + times.write * IN_TURN))
    }

    fn deadline(&self, times: &Times) -> Option<Instant> {
        let write = self.stalled.map(|since| since + times.write);
        let write = write.into_iter().chain(self.left_alone(times)).min();
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
        Self(Arc::new(Shared {
            state: Mutex::new(State::new(Instant::now())),
            room: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when so little lies here that another request may be worked on.
    pub(super) async fn room(&self) {
        loop {
            // Listening first: what is taken meanwhile is not missed.
            let room = self.0.room.notified();
            let mut room = std::pin::pin!(room);
            room.as_mut().enable();
            if self.state().bytes < UNTAKEN {
                return;
            }
            room.await;
        }
    }

    /// So many bytes of an answer are handed over to be sent.
    pub(super) fn answer(&self, bytes: usize) -> Untaken {
        let now = Instant::now();
        let mut state = self.state();
        let number = state.answers;
        state.answers += 1;
        state.bytes += bytes;
        state.untaken.push((number, now));
        drop(state);
        Untaken {
            pace: self.clone(),
            number,
            bytes,
        }
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

/// What is left of an answer; dropped when nothing is, or nobody wants it any more.
#[derive(Debug)]
pub(super) struct Untaken {
    pace: Pace,
    number: u64,
    bytes: usize,
}

impl Untaken {
    /// The peer has taken so much more of it.
    pub(super) fn taken(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let now = Instant::now();
        let mut state = self.pace.state();
        state.moved = now;
        let mut known = state.untaken.iter_mut();
        if let Some((_, moved)) = known.find(|(number, _)| *number == self.number) {
            *moved = now;
        }
        let had_room = state.bytes < UNTAKEN;
        state.bytes -= bytes;
        let makes_room = !had_room && state.bytes < UNTAKEN;
        drop(state);
        if makes_room {
            self.pace.0.room.notify_waiters();
        }
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.taken(self.bytes);
        let mut state = self.pace.state();
        state.untaken.retain(|(number, _)| *number != self.number);
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
        let new = State::new(start);
        let idle = State {
            answered: true,
            since: at(5),
            ..new.clone()
        };
        let answering = State {
            under_way: 1,
            ..idle.clone()
        };
        let table = [
            ("nothing came", new.clone(), Some(at(10))),
            (
                "the first head drips",
                State {
                    head: Some(at(9)),
                    ..new
                },
                Some(at(10)),
            ),
            ("idle", idle.clone(), Some(at(35))),
            (
                "the next head drips",
                State {
                    head: Some(at(20)),
                    ..idle.clone()
                },
                Some(at(30)),
            ),
            (
                "a head that came early",
                State {
                    head: Some(at(1)),
                    ..idle.clone()
                },
                Some(at(15)),
            ),
            (
                "a request is answered",
                State {
                    under_way: 1,
                    ..idle.clone()
                },
                None,
            ),
            (
                "an answer is not taken",
                State {
                    under_way: 1,
                    stalled: Some(at(6)),
                    ..idle.clone()
                },
                Some(at(26)),
            ),
            (
                "a stream has no window",
                State {
                    untaken: vec![(0, at(6))],
                    ..answering.clone()
                },
                Some(at(26)),
            ),
            (
                "one has none and another moves",
                State {
                    untaken: vec![(0, at(6)), (1, at(30))],
                    moved: at(30),
                    ..answering.clone()
                },
                Some(at(50)),
            ),
            (
                "one has none, and another goes on and on",
                State {
                    untaken: vec![(0, at(6)), (1, at(80))],
                    moved: at(80),
                    ..answering
                },
                Some(at(86)),
            ),
            (
                "what is not taken counts between requests, too",
                State {
                    untaken: vec![(0, at(6))],
                    ..idle
                },
                Some(at(26)),
            ),
        ];
        for (case, state, expected) in table {
            assert_eq!(state.deadline(&times), expected, "{case}");
        }
    }

    #[tokio::test]
    async fn with_much_that_is_not_taken_no_other_request_is_worked_on() {
        let pace = Pace::new();
        let mut first = pace.answer(UNTAKEN - 1);
        pace.room().await;
        let second = pace.answer(1_000);
        let waiting = std::pin::pin!(pace.room());
        let mut waiting = waiting;
        assert!(futures_util::poll!(&mut waiting).is_pending());
        first.taken(500);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        first.taken(500);
        waiting.await;
        drop((first, second));
        let state = pace.state().clone();
        assert_eq!((state.bytes, state.untaken.len()), (0, 0));
    }
}
