//! The checker: while nobody else plays, it looks into the database and asks the server what it still knows.
//!
//! What was touched since the last kill is asked about whole; of everything older, a sample.

use std::{sync::Arc, time::Duration};

use super::{
    judge::SURELY_FRESH,
    model::{Outcome, Sure, Violation},
    player::{Cut, Player, Run},
    random::Random,
    rows::{self, Rows},
};

/// Who asks at once.
const ASKING: usize = 8;
/// How many older things of each kind are asked about.
const SAMPLE: usize = 12;
/// A device lives for 600 seconds.
const DEVICE: Duration = Duration::from_secs(550);
/// A spent code is remembered for an hour.
const REMEMBERED: Duration = Duration::from_secs(3_000);

enum Question {
    Code(String),
    Device(String),
    Assertion(String),
    Family(usize),
    /// It ended long ago.
    Dead(usize),
    /// It lives for long.
    Alive(usize),
    Consent(String),
}

/// Who checks.
pub(crate) struct Checker {
    run: Arc<Run>,
    rows: Rows,
    random: Random,
    /// The first of them are people, signed in once for the whole run; the others are clients only.
    players: Vec<Player>,
}

impl Checker {
    pub(crate) async fn new(run: &Arc<Run>, rows: Rows, seed: u64, people: &[String]) -> Self {
        let person = |number: usize| people.get(number).map_or("", String::as_str);
        let mut players: Vec<_> = (0..ASKING.max(people.len()))
            .map(|number| Player::new(run, &format!("checker-{number}"), person(number)))
            .collect();
        for player in &mut players[..people.len()] {
            _ = player.sign_in().await;
        }
        Self {
            run: Arc::clone(run),
            rows,
            random: Random::new(seed, 0),
            players,
        }
    }

    /// Everything, after a kill. Nobody else plays meanwhile.
    pub(crate) async fn check(&mut self) {
        look(&self.run, &self.rows).await;
        let mut lists: Vec<Vec<Question>> = self.players.iter().map(|_| Vec::new()).collect();
        for (number, question) in questions(&self.run, &mut self.random)
            .into_iter()
            .enumerate()
        {
            let whose = match &question {
                // Only that person can say.
                Question::Consent(key) => self
                    .players
                    .iter()
                    .position(|player| key.split(' ').next() == Some(&player.person)),
                _ => None,
            };
            lists[whose.unwrap_or(number % ASKING)].push(question);
        }
        let random = &mut self.random;
        let asking = self
            .players
            .iter_mut()
            .zip(lists)
            .map(|(player, questions)| {
                let mut asker = Asker {
                    random: Random::new(random.next(), 0),
                    player,
                };
                async move {
                    for question in questions {
                        asker.ask(question).await?;
                    }
                    Ok::<_, Cut>(())
                }
            });
        // Whoever was cut off has put that on record.
        futures_util::future::join_all(asking).await;
    }
}

