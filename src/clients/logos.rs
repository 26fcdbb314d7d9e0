//! Logos: fetched under the same guard as documents, decoded within limits, encoded anew, and shown from here only.
//! CIMD §8.8.

use std::io::Cursor;

use base64::{Engine, prelude::BASE64_STANDARD};
use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use url::Url;

use super::{Clients, single_flight::SingleFlight};
use crate::{
    config::Config,
    fetch::{Charge, FetchError, Wanted},
    policy::client_document::Member,
    protocol::{client::Client, client_id::ClientId},
    secret::sha256,
    store::{NewLogo, StoreError},
    time::UnixTime,
};

/// Longest side of a logo that is shown, in pixels.
const SIDE: u32 = 512;
/// Largest PNG that is kept, in bytes.
const BYTES: usize = 128 * 1_024;
/// Longest side of a picture that is decoded, in pixels, and the memory that may cost, in bytes.
const DECODED_SIDE: u32 = 4_096;
const DECODED_BYTES: u64 = 96 * 1_024 * 1_024;
/// Seconds until a logo is looked for again, and after a failure.
const FRESH: i64 = 86_400;
const FAILED: i64 = 3_600;
/// Most that are looked for at a time. Whoever finds no place is served when its client is shown again.
const AT_ONCE: usize = 32;

/// Logos that are looked for.
pub(super) struct Logos {
    /// By their clients.
    looked_for: SingleFlight<()>,
    max_bytes: usize,
    /// Held while one is decoded.
    decoding: tokio::sync::Mutex<()>,
}

impl Logos {
    pub(super) fn new(config: &Config) -> Self {
        let max_bytes = config.fetch.max_logo_bytes.get();
        Self {
            looked_for: SingleFlight::new(),
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
            decoding: tokio::sync::Mutex::default(),
        }
    }
}

impl Clients {
    /// The hash of the logo to show for a client, as far as one is at hand. One that is not is looked for while
    /// nobody waits.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn logo(&self, client: &Client, now: UnixTime) -> Result<Option<String>, StoreError> {
        let Some(logo_uri) = client.metadata.logo_uri.clone() else {
            return Ok(None);
        };
        let known = self.0.store.client_logo(client.id()).await?;
        let known = known.filter(|known| known.logo_uri == logo_uri);
        let is_due = known.as_ref().is_none_or(|known| {
            let lifetime = if known.failed_because.is_some() {
                FAILED
            } else {
                FRESH
            };
            now - known.fetched_at >= lifetime
        });
        let logos = &self.0.logos.looked_for;
        if is_due && logos.len() < AT_ONCE {
            let (clients, client_id) = (self.clone(), client.id().clone());
            drop(logos.join(client.id().as_str(), || async move {
                if let Err(error) = clients.renew_logo(client_id, logo_uri, now).await {
                    tracing::warn!(%error, "a client's logo could not be kept");
                }
                Ok(())
            }));
        }
        Ok(known.and_then(|known| known.hash))
    }

    /// Looks for a logo and keeps what became of it, unless that was done since somebody found it to be due.
    async fn renew_logo(
        &self,
        client_id: ClientId,
        logo_uri: String,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let known = self.0.store.client_logo(&client_id).await?;
        if known.is_some_and(|known| known.logo_uri == logo_uri && known.fetched_at >= now) {
            return Ok(());
        }
        let Some(outcome) = self.look_for_logo(&logo_uri).await else {
            return Ok(());
        };
        if let Err(because) = &outcome {
            tracing::warn!(%client_id, because = %because.escape_debug(), "a client's logo cannot be shown");
        }
        let new = NewLogo {
            client_id,
            logo_uri,
            outcome,
        };
        self.0.store.keep_logo(new, now).await
    }

    /// Hash and PNG, or why there is none; nothing when it was us who had no time to ask for it.
    async fn look_for_logo(&self, logo_uri: &str) -> Option<Result<(String, String), String>> {
        match self.fetch_logo(logo_uri).await {
            Err(LogoError::Fetch(FetchError::Busy | FetchError::Budget(_))) => None,
            logo => Some(logo.map_err(|error| error.to_string())),
        }
    }

    /// Where a logo is, if its host and port may be asked: what holds for a `client_id` and a `jwks_uri` holds for it.
    pub(super) fn logo_address(&self, logo_uri: &str) -> Result<Url, String> {
        let url = Url::parse(logo_uri).map_err(|error| format!("logo_uri: {error}"))?;
        let judged = self.0.identifiers.check_place(Member::LogoUri, &url);
        judged.map(|()| url).map_err(|refusal| refusal.told)
    }

    async fn fetch_logo(&self, logo_uri: &str) -> Result<(String, String), LogoError> {
        let url = self.logo_address(logo_uri).map_err(LogoError::Other)?;
        let wanted = Wanted {
            accept: "image/png, image/webp, image/jpeg",
            max_bytes: self.0.logos.max_bytes,
        };
        let (_, fetched) = self
            .0
            .host
            .fetcher()
            .get(&url, wanted, Charge::Known(None))
            .await;
        let fetched = fetched.map_err(LogoError::Fetch)?;
        let png = {
            // One at a time: it takes memory.
            let _alone = self.0.logos.decoding.lock().await;
            let png = tokio::task::spawn_blocking(move || encode_anew(&fetched.body));
            png.await.unwrap_or_else(|error| Err(error.to_string()))
        };
        let png = png.map_err(LogoError::Other)?;
        let hash = sha256(&png)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok((hash, BASE64_STANDARD.encode(png)))
    }
}

