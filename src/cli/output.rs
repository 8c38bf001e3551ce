//! Output of the command line: results on standard output, messages on standard error.

use std::io::Write;
use std::process::ExitCode;

use crate::config::Finding;

/// Writes to standard output. A closed pipe counts as success, because its reader needs no more output.
pub(super) fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes a message to standard error; returns the exit status of a failure.
pub(super) fn print_error(text: &str) -> ExitCode {
    // if standard error cannot be written to, the message is lost
    let _ = writeln!(std::io::stderr().lock(), "ruwsgi: {text}");
    ExitCode::FAILURE
}

/// Writes each finding to standard error; returns the exit status of a failure.
pub(super) fn print_errors(findings: &[Finding]) -> ExitCode {
    for finding in findings {
        print_error(&finding.to_string());
    }
    ExitCode::FAILURE
}
