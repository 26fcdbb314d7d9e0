//! The load: loops of people and clients that play whole flows, until they are cut off, and then go on.

use std::{sync::Arc, time::Duration};

use super::{
    model::{Outcome, Sure},
    player::{Cut, Player, Run},
    random::Random,
};

/// One loop.
pub(crate) struct Loop {
    player: Player,
    random: Random,
    client_id: String,
    count: u64,
}

impl Loop {
    pub(crate) fn new(run: &Arc<Run>, number: u64, seed: u64, person: &str) -> Self {
        let name = format!("loop-{number}");
        Self {
            client_id: run.clients.public(&name),
            player: Player::new(run, &name, person),
            random: Random::new(seed, number + 1),
            count: 0,
        }
    }

    /// Plays until it is aborted. While the controller holds the gate, nobody does.
    pub(crate) async fn run(mut self) {
        let run = Arc::clone(&self.player.run);
        let mut signed_in = false;
        loop {
            let open = run.gate.read().await;
            if !signed_in {
                signed_in = self.player.sign_in().await.is_ok();
            }
            let played = match signed_in {
                true => self.flow().await,
                false => Err(Cut),
            };
            drop(open);
            if played.is_err() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    async fn flow(&mut self) -> Result<(), Cut> {
        let client_id = self.client_id.clone();
        match self.random.below(100) {
            0 => self.player.sign_in().await,
            1..=8 => {
                self.count += 1;
                let name = format!("{}-{}", self.player.name, self.count);
                let client_id = self.player.run.clients.public(&name);
                self.by_code(&client_id).await
            }
            9..=16 => {
                let client_id = self.player.run.clients.first_party();
                self.by_code(&client_id).await
            }
            17..=49 => self.by_code(&client_id).await,
            50..=64 => self.by_device().await,
            65..=79 => self.by_assertion().await,
            _ => self.go_on().await,
        }
    }

    /// Authorize, redeem, refresh, perhaps revoke.
    async fn by_code(&mut self, client_id: &str) -> Result<(), Cut> {
        let Some(code) = self.player.code(client_id).await? else {
            return Ok(());
        };
        // Some codes are left for after the next kill.
        if self.random.below(20) == 0 {
            return Ok(());
        }
        match self.player.redeem(client_id, &code).await? {
            Outcome::Works(token) => self.use_grant(token).await,
            _ => Ok(()),
        }
    }

    async fn by_device(&mut self) -> Result<(), Cut> {
        let client_id = self.player.run.clients.device();
        let Some((code, user_code)) = self.player.start_device().await? else {
            return Ok(());
        };
        if self.random.below(10) == 0 {
            return Ok(());
        }
        if self.random.below(10) == 0 {
            self.player.redeem_device(&client_id, &code).await?;
        }
        self.player.approve(&code, &user_code).await?;
        if self.random.below(10) == 0 {
            return Ok(());
        }
        match self.player.redeem_device(&client_id, &code).await? {
            Outcome::Works(token) => self.use_grant(token).await,
            _ => Ok(()),
        }
    }

    async fn by_assertion(&mut self) -> Result<(), Cut> {
        let machines = self.player.run.clients.machines();
        let machine = &machines[self.random.below(2) as usize];
        let assertion = self.player.assertion(machine);
        self.player.assert(&assertion).await?;
        if self.random.below(4) == 0 {
            self.player.assert(&assertion).await?;
        }
        Ok(())
    }

    /// A grant that somebody left, perhaps several kills ago.
    async fn go_on(&mut self) -> Result<(), Cut> {
        let token = {
            let mut model = self.player.run.model();
            let count = model.families.len();
            if count == 0 {
                return Ok(());
            }
            let first = self.random.below(count as u64) as usize;
            let free = |number: &usize| {
                let family = &model.families[*number];
                !family.taken && family.ended == Sure::No && family.in_doubt.is_none()
            };
            let Some(number) = (first..count).chain(0..first).find(free) else {
                return Ok(());
            };
            model.families[number].taken = true;
            model.families[number].newest().to_owned()
        };
        self.use_grant(token).await
    }

    async fn use_grant(&mut self, mut token: String) -> Result<(), Cut> {
        let number = self.player.run.model().family_of[&token];
        let client_id = self.player.run.model().families[number].client_id.clone();
        for _ in 0..self.random.below(5) {
            // Two tabs at once, now and then: both get the same successor.
            let outcome = if self.random.below(6) == 0 {
                let mut beside = self.player.beside();
                let (one, two) = tokio::join!(
                    self.player.refresh(&client_id, &token),
                    beside.refresh(&client_id, &token)
                );
                two.and(one)?
            } else {
                self.player.refresh(&client_id, &token).await?
            };
            let Outcome::Works(next) = outcome else {
                return Ok(());
            };
            token = next;
        }
        if self.random.below(10) < 4 {
            self.player.revoke(&client_id, &token).await?;
        }
        self.player.run.model().families[number].taken = false;
        Ok(())
    }
}
