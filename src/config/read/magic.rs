//! The magic variables of configuration files, such as `%n`, `%d` and `%k`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::invocation::{Host, Invocation};

/// The facts about a configuration file that are the values of magic variables.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileFacts {
    /// The name of the file as given.
    pub(crate) given: String,
    /// The absolute path. If the file is a symbolic link, the path is that of the link.
    path: String,
    /// The requested section, or an empty text.
    pub(crate) section: String,
    inode: u64,
}

impl FileFacts {
    /// The facts about the file `given`; a relative name is resolved in `cwd`.
    pub(crate) fn new(given: &str, cwd: &Path, section: &str) -> FileFacts {
        let joined = cwd.join(given);
        let metadata = fs::symlink_metadata(&joined).ok();
        let linked = metadata
            .as_ref()
            .is_some_and(|metadata| metadata.file_type().is_symlink());
        let path = if linked {
            joined
        } else {
            fs::canonicalize(&joined).unwrap_or(joined)
        };
        FileFacts {
            given: given.to_owned(),
            path: path.to_string_lossy().into_owned(),
            section: section.to_owned(),
            inode: metadata.map_or(0, |metadata| metadata.ino()),
        }
    }

    /// The same facts with another name and section.
    pub(crate) fn renamed(&self, given: &str, section: &str) -> FileFacts {
        FileFacts {
            given: given.to_owned(),
            section: section.to_owned(),
            ..self.clone()
        }
    }

    fn base(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The base name without its last extension.
    pub(crate) fn stem(&self) -> &str {
        self.base()
            .rsplit_once('.')
            .map_or(self.base(), |(stem, _)| stem)
    }

    fn extension(&self) -> &str {
        self.base()
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension)
    }

    fn directory(&self) -> &str {
        &self.path[..self.path.len() - self.base().len()]
    }

    fn component(&self, index: usize) -> &str {
        self.directory()
            .split('/')
            .filter(|part| !part.is_empty())
            .nth(index)
            .unwrap_or_default()
    }

    fn last_component(&self) -> &str {
        self.directory()
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default()
    }

    /// The value of a variable that describes the file. `name` is the lower-case letter or the digit after `%`.
    fn value(&self, name: char) -> Option<String> {
        let text = match name {
            'o' => &self.given,
            'p' => &self.path,
            's' => self.base(),
            'd' => self.directory(),
            'e' => self.extension(),
            'n' => self.stem(),
            'c' => self.last_component(),
            'x' => &self.section,
            'i' => return Some(self.inode.to_string()),
            'j' => return Some(djb33x(self.path.as_bytes())),
            digit => self.component(digit.to_digit(10)? as usize),
        };
        Some(text.to_owned())
    }
}

/// The hash of a path for `%j`, in hexadecimal with the lowest byte first.
fn djb33x(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(5381u32, |hash, byte| {
        hash.wrapping_shl(5).wrapping_add(hash) ^ u32::from(*byte)
    });
    format!("{:08X}", hash.swap_bytes())
}

/// The sources of the magic variables of one file.
pub(crate) struct Magic<'a> {
    /// The file being read.
    pub(crate) file: &'a FileFacts,
    /// The first configuration file that was read. The upper-case variables describe this file.
    pub(crate) outermost: &'a FileFacts,
    /// The machine and the user.
    pub(crate) host: &'a Host,
    /// The directory in which ruwsgi was started.
    pub(crate) cwd: &'a Path,
}

impl<'a> Magic<'a> {
    /// The magic variables of `file`. `outermost` is the first configuration file that was read.
    pub(crate) fn new(
        file: &'a FileFacts,
        outermost: &'a FileFacts,
        invocation: &'a Invocation,
    ) -> Self {
        Self {
            file,
            outermost,
            host: &invocation.host,
            cwd: &invocation.cwd,
        }
    }

