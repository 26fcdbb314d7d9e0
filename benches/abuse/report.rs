//! What was measured: lines of JSON that later runs add to, and one table of them all.

use std::{collections::BTreeMap, fs::OpenOptions, io::Write, path::Path};

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    /// Of which build.
    label: String,
    database: String,
    scenario: String,
    case: String,
    measure: String,
    aim: String,
    value: String,
}

/// Where the rows of one scenario on one database go.
pub(crate) struct Report<'a> {
    pub(crate) file: Option<&'a Path>,
    pub(crate) label: &'a str,
    pub(crate) database: &'a str,
    pub(crate) scenario: &'static str,
}

impl Report<'_> {
    pub(crate) fn note(&self, case: &str, measure: &str, aim: &str, value: impl Into<String>) {
        let row = Row {
            label: self.label.to_owned(),
            database: self.database.to_owned(),
            scenario: self.scenario.to_owned(),
            case: case.to_owned(),
            measure: measure.to_owned(),
            aim: aim.to_owned(),
            value: value.into(),
        };
        println!(
            "{} {} · {case} · {measure}: {}",
            self.database, self.scenario, row.value
        );
        if let Some(file) = self.file {
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(file)
                .unwrap();
            writeln!(file, "{}", serde_json::to_string(&row).unwrap()).unwrap();
        }
    }
}

/// Every row of a file as Markdown: a line for each measure, a column for each build and database. Of a measure that was
/// taken twice the last counts.
pub(crate) fn table(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let rows: Vec<Row> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (mut columns, mut lines) = (Vec::new(), Vec::new());
    let mut cells = BTreeMap::new();
    for row in &rows {
        let column = (row.label.as_str(), row.database.as_str());
        let line = (
            row.scenario.as_str(),
            row.case.as_str(),
            row.measure.as_str(),
            row.aim.as_str(),
        );
        if !columns.contains(&column) {
            columns.push(column);
        }
        if !lines.contains(&line) {
            lines.push(line);
        }
        cells.insert((line, column), row.value.as_str());
    }
    // Builds in the order in which they were measured, the databases of one beside each other.
    let builds: Vec<_> = columns.iter().map(|(label, _)| *label).collect();
    columns.sort_by_key(|(label, _)| builds.iter().position(|build| build == label));
    lines.sort_by_key(|line| lines_of(&rows, line.0));
    let mut markdown = String::new();
    let mut scenario = "";
    for line in &lines {
        if line.0 != scenario {
            scenario = line.0;
            markdown += &heading(scenario, &columns);
        }
        markdown += &format!("| {} | {} | {} |", line.1, line.2, line.3);
        for column in &columns {
            markdown += &format!(" {} |", cells.get(&(*line, *column)).unwrap_or(&"–"));
        }
        markdown.push('\n');
    }
    markdown
}

/// Where a scenario comes first.
fn lines_of(rows: &[Row], scenario: &str) -> Option<usize> {
    rows.iter().position(|row| row.scenario == scenario)
}

fn heading(scenario: &str, columns: &[(&str, &str)]) -> String {
    let mut markdown = format!("\n### {scenario}\n\n| | measure | aim |");
    for (label, database) in columns {
        markdown += &format!(" {label}, {database} |");
    }
    markdown += "\n|---|---|---|";
    markdown += &"---|".repeat(columns.len());
    markdown.push('\n');
    markdown
}
