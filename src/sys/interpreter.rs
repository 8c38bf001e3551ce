//! The application's own Python: found once, before its first zygote.
//!
//! `home` decides, else `python`, else `python3` and `python` of PATH. A version manager's shim (a
//! script that looks up the interpreter each time) is asked once which one it stands for.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat, geteuid};

use super::user;

mod shim;

pub use shim::Shim;

/// The names under which a virtualenv has an interpreter.
const NAMES: [&str; 2] = ["python", "python3"];

/// The names that are looked up on PATH where none is configured.
const USUAL: [&str; 2] = ["python3", "python"];

/// A Python interpreter that this process can execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The complete path. In a virtualenv it is the link in its `bin`, which makes it one.
    pub path: PathBuf,
}

/// No usable interpreter; displays as one sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotFound(String);

/// Finds the interpreter: `home` is a virtualenv (or a Python's prefix), `python` a path or a name
/// to look up in `path_env`, the value of PATH. Relative paths start at the working directory. What is `known` of a
/// script on PATH is believed where it holds.
///
/// # Errors
/// When there is none, or none that the user of this process may execute.
pub fn find(
    home: Option<&Path>,
    python: Option<&str>,
    path_env: &OsStr,
    known: Option<&Shim>,
) -> Result<Interpreter, NotFound> {
    match (home, python) {
        (Some(home), _) => in_home(&complete(home)),
        (None, Some(python)) if python.contains('/') => by_path(&complete(Path::new(python))),
        (None, Some(python)) => on_path(&[python], path_env, known).map_err(|tried| {
            NotFound(format!(
                "python = {python} was not found on PATH{tried}: give the interpreter's complete path, or `home`"
            ))
        }),
        (None, None) => on_path(&USUAL, path_env, known).map_err(|tried| {
            NotFound(format!(
                "no usable python3 was found on PATH{tried}: install Python 3.10 or newer, or set `home` to a \
                 virtualenv or `python` to an interpreter"
            ))
        }),
    }
}

/// The sentence for an interpreter which is older than the module can be loaded by.
pub fn too_old_sentence(version: &str, exe: &str) -> String {
    format!(
        "{exe} is Python {version}, and ruwsgi needs 3.10 or newer: make the virtualenv again with a newer Python \
         and set `home` to it, or set `python`"
    )
}

fn by_path(path: &Path) -> Result<Interpreter, NotFound> {
    resolve(path).map_err(|why| {
        NotFound(format!(
            "python = {} {why}: give the path of a Python 3 interpreter",
            path.display()
        ))
    })
}

fn in_home(home: &Path) -> Result<Interpreter, NotFound> {
    let option = format!("home = {}", home.display());
    match fs::metadata(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NotFound(format!(
            "{option} does not exist: make the virtualenv with `python3 -m venv {}`, or correct the path",
            home.display()
        ))),
        Err(error) => Err(NotFound(format!("{option} {}", unreachable(home, &error)))),
        Ok(metadata) if !metadata.is_dir() => Err(NotFound(not_a_directory(home))),
        Ok(_) => in_virtualenv(home),
    }
}

fn in_virtualenv(home: &Path) -> Result<Interpreter, NotFound> {
    let mut refused = None;
    for name in NAMES {
        let path = home.join("bin").join(name);
        match resolve(&path) {
            Ok(interpreter) => return Ok(interpreter),
            Err(why) => refused = refused.or(path.is_symlink().then_some((path, why))),
        }
    }
    let Some((path, why)) = refused.or_else(|| a_file_in(home)) else {
        return Err(NotFound(not_a_virtualenv(home)));
    };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NotFound(broken(home, &path))),
        _ => Err(NotFound(format!(
            "home = {}: its bin/{} {why}: mend that, or make the virtualenv again with `python3 -m venv --clear {0}`",
            home.display(),
            path.file_name().unwrap_or_default().to_string_lossy()
        ))),
    }
}

/// An interpreter of this home that is there as a file, with the reason why it cannot be used.
fn a_file_in(home: &Path) -> Option<(PathBuf, String)> {
    NAMES.iter().find_map(|name| {
        let path = home.join("bin").join(name);
        let seen = fs::symlink_metadata(&path);
        let is_there = !seen.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let why = is_there.then(|| resolve(&path).err())??;
        Some((path, why))
    })
}

fn not_a_directory(home: &Path) -> String {
    let virtualenv = home
        .parent()
        .filter(|bin| bin.ends_with("bin"))
        .and_then(Path::parent);
    match virtualenv {
        Some(virtualenv) => {
            format!(
                "home = {} is not a directory: did you mean home = {}?",
                home.display(),
                virtualenv.display()
            )
        }
        None => format!(
            "home = {} is not a directory: name the directory of a virtualenv",
            home.display()
        ),
    }
}

