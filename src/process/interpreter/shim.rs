//! Version managers' shims: scripts that are installed in place of an interpreter, and look up the selected version
//! each time they run.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sys::process::{self, Pid};
use crate::sys::signal::Signal;
use crate::sys::socket;

use super::executable::{check_executable, is_script};
use super::search_path::{DEFAULT_NAMES, candidates};

/// Maximum time that a shim may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time that a shim may take to answer an emperor. The emperor asks in place of its vassals, and can continue
/// without an answer.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The files by which pyenv, asdf and mise select a version for a directory and all directories below it.
const VERSION_FILES: [&str; 10] = [
    ".python-version",
    ".tool-versions",
    "mise.toml",
    ".mise.toml",
    "mise.local.toml",
    ".mise.local.toml",
    "mise/config.toml",
    ".mise/config.toml",
    ".config/mise.toml",
    ".config/mise/config.toml",
];

/// The interpreter that the shim on PATH names when no directory selects a version. An emperor asks the shim once, for
/// all its vassals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shim {
    script: PathBuf,
    interpreter: PathBuf,
}

impl Shim {
    /// Runs the first `python3` on PATH to learn its interpreter, or `python` if there is no `python3`. Waits up to two
    /// seconds. `None` if the file is no script, or if it does not answer in time.
    pub(crate) fn on_path(path_env: &OsStr) -> Option<Self> {
        let script = candidates(&DEFAULT_NAMES, path_env).next()?;
        let is_shim = check_executable(&script).is_ok() && is_script(&script).unwrap_or(false);
        if !is_shim {
            return None;
        }
        let interpreter = ask(&script, Some(Path::new("/")), SHORT_TIMEOUT).ok()?;
        Some(Self {
            script,
            interpreter,
        })
    }

    /// Encodes the answer for a variable of a child's environment.
    pub(crate) fn to_text(&self) -> OsString {
        let parts = [&self.script, &self.interpreter].map(|path| path.as_os_str().as_bytes());
        OsString::from_vec(parts.join(&b'\n'))
    }

    /// Decodes the text of [`Shim::to_text`].
    pub(crate) fn from_text(text: &OsStr) -> Option<Self> {
        let mut parts = text.as_bytes().split(|byte| *byte == b'\n');
        let mut path = || Some(PathBuf::from(OsStr::from_bytes(parts.next()?)));
        let shim = Self {
            script: path()?,
            interpreter: path()?,
        };
        path().is_none().then_some(shim)
    }

    /// The path of the interpreter.
    pub(super) fn interpreter(&self) -> &Path {
        &self.interpreter
    }

    /// Whether `script`, run in the working directory, would name the same interpreter. `script` must be the shim that
    /// was asked. The working directory and the directories above it must not select a version.
    pub(super) fn applies_to(&self, script: &Path) -> bool {
        let Ok(directory) = std::env::current_dir() else {
            return false;
        };
        self.script == script
            && check_executable(&self.interpreter).is_ok()
            && !selects_version(&directory)
    }
}

/// Resolves a path to an interpreter: the path itself, or, if the file is a script, the interpreter that the script
/// names. Running the script may take up to ten seconds.
///
/// # Errors
/// Why there is no interpreter, as a predicate that follows the path in a sentence.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, String> {
    check_executable(path)?;
    if !is_script(path).map_err(|error| format!("cannot be read: {error}"))? {
        return Ok(path.to_path_buf());
    }
    let real = ask(path, None, TIMEOUT)?;
    check_executable(&real)
        .map_err(|why| format!("is a script for {}, which {why}", real.display()))?;
    Ok(real)
}

/// Whether a directory, or a directory above it, has a file that selects a version.
fn selects_version(directory: &Path) -> bool {
    let selects = |directory: &Path| {
        let mut files = VERSION_FILES.iter().map(|name| directory.join(name));
        files.any(|file| file.symlink_metadata().is_ok())
    };
    directory.ancestors().any(selects)
}

/// Runs a script to learn the path of its interpreter. The script runs in `directory`, or in the working directory if
/// `directory` is `None`. Waits up to `timeout`.
///
/// # Errors
/// Why the script names no interpreter, as a predicate that follows the script's path in a sentence.
fn ask(script: &Path, directory: Option<&Path>, timeout: Duration) -> Result<PathBuf, String> {
    let mut command = Command::new(script);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    command
        .args(["-c", "import sys; print(sys.executable)"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // the script runs in its own process group, so that it can be killed together with its children
        .process_group(0);
    let mut child =
        start(&mut command).map_err(|error| format!("is a script that does not start: {error}"))?;
    let Some(succeeded) = wait(&mut child, timeout) else {
        return Err(format!(
            "is a script that did not name its interpreter within {} s",
            timeout.as_secs()
        ));
    };
    let (answer, complaint) = (
        first_line(child.stdout.take()),
        first_line(child.stderr.take()),
    );
    match answer {
        Some(path) if succeeded && path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => {
            let complaint =
                complaint.map_or_else(String::new, |line| format!(" (it says: {line})"));
            Err(format!("is a script that names no interpreter{complaint}"))
        }
    }
}

/// Starts a command. While another process has the command's file open for writing (`ETXTBSY`), tries again for up to
/// a second.
fn start(command: &mut Command) -> io::Result<Child> {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            started => return started,
        }
    }
}

/// Waits for a child and returns whether it succeeded. After the timeout, kills the child and its process group and
/// returns `None`.
fn wait(child: &mut Child, timeout: Duration) -> Option<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            // another part of this process has reaped the child, so the status is lost; the caller checks the output
            // instead
            Err(_) => return Some(true),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => break,
        }
    }
    if let Some(leader) = Pid::new(child.id().cast_signed()) {
        let _ = process::signal_group(leader, Signal::SIGKILL);
    }
    let _ = child.wait();
    None
}

/// The first non-blank line among the bytes that a pipe holds now. Does not wait for the end of the pipe, because a
/// background process may keep it open.
fn first_line<P: Read + AsFd>(pipe: Option<P>) -> Option<String> {
    let pipe = pipe?;
    socket::set_nonblocking(&pipe, true).ok()?;
    let mut bytes = Vec::new();
    // `read_to_end` fails with `WouldBlock` if the pipe is still open, but the bytes read so far are in the buffer
    let _ = pipe.take(4096).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_shim_that_hangs_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let shim = dir.path().join("python3");
        script(&shim, "#!/bin/sh\nsleep 60\n");
        let why = ask(&shim, None, Duration::from_millis(50)).unwrap_err();
        assert!(why.contains("did not name its interpreter"), "{why}");
    }

    #[test]
    fn a_shims_answer_is_passed_on_as_a_text() {
        let dir = tempfile::tempdir().unwrap();
        let shim = dir.path().join("python3");
        script(&shim, "#!/bin/sh\necho /proc/self/exe\n");
        let known = Shim::on_path(dir.path().as_os_str()).unwrap();
        assert_eq!(Shim::from_text(&known.to_text()), Some(known.clone()));
        assert_eq!(Shim::from_text(OsStr::new("one line")), None);
        assert!(!known.applies_to(Path::new("/elsewhere/python3")));
        fs::copy("/proc/self/exe", &shim).unwrap();
        assert_eq!(Shim::on_path(dir.path().as_os_str()), None, "no script");
    }

    #[test]
    fn a_version_file_counts_for_all_directories_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("site/app");
        fs::create_dir_all(&below).unwrap();
        fs::write(dir.path().join(".python-version"), "3.12").unwrap();
        assert!(selects_version(&below));
    }
}
