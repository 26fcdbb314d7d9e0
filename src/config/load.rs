//! From file and environment to a [`Config`], or to a message that names file, key and what was expected.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{Config, wording};

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

    let variable = |key: &str| {
        let within = |outer: &str, inner: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let mut variables = overlaid.iter();
        variables.find(|(known, _)| known == key || within(known, key) || within(key, known))
    };
    let said_by = |key: &str| {
        variable(key).map_or_else(
            || place.clone(),
            |(_, name)| format!("environment variable {name}"),
        )
    };
    let wrong = |key: &str, told: String| ConfigError {
        place: said_by(key),
        told: format!("{key}: {told}"),
    };
    let mut config: Config =
        serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let key = error.path().to_string();
            let message = error.into_inner().to_string();
            let told = wording::of_value(&message, is_secret(&key));
            match key.as_str() {
                "." => ConfigError {
                    place: place.clone(),
                    told,
                },
                key => wrong(key, told),
            }
        })?;
    let folder = path.and_then(Path::parent);
    for (key, file) in config.paths() {
        // What a variable says counts from where the process is, as everything that is typed.
        let base = folder.filter(|_| variable(key).is_none());
        *file = absolute(base, file)
            .map_err(|error| wrong(key, format!("expected a path: {error}")))?;
    }
    config
        .check()
        .map_err(|(key, expected)| wrong(key, format!("expected {expected}")))?;
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

/// A path that counts from a folder, or from where the process is, as one that counts from nowhere.
fn absolute(folder: Option<&Path>, path: &Path) -> Result<PathBuf, String> {
    let path = match folder {
        Some(folder) if !path.as_os_str().is_empty() => folder.join(path),
        _ => path.to_owned(),
    };
    std::path::absolute(path).map_err(|error| wording::of_system(&error))
}

/// Is a secret at this key, or below it?
fn is_secret(key: &str) -> bool {
    let mut secrets = SECRETS.iter();
    key.contains("secret") || secrets.any(|secret| secret.starts_with(key))
}

/// The file that is read: the one that is named, else the default one if it is there.
pub(super) fn in_use(path: Option<&Path>) -> Option<&Path> {
    let default = Path::new(DEFAULT_FILE);
    path.or_else(|| default.exists().then_some(default))
}

