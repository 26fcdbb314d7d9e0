//! Who plays: one request is written down, sent, written down again, and judged.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use wayleave::{
    secret::random_id,
    time::{Clock, UnixTime},
};

use super::{
    browser::Page,
    clients::{Clients, VERIFIER, challenge},
    http::{Http, Lost},
    judge::Answer,
    ledger::{Ledger, Line},
    model::{Model, Op, Outcome, Violation},
    server::PASSWORD,
    signer::ASSERTION_TYPE,
};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What all players of one run share.
pub(crate) struct Run {
    pub(crate) ledger: Ledger,
    pub(crate) model: Mutex<Model>,
    pub(crate) clients: Clients,
    pub(crate) server: std::net::SocketAddr,
    /// Is the server being killed, or not ready yet?
    pub(crate) is_down: AtomicBool,
    pub(crate) answers: AtomicU64,
    /// Operations that a kill cut off.
    pub(crate) cut_off: AtomicU64,
    pub(crate) clock: Clock,
    /// Held by whoever plays: the controller takes it all to look.
    pub(crate) gate: tokio::sync::RwLock<()>,
}

impl Run {
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.server)
    }
}

/// The play is over: the server is gone.
#[derive(Debug)]
pub(crate) struct Cut;

pub(crate) struct Player {
    pub(crate) run: Arc<Run>,
    pub(crate) http: Http,
    pub(crate) name: String,
    /// The account that it signs in with.
    pub(crate) person: String,
}

impl Player {
    pub(crate) fn new(run: &Arc<Run>, name: &str, person: &str) -> Self {
        Self {
            http: Http::new(run.server),
            run: Arc::clone(run),
            name: name.to_owned(),
            person: person.to_owned(),
        }
    }

    /// The same person on another connection.
    pub(crate) fn beside(&self) -> Self {
        Self {
            http: self.http.beside(),
            run: Arc::clone(&self.run),
            name: format!("{}'", self.name),
            person: self.person.clone(),
        }
    }

    /// One operation, whose request or requests `play` sends.
    async fn perform(
        &mut self,
        op: Op,
        client_id: &str,
        play: impl AsyncFnOnce(&mut Http) -> Result<Result<Outcome, Page>, Lost>,
    ) -> Result<Outcome, Cut> {
        if self.run.is_down.load(Ordering::SeqCst) {
            return Err(Cut);
        }
        let kill = self.run.model().kills;
        let clock = self.run.clock.clone();
        let line = |outcome: Option<Outcome>| Line {
            at: clock.now().0,
            kill,
            by: &self.name,
            op: op.named(),
            outcome,
        };
        self.run.ledger.append(&line(None)).await.unwrap();
        let before = self.run.model().send(&op);
        let played = play(&mut self.http).await;
        let was_down = self.run.is_down.load(Ordering::SeqCst);
        let outcome = match &played {
            Ok(Ok(outcome)) => outcome.clone(),
            Ok(Err(_)) | Err(Lost) => Outcome::Lost,
        };
        drop(self.run.ledger.append(&line(Some(outcome.named()))));
        let mut model = self.run.model();
        model.receive(&Answer {
            op: &op,
            client_id,
            before,
            outcome: &outcome,
        });
        if outcome == Outcome::Lost {
            if !was_down {
                let told = match played {
                    Ok(Err(page)) => format!("{op:?} was answered {} {}", page.status, page.body),
                    _ => format!("{op:?} was not answered"),
                };
                let violation = Violation::new("I6", told, &[op.uses()]);
                model.violations.push(violation);
            }
            self.run.cut_off.fetch_add(1, Ordering::Relaxed);
            return Err(Cut);
        }
        self.run.answers.fetch_add(1, Ordering::Relaxed);
        Ok(outcome)
    }

