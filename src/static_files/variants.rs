//! Finds compressed variants of a file: `app.css.br`, `app.css.zst` and `app.css.gz` beside `app.css`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::accept_encoding::{self, Coding};
use super::root::{Opened, Place};
use super::settings::CompressedSettings;
use crate::log::Pattern;
use crate::sys::beneath::Kind;

/// Selects the files in place of which a compressed variant may be sent.
pub struct Variants {
    all: bool,
    directories: Vec<Vec<u8>>,
    ends: Vec<Vec<u8>>,
    expressions: Vec<Pattern>,
}

impl Variants {
    /// Compiles the settings. Relative paths start at `base`.
    pub fn new(settings: &CompressedSettings, base: &Path) -> Self {
        let absolute = |path: &PathBuf| base.join(path).as_os_str().as_bytes().to_vec();
        let expressions = settings.expressions.iter();
        Self {
            all: settings.all,
            directories: settings.directories.iter().map(absolute).collect(),
            ends: settings.ends.clone(),
            // the check of the configuration has compiled the expressions before, so this does not fail
            expressions: expressions
                .filter_map(|text| Pattern::new(text).ok())
                .collect(),
        }
    }

    /// Whether a compressed variant may be sent in place of the file `opened`.
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

/// Opens the existing variant that the client prefers; `None` if there is none.
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
