//! Where vassals come from: directories and patterns, and what a file there looks like.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config;
use crate::sys::symlink_walk;

/// The longest name of a file that is a vassal, as in uWSGI.
const LONGEST_NAME: usize = 254;

/// What makes a path a pattern.
const WILD: [char; 3] = ['*', '?', '['];

/// Where vassals come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    place: Place,
    /// The section of its files that each vassal is, if not the usual one.
    section: Option<String>,
}

/// A directory or a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Every configuration file of a directory, which need not exist yet.
    Directory(PathBuf),
    /// Every file that matches; counted from `cwd`.
    Pattern { pattern: String, cwd: PathBuf },
}

/// Which files are vassals.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// Symbolic links are none.
    pub(super) nofollow: bool,
    /// Endings beside those of configurations.
    pub(super) extensions: Vec<String>,
    /// The owner of a file is the user that its vassal runs as.
    pub(super) tyrant: bool,
    /// A link's own owner counts, not its target's.
    pub(super) link_owner: bool,
    /// The ending of the files beside the vassals that hold their addresses on demand.
    pub(super) beside: Option<String>,
}

/// A file that is a vassal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its absolute path, by which it is known; `:section` behind it if it is one.
    pub(super) path: PathBuf,
    /// The file itself.
    pub(super) file: PathBuf,
    /// How it is called, and how its process is told to read it: the file and, behind a colon, its section if it is one.
    pub(super) name: String,
    /// The section.
    pub(super) section: Option<String>,
    /// Where its process is started.
    pub(super) directory: PathBuf,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    file: Version,
    link: Option<Version>,
    /// Of the file with its address on demand.
    beside: Option<Version>,
    /// The owner, user and group.
    pub(super) owner: (u32, u32),
    /// Under a tyrant: a user who has made a link on the way to it, and is neither root nor its owner.
    pub(super) guide: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Source {
    /// What `emperor = TEXT` means, as uWSGI has it.
    ///
    /// # Errors
    /// A sentence about a kind of source that is not here.
    pub(super) fn parse(text: &str, cwd: &Path) -> Result<Source, String> {
        let (bare, section) = split_section(text, cwd);
        Ok(Source {
            place: Place::parse(bare, cwd)?,
            section: section.map(str::to_owned),
        })
    }

    /// Whether its vassals are the files of one directory, and no sections of them: their names tell them apart.
    pub(super) fn names_files(&self) -> bool {
        matches!(self.place, Place::Directory(_)) && self.section.is_none()
    }

    /// Its directory, if it is one that does not exist.
    pub(super) fn missing_directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory(directory) if !directory.is_dir() => Some(directory),
            _ => None,
        }
    }

    /// The vassals that are there now.
    ///
    /// # Errors
    /// When the directory cannot be read; that it is missing is no error.
    pub(super) fn list(&self, rules: &Rules) -> io::Result<Vec<Found>> {
        match &self.place {
            Place::Directory(directory) => {
                let entries = match fs::read_dir(directory) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                    other => other?,
                };
                let mut found = Vec::new();
                for entry in entries {
                    found.extend(self.accept(&entry?.file_name(), rules));
                }
                found.sort_by(|one, other| one.path.cmp(&other.path));
                Ok(found)
            }
            Place::Pattern { pattern, cwd } => Ok(self.matched(pattern, cwd, rules).collect()),
        }
    }

    /// The vassal that a file of this name in the directory may be.
    pub(super) fn accept(&self, name: &OsStr, rules: &Rules) -> Option<Found> {
        let Place::Directory(directory) = &self.place else {
            return None;
        };
        let name = name.to_str()?;
        is_vassal(name, rules).then(|| self.found(name, directory))
    }

    /// The vassal that the file at this path may be.
    pub(super) fn find(&self, path: &Path, rules: &Rules) -> Option<Found> {
        match &self.place {
            Place::Directory(directory) => {
                (path.parent()? == directory).then(|| self.accept(path.file_name()?, rules))?
            }
            Place::Pattern { pattern, cwd } => self
                .matched(pattern, cwd, rules)
                .find(|found| found.file == path),
        }
    }

    /// Whether the file at this path could be one of its vassals, by its name.
    pub(super) fn might_hold(&self, path: &Path, rules: &Rules) -> bool {
        let name = path.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| is_vassal(name, rules))
            && match &self.place {
                Place::Directory(directory) => path.parent() == Some(directory),
                Place::Pattern { .. } => true,
            }
    }

    /// The directory that tells of new files; a pattern over several directories has none.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Directory(directory) => Some(directory.clone()),
            Place::Pattern { pattern, cwd } => {
                let parent = Path::new(pattern).parent()?;
                let wild = parent.to_str()?.contains(WILD);
                (!wild).then(|| cwd.join(parent))
            }
        }
    }

    fn matched<'a>(
        &'a self,
        pattern: &str,
        cwd: &'a Path,
        rules: &'a Rules,
    ) -> impl Iterator<Item = Found> + 'a {
        let is_vassal = |name: &String| is_vassal(name.rsplit('/').next().unwrap_or(name), rules);
        let names = config::matching(cwd, pattern).into_iter().filter(is_vassal);
        names.map(|name| self.found(&name, cwd))
    }

    /// The vassal of a file, by its name from a directory.
    fn found(&self, name: &str, directory: &Path) -> Found {
        let section = self.section.clone();
        let behind = section.as_ref().map(|section| format!(":{section}"));
        let behind = behind.unwrap_or_default();
        let name = name.to_owned();
        Found {
            path: directory.join(format!("{name}{behind}")),
            file: directory.join(&name),
            name: name + &behind,
            section,
            directory: directory.to_owned(),
        }
    }
}

