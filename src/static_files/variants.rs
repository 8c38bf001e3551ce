//! Compressed variants of files: `app.css.br`, `app.css.zst` and `app.css.gz` beside `app.css`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::accept_encoding::{self, Coding};
use super::root::{Opened, Place};
use super::settings::CompressedSettings;
use crate::log::Pattern;
use crate::sys::beneath::Kind;

/// Which files may be replaced by a compressed variant.
pub struct Variants {
    all: bool,
    directories: Vec<Vec<u8>>,
    ends: Vec<Vec<u8>>,
    expressions: Vec<Pattern>,
}

impl Variants {
    /// Compiles the settings. Relative paths are relative to `base`.
    pub fn new(settings: &CompressedSettings, base: &Path) -> Self {
        let absolute = |path: &PathBuf| base.join(path).as_os_str().as_bytes().to_vec();
        let expressions = settings.expressions.iter();
        Self {
            all: settings.all,
            directories: settings.directories.iter().map(absolute).collect(),
            ends: settings.ends.clone(),
            // the configuration has checked the expressions
            expressions: expressions
                .filter_map(|text| Pattern::new(text).ok())
                .collect(),
        }
    }

    /// Whether a file may be replaced by a variant.
    pub fn apply_to(&self, opened: &Opened, place: &Place) -> bool {
        if self.all || self.ends.iter().any(|end| opened.name().ends_with(end)) {
            return true;
        }
        if self.directories.is_empty() && self.expressions.is_empty() {
            return false;
        }
        let path = opened.real_path(place);
        if self.directories.iter().any(|start| path.starts_with(start)) {
            return true;
        }
        let text = String::from_utf8_lossy(&path);
        self.expressions.iter().any(|it| it.matches(&text))
    }
}

/// Opens the variant that the client prefers among those that exist.
pub fn open(
    opened: &Opened,
    place: &Place,
    accept_encoding: &[u8],
    safe: &[Vec<u8>],
) -> Option<(Opened, Coding)> {
    accept_encoding::accepted(accept_encoding).find_map(|coding| {
        let variant = place.open_beside(opened, coding.suffix(), safe).ok()?;
        (variant.attributes.kind == Kind::Regular).then_some((variant, coding))
    })
}
