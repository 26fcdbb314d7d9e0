//! Files of the repository that come from the source. Tests hold them against it.

use std::{fs, path::Path};

/// Holds a file of the repository against what the source says now. Where it differs, the new text is below
/// `target/generated`, to be looked at and copied.
pub(crate) fn check(file: &str, generated: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = fs::read_to_string(root.join(file)).unwrap_or_default();
    if written == generated {
        return;
    }
    let new = root.join("target/generated").join(file);
    fs::create_dir_all(new.parent().unwrap()).unwrap();
    fs::write(&new, generated).unwrap();
    let differs = written.lines().zip(generated.lines()).find(|(w, g)| w != g);
    panic!("{file} is older than the source: cp target/generated/{file} {file}\n{differs:?}");
}
