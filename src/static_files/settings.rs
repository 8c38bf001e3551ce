//! The settings of static files, as given by the options.

use std::path::PathBuf;

/// The settings of static files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `check-static`: directories in which the whole path of a request is searched.
    pub check: Vec<PathBuf>,
    /// `static-map`: each prefix of paths has a file, or a directory in which the rest of the path is searched.
    pub map: Vec<(Vec<u8>, PathBuf)>,
    /// `static-map2`: each prefix of paths has a directory in which the whole path is searched.
    pub map2: Vec<(Vec<u8>, PathBuf)>,
    /// `check-static-docroot`: whether DOCUMENT_ROOT, which the web server sends, is searched too.
    pub document_root: bool,
    /// Mount points of applications, which `manage-script-name` removes from the path, the longest first.
    pub mounts: Vec<Vec<u8>>,
    /// `static-index`: names of the files that are served in place of their directory.
    pub index: Vec<Vec<u8>>,
    /// `static-skip-ext`: endings of file names that are never served.
    pub skip: Vec<Vec<u8>>,
    /// `static-safe`: directories and files to which symbolic links may lead.
    pub safe: Vec<PathBuf>,
    /// `static-expires` and its variants.
    pub expiry: ExpirySettings,
    /// `static-gzip` and its variants.
    pub compressed: CompressedSettings,
    /// `static-immutable`: whether files with a hash in their name never change.
    pub immutable: bool,
    /// `mimefile`: files with media types, in place of /etc/mime.types.
    pub media_types: Vec<PathBuf>,
    /// `file-serve-mode`: whether this server or the web server in front sends a file.
    pub serve_mode: ServeMode,
    /// `honour-range`: whether a client can request a part of a file.
    pub ranges: bool,
}

/// The server that sends a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServeMode {
    /// This server sends the file.
    #[default]
    Own,
    /// The web server in front sends the file. It gets the path of the file in this response header.
    Header(&'static str),
}

/// The rules for the expiry of responses. Each rule has a text to match and a number of seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpirySettings {
    /// `static-expires-type`: the text is a media type.
    pub media_type: Rules,
    /// `static-expires`: the text is an expression for the file's path.
    pub file: Rules,
    /// `static-expires-path-info`: the text is an expression for PATH_INFO.
    pub path_info: Rules,
    /// `static-expires-uri`: the text is an expression for REQUEST_URI.
    pub uri: Rules,
}

/// The rules of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// Rules whose seconds count from the request.
    pub after_request: Vec<(String, u32)>,
    /// Rules whose seconds count from the modification of the file (the variants with `-mtime`).
    pub after_modification: Vec<(String, u32)>,
}

/// Selects the files in place of which a compressed variant may be sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompressedSettings {
    /// `static-gzip-all`: whether all files are selected.
    pub all: bool,
    /// `static-gzip-dir`: a file is selected if its path begins with one of these texts.
    pub directories: Vec<PathBuf>,
    /// `static-gzip-ext`: a file is selected if its path ends with one of these texts.
    pub ends: Vec<Vec<u8>>,
    /// `static-gzip`: a file is selected if its path matches one of these expressions.
    pub expressions: Vec<String>,
}

impl Settings {
    /// Whether no option defines a place of static files.
    pub fn is_empty(&self) -> bool {
        self.check.is_empty() && self.map.is_empty() && self.map2.is_empty() && !self.document_root
    }
}
