//! Where the secrets of a configuration lie: for who looks whether others can read them.

use std::path::{Path, PathBuf};

use toml::Table;
use url::Url;

use super::{
    Config, DatabaseUrl,
    load::{Environment, PREFIX, in_use, read},
    passwords::is_in,
};

/// A file with a secret in it, and what makes us read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// A key of the configuration or a variable of the environment.
    pub named_by: String,
    pub path: PathBuf,
}

/// The file of the configuration, if there is one, and whether a secret is in it.
pub fn config_file(path: Option<&Path>) -> Option<(PathBuf, bool)> {
    let path = in_use(path)?;
    let table = read(path).unwrap_or_default();
    Some((absolute(path), has_secret(&table)))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn has_secret(table: &Table) -> bool {
    let at = |section: &str, key: &str| table.get(section)?.get(key)?.as_str();
    let url = at("database", "url").and_then(|url| Url::parse(url).ok());
    let of_keys = ["encryption_key", "old_encryption_key"];
    url.is_some_and(|url| is_in(&url)) || of_keys.iter().any(|key| at("keys", key).is_some())
}

/// The other files with secrets in them: keys, certificates' keys, and the database if it is one.
pub fn secret_files(config: &Config, environment: &Environment) -> Vec<SecretFile> {
    let of = |named_by: &str, path: &Path| SecretFile {
        named_by: named_by.to_owned(),
        path: path.to_owned(),
    };
    let mut files = Vec::new();
    if let DatabaseUrl::Sqlite(path) = &config.database.url {
        files.push(of("database.url", path));
    }
    if let Some(tls) = &config.server.tls {
        files.push(of("server.tls.key_file", &tls.key_file));
    }
    if let Some(path) = &config.keys.encryption_key_file {
        files.push(of("keys.encryption_key_file", path));
    }
    if let Some(path) = &config.keys.old_encryption_key_file {
        files.push(of("keys.old_encryption_key_file", path));
    }
    // The other keys that name files are keys of the configuration, and stand above.
    for key in super::load::SECRETS {
        let key = key.to_uppercase().replace('.', "__");
        let name = format!("{PREFIX}{key}_FILE");
        files.extend(
            environment
                .value(&name)
                .map(|path| of(&name, &absolute(Path::new(path)))),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_database_has_no_password() {
        for (url, shown) in [
            ("postgres://h/d", "postgres://h/d"),
            ("postgres://u:hunter2@h/d", "postgres://u:…@h/d"),
            (
                "postgres://h/d?user=u&password=hunter2&sslmode=require",
                "postgres://h/d?user=u&password=…&sslmode=require",
            ),
            (
                "postgres://u:hunter2@h/d?password=hunter2&password=hunter2",
                "postgres://u:…@h/d?password=…&password=…",
            ),
            (
                "postgres://h/d?pass%77ord=hunter2",
                "postgres://h/d?password=…",
            ),
        ] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }

    #[test]
    fn a_collector_has_no_password() {
        for (url, may) in [
            ("http://127.0.0.1:4318/v1/traces", true),
            ("http://token@127.0.0.1:4318/v1/traces", false),
            ("http://u:p@127.0.0.1:4318/v1/traces", false),
        ] {
            let url = super::super::sections::CollectorUrl::try_from(url.to_owned());
            assert_eq!(url.is_ok(), may);
        }
    }

    #[test]
    fn a_configuration_has_a_secret_or_not() {
        for (text, expected) in [
            ("", false),
            ("[database]\nurl = \"sqlite:w.db\"", false),
            ("[database]\nurl = \"postgres://h/d\"", false),
            ("[database]\nurl = \"postgres://u:p@h/d\"", true),
            (
                "[database]\nurl = \"postgres://h/d?user=u&password=p\"",
                true,
            ),
            ("[keys]\nencryption_key_file = \"k\"", false),
            ("[keys]\nencryption_key = \"k\"", true),
        ] {
            assert_eq!(has_secret(&text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn files_with_secrets_are_known_however_they_are_named() {
        let mut config = Config::default();
        config.server.tls = Some(super::super::Tls {
            cert_file: "cert".into(),
            key_file: "key".into(),
        });
        let variable = ("WAYLEAVE_KEYS__ENCRYPTION_KEY_FILE", "/run/secrets/k");
        let environment = Environment::of([(variable.0.to_owned(), variable.1.to_owned())]);
        let names: Vec<_> = secret_files(&config, &environment)
            .into_iter()
            .map(|file| (file.named_by, file.path.display().to_string()))
            .collect();
        let expected = [
            ("database.url", "wayleave-data/wayleave.db"),
            ("server.tls.key_file", "key"),
            variable,
        ];
        assert_eq!(names, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
