//! Finds the cgroup of this process, and checks whether this process may create child cgroups in this cgroup.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::error::CgroupError;
use super::files::{DELEGATED, PROCESSES, words};

/// Finds the directory of the cgroup that this process is in.
///
/// # Errors
/// [`CgroupError::Missing`] when cgroup v2 is not mounted, or when no mount shows this process's cgroup.
pub(crate) fn own() -> Result<PathBuf, CgroupError> {
    let read = |path: &str| fs::read_to_string(path).map_err(|_| CgroupError::Missing);
    let (groups, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
    let pid = std::process::id().to_string();
    let is_here = |directory: &PathBuf| {
        let processes = fs::read_to_string(directory.join(PROCESSES));
        processes.is_ok_and(|text| text.lines().any(|line| line == pid))
    };
    let mut places = places(&groups, &mounts).into_iter();
    places.find(is_here).ok_or(CgroupError::Missing)
}

/// The directories that may be this process's cgroup, one for each mount of cgroup v2 that shows it. `groups` is the
/// text of /proc/self/cgroup, `mounts` that of /proc/self/mountinfo.
fn places(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let Some(path) = groups.lines().find_map(|line| line.strip_prefix("0::")) else {
        return Vec::new();
    };
    mounts
        .lines()
        .filter_map(mount)
        .filter_map(|(root, point)| below(Path::new(path), &root, &point))
        .collect()
}

/// Parses a line of mountinfo: the root and the mount point of a mount of cgroup v2; `None` for other file systems.
fn mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, source) = line.split_once(" - ")?;
    if source.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    Some((unescaped(fields.next()?), unescaped(fields.next()?)))
}

