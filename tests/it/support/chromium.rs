//! A real browser: Chromium, headless, driven through chromedriver.

use std::{
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use serde_json::json;
use tempfile::TempDir;
use thirtyfour::{
    ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver, prelude::*,
};

use crate::process::free_port;

/// How wide the pages are looked at.
#[derive(Clone, Copy)]
pub(crate) enum Device {
    Desktop,
    Phone,
    /// The narrowest that WCAG 2.2 §1.4.10 asks for.
    Narrow,
}

/// A browser and its driver; both end with the test.
pub(crate) struct Chromium {
    pub(crate) driver: WebDriver,
    chromedriver: Child,
    _profile: TempDir,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        _ = self.chromedriver.kill();
        _ = self.chromedriver.wait();
    }
}

impl Chromium {
    /// `None` when this run has no Chromium, which `tests/run` reports; in CI that is a failure.
    pub(crate) async fn start() -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the test run says where its Chromium is"
        )]
        let found = (
            std::env::var("WAYLEAVE_TEST_CHROMEDRIVER"),
            std::env::var("WAYLEAVE_TEST_CHROMIUM"),
        );
        let (Ok(chromedriver), Ok(chromium)) = found else {
            #[expect(clippy::disallowed_methods, reason = "in CI nothing may be left out")]
            let ci = std::env::var("CI").is_ok();
            assert!(!ci, "WAYLEAVE_TEST_CHROMEDRIVER is not set");
            return None;
        };
        // The driver's HTTP client wants one, even where it speaks no TLS. Another test may have been first.
        _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let port = free_port();
        let mut command = Command::new(chromedriver);
        command
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let chromedriver = command.spawn().unwrap();
        let profile = tempfile::tempdir().unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities.set_binary(&chromium).unwrap();
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            // The sites of the tests have an authority of their own.
            "--ignore-certificate-errors",
            &format!("--user-data-dir={}", profile.path().display()),
        ] {
            capabilities.add_arg(argument).unwrap();
        }
        capabilities
            .set_logging_prefs("performance", LoggingPrefsLogLevel::All)
            .unwrap();
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "chromedriver does not listen"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities)
            .await
            .unwrap();
        Some(Self {
            driver,
            chromedriver,
            _profile: profile,
        })
    }

    pub(crate) async fn open(&self, url: &str) {
        self.driver.goto(url).await.unwrap();
    }

    pub(crate) async fn fill(&self, field: &str, text: &str) {
        let element = self.find(By::Name(field)).await;
        element.clear().await.unwrap();
        element.send_keys(text).await.unwrap();
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.find(By::Css(selector)).await.click().await.unwrap();
    }

    /// The element, once the page has it: after a click another page may still be on its way.
    async fn find(&self, by: By) -> WebElement {
        let begun = Instant::now();
        loop {
            match self.driver.find(by.clone()).await {
                Ok(element) => return element,
                Err(error) if begun.elapsed() > Duration::from_secs(10) => {
                    panic!("{by:?}: {error}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = self.find(By::Css(selector)).await;
        element.text().await.unwrap()
    }

    /// Waits until the page has an element with this text: after a click another page may still be on its way.
    pub(crate) async fn shows(&self, selector: &str, text: &str) {
        let begun = Instant::now();
        let mut seen = String::new();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Ok(element) = self.driver.find(By::Css(selector)).await {
                seen = element.text().await.unwrap_or_default();
                if seen.contains(text) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!(
            "{selector} does not show {text:?} but {seen:?} at {}",
            self.url().await
        );
    }

    /// What the browser did on the network since it was last asked.
    pub(crate) async fn network(&self) -> String {
        let entries = self.driver.get_log("performance").await.unwrap();
        entries.into_iter().map(|entry| entry.message).collect()
    }

    /// Waits until the browser has begun a request to this address, whether it can be had or not.
    pub(crate) async fn asks_for(&self, address: &str) {
        let begun = Instant::now();
        let mut seen = String::new();
        let wanted = format!("\"url\":\"{address}\"");
        while begun.elapsed() < Duration::from_secs(10) {
            seen += &self.network().await;
            if seen.contains(&wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the browser does not ask for {address}: {seen}");
    }

    pub(crate) async fn url(&self) -> url::Url {
        self.driver.current_url().await.unwrap()
    }

    /// Looks at the page on each device, light and dark: keeps pictures, and refuses what is wider than the screen.
    pub(crate) async fn look(&self, name: &str) {
        for (device, label, dark) in [
            (Device::Desktop, "desktop", false),
            (Device::Desktop, "desktop-dark", true),
            (Device::Phone, "phone", false),
            (Device::Phone, "phone-dark", true),
            (Device::Narrow, "narrow", false),
        ] {
            self.become_device(device, dark).await;
            let script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]";
            let widths: (u32, u32) = self
                .driver
                .execute(script, vec![])
                .await
                .unwrap()
                .convert()
                .unwrap();
            assert!(widths.0 <= widths.1, "{name} on {label}: {widths:?}");
            let picture = self
                .cdp(
                    "Page.captureScreenshot",
                    json!({ "captureBeyondViewport": true }),
                )
                .await;
            let png = BASE64_STANDARD.decode(picture["data"].as_str().unwrap());
            keep(&format!("{name}-{label}"), &png.unwrap());
        }
        self.become_device(Device::Desktop, false).await;
    }

    /// Keeps a picture of this size, in light, as target/screens/NAME.png.
    pub(crate) async fn picture(&self, name: &str, (width, height): (u32, u32)) {
        self.cdp("Emulation.setScrollbarsHidden", json!({ "hidden": true }))
            .await;
        self.show_as(width, height, false, "light").await;
        // READMEs show it at less than half its width.
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 0.75 });
        let picture = self
            .cdp("Page.captureScreenshot", json!({ "clip": clip }))
            .await;
        let png = BASE64_STANDARD
            .decode(picture["data"].as_str().unwrap())
            .unwrap();
        // Chromium is in a hurry: the same picture takes less.
        let picture = image::load_from_memory(&png).unwrap().to_rgb8();
        let mut small = Vec::new();
        let encoder =
            PngEncoder::new_with_quality(&mut small, CompressionType::Best, FilterType::Adaptive);
        picture.write_with_encoder(encoder).unwrap();
        keep(name, &small);
        self.become_device(Device::Desktop, false).await;
    }

    async fn become_device(&self, device: Device, dark: bool) {
        let (width, height, mobile) = match device {
            Device::Desktop => (1_280, 900, false),
            Device::Phone => (390, 844, true),
            Device::Narrow => (320, 640, true),
        };
        let scheme = if dark { "dark" } else { "light" };
        self.show_as(width, height, mobile, scheme).await;
    }

    async fn show_as(&self, width: u32, height: u32, mobile: bool, scheme: &str) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        // A picture in the middle of a transition is of neither state.
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.cdp("Emulation.setEmulatedMedia", features).await;
    }

    /// From now on no script of a page runs.
    pub(crate) async fn without_scripts(&self) {
        self.cdp(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": true }),
        )
        .await;
    }

    async fn cdp(&self, command: &str, params: serde_json::Value) -> serde_json::Value {
        let answer = self.driver.cdp().send_raw(command, params).await;
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }
}

fn keep(name: &str, png: &[u8]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screens");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
}
