//! The real server in development mode, a client whose document it reads, and a resource that trusts its tokens.
//!
//! Everything is on this machine and gone when it stops. `demo device` starts a device in the terminal, too: it shows a
//! code and a picture of its link, and waits until somebody has signed it in.

mod client;
mod desk;
mod device;
mod flows;
mod pages;
mod resource;
mod tls;

use std::{
    io::Write,
    sync::{Arc, PoisonError},
};

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use wayleave::{
    accounts::Password,
    app::App,
    config::{Config, Environment},
    fetch::Resolver,
    secret::{ClientSecret, Secret, SecretHash, random_id},
    server,
    store::{Description, Store},
    time::Clock,
};

/// Who can sign in.
const USER: &str = "ada";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // What the server refuses, and why: an administrator reads it here.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    let stop = told_to_stop()?;
    let folder = tempfile::tempdir()?;
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (server_at, client_at, document_at, resource_at) =
        (bind().await?, bind().await?, bind().await?, bind().await?);
    let origin = |listener: &TcpListener| anyhow::Ok(format!("http://{}", listener.local_addr()?));
    let (issuer, client_origin, resource_origin) = (
        origin(&server_at)?,
        origin(&client_at)?,
        origin(&resource_at)?,
    );
    let resource_id = format!("{resource_origin}/notes");

    let pki = tls::make(folder.path())?;
    let client_id = format!(
        "https://localhost:{}/client.json",
        document_at.local_addr()?.port()
    );
    let desk_id = client_id.replace("/client.json", "/desk.json");
    let ledger = Secret::<ClientSecret>::generate();
    let documents = tls::Documents::default();
    let desk = desk::Desk::open(&issuer, &desk_id, &resource_origin, Arc::clone(&documents))?;
    documents
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert("/client.json", client::document(&client_id));
    let reads = tls::Reads::default();
    tokio::spawn(tls::serve(
        document_at,
        pki.acceptor,
        documents,
        reads.clone(),
    ));

    let config = config(
        &issuer,
        &server_at,
        folder.path(),
        &resource_id,
        &pki.ca_file.display().to_string(),
        [&client_id, &desk_id],
        &ledger,
    )?;
    let store = Store::open(&config.database.url, 4).await?;
    store.migrate().await?;
    let app = App::new(config, store.clone(), Clock::system(), Resolver::System).await?;
    let password = format!("demo-{}", &random_id()[..8]);
    let chosen = Password::chosen(&password).map_err(|told| anyhow!(told))?;
    let name = USER.parse().map_err(|told: &str| anyhow!(told))?;
    let added = app
        .accounts
        .add(name, chosen, Description::default(), app.clock.now())
        .await?;
    added.map_err(|error| anyhow!("{error:?}"))?;

    tokio::spawn(resource::serve(
        resource_at,
        issuer.clone(),
        resource_id.clone(),
        ledger,
    ));
    let device = device::Device {
        issuer: issuer.clone(),
        client_id: client_id.clone(),
        resource: resource_id.clone(),
    };
    let demo = client::Demo {
        issuer,
        client_id,
        origin: client_origin.clone(),
        resource: resource_id,
        reads,
        flows: flows::Flows::default(),
    };
    tokio::spawn(client::serve(client_at, demo, desk));

    let mut out = std::io::stdout();
    writeln!(out, "Open      {client_origin}/")?;
    writeln!(out, "User      {USER}")?;
    writeln!(out, "Password  {password}")?;
    writeln!(out, "Stop with Ctrl-C; everything temporary is removed.")?;
    out.flush()?;
    if std::env::args().nth(1).as_deref() == Some("device") {
        tokio::spawn(async move {
            if let Err(error) = device.run().await {
                eprintln!("the device stopped: {error:#}");
            }
        });
    }

    server::serve(app, server_at, None, None, stop).await?;
    store.close().await;
    folder.close().context("removing the temporary folder")
}

/// The server's own configuration, as a file would say it: development mode, one open resource.
fn config(
    issuer: &str,
    listener: &TcpListener,
    folder: &std::path::Path,
    resource_id: &str,
    ca_file: &str,
    [client_id, desk_id]: [&str; 2],
    ledger: &Secret<ClientSecret>,
) -> anyhow::Result<Config> {
    let database = format!("sqlite:{}", folder.join("demo.db").display());
    let ledger_id = desk::ledger(resource_id.trim_end_matches("/notes"));
    let resources = format!(
        "[{{ id = '{resource_id}', name = 'Demo notes', open = true, \
         scopes = {{ 'notes.read' = 'Read your demo notes', 'notes.write' = 'Change your demo notes' }} }}, \
         {{ id = '{ledger_id}', name = 'Demo ledger', open = true, scopes = {{ 'ledger.read' = 'Read the demo ledger' }} }}]"
    );
    // The ledger asks the server about each token, so the server has to know it.
    let hash = SecretHash::<ClientSecret>::of_bytes(ledger.expose().as_bytes());
    let registered = format!(
        "[{{ client_id = 'ledger', client_secret_sha256 = '{}', resources = ['{ledger_id}'] }}]",
        hash.as_str()
    );
    // Anybody can start a device in a public client's name: the administrator has to say so.
    let rules = format!(
        "[{{ match = '{client_id}', tier = 'unknown', \
         grants = ['authorization_code', 'refresh_token', '{}'] }}, {{ match = '{desk_id}', tier = 'listed' }}]",
        device::GRANT
    );
    let variables = [
        ("WAYLEAVE_ISSUER", issuer.to_owned()),
        (
            "WAYLEAVE_SERVER__LISTEN",
            listener.local_addr()?.to_string(),
        ),
        ("WAYLEAVE_DATABASE__URL", database),
        ("WAYLEAVE_FETCH__EXTRA_CA_FILE", ca_file.to_owned()),
        ("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true".to_owned()),
        ("WAYLEAVE_RESOURCES", resources),
        ("WAYLEAVE_POLICY__CLIENTS", rules),
        ("WAYLEAVE_CLIENTS__REGISTERED", registered),
        // Nobody waits half a minute for a new key in a demo.
        ("WAYLEAVE_CLIENTS__KEYS_COOLDOWN", "1".to_owned()),
    ];
    let file = folder.join("demo.toml");
    std::fs::write(&file, "")?;
    let environment = Environment::of(variables.map(|(name, value)| (name.to_owned(), value)));
    Ok(wayleave::config::load(Some(&file), &environment)?)
}

fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
