//! Makes a process a daemon: daemon(7).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use nix::unistd::{self, ForkResult};

use super::path_error;
use super::stdio;
use super::thread::exit_now;

/// Why this process cannot become a daemon.
#[derive(thiserror::Error, Debug)]
pub enum DaemonError {
    /// The log cannot be written.
    #[error("cannot write the log {path}: {reason}", path = .0.display(), reason = path_error::reason(.0, .1))]
    Log(PathBuf, io::Error),
    /// fork(2) or another system call failed.
    #[error("cannot leave the terminal: {0}")]
    Kernel(#[from] io::Error),
}

/// Makes this process a daemon. Returns in the daemon only; the original process exits with 0.
///
/// The daemon has no terminal and leads no session. Its input is `/dev/null`. Its output is appended to `log`, which is
/// created with mode 0640 if it does not exist. The umask and the working directory do not change.
///
/// To be called only while the process has one thread.
///
/// # Errors
/// [`DaemonError`].
pub fn daemonize(log: &Path) -> Result<(), DaemonError> {
    let log = open(log)?;
    if let Role::Parent = leave()? {
        exit_now(0);
    }
    take_descriptors(&log)?;
    Ok(())
}

/// Makes this process a daemon, as [`daemonize`] does. The process that was started does not exit at once: it waits
/// until the daemon reports the result of its start through [`Parent`]. It exits with 0 when the daemon serves,
/// otherwise with the status of the failure.
///
/// # Errors
/// [`DaemonError`].
pub fn detach_later(log: &Path) -> Result<Parent, DaemonError> {
    let path = log;
    let log = open(path)?;
    let (read, write) = io::pipe()?;
    if let Role::Parent = leave()? {
        drop(write);
        exit_now(wait_for_result(read, path));
    }
    drop(read);
    take_descriptors(&log)?;
    Ok(Parent { pipe: write })
}

/// The daemon's connection to the original process, which waits for a report. If no report comes,
/// because the value is dropped or the daemon dies, the waiting process exits with 1.
#[derive(Debug)]
pub struct Parent {
    pipe: io::PipeWriter,
}

impl Parent {
    /// Reports that the daemon serves: the parent exits with 0.
    ///
    /// # Errors
    /// `BrokenPipe` when the parent has ended. A user has then stopped the parent, and meant to stop the daemon.
    pub fn ready(mut self) -> io::Result<()> {
        self.pipe.write_all(&[0])
    }

    /// Reports that the daemon cannot start: the parent writes `sentence` to its terminal and exits with `status`.
    pub fn failed(mut self, status: u8, sentence: &str) {
        let mut result = vec![status];
        result.extend_from_slice(sentence.as_bytes());
        // the write fails only if the parent has ended; then no process waits for the result
        let _ = self.pipe.write_all(&result);
    }
}

fn wait_for_result(mut pipe: io::PipeReader, log: &Path) -> i32 {
    let mut status = [1];
    if let Ok(0) | Err(_) = pipe.read(&mut status) {
        let log = log.display();
        stdio::write_stderr(
            format!("ruwsgi: died while starting; the log {log} may say why\n").as_bytes(),
        );
        return 1;
    }
    let mut sentence = String::new();
    let _ = pipe.read_to_string(&mut sentence);
    if !sentence.is_empty() {
        let log = log.display();
        stdio::write_stderr(format!("ruwsgi: {sentence} (log: {log})\n").as_bytes());
    }
    i32::from(status[0])
}

fn open(log: &Path) -> Result<File, DaemonError> {
    stdio::open_log(log).map_err(|e| DaemonError::Log(log.to_owned(), e))
}

enum Role {
    Parent,
    Daemon,
}

/// Forks twice, with setsid(2) between the forks. The second child leads no session, so it gets no controlling terminal
/// when it opens a terminal.
fn leave() -> io::Result<Role> {
    // SAFETY: by the callers' contract the process has one thread, so the child may call any function.
    if let ForkResult::Parent { .. } = unsafe { unistd::fork() }? {
        return Ok(Role::Parent);
    }
    let session = unistd::setsid();
    // SAFETY: the child of the first fork has one thread too.
    match session.and_then(|_| unsafe { unistd::fork() }) {
        Ok(ForkResult::Child) => Ok(Role::Daemon),
        Ok(ForkResult::Parent { .. }) => exit_now(0),
        Err(e) => {
            let reason = io::Error::from(e);
            stdio::write_stderr(
                format!("ruwsgi: cannot leave the terminal: {reason}\n").as_bytes(),
            );
            exit_now(1)
        }
    }
}

fn take_descriptors(log: &File) -> io::Result<()> {
    stdio::close_input()?;
    stdio::write_output_to(log)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::{Command, Output};
    use std::time::{Duration, Instant};

    const MODE: &str = "RUWSGI_TEST_DAEMON";

    /// Runs in a separate process (see `start`).
    #[test]
    fn child_that_becomes_a_daemon() {
        let Ok(mode) = std::env::var(MODE) else {
            return;
        };
        let (mode, log) = mode.split_once('/').unwrap();
        let log = Path::new("/").join(log);
        let result = match mode {
            "at-once" => daemonize(&log),
            _ => detach_later(&log).map(|parent| {
                eprintln!("starting");
                match mode {
                    "ready" => parent.ready().unwrap(),
                    "failed" => parent.failed(22, "no such application"),
                    _ => {}
                }
            }),
        };
        if let Err(error) = result {
            stdio::write_stderr(format!("{error}\n").as_bytes());
            std::process::exit(1);
        }
        let ids = (unistd::getpid(), unistd::getsid(None).unwrap());
        let input = std::fs::read_link("/proc/self/fd/0").unwrap();
        stdio::write_stderr(
            format!("leads {} input {} done\n", ids.0 == ids.1, input.display()).as_bytes(),
        );
        std::process::exit(0);
    }

    fn start(mode: &str, log: &Path) -> Output {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg("sys::daemon::tests::child_that_becomes_a_daemon")
            .env(MODE, format!("{mode}{}", log.display()))
            .output()
            .unwrap()
    }

    fn log_once_done(log: &Path) -> String {
        let start = Instant::now();
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            if text.contains("done\n") || start.elapsed() > Duration::from_secs(10) {
                return text;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_daemon_leads_no_session_and_writes_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, "before\n").unwrap();
        assert!(start("at-once", &log).status.success());
        assert_eq!(
            log_once_done(&log),
            "before\nleads false input /dev/null done\n"
        );
    }

    #[test]
    fn a_log_that_cannot_be_written_is_an_error_in_the_foreground() {
        let output = start("at-once", Path::new("/nonexistent/dir/log"));
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("cannot write the log /nonexistent/dir/log: the directory /nonexistent does not exist"),
            "{text}"
        );
    }

    #[test]
    fn the_parent_exits_with_the_result_of_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert_eq!(start("ready", &log).status.code(), Some(0));
        assert!(log_once_done(&log).starts_with("starting\n"));
        let failed = start("failed", &log);
        assert_eq!(failed.status.code(), Some(22));
        let text = String::from_utf8(failed.stderr).unwrap();
        assert!(
            text.contains("ruwsgi: no such application (log: "),
            "{text}"
        );
        let died = start("died", &log);
        assert_eq!(died.status.code(), Some(1));
    }
}