    fn value(&self, name: char) -> Option<String> {
        match name {
            'O' | 'D' | 'S' | 'P' | 'C' | 'E' | 'N' | 'X' | 'I' | 'J' => {
                self.outermost.value(name.to_ascii_lowercase())
            }
            'v' => Some(display(self.cwd)),
            'b' => Some(display(&self.host.binary)),
            'h' => Some(self.host.name.clone()),
            'k' => Some(self.host.cpus.to_string()),
            'u' => Some(self.host.uid.to_string()),
            'g' => Some(self.host.gid.to_string()),
            'U' => Some(self.host.user.clone()),
            'G' => Some(self.host.group.clone()),
            't' => Some(self.host.started.as_secs().to_string()),
            'T' => Some(self.host.started.as_micros().to_string()),
            'V' => Some(env!("CARGO_PKG_VERSION").to_owned()),
            '[' => Some("\u{1b}".to_owned()),
            _ => self.file.value(name),
        }
    }

    /// Replaces the magic variables of a line. Unknown variables are removed, as in uWSGI, and their letters are
    /// returned with the line.
    pub(crate) fn expand(&self, line: &str) -> (String, Vec<char>) {
        let mut expanded = String::with_capacity(line.len());
        let mut deleted = Vec::new();
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('%') {
            expanded.push_str(before);
            let mut chars = after.chars();
            match chars.next() {
                Some('%') => expanded.push('%'),
                Some('(') => expanded.push_str("%("),
                None => {}
                Some(name) => match self.value(name) {
                    Some(value) => expanded.push_str(&value),
                    None => deleted.push(name),
                },
            }
            rest = chars.as_str();
        }
        expanded.push_str(rest);
        (expanded, deleted)
    }
}

fn display(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_variable_has_the_value_of_uwsgi() {
        let file = FileFacts {
            given: "cfgx/m.x.ini".into(),
            path: "/tmp/cfgx/m.x.ini".into(),
            section: "s".into(),
            inode: 7,
        };
        let outermost = FileFacts {
            path: "/etc/outer.yaml".into(),
            ..FileFacts::default()
        };
        let host = Host::sample();
        let magic = Magic {
            file: &file,
            outermost: &outermost,
            host: &host,
            cwd: Path::new("/home"),
        };
        let expand = |text: &str| magic.expand(text).0;
        assert_eq!(
            expand("%o %p %s %d %e %n %c %x %i"),
            "cfgx/m.x.ini /tmp/cfgx/m.x.ini m.x.ini /tmp/cfgx/ ini m.x cfgx s 7"
        );
        assert_eq!(
            expand("%P %S %D %E %N %C"),
            "/etc/outer.yaml outer.yaml /etc/ yaml outer etc"
        );
        assert_eq!(expand("%0,%1,%2,%9"), "tmp,cfgx,,");
        assert_eq!(expand("%v %k %u"), "/home 2 33");
    }

    #[test]
    fn percent_signs_are_unescaped_kept_before_brackets_and_removed_otherwise() {
        let (file, host) = (FileFacts::default(), Host::sample());
        let magic = Magic {
            file: &file,
            outermost: &file,
            host: &host,
            cwd: Path::new("/"),
        };
        assert_eq!(magic.expand("100% x"), ("100x".to_owned(), vec![' ']));
        assert_eq!(magic.expand("%Y-%m"), ("-".to_owned(), vec!['Y', 'm']));
        assert_eq!(
            magic.expand("%%(a) %(b) 5%"),
            ("%(a) %(b) 5".to_owned(), vec![])
        );
        assert_eq!(magic.expand("%é"), (String::new(), vec!['é']));
    }

    #[test]
    fn the_hash_is_that_of_uwsgi() {
        assert_eq!(djb33x(b"/tmp/cfgx/m.ini"), "74BDAB11");
        assert_eq!(djb33x(b"/tmp/cfgx/lm.ini"), "F8E34249");
    }
}
