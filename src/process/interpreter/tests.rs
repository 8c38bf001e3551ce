//! Tests of the search for interpreters in temporary directories.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::executable::this_user;
use super::*;

/// A program that is no script. The tests use it as the interpreter.
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
fn a_missing_home_is_reported_with_the_command_that_makes_it() {
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
fn a_home_without_an_interpreter_is_no_virtualenv() {
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
            this_user()
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
fn the_files_that_were_tried_are_part_of_the_sentence() {
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
fn a_shim_is_asked_for_its_interpreter() {
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
fn a_shim_that_fails_is_passed_over_and_quoted() {
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
fn an_old_python_is_refused_with_the_remedy() {
    let text = too_old_sentence("3.8.18", "/srv/venv/bin/python");
    assert!(
        text.starts_with("/srv/venv/bin/python is Python 3.8.18, and ruwsgi needs 3.10"),
        "{text}"
    );
}
