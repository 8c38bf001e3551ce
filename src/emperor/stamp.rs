//! The state of a vassal's file, by which changes are noticed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sys::symlink_walk;

use super::file_rules::FileRules;

/// The state of a vassal's file: two stamps differ if the file was changed, touched or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    file: Version,
    /// That of the symbolic link, if the file is reached by one.
    link: Option<Version>,
    /// That of the file with its address on demand.
    address: Option<Version>,
    /// The owner: user and group.
    pub(super) owner: (u32, u32),
    /// Under `emperor-tyrant`: the owner of a symbolic link on the way to the file, if that is neither root nor the owner
    /// of the file.
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

impl Stamp {
    /// The state of the file at a path; `None`: it is missing, or no regular file.
    pub(super) fn of(path: &Path, rules: &FileRules) -> Option<Stamp> {
        let link = fs::symlink_metadata(path).ok()?;
        let is_link = link.is_symlink();
        if is_link && rules.nofollow {
            return None;
        }
        let file = fs::metadata(path).ok()?;
        if !file.is_file() {
            return None;
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
            // one walk gives both owners: the links may be replaced between two walks
            let walk = symlink_walk::follow(path).ok()?;
            stamp.owner = (walk.file.st_uid, walk.file.st_gid);
            let is_foreign = |owner: &u32| ![0, walk.file.st_uid].contains(owner);
            stamp.foreign_link_owner = walk.link_owners.into_iter().find(is_foreign);
        }
        Some(stamp)
    }

    /// When the file was modified, in seconds since 1970.
    pub(super) fn modified(&self) -> i64 {
        self.file.modified.0
    }

    /// Whether the file is reached by a symbolic link.
    pub(super) fn is_link(&self) -> bool {
        self.link.is_some()
    }
}

/// The state of the file with the address on demand of the vassal at `path`.
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
        assert_eq!(Stamp::of(&at("a.ini"), &rules), None);
        std::os::unix::fs::symlink(at("two"), at("a.ini")).unwrap();
        assert_ne!(touched, stamp());
        let rules = FileRules {
            nofollow: true,
            ..FileRules::default()
        };
        assert_eq!(Stamp::of(&at("a.ini"), &rules), None);
    }
}