/// Decodes a path of mountinfo: the kernel writes blanks, newlines and backslashes in octal.
fn unescaped(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes
            .get(at + 1..at + 4)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (bytes[at], code) {
            (b'\\', Some(code)) => {
                out.push(code);
                at += 4;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    PathBuf::from(OsStr::from_bytes(&out))
}

/// The directory of the cgroup `path` below the mount point `point`; `None` if the mount does not show the cgroup.
/// `root` is the root of the mount: in a container it may be the container's cgroup.
fn below(path: &Path, root: &Path, point: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(root).ok()?;
    // the kernel writes the path of a cgroup outside this process's namespace with `..`
    let is_outside = rest.components().any(|part| part == Component::ParentDir);
    (!is_outside).then(|| point.join(rest))
}

/// Checks that this process may create children in a cgroup, and that the cgroup contains no process other than `alone`
/// (`None` means no process).
///
/// # Errors
/// [`CgroupError`]: the first failed check.
pub(super) fn check_manageable(directory: &Path, alone: Option<u32>) -> Result<(), CgroupError> {
    // only the root cgroup lacks the file `cgroup.type`
    if !directory.join("cgroup.type").exists() {
        return Err(CgroupError::Root);
    }
    if is_of_a_unit(directory) && !is_delegated(directory) {
        return Err(CgroupError::NotDelegated(directory.to_owned()));
    }
    for path in [
        directory.to_owned(),
        directory.join(DELEGATED[0]),
        directory.join(DELEGATED[1]),
    ] {
        match access(&path, AccessFlags::W_OK) {
            Ok(()) => {}
            Err(Errno::EROFS) => return Err(CgroupError::ReadOnly(path)),
            Err(_) => return Err(CgroupError::Denied(path)),
        }
    }
    let alone = alone.map(|pid| pid.to_string());
    let processes = words(&directory.join(PROCESSES))?;
    match processes
        .into_iter()
        .find(|pid| Some(pid) != alone.as_ref())
    {
        None => Ok(()),
        Some(pid) => Err(CgroupError::Foreign {
            directory: directory.to_owned(),
            pid,
        }),
    }
}

/// Whether the directory has a name that systemd gives the cgroup of a unit.
fn is_of_a_unit(directory: &Path) -> bool {
    const UNITS: [&str; 6] = ["service", "scope", "slice", "socket", "mount", "swap"];
    let kind = directory.extension().and_then(OsStr::to_str);
    kind.is_some_and(|kind| UNITS.contains(&kind))
}

/// Whether systemd has marked the cgroup as delegated (`Delegate=`), by an extended attribute.
fn is_delegated(directory: &Path) -> bool {
    // `trusted.delegate` is readable for root only; older versions of systemd set no other attribute
    [c"trusted.delegate", c"user.delegate"]
        .into_iter()
        .any(|name| {
            let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else {
                return false;
            };
            let mut value = [0_u8; 8];
            // SAFETY: both strings end with a zero byte, and the kernel writes at most `value.len()` bytes. (nix has no
            // getxattr.)
            let length = unsafe {
                libc::getxattr(
                    path.as_ptr(),
                    name.as_ptr(),
                    value.as_mut_ptr().cast(),
                    value.len(),
                )
            };
            length == 1 && value[0] == b'1'
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PURE: &str =
        "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_cgroup_is_found_below_the_mount() {
        let unit = "0::/system.slice/ruwsgi-emperor.service\n";
        assert_eq!(
            places(unit, PURE),
            [PathBuf::from(
                "/sys/fs/cgroup/system.slice/ruwsgi-emperor.service"
            )]
        );
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "4:memory:/a\n0::/b\n";
        assert_eq!(
            places(groups, hybrid),
            [PathBuf::from("/sys/fs/cgroup/unified/b")]
        );
        assert!(places("4:memory:/a\n", hybrid).is_empty());
        assert!(places("0::/b\n", "").is_empty());
    }

    #[test]
    fn in_a_container_the_root_of_the_mount_counts() {
        let mount = "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(
            places("0::/docker/abc\n", mount),
            [PathBuf::from("/sys/fs/cgroup")]
        );
        assert_eq!(
            places("0::/docker/abc/in ner\n", mount),
            [PathBuf::from("/sys/fs/cgroup/in ner")]
        );
        assert!(places("0::/docker/other\n", mount).is_empty());
        assert!(places("0::/../outside\n", PURE).is_empty());
    }

    #[test]
    fn escaped_paths_are_decoded() {
        let mount = "30 24 0:26 / /mnt/a\\040b\\134c rw - cgroup2 none rw\n";
        assert_eq!(places("0::/x\n", mount), [PathBuf::from("/mnt/a b\\c/x")]);
        assert_eq!(unescaped("a\\9"), PathBuf::from("a\\9"));
    }

    /// A directory that looks like a cgroup.
    fn group(parent: &Path, name: &str, processes: &str) -> PathBuf {
        let directory = parent.join(name);
        fs::create_dir(&directory).unwrap();
        for (file, text) in [
            ("cgroup.type", "domain\n"),
            (PROCESSES, processes),
            ("cgroup.subtree_control", ""),
        ] {
            fs::write(directory.join(file), text).unwrap();
        }
        directory
    }

    #[test]
    fn a_cgroup_with_other_processes_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mine = group(dir.path(), "mine", "71\n");
        assert!(check_manageable(&mine, Some(71)).is_ok());
        let shared = group(dir.path(), "shared", "71\n5\n");
        let refused = check_manageable(&shared, Some(71)).unwrap_err();
        assert!(refused.to_string().contains("(pid 5)"), "{refused}");
        assert!(matches!(
            check_manageable(&mine, None),
            Err(CgroupError::Foreign { .. })
        ));
        let unit = group(dir.path(), "nginx.service", "71\n");
        assert!(matches!(
            check_manageable(&unit, Some(71)),
            Err(CgroupError::NotDelegated(_))
        ));
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        assert!(matches!(
            check_manageable(&root, Some(71)),
            Err(CgroupError::Root)
        ));
    }
}
