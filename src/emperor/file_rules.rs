//! The options that say which files define vassals.

use std::path::PathBuf;

use crate::config::Config;

/// Which files define vassals, and whose they are.
#[derive(Debug, Clone, Default)]
pub(super) struct FileRules {
    /// Symbolic links are ignored (`emperor-nofollow`).
    pub(super) nofollow: bool,
    /// Extensions of vassals, beside those of configuration files (`emperor-extra-extension`).
    pub(super) extensions: Vec<String>,
    /// A vassal runs as the owner of its file (`emperor-tyrant`).
    pub(super) tyrant: bool,
    /// A symbolic link's own owner counts, not that of its target (`emperor-tyrant-nofollow`).
    pub(super) link_owner: bool,
    /// The extension of the files that contain the addresses of vassals on demand (`emperor-on-demand-extension`).
    pub(super) address_extension: Option<String>,
}

impl FileRules {
    /// The vassal's file to which a file belongs: the file itself, or the one whose address it contains.
    pub(super) fn vassal_file_of(&self, path: PathBuf) -> PathBuf {
        let extension = self.address_extension.as_deref();
        let extension = extension.filter(|extension| !extension.is_empty());
        let stem = extension.and_then(|extension| path.to_str()?.strip_suffix(extension));
        stem.map(PathBuf::from).unwrap_or(path)
    }
}

/// Whether each vassal runs as the owner of its file.
pub(super) fn is_tyrant(config: &Config) -> bool {
    config.emperor_tyrant() || config.emperor_tyrant_nofollow()
}
