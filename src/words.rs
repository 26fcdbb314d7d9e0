//! Numbers of things in words.

/// A number of things: `1 day`, `2 days`.
pub fn counted(count: impl Into<i128>, unit: &str) -> String {
    let count = count.into();
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// What there is to choose from: `a, b or c`.
pub fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [many @ .., last] => format!("{} or {last}", many.join(", ")),
    }
}

/// A number of people: `1 person`, `2 people`.
pub fn people(count: i64) -> String {
    match count {
        1 => "1 person".to_owned(),
        many => format!("{many} people"),
    }
}

/// How many grants of how many people.
pub fn used_by(grants: i64, by: i64) -> String {
    format!("{} of {}", counted(grants, "grant"), people(by))
}
