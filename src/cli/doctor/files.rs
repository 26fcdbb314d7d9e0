//! Who else on this machine can read or change the files with secrets in them.

use std::path::{Path, PathBuf};

use super::{Finding, Status};
use crate::config::{Config, Environment, config_file, secret_files};

const CHECK: &str = "configuration.files";

/// What others may do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Others {
    Nothing,
    Read,
    Write,
}

pub(super) fn check(config: &Config, file: Option<&Path>, environment: &Environment) -> Finding {
    let mut files: Vec<(String, PathBuf, bool)> = config_file(file)
        .map(|(path, has_secret)| ("the configuration".to_owned(), path, has_secret))
        .into_iter()
        .collect();
    for secret in secret_files(config, environment) {
        // What SQLite has not yet moved into its file lies beside it.
        let mut log = secret.path.clone().into_os_string();
        log.push("-wal");
        if secret.named_by == "database.url" {
            files.push((secret.named_by.clone(), log.into(), true));
        }
        files.push((secret.named_by, secret.path, true));
    }
    let (mut status, mut found, mut to_close) = (Status::Ok, Vec::new(), Vec::new());
    let mut looked_at = Vec::new();
    for (named_by, path, has_secret) in files {
        let Some(others) = others(&path) else {
            continue;
        };
        let may = match others {
            Others::Write => "write",
            Others::Read if has_secret => "read",
            _ => {
                looked_at.push(path.display().to_string());
                continue;
            }
        };
        status = status.max(match others {
            Others::Write => Status::Failed,
            _ => Status::Warning,
        });
        let path = path.display();
        found.push(format!(
            "every user of this machine may {may} {path} ({named_by})"
        ));
        to_close.push(path.to_string());
    }
    match status {
        Status::Ok if looked_at.is_empty() => Finding::ok(CHECK, "there is no file with secrets"),
        Status::Ok => {
            let files = looked_at.join(", ");
            Finding::ok(
                CHECK,
                format!("closed to others, or without secrets: {files}"),
            )
        }
        status => {
            let advice = format!(
                "chmod o= {} (a file that a container is given: on its host)",
                to_close.join(" ")
            );
            Finding::new(CHECK, status, &found.join("; "), Some(&advice))
        }
    }
}

/// What users may do with a file who are neither its owner nor of its group; `None` where that cannot be said.
#[cfg(unix)]
fn others(path: &Path) -> Option<Others> {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| Some(std::fs::metadata(path).ok()?.permissions().mode());
    let path = path.canonicalize().ok()?;
    let file = mode(&path)?;
    // Where a folder lets nobody through, nobody comes to the file.
    for folder in path.ancestors().skip(1) {
        if mode(folder)? & 0o001 == 0 {
            return Some(Others::Nothing);
        }
    }
    Some(match file {
        file if file & 0o002 != 0 => Others::Write,
        file if file & 0o004 != 0 => Others::Read,
        _ => Others::Nothing,
    })
}

#[cfg(not(unix))]
fn others(_: &Path) -> Option<Others> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn others_come_to_a_file_through_open_folders_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "").unwrap();
        let chmod = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (of_folder, of_file, expected) in [
            (0o755, 0o644, Others::Read),
            (0o755, 0o640, Others::Nothing),
            (0o755, 0o600, Others::Nothing),
            (0o755, 0o666, Others::Write),
            (0o700, 0o666, Others::Nothing),
            (0o701, 0o644, Others::Read),
        ] {
            chmod(folder.path(), of_folder);
            chmod(&path, of_file);
            assert_eq!(others(&path), Some(expected), "{of_folder:o} {of_file:o}");
        }
        assert_eq!(others(&folder.path().join("none")), None);
    }
}