/// The database: sound, and as the model has it.
async fn look(run: &Arc<Run>, rows: &Rows) {
    let found = rows.look().await;
    let mut model = run.model();
    let mut wrong: Vec<Violation> = found
        .unsound
        .into_iter()
        .map(|told| Violation::new("I5", told, &[]))
        .collect();
    for family in &model.families {
        let newest = family.newest();
        let told = |told: &str| {
            let told = format!("in the database, {told}: {family:?}");
            Violation::new(
                "I1",
                told,
                &[newest, family.code.as_deref().unwrap_or_default()],
            )
        };
        let Some((generation, ended)) = found.grants.get(&family.row()) else {
            wrong.push(told("a grant is missing"));
            continue;
        };
        let known = family.tokens.len() as i64;
        let may_be_next = i64::from(family.in_doubt.is_some());
        if !(known..=known + may_be_next).contains(generation) {
            wrong.push(told(&format!("generation {generation}, not {known}")));
        }
        match (family.ended, ended) {
            (Sure::Yes, false) => wrong.push(told("a grant that ended lives")),
            (Sure::No, true) => wrong.push(told("a grant that lives has ended")),
            _ => {}
        }
    }
    for code in model.codes.values() {
        let told = |told: &str| {
            Violation::new(
                "I1",
                format!("in the database, {told}: {code:?}"),
                &[&code.text],
            )
        };
        if code.issued.elapsed() > REMEMBERED {
            continue;
        }
        match (code.spent, found.codes.get(&rows::code(&code.text))) {
            (_, None) => wrong.push(told("a code is missing")),
            (Sure::Yes, Some(false)) => wrong.push(told("a spent code is not")),
            (Sure::No, Some(true)) => wrong.push(told("a code is spent that never served")),
            _ => {}
        }
    }
    for device in model.devices.values() {
        let told = |told: &str| {
            Violation::new(
                "I1",
                format!("in the database, {told}: {device:?}"),
                &[&device.text],
            )
        };
        if device.issued.elapsed() > DEVICE {
            continue;
        }
        let row = found.devices.get(&rows::device(&device.text));
        let Some((allowed, spent)) = row else {
            wrong.push(told("a device is missing"));
            continue;
        };
        for (told_so, name, known, found) in [
            ("allowed", "device", device.approved, *allowed),
            ("spent", "device code", device.spent, *spent),
        ] {
            match (known, found) {
                (Sure::Yes, false) => wrong.push(told(&format!("a {name} is not {told_so}"))),
                (Sure::No, true) => wrong.push(told(&format!("a {name} is {told_so}"))),
                _ => {}
            }
        }
    }
    model.violations.extend(wrong);
}

/// What to ask, in the order of asking.
fn questions(run: &Arc<Run>, random: &mut Random) -> Vec<Question> {
    let mut model = run.model();
    let kills = model.kills;
    for family in &mut model.families {
        family.taken = false;
    }
    // In an order of their own, so that the seed decides.
    fn keys<'a, V: 'a>(all: impl Iterator<Item = (&'a String, V)>) -> Vec<String> {
        let mut keys: Vec<_> = all.map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }
    let mut questions = Vec::new();
    let families = || model.families.iter().enumerate();
    let fresh = families().filter(|(_, family)| family.touched == kills);
    questions.extend(fresh.map(|(number, _)| Question::Family(number)));
    let old = |ended: Sure| -> Vec<usize> {
        let old = families().filter(|(_, family)| family.touched != kills && family.ended == ended);
        old.map(|(number, _)| number).collect()
    };
    questions.extend(
        random
            .some(&old(Sure::No), SAMPLE)
            .into_iter()
            .map(Question::Alive),
    );
    questions.extend(
        random
            .some(&old(Sure::Yes), SAMPLE)
            .into_iter()
            .map(Question::Dead),
    );

    // A code that comes back ends its grant: of the spent ones only those whose grant is over, and not asked about.
    let is_over = |family: Option<usize>| {
        family.is_none_or(|number| {
            let family = &model.families[number];
            family.ended == Sure::Yes && family.touched != kills
        })
    };
    let codes = |fresh: bool| {
        let is_wanted = |code: &super::model::Code| match fresh {
            true => code.spent != Sure::Yes && code.issued.elapsed() < SURELY_FRESH,
            false => code.spent == Sure::Yes && is_over(code.family),
        };
        keys(model.codes.iter().filter(|(_, code)| is_wanted(code)))
    };
    questions.extend(codes(true).into_iter().map(Question::Code));
    let spent = random.some(&codes(false), SAMPLE);
    questions.extend(spent.into_iter().map(Question::Code));

    let devices = model
        .devices
        .iter()
        .filter(|(_, device)| device.touched == kills && device.issued.elapsed() < DEVICE);
    questions.extend(keys(devices).into_iter().map(Question::Device));
    let spent = model
        .devices
        .iter()
        .filter(|(_, device)| device.spent == Sure::Yes);
    let spent = random.some(&keys(spent), SAMPLE);
    questions.extend(spent.into_iter().map(Question::Device));

    let assertions = model.assertions.iter().filter(|(_, assertion)| {
        assertion.touched == kills && assertion.made.elapsed() < SURELY_FRESH
    });
    questions.extend(keys(assertions).into_iter().map(Question::Assertion));
    let used = model
        .assertions
        .iter()
        .filter(|(_, it)| it.spent == Sure::Yes);
    let used = random.some(&keys(used), SAMPLE);
    questions.extend(used.into_iter().map(Question::Assertion));

    let fresh = model
        .consents
        .iter()
        .filter(|(_, (_, touched))| *touched == kills);
    questions.extend(keys(fresh).into_iter().map(Question::Consent));
    let old = random.some(&keys(model.consents.iter()), SAMPLE);
    questions.extend(old.into_iter().map(Question::Consent));
    questions
}

struct Asker<'a> {
    player: &'a mut Player,
    random: Random,
}

