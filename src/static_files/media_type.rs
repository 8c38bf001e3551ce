//! Finds the media type of a file by the extension of its name. The types come from files in the format of
//! /etc/mime.types.

use std::path::{Path, PathBuf};

/// The types of common files, for systems without /etc/mime.types.
const BUILT_IN: &str = include_str!("media_types.txt");
/// The file with the media types of the system.
const SYSTEM: &str = "/etc/mime.types";
/// Maximum size of a file with media types, bytes.
const MAX_SIZE: u64 = 4 << 20;

/// A table of media types.
#[derive(Default)]
pub struct MediaTypes {
    /// The text with all extensions and types.
    text: String,
    /// The positions of each extension and its type in the text, sorted by extension.
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    extension: (u32, u16),
    media_type: (u32, u16),
}

impl MediaTypes {
    /// Reads the files of the configuration, or the file of the system if no file is configured. An extension that is
    /// in no file gets its type from a built-in table. Calls `report` for a file that cannot be read.
    pub fn load(files: &[PathBuf], report: impl Fn(&Path, &std::io::Error)) -> Self {
        let mut types = Self::default();
        if files.is_empty()
            && let Ok(text) = read(Path::new(SYSTEM))
        {
            types.add(&text);
        }
        for file in files {
            match read(file) {
                Ok(text) => types.add(&text),
                Err(error) => report(file, &error),
            }
        }
        types.add(BUILT_IN);
        types.finish();
        types
    }

    /// The media type for a file name, by the part after its last dot. Upper and lower case are equal.
    pub fn of(&self, name: &[u8]) -> Option<&str> {
        let base = name.rsplit(|&byte| byte == b'/').next()?;
        let dot = base.iter().rposition(|&byte| byte == b'.')?;
        let mut buffer = [0; 16];
        let extension = base.get(dot + 1..)?;
        let lower = buffer.get_mut(..extension.len())?;
        lower.copy_from_slice(extension);
        lower.make_ascii_lowercase();
        let key = std::str::from_utf8(lower).ok()?;
        let found = self
            .rows
            .binary_search_by(|row| self.text(row.extension).cmp(key))
            .ok()?;
        self.rows.get(found).map(|row| self.text(row.media_type))
    }

    fn text(&self, (start, len): (u32, u16)) -> &str {
        let start = start as usize;
        self.text.get(start..start + len as usize).unwrap_or("")
    }

    /// Adds the lines `TYPE EXTENSION ...` of a text. An extension that already has a type keeps this type.
    fn add(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(media_type) = words.next().filter(|word| is_type(word)) else {
                continue;
            };
            let mut stored = None;
            for extension in words {
                let lower = extension.trim_start_matches('.').to_ascii_lowercase();
                let media_type = stored.or_else(|| self.store(media_type));
                stored = media_type;
                if let (Some(extension), Some(media_type)) = (self.store(&lower), media_type) {
                    self.rows.push(Row {
                        extension,
                        media_type,
                    });
                }
            }
        }
    }

    fn store(&mut self, text: &str) -> Option<(u32, u16)> {
        let place = (
            u32::try_from(self.text.len()).ok()?,
            u16::try_from(text.len()).ok()?,
        );
        self.text.push_str(text);
        Some(place)
    }

    /// Sorts the rows. If an extension has several rows, keeps only the first.
    fn finish(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        // the sort is stable, so the first row of an extension stays in front
        rows.sort_by(|a, b| self.text(a.extension).cmp(self.text(b.extension)));
        rows.dedup_by(|later, first| self.text(later.extension) == self.text(first.extension));
        rows.shrink_to_fit();
        self.text.shrink_to_fit();
        self.rows = rows;
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > MAX_SIZE {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let bytes = std::fs::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a word can be the value of Content-Type.
fn is_type(word: &str) -> bool {
    word.contains('/') && word.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(text: &str) -> MediaTypes {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("types");
        std::fs::write(&file, text).unwrap();
        MediaTypes::load(&[file], |_, error| panic!("{error}"))
    }

    #[test]
    fn a_type_is_found_by_the_last_extension() {
        let types = with("# comment\ntext/x-own OWN .dot # more\nbad\ntext/x-css css\ntext/none\n");
        for (name, expected) in [
            ("a.own", Some("text/x-own")),
            ("dir.css/a.Own", Some("text/x-own")),
            ("a.dot", Some("text/x-own")),
            ("a.css", Some("text/x-css")),
            ("a.min.js", Some("text/javascript")),
            ("a.css.gz", Some("application/gzip")),
            ("A.PNG", Some("image/png")),
            ("css", None),
            (".css", Some("text/x-css")),
            ("a.", None),
            ("a.unknown", None),
            ("a.averyveryverylongextension", None),
        ] {
            assert_eq!(types.of(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(types.of(b"a.\xff\xfe"), None);
    }

    #[test]
    fn a_file_that_is_missing_is_reported() {
        let reports = std::cell::Cell::new(0);
        let files = [PathBuf::from("/nonexistent/types")];
        let types = MediaTypes::load(&files, |_, _| reports.set(reports.get() + 1));
        assert_eq!(reports.get(), 1);
        assert_eq!(types.of(b"a.css"), Some("text/css"));
    }

    #[test]
    fn every_line_of_the_built_in_table_is_used() {
        let mut types = MediaTypes::default();
        types.add(BUILT_IN);
        let words = BUILT_IN
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().count() - 1);
        let expected: usize = words.sum();
        types.finish();
        assert_eq!(types.rows.len(), expected);
    }
}
