//! Numbers on the command line: what is no number is told in English.

use std::any::TypeId;

use clap::{Command, builder::ValueParser};

/// The command, with our own words about numbers in all of its arguments.
pub(super) fn in_words(command: Command) -> Command {
    let names: Vec<_> = command
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    let command = command.mut_args(|argument| {
        let is_number = argument.get_value_parser().type_id() == TypeId::of::<u32>();
        match is_number && argument.get_action().takes_values() {
            true => argument.value_parser(ValueParser::new(number)),
            false => argument,
        }
    });
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, in_words)
    })
}

fn number(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .map_err(|_| "expected a whole number from 0 to 4294967295")
}