    pub(crate) async fn sign_in(&mut self) -> Result<(), Cut> {
        let person = self.person.clone();
        let mut fresh = Http::new(self.run.server);
        let outcome = self
            .perform(Op::SignIn(person.clone()), "", async |_| {
                let form = fresh.get("/login").await?;
                if form.status != 200 {
                    return Ok(Err(form));
                }
                let filled = [("username", person.as_str()), ("password", PASSWORD)];
                let page = fresh.submit(&form, &filled).await?;
                Ok(match page.status.as_u16() {
                    303 => Ok(Outcome::Works(person.clone())),
                    422 => Ok(Outcome::Refused("sign-in".to_owned())),
                    _ => Err(page),
                })
            })
            .await?;
        if outcome != Outcome::Refused("sign-in".to_owned()) {
            self.http = fresh;
        }
        Ok(())
    }

    /// A code for a client: at once, or after the consent. `None`: it was refused, which is on record.
    pub(crate) async fn code(&mut self, client_id: &str) -> Result<Option<String>, Cut> {
        let key = format!("{} {client_id}", self.person);
        let redirect_uri = self.run.clients.redirect_uri();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", client_id),
                ("redirect_uri", &redirect_uri),
                ("code_challenge", &challenge()),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        let mut asked = None;
        let code_of = |page: &Page, place| answered(page, &redirect_uri, place);
        let outcome = self
            .perform(Op::Authorize(key.clone()), client_id, async |http| {
                let mut page = http.get(&format!("/authorize?{query}")).await?;
                let mut place = "page";
                for (start, name) in [("/consent", "consent"), ("/login", "login")] {
                    let to = page.location().unwrap_or_default().to_owned();
                    if to.contains(start) && !to.starts_with(&redirect_uri) {
                        (page, place) = (http.get(&to).await?, name);
                    }
                }
                let outcome = code_of(&page, place);
                asked = Some(page.clone());
                Ok(outcome.ok_or(page))
            })
            .await?;
        match outcome {
            Outcome::Works(code) => return Ok(Some(code)),
            Outcome::Refused(place) if place == "consent" => {}
            _ => return Ok(None),
        }
        let Some(asked) = asked else { return Ok(None) };
        let outcome = self
            .perform(Op::Consent(key), client_id, async |http| {
                let page = http.submit(&asked, &[("decision", "allow")]).await?;
                Ok(code_of(&page, "page").ok_or(page))
            })
            .await?;
        Ok(match outcome {
            Outcome::Works(code) => Some(code),
            _ => None,
        })
    }

    pub(crate) async fn redeem(&mut self, client_id: &str, code: &str) -> Result<Outcome, Cut> {
        let redirect_uri = self.run.clients.redirect_uri();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", client_id),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        let op = Op::Redeem(code.to_owned());
        self.token(op, client_id, &form, "refresh_token").await
    }

