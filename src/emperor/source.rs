//! The values of the option `emperor`: directories and patterns whose configuration files become vassals.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config;

use super::file_rules::FileRules;

/// Maximum length of the name of a vassal's file in bytes, as in uWSGI.
const MAX_NAME: usize = 254;

/// A path that contains one of these characters can be a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// One value of the option `emperor`. Each configuration file at this place defines a vassal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    kind: Kind,
    /// The section that defines the vassal in each file; `None` means the section `[uwsgi]`.
    section: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// All configuration files in a directory. The directory may not exist yet.
    Directory(PathBuf),
    /// All files that match the pattern. A relative pattern starts at `cwd`.
    Pattern { pattern: String, cwd: PathBuf },
}

/// The definition of a vassal: a file, or a section of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    /// The absolute path of the file, followed by `:section` if the vassal has a section. Unique among the vassals.
    pub(super) path: PathBuf,
    /// The absolute path of the file.
    pub(super) file: PathBuf,
    /// The name of the vassal: the path of the file relative to `directory`, followed by `:section` if the vassal has a
    /// section.
    pub(super) name: String,
    pub(super) section: Option<String>,
    /// The working directory of the vassal's process.
    pub(super) directory: PathBuf,
}

impl Source {
    /// Parses the value of `emperor`, as uWSGI does.
    ///
    /// # Errors
    /// Returns a sentence if the kind of source is not supported.
    pub(super) fn parse(text: &str, cwd: &Path) -> Result<Source, String> {
        let (bare, section) = split_section(text, cwd);
        Ok(Source {
            kind: Kind::parse(bare, cwd)?,
            section: section.map(str::to_owned),
        })
    }

    /// Whether the vassals are the files of one directory. Their file names are unique then.
    pub(super) fn has_unique_file_names(&self) -> bool {
        matches!(self.kind, Kind::Directory(_)) && self.section.is_none()
    }

    /// The directory of the source if it does not exist yet; otherwise `None`.
    pub(super) fn missing_directory(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Directory(directory) if !directory.is_dir() => Some(directory),
            _ => None,
        }
    }

    /// Lists the vassals of the source.
    ///
    /// # Errors
    /// Fails if the directory cannot be read. A missing directory is not an error: it has no vassals.
    pub(super) fn list(&self, rules: &FileRules) -> io::Result<Vec<Definition>> {
        match &self.kind {
            Kind::Directory(directory) => {
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
            Kind::Pattern { pattern, cwd } => Ok(self.matched(pattern, cwd, rules).collect()),
        }
    }

    /// The vassal that the file `name` in the source's directory defines; `None` if a file with this name defines no
    /// vassal.
    pub(super) fn accept(&self, name: &OsStr, rules: &FileRules) -> Option<Definition> {
        let Kind::Directory(directory) = &self.kind else {
            return None;
        };
        let name = name.to_str()?;
        is_vassal(name, rules).then(|| self.definition(name, directory))
    }

    /// The vassal that the file at `path` defines, if the file belongs to this source.
    pub(super) fn find(&self, path: &Path, rules: &FileRules) -> Option<Definition> {
        match &self.kind {
            Kind::Directory(directory) => {
                (path.parent()? == directory).then(|| self.accept(path.file_name()?, rules))?
            }
            Kind::Pattern { pattern, cwd } => self
                .matched(pattern, cwd, rules)
                .find(|found| found.file == path),
        }
    }

    /// Whether the file at `path` may define a vassal of this source. Only the path is examined, not the file.
    pub(super) fn may_contain(&self, path: &Path, rules: &FileRules) -> bool {
        let name = path.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| is_vassal(name, rules))
            && match &self.kind {
                Kind::Directory(directory) => path.parent() == Some(directory),
                Kind::Pattern { .. } => true,
            }
    }

    /// The directory to watch for new files; `None` for a pattern over several directories.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        match &self.kind {
            Kind::Directory(directory) => Some(directory.clone()),
            Kind::Pattern { pattern, cwd } => {
                let parent = Path::new(pattern).parent()?;
                let has_wildcard = parent.to_str()?.contains(WILDCARDS);
                (!has_wildcard).then(|| cwd.join(parent))
            }
        }
    }

    /// The vassals whose files match the pattern.
    fn matched<'a>(
        &'a self,
        pattern: &str,
        cwd: &'a Path,
        rules: &'a FileRules,
    ) -> impl Iterator<Item = Definition> + 'a {
        let is_vassal = |name: &String| is_vassal(name.rsplit('/').next().unwrap_or(name), rules);
        let names = config::matching(cwd, pattern).into_iter().filter(is_vassal);
        names.map(|name| self.definition(&name, cwd))
    }

    /// The vassal that a file defines; `name` is the path of the file relative to `directory`.
    fn definition(&self, name: &str, directory: &Path) -> Definition {
        let section = self.section.clone();
        let suffix = section.as_ref().map(|section| format!(":{section}"));
        let suffix = suffix.unwrap_or_default();
        let name = name.to_owned();
        Definition {
            path: directory.join(format!("{name}{suffix}")),
            file: directory.join(&name),
            name: name + &suffix,
            section,
            directory: directory.to_owned(),
        }
    }
}

