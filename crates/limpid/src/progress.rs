//! How far a phase has come, on standard error, once it takes long.
//!
//! A thread of its own prints, so that the line moves while the main thread is inside one long step. On a terminal one
//! line is rewritten in place and erased at the end; elsewhere a line comes every few seconds.

use crate::console::Console;
use crate::units;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A phase that is shorter shows nothing.
const SILENCE: Duration = Duration::from_secs(2);
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Bytes,
    Tokens,
    Requests,
}

#[derive(Default)]
struct Shared {
    done: AtomicU64,
    total: AtomicU64,
    /// Tokens generated meanwhile, where what is counted is something else.
    n_tokens: AtomicU64,
    is_over: Mutex<bool>,
    over: Condvar,
}

/// A phase that is under way; it ends when this is dropped.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    printer: Option<JoinHandle<()>>,
}

/// Where and when lines come.
struct Printing {
    silence: Duration,
    is_terminal: bool,
    what: &'static str,
    unit: Unit,
}

impl Progress {
    /// `what`: what is being done, such as `loading`.
    pub(crate) fn start(console: &Console, what: &'static str, unit: Unit) -> Self {
        let shared = Arc::new(Shared::default());
        let printing = Printing { silence: SILENCE, is_terminal: console.is_terminal(), what, unit };
        if console.is_quiet() {
            Self { shared, printer: None }
        } else {
            Self::print_to(std::io::stderr(), shared, printing)
        }
    }

    fn print_to(mut out: impl Write + Send + 'static, shared: Arc<Shared>, printing: Printing) -> Self {
        let seen = shared.clone();
        let printer = std::thread::Builder::new().spawn(move || printing.print(&seen, &mut out));
        // A system that refuses a thread can do the work all the same.
        Self { shared, printer: printer.ok() }
    }

    pub(crate) fn set(&self, done: u64, total: u64) {
        self.shared.total.store(total, Ordering::Relaxed);
        self.shared.done.store(done, Ordering::Relaxed);
    }

    /// Of requests: how many tokens those that are done have generated.
    pub(crate) fn set_tokens(&self, n_tokens: u64) {
        self.shared.n_tokens.store(n_tokens, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        *self.shared.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.over.notify_all();
        if let Some(printer) = self.printer.take() {
            // A printer that panicked has nothing more to say; the phase itself went well.
            let _ = printer.join();
        }
    }
}

impl Printing {
    fn print(&self, shared: &Shared, out: &mut impl Write) {
        let (mut wait, start) = (self.silence, Instant::now());
        let mut is_over = shared.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_printed = false;
        loop {
            let waited = shared.over.wait_timeout_while(is_over, wait, |is_over| !*is_over);
            is_over = waited.unwrap_or_else(PoisonError::into_inner).0;
            // Progress that cannot be shown is no reason to stop.
            if *is_over {
                if has_printed && self.is_terminal {
                    let _ = out.write_all(b"\r\x1b[K");
                }
                return;
            }
            let (done, total) = (shared.done.load(Ordering::Relaxed), shared.total.load(Ordering::Relaxed));
            let mut text = line(self.what, self.unit, done, total);
            if self.unit == Unit::Requests {
                let n_tokens = shared.n_tokens.load(Ordering::Relaxed);
                text += &rates(done, n_tokens, start.elapsed().as_secs_f64());
            }
            let text = if self.is_terminal { format!("\r\x1b[K{text}") } else { format!("{text}\n") };
            let _ = out.write_all(text.as_bytes());
            has_printed = true;
            wait = if self.is_terminal { TERMINAL_INTERVAL } else { LINE_INTERVAL };
        }
    }
}

fn line(what: &str, unit: Unit, done: u64, total: u64) -> String {
    if total == 0 {
        return format!("limpid: {what} ...");
    }
    let amount = |n: u64| match unit {
        Unit::Bytes => units::bytes(n as usize),
        Unit::Tokens | Unit::Requests => units::count(n as usize),
    };
    let unit = match unit {
        Unit::Bytes => "",
        Unit::Tokens => " tokens",
        Unit::Requests => " requests",
    };
    format!("limpid: {what} {} of {}{unit} ({} %)", amount(done), amount(total), done * 100 / total)
}

/// Since the start.
fn rates(n_requests: u64, n_tokens: u64, seconds: f64) -> String {
    let (requests, tokens) = (n_requests as f64 / seconds, n_tokens as f64 / seconds);
    format!(", {requests:.2} requests/s, {}", units::rate(tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_far() {
        assert_eq!(
            line("loading", Unit::Bytes, 512 << 20, 2 << 30),
            "limpid: loading 512.0 MiB of 2.0 GiB (25 %)"
        );
        assert_eq!(line("prefill", Unit::Tokens, 512, 4096), "limpid: prefill 512 of 4,096 tokens (12 %)");
        assert_eq!(line("loading", Unit::Bytes, 0, 0), "limpid: loading ...");
        assert_eq!(rates(10, 1000, 4.0), ", 2.50 requests/s, 250 tok/s");
    }

    #[test]
    fn a_short_phase_ends_at_once_and_says_nothing() {
        let start = std::time::Instant::now();
        let written = printed(SILENCE, false, |_| ());
        assert!(start.elapsed() < SILENCE);
        assert_eq!(written, "");
    }

    /// Everything that is printed after so long a silence, while `work` runs and is shown what there is so far.
    fn printed(silence: Duration, is_terminal: bool, work: impl FnOnce(&Written)) -> String {
        let (written, shared) = (Written::default(), Arc::new(Shared::default()));
        let printing = Printing { silence, is_terminal, what: "prefill", unit: Unit::Tokens };
        let progress = Progress::print_to(written.clone(), shared, printing);
        progress.set(512, 4096);
        work(&written);
        drop(progress);
        written.text()
    }

    #[test]
    fn a_long_phase_prints_lines() {
        let soon = Duration::from_millis(20);
        let written = printed(soon, false, Written::wait);
        assert_eq!(written, "limpid: prefill 512 of 4,096 tokens (12 %)\n");
    }

    #[test]
    fn on_a_terminal_one_line_is_rewritten_and_erased() {
        let soon = Duration::from_millis(20);
        let written = printed(soon, true, Written::wait);
        let line = "\r\x1b[Klimpid: prefill 512 of 4,096 tokens (12 %)";
        assert!(written.starts_with(line) && written.ends_with(")\r\x1b[K"), "{written:?}");
    }

    /// What a printer wrote.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        /// Until there is something.
        fn wait(&self) {
            let start = std::time::Instant::now();
            while self.text().is_empty() {
                assert!(start.elapsed() < Duration::from_secs(60), "nothing is printed");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