impl Place {
    fn parse(text: &str, cwd: &Path) -> Result<Place, String> {
        let pattern = |pattern: &str| Place::Pattern {
            pattern: pattern.to_owned(),
            cwd: cwd.to_owned(),
        };
        if let Some(directory) = text.strip_prefix("dir://") {
            return Ok(Place::Directory(cwd.join(directory)));
        }
        if let Some(text) = text.strip_prefix("glob://") {
            return Ok(pattern(text));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!(
                "emperor = {text}: vassals come from directories and patterns only, not from {scheme}"
            ));
        }
        let path = cwd.join(text);
        if path.is_file() || (text.contains(WILD) && !path.is_dir()) {
            return Ok(pattern(text));
        }
        Ok(Place::Directory(path))
    }
}

impl Found {
    /// The name of its file.
    pub(super) fn file_name(&self) -> &str {
        let behind = self.section.as_ref().map_or(0, |section| section.len() + 1);
        self.name
            .get(..self.name.len() - behind)
            .unwrap_or(&self.name)
    }
}

/// The section behind a place that has files or may have them, as in `sites.ini:blog` and `*.ini:blog`. A colon may also
/// be part of a path.
fn split_section<'a>(text: &'a str, cwd: &Path) -> (&'a str, Option<&'a str>) {
    let Some((place, section)) = text.rsplit_once(':') else {
        return (text, None);
    };
    let path = cwd.join(place);
    let has_files = path.is_dir() || path.is_file() || place.contains(WILD) || config::reads(place);
    let is_section = !section.is_empty()
        && !section.contains('/')
        && !section.contains(WILD)
        && !config::reads(section);
    match has_files && is_section && !cwd.join(text).exists() {
        true => (place, Some(section)),
        false => (text, None),
    }
}

/// Whether a name is that of a vassal: editors' hidden and temporary files are none.
fn is_vassal(name: &str, rules: &Rules) -> bool {
    let more = |ending: &String| name.len() > ending.len() && name.ends_with(ending.as_str());
    !name.starts_with('.')
        && name.len() <= LONGEST_NAME
        && !name.contains(char::is_control)
        && (config::reads(name) || rules.extensions.iter().any(more))
}

impl Stamp {
    /// The state of the file at a path; nothing where it is missing or no file.
    pub(super) fn of(path: &Path, rules: &Rules) -> Option<Stamp> {
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
            beside: beside(path, rules),
            owner: (file.uid(), file.gid()),
            guide: None,
        };
        if rules.link_owner {
            stamp.owner = (link.uid(), link.gid());
        } else if rules.tyrant {
            // it may be exchanged between two looks: owner and guides have to be of the same way
            let walk = symlink_walk::follow(path).ok()?;
            stamp.owner = (walk.file.st_uid, walk.file.st_gid);
            let is_foreign = |guide: &u32| ![0, walk.file.st_uid].contains(guide);
            stamp.guide = walk.link_owners.into_iter().find(is_foreign);
        }
        Some(stamp)
    }

    /// When the file was changed, seconds since 1970.
    pub(super) fn modified(&self) -> i64 {
        self.file.changed.0
    }

    /// Whether it is reached over a symbolic link.
    pub(super) fn is_link(&self) -> bool {
        self.link.is_some()
    }
}

