//! Finds the file that a request asks for.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::accept_encoding::Coding;
use super::expiry::{Expiry, ExpiryRules, Names};
use super::media_type::MediaTypes;
use super::notice::Notices;
use super::relative::{Relative, rest_after};
use super::root::{Absent, Opened, Place, Root};
use super::settings::{ServeMode, Settings};
use super::sources::Sources;
use super::time::Modified;
use super::variants::{self, Variants};
use crate::sys::beneath::Kind;

/// The static files of an instance.
pub struct StaticFiles {
    sources: Sources,
    /// Mount points of applications, the longest first.
    mounts: Vec<Vec<u8>>,
    index: Vec<Vec<u8>>,
    skip: Vec<Vec<u8>>,
    safe: Vec<Vec<u8>>,
    variants: Variants,
    expiry: ExpiryRules,
    media_types: MediaTypes,
    /// Whether this server or the web server in front sends the files.
    pub serve_mode: ServeMode,
    /// Whether a client can request a part of a file.
    pub ranges: bool,
    notices: Notices,
}

/// The parts of a request that determine which file is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The variable PATH_INFO.
    pub path_info: &'a [u8],
    /// The variable REQUEST_URI.
    pub uri: &'a [u8],
    /// The variable DOCUMENT_ROOT.
    pub document_root: Option<&'a [u8]>,
    /// The value of the header Accept-Encoding.
    pub accept_encoding: Option<&'a [u8]>,
}

/// The answer to a request.
pub enum Found<'f> {
    /// The response is this file.
    File(Served<'f>),
    /// The response redirects to a directory with an index file, because the path of the request lacks the final slash.
    Directory,
}

/// An open file, and the facts for the head of its response.
pub struct Served<'f> {
    /// The file.
    pub file: File,
    /// The size of the file in bytes.
    pub size: u64,
    /// The modification time of the file; `None` if it cannot be used to check copies.
    pub modified: Option<Modified>,
    /// The media type. A compressed variant has the media type of the uncompressed file.
    pub media_type: Option<&'f str>,
    /// The compression of the file; `None` if the file is not compressed.
    pub coding: Option<Coding>,
    /// Whether the response depends on Accept-Encoding.
    pub varies: bool,
    /// The time for which clients may keep the file.
    pub expiry: Option<Expiry>,
    /// The absolute path of the file; `None` unless the web server in front sends the file.
    pub path: Option<Vec<u8>>,
}

/// An open file, and the place where it was found.
struct Hit {
    place: Arc<Place>,
    opened: Opened,
    /// The name of the index file, if the request asks for a directory.
    index: Option<Vec<u8>>,
}

/// The result of a search in one directory.
enum Search {
    Hit(Hit),
    /// The request asks for a directory with an index file, and its path lacks the final slash.
    Directory,
}

impl StaticFiles {
    /// Prepares the search for files. Relative paths start at `base`. Reads the files with media types, and opens no
    /// directory.
    pub fn new(settings: &Settings, base: &Path) -> Self {
        let absolute = |path: &std::path::PathBuf| {
            let path = base.join(path);
            let real = path.canonicalize().unwrap_or(path);
            real.as_os_str().as_bytes().to_vec()
        };
        Self {
            sources: Sources::new(settings, base),
            mounts: settings.mounts.clone(),
            index: settings.index.clone(),
            skip: settings.skip.clone(),
            safe: settings.safe.iter().map(absolute).collect(),
            variants: Variants::new(&settings.compressed, base),
            expiry: ExpiryRules::new(&settings.expiry, settings.immutable),
            media_types: MediaTypes::load(&settings.media_types, |path, error| {
                tracing::warn!("mimefile = {}: {error}", path.display());
            }),
            serve_mode: settings.serve_mode,
            ranges: settings.ranges,
            notices: Notices::default(),
        }
    }

    /// Whether the result depends on DOCUMENT_ROOT of a request.
    pub fn reads_document_root(&self) -> bool {
        self.sources.reads_document_root()
    }