impl Asker<'_> {
    async fn ask(&mut self, question: Question) -> Result<(), Cut> {
        match question {
            Question::Family(number) => self.family(number).await,
            Question::Alive(number) | Question::Dead(number) => {
                self.refresh(number).await.map(drop)
            }
            Question::Code(text) => self.code(&text).await,
            Question::Device(text) => self.device(&text).await,
            Question::Assertion(text) => {
                // Once may serve what was in doubt; never twice.
                for _ in 0..2 {
                    self.player.assert(&text).await?;
                }
                Ok(())
            }
            Question::Consent(key) => self.consent(&key).await,
        }
    }

    /// Uses the newest token; whether that is right, the model says.
    async fn refresh(&mut self, number: usize) -> Result<Outcome, Cut> {
        let (client_id, token) = {
            let model = self.player.run.model();
            let family = &model.families[number];
            (family.client_id.clone(), family.newest().to_owned())
        };
        self.player.refresh(&client_id, &token).await
    }

    async fn family(&mut self, number: usize) -> Result<(), Cut> {
        if let Outcome::Refused(_) = self.refresh(number).await? {
            return Ok(());
        }
        let family = self.player.run.model().families[number].clone();
        let client_id = &family.client_id;
        // The answer may have been lost: the same once more gives the same.
        let count = family.tokens.len();
        if let Some(before) = count.checked_sub(2).map(|index| &family.tokens[index]) {
            self.player.refresh(client_id, before).await?;
        }
        match (self.random.below(4), family.code) {
            (0, _) if count > 2 => {
                self.player.refresh(client_id, &family.tokens[0]).await?;
            }
            (1, Some(code)) if self.remembers(&code) => {
                self.player.redeem(client_id, &code).await?;
            }
            _ => return Ok(()),
        }
        // What came back has ended the grant.
        self.refresh(number).await.map(drop)
    }

    fn remembers(&self, code: &str) -> bool {
        let model = self.player.run.model();
        let code = model.codes.get(code);
        code.is_some_and(|code| code.issued.elapsed() < REMEMBERED)
    }

    async fn code(&mut self, text: &str) -> Result<(), Cut> {
        let Some(code) = self.player.run.model().codes.get(text).cloned() else {
            return Ok(());
        };
        let outcome = self.player.redeem(&code.client_id, text).await?;
        if let (Outcome::Works(_), 0) = (&outcome, self.random.below(2)) {
            return Ok(());
        }
        self.player.redeem(&code.client_id, text).await?;
        let family = self.player.run.model().codes[text].family;
        match family {
            Some(number) => self.refresh(number).await.map(drop),
            None => Ok(()),
        }
    }

    async fn device(&mut self, text: &str) -> Result<(), Cut> {
        let Some(device) = self.player.run.model().devices.get(text).cloned() else {
            return Ok(());
        };
        let outcome = self.player.redeem_device(&device.client_id, text).await?;
        if let Outcome::Works(_) = outcome {
            self.player.redeem_device(&device.client_id, text).await?;
        }
        Ok(())
    }

    /// A person who consented is not asked again.
    async fn consent(&mut self, key: &str) -> Result<(), Cut> {
        let Some((_, client_id)) = key.split_once(' ') else {
            return Ok(());
        };
        let player = &mut *self.player;
        let code = player.code(client_id).await?;
        let Some(code) = code else { return Ok(()) };
        let outcome = player.redeem(client_id, &code).await?;
        let Outcome::Works(token) = outcome else {
            return Ok(());
        };
        player.revoke(client_id, &token).await.map(drop)
    }
}
