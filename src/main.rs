//! `wayleave`: runs the command of its arguments.

fn main() -> std::process::ExitCode {
    wayleave::cli::run()
}
