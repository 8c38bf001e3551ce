//! What is watched: the sources' directories, and the ways that symbolic links lead.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use crate::sys::inotify::{Extent, Inotify, Kind, WatchDescriptor};

/// The most links that a path may lead over, as in the kernel.
const MOST_LINKS: usize = 40;

/// The watches and what each is for.
pub(super) struct Watch {
    inotify: Inotify,
    reasons: HashMap<WatchDescriptor, Reasons>,
    /// The watches of each vassal that is a link.
    followed: HashMap<PathBuf, Vec<WatchDescriptor>>,
    /// Something could not be watched, which was said.
    told: bool,
}

#[derive(Default)]
struct Reasons {
    /// It is a source's directory.
    source: Option<PathBuf>,
    /// Vassals whose way leads over this name in it; over itself where there is no name.
    followers: Vec<(Option<OsString>, PathBuf)>,
}

/// What may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The file at this path.
    File(PathBuf, Kind),
    /// Anything.
    Everything,
}

impl Watch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// Those of [`Inotify::new`].
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            reasons: HashMap::new(),
            followed: HashMap::new(),
            told: false,
        })
    }

    /// Watches a source's directory; again is no harm, and needed where it was missing or replaced.
    pub(super) fn source(&mut self, directory: &Path) {
        if let Some(watch) = self.add(directory, Extent::Everything) {
            let reasons = self.reasons.entry(watch).or_default();
            reasons.source = Some(directory.to_owned());
        }
    }

    /// Watches every place by which the link at `path` leads to its file, instead of those of before.
    pub(super) fn follow(&mut self, path: &Path) {
        let mut watches = Vec::new();
        let mut reason = |this: &mut Self, at: &Path, extent, name: Option<OsString>| {
            if let Some(watch) = this.add(at, extent) {
                let followers = &mut this.reasons.entry(watch).or_default().followers;
                let follower = (name, path.to_owned());
                if !followers.contains(&follower) {
                    followers.push(follower);
                }
                watches.push(watch);
            }
        };
        for (directory, name) in way(path) {
            reason(self, &directory, Extent::Names, Some(name));
        }
        // its content may change in place; it is another one after each replacement
        reason(self, path, Extent::Content, None);
        let before = self.followed.insert(path.to_owned(), watches.clone());
        self.release(path, before.unwrap_or_default(), &watches);
    }

    /// The vassal is no link, or gone.
    pub(super) fn unfollow(&mut self, path: &Path) {
        if let Some(before) = self.followed.remove(path) {
            self.release(path, before, &[]);
        }
    }

    fn release(&mut self, path: &Path, before: Vec<WatchDescriptor>, kept: &[WatchDescriptor]) {
        for watch in before {
            if kept.contains(&watch) {
                continue;
            }
            let Some(reasons) = self.reasons.get_mut(&watch) else {
                continue;
            };
            reasons.followers.retain(|(_, follower)| follower != path);
            if reasons.source.is_none() && reasons.followers.is_empty() {
                self.reasons.remove(&watch);
                self.inotify.remove(watch);
            }
        }
    }

    fn add(&mut self, path: &Path, extent: Extent) -> Option<WatchDescriptor> {
        match self.inotify.add(path, extent) {
            Ok(watch) => Some(watch),
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                if !missing && !self.told {
                    self.told = true;
                    tracing::warn!(
                        "{} cannot be watched ({error}): changes there are seen only every emperor-freq seconds",
                        path.display()
                    );
                }
                None
            }
        }
    }

    /// What became known since the last time.
    ///
    /// # Errors
    /// Those of [`Inotify::take`].
    pub(super) fn news(&mut self) -> io::Result<Vec<News>> {
        let mut news = Vec::new();
        for event in self.inotify.take()? {
            if event.kind == Kind::Lost {
                news.push(News::Everything);
                continue;
            }
            let Some(reasons) = self.reasons.get(&event.watch) else {
                continue;
            };
            match (&reasons.source, &event.name, event.kind) {
                (Some(_), None, Kind::Ended) => news.push(News::Everything),
                (Some(directory), Some(name), kind) => {
                    let path = directory.join(name);
                    let kind = if is_written(&path) { kind } else { whole(kind) };
                    news.push(News::File(path, kind));
                }
                _ => {}
            }
            let meant = |over: &Option<OsString>| {
                over.is_none() || over.as_deref() == event.name.as_deref()
            };
            for (_, follower) in reasons.followers.iter().filter(|(over, _)| meant(over)) {
                // the way may lead elsewhere now: what is missing is found missing when it is looked at
                let kind = match event.kind {
                    Kind::Begun if event.name.is_none() => Kind::Begun,
                    _ => Kind::Whole,
                };
                news.push(News::File(follower.clone(), kind));
            }
            if event.kind == Kind::Ended && event.name.is_none() {
                // the kernel drops the watch of what is deleted; of what was moved away we do
                self.inotify.remove(event.watch);
                self.reasons.remove(&event.watch);
            }
        }
        Ok(news)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Whether somebody may still be writing what has just come: a link, or a second name of a file, comes whole.
fn is_written(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.symlink_metadata()
        .is_ok_and(|it| it.is_file() && it.nlink() == 1)
}

fn whole(kind: Kind) -> Kind {
    match kind {
        Kind::Begun => Kind::Whole,
        other => other,
    }
}

/// The names over which a link leads to its file, each with its directory: every link on the way, and the file.
fn way(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut names = Vec::new();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return names;
    };
    let mut here = parent.to_owned();
    let mut rest: VecDeque<OsString> = VecDeque::from([name.to_owned()]);
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == OsStr::new("/") {
            here = PathBuf::from("/");
            continue;
        }
        if part == OsStr::new("..") {
            here.pop();
            continue;
        }
        let at = here.join(&part);
        match at.read_link() {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                names.push((here.clone(), part));
                for part in target.components().rev() {
                    match part {
                        Component::CurDir => {}
                        part => rest.push_front(part.as_os_str().to_owned()),
                    }
                }
            }
            _ if rest.is_empty() => names.push((here.clone(), part)),
            _ => here = at,
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
    fn a_way_names_every_link_and_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("vassals")).unwrap();
        fs::create_dir_all(root.join("releases/7")).unwrap();
        fs::write(root.join("releases/7/site.ini"), "").unwrap();
        symlink("releases/7", root.join("current")).unwrap();
        symlink("../current/site.ini", root.join("vassals/a.ini")).unwrap();
        let names: Vec<PathBuf> = way(&root.join("vassals/a.ini"))
            .into_iter()
            .map(|(at, name)| at.join(name))
            .collect();
        let expected = ["vassals/a.ini", "current", "releases/7/site.ini"];
        assert_eq!(names, expected.map(|name| root.join(name)));
    }

    #[test]
    fn links_in_a_circle_end() {
        let directory = tempfile::tempdir().unwrap();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        assert!(way(&directory.path().join("a")).len() <= MOST_LINKS + 1);
    }

    #[test]
    fn a_change_behind_a_link_is_news_of_the_vassal() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["vassals", "one", "two"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("one/site.ini"), "1").unwrap();
        fs::write(at("two/site.ini"), "2").unwrap();
        symlink(at("one"), at("current")).unwrap();
        let vassal = at("vassals/a.ini");
        symlink(at("current/site.ini"), &vassal).unwrap();
        let mut watch = Watch::new().unwrap();
        let told = |watch: &mut Watch| {
            watch.follow(&vassal);
            let news = watch.news().unwrap();
            news.contains(&News::File(vassal.clone(), Kind::Whole))
        };
        assert!(!told(&mut watch));
        fs::write(at("one/site.ini"), "3").unwrap();
        assert!(told(&mut watch));
        fs::write(at("one/new"), "4").unwrap();
        assert!(!told(&mut watch), "another file");
        fs::rename(at("one/new"), at("one/site.ini")).unwrap();
        assert!(told(&mut watch));
        fs::remove_file(at("current")).unwrap();
        symlink(at("two"), at("current")).unwrap();
        assert!(told(&mut watch));
        watch.unfollow(&vassal);
        fs::write(at("two/site.ini"), "5").unwrap();
        assert!(watch.news().unwrap().is_empty());
        assert!(watch.reasons.is_empty());
    }
}
