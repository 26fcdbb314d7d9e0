//! From file and environment to a [`Config`], or to a message that names file, key and what was expected.

use std::{fs, path::Path};

use toml::{Table, Value};

use super::Config;

pub(super) const PREFIX: &str = "WAYLEAVE_";
const DEFAULT_FILE: &str = "wayleave.toml";

/// The environment variables that concern us.
#[derive(Debug, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "config/ is the one place that reads the environment"
        )]
        let all = std::env::vars_os();
        Self::of(all.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// Those of `variables` that begin with `WAYLEAVE_`, without the ones of the test run.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |name: &str| name.starts_with(PREFIX) && !name.starts_with("WAYLEAVE_TEST_");
        let mut variables: Vec<_> = variables
            .into_iter()
            .filter(|(name, _)| ours(name))
            .collect();
        variables.sort();
        Self(variables)
    }

    /// The value of a variable.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let known = self.0.iter().find(|(known, _)| known == name);
        known.map(|(_, value)| value.as_str())
    }
}

/// A configuration that cannot be used: says where, which key, and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {told}")]
pub struct ConfigError {
    place: String,
    told: String,
}

/// Reads the file (`path`, else `wayleave.toml` if there is one) and lays the environment over it.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Config, ConfigError> {
    let path = in_use(path);
    let place = path.map_or_else(
        || "configuration".to_owned(),
        |path| path.display().to_string(),
    );
    let mut table = path.map(read).transpose()?.unwrap_or_default();
    let overlaid = overlay(&mut table, environment)?;

    let said_by = |key: &str| {
        let within = |outer: &str, inner: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let variable = overlaid
            .iter()
            .find(|(known, _)| known == key || within(known, key) || within(key, known));
        variable.map_or_else(
            || place.clone(),
            |(_, name)| format!("environment variable {name}"),
        )
    };
    let mut config: Config =
        serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let key = error.path().to_string();
            let message = error.into_inner().to_string();
            ConfigError {
                place: said_by(&key),
                told: tell(&key, message.trim()),
            }
        })?;
    config.check().map_err(|(key, expected)| ConfigError {
        place: said_by(key),
        told: format!("{key}: expected {expected}"),
    })?;
    let keys = &mut config.keys;
    for (key, text, file) in [
        (
            "keys.encryption_key_file",
            &mut keys.encryption_key,
            &keys.encryption_key_file,
        ),
        (
            "keys.old_encryption_key_file",
            &mut keys.old_encryption_key,
            &keys.old_encryption_key_file,
        ),
    ] {
        if let (None, Some(file)) = (&text, file) {
            let secret = secret_file(file, &said_by(key), key)?;
            *text = Value::String(secret).try_into().ok();
        }
    }
    Ok(config)
}

/// The file that is read: the one that is named, else the default one if it is there.
pub(super) fn in_use(path: Option<&Path>) -> Option<&Path> {
    let default = Path::new(DEFAULT_FILE);
    path.or_else(|| default.exists().then_some(default))
}

/// A key's path before the message, unless the message is about the whole.
fn tell(key: &str, message: &str) -> String {
    let first_line = message.lines().next().unwrap_or(message);
    if key == "." {
        first_line.to_owned()
    } else {
        format!("{key}: {first_line}")
    }
}

pub(super) fn read(path: &Path) -> Result<Table, ConfigError> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| ConfigError {
        place: place.clone(),
        told: format!("expected a readable file: {error}"),
    })?;
    text.parse::<Table>().map_err(|error| {
        let line = error
            .span()
            .map_or(0, |span| text[..span.start].lines().count().max(1));
        ConfigError {
            place: format!("{place}, line {line}"),
            told: error.message().to_owned(),
        }
    })
}

/// Lays the variables over the table; returns each key set and the variable that set it.
fn overlay(
    table: &mut Table,
    environment: &Environment,
) -> Result<Vec<(String, String)>, ConfigError> {
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    let mut overlaid = Vec::new();
    for (name, value) in &environment.0 {
        let wrong = |told: String| ConfigError {
            place: format!("environment variable {name}"),
            told,
        };
        let mut key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        let mut text = value.clone();
        // KEY_FILE names a file that holds KEY, unless KEY_FILE is a key itself.
        if let Some(of) = key.strip_suffix("_file")
            && SECRETS.contains(&of)
        {
            text = secret_file(
                Path::new(value),
                &format!("environment variable {name}"),
                of,
            )?;
            key = of.to_owned();
        }
        if overlaid.iter().any(|(known, _)| *known == key) {
            return Err(wrong(format!(
                "{key}: expected either the value or its _FILE, not both"
            )));
        }
        let value = typed(&text, lookup(&defaults, &key))
            .map_err(|told| wrong(format!("{key}: {told}")))?;
        insert(table, &key, value).map_err(wrong)?;
        overlaid.push((key, name.clone()));
    }
    Ok(overlaid)
}