/// Why there is no logo.
#[derive(Debug, thiserror::Error)]
enum LogoError {
    #[error(transparent)]
    Fetch(FetchError),
    #[error("{0}")]
    Other(String),
}

/// A stranger's picture as a PNG of ours: whatever else was in the file is gone.
fn encode_anew(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let picture = decode(bytes)?;
    let mut side = SIDE;
    loop {
        let shown = match picture.width().max(picture.height()) > side {
            true => picture.thumbnail(side, side),
            false => picture.clone(),
        };
        let mut png = Cursor::new(Vec::new());
        DynamicImage::ImageRgba8(shown.to_rgba8())
            .write_to(&mut png, ImageFormat::Png)
            .map_err(|error| error.to_string())?;
        let png = png.into_inner();
        if png.len() <= BYTES {
            return Ok(png);
        }
        side /= 2;
        if side < 32 {
            return Err("the picture cannot be made small enough".to_owned());
        }
    }
}

/// What the bytes say they are counts, not what their server or their name says.
fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    let format = match bytes {
        [0x89, b'P', b'N', b'G', ..] => ImageFormat::Png,
        [0xff, 0xd8, 0xff, ..] => ImageFormat::Jpeg,
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => ImageFormat::WebP,
        _ => return Err("the picture is no PNG, JPEG or WebP".to_owned()),
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(DECODED_SIDE);
    limits.max_image_height = Some(DECODED_SIDE);
    limits.max_alloc = Some(DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    reader.decode().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let pixel =
            |x: u32, y: u32| Rgba([(x % 251) as u8, (y % 241) as u8, (x * y % 239) as u8, 255]);
        let picture = DynamicImage::ImageRgba8(RgbaImage::from_fn(width, height, pixel));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(picture.to_rgb8())
            .write_to(&mut bytes, format)
            .unwrap();
        bytes.into_inner()
    }

    #[test]
    fn m_43_a_logo_is_a_small_png_of_ours_or_nothing() {
        for (width, height, format) in [
            (64, 64, ImageFormat::Png),
            (1_000, 400, ImageFormat::Jpeg),
            (2_000, 2_000, ImageFormat::WebP),
        ] {
            let png = encode_anew(&encoded(width, height, format)).unwrap();
            assert!(
                png.starts_with(b"\x89PNG") && png.len() <= BYTES,
                "{format:?}"
            );
            let shown = decode(&png).unwrap();
            assert!(shown.width() <= SIDE && shown.height() <= SIDE && shown.width() >= 32);
        }
        // What rides along in the file is not in ours.
        let mut polyglot = encoded(64, 64, ImageFormat::Png);
        polyglot.extend_from_slice(b"<script>alert(1)</script>");
        let png = encode_anew(&polyglot).unwrap();
        assert!(!png.windows(7).any(|part| part == b"<script"));
        let mut bomb = encoded(1, 1, ImageFormat::Png);
        // The width and height of the header, with a checksum that does not matter: the limit comes first.
        bomb[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
        let svg =
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>".to_vec();
        let truncated = encoded(64, 64, ImageFormat::Jpeg)[..200].to_vec();
        for bad in [
            bomb,
            svg,
            b"GIF89a".to_vec(),
            Vec::new(),
            vec![0; 1_000],
            truncated,
        ] {
            assert!(encode_anew(&bad).is_err());
        }
    }
}
