//! The names through which a symbolic link is resolved. A change of any of them can make the link lead to another file.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// The maximum number of links on a path, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Lists every symbolic link on the way from `path` to its file, and then the file, each as a directory and a name in
/// it.
///
/// After 40 links no further link is followed, so a loop of links ends.
pub fn names_on_path(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut names = Vec::new();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return names;
    };
    let mut directory = parent.to_owned();
    let mut rest: VecDeque<OsString> = VecDeque::from([name.to_owned()]);
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == OsStr::new("/") {
            directory = PathBuf::from("/");
            continue;
        }
        if part == OsStr::new("..") {
            directory.pop();
            continue;
        }
        let full = directory.join(&part);
        match full.read_link() {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                names.push((directory.clone(), part));
                let parts = target.components().filter(|it| *it != Component::CurDir);
                for part in parts.rev() {
                    rest.push_front(part.as_os_str().to_owned());
                }
            }
            _ if rest.is_empty() => names.push((directory.clone(), part)),
            _ => directory = full,
        }
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_names_are_every_link_and_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("vassals")).unwrap();
        fs::create_dir_all(root.join("releases/7")).unwrap();
        fs::write(root.join("releases/7/site.ini"), "").unwrap();
        symlink("releases/7", root.join("current")).unwrap();
        symlink("../current/site.ini", root.join("vassals/a.ini")).unwrap();
        let names: Vec<PathBuf> = names_on_path(&root.join("vassals/a.ini"))
            .into_iter()
            .map(|(directory, name)| directory.join(name))
            .collect();
        let expected = ["vassals/a.ini", "current", "releases/7/site.ini"];
        assert_eq!(names, expected.map(|name| root.join(name)));
    }

    #[test]
    fn a_loop_of_links_ends() {
        let directory = tempfile::tempdir().unwrap();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        assert!(names_on_path(&directory.path().join("a")).len() <= MAX_LINKS + 1);
    }
}
