//! cgroup v2: where this process is, the groups it may make below that, and what stands in their files.
//!
//! The kernel lets a group that gives controllers to its children hold no process itself. So a process that makes groups
//! moves into one of them first.

mod limits;
mod place;

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use thiserror::Error;

pub(crate) use limits::{CpuQuota, Limits};
pub(crate) use place::own;

/// The file by which processes enter a group.
const PROCESSES: &str = "cgroup.procs";
/// The controllers that a group can give to its children.
const CONTROLLERS: &str = "cgroup.controllers";
/// Those that it gives.
const GIVEN: &str = "cgroup.subtree_control";
/// What the kernel wants a delegatee to own beside the directory.
const DELEGATED: [&str; 3] = [PROCESSES, GIVEN, "cgroup.threads"];

/// Why no groups can be made, and what to do.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    /// The machine has none.
    #[error("there is no cgroup v2 here, or it is not mounted")]
    Missing,
    /// The root of the machine's groups is nobody's.
    #[error(
        "this process runs in the root of all groups; start it in one of its own, as a systemd service with Delegate=yes"
    )]
    Root,
    /// The group of a systemd unit that is not delegated.
    #[error(
        "{} belongs to systemd; set Delegate=yes in this unit, or start with systemd-run -p Delegate=yes",
        .0.display()
    )]
    NotDelegated(PathBuf),
    /// Somebody else lives there.
    #[error(
        "others run in {} too (pid {pid}); start this process alone in a group, as a systemd service with Delegate=yes does",
        .directory.display()
    )]
    Foreign {
        /// The group.
        directory: PathBuf,
        /// One of them.
        pid: String,
    },
    /// Mounted so that nothing can be changed.
    #[error(
        "{} is read-only; set ProtectControlGroups=no (and Delegate=yes) in its systemd unit, or let the container write there",
        .0.display()
    )]
    ReadOnly(PathBuf),
    /// Somebody else's.
    #[error("{} may not be written to; set Delegate=yes in its systemd unit", .0.display())]
    Denied(PathBuf),
    /// The kernel does not limit this here.
    #[error(
        "{} has no {controller} controller (it has: {there}); set Delegate=yes in its systemd unit",
        .directory.display()
    )]
    Controller {
        /// The group.
        directory: PathBuf,
        /// What is missing.
        controller: String,
        /// What there is.
        there: String,
    },
    /// The kernel does not let us.
    #[error("{} cannot be changed: {error}", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A group whose children are ours to make. It is given back when this is dropped, if it has none then.
#[derive(Debug)]
pub(crate) struct Subtree {
    directory: PathBuf,
    /// The child group that this process has made for itself.
    own: Option<PathBuf>,
    /// What its children have.
    controllers: Vec<String>,
}

impl Subtree {
    /// Takes the group that this process is in, and moves this process into its child `name`, unless it is there already.
    /// The children have the `needed` controllers, and the `useful` ones that there are.
    ///
    /// # Errors
    /// When it is not this process's to take, or does not have what is needed; nothing is changed then.
    pub(crate) fn take(
        here: &Path,
        name: &str,
        needed: &[&str],
        useful: &[&str],
    ) -> Result<Self, Refused> {
        let parent = here.parent().filter(|_| here.ends_with(name));
        let inside = parent.filter(|parent| place::is_free(parent, None).is_ok());
        let directory = match inside {
            Some(parent) => parent,
            None => {
                place::is_free(here, Some(std::process::id()))?;
                here
            }
        };
        let there = words(&directory.join(CONTROLLERS))?;
        if let Some(controller) = needed
            .iter()
            .find(|it| !there.iter().any(|word| word == *it))
        {
            return Err(Refused::Controller {
                directory: directory.to_owned(),
                controller: (*controller).to_owned(),
                there: match there.is_empty() {
                    true => "none".to_owned(),
                    false => there.join(" "),
                },
            });
        }
        let mut subtree = Self {
            directory: directory.to_owned(),
            own: None,
            controllers: Vec::new(),
        };
        if inside.is_none() {
            subtree.enter(name)?;
        }
        subtree.give(&there, needed, useful)?;
        Ok(subtree)
    }

