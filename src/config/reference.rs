//! `docs/reference/configuration.md`: every key with its form, default and environment variable. The words are the doc
//! comments of the sections, the defaults those of [`Config::default`].

use std::fmt::Write as _;

use toml::{Table, Value};

use super::{
    Config,
    load::{PREFIX, SECRETS},
};
use crate::words::counted;

const FILE: &str = "docs/reference/configuration.md";

/// Where the types of the configuration are described.
const SOURCES: [&str; 5] = [
    include_str!("mod.rs"),
    include_str!("sections.rs"),
    include_str!("../policy/client_rules.rs"),
    include_str!("../policy/registration.rs"),
    include_str!("../policy/catalog.rs"),
];

/// Tables within a section, and lists of tables: their type, and whether there may be more than one.
const WITHIN: [(&str, &str, bool); 5] = [
    ("server.tls", "Tls", false),
    ("clients.registered", "Registration", true),
    ("policy.clients", "Rule", true),
    ("policy.examples", "Example", true),
    ("resources", "Resource", true),
];

/// A type of the configuration, as its source describes it.
struct Described {
    about: String,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    about: String,
    ty: String,
    is_required: bool,
}

/// Reads what the source says of a type.
fn described(ty: &str) -> Described {
    let heads = [format!("pub struct {ty} {{"), format!("{ty} {{")];
    let lines = SOURCES.iter().flat_map(|source| source.lines());
    let mut lines = lines.map(str::trim);
    let (mut about, mut keys) = (String::new(), Vec::new());
    let mut attributes = String::new();
    for line in lines.by_ref() {
        if heads.iter().any(|head| head == line) {
            break;
        }
        read(line, &mut about, &mut attributes);
    }
    let all_have_defaults = attributes.contains("default");
    attributes.clear();
    let mut of_key = String::new();
    for line in lines.take_while(|line| *line != "}") {
        if read(line, &mut of_key, &mut attributes) {
            continue;
        }
        let rest = line.strip_prefix("pub ").unwrap_or(line);
        let (name, rest) = rest
            .split_once(": ")
            .unwrap_or_else(|| panic!("{ty}: {line}"));
        let (ty, default) = rest.trim_end_matches(',').split_once(" = ").map_or_else(
            || (rest.trim_end_matches(','), attributes.contains("default")),
            |(ty, _)| (ty, true),
        );
        let renamed = attributes
            .split_once("rename = \"")
            .and_then(|(_, rest)| rest.split('"').next());
        keys.push(Key {
            name: renamed.unwrap_or(name).to_owned(),
            about: std::mem::take(&mut of_key),
            ty: ty.to_owned(),
            is_required: !default && !all_have_defaults && !ty.starts_with("Option<"),
        });
        attributes.clear();
    }
    assert!(!keys.is_empty(), "no source has {ty}");
    let about = about
        .split_once("`: ")
        .map_or(about.as_str(), |(_, rest)| rest);
    Described {
        about: sentence(about),
        keys,
    }
}

/// Takes a line of a comment or an attribute in; another line is not ours, and ends both.
fn read(line: &str, about: &mut String, attributes: &mut String) -> bool {
    if let Some(text) = line.strip_prefix("///") {
        about.push_str(if about.is_empty() {
            text.trim_start()
        } else {
            text
        });
        return true;
    }
    if line.starts_with("#[") {
        attributes.push_str(line);
        return true;
    }
    if line.ends_with('{') || line.is_empty() || line.ends_with('}') || line.ends_with(';') {
        about.clear();
        attributes.clear();
    }
    false
}

/// Begins with a capital, and ends with a stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    let text = first.unwrap_or_default() + letters.as_str();
    match text.ends_with('.') {
        true => text,
        false => text + ".",
    }
}

