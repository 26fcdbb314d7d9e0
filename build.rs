//! The version that `wayleave --version` prints: with the commit, where one is known.

use std::process::Command;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script everything by the environment"
)]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=WAYLEAVE_COMMIT");
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let version = variable("CARGO_PKG_VERSION").unwrap_or_default();
    let is_release = variable("PROFILE").as_deref() == Some("release");
    // Only a release asks git: every other build would be made anew with every commit.
    let commit = variable("WAYLEAVE_COMMIT").or_else(|| is_release.then(of_checkout).flatten());
    let version = commit.map_or_else(|| version.clone(), |commit| format!("{version} ({commit})"));
    // Not named as a variable of the configuration: cargo also sets it for what it runs.
    println!("cargo:rustc-env=VERSION_AND_COMMIT={version}");
}

/// The commit of this folder, if it is a checkout of its own and not merely inside somebody else's.
fn of_checkout() -> Option<String> {
    let git = |arguments: &[&str]| {
        let told = Command::new("git")
            .arg("rev-parse")
            .args(arguments)
            .output();
        let told = told.ok().filter(|told| told.status.success())?;
        String::from_utf8(told.stdout).ok()
    };
    let told = git(&["--show-prefix", "--short=12", "HEAD"])?;
    let commit = told.strip_prefix('\n')?.trim_end().to_owned();
    let log = git(&["--git-path", "logs/HEAD"])?;
    println!("cargo:rerun-if-changed={}", log.trim_end());
    Some(commit)
}