fn not_a_virtualenv(home: &Path) -> String {
    let mut inside: Vec<PathBuf> = fs::read_dir(home)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|inside| inside.join("pyvenv.cfg").exists())
        .collect();
    inside.sort();
    let advice = match inside.first() {
        Some(inside) => format!("did you mean home = {}?", inside.display()),
        None => format!(
            "is it a virtualenv? `python3 -m venv {}` makes it one",
            home.display()
        ),
    };
    format!("home = {} has no bin/python: {advice}", home.display())
}

/// What is said of a virtualenv whose interpreter is a link to nothing.
fn broken(home: &Path, link: &Path) -> String {
    let gone = last_of_chain(link);
    format!(
        "home = {}: this virtualenv is broken, because {}, the interpreter it was made from, is gone: make it again \
         with `python3 -m venv --clear {0}` and install its packages again",
        home.display(),
        gone.display()
    )
}

/// Where a chain of symbolic links ends.
fn last_of_chain(link: &Path) -> PathBuf {
    let mut path = link.to_path_buf();
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    path
}

/// The first usable one of these names on PATH; else what was tried, as the tail of a sentence.
fn on_path(names: &[&str], path_env: &OsStr, known: Option<&Shim>) -> Result<Interpreter, String> {
    let mut tried = Vec::new();
    for candidate in candidates(names, path_env) {
        if let Some(shim) = known.filter(|shim| shim.holds_for(&candidate)) {
            return Ok(Interpreter {
                path: shim.interpreter.clone(),
            });
        }
        match resolve(&candidate) {
            Ok(interpreter) => return Ok(interpreter),
            Err(why) => tried.push(format!("{} {why}", candidate.display())),
        }
    }
    match tried.is_empty() {
        true => Err(String::new()),
        false => Err(format!(" ({})", tried.join("; "))),
    }
}

/// The files of these names on PATH, those of the first name first.
fn candidates(names: &[&str], path_env: &OsStr) -> impl Iterator<Item = PathBuf> {
    let directories = path_env
        .as_bytes()
        .split(|byte| *byte == b':')
        .filter(|directory| !directory.is_empty());
    let paths = names.iter().flat_map(move |name| {
        let in_each = directories.clone();
        in_each.map(move |directory| complete(&Path::new(OsStr::from_bytes(directory)).join(name)))
    });
    paths.filter(|path| match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    })
}

/// The interpreter that a path stands for; else why there is none, to follow the path's name.
fn resolve(path: &Path) -> Result<Interpreter, String> {
    check_executable(path)?;
    if !is_script(path).map_err(|error| format!("cannot be read: {error}"))? {
        return Ok(Interpreter {
            path: path.to_path_buf(),
        });
    }
    let real = shim::ask(path, None, shim::PATIENCE)?;
    check_executable(&real).map_err(|why| {
        format!(
            "is a script that stands for {}, which {why}",
            real.display()
        )
    })?;
    Ok(Interpreter { path: real })
}

fn check_executable(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| unreachable(path, &error))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
        .map_err(|_| format!("is not executable by {}", whoever()))
}

/// Why a path cannot be looked at.
fn unreachable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => format!(
            "is a link to {}, which is gone",
            last_of_chain(path).display()
        ),
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => {
            match closed_directory(path).or_else(|| closed_directory(&last_of_chain(path))) {
                Some(directory) => {
                    format!(
                        "is out of reach, because {} may not enter {}",
                        whoever(),
                        directory.display()
                    )
                }
                None => format!("is out of reach for {}", whoever()),
            }
        }
        _ => format!("cannot be used: {error}"),
    }
}

/// The first directory on the way to a path that this process may not enter.
fn closed_directory(path: &Path) -> Option<PathBuf> {
    let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
    way.reverse();
    let closed = |directory: &&Path| {
        faccessat(AT_FDCWD, *directory, AccessFlags::X_OK, AtFlags::AT_EACCESS).is_err()
    };
    way.into_iter().find(closed).map(Path::to_path_buf)
}

fn whoever() -> String {
    format!("user {}", user::name_of(geteuid().as_raw()))
}