/// What a value looks like, for the administrator who writes it.
fn form(key: &Key) -> String {
    let ty = key.ty.as_str();
    let ty = ty
        .strip_prefix("Option<")
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(ty);
    let unit = match &key.about {
        about if about.contains("in seconds") => "seconds",
        about if about.contains("in bytes") => "bytes",
        _ => "number",
    };
    let told = match ty {
        "NonZeroU32" => return format!("{unit}, 1 or more"),
        "u32" => return format!("{unit}, 0 or more"),
        "RotateAfter" => "seconds, 172800 (two days) or more",
        "bool" => "`true` or `false`",
        "String" | "SigningAlg" => "text",
        "Sensitive" => "text, secret",
        "PathBuf" => "path",
        "SocketAddr" => "address and port",
        "Vec<SocketAddr>" => "list of addresses with ports",
        "Vec<IpNet>" => "list of networks",
        "Vec<u16>" => "list of ports",
        "Vec<Domain>" => "list of domains",
        "Vec<String>" | "Vec<Member>" | "Vec<GrantType>" | "Vec<AuthMethod>" => "list of texts",
        "IssuerUrl" | "ClientUrl" | "CollectorUrl" => "URL",
        "DatabaseUrl" => "URL, may be secret",
        "Fresh" => "`{ least, absent, most }`, seconds",
        "Tier" => "`blocked`, `unknown`, `listed`, `approved` or `first_party`",
        "PrivateUseSchemes" => "`bound`, `any` or `off`",
        "LogFormat" => "`auto`, `text` or `json`",
        "Pkce" => "`required`, `nonce` or `optional`",
        "Pattern" => "pattern",
        "Value" | "BTreeMap<String, Meaning>" => "table",
        "Tls" => "table, below",
        "Catalog" | "Vec<Registered>" | "Vec<Rule>" | "Vec<Example>" => "list of tables, below",
        _ => panic!("{}: how is a {ty} written?", key.name),
    };
    told.to_owned()
}

/// The default of a key that is in no table of defaults.
fn default_within(key: &Key) -> &'static str {
    match key.ty.as_str() {
        _ if key.is_required => "required",
        ty if ty.starts_with("Option<") => "not set",
        ty if ty.starts_with("Vec<") => "`[]`",
        ty if ty.starts_with("BTreeMap<") => "`{}`",
        "bool" => "`false`",
        "Pkce" => "`\"required\"`",
        ty => panic!("{}: what is the default of a {ty}?", key.name),
    }
}

/// A default as it is written, and in words where it is a long time.
fn default(key: &Key, value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "not set".to_owned();
    };
    let text = value.to_string();
    let seconds = match value {
        Value::Integer(seconds) if form(key).starts_with("seconds") => *seconds,
        _ => 0,
    };
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let whole = units
        .iter()
        .find(|(unit, _)| seconds >= 600 && seconds % unit == 0);
    match whole {
        Some((unit, name)) => format!("`{text}` ({})", counted(seconds / unit, name)),
        None => format!("`{text}`"),
    }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn lookup<'a>(defaults: &'a Table, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.');
    let first = defaults.get(parts.next()?);
    parts.fold(first, |value, part| value?.as_table()?.get(part))
}

/// The rows of a section: its name is empty for the keys that are in none.
fn rows(text: &mut String, section: &str, keys: &[Key], defaults: &Table) {
    text.push_str("\n| key, environment variable | form | default | |\n|---|---|---|---|\n");
    for key in keys {
        let name = match section {
            "" => key.name.clone(),
            section => format!("{section}.{}", key.name),
        };
        let mut variables = format!("`{}`", variable(&name));
        let is_named_by_a_key = keys
            .iter()
            .any(|it| it.name == format!("{}_file", key.name));
        if SECRETS.contains(&name.as_str()) && !is_named_by_a_key {
            write!(variables, "<br>`{}_FILE`", variable(&name)).unwrap();
        }
        let default = match key.is_required {
            true => "required".to_owned(),
            false => default(key, lookup(defaults, &name)),
        };
        let (form, about) = (form(key), cell(&key.about));
        writeln!(
            text,
            "| `{}`<br>{variables} | {form} | {default} | {about} |",
            key.name
        )
        .unwrap();
    }
}

fn anchor(heading: &str) -> String {
    heading.replace('.', "")
}

