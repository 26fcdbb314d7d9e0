//! Every row of the attack corpus, sections 3(a), 3(c), 3(d), 3(e), 3(g) and 3(h), has a test by its id, or a reason why it has none.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
};

const ROWS: &str = include_str!("../corpus/rows.tsv");

/// Id → reason for having no test; empty: it has one.
fn rows() -> BTreeMap<&'static str, &'static str> {
    let lines = ROWS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut columns = line.split('\t');
            let id = columns.next().unwrap();
            (id, columns.nth(2).unwrap_or_default())
        })
        .collect()
}

fn files(folder: &Path, all: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if let Ok(text) = fs::read_to_string(&path) {
            all.push((path.display().to_string(), text));
        }
    }
}

/// Ids in the name of a function, such as `c_01_c_02_a_thousand_…` and `ip_90_…`.
fn in_a_name(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('_').collect();
    let is_row = |pair: &&[&str]| {
        let [section, number] = pair else {
            return false;
        };
        matches!(
            *section,
            "u" | "l"
                | "d"
                | "t"
                | "h"
                | "m"
                | "k"
                | "r"
                | "c"
                | "ip"
                | "x"
                | "j"
                | "v"
                | "p"
                | "q"
                | "o"
                | "i"
                | "w"
                | "f"
                | "y"
        ) && number.len() == 2
            && number.bytes().all(|b| b.is_ascii_digit())
    };
    words
        .windows(2)
        .filter(is_row)
        .map(|pair| format!("{}-{}", pair[0].to_uppercase(), pair[1]))
        .collect()
}

/// The ids that tests bear: in the names of test functions, in data that tests read, and in the tables of unit tests.
fn covered() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    files(&root.join("src"), &mut sources);
    files(&root.join("tests/it"), &mut sources);
    let mut covered = BTreeSet::new();
    for (path, text) in &sources {
        if path.ends_with("coverage.rs") {
            continue;
        }
        // Test functions only: what stands above a name in a source decides.
        let tests = text.find("#[cfg(test)]").map_or("", |at| &text[at..]);
        let tests = if path.contains("tests") {
            text.as_str()
        } else {
            tests
        };
        for line in tests.lines() {
            if let Some(name) = line.trim_start().split("fn ").nth(1) {
                covered.extend(in_a_name(name.split(['(', '<']).next().unwrap()));
            }
            // A row of a table: its id begins a string.
            for part in line.split('"').skip(1).step_by(2) {
                let id: String = part
                    .chars()
                    .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '-')
                    .collect();
                covered.insert(id);
            }
        }
    }
    let mut data = Vec::new();
    files(&root.join("tests/corpus"), &mut data);
    for (path, text) in &data {
        if path.ends_with("rows.tsv") {
            continue;
        }
        for line in text.lines() {
            let in_json = line
                .split("\"id\": \"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            let in_tsv = path
                .ends_with(".tsv")
                .then(|| line.split('\t').next().unwrap());
            covered.extend(in_json.or(in_tsv).map(str::to_owned));
        }
    }
    covered
}

#[test]
fn every_row_of_the_corpus_has_a_test_or_a_reason() {
    let (rows, covered) = (rows(), covered());
    let (left_out, tested): (Vec<_>, Vec<_>) =
        rows.iter().partition(|(_, reason)| !reason.is_empty());
    let missing: Vec<_> = tested
        .iter()
        .filter(|(id, _)| !covered.contains(**id))
        .map(|(id, _)| id)
        .collect();
    // Past the test harness, which keeps what tests print to itself.
    let mut out = std::io::stderr();
    _ = writeln!(
        out,
        "attack corpus 3(a), 3(c), 3(d), 3(e), 3(g), 3(h): {} of {} rows have a test, {} are left out",
        tested.len() - missing.len(),
        rows.len(),
        left_out.len()
    );
    for (id, reason) in &left_out {
        _ = writeln!(out, "  {id} left out: {reason}");
    }
    assert!(missing.is_empty(), "rows without a test: {missing:?}");
}

/// A row has an id of its own, its section, and words that say what it is about.
#[test]
fn the_list_of_rows_is_a_list() {
    let mut ids = BTreeSet::new();
    for line in ROWS.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, section, words, _] = columns[..] else {
            panic!("four columns: {line}");
        };
        assert!(ids.insert(id), "{id} is there twice");
        assert!(section.starts_with("3("), "{line}");
        assert!(words.split(' ').count() > 1, "{line}");
    }
}
