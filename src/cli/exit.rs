//! How a command ends: with which exit code, and what standard error says then.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{in_words, output::harmless};
use crate::config::ConfigError;

/// How every command may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exit {
    Done,
    Failed,
    Usage,
    NotFound,
    Conflict,
}

impl Exit {
    pub(super) const ALL: [Self; 5] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::Conflict,
    ];

    /// Scripts rely on three: done, refused or failed, and wrong usage. What kind of failure it was, `error` says in JSON.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed | Self::NotFound | Self::Conflict => 1,
            Self::Usage => 2,
        }
    }

    /// What `error` says in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
        }
    }

    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "The command did what it was asked to do.",
            Self::Failed => {
                "Something failed, such as the database or a host, or what was asked was answered with no: `explain` refuses \
                 the client, a check of `doctor` failed, the server is not ready."
            }
            Self::Usage => "The command line or the configuration cannot be used.",
            Self::NotFound => {
                "What the command is about is not there: no such account, client, rule, grant, consent, session, key or resource."
            }
            Self::Conflict => {
                "What is there does not allow it: the name is taken, it is the last administrator, the configuration decides, a \
                 client of this kind has no such thing."
            }
        }
    }

    /// How a command ends that failed so.
    fn of(error: &anyhow::Error) -> Self {
        match () {
            () if error.is::<Usage>() => Self::Usage,
            () if error.is::<NotFound>() => Self::NotFound,
            () if error.is::<Conflict>() => Self::Conflict,
            () => Self::Failed,
        }
    }
}

/// The exit codes, as `wayleave --help` ends.
pub(super) fn codes() -> String {
    let line = |exit: Exit| format!("  {}  {}", exit.code(), exit.meaning());
    let mut ends = Exit::ALL;
    ends.sort_by_key(|exit| exit.code());
    format!("Exit codes:\n{}", ends.map(line).join("\n"))
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The command line or the configuration is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

impl From<ConfigError> for Usage {
    fn from(error: ConfigError) -> Self {
        Self(error.to_string())
    }
}

/// What the command is about is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotFound(pub(super) String);

/// What is there does not allow what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Conflict(pub(super) String);

/// Says on standard error why a command failed.
pub(super) fn failed(error: &anyhow::Error, as_json: bool) -> ExitCode {
    let exit = Exit::of(error);
    tell(exit, &in_words(&format!("{error:#}")), as_json);
    exit.into()
}

/// Help and the version are printed; a command line that cannot be read is an error as any other.
pub(super) fn not_read(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        _ = error.print();
        return Exit::Done.into();
    }
    match std::env::args_os().any(|argument| argument == "--json") {
        true => {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            tell(Exit::Usage, text.trim_end(), true);
        }
        false => _ = error.print(),
    }
    Exit::Usage.into()
}

fn tell(exit: Exit, message: &str, as_json: bool) {
    let line = match as_json {
        true => harmless(&in_json(exit, message).to_string()),
        false => format!("wayleave: {message}"),
    };
    // A failure to write to standard error cannot be reported anywhere.
    _ = writeln!(io::stderr(), "{line}");
}

fn in_json(exit: Exit, message: &str) -> Value {
    json!({ "error": exit.name(), "message": message, "exit_code": exit.code() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_exit_code_of_its_kind() {
        let about = "about it";
        let table = [
            (anyhow::anyhow!("x"), Exit::Failed, 1),
            (Usage("x".to_owned()).into(), Exit::Usage, 2),
            (NotFound("x".to_owned()).into(), Exit::NotFound, 1),
            (Conflict("x".to_owned()).into(), Exit::Conflict, 1),
            (
                anyhow::Error::from(NotFound("x".to_owned())).context(about),
                Exit::NotFound,
                1,
            ),
        ];
        for (error, exit, code) in table {
            assert_eq!((Exit::of(&error), exit.code()), (exit, code), "{error:?}");
        }
        let codes = Exit::ALL.map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 1, 1]);
        let json = in_json(Exit::NotFound, "there is none");
        let expected = json!({ "error": "not_found", "message": "there is none", "exit_code": 1 });
        assert_eq!(json, expected);
    }
}
