//! Finding the interpreter of a virtualenv (`home`), and explaining why a directory has no usable interpreter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::executable::{link_target, why_unreachable};
use super::shim::resolve;

/// The file names of the interpreter in a virtualenv's `bin`.
const NAMES: [&str; 2] = ["python", "python3"];

/// Finds the interpreter of a virtualenv. Returns the path of the link in its `bin`, not the link's target, because
/// Python recognises the virtualenv by this path.
///
/// # Errors
/// A sentence with the reason and the remedy.
pub(super) fn find(home: &Path) -> Result<PathBuf, String> {
    let option = format!("home = {}", home.display());
    match fs::metadata(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "{option} does not exist: make the virtualenv with `python3 -m venv {}`, or correct the path",
            home.display()
        )),
        Err(error) => Err(format!("{option} {}", why_unreachable(home, &error))),
        Ok(metadata) if !metadata.is_dir() => Err(not_a_directory(home)),
        Ok(_) => find_in(home),
    }
}

fn find_in(home: &Path) -> Result<PathBuf, String> {
    let mut unusable_link = None;
    for name in NAMES {
        let path = home.join("bin").join(name);
        match resolve(&path) {
            Ok(interpreter) => return Ok(interpreter),
            Err(why) if path.is_symlink() => {
                unusable_link.get_or_insert((path, why));
            }
            Err(_) => {}
        }
    }
    let Some((path, why)) = unusable_link.or_else(|| unusable_file(home)) else {
        return Err(not_a_virtualenv(home));
    };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(broken_link(home, &path)),
        _ => Err(format!(
            "home = {}: its bin/{} {why}: repair that, or make the virtualenv again with `python3 -m venv --clear {0}`",
            home.display(),
            path.file_name().unwrap_or_default().to_string_lossy()
        )),
    }
}

/// The first existing interpreter of the virtualenv that is unusable, with the reason.
fn unusable_file(home: &Path) -> Option<(PathBuf, String)> {
    NAMES.iter().find_map(|name| {
        let path = home.join("bin").join(name);
        let metadata = fs::symlink_metadata(&path);
        let exists = !metadata.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let why = exists.then(|| resolve(&path).err())??;
        Some((path, why))
    })
}

fn not_a_directory(home: &Path) -> String {
    let virtualenv = home
        .parent()
        .filter(|bin| bin.ends_with("bin"))
        .and_then(Path::parent);
    let advice = match virtualenv {
        Some(virtualenv) => format!("did you mean home = {}?", virtualenv.display()),
        None => "name the directory of a virtualenv".to_owned(),
    };
    format!("home = {} is not a directory: {advice}", home.display())
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

/// The error sentence for a virtualenv whose interpreter is a link to a missing file.
fn broken_link(home: &Path, link: &Path) -> String {
    format!(
        "home = {}: this virtualenv is broken, because {}, the interpreter it was made from, is gone: make it again \
         with `python3 -m venv --clear {0}` and install its packages again",
        home.display(),
        link_target(link).display()
    )
}
