//! The cgroup in which this process creates and limits child cgroups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{CgroupError, failed};
use super::files::{CONTROLLERS, DELEGATED, ENABLED, PROCESSES, make, naming, words, write};
use super::group::Group;
use super::place;

/// A cgroup whose children this process manages.
///
/// When the value is dropped, and only the child of this process itself is left, the process moves back into the
/// cgroup, removes this child, and disables the controllers.
#[derive(Debug)]
pub(crate) struct Subtree {
    directory: PathBuf,
    /// The child cgroup that this process has created for itself; `None` if this process was in it from the start.
    own: Option<PathBuf>,
    /// The controllers that this process has enabled for the children.
    controllers: Vec<String>,
}

impl Subtree {
    /// Takes over `here`, the cgroup of this process, and moves this process into the child `name` of `here`. If `here`
    /// is itself a child of this name, and its parent can be managed, this function takes over the parent and does not
    /// move the process.
    ///
    /// The children get all `needed` controllers, and the `useful` controllers that are available.
    ///
    /// # Errors
    /// [`CgroupError`]. After an error the cgroup is unchanged.
    pub(crate) fn take(
        here: &Path,
        name: &str,
        needed: &[&str],
        useful: &[&str],
    ) -> Result<Self, CgroupError> {
        let parent = here.parent().filter(|_| here.ends_with(name));
        let inside = parent.filter(|parent| place::check_manageable(parent, None).is_ok());
        let directory = match inside {
            Some(parent) => parent,
            None => {
                place::check_manageable(here, Some(std::process::id()))?;
                here
            }
        };
        let available = words(&directory.join(CONTROLLERS))?;
        if let Some(controller) = needed
            .iter()
            .find(|it| !available.iter().any(|word| word == *it))
        {
            return Err(CgroupError::Controller {
                directory: directory.to_owned(),
                controller: (*controller).to_owned(),
                available: match available.is_empty() {
                    true => "none".to_owned(),
                    false => available.join(" "),
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
        subtree.enable(&available, needed, useful)?;
        Ok(subtree)
    }

    /// Creates the child `name` and moves this process into it.
    fn enter(&mut self, name: &str) -> Result<(), CgroupError> {
        let own = self.directory.join(name);
        make(&own).map_err(|error| failed(&own, error))?;
        write(&own.join(PROCESSES), "0").map_err(|error| failed(&own, error))?;
        self.own = Some(own);
        Ok(())
    }

    /// Enables the `needed` and the `useful` controllers for the children. A `useful` controller that cannot be enabled
    /// is skipped.
    fn enable(
        &mut self,
        available: &[String],
        needed: &[&str],
        useful: &[&str],
    ) -> Result<(), CgroupError> {
        let file = self.directory.join(ENABLED);
        for controller in needed.iter().chain(useful) {
            if !available.iter().any(|word| word == controller)
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

    /// Whether the controller is enabled for the children.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|word| word == controller)
    }

    /// The directory of the cgroup, for messages.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives the cgroup, and this process's own child, to the user to which this process changes. The process can then
    /// manage them as that user.
    ///
    /// # Errors
    /// Those of chown(2).
    pub(crate) fn delegate_to(&self, uid: u32, gid: u32) -> Result<(), CgroupError> {
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

    /// Returns the child named `name`. Creates the child if it does not exist.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub(crate) fn child(&self, name: &str) -> io::Result<Group> {
        let directory = self.directory.join(name);
        make(&directory).map_err(|error| naming(&directory, error))?;
        Ok(Group { directory })
    }

    /// The children whose names start with `prefix`.
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
        // disabling the controllers would end the limits of the remaining children
        if others.filter(|child| child.directory != own).count() > 0 {
            return;
        }
        let file = self.directory.join(ENABLED);
        for controller in &self.controllers {
            let _ = write(&file, &format!("-{controller}"));
        }
        let _ = write(&self.directory.join(PROCESSES), "0");
        let _ = fs::remove_dir(own);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A directory that looks like a cgroup with only this process in it.
    fn group(controllers: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let own = std::process::id().to_string();
        for (file, text) in [
            (PROCESSES, own.as_str()),
            (CONTROLLERS, controllers),
            (ENABLED, ""),
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
    fn a_cgroup_is_taken_with_the_available_controllers() {
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
        assert_eq!(fs::read_to_string(dir.path().join(ENABLED)).unwrap(), "");
        let entered = fs::read_to_string(dir.path().join("emperor").join(PROCESSES));
        assert_eq!(entered.unwrap(), "");
    }

    #[test]
    fn a_process_that_is_in_the_child_stays_there() {
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
