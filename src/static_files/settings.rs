//! The settings of static files, as the options give them.

use std::path::PathBuf;

/// The settings of static files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `check-static`: directories to which the whole path of a request is relative.
    pub check: Vec<PathBuf>,
    /// `static-map`: prefixes of paths, and the files or directories for the rest of the path.
    pub map: Vec<(Vec<u8>, PathBuf)>,
    /// `static-map2`: prefixes of paths, and the directories for the whole path.
    pub map2: Vec<(Vec<u8>, PathBuf)>,
    /// `check-static-docroot`: whether DOCUMENT_ROOT of the web server is one more directory.
    pub document_root: bool,
    /// Mount points of applications, which `manage-script-name` removes from the path.
    pub mounts: Vec<Vec<u8>>,
    /// `static-index`: names of the files that are served in place of their directory.
    pub index: Vec<Vec<u8>>,
    /// `static-skip-ext`: ends of names that are never served.
    pub skip: Vec<Vec<u8>>,
    /// `static-safe`: paths to which symbolic links may lead.
    pub safe: Vec<PathBuf>,
    /// `static-expires` and its variants.
    pub expiry: ExpirySettings,
    /// `static-gzip` and its variants.
    pub compressed: CompressedSettings,
    /// `static-immutable`: whether files with a hash in their name never change.
    pub immutable: bool,
    /// `mimefile`: files with media types, in place of /etc/mime.types.
    pub media_types: Vec<PathBuf>,
    /// `file-serve-mode`: who sends the file.
    pub serve_mode: ServeMode,
    /// `honour-range`: whether a client can request a part of a file.
    pub ranges: bool,
}

/// Who sends a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServeMode {
    /// The server.
    #[default]
    Own,
    /// The web server in front, to which the path is given in this header.
    Header(&'static str),
}

/// Rules for the expiry of responses: what is matched, and the seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpirySettings {
    /// `static-expires-type`: a media type.
    pub media_type: Rules,
    /// `static-expires`: an expression for the file's path.
    pub file: Rules,
    /// `static-expires-path-info`: an expression for the path of the request.
    pub path_info: Rules,
    /// `static-expires-uri`: an expression for REQUEST_URI.
    pub uri: Rules,
}

/// The rules of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// Seconds after the request.
    pub after_request: Vec<(String, u32)>,
    /// Seconds after the modification of the file (the variants with `-mtime`).
    pub after_modification: Vec<(String, u32)>,
}

/// Which files may be replaced by a compressed variant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompressedSettings {
    /// `static-gzip-all`: every file.
    pub all: bool,
    /// `static-gzip-dir`: files whose path begins with one of these.
    pub directories: Vec<PathBuf>,
    /// `static-gzip-ext`: files whose path ends with one of these.
    pub ends: Vec<Vec<u8>>,
    /// `static-gzip`: files whose path matches one of these expressions.
    pub expressions: Vec<String>,
}

impl Settings {
    /// Whether no file can be served.
    pub fn is_empty(&self) -> bool {
        self.check.is_empty() && self.map.is_empty() && self.map2.is_empty() && !self.document_root
    }
}