    fn enter(&mut self, name: &str) -> Result<(), Refused> {
        let own = self.directory.join(name);
        make(&own).map_err(|error| failed(&own, error))?;
        write(&own.join(PROCESSES), "0").map_err(|error| failed(&own, error))?;
        self.own = Some(own);
        Ok(())
    }

    /// Gives controllers to the children.
    fn give(&mut self, there: &[String], needed: &[&str], useful: &[&str]) -> Result<(), Refused> {
        let file = self.directory.join(GIVEN);
        for controller in needed.iter().chain(useful) {
            if !there.iter().any(|word| word == controller)
                || self.controllers.iter().any(|word| word == controller)
            {
                continue;
            }
            match write(&file, &format!("+{controller}")) {
                Ok(()) => self.controllers.push((*controller).to_owned()),
                Err(error) if needed.contains(controller) => return Err(failed(&file, error)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Whether the children have this controller.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|word| word == controller)
    }

    /// The directory, for messages.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives it to a user, as who this process goes on.
    ///
    /// # Errors
    /// Those of chown(2).
    pub(crate) fn give_to(&self, uid: u32, gid: u32) -> Result<(), Refused> {
        let own = self.own.iter().map(PathBuf::as_path);
        for directory in own.chain([self.directory.as_path()]) {
            let files = DELEGATED.iter().map(|file| directory.join(file));
            for path in files.chain([directory.to_owned()]) {
                match std::os::unix::fs::chown(&path, Some(uid), Some(gid)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed(&path, error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The child of this name, made if it is not there.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub(crate) fn child(&self, name: &str) -> io::Result<Group> {
        let directory = self.directory.join(name);
        make(&directory).map_err(|error| naming(&directory, error))?;
        Ok(Group { directory })
    }

    /// The children whose names begin so.
    pub(crate) fn children(&self, prefix: &str) -> Vec<Group> {
        let entries = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .map(|directory| Group { directory })
            .collect()
    }
}

impl Drop for Subtree {
    fn drop(&mut self) {
        let Some(own) = self.own.take() else { return };
        let others = self.children("").into_iter();
        // whose limits are to stay
        if others.filter(|child| child.directory != own).count() > 0 {
            return;
        }
        let file = self.directory.join(GIVEN);
        for controller in &self.controllers {
            let _ = write(&file, &format!("-{controller}"));
        }
        let _ = write(&self.directory.join(PROCESSES), "0");
        let _ = fs::remove_dir(own);
    }
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    directory: PathBuf,
}

impl Group {
    /// The directory, for messages.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What a process enters it by: who writes `0` to it.
    ///
    /// # Errors
    /// Those of open(2).
    pub(crate) fn entrance(&self) -> io::Result<OwnedFd> {
        let path = self.directory.join(PROCESSES);
        let file = fs::File::options().write(true).open(&path);
        file.map(OwnedFd::from)
            .map_err(|error| naming(&path, error))
    }

    /// Writes one of its files.
    ///
    /// # Errors
    /// Those of open(2) and write(2): the kernel refuses what makes no sense.
    pub(crate) fn set(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join(file);
        write(&path, text).map_err(|error| naming(&path, error))
    }

    /// One of its files, without the end of the line; `None` if there is no such file.
    pub(crate) fn get(&self, file: &str) -> Option<String> {
        let text = fs::read_to_string(self.directory.join(file)).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// How often the kernel has killed in it for want of memory.
    pub(crate) fn kills(&self) -> u64 {
        let events = self.get("memory.events").unwrap_or_default();
        let line = events.lines().find_map(|it| it.strip_prefix("oom_kill "));
        line.and_then(|number| number.trim().parse().ok())
            .unwrap_or(0)
    }

    /// The ids of its processes.
    pub(crate) fn processes(&self) -> Vec<String> {
        words(&self.directory.join(PROCESSES)).unwrap_or_default()
    }

    /// Removes it; says whether it is gone, which it is not while processes live in it.
    ///
    /// # Errors
    /// Those of rmdir(2).
    pub(crate) fn remove(&self) -> io::Result<bool> {
        match fs::remove_dir(&self.directory) {
            Ok(()) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => Ok(true),
                Some(libc::EBUSY) => Ok(false),
                _ => Err(naming(&self.directory, error)),
            },
        }
    }
}

/// Enters the group whose entrance this is. One system call, for a process between fork and exec.
///
/// # Errors
/// Those of write(2): `EAGAIN` where the group may have no more processes.
pub(super) fn enter(entrance: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    nix::unistd::write(entrance, b"0")?;
    Ok(())
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The kernel reads each write for itself. A limit below what is taken already holds up whoever takes more, not us, where
/// the kernel knows the flag for it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::File::options();
    let mut file = options
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn words(path: &Path) -> Result<Vec<String>, Refused> {
    let text = fs::read_to_string(path).map_err(|error| failed(path, error))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn failed(path: &Path, error: io::Error) -> Refused {
    let path = path.to_owned();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EROFS) => Refused::ReadOnly(path),
        Some(Errno::EACCES | Errno::EPERM) => Refused::Denied(path),
        _ => Refused::Failed { path, error },
    }
}

/// The same error, naming the file.
fn naming(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A directory that looks like a group in which only this process is.
    fn group(controllers: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let own = std::process::id().to_string();
        for (file, text) in [
            (PROCESSES, own.as_str()),
            (CONTROLLERS, controllers),
            (GIVEN, ""),
            ("cgroup.threads", ""),
            ("cgroup.type", "domain\n"),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        fs::create_dir(dir.path().join("emperor")).unwrap();
        fs::write(dir.path().join("emperor").join(PROCESSES), "").unwrap();
        dir
    }

    #[test]
    fn a_group_is_taken_with_the_controllers_that_there_are() {
        let dir = group("cpu memory io\n");
        let useful = ["memory", "cpu", "pids"];
        let subtree = Subtree::take(dir.path(), "emperor", &["memory"], &useful).unwrap();
        assert!(subtree.has("memory") && subtree.has("cpu") && !subtree.has("pids"));
        let entered = fs::read_to_string(dir.path().join("emperor").join(PROCESSES));
        assert_eq!(entered.unwrap(), "0");
        subtree.child("vassal-a").unwrap();
        subtree.child("vassal-a").unwrap();
        let children = subtree.children("vassal-");
        assert_eq!(children.len(), 1);
        assert!(children[0].remove().unwrap() && children[0].remove().unwrap());
    }

    #[test]
    fn nothing_is_changed_where_a_controller_is_missing() {
        let dir = group("cpu\n");
        let refused = Subtree::take(dir.path(), "emperor", &["memory"], &[]).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("no memory controller (it has: cpu)"),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(dir.path().join(GIVEN)).unwrap(), "");
        let entered = fs::read_to_string(dir.path().join("emperor").join(PROCESSES));
        assert_eq!(entered.unwrap(), "");
    }

    #[test]
    fn who_is_in_the_child_already_stays_there() {
        let dir = group("memory\n");
        fs::write(dir.path().join(PROCESSES), "").unwrap();
        let here = dir.path().join("emperor");
        let subtree = Subtree::take(&here, "emperor", &["memory"], &[]).unwrap();
        assert_eq!(subtree.directory(), dir.path());
        assert_eq!(fs::read_to_string(here.join(PROCESSES)).unwrap(), "");
    }

    #[test]
    fn kills_are_counted() {
        let dir = group("");
        let group = Group {
            directory: dir.path().to_owned(),
        };
        assert_eq!(group.kills(), 0);
        fs::write(
            dir.path().join("memory.events"),
            "max 7\noom 3\noom_kill 2\n",
        )
        .unwrap();
        assert_eq!(group.kills(), 2);
    }
}
