//! A device without a browser, in this terminal: RFC 8628. Started by `demo device`.

use std::{io::IsTerminal, time::Duration};

use anyhow::{Context, bail, ensure};
use http::header;
use qrcode::{QrCode, render::unicode::Dense1x2};
use serde_json::Value;

use crate::{client::http, pages};

/// RFC 8628 §3.4.
pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What the device knows: its server, who it is, and what it wants.
pub(crate) struct Device {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) resource: String,
}

impl Device {
    /// Shows a code, waits for the person, and says what the resource answers.
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let metadata = format!("{}/.well-known/oauth-authorization-server", self.issuer);
        let metadata: Value = http()?.get(&metadata).send().await?.json().await?;
        let endpoint = |name: &str| {
            let address = metadata[name].as_str();
            address.with_context(|| format!("the metadata has no {name}"))
        };
        let form = [
            ("client_id", self.client_id.as_str()),
            ("scope", "notes.read"),
            ("resource", &self.resource),
        ];
        let (status, started) = post(endpoint("device_authorization_endpoint")?, &form).await?;
        ensure!(status.is_success(), "{}", pages::pretty(&started));
        show(&started)?;
        let tokens = self.wait(endpoint("token_endpoint")?, &started).await?;
        let token = tokens["access_token"].as_str().context("no access token")?;
        let request = http()?.get(&self.resource).bearer_auth(token);
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        println!(
            "\nThe device is signed in. The resource answers:\n{}",
            pages::pretty(&answer)
        );
        Ok(())
    }

    /// RFC 8628 §3.5: asks no faster than it may, until there is an answer.
    async fn wait(&self, endpoint: &str, started: &Value) -> anyhow::Result<Value> {
        let code = started["device_code"].as_str().context("no device code")?;
        let mut interval = started["interval"].as_u64().unwrap_or(5);
        let form = [
            ("grant_type", GRANT),
            ("device_code", code),
            ("client_id", &self.client_id),
        ];
        loop {
            tokio::time::sleep(Duration::from_secs(interval)).await;
            let (status, answer) = post(endpoint, &form).await?;
            match answer["error"].as_str() {
                None if status.is_success() => return Ok(answer),
                Some("authorization_pending") => {}
                Some("slow_down") => interval += 5,
                _ => bail!("{}", pages::pretty(&answer)),
            }
        }
    }
}

/// The code for people who type, and the same as a picture for those who have a camera: RFC 8628 §3.3.1.
fn show(started: &Value) -> anyhow::Result<()> {
    let told = |name: &str| {
        let text = started[name].as_str();
        text.with_context(|| format!("the server did not send {name}"))
    };
    let picture = QrCode::new(told("verification_uri_complete")?)?;
    let picture = picture.render::<Dense1x2>().quiet_zone(true).build();
    // Black on white, whatever the terminal's own colours are.
    let (paper, end) = match std::io::stdout().is_terminal() {
        true => ("\x1b[30;107m", "\x1b[0m"),
        false => ("", ""),
    };
    println!();
    for line in picture.lines() {
        println!("{paper}{line}{end}");
    }
    println!("Open      {}", told("verification_uri")?);
    println!("and type  {}", told("user_code")?);
    println!("or scan the picture with something that reaches this machine.");
    Ok(())
}

async fn post(endpoint: &str, form: &[(&str, &str)]) -> anyhow::Result<(http::StatusCode, Value)> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = http()?
        .post(endpoint)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    let response = request.send().await?;
    Ok((response.status(), response.json().await?))
}
