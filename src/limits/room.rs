//! How much room is left in a table that strangers fill.

use std::sync::{Mutex, PoisonError};

use crate::time::UnixTime;

/// How often a table is counted in the database, at most, in seconds.
const COUNTED_EVERY: i64 = 5;

/// What is in a table, in rows or bytes: counted in the database once in a while, and from then on by what this process adds.
#[derive(Debug, Default)]
pub struct Room {
    /// When it was counted, and how much there was, with what was added since.
    counted: Mutex<Option<(UnixTime, i64)>>,
}

impl Room {
    /// Takes so much of `most`, if it is there. `None`: whoever asks has to have it [counted](Self::counted) first.
    ///
    /// One at a time is sent to count, and the others go by the last counting meanwhile: to count many takes long, and all of
    /// them at once would do nothing else. So what other processes add counts after five to ten seconds.
    pub fn begin(&self, much: i64, most: i64, now: UnixTime) -> Option<bool> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, sum) = counted.as_mut()?;
        // Also where the clock was set back.
        if !(0..COUNTED_EVERY).contains(&(now - *at)) {
            *at = now;
            return None;
        }
        let after = sum.saturating_add(much);
        let may = after <= most;
        if may {
            *sum = after;
        }
        Some(may)
    }

    /// So much there is, says the database.
    pub fn counted(&self, sum: i64, now: UnixTime) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        *counted = Some((now, sum));
    }

    /// Takes so much of `most`, if it is there. `count` asks the database, where it is time to.
    ///
    /// # Errors
    ///
    /// When counting fails.
    pub async fn take<E>(
        &self,
        much: i64,
        most: i64,
        now: UnixTime,
        count: impl Future<Output = Result<i64, E>>,
    ) -> Result<bool, E> {
        if let Some(may) = self.begin(much, most, now) {
            return Ok(may);
        }
        self.counted(count.await?, now);
        Ok(self.begin(much, most, now).unwrap_or(true))
    }

    /// How much there is, as far as this process knows.
    pub fn known(&self) -> Option<i64> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.map(|(_, sum)| sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_counts_what_is_in_a_table() {
        let room = Room::default();
        let begin = |now| room.begin(1, 10_000, UnixTime(now));
        assert_eq!(begin(0), None);
        room.counted(9_999, UnixTime(0));
        assert_eq!(begin(0), Some(true));
        assert_eq!(begin(4), Some(false));
        assert_eq!(begin(5), None, "it is time to count");
        assert_eq!(begin(5), Some(false), "another caller counts");
        room.counted(0, UnixTime(5));
        assert_eq!(begin(5), Some(true));
        assert_eq!(begin(10), None);
        assert_eq!(begin(15), None, "the caller that counted has left");
        room.counted(0, UnixTime(15));
        assert_eq!(begin(1), None, "the clock was set back");
        assert_eq!(room.begin(10_001, 10_000, UnixTime(1)), Some(false));
        assert_eq!((room.known(), begin(1)), (Some(0), Some(true)));
    }

    #[tokio::test]
    async fn nothing_is_counted_while_the_last_count_serves() {
        let room = Room::default();
        let take = |now, count: Result<i64, &'static str>| {
            room.take(2, 5, UnixTime(now), async move { count })
        };
        assert_eq!(take(0, Err("away")).await, Err("away"));
        assert_eq!(take(0, Ok(1)).await, Ok(true));
        assert_eq!(take(1, Err("not asked")).await, Ok(true));
        assert_eq!(take(1, Err("not asked")).await, Ok(false));
        assert_eq!(take(6, Ok(4)).await, Ok(false));
        assert_eq!(take(20, Ok(3)).await, Ok(true));
    }
}
