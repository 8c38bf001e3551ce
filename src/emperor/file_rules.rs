//! The options that determine which files define vassals.

use std::path::PathBuf;

use crate::config::Config;

/// The rules that determine which files define vassals, and which user owns a file.
#[derive(Debug, Clone, Default)]
pub(super) struct FileRules {
    /// Whether symbolic links are ignored (`emperor-nofollow`).
    pub(super) nofollow: bool,
    /// Extensions of vassals' files, in addition to the extensions of configuration files (`emperor-extra-extension`).
    pub(super) extensions: Vec<String>,
    /// Whether a vassal runs as the owner of its file (`emperor-tyrant`).
    pub(super) tyrant: bool,
    /// Whether the owner of a symbolic link counts instead of the owner of its target (`emperor-tyrant-nofollow`).
    pub(super) link_owner: bool,
    /// The extension of the files that contain the addresses of vassals on demand (`emperor-on-demand-extension`).
    pub(super) address_extension: Option<String>,
}

impl FileRules {
    /// The vassal's file that `path` belongs to. If `path` is a file with the address of a vassal, the result is the
    /// file of this vassal. Otherwise the result is `path`.
    pub(super) fn vassal_file_of(&self, path: PathBuf) -> PathBuf {
        let extension = self.address_extension.as_deref();
        let extension = extension.filter(|extension| !extension.is_empty());
        let stem = extension.and_then(|extension| path.to_str()?.strip_suffix(extension));
        stem.map(PathBuf::from).unwrap_or(path)
    }
}

/// Whether the configuration makes each vassal run as the owner of its file.
pub(super) fn is_tyrant(config: &Config) -> bool {
    config.emperor_tyrant() || config.emperor_tyrant_nofollow()
}
