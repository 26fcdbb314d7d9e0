//! The rings of `docs/architecture.md`, held: imports point down, files of one folder import each other in no circle, and each
//! kind of IO has one home.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The rings, from the innermost: a module imports those of rings before its own.
const RINGS: &[&[&str]] = &[
    &["words", "generated"],
    &["time"],
    &["secret"],
    &["protocol"],
    &["policy"],
    &["counts", "spans"],
    &["config"],
    &["limits"],
    &["store", "fetch"],
    &["clients", "keys", "accounts", "refusals"],
    &["app"],
    &["tokens"],
    &["grants"],
    &["web"],
    &["pages", "endpoints"],
    &["server"],
    &["cli"],
    &["lib", "main"],
];

fn ring(module: &str) -> Option<usize> {
    RINGS.iter().position(|ring| ring.contains(&module))
}

/// A path as it is imported: `crate`, `store`, `db`, `Query`.
type Import = Vec<String>;

/// A source file.
struct File {
    /// Where it is, below `src`.
    path: PathBuf,
    /// `store::db::query`; of `store/mod.rs` and `store.rs` it is `store`.
    module: Import,
    /// Without comments, and without the tests at its end.
    code: String,
    whole: String,
}

impl File {
    fn new(path: PathBuf, source: &str) -> Self {
        let stem = path.with_extension("");
        let mut module: Import = stem
            .components()
            .map(|part| part.as_os_str().to_str().unwrap().to_owned())
            .collect();
        if module.len() > 1 && module.last().is_some_and(|name| name == "mod") {
            module.pop();
        }
        let whole: String = source
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n");
        let code = whole.split("#[cfg(test)]\nmod tests").next().unwrap();
        Self {
            path,
            module,
            code: code.to_owned(),
            whole,
        }
    }

    /// The module at the top that it belongs to.
    fn top(&self) -> &str {
        &self.module[0]
    }

    /// Does it stand for a folder?
    fn is_folder(&self, files: &[Self]) -> bool {
        files.iter().any(|other| {
            other.module.len() > self.module.len() && other.module.starts_with(&self.module)
        })
    }

    /// What it imports, as paths from the root of the crate.
    fn imports(&self, code: &str) -> Vec<Import> {
        let own = match self.top() {
            "lib" | "main" => Vec::new(),
            _ => self.module.clone(),
        };
        let above = own[..own.len().saturating_sub(1)].to_vec();
        let starts = [("crate::", Vec::new()), ("self::", own), ("super::", above)];
        let mut found = Vec::new();
        for (word, base) in starts {
            for (at, _) in code.match_indices(word) {
                let before = code[..at].chars().next_back();
                if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    paths(&code[at + word.len()..], &base, &mut found);
                }
            }
        }
        found
    }
}

/// Reads a path, or a group of them in braces, after `base`; returns what stands behind it.
fn paths<'a>(text: &'a str, base: &[String], found: &mut Vec<Import>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if rest.is_empty() {
                return rest;
            }
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
            let after = paths(rest, base, found);
            // `as name`, and whatever else is not ours.
            let end = after.find([',', '}']).unwrap_or(after.len());
            rest = &after[end..];
        }
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = [base, &[name.to_owned()]].concat();
    match rest.strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') && !name.is_empty() => paths(rest, &path, found),
        _ => {
            if !name.is_empty() {
                found.push(path);
            }
            rest
        }
    }
}

/// What a file does that its place does not allow.
fn violations(file: &File) -> Vec<String> {
    let module = file.top();
    let Some(own) = ring(module) else {
        return vec![format!("{module} has no place in the rings")];
    };
    let imports = file.imports(&file.whole);
    let tops: BTreeSet<&str> = imports.iter().map(|path| path[0].as_str()).collect();
    let mut found: Vec<String> = tops
        .into_iter()
        .filter(|top| *top != module && ring(top).is_some_and(|other| other >= own))
        .map(|top| format!("{module} imports {top}"))
        .collect();
    let sql = ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM "];
    if module != "store" && sql.iter().any(|text| file.whole.contains(text)) {
        found.push(format!("{module} has SQL"));
    }
    if module != "fetch" && file.whole.contains("reqwest::") {
        found.push(format!("{module} opens outbound connections"));
    }
    // The tests of store and config say where the run's PostgreSQL is.
    if !["config", "store"].contains(&module) && file.whole.contains("env::var") {
        found.push(format!("{module} reads the environment"));
    }
    found
}

/// Which file each name comes from that a folder passes on: `store::Store` from `store::db`.
fn passed_on(files: &[File]) -> BTreeMap<Import, Import> {
    let mut names = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_folder(files)) {
        let uses = file.code.split("use self::").skip(1);
        for text in uses {
            let mut found = Vec::new();
            paths(text, &file.module, &mut found);
            for path in found {
                let mut name = file.module.clone();
                name.extend(path.last().cloned());
                names.insert(name, path);
            }
        }
    }
    names
}

