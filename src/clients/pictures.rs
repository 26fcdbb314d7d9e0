//! Logos that are shown, in memory: one copy of each, whoever asks for it and however slowly it is taken.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Clients;
use crate::store::StoreError;

/// Bytes of logos that are kept at hand.
const AT_HAND: u64 = 8 * 1_024 * 1_024;
/// KiB of logos that are in memory, with those that are not at hand any more but not yet taken by those who asked.
const IN_MEMORY: usize = 16 * 1_024;

/// A logo to be sent.
#[derive(Clone, Debug)]
pub enum Picture {
    Png(Bytes),
    /// There is none of this hash.
    Unknown,
    /// Too many others are on their way.
    NoRoom,
}

pub(super) struct Pictures {
    at_hand: Cache<String, Bytes>,
    room: Arc<Semaphore>,
    /// Held while one is read from the database.
    reading: tokio::sync::Mutex<()>,
}

impl Pictures {
    pub(super) fn new() -> Self {
        let weight = |_: &String, png: &Bytes| u32::try_from(png.len()).unwrap_or(u32::MAX);
        Self {
            at_hand: Cache::builder()
                .max_capacity(AT_HAND)
                .weigher(weight)
                .build(),
            room: Arc::new(Semaphore::new(IN_MEMORY)),
            reading: tokio::sync::Mutex::new(()),
        }
    }

    /// The bytes, as one copy that gives its room back when it is dropped.
    fn keep(&self, hash: &str, png: Vec<u8>) -> Picture {
        let kib = u32::try_from(png.len().div_ceil(1_024)).unwrap_or(u32::MAX);
        let room = || Arc::clone(&self.room).try_acquire_many_owned(kib).ok();
        let room = room().or_else(|| {
            // What is not at hand any more may still be there.
            self.at_hand.run_pending_tasks();
            room()
        });
        let Some(room) = room else {
            return Picture::NoRoom;
        };
        let png = Bytes::from_owner(Held { png, _room: room });
        self.at_hand.insert(hash.to_owned(), png.clone());
        Picture::Png(png)
    }
}

struct Held {
    png: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.png
    }
}

impl Clients {
    /// The logo of a hash.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn picture(&self, hash: &str) -> Result<Picture, StoreError> {
        let pictures = &self.0.pictures;
        if let Some(png) = pictures.at_hand.get(hash) {
            return Ok(Picture::Png(png));
        }
        // One at a time: it takes memory, and the next one may want the same.
        let _alone = pictures.reading.lock().await;
        if let Some(png) = pictures.at_hand.get(hash) {
            return Ok(Picture::Png(png));
        }
        let text = self.0.store.logo(hash).await?;
        let png = text.and_then(|text| BASE64_STANDARD.decode(text).ok());
        Ok(png.map_or(Picture::Unknown, |png| pictures.keep(hash, png)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn y_05_logos_that_are_not_taken_have_so_much_memory_and_no_more() {
        let pictures = Pictures::new();
        let large = |n: u8| pictures.keep(&n.to_string(), vec![n; 128 * 1_024]);
        let pinned: Vec<_> = (0..128).map(large).collect();
        let are_there = |it: &Picture| matches!(it, Picture::Png(_));
        assert!(pinned.iter().all(are_there));
        assert!(matches!(large(200), Picture::NoRoom));
        drop(pinned);
        assert!(are_there(&large(200)));
        let Some(first) = pictures.at_hand.get("200") else {
            panic!("it is at hand");
        };
        let second = pictures.at_hand.get("200").unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr(), "one copy");
    }
}
