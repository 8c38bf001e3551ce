//! Finding the file of a request.

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
    /// Who sends the files.
    pub serve_mode: ServeMode,
    /// Whether a client can request a part of a file.
    pub ranges: bool,
    notices: Notices,
}

/// The parts of a request that decide which file is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// PATH_INFO.
    pub path_info: &'a [u8],
    /// REQUEST_URI.
    pub uri: &'a [u8],
    /// DOCUMENT_ROOT.
    pub document_root: Option<&'a [u8]>,
    /// Accept-Encoding.
    pub accept_encoding: Option<&'a [u8]>,
}

/// What answers a request.
pub enum Found<'f> {
    /// A file.
    File(Served<'f>),
    /// A directory with an index, whose path lacks the final slash.
    Directory,
}

/// An open file, and the facts for the head of its response.
pub struct Served<'f> {
    /// The file.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// When it was modified, if that tells anything.
    pub modified: Option<Modified>,
    /// Its media type, that of the uncompressed file for a compressed variant.
    pub media_type: Option<&'f str>,
    /// How it is compressed.
    pub coding: Option<Coding>,
    /// Whether the response depends on Accept-Encoding.
    pub varies: bool,
    /// How long clients may keep it.
    pub expiry: Option<Expiry>,
    /// Its absolute path, if the web server in front sends it.
    pub path: Option<Vec<u8>>,
}

/// An open file, and where it was found.
struct Hit {
    place: Arc<Place>,
    opened: Opened,
    /// The name of the index file that was found in a directory.
    index: Option<Vec<u8>>,
}

/// The result of a search in one directory.
enum Search {
    Hit(Hit),
    /// A directory with an index was requested without its final slash.
    Directory,
}

impl StaticFiles {
    /// Prepares the settings. Relative paths are relative to `base`. Reads the files with media types, and opens no
    /// directory.
    pub fn new(settings: &Settings, base: &Path) -> Self {
        let absolute = |path: &std::path::PathBuf| {
            let path = base.join(path);
            let real = path.canonicalize().unwrap_or(path);
            real.as_os_str().as_bytes().to_vec()
        };
        let mut mounts = settings.mounts.clone();
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.len()));
        Self {
            sources: Sources::new(settings, base),
            mounts,
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

    /// Whether DOCUMENT_ROOT of a request matters.
    pub fn reads_document_root(&self) -> bool {
        self.sources.reads_document_root()
    }

    /// Finds the file of a request at the time `now`, seconds since 1970. `None` if the application has to answer.
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

    /// Searches one root. If nothing is found, and the root has been replaced meanwhile, searches the new one.
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