/// Keys that may come from a file named by `WAYLEAVE_…_FILE`.
pub(super) const SECRETS: &[&str] = &[
    "database.url",
    "keys.encryption_key",
    "keys.old_encryption_key",
];

fn secret_file(path: &Path, place: &str, key: &str) -> Result<String, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError {
        place: place.to_owned(),
        told: format!(
            "{key}: expected a readable file at {}: {error}",
            path.display()
        ),
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn lookup<'a>(defaults: &'a Table, key: &str) -> Option<&'a Value> {
    let (first, rest) = key
        .split_once('.')
        .map_or((key, None), |(first, rest)| (first, Some(rest)));
    match (defaults.get(first), rest) {
        (Some(Value::Table(table)), Some(rest)) => lookup(table, rest),
        (value, None) => value,
        _ => None,
    }
}

/// The text as a value of the default's type: a secret that looks like a number stays text.
fn typed(text: &str, default: Option<&Value>) -> Result<Value, String> {
    match default {
        None | Some(Value::String(_)) => Ok(Value::String(text.to_owned())),
        Some(Value::Integer(_)) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| "expected a whole number".to_owned()),
        Some(Value::Boolean(_)) => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_| "expected true or false".to_owned()),
        Some(other) => {
            let expected = format!("expected a TOML {}", other.type_str());
            let parsed = format!("value = {text}")
                .parse::<Table>()
                .map_err(|_| expected.clone())?;
            parsed.get("value").cloned().ok_or(expected)
        }
    }
}

fn insert(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((first, rest)) => match table
            .entry(first)
            .or_insert_with(|| Value::Table(Table::new()))
        {
            Value::Table(inner) => insert(inner, rest, value),
            _ => Err(format!("{first}: expected a table")),
        },
    }
}

