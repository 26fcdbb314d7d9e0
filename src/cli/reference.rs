//! What is written about the commands: manual pages, completions for shells, and `docs/reference/commands.md`. All of it
//! comes from the definitions that read the command line.

use std::{
    io::{self, ErrorKind, Write},
    path::Path,
};

use anyhow::Context;
use clap::CommandFactory;
use serde_json::json;

use super::{Cli, output};
use crate::words::counted;

const PROGRAM: &str = "wayleave";

/// Prints a script for a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    match io::stdout().write_all(&script) {
        // The reader closed the pipe: it has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}

/// Writes `wayleave.1`, `wayleave-client.1`, `wayleave-client-list.1` and so on.
pub(super) fn man(folder: &Path, as_json: bool) -> anyhow::Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut files = Vec::new();
    write_pages(&command, PROGRAM, folder, &mut files)?;
    if as_json {
        return output::json(&json!({ "folder": folder, "files": files }));
    }
    let pages = i64::try_from(files.len()).unwrap_or(i64::MAX);
    say!(
        "{} written to {}",
        counted(pages, "manual page"),
        folder.display()
    );
    Ok(())
}

fn write_pages(
    command: &clap::Command,
    name: &str,
    folder: &Path,
    files: &mut Vec<String>,
) -> anyhow::Result<()> {
    let mut page = Vec::new();
    // The page of a command is found by its whole name.
    let titled = command.clone().display_name(name.to_owned());
    clap_mangen::Man::new(titled).render(&mut page)?;
    let file = format!("{name}.1");
    let path = folder.join(&file);
    std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    files.push(file);
    for below in shown(command) {
        let name = format!("{name}-{}", below.get_name());
        write_pages(below, &name, folder, files)?;
    }
    Ok(())
}

