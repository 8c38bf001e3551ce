//! Version managers' shims: scripts in the place of an interpreter that look up the right one each time they run.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{USUAL, candidates, check_executable, is_script};

/// How long a shim may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take where the answer only saves time.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

/// The files by which a directory chooses a version for what runs in it or below: pyenv's, asdf's, mise's.
const CHOOSERS: [&str; 10] = [
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

/// What the shim on PATH stands for where no directory has a say: asked once, and handed to many processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shim {
    script: PathBuf,
    pub(super) interpreter: PathBuf,
}

impl Shim {
    /// Asks the first `python3` of PATH, if that is a script.
    pub fn on_path(path_env: &OsStr) -> Option<Self> {
        let script = candidates(&USUAL, path_env).next()?;
        let is_shim = check_executable(&script).is_ok() && is_script(&script).unwrap_or(false);
        if !is_shim {
            return None;
        }
        // where it does not answer, who needs it asks again and says what is wrong
        let interpreter = ask(&script, Some(Path::new("/")), SHORT_PATIENCE).ok()?;
        Some(Self {
            script,
            interpreter,
        })
    }

    /// As a text, for a child's environment.
    pub fn to_text(&self) -> OsString {
        let parts = [&self.script, &self.interpreter].map(|path| path.as_os_str().as_bytes());
        OsString::from_vec(parts.join(&b'\n'))
    }

    /// From such a text.
    pub fn from_text(text: &OsStr) -> Option<Self> {
        let mut parts = text.as_bytes().split(|byte| *byte == b'\n');
        let mut path = || Some(PathBuf::from(OsStr::from_bytes(parts.next()?)));
        let shim = Self {
            script: path()?,
            interpreter: path()?,
        };
        path().is_none().then_some(shim)
    }

    /// Whether this is what a script would answer in the working directory.
    pub(super) fn holds_for(&self, script: &Path) -> bool {
        let Ok(here) = std::env::current_dir() else {
            return false;
        };
        self.script == script && check_executable(&self.interpreter).is_ok() && !is_chosen_in(&here)
    }
}

/// Whether a directory, or one above it, chooses a version.
fn is_chosen_in(directory: &Path) -> bool {
    let chooses = |directory: &Path| {
        let mut files = CHOOSERS.iter().map(|name| directory.join(name));
        files.any(|file| file.symlink_metadata().is_ok())
    };
    directory.ancestors().any(chooses)
}

/// Asks a script for the interpreter that it runs, in this directory.
///
/// # Errors
/// Why it is no use, to follow its path.
pub(super) fn ask(
    script: &Path,
    directory: Option<&Path>,
    patience: Duration,
) -> Result<PathBuf, String> {
    let mut command = Command::new(script);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    command
        .args(["-c", "import sys; print(sys.executable)"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // its own group, so that what it starts can be ended with it
        .process_group(0);
    let mut child =
        start(&mut command).map_err(|error| format!("is a script that does not start: {error}"))?;
    let Some(succeeded) = wait(&mut child, patience) else {
        return Err(format!(
            "is a script that did not name its interpreter within {} s",
            patience.as_secs()
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

/// Starts a command; a file that is just being written gets a moment.
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

/// Waits for a child and says whether it succeeded; ends it and its group when patience is over.
fn wait(child: &mut Child, patience: Duration) -> Option<bool> {
    let deadline = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            // reaped by another hand: its answer tells
            Err(_) => return Some(true),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => break,
        }
    }
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = nix::sys::signal::killpg(
            nix::unistd::Pid::from_raw(group),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
    let _ = child.wait();
    None
}

/// The first line with something in it of what a pipe holds now, however long others keep it open.
fn first_line<P: Read + AsFd>(pipe: Option<P>) -> Option<String> {
    let pipe = pipe?;
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
    let mut bytes = Vec::new();
    // ends with an error where a process in the background has kept the pipe; what was read stays
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
    fn a_shim_that_hangs_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let shim = dir.path().join("python3");
        script(&shim, "#!/bin/sh\nsleep 60\n");
        let why = ask(&shim, None, Duration::from_millis(50)).unwrap_err();
        assert!(why.contains("did not name its interpreter"), "{why}");
    }

    #[test]
    fn a_shims_answer_is_handed_down_as_a_text() {
        let dir = tempfile::tempdir().unwrap();
        let shim = dir.path().join("python3");
        script(&shim, "#!/bin/sh\necho /proc/self/exe\n");
        let known = Shim::on_path(dir.path().as_os_str()).unwrap();
        assert_eq!(Shim::from_text(&known.to_text()), Some(known.clone()));
        assert_eq!(Shim::from_text(OsStr::new("one line")), None);
        assert!(!known.holds_for(Path::new("/elsewhere/python3")));
        fs::copy("/proc/self/exe", &shim).unwrap();
        assert_eq!(Shim::on_path(dir.path().as_os_str()), None, "no script");
    }

    #[test]
    fn a_directory_that_chooses_a_version_decides_for_all_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("site/app");
        fs::create_dir_all(&below).unwrap();
        fs::write(dir.path().join(".python-version"), "3.12").unwrap();
        assert!(is_chosen_in(&below));
    }
}