/// The state of the file with the address on demand of the vassal at `path`.
fn beside(path: &Path, rules: &Rules) -> Option<Version> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(rules.beside.as_ref()?);
    fs::metadata(beside).ok().map(|file| Version::of(&file))
}

impl Rules {
    /// The vassal to which the file at `path` belongs: the file itself, or the one whose address it holds.
    pub(super) fn vassal_of(&self, path: PathBuf) -> PathBuf {
        let ending = self.beside.as_deref().filter(|ending| !ending.is_empty());
        let stem = ending.and_then(|ending| path.to_str()?.strip_suffix(ending));
        stem.map(PathBuf::from).unwrap_or(path)
    }
}

impl Version {
    fn of(metadata: &fs::Metadata) -> Version {
        Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hidden_temporary_and_other_files_are_no_vassals() {
        let rules = Rules::default();
        for name in ["blog.ini", "a b.ini", "é.ini", "x:y.ini"] {
            assert!(is_vassal(name, &rules), "{name}");
        }
        for name in [
            ".blog.ini",
            "blog.ini~",
            "blog.INI",
            "blog.ini.skip",
            "#blog.ini#",
            "blog.ini.swp",
            "blog",
            "4913",
            "a\nb.ini",
            ".ini",
        ] {
            assert!(!is_vassal(name, &rules), "{name:?}");
        }
        let rules = Rules {
            extensions: vec![".conf".into()],
            ..Rules::default()
        };
        assert!(is_vassal("blog.conf", &rules));
    }

    #[test]
    fn sources_are_told_apart_as_uwsgi_does() {
        let directory = tempfile::tempdir().unwrap();
        let cwd = directory.path();
        assert_eq!(
            Source::parse("missing", cwd),
            Ok(Source {
                place: Place::Directory(cwd.join("missing")),
                section: None
            })
        );
        let is_pattern = |text: &str| {
            let source = Source::parse(text, cwd).unwrap();
            matches!(source.place, Place::Pattern { .. })
        };
        assert!(is_pattern("*.ini") && is_pattern("glob://a"));
        assert!(Source::parse("pg://host", cwd).is_err());
    }

    #[test]
    fn a_section_stands_behind_a_place_with_files() {
        let directory = tempfile::tempdir().unwrap();
        let cwd = directory.path();
        fs::write(cwd.join("sites.ini"), "").unwrap();
        fs::create_dir(cwd.join("odd:name")).unwrap();
        let section = |text: &str| Source::parse(text, cwd).unwrap().section;
        for text in [
            "sites.ini:blog",
            "*/uwsgi.ini:blog",
            "glob://*.ini:blog",
            ".:blog",
        ] {
            assert_eq!(section(text).as_deref(), Some("blog"), "{text}");
        }
        for text in [
            "sites.ini",
            "a:b/*.ini",
            "*:b.ini",
            "odd:name",
            "missing:name",
            "*.ini:",
        ] {
            assert_eq!(section(text), None, "{text}");
        }
        let source = Source::parse("*.ini:blog", cwd).unwrap();
        let found = source.list(&Rules::default()).unwrap();
        assert_eq!(found[0].name, "sites.ini:blog");
        assert_eq!(found[0].file_name(), "sites.ini");
        assert_eq!(found[0].file, cwd.join("sites.ini"));
    }

    #[test]
    fn a_touch_a_replacement_and_another_target_change_the_stamp() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("one"), "text").unwrap();
        fs::write(at("two"), "text").unwrap();
        std::os::unix::fs::symlink(at("one"), at("a.ini")).unwrap();
        let rules = Rules::default();
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
        let rules = Rules {
            nofollow: true,
            ..Rules::default()
        };
        assert_eq!(Stamp::of(&at("a.ini"), &rules), None);
    }
}