/// Files of one folder that import each other in a circle.
fn circles(files: &[File]) -> Vec<String> {
    let names = passed_on(files);
    let by_module: BTreeMap<&Import, &File> =
        files.iter().map(|file| (&file.module, file)).collect();
    // The file that a path leads to.
    let home = |path: &Import| {
        let path = names.get(path).unwrap_or(path);
        (1..=path.len())
            .rev()
            .find_map(|n| by_module.get(&path[..n].to_vec()).copied())
    };
    let mut arrows: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for file in files {
        let siblings = file.module.len();
        for import in file.imports(&file.code) {
            // A path through a folder counts for the folder's own file or subfolder.
            let target = home(&import);
            let target = target.and_then(|target| {
                let cut = target.module.len().min(siblings);
                by_module.get(&target.module[..cut].to_vec()).copied()
            });
            let Some(target) = target else { continue };
            let is_sibling = target.module.len() == siblings
                && target.module[..siblings - 1] == file.module[..siblings - 1]
                && siblings > 1;
            if is_sibling && target.module != file.module {
                arrows.entry(&file.path).or_default().insert(&target.path);
            }
        }
    }
    let reach = |from: &Path| {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
        while let Some(at) = waiting.pop() {
            for next in arrows.get(at).into_iter().flatten() {
                if seen.insert(*next) {
                    waiting.push(next);
                }
            }
        }
        seen
    };
    let mut found: BTreeSet<Vec<&Path>> = BTreeSet::new();
    for file in arrows.keys() {
        let reached = reach(file);
        if reached.contains(file) {
            let circle = reached.iter().filter(|other| reach(other).contains(file));
            found.insert(circle.copied().collect());
        }
    }
    let say = |circle: Vec<&Path>| {
        let arrows = circle.iter().flat_map(|from| {
            let to = arrows.get(from).into_iter().flatten();
            let to = to.filter(|to| circle.contains(*to));
            to.map(|to| format!("{} imports {}", from.display(), to.display()))
        });
        arrows.collect::<Vec<_>>().join(", ")
    };
    found.into_iter().map(say).collect()
}

fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut waiting) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let source = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_owned();
                found.push(File::new(path, &source));
            }
        }
    }
    found
}

#[test]
fn imports_point_down_the_rings() {
    let files = sources();
    assert!(files.len() > 50);
    let found: Vec<_> = files.iter().flat_map(violations).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn files_of_one_folder_import_each_other_in_no_circle() {
    let found = circles(&sources());
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
        ("store", "use crate::fetch::F;", 1),
        ("clients", "use crate::app::App;", 1),
        ("clients", "use crate::keys::Keys;", 1),
        ("pages", "use crate::endpoints::x;", 1),
        ("web", "use crate::pages::x;", 1),
        ("web", "// use crate::pages::x;", 0),
        ("novelty", "", 1),
        ("grants", "const A: &str = \"SELECT x FROM y\";", 1),
        ("clients", "reqwest::get(x)", 1),
        ("keys", "std::env::var(x)", 1),
    ];
    for (module, source, count) in table {
        let file = File::new(format!("{module}.rs").into(), source);
        assert_eq!(violations(&file).len(), count, "{module}: {source}");
    }
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let table: &[(&[(&str, &str)], usize)] = &[
        (&[("a/x.rs", "use super::y::Y;"), ("a/y.rs", "")], 0),
        (
            &[
                ("a/x.rs", "use super::y::Y;"),
                ("a/y.rs", "use super::x::X;"),
            ],
            1,
        ),
        (
            &[
                ("a/x.rs", "use super::{\n    y::Y,\n};"),
                ("a/y.rs", "use crate::{b::C, a::z::Z};"),
                ("a/z.rs", "fn f() { super::x::f() }"),
            ],
            1,
        ),
        // By way of what the folder passes on.
        (
            &[
                ("a/mod.rs", "pub use self::{x::X, y::{Y, Z}};"),
                ("a/x.rs", "use super::Z;"),
                ("a/y.rs", "use crate::a::X;"),
            ],
            1,
        ),
        // By way of a folder below.
        (
            &[
                ("a/x.rs", "use super::y::z::Z;"),
                ("a/y/mod.rs", ""),
                ("a/y/z.rs", ""),
                ("a/y.rs", "use super::x::X;"),
            ],
            1,
        ),
        // Tests see everything.
        (
            &[
                ("a/x.rs", "use super::y::Y;"),
                (
                    "a/y.rs",
                    "#[cfg(test)]\nmod tests {\n use super::super::x::X; use crate::a::x::X; }",
                ),
            ],
            0,
        ),
    ];
    for (files, count) in table {
        let files: Vec<_> = files
            .iter()
            .map(|(path, source)| File::new(path.into(), source))
            .collect();
        assert_eq!(circles(&files).len(), *count, "{:?}", circles(&files));
    }
}
