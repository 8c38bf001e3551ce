//! Determines how long clients may keep a file (`static-expires` and its variants, `static-immutable`).

use super::hashed_name;
use super::settings::{ExpirySettings, Rules};
use super::time::Modified;
use crate::log::Pattern;

/// Time for which a client is told to keep a file that never changes, seconds: one year.
const YEAR: u64 = 31_536_000;

/// The time for which clients may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Clients may keep the file until this time, seconds since 1970.
    At(u64),
    /// The file never changes, so clients may keep it without limit.
    Never,
}

impl Expiry {
    /// The time for the Expires header, and the value for Cache-Control.
    pub fn headers(self, now: u64) -> (u64, String) {
        match self {
            Self::At(time) => (time, format!("max-age={}", time.saturating_sub(now))),
            Self::Never => (
                now.saturating_add(YEAR),
                format!("public, max-age={YEAR}, immutable"),
            ),
        }
    }
}

/// The texts of a file to which the rules are applied, one for each kind of rule.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The media type.
    pub media_type: Option<&'a str>,
    /// A path that ends with the file's name.
    pub name: &'a [u8],
    /// The absolute path of the file, without symbolic links; only needed if [`ExpiryRules::reads_path`].
    pub file: &'a [u8],
    /// PATH_INFO.
    pub path_info: &'a [u8],
    /// REQUEST_URI.
    pub uri: &'a [u8],
}

/// The rules for the expiry of files, with compiled expressions.
pub struct ExpiryRules {
    media_type: Rules,
    file: Compiled,
    path_info: Compiled,
    uri: Compiled,
    immutable: bool,
}

/// The rules of one kind, with compiled expressions.
struct Compiled {
    after_request: Vec<(Pattern, u32)>,
    after_modification: Vec<(Pattern, u32)>,
}

impl Compiled {
    fn new(rules: &Rules) -> Self {
        let compile = |rules: &[(String, u32)]| {
            let rules = rules.iter();
            // the check of the configuration has compiled the expressions before, so this does not fail
            rules
                .filter_map(|(text, seconds)| Some((Pattern::new(text).ok()?, *seconds)))
                .collect()
        };
        Self {
            after_request: compile(&rules.after_request),
            after_modification: compile(&rules.after_modification),
        }
    }

    fn is_empty(&self) -> bool {
        self.after_request.is_empty() && self.after_modification.is_empty()
    }

    fn find(&self, text: &[u8], now: u64, modified: u64) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(text);
        let matching = |rules: &[(Pattern, u32)]| {
            let found = rules.iter().find(|(pattern, _)| pattern.matches(&text));
            found.map(|(_, seconds)| u64::from(*seconds))
        };
        let now = matching(&self.after_request).map(|seconds| now + seconds);
        now.or_else(|| matching(&self.after_modification).map(|seconds| modified + seconds))
    }
}

impl ExpiryRules {
    /// Compiles the expressions of the rules.
    pub fn new(settings: &ExpirySettings, immutable: bool) -> Self {
        Self {
            media_type: settings.media_type.clone(),
            file: Compiled::new(&settings.file),
            path_info: Compiled::new(&settings.path_info),
            uri: Compiled::new(&settings.uri),
            immutable,
        }
    }

    /// Whether any rule applies to the absolute path of the file.
    pub fn reads_path(&self) -> bool {
        !self.file.is_empty()
    }

    /// Determines how long clients may keep a file. The kinds of rules are tried in the order in which uWSGI adds its
    /// headers. The first matching rule decides.
    pub fn find(&self, names: Names<'_>, now: u64, modified: Option<Modified>) -> Option<Expiry> {
        if self.immutable && hashed_name::has_hash(names.name) {
            return Some(Expiry::Never);
        }
        let modified = modified.map_or(0, |modified| modified.seconds);
        self.by_type(names.media_type, now, modified)
            .or_else(|| self.file.find(names.file, now, modified))
            .or_else(|| self.path_info.find(names.path_info, now, modified))
            .or_else(|| self.uri.find(names.uri, now, modified))
            .map(Expiry::At)
    }

    fn by_type(&self, media_type: Option<&str>, now: u64, modified: u64) -> Option<u64> {
        let media_type = media_type?;
        let matching = |rules: &[(String, u32)]| {
            let found = rules.iter().find(|(text, _)| text == media_type);
            found.map(|(_, seconds)| u64::from(*seconds))
        };
        let now = matching(&self.media_type.after_request).map(|seconds| now + seconds);
        now.or_else(|| {
            matching(&self.media_type.after_modification).map(|seconds| modified + seconds)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&str, u32)]) -> Vec<(String, u32)> {
        let rules = rules.iter();
        rules
            .map(|(text, seconds)| ((*text).to_owned(), *seconds))
            .collect()
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let settings = ExpirySettings {
            media_type: Rules {
                after_request: rules(&[("text/css", 1), ("text/css", 2)]),
                after_modification: rules(&[("image/png", 3)]),
            },
            file: Rules {
                after_request: rules(&[(r"\.js$", 4)]),
                after_modification: rules(&[(r"^/srv/.*\.(js|svg)$", 5)]),
            },
            path_info: Rules {
                after_request: rules(&[("^/media/", 6)]),
                ..Rules::default()
            },
            uri: Rules {
                after_modification: rules(&[(r"\?v=", 7)]),
                ..Rules::default()
            },
        };
        let rules = ExpiryRules::new(&settings, true);
        let modified = Modified::usable((100, 0));
        let find = |media_type, file: &str, path_info: &str, uri: &str| {
            let names = Names {
                media_type,
                name: file.as_bytes(),
                file: file.as_bytes(),
                path_info: path_info.as_bytes(),
                uri: uri.as_bytes(),
            };
            rules.find(names, 1000, modified)
        };
        let css = Some("text/css");
        for (found, expected) in [
            (find(css, "/srv/a.js", "/media/a", "/a?v=1"), Some(1001)),
            (find(Some("image/png"), "/srv/a.js", "", ""), Some(103)),
            (find(None, "/srv/a.js", "/media/a", ""), Some(1004)),
            (find(None, "/srv/a.svg", "/media/a", ""), Some(105)),
            (find(None, "/srv/a", "/media/a", "/a?v=1"), Some(1006)),
            (find(None, "/srv/a", "/a", "/a?v=1"), Some(107)),
            (find(Some("text/csss"), "/srv/a", "/a", "/a"), None),
        ] {
            assert_eq!(found, expected.map(Expiry::At));
        }
        let hashed = find(css, "/srv/a.0123456789ab.css", "", "");
        assert_eq!(hashed, Some(Expiry::Never));
    }

    #[test]
    fn the_headers_agree() {
        assert_eq!(Expiry::At(1100).headers(1000), (1100, "max-age=100".into()));
        assert_eq!(Expiry::At(900).headers(1000), (900, "max-age=0".into()));
        let (time, control) = Expiry::Never.headers(1000);
        assert_eq!(time, 1000 + YEAR);
        assert_eq!(control, "public, max-age=31536000, immutable");
    }
}