/// The commands below one, without those that are kept for old scripts and without `help`.
fn shown(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    let all = command.get_subcommands();
    all.filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::{super::exit::Exit, *};

    const FILE: &str = "docs/reference/commands.md";

    /// How each command may fail, besides `failed` and `usage`: `n` not found, `c` conflict.
    const ENDS: &[(&str, &str)] = &[
        ("serve", ""),
        ("healthcheck", ""),
        ("doctor", ""),
        ("migrate", ""),
        ("user add", "c"),
        ("user set", "nc"),
        ("user list", ""),
        ("user passwd", "n"),
        ("user unlock", "n"),
        ("user rename", "nc"),
        ("user disable", "nc"),
        ("user enable", "n"),
        ("user delete", "nc"),
        ("client list", ""),
        ("client add", "c"),
        ("client remove", "nc"),
        ("client set", "nc"),
        ("client secret add", "nc"),
        ("client secret remove", "nc"),
        ("client secret list", "nc"),
        ("client hash-secret", ""),
        ("client show", "n"),
        ("client history", "n"),
        ("client check-policy", "n"),
        ("client trust", "nc"),
        ("client block", "n"),
        ("client forget", "n"),
        ("client rules", ""),
        ("client refresh", "nc"),
        ("grant list", "n"),
        ("grant revoke", "n"),
        ("consent list", "n"),
        ("consent revoke", "n"),
        ("session list", "n"),
        ("session end", "n"),
        ("refusal list", ""),
        ("refusal show", "n"),
        ("key list", ""),
        ("key rotate", ""),
        ("key revoke", "n"),
        ("key reset", ""),
        ("resource list", ""),
        ("resource metadata", "n"),
        ("explain", "n"),
        ("config show", ""),
        ("config check", ""),
        ("completions", ""),
        ("man", ""),
    ];

    /// Every command that does something, by its words.
    fn leaves() -> Vec<(String, clap::Command)> {
        fn walk(command: &clap::Command, name: &str, leaves: &mut Vec<(String, clap::Command)>) {
            for below in shown(command) {
                let name = format!("{name} {}", below.get_name());
                match below.has_subcommands() {
                    true => walk(below, &name, leaves),
                    false => leaves.push((name.trim_start().to_owned(), below.clone())),
                }
            }
        }
        let mut command = Cli::command();
        command.build();
        let mut leaves = Vec::new();
        walk(&command, "", &mut leaves);
        leaves
    }

    fn arguments(command: &clap::Command) -> impl Iterator<Item = &clap::Arg> {
        let all = command.get_arguments();
        all.filter(|it| !it.is_hide_set() && !it.is_global_set() && it.get_id() != "help")
    }

    fn cell(text: &str) -> String {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.replace('|', "\\|")
            .replace('*', "\\*")
            .replace('<', "&lt;")
    }

    /// An argument as it is typed.
    fn typed(argument: &clap::Arg) -> String {
        let names = argument.get_value_names().unwrap_or_default();
        let value = names
            .iter()
            .map(|name| name.to_string())
            .collect::<Vec<_>>();
        let takes = argument.get_action().takes_values();
        match (argument.get_long(), takes) {
            (Some(long), true) => format!("--{long} {}", value.join(" ")),
            (Some(long), false) => format!("--{long}"),
            (None, _) => value.join(" "),
        }
    }

    fn about(command: &clap::Command) -> String {
        command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    fn exits(name: &str) -> String {
        let more = ENDS.iter().find(|(known, _)| *known == name);
        let more = more.unwrap_or_else(|| panic!("ENDS has no {name}")).1;
        let ends = Exit::ALL.into_iter().filter(|exit| match exit {
            Exit::NotFound => more.contains('n'),
            Exit::Conflict => more.contains('c'),
            Exit::Done | Exit::Failed | Exit::Usage => true,
        });
        let codes = ends.map(|exit| match exit {
            Exit::Done => exit.code().to_string(),
            _ => format!("{} `{}`", exit.code(), exit.name()),
        });
        codes.collect::<Vec<_>>().join(", ")
    }

    fn document() -> String {
        let mut text = "\
# Commands

This page is generated from the program: `cargo test --lib` holds it, and writes the new text where it differs. The same
is in the manual (`man wayleave`, `man wayleave-client-list`) and in `wayleave COMMAND --help`.

Every command takes `--config FILE`, the configuration file, and `--json`. With `--json` standard output has one JSON value:
an array for a list, an object for anything else; times are RFC 3339, lists are arrays. An error is one line of JSON on
standard error: `{\"error\": \"not_found\", \"message\": \"…\", \"exit_code\": 1}`. Without it an error is a line that begins with
`wayleave: `. `serve`, `completions` and `man` have an output of their own.

A list shows 100 entries unless `--limit` says otherwise; that there are more, or none, is said on standard error. `explain`
and `doctor` use colours on a terminal, unless `NO_COLOR` is set.

`wayleave completions bash` (or `zsh`, `fish`, `elvish`, `powershell`) prints a script for the shell; `wayleave man --out
FOLDER` writes the manual. The image has both.

**Contents:** [Exit codes](#exit-codes) · [All commands](#all-commands) · [Their arguments](#their-arguments)

## Exit codes

| code | `error` | |
|---|---|---|
"
        .to_owned();
        for exit in Exit::ALL {
            let error = match exit {
                Exit::Done => String::new(),
                exit => format!("`{}`", exit.name()),
            };
            writeln!(text, "| {} | {error} | {} |", exit.code(), exit.meaning()).unwrap();
        }
        text.push_str("\n## All commands\n\n| command | | exit codes |\n|---|---|---|\n");
        let leaves = leaves();
        for (name, command) in &leaves {
            let (about, exits) = (cell(&about(command)), exits(name));
            writeln!(text, "| `wayleave {name}` | {about} | {exits} |").unwrap();
        }
        text.push_str("\n## Their arguments\n");
        for (name, command) in &leaves {
            if arguments(command).next().is_none() {
                continue;
            }
            writeln!(text, "\n### wayleave {name}\n\n| | |\n|---|---|").unwrap();
            for argument in arguments(command) {
                let help = argument.get_help().map(ToString::to_string);
                let help = cell(&help.unwrap_or_default());
                writeln!(text, "| `{}` | {help} |", typed(argument)).unwrap();
            }
        }
        text
    }

    #[test]
    fn the_reference_is_what_the_program_says() {
        crate::generated::check(FILE, &document());
    }

    #[test]
    fn every_command_and_every_argument_is_described() {
        let leaves = leaves();
        assert!(leaves.len() > 40, "{}", leaves.len());
        let names: Vec<_> = leaves.iter().map(|(name, _)| name.as_str()).collect();
        let known: Vec<_> = ENDS.iter().map(|(name, _)| *name).collect();
        for name in known {
            assert!(
                names.contains(&name),
                "ENDS has {name}, which is no command"
            );
        }
        for (name, command) in &leaves {
            assert!(!about(command).is_empty(), "{name}");
            for argument in arguments(command) {
                let id = argument.get_id();
                let help = argument.get_help().map(ToString::to_string);
                assert!(help.is_some_and(|help| !help.is_empty()), "{name} {id}");
            }
            let is_list = name.ends_with(" list") || name.ends_with(" rules");
            let has_limit = arguments(command).any(|it| it.get_id() == "limit");
            assert!(!is_list || has_limit, "{name} has no --limit");
        }
        Cli::command().debug_assert();
    }
}