    pub(crate) async fn refresh(&mut self, client_id: &str, token: &str) -> Result<Outcome, Cut> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", client_id),
        ];
        let op = Op::Refresh(token.to_owned());
        self.token(op, client_id, &form, "refresh_token").await
    }

    pub(crate) async fn revoke(&mut self, client_id: &str, token: &str) -> Result<Outcome, Cut> {
        let form = [("token", token), ("client_id", client_id)];
        self.perform(Op::Revoke(token.to_owned()), client_id, async |http| {
            let page = http.post("/revoke", &form).await?;
            Ok(match page.status.as_u16() {
                200 => Ok(Outcome::Works(String::new())),
                400..500 => Ok(Outcome::Refused(error(&page))),
                _ => Err(page),
            })
        })
        .await
    }

    pub(crate) async fn start_device(&mut self) -> Result<Option<(String, String)>, Cut> {
        let client_id = self.run.clients.device();
        let mut user_code = String::new();
        let outcome = self
            .perform(
                Op::DeviceStart(client_id.clone()),
                &client_id,
                async |http| {
                    let form = [("client_id", client_id.as_str())];
                    let page = http.post("/device_authorization", &form).await?;
                    Ok(match page.status.as_u16() {
                        200 => {
                            let device = page.json();
                            user_code = device["user_code"].as_str().unwrap().to_owned();
                            let code = device["device_code"].as_str().unwrap();
                            Ok(Outcome::Works(code.to_owned()))
                        }
                        400..500 => Ok(Outcome::Refused(error(&page))),
                        _ => Err(page),
                    })
                },
            )
            .await?;
        Ok(match outcome {
            Outcome::Works(code) => Some((code, user_code)),
            _ => None,
        })
    }

    /// The person types the code of a device, and allows it.
    pub(crate) async fn approve(&mut self, code: &str, user_code: &str) -> Result<Outcome, Cut> {
        let op = Op::DeviceApprove(code.to_owned());
        self.perform(op, "", async |http| {
            let form = http.get("/device").await?;
            if form.status != 200 {
                return Ok(Err(form));
            }
            let page = http.submit(&form, &[("user_code", user_code)]).await?;
            let Some(question) = page.location().map(str::to_owned) else {
                return Ok(Err(page));
            };
            let page = http.get(&question).await?;
            if page.status != 200 {
                return Ok(Err(page));
            }
            let page = http.submit(&page, &[("decision", "allow")]).await?;
            let done = page
                .location()
                .is_some_and(|to| to.contains("/device/done"));
            Ok(match done {
                true => Ok(Outcome::Works(String::new())),
                false => Err(page),
            })
        })
        .await
    }

    pub(crate) async fn redeem_device(
        &mut self,
        client_id: &str,
        code: &str,
    ) -> Result<Outcome, Cut> {
        let form = [
            ("grant_type", DEVICE_GRANT),
            ("device_code", code),
            ("client_id", client_id),
        ];
        let op = Op::DeviceRedeem(code.to_owned());
        self.token(op, client_id, &form, "refresh_token").await
    }

    /// A new assertion of one of the clients with a key.
    pub(crate) fn assertion(&self, client_id: &str) -> String {
        let UnixTime(now) = self.run.clock.now();
        let claims = serde_json::json!({
            "iss": client_id, "sub": client_id, "aud": self.run.issuer(),
            "iat": now, "exp": now + 60, "jti": random_id(),
        });
        let signer = &self.run.clients.signer;
        let text = signer.sign(&signer.header(), &claims);
        self.run.model().make_assertion(&text);
        text
    }

    pub(crate) async fn assert(&mut self, assertion: &str) -> Result<Outcome, Cut> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ];
        let op = Op::Assertion(assertion.to_owned());
        self.token(op, "", &form, "access_token").await
    }

    async fn token(
        &mut self,
        op: Op,
        client_id: &str,
        form: &[(&str, &str)],
        gives: &str,
    ) -> Result<Outcome, Cut> {
        self.perform(op, client_id, async |http| {
            let page = http.post("/token", form).await?;
            Ok(match page.status.as_u16() {
                200 => match page.json()[gives].as_str() {
                    Some(token) => Ok(Outcome::Works(token.to_owned())),
                    None => Err(page),
                },
                400..500 => Ok(Outcome::Refused(error(&page))),
                _ => Err(page),
            })
        })
        .await
    }
}

/// A code, or where the person is instead. `None`: something that nobody expects.
fn answered(page: &Page, redirect_uri: &str, place: &str) -> Option<Outcome> {
    let code = page.location().filter(|to| to.starts_with(redirect_uri));
    if let Some(to) = code {
        let url = url::Url::parse(to).ok()?;
        let code = url.query_pairs().find(|(name, _)| name == "code")?.1;
        return Some(Outcome::Works(code.into_owned()));
    }
    (page.status == 200 && place != "page").then(|| Outcome::Refused(place.to_owned()))
}

fn error(page: &Page) -> String {
    let told: Option<serde_json::Value> = serde_json::from_str(&page.body).ok();
    told.and_then(|told| Some(told["error"].as_str()?.to_owned()))
        .unwrap_or_else(|| format!("{} {}", page.status, page.body))
}