pub(super) fn read(path: &Path) -> Result<Table, ConfigError> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| ConfigError {
        place: place.clone(),
        told: format!(
            "expected a file that can be read: {}",
            wording::of_system(&error)
        ),
    })?;
    text.parse::<Table>().map_err(|error| {
        let (line, told) = wording::of_file(&text, &error);
        ConfigError {
            place: format!("{place}, line {line}"),
            told,
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
            "{key}: expected a readable file at {}: {}",
            path.display(),
            wording::of_system(&error)
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
fn sample() -> PathBuf {
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

    /// The defaults, for a file of the folder of this process or for none.
    fn defaults() -> Config {
        let mut config = Config::default();
        for (_, path) in config.paths() {
            *path = std::path::absolute(&*path).unwrap();
        }
        config
    }

    #[test]
    fn nothing_configured_is_the_default() {
        assert_eq!(with(None, &[]).unwrap(), defaults());
        let with_file = with(Some(""), &[]).unwrap();
        let expected = Config {
            database: with_file.database.clone(),
            ..defaults()
        };
        assert_eq!(with_file, expected);
    }

    #[test]
    fn relative_paths_count_from_the_file_and_those_of_the_environment_from_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("w.toml");
        for name in ["key", "other"] {
            fs::write(dir.path().join(name), "k").unwrap();
        }
        let text = "issuer = \"https://localhost\"\n[keys]\nencryption_key_file = \"key\"\nold_encryption_key_file = \"./other\"\n\
                    [fetch]\nextra_ca_file = \"/roots.pem\"\n[server.tls]\ncert_file = \"a\"\nkey_file = \"b\"";
        fs::write(&file, text).unwrap();
        let variable = ("WAYLEAVE_SERVER__TLS__KEY_FILE", "c");
        let environment = Environment::of([(variable.0.to_owned(), variable.1.to_owned())]);
        let config = load(Some(&file), &environment).unwrap();
        let beside = |name: &str| dir.path().join(name);
        let here = std::env::current_dir().unwrap();
        let database = super::super::DatabaseUrl::Sqlite(beside("wayleave-data/wayleave.db"));
        assert_eq!(config.database.url, database, "a default");
        assert_eq!(config.keys.encryption_key_file.unwrap(), beside("key"));
        assert_eq!(
            config.keys.old_encryption_key_file.unwrap(),
            beside("other")
        );
        assert_eq!(config.fetch.extra_ca_file.unwrap(), Path::new("/roots.pem"));
        let tls = config.server.tls.unwrap();
        assert_eq!((tls.cert_file, tls.key_file), (beside("a"), here.join("c")));

        fs::write(&file, "[database]\nurl = \"sqlite:w.db\"").unwrap();
        let url = |variables: &[(&str, &str)]| {
            let variables = variables
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let config = load(Some(&file), &Environment::of(variables)).unwrap();
            config.database.url.to_string()
        };
        assert_eq!(url(&[]), format!("sqlite:{}", beside("w.db").display()));
        let here = format!("sqlite:{}", here.join("x.db").display());
        assert_eq!(url(&[("WAYLEAVE_DATABASE__URL", "sqlite:x.db")]), here);
    }

    #[test]
    fn no_mistake_is_told_in_words_of_a_library() {
        fn leaves(table: &Table, prefix: &str, into: &mut Vec<String>) {
            for (key, value) in table {
                let name = format!("{prefix}{key}");
                if let Value::Table(inner) = value {
                    leaves(inner, &format!("{name}."), into);
                }
                into.push(name);
            }
        }
        let mut keys = Vec::new();
        leaves(&Table::try_from(Config::default()).unwrap(), "", &mut keys);
        let optional = [
            "server.tls",
            "server.tls.cert_file",
            "fetch.extra_ca_file",
            "policy.default_resource",
            "keys.encryption_key",
            "keys.old_encryption_key",
            "keys.encryption_key_file",
            "metrics.listen",
            "traces.endpoint",
            "clients.registered",
            "policy.clients",
            "resources",
        ];
        keys.extend(optional.map(str::to_owned));
        let values = [
            "\"x y\"",
            "0",
            "70000000000",
            "1.5",
            "true",
            "[1]",
            "[\"x y\"]",
            "[{ x = 1 }]",
            "{ x = 1 }",
            "1979-05-27",
        ];
        let words = [
            "invalid",
            "u32",
            "u16",
            "struct",
            "enum",
            "sequence",
            "nonzero",
            "variant",
            "field",
            "digit",
            "serde",
            "Option",
            "syntax",
            "wanted",
            "another value",
            "tuple",
        ];
        let mut wrong = Vec::new();
        for key in &keys {
            for value in values {
                let Err(told) = with(Some(&format!("{key} = {value}")), &[]) else {
                    continue;
                };
                let is_named = told.contains(key.split('.').next().unwrap());
                let is_strange = words.iter().any(|word| told.contains(word));
                if is_strange || !is_named || !told.contains("expected") {
                    wrong.push(format!("{key} = {value}: {told}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_sample_file_says_every_default() {
        let text = fs::read_to_string(sample()).unwrap();
        let (folder, file) = (tempfile::tempdir().unwrap(), "w.toml");
        let file = folder.path().join(file);
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            load(Some(&file), &Environment::default()).unwrap()
        };
        assert_eq!(read(&text), read(""));
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
        // Of tables that there may be more of there is an example.
        let blocks = [
            "clients.registered",
            "policy.clients",
            "policy.examples",
            "resources",
        ];
        defaults.retain(|key| !blocks.contains(&&**key));
        for block in blocks {
            assert!(text.contains(&format!("\n#[[{block}]]")), "{block}");
        }
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
                "w.toml: fetch.timeout: expected a whole number from 1 to 4294967295, found \"x\"",
            ),
            (
                "[fetch]\ntimeout = 0",
                "w.toml: fetch.timeout: expected a whole number from 1 to 4294967295, found 0",
            ),
            (
                "[fetch]\ntimeuot = 1",
                "w.toml: fetch.timeuot: there is no such key; expected one of",
            ),
            (
                "[fech]",
                "w.toml: fech: there is no such key; expected one of",
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
                "w.toml: server.listen: expected host:port such as 127.0.0.1:8080",
            ),
            (
                "[database]\nurl = \"mysql://x\"",
                "w.toml: database.url: expected sqlite:PATH or postgres://",
            ),
            (
                "[database]\nurl = \"postgres://h/d?sslmode=verify\"",
                "w.toml: database.url: expected an sslmode of disable,",
            ),
            (
                "[policy]\nunlisted = \"first_party\"",
                "w.toml: policy.unlisted: expected blocked, unknown, listed or approved",
            ),
            (
                "[traces]\nper_thousand = 1001",
                "w.toml: traces.per_thousand: expected a number from 0 to 1000",
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
                "environment variable WAYLEAVE_FECH__TIMEOUT: fech: there is no such key",
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
