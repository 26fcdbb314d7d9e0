//! What the server logs, for the test whose thread it runs on.

use std::{cell::RefCell, io::Write, sync::Once};

thread_local! {
    static LINES: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The log of this thread, from now on: for tests on a runtime of one thread.
pub(crate) struct Log;

struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn of_this_thread() -> Log {
    static ONCE: Once = Once::new();
    // One for all tests: what one thread sets alone, others may have switched off before.
    ONCE.call_once(|| {
        let lines = tracing_subscriber::fmt().json().with_writer(|| Writer);
        let filtered = lines.with_env_filter("wayleave=info");
        _ = tracing::subscriber::set_global_default(filtered.finish());
    });
    LINES.set(Some(Vec::new()));
    Log
}

impl Log {
    pub(crate) fn text(&self) -> String {
        LINES.with_borrow(|lines| String::from_utf8(lines.clone().unwrap_or_default()).unwrap())
    }
}