/// Where the example configuration of the repository lives, for the test that holds it equal to the defaults.
#[cfg(test)]
fn sample() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/wayleave.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.toml");
        if let Some(text) = file {
            fs::write(&path, text).unwrap();
        }
        let environment = Environment::of(
            variables
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        );
        let shown = path.display().to_string();
        load(file.is_some().then_some(path.as_path()), &environment)
            .map_err(|e| e.to_string().replace(&shown, "w.toml"))
    }

    #[test]
    fn nothing_configured_is_the_default() {
        assert_eq!(with(None, &[]).unwrap(), Config::default());
        assert_eq!(with(Some(""), &[]).unwrap(), Config::default());
    }

    #[test]
    fn the_sample_file_says_every_default() {
        let text = fs::read_to_string(sample()).unwrap();
        assert_eq!(with(Some(&text), &[]).unwrap(), Config::default());
        // Every key of the defaults stands in the file, commented out only where there is no default.
        fn keys(table: &Table, prefix: &str, into: &mut Vec<String>) {
            for (key, value) in table {
                match value {
                    Value::Table(inner) if !(inner.contains_key("least")) => {
                        keys(inner, &format!("{prefix}{key}."), into)
                    }
                    _ => into.push(format!("{prefix}{key}")),
                }
            }
        }
        let (mut defaults, mut written) = (Vec::new(), Vec::new());
        keys(
            &Table::try_from(Config::default()).unwrap(),
            "",
            &mut defaults,
        );
        keys(&text.parse().unwrap(), "", &mut written);
        defaults.retain(|key| key != "resources");
        defaults.sort();
        written.sort();
        assert_eq!(written, defaults);
    }

    #[test]
    fn the_environment_wins_and_keeps_types() {
        let config = with(
            Some("[fetch]\ntimeout = 7\nmax_bytes = 5120"),
            &[
                ("WAYLEAVE_ISSUER", "https://id.example.com"),
                ("WAYLEAVE_FETCH__TIMEOUT", "9"),
                ("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true"),
                ("WAYLEAVE_DATABASE__URL", "postgres://u:p@h/d"),
                ("WAYLEAVE_CLIENTS__ALLOWED_PORTS", "[443, 8443]"),
                (
                    "WAYLEAVE_CLIENTS__FRESH",
                    "{ least = 1, absent = 2, most = 3 }",
                ),
                (
                    "WAYLEAVE_RESOURCES",
                    "[{ id = 'https://rs.example.com', scopes = { read = 'Read' }, open = true }]",
                ),
                ("WAYLEAVE_KEYS__ENCRYPTION_KEY", "0012"),
                ("WAYLEAVE_TEST_POSTGRES", "ignored"),
                ("PATH", "ignored"),
            ],
        )
        .unwrap();
        assert_eq!(config.issuer.as_str(), "https://id.example.com");
        assert_eq!(
            (config.fetch.timeout.get(), config.fetch.max_bytes.get()),
            (9, 5_120)
        );
        assert_eq!(config.clients.allowed_ports, [443, 8443]);
        assert_eq!(config.clients.fresh.most, 3);
        assert!(
            config
                .resources
                .find("https://rs.example.com")
                .is_some_and(|resource| resource.open)
        );
        assert_eq!(config.keys.encryption_key.unwrap().expose(), "0012");
        assert!(!format!("{:?}", config.database.url).contains(":p@"));
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        fs::write(&path, "postgres://u:p@h/d\n").unwrap();
        let config = with(
            None,
            &[("WAYLEAVE_DATABASE__URL_FILE", path.to_str().unwrap())],
        )
        .unwrap();
        assert_eq!(
            config.database.url,
            super::super::DatabaseUrl::Postgres("postgres://u:p@h/d".to_owned())
        );
    }

    #[test]
    fn a_mistake_is_named_with_its_place_key_and_expectation() {
        let file: &[(&str, &str)] = &[
            (
                "[fetch]\ntimeout = \"x\"",
                "w.toml: fetch.timeout: invalid type: string \"x\", expected a nonzero u32",
            ),
            (
                "[fetch]\ntimeout = 0",
                "w.toml: fetch.timeout: invalid value: integer `0`, expected a nonzero u32",
            ),
            (
                "[fetch]\ntimeuot = 1",
                "w.toml: fetch.timeuot: unknown field `timeuot`, expected one of",
            ),
            (
                "[fech]",
                "w.toml: fech: unknown field `fech`, expected one of",
            ),
            ("a = [", "w.toml, line 1: "),
            (
                "issuer = \"http://example.com\"",
                "w.toml: issuer: expected an https URL",
            ),
            (
                "issuer = \"https://example.com/\"",
                "w.toml: issuer: expected a URL without a slash at its end",
            ),
            (
                "[server]\nlisten = \"here\"",
                "w.toml: server.listen: invalid socket address syntax",
            ),
            (
                "[database]\nurl = \"mysql://x\"",
                "w.toml: database.url: expected sqlite:PATH or postgres://",
            ),
            (
                "[clients]\nfresh = { least = 9, absent = 5, most = 7 }",
                "w.toml: clients.fresh: expected least <= absent <= most",
            ),
            (
                "[server]\nlisten = \"0.0.0.0:80\"\n[danger]\nallow_loopback_clients = true",
                "w.toml: danger.allow_loopback_clients: expected false",
            ),
            (
                "[[resources]]\nid = \"nowhere\"",
                "w.toml: resources.id: expected a resource URL",
            ),
            (
                "[[resources]]\nid = \"https://rs.example.com\"\nscopes = { openid = \"x\" }",
                "w.toml: resources.scopes: expected other names than openid",
            ),
        ];
        for (text, expected) in file {
            let got = with(Some(text), &[]).unwrap_err();
            assert!(
                got.starts_with(expected),
                "{text}\n got {got}\nwant {expected}"
            );
        }
        let environment: &[(&str, &str, &str)] = &[
            (
                "WAYLEAVE_FETCH__TIMEOUT",
                "soon",
                "environment variable WAYLEAVE_FETCH__TIMEOUT: fetch.timeout: expected a whole number",
            ),
            (
                "WAYLEAVE_FECH__TIMEOUT",
                "1",
                "environment variable WAYLEAVE_FECH__TIMEOUT: fech: unknown field",
            ),
            (
                "WAYLEAVE_ISSUER",
                "x",
                "environment variable WAYLEAVE_ISSUER: issuer: expected an https URL",
            ),
            (
                "WAYLEAVE_DATABASE__URL_FILE",
                "/nonexistent",
                "environment variable WAYLEAVE_DATABASE__URL_FILE: database.url: expected a readable file",
            ),
        ];
        for (name, value, expected) in environment {
            let got = with(None, &[(*name, *value)]).unwrap_err();
            assert!(
                got.starts_with(expected),
                "{name}\n got {got}\nwant {expected}"
            );
        }
    }
}
