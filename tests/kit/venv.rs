//! Virtual environments shared by tests: created once and kept for later runs.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access, geteuid};

/// The virtual environment `name`. The first call creates it with `python` and installs the packages.
pub fn shared(name: &str, python: &Path, packages: &[&str]) -> PathBuf {
    let directory = home();
    let lock = File::create(directory.join(format!("{name}.lock"))).unwrap();
    let _held = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, e)| e)
        .unwrap();
    let venv = directory.join(name);
    if venv.join("complete").exists() {
        return venv;
    }
    let _ = fs::remove_dir_all(&venv);
    make(python, &venv);
    if !packages.is_empty() {
        run(Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "-q"])
            .args(packages));
    }
    fs::write(venv.join("complete"), "").unwrap();
    venv
}

/// Creates a virtual environment.
pub fn make(python: &Path, venv: &Path) {
    run(Command::new(python).args(["-m", "venv"]).arg(venv));
}

/// Runs a program and returns its output; fails with the output if the program fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let output =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success(),
        "{command:?}: {}\n{output}",
        out.status
    );
    output
}

/// The directory of the shared environments: in cargo's target directory, or in /tmp if that is not writable or not
/// reachable by every user.
fn home() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let writable = access(target, AccessFlags::W_OK).is_ok();
    let directory = match writable && super::reachable(target) {
        true => target.join("venvs"),
        false => std::env::temp_dir().join(format!("ruwsgi-kit-{}", geteuid())),
    };
    fs::create_dir_all(&directory).unwrap();
    let owner = fs::metadata(&directory).unwrap().uid();
    assert_eq!(
        owner,
        geteuid().as_raw(),
        "{} belongs to another user",
        directory.display()
    );
    directory
}

/// The newest interpreter of these versions (such as `3.12`), from the system or from pyenv.
pub fn another_python(versions: &[&str]) -> Option<PathBuf> {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let managed = home("PYENV_ROOT").or_else(|| Some(home("HOME")?.join(".pyenv")));
    let managed: Vec<PathBuf> = managed
        .and_then(|root| std::fs::read_dir(root.join("versions")).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    versions.iter().rev().find_map(|version| {
        let system = Path::new("/usr/bin").join(format!("python{version}"));
        let of_version = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.and_then(|name| name.strip_prefix(version))
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let managed = managed
            .iter()
            .find(of_version)
            .map(|path| path.join("bin/python3"));
        [Some(system), managed]
            .into_iter()
            .flatten()
            .find(|path| path.exists())
    })
}