fn document() -> String {
    let mut text = "\
# Configuration

For operators who set up or run a server: every key, with its default and its environment variable. This page is generated from
the source: `cargo test --lib` holds it, and writes the new text where it differs.

**Contents:** [Do this](#do-this) · [Where a setting comes from](#where-a-setting-comes-from)"
        .to_owned();
    let defaults = Table::try_from(Config::default()).unwrap();
    let config = described("Config");
    let is_section = |key: &&Key| !["issuer", "resources"].contains(&key.name.as_str());
    let mut headings = vec!["issuer".to_owned()];
    for section in config.keys.iter().filter(is_section) {
        headings.push(section.name.clone());
        let within = WITHIN.iter().map(|(name, ..)| *name);
        let prefix = format!("{}.", section.name);
        headings.extend(
            within
                .filter(|name| name.starts_with(&prefix))
                .map(str::to_owned),
        );
    }
    headings.push("resources".to_owned());
    for heading in &headings {
        write!(text, " ·\n[{heading}](#{})", anchor(heading)).unwrap();
    }
    text.push_str(
        "

## Do this

Copy what you want to change from [`config/wayleave.toml`](../../config/wayleave.toml) into a file of your own. Ask whether it
can be used, and look at what is in force, without secrets:

```sh
wayleave config check
wayleave config show
```

Then restart the server: it reads its configuration when it starts.

## Where a setting comes from

1. **An environment variable** wins: `WAYLEAVE_`, and the key in capitals with `__` between levels. Lists and tables are
   written as in TOML: `WAYLEAVE_FETCH__ALLOW_NETWORKS='[\"10.1.0.0/16\"]'`.
2. **A file that a variable names** has a secret: `WAYLEAVE_DATABASE__URL_FILE=/run/secrets/database_url`. The tables below say
   which keys have such a variable. Set either the value or its file.
3. **The configuration file** is next: the one that `--config` names, else `wayleave.toml` in the current folder, if it is
   there.
4. **The default** is the last.

Relative paths in the file count from its folder, those in variables from the current folder. A key that does not exist is an
error. Times are in seconds, sizes in bytes. \"Not set\" is the default of a key that has no value.
",
    );
    for heading in &headings {
        writeln!(text, "\n## {heading}\n").unwrap();
        if let Some((_, ty, is_list)) = WITHIN.iter().find(|(name, ..)| name == heading) {
            let of = described(ty);
            text.push_str(&of.about);
            match is_list {
                true => {
                    let whole = variable(heading);
                    writeln!(
                        text,
                        " Write `[[{heading}]]` once for each. `{whole}` has the whole list."
                    )
                    .unwrap();
                    text.push_str("\n| key | form | default | |\n|---|---|---|---|\n");
                    for key in &of.keys {
                        let (form, default, about) =
                            (form(key), default_within(key), cell(&key.about));
                        writeln!(text, "| `{}` | {form} | {default} | {about} |", key.name)
                            .unwrap();
                    }
                }
                false => {
                    text.push('\n');
                    rows(&mut text, heading, &of.keys, &defaults);
                }
            }
            continue;
        }
        let of_config = config.keys.iter().find(|key| key.name == *heading).unwrap();
        if !is_section(&of_config) {
            text.push_str("A key of its own, in no section.\n");
            rows(&mut text, "", std::slice::from_ref(of_config), &defaults);
            continue;
        }
        let of = described(&of_config.ty);
        writeln!(text, "{}", of.about).unwrap();
        rows(&mut text, heading, &of.keys, &defaults);
    }
    text
}

#[test]
fn the_reference_is_what_the_source_says() {
    crate::generated::check(FILE, &document());
}

/// What is read from the source is what the configuration takes, no more and no less.
#[test]
fn every_key_that_is_taken_is_described() {
    let taken = |written: &str| -> Vec<String> {
        let error = toml::from_str::<Config>(written).unwrap_err().to_string();
        let (_, names) = error
            .split_once("expected ")
            .unwrap_or_else(|| panic!("{error}"));
        let names = names.lines().next().unwrap_or_default();
        names
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let mut types = vec![("nosuch = 1".to_owned(), "Config".to_owned())];
    for key in described("Config").keys {
        if !["issuer", "resources"].contains(&key.name.as_str()) {
            types.push((format!("[{}]\nnosuch = 1", key.name), key.ty));
        }
    }
    for (name, ty, is_list) in WITHIN {
        let table = match is_list {
            true => format!("[[{name}]]"),
            false => format!("[{name}]"),
        };
        types.push((format!("{table}\nnosuch = 1"), ty.to_owned()));
    }
    for (written, ty) in types {
        let of = described(&ty);
        let mut names: Vec<_> = of.keys.iter().map(|key| key.name.clone()).collect();
        let mut taken = taken(&written);
        names.sort();
        taken.sort();
        assert_eq!(names, taken, "{ty}");
        for key in of.keys.iter().filter(|_| ty != "Config") {
            assert!(
                key.about.ends_with('.'),
                "{ty}: {} is not described",
                key.name
            );
        }
    }
}
