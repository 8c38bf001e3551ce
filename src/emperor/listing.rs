//! Lists the vassals of a source without an emperor, for `ruwsgi check --emperor`.

use std::path::{Path, PathBuf};

use super::file_rules::FileRules;
use super::source::Source;
use super::spawn;
use super::stamp::{Stamp, Unusable};

/// A vassal that an emperor with this source would start.
pub(crate) struct ListedVassal {
    /// The path of the vassal's file relative to `directory`, with its section.
    pub(crate) name: String,
    /// The arguments of the vassal's process that name its file.
    pub(crate) arguments: Vec<String>,
    /// The working directory of the vassal's process.
    pub(crate) directory: PathBuf,
    /// Why the emperor would skip the file; `None` if it would start the vassal.
    pub(crate) skipped: Option<String>,
}

/// Lists the vassals of `source`, a value of the option `emperor`.
///
/// # Errors
/// Returns a sentence if the source is not supported or cannot be read.
pub(crate) fn vassals(source: &str, cwd: &Path) -> Result<Vec<ListedVassal>, String> {
    let rules = FileRules::default();
    let parsed = Source::parse(source, cwd)?;
    if let Some(directory) = parsed.missing_directory() {
        return Err(format!("there is no directory {}", directory.display()));
    }
    let list = parsed.list(&rules);
    let list = list.map_err(|error| format!("{source} cannot be read: {error}"))?;
    let listed = list.into_iter().filter_map(|definition| {
        let skipped = match Stamp::of(&definition.file, &rules) {
            Ok(_) => None,
            Err(Unusable::Missing) => return None,
            Err(reason) => Some(reason.to_string()),
        };
        let arguments = spawn::arguments(definition.file_name(), definition.section.as_deref());
        Some(ListedVassal {
            name: definition.name,
            arguments: arguments
                .map(|word| word.to_string_lossy().into_owned())
                .to_vec(),
            directory: definition.directory,
            skipped,
        })
    });
    Ok(listed.collect())
}
