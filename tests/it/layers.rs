//! The rings of `docs/architecture.md`, held: imports point down, and each kind of IO has one home.

use std::{fs, path::Path};

/// Each module, and those it may import besides itself.
const MAY_IMPORT: &[(&str, &[&str])] = {
    const RING_0: &[&str] = &["policy", "protocol", "secret", "time"];
    &[
        ("words", &[]),
        ("counts", &[]),
        ("spans", &[]),
        ("time", &[]),
        ("secret", &[]),
        ("protocol", &["secret", "time"]),
        ("policy", &["protocol", "secret", "time"]),
        ("config", RING_0),
        (
            "store",
            &["limits", "config", "policy", "protocol", "secret", "time"],
        ),
        (
            "limits",
            &["config", "policy", "protocol", "secret", "time"],
        ),
        (
            "fetch",
            &["limits", "config", "policy", "protocol", "secret", "time"],
        ),
        (
            "clients",
            &[
                "store", "fetch", "config", "policy", "protocol", "secret", "time",
            ],
        ),
        (
            "keys",
            &[
                "store", "fetch", "config", "policy", "protocol", "secret", "time",
            ],
        ),
        (
            "accounts",
            &[
                "store", "fetch", "config", "policy", "protocol", "secret", "time",
            ],
        ),
        (
            "refusals",
            &[
                "store", "limits", "config", "policy", "protocol", "secret", "time",
            ],
        ),
        (
            "app",
            &[
                "refusals", "clients", "keys", "accounts", "store", "fetch", "limits", "config",
                "policy", "protocol", "secret", "time",
            ],
        ),
        ("tokens", RING_2),
        (
            "grants",
            &[
                "tokens", "app", "clients", "keys", "accounts", "store", "fetch", "limits",
                "config", "policy", "protocol", "secret", "time",
            ],
        ),
        ("web", RING_3),
        (
            "pages",
            &[
                "web", "grants", "tokens", "app", "refusals", "clients", "keys", "accounts",
                "store", "fetch", "limits", "config", "policy", "protocol", "secret", "time",
            ],
        ),
        (
            "endpoints",
            &[
                "web", "grants", "tokens", "app", "refusals", "clients", "keys", "accounts",
                "store", "fetch", "limits", "config", "policy", "protocol", "secret", "time",
            ],
        ),
        ("server", ALL),
        ("cli", ALL),
        ("lib", ALL),
        ("main", ALL),
    ]
};
const RING_2: &[&str] = &[
    "app", "clients", "keys", "accounts", "store", "fetch", "limits", "config", "policy",
    "protocol", "secret", "time",
];
const RING_3: &[&str] = &[
    "grants", "tokens", "app", "refusals", "clients", "keys", "accounts", "store", "fetch",
    "limits", "config", "policy", "protocol", "secret", "time",
];
const ALL: &[&str] = &[
    "cli",
    "server",
    "endpoints",
    "pages",
    "web",
    "grants",
    "tokens",
    "app",
    "clients",
    "keys",
    "accounts",
    "refusals",
    "store",
    "fetch",
    "limits",
    "config",
    "policy",
    "protocol",
    "secret",
    "time",
];

/// What a module's source does that its place does not allow.
fn violations(module: &str, source: &str) -> Vec<String> {
    let Some((_, may)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{module} has no place in the rings")];
    };
    let code: String = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ");
    let mut found: Vec<String> = imports(&code)
        .into_iter()
        .filter(|import| {
            import != module && !may.contains(&import.as_str()) && ALL.contains(&import.as_str())
        })
        .map(|import| format!("{module} imports {import}"))
        .collect();
    let sql = ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM "];
    if module != "store" && sql.iter().any(|text| code.contains(text)) {
        found.push(format!("{module} has SQL"));
    }
    if module != "fetch" && code.contains("reqwest::") {
        found.push(format!("{module} opens outbound connections"));
    }
    // The tests of store and config say where the run's PostgreSQL is.
    if !["config", "store"].contains(&module) && code.contains("env::var") {
        found.push(format!("{module} reads the environment"));
    }
    found
}

/// The modules named after `crate::`, also in groups.
fn imports(code: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            found.push(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && depth == 0 && !c.is_whitespace() => {
                    found.push(word(&group[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            let module = path
                .strip_prefix(&root)
                .unwrap()
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            found.push((
                module.trim_end_matches(".rs").to_owned(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
}

#[test]
fn imports_point_down_the_rings() {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    assert!(all.len() > 50);
    let found: Vec<_> = all
        .iter()
        .flat_map(|(module, source)| violations(module, source))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_wrong_import_is_found_however_it_is_written() {
    let table = [
        ("protocol", "use crate::time::UnixTime;", 0),
        ("protocol", "use crate::{secret::X, time::Y};", 0),
        ("protocol", "use crate::store::Store;", 1),
        (
            "protocol",
            "use crate::{\n    secret::{X, store},\n    config::Y,\n};",
            1,
        ),
        ("policy", "fn f() { crate::app::x() }", 1),
        ("store", "use crate::clients::C;", 1),
        ("clients", "use crate::app::App;", 1),
        ("pages", "use crate::endpoints::x;", 1),
        ("web", "use crate::pages::x;", 1),
        ("web", "// use crate::pages::x;", 0),
        ("novelty", "", 1),
        ("grants", "const A: &str = \"SELECT x FROM y\";", 1),
        ("clients", "reqwest::get(x)", 1),
        ("keys", "std::env::var(x)", 1),
    ];
    for (module, source, count) in table {
        assert_eq!(
            violations(module, source).len(),
            count,
            "{module}: {source}"
        );
    }
}