impl Kind {
    fn parse(text: &str, cwd: &Path) -> Result<Kind, String> {
        let pattern = |pattern: &str| Kind::Pattern {
            pattern: pattern.to_owned(),
            cwd: cwd.to_owned(),
        };
        if let Some(directory) = text.strip_prefix("dir://") {
            return Ok(Kind::Directory(cwd.join(directory)));
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
        if path.is_file() || (text.contains(WILDCARDS) && !path.is_dir()) {
            return Ok(pattern(text));
        }
        Ok(Kind::Directory(path))
    }
}

impl Definition {
    /// Whether `name` is the vassal's name, its name without the extension, its section or its path.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let short = match &self.section {
            Some(section) => section,
            None => self
                .name
                .rsplit_once('.')
                .map_or(self.name.as_str(), |(stem, _)| stem),
        };
        self.name == name || short == name || self.path == Path::new(name)
    }

    /// The path of the file relative to the vassal's working directory.
    pub(super) fn file_name(&self) -> &str {
        let suffix = self.section.as_ref().map_or(0, |section| section.len() + 1);
        self.name
            .get(..self.name.len() - suffix)
            .unwrap_or(&self.name)
    }
}

/// Splits `sites.ini:blog` and `*.ini:blog` into the file or pattern and the section. A colon may also be part of a
/// path.
fn split_section<'a>(text: &'a str, cwd: &Path) -> (&'a str, Option<&'a str>) {
    let Some((files, section)) = text.rsplit_once(':') else {
        return (text, None);
    };
    let path = cwd.join(files);
    let has_files =
        path.is_dir() || path.is_file() || files.contains(WILDCARDS) || config::reads(files);
    let is_section = !section.is_empty()
        && !section.contains('/')
        && !section.contains(WILDCARDS)
        && !config::reads(section);
    match has_files && is_section && !cwd.join(text).exists() {
        true => (files, Some(section)),
        false => (text, None),
    }
}

/// Whether a file with this name defines a vassal. Hidden files and the temporary files of editors define no vassal.
fn is_vassal(name: &str, rules: &FileRules) -> bool {
    let has_extension =
        |extension: &String| name.len() > extension.len() && name.ends_with(extension.as_str());
    !name.starts_with('.')
        && name.len() <= MAX_NAME
        && !name.contains(char::is_control)
        && (config::reads(name) || rules.extensions.iter().any(has_extension))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hidden_temporary_and_other_files_define_no_vassals() {
        let rules = FileRules::default();
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
        let rules = FileRules {
            extensions: vec![".conf".into()],
            ..FileRules::default()
        };
        assert!(is_vassal("blog.conf", &rules));
    }

    #[test]
    fn kinds_of_sources_are_recognised_as_by_uwsgi() {
        let directory = tempfile::tempdir().unwrap();
        let cwd = directory.path();
        assert_eq!(
            Source::parse("missing", cwd),
            Ok(Source {
                kind: Kind::Directory(cwd.join("missing")),
                section: None
            })
        );
        let is_pattern = |text: &str| {
            let source = Source::parse(text, cwd).unwrap();
            matches!(source.kind, Kind::Pattern { .. })
        };
        assert!(is_pattern("*.ini") && is_pattern("glob://a"));
        assert!(Source::parse("pg://host", cwd).is_err());
    }

    #[test]
    fn a_section_follows_files_and_patterns() {
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
        let found = source.list(&FileRules::default()).unwrap();
        assert_eq!(found[0].name, "sites.ini:blog");
        assert_eq!(found[0].file_name(), "sites.ini");
        assert_eq!(found[0].file, cwd.join("sites.ini"));
    }
}
