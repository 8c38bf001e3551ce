//! Determines which of the configured directories may have the file of a request.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::relative::rest_after;
use super::root::Root;
use super::settings::Settings;

/// A directory or a file, and the prefix of the requests for which it is searched.
struct Source {
    /// The prefix of the paths of these requests; empty for all requests.
    prefix: Vec<u8>,
    /// Whether the prefix is removed from the path before the search.
    strips: bool,
    root: Root,
}

/// The configured directories, in the order in which they are searched.
pub struct Sources {
    list: Vec<Source>,
    /// Whether DOCUMENT_ROOT is searched after the configured directories.
    document_root: bool,
    /// The working directory, to which the configured paths are relative.
    base: PathBuf,
}

impl Sources {
    /// The directories of the settings: `check-static`, `static-map` and `static-map2`, in this order. Relative paths
    /// are relative to `base`.
    pub fn new(settings: &Settings, base: &Path) -> Self {
        let check = settings.check.iter().map(|path| (&b""[..], path, false));
        let map = settings.map.iter();
        let map = map.map(|(prefix, path)| (&prefix[..], path, true));
        let map2 = settings.map2.iter();
        let map2 = map2.map(|(prefix, path)| (&prefix[..], path, false));
        let source = |(prefix, path, strips): (&[u8], &PathBuf, bool)| Source {
            prefix: prefix.to_vec(),
            strips,
            root: Root::new(base.join(path)),
        };
        Self {
            list: check.chain(map).chain(map2).map(source).collect(),
            document_root: settings.document_root,
            base: base.to_owned(),
        }
    }

    /// Whether the search depends on DOCUMENT_ROOT of a request.
    pub fn reads_document_root(&self) -> bool {
        self.document_root
    }

    /// Calls `search` with each directory that may have the file of `path`, and with the path below this directory.
    /// Ends when `search` has found a file.
    pub fn find<T>(
        &self,
        path: &[u8],
        document_root: Option<&[u8]>,
        mut search: impl FnMut(&Root, &[u8]) -> Option<T>,
    ) -> Option<T> {
        for source in &self.list {
            if let Some(rest) = rest_after(path, &source.prefix) {
                let below = if source.strips { rest } else { path };
                if let Some(found) = search(&source.root, below) {
                    return Some(found);
                }
            }
        }
        let own = document_root.filter(|root| self.document_root && !root.is_empty())?;
        let root = Root::new(self.base.join(std::ffi::OsStr::from_bytes(own)));
        search(&root, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_searched_in_order() {
        let settings = Settings {
            check: vec!["check".into()],
            map: vec![
                (b"/static".to_vec(), "one".into()),
                (b"/static/".to_vec(), "two".into()),
            ],
            map2: vec![(b"/static".to_vec(), "/three".into())],
            document_root: true,
            ..Settings::default()
        };
        let sources = Sources::new(&settings, Path::new("/base"));
        let searched = |path: &str, document_root: Option<&[u8]>| {
            let mut searched = Vec::new();
            sources.find(path.as_bytes(), document_root, |root, below| {
                let below = String::from_utf8_lossy(below).into_owned();
                searched.push((root.path().display().to_string(), below));
                None::<()>
            });
            searched
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let pairs = pairs.iter();
            pairs
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        assert_eq!(
            searched("/static/a", Some(b"/docroot")),
            pairs(&[
                ("/base/check", "/static/a"),
                ("/base/one", "/a"),
                ("/base/two", "a"),
                ("/three", "/static/a"),
                ("/docroot", "/static/a"),
            ])
        );
        assert_eq!(
            searched("/statics", None),
            pairs(&[("/base/check", "/statics")])
        );
    }
}
