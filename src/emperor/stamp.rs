//! The state of a vassal's file, which is compared to notice changes.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::{symlink_walk, user};

use super::file_rules::FileRules;

/// The state of a vassal's file: two stamps differ if the file was changed, touched or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    file: Version,
    /// The version of the symbolic link, if the file is reached by a link.
    link: Option<Version>,
    /// The version of the file that contains the vassal's address on demand.
    address: Option<Version>,
    /// The user id and the group id of the owner.
    pub(super) owner: (u32, u32),
    /// Under `emperor-tyrant`: the owner of a symbolic link on the path to the file, if this owner is neither root nor
    /// the owner of the file.
    pub(super) foreign_link_owner: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    /// Modification time: seconds and nanoseconds.
    modified: (i64, i64),
}

/// Why a file with the name of a vassal's file defines no vassal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Nothing exists at the path.
    Missing,
    /// The path is a symbolic link, and its target (the field) does not exist.
    Dangling(PathBuf),
    /// The path is a symbolic link, and `emperor-nofollow` is set.
    LinkIgnored,
    /// The path is not a regular file; the field names the kind of file.
    NoFile(&'static str),
    /// The path cannot be examined; the field is the reason.
    Unreadable(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the file does not exist"),
            Self::Dangling(target) => write!(
                f,
                "it is a symbolic link to {}, which does not exist",
                target.display()
            ),
            Self::LinkIgnored => f.write_str("it is a symbolic link, and emperor-nofollow is set"),
            Self::NoFile(kind) => write!(f, "it is a {kind}, not a regular file"),
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}

impl Unusable {
    /// Converts the error of an examination of the file at `path` to a reason.
    fn new(path: &Path, is_link: bool, error: &io::Error) -> Unusable {
        match (error.kind(), is_link) {
            (io::ErrorKind::NotFound, false) => Self::Missing,
            (io::ErrorKind::NotFound, true) => {
                Self::Dangling(fs::read_link(path).unwrap_or_default())
            }
            (io::ErrorKind::PermissionDenied, _) => {
                let target = fs::read_link(path).unwrap_or_else(|_| path.to_owned());
                Self::Unreadable(format!(
                    "{} has no permission to search the directories of {}",
                    user::current_name(),
                    target.display()
                ))
            }
            _ => Self::Unreadable(format!("it cannot be examined: {error}")),
        }
    }
}

impl Stamp {
    /// The state of the file at `path`.
    ///
    /// # Errors
    /// Returns the reason why the file defines no vassal.
    pub(super) fn of(path: &Path, rules: &FileRules) -> Result<Stamp, Unusable> {
        let link = fs::symlink_metadata(path);
        let link = link.map_err(|error| Unusable::new(path, false, &error))?;
        let is_link = link.is_symlink();
        if is_link && rules.nofollow {
            return Err(Unusable::LinkIgnored);
        }
        let unusable = |error| Unusable::new(path, is_link, &error);
        let file = fs::metadata(path).map_err(unusable)?;
        if !file.is_file() {
            return Err(Unusable::NoFile(match file.is_dir() {
                true => "directory",
                false => "device, pipe or socket",
            }));
        }
        let mut stamp = Stamp {
            file: Version::of(&file),
            link: is_link.then(|| Version::of(&link)),
            address: address_version(path, rules),
            owner: (file.uid(), file.gid()),
            foreign_link_owner: None,
        };
        if rules.link_owner {
            stamp.owner = (link.uid(), link.gid());
        } else if rules.tyrant {
            // the links may be replaced between two walks, so one walk reads both owners
            let walk = symlink_walk::follow(path).map_err(unusable)?;
            stamp.owner = (walk.file.st_uid, walk.file.st_gid);
            let is_foreign = |owner: &u32| ![0, walk.file.st_uid].contains(owner);
            stamp.foreign_link_owner = walk.link_owners.into_iter().find(is_foreign);
        }
        Ok(stamp)
    }

    /// The modification time of the file, in seconds since 1970.
    pub(super) fn modified(&self) -> i64 {
        self.file.modified.0
    }

    /// Whether the file is reached by a symbolic link.
    pub(super) fn is_link(&self) -> bool {
        self.link.is_some()
    }
}

/// The version of the file that contains the address on demand of the vassal at `path`.
fn address_version(path: &Path, rules: &FileRules) -> Option<Version> {
    let mut file = path.as_os_str().to_owned();
    file.push(rules.address_extension.as_ref()?);
    fs::metadata(file).ok().map(|file| Version::of(&file))
}

impl Version {
    fn of(metadata: &fs::Metadata) -> Version {
        Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_a_replacement_and_another_target_change_the_stamp() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("one"), "text").unwrap();
        fs::write(at("two"), "text").unwrap();
        std::os::unix::fs::symlink(at("one"), at("a.ini")).unwrap();
        let rules = FileRules::default();
        let stamp = || Stamp::of(&at("a.ini"), &rules).unwrap();
        let first = stamp();
        assert_eq!(first, stamp());
        let file = fs::File::options().append(true).open(at("one")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        let touched = stamp();
        assert_ne!(first, touched);
        fs::remove_file(at("a.ini")).unwrap();
        assert_eq!(Stamp::of(&at("a.ini"), &rules), Err(Unusable::Missing));
        std::os::unix::fs::symlink(at("two"), at("a.ini")).unwrap();
        assert_ne!(touched, stamp());
        let rules = FileRules {
            nofollow: true,
            ..FileRules::default()
        };
        let ignored = Stamp::of(&at("a.ini"), &rules);
        assert_eq!(ignored, Err(Unusable::LinkIgnored));
        let rules = FileRules::default();
        fs::remove_file(at("two")).unwrap();
        let dangling = Stamp::of(&at("a.ini"), &rules).unwrap_err();
        assert!(dangling.to_string().ends_with("/two, which does not exist"));
        fs::create_dir(at("two")).unwrap();
        let directory = Stamp::of(&at("a.ini"), &rules);
        assert_eq!(directory, Err(Unusable::NoFile("directory")));
    }
}
