//! Standard output: the result and nothing else.

use crate::error::CliError;
use crate::line::shown;
use std::io::{ErrorKind, IsTerminal, Write};

/// Writes and flushes, so that a stream is seen as it comes.
pub(crate) fn write(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => CliError::ClosedPipe,
        _ => CliError::failure(format!("cannot write to standard output: {error}")),
    })
}

/// A model's text. On a terminal, what would move the cursor or change a mode is shown instead of obeyed.
pub(crate) fn write_text(text: &str) -> Result<(), CliError> {
    if std::io::stdout().is_terminal() { write(&shown(text)) } else { write(text) }
}

/// After a text that is whole: a terminal's next line begins at its left, a file or a pipe gets the text's bytes only.
pub(crate) fn end_line(text: &str) -> Result<(), CliError> {
    if std::io::stdout().is_terminal() && !text.ends_with('\n') { write("\n") } else { Ok(()) }
}

/// One JSON value and a line break.
pub(crate) fn write_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string(value)
        .map_err(|error| CliError::failure(format!("cannot write the result as JSON: {error}")))?;
    write(&(json + "\n"))
}

/// Whether a reader may see standard output and standard error in one place: both are the same file or pipe, or
/// standard output is a pipe whose other end may show it on the terminal that standard error is.
#[cfg(unix)]
pub(crate) fn may_join(stderr_is_terminal: bool) -> bool {
    use std::fs::{File, Metadata};
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    fn metadata(stream: impl AsFd) -> std::io::Result<Metadata> {
        File::from(stream.as_fd().try_clone_to_owned()?).metadata()
    }
    match (metadata(std::io::stdout()), metadata(std::io::stderr())) {
        (Ok(out), Ok(err)) => {
            let is_same = (out.dev(), out.ino()) == (err.dev(), err.ino());
            is_same || stderr_is_terminal && out.file_type().is_fifo()
        }
        _ => false,
    }
}

#[cfg(not(unix))]
pub(crate) fn may_join(stderr_is_terminal: bool) -> bool {
    stderr_is_terminal
}
