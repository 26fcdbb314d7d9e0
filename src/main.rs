//! `wayleave`: runs the command of its arguments.

/// Gives freed memory back, and costs less than the system's under many short requests.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    wayleave::cli::run()
}
