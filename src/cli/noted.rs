//! Commands that change something: the log of the server says so, too.

use crate::{config::Config, store::Store, time::Clock};

/// What commands are about, and what changes it.
const NOUNS: &[&str] = &["user", "client", "grant", "consent", "session", "key"];
const VERBS: &[&str] = &[
    "add", "set", "passwd", "unlock", "rename", "disable", "enable", "delete", "remove", "forget",
    "block", "trust", "refresh", "revoke", "rotate", "reset", "end",
];
/// Characters of a command that are kept.
const LONGEST: usize = 500;

/// The command as the log has it, if it changes something. No argument is a secret: those come by standard input.
fn noted(arguments: &[String]) -> Option<String> {
    let noun = arguments
        .iter()
        .position(|word| NOUNS.contains(&word.as_str()))?;
    let mut words = arguments[noun + 1..].iter().take(2);
    let changes = words.any(|word| VERBS.contains(&word.as_str()));
    let text = arguments[noun..].join(" ");
    let plain = text.chars().filter(|c| !c.is_control());
    changes.then(|| plain.take(LONGEST).collect())
}

/// Has the servers on this database log the command of this process. It is done already, whatever becomes of its note.
pub(super) async fn note(config: &Config) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(command) = noted(&arguments) else {
        return;
    };
    let Ok(store) = Store::open(&config.database.url, 1).await else {
        return;
    };
    _ = store.note_command(command, Clock::system().now()).await;
    store.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_change_something_are_noted() {
        let table = [
            ("user add ada --admin", Some("user add ada --admin")),
            ("--config w.toml client block x\ny", Some("client block xy")),
            ("client secret add wiki", Some("client secret add wiki")),
            ("client secret list wiki", None),
            ("user list", None),
            ("serve", None),
            ("explain https://app.example.com/c.json", None),
        ];
        for (typed, expected) in table {
            let arguments: Vec<String> = typed.split(' ').map(str::to_owned).collect();
            assert_eq!(noted(&arguments).as_deref(), expected, "{typed:?}");
        }
    }
}
