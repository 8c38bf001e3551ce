//! The conditions of `route-if` and `route-if-not`.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::log::Pattern;

use super::address::Network;
use super::template::Template;

/// A condition. The names are those of uWSGI.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum Condition {
    /// `equal`, `isequal`, `eq`, `==`: both texts are equal.
    Equal(Template, Template),
    /// `startswith`.
    StartsWith(Template, Template),
    /// `endswith`.
    EndsWith(Template, Template),
    /// `contains`.
    Contains(Template, Template),
    /// `regexp`, `re`: the regular expression matches the text, and sets the groups.
    Matches(Template, String),
    /// `empty`.
    Empty(Template),
    /// `exists`, `isfile`, `isdir`, `isexec`, `islink`: what is at the path.
    Path(Template, PathKind),
    /// `ipv4in`, `ipv6in`: the network contains the address.
    In(Template, Network),
    /// `ishigher`, `ishigherequal`, `islower`, `islowerequal`, or `>`, `>=`, `<`, `<=`: compares two numbers.
    Order(Template, Order, Template),
}

/// What a path may lead to.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Anything.
    Any,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A file that somebody may execute.
    Executable,
    /// A symbolic link.
    Link,
}

impl PathKind {
    /// Whether the path leads to such a file.
    pub(super) fn is_at(self, path: &[u8]) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let path = Path::new(OsStr::from_bytes(path));
        match self {
            Self::Any => path.exists(),
            Self::File => path.is_file(),
            Self::Directory => path.is_dir(),
            Self::Link => path.is_symlink(),
            Self::Executable => path
                .metadata()
                .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0),
        }
    }
}

/// The expected order of two numbers.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The first is higher.
    Higher,
    /// The first is not lower.
    NotLower,
    /// The first is lower.
    Lower,
    /// The first is not higher.
    NotHigher,
}

impl Order {
    /// Whether two numbers have this order. A text that is no number counts as 0, as in uWSGI.
    pub(super) fn holds(self, first: &[u8], second: &[u8]) -> bool {
        let number = |text: &[u8]| -> i64 {
            let text = std::str::from_utf8(text).unwrap_or_default();
            text.trim().parse().unwrap_or_default()
        };
        let order = number(first).cmp(&number(second));
        match self {
            Self::Higher => order == Ordering::Greater,
            Self::NotLower => order != Ordering::Less,
            Self::Lower => order == Ordering::Less,
            Self::NotHigher => order != Ordering::Greater,
        }
    }
}

impl Condition {
    /// Parses `NAME:ARGUMENT;ARGUMENT`.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, arguments) = text.split_once(':').unwrap_or((text, ""));
        let one = || Template::parse(arguments);
        let texts = || {
            arguments
                .split_once(';')
                .ok_or_else(|| format!("{name} needs two arguments: {name}:FIRST;SECOND"))
        };
        let two = || {
            let (first, second) = texts()?;
            Ok::<_, String>((Template::parse(first)?, Template::parse(second)?))
        };
        let order = |order| two().map(|(first, second)| Self::Order(first, order, second));
        let path = |kind| Ok(Self::Path(one()?, kind));
        match name {
            "equal" | "isequal" | "eq" | "==" => two().map(|(a, b)| Self::Equal(a, b)),
            "startswith" => two().map(|(a, b)| Self::StartsWith(a, b)),
            "endswith" => two().map(|(a, b)| Self::EndsWith(a, b)),
            "contains" | "contain" => two().map(|(a, b)| Self::Contains(a, b)),
            "regexp" | "re" => {
                let (text, pattern) = texts()?;
                check_pattern(pattern)?;
                Ok(Self::Matches(Template::parse(text)?, pattern.to_owned()))
            }
            "empty" => Ok(Self::Empty(one()?)),
            "exists" => path(PathKind::Any),
            "isfile" => path(PathKind::File),
            "isdir" => path(PathKind::Directory),
            "isexec" => path(PathKind::Executable),
            "islink" => path(PathKind::Link),
            "ipv4in" | "ipv6in" => {
                let (address, network) = texts()?;
                let parsed = Network::parse(network)
                    .ok_or_else(|| format!("{network} is no network: write ADDRESS/BITS"))?;
                Ok(Self::In(Template::parse(address)?, parsed))
            }
            "ishigher" | ">" => order(Order::Higher),
            "ishigherequal" | ">=" => order(Order::NotLower),
            "islower" | "<" => order(Order::Lower),
            "islowerequal" | "<=" => order(Order::NotHigher),
            _ => Err(format!(
                "the condition {name} is not known: there are equal, startswith, endswith, contains, regexp, empty, exists, isfile, isdir, isexec, islink, ipv4in, ipv6in, ishigher, ishigherequal, islower and islowerequal"
            )),
        }
    }
}

/// Checks a regular expression.
pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    Pattern::new(pattern)
        .map(drop)
        .map_err(|why| format!("the regular expression {pattern} is invalid: {why}"))
}