    /// Finds the file of a request at the time `now`, seconds since 1970. `None` if the application must answer.
    pub fn find(&self, wanted: &Wanted<'_>, now: u64) -> Option<Found<'_>> {
        let path = self.without_mount(wanted.path_info);
        if self.is_skipped(path) {
            return None;
        }
        let search = |root: &Root, below: &[u8]| self.search(root, below);
        match self.sources.find(path, wanted.document_root, search)? {
            Search::Directory => Some(Found::Directory),
            Search::Hit(hit) => Some(Found::File(self.serve(hit, wanted, now))),
        }
    }

    /// The path without the mount point that `manage-script-name` moves to SCRIPT_NAME.
    fn without_mount<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        let mut rests = self.mounts.iter().map(|mount| rest_after(path, mount));
        rests.find_map(|rest| rest).unwrap_or(path)
    }

    fn is_skipped(&self, name: &[u8]) -> bool {
        self.skip.iter().any(|end| name.ends_with(end))
    }

    /// Searches a file in one root. If no file is found, and the root has been replaced meanwhile, searches the new
    /// root.
    fn search(&self, root: &Root, below: &[u8]) -> Option<Search> {
        let path = Relative::of(below)?;
        if path.names_directory() && self.index.is_empty() {
            return None;
        }
        let place = root.place()?;
        let found = self.search_place(root, &place, &path);
        if found.is_some() {
            return found;
        }
        let place = root.moved(&place)?;
        self.search_place(root, &place, &path)
    }

    fn search_place(&self, root: &Root, place: &Arc<Place>, path: &Relative) -> Option<Search> {
        if path.names_directory() {
            return self.search_index(root, place, path).map(Search::Hit);
        }
        let opened = self.open(root, place, path)?;
        match opened.attributes.kind {
            Kind::Regular => Some(Search::Hit(Hit {
                place: place.clone(),
                opened,
                index: None,
            })),
            Kind::Directory => {
                let index = self.search_index(root, place, path);
                index.map(|_| Search::Directory)
            }
            Kind::Other => None,
        }
    }

    fn search_index(&self, root: &Root, place: &Arc<Place>, path: &Relative) -> Option<Hit> {
        self.index.iter().find_map(|name| {
            let opened = self.open(root, place, &path.join(name))?;
            (opened.attributes.kind == Kind::Regular).then(|| Hit {
                place: place.clone(),
                opened,
                index: Some(name.clone()),
            })
        })
    }

    fn open(&self, root: &Root, place: &Place, path: &Relative) -> Option<Opened> {
        match root.open(place, path, &self.safe) {
            Ok(opened) => (!self.is_skipped(opened.name())).then_some(opened),
            Err(Absent::Missing) => None,
            Err(Absent::Outside(real)) => {
                self.notices.outside(path.as_bytes(), &real, place.real());
                None
            }
            Err(Absent::Failed(error)) => {
                self.notices.failed(path.as_bytes(), &error);
                None
            }
        }
    }

    /// Chooses the variant of an open file, and collects the facts for its response.
    fn serve(&self, hit: Hit, wanted: &Wanted<'_>, now: u64) -> Served<'_> {
        let Hit {
            place,
            opened,
            index,
        } = hit;
        let media_type = self.media_types.of(opened.name());
        let varies = self.variants.apply_to(&opened, &place);
        let variant = wanted
            .accept_encoding
            .filter(|_| varies)
            .and_then(|header| variants::open(&opened, &place, header, &self.safe));
        let path_info = match index {
            Some(name) => &[wanted.path_info, &name].concat(),
            None => wanted.path_info,
        };
        let sent = variant.as_ref().map_or(&opened, |(variant, _)| variant);
        let modified = Modified::usable(sent.attributes.modified);
        let names = Names {
            media_type,
            name: opened.name(),
            file: match self.expiry.reads_path() {
                true => &opened.real_path(&place),
                false => b"",
            },
            path_info,
            uri: wanted.uri,
        };
        let expiry = self.expiry.find(names, now, modified);
        let path = match self.serve_mode {
            ServeMode::Own => None,
            ServeMode::Header(_) => Some(sent.real_path(&place).into_owned()),
        };
        let (sent, coding) = match variant {
            Some((variant, coding)) => (variant, Some(coding)),
            None => (opened, None),
        };
        Served {
            size: sent.attributes.size,
            modified,
            media_type,
            coding,
            varies,
            expiry,
            path,
            file: sent.file,
        }
    }
}