/// Whether a file is a script. One that may be executed and not read is taken for a program.
fn is_script(path: &Path) -> io::Result<bool> {
    let mut start = [0; 2];
    match File::open(path).and_then(|mut file| file.read_exact(&mut start)) {
        Ok(()) => Ok(start == *b"#!"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}

fn complete(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A program that is no script, in place of an interpreter.
    const PROGRAM: &str = "/proc/self/exe";

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(PROGRAM, path).unwrap();
    }

    fn file(path: &Path, text: &str, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn sentence(found: Result<Interpreter, NotFound>) -> String {
        found.unwrap_err().to_string()
    }

    fn no_path() -> &'static OsStr {
        OsStr::new("")
    }

    #[test]
    fn a_virtualenvs_link_is_kept_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        program(&real);
        let home = dir.path().join("venv");
        fs::create_dir_all(home.join("bin")).unwrap();
        symlink(&real, home.join("bin/python3")).unwrap();
        let found = find(Some(&home), Some("ignored"), no_path(), None).unwrap();
        assert_eq!(found.path, home.join("bin/python3"));
    }

    #[test]
    fn a_missing_home_is_said_with_the_command_that_makes_it() {
        let text = sentence(find(
            Some(Path::new("/nowhere/venv")),
            None,
            no_path(),
            None,
        ));
        assert!(text.contains("/nowhere/venv does not exist"), "{text}");
        assert!(text.contains("python3 -m venv /nowhere/venv"), "{text}");
    }

    #[test]
    fn a_home_that_names_the_interpreter_is_corrected() {
        let dir = tempfile::tempdir().unwrap();
        let python = dir.path().join("venv/bin/python");
        program(&python);
        let text = sentence(find(Some(&python), None, no_path(), None));
        assert!(
            text.ends_with(&format!(
                "did you mean home = {}?",
                dir.path().join("venv").display()
            )),
            "{text}"
        );
    }

    #[test]
    fn a_home_that_holds_the_virtualenv_is_corrected() {
        let dir = tempfile::tempdir().unwrap();
        file(&dir.path().join(".venv/pyvenv.cfg"), "", 0o644);
        let text = sentence(find(Some(dir.path()), None, no_path(), None));
        assert!(text.contains("has no bin/python: did you mean"), "{text}");
        assert!(text.contains("/.venv?"), "{text}");
    }

    #[test]
    fn a_home_without_an_interpreter_is_asked_whether_it_is_a_virtualenv() {
        let dir = tempfile::tempdir().unwrap();
        let text = sentence(find(Some(dir.path()), None, no_path(), None));
        assert!(
            text.contains("has no bin/python: is it a virtualenv?"),
            "{text}"
        );
    }

    #[test]
    fn a_virtualenv_whose_python_is_gone_names_the_python_that_is_gone() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("bin")).unwrap();
        symlink("python3", home.path().join("bin/python")).unwrap();
        symlink("/nowhere/python3.9", home.path().join("bin/python3")).unwrap();
        let text = sentence(find(Some(home.path()), None, no_path(), None));
        assert!(
            text.contains("broken, because /nowhere/python3.9"),
            "{text}"
        );
        assert!(text.contains("--clear"), "{text}");
    }

    #[test]
    fn an_interpreter_that_is_not_executable_names_the_user() {
        let home = tempfile::tempdir().unwrap();
        file(&home.path().join("bin/python"), "", 0o644);
        let text = sentence(find(Some(home.path()), None, no_path(), None));
        assert!(
            text.contains(&format!(
                "its bin/python is not executable by {}",
                whoever()
            )),
            "{text}"
        );
    }

    #[test]
    fn the_first_usable_python3_of_path_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        file(&dir.path().join("a/python3"), "", 0o644);
        program(&dir.path().join("a/python"));
        program(&dir.path().join("b/python3"));
        let path = std::env::join_paths([dir.path().join("a"), dir.path().join("b")]).unwrap();
        assert_eq!(
            find(None, None, &path, None).unwrap().path,
            dir.path().join("b/python3")
        );
    }

    #[test]
    fn an_empty_path_says_what_to_install() {
        let text = sentence(find(None, None, no_path(), None));
        assert!(
            text.starts_with("no usable python3 was found on PATH: install"),
            "{text}"
        );
    }

    #[test]
    fn what_was_tried_in_vain_is_part_of_the_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let candidate = dir.path().join("python3.99");
        file(&candidate, "", 0o644);
        let text = sentence(find(None, Some("python3.99"), dir.path().as_os_str(), None));
        assert!(
            text.contains(&format!("({} is not executable", candidate.display())),
            "{text}"
        );
    }

    #[test]
    fn a_shim_is_asked_for_the_interpreter_it_stands_for() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("versions/3.11/python3");
        program(&real);
        file(
            &dir.path().join("shims/python3"),
            &format!("#!/bin/sh\nsleep 5 & echo {}\n", real.display()),
            0o755,
        );
        let found = find(None, None, dir.path().join("shims").as_os_str(), None).unwrap();
        assert_eq!(found.path, real);
    }

    #[test]
    fn a_shim_that_complains_is_passed_over_and_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let shim = dir.path().join("python3");
        file(
            &shim,
            "#!/bin/sh\necho 'version 3.12 is not installed' >&2\nexit 127\n",
            0o755,
        );
        let text = sentence(find(None, None, dir.path().as_os_str(), None));
        assert!(
            text.contains("names no interpreter (it says: version 3.12 is not installed)"),
            "{text}"
        );
        program(&dir.path().join("python"));
        assert_eq!(
            find(None, None, dir.path().as_os_str(), None).unwrap().path,
            dir.path().join("python")
        );
    }

    #[test]
    fn an_old_python_gets_a_sentence() {
        let text = too_old_sentence("3.8.18", "/srv/venv/bin/python");
        assert!(
            text.starts_with("/srv/venv/bin/python is Python 3.8.18, and ruwsgi needs 3.10"),
            "{text}"
        );
    }
}
