//! The types of options: each parses a text, explains itself, and says what it did not like.

use std::time::Duration;

use crate::log::request_log::{Piece, parse_format};

use crate::config::finding::Fault;
use crate::config::table::row::Takes;
use crate::config::values::parse::*;
use crate::config::values::setting::{Read, Value};

/// Declares a type whose values are copied when read.
macro_rules! copied {
    ($(#[$doc:meta])* $name:ident: $is:ty, $arg:literal, $takes:expr, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Is = $is;
            type Got<'a> = $is;
            const TAKES: Takes = $takes;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Read<$is> {
                ($parse)(text)
            }

            fn got(is: &$is) -> $is {
                is.clone()
            }
        }
    };
}

/// Declares a type whose values are texts.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $arg:literal, $split:expr, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Is = String;
            type Got<'a> = &'a str;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Read<String> {
                ($parse)(text)
            }

            fn split(text: &str) -> Vec<&str> {
                ($split)(text)
            }

            fn got(is: &String) -> &str {
                is
            }
        }
    };
}

copied!(
    /// True or false.
    Switch: bool, "BOOL", Takes::Nothing, switch
);
copied!(
    /// True or false, where the flag may also take the answer.
    OptionalSwitch: bool, "BOOL", Takes::Maybe, switch
);
copied!(
    /// A number of things, at least one; 0 is read as 1.
    Count: u32, "COUNT", Takes::Value, count
);
copied!(
    /// A number of workers, at least one, or `auto`.
    Workers: u32, "COUNT", Takes::Value, workers
);
copied!(
    /// A number that may be 0.
    Number: u32, "NUMBER", Takes::Value, |text| small(text, &[])
);
copied!(
    /// A share, from 0 to 100.
    Percent: u32, "PERCENT", Takes::Value, percent
);
copied!(
    /// How the number of workers follows the load.
    Scaling: ScalingAlgorithm, "ALGORITHM", Takes::Value, scaling
);
copied!(
    /// A time in whole seconds.
    Seconds: Duration, "SECONDS", Takes::Value, seconds
);
copied!(
    /// A size in bytes.
    Bytes: u64, "BYTES", Takes::Value, |text| whole(text, &["b", "bytes"])
);
copied!(
    /// A size in MiB, kept in bytes.
    Megabytes: u64, "MIB", Takes::Value, megabytes
);
copied!(
    /// The size of the block of request variables, from 1 KiB to 65535 bytes.
    BlockSize: u32, "BYTES", Takes::Value, block_size
);
copied!(
    /// The size above which a body is read before the application is called.
    Buffering: u64, "BYTES", Takes::Value, buffering
);
copied!(
    /// How long an idle connection is kept; 0 is never, and a bare `true` the usual time.
    Keepalive: Duration, "SECONDS", Takes::Maybe, keepalive
);
copied!(
    /// A mask in octal.
    Mask: u32, "OCTAL", Takes::Value, mask
);
copied!(
    /// The permissions of a socket.
    SocketMode: u32, "MODE", Takes::Maybe, socket_mode
);
copied!(
    /// A protocol spoken on a socket.
    Protocol: Wire, "PROTOCOL", Takes::Value, wire
);
copied!(
    /// Whose defaults hold.
    Era: Compat, "SERVER", Takes::Value, compat
);
copied!(
    /// An owner, `user:group`.
    Ownership: Owner, "USER:GROUP", Takes::Value, owner
);
text!(
    /// A text that must not be empty.
    Text, "TEXT", |text| vec![text], full
);
text!(
    /// A path.
    Path, "PATH", |text| vec![text], full
);
text!(
    /// Any text, also an empty one.
    Words, "TEXT", |text| vec![text], |text: &str| Ok((text.to_owned(), None))
);

/// Capabilities, by name or number, separated by commas.
pub(crate) struct Capabilities;

impl Value for Capabilities {
    type Is = caps::Capability;
    type Got<'a> = caps::Capability;
    const ARG: &'static str = "NAME,...";

    fn parse(text: &str) -> Read<caps::Capability> {
        capability(text)
    }

    fn split(text: &str) -> Vec<&str> {
        comma_separated(text)
    }

    fn got(is: &caps::Capability) -> caps::Capability {
        *is
    }
}

/// A socket's address.
pub(crate) struct Listening;

impl Value for Listening {
    type Is = crate::config::Address;
    type Got<'a> = &'a crate::config::Address;
    const ARG: &'static str = "ADDRESS";

    fn parse(text: &str) -> Read<crate::config::Address> {
        let (bare, remark) = without_comment(text);
        let address = crate::config::Address::parse(bare)?;
        let number = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit());
        let remark = remark.or_else(|| {
            number.then(|| {
                Fault::new("it names a Unix socket in the current directory")
                    .hint(format!("a TCP port is written :{bare}"))
            })
        });
        Ok((address, remark))
    }

    fn split(text: &str) -> Vec<&str> {
        comma_separated(text)
    }

    fn got(is: &crate::config::Address) -> &crate::config::Address {
        is
    }
}

/// What the line of a request holds.
pub(crate) struct LineFormat;

impl Value for LineFormat {
    type Is = Vec<Piece>;
    type Got<'a> = &'a [Piece];
    const ARG: &'static str = "FORMAT";

    fn parse(text: &str) -> Read<Vec<Piece>> {
        let (pieces, unknown) = parse_format(text);
        let remark = (!unknown.is_empty()).then(|| {
            Fault::new(format!("nothing stands for %({})", unknown.join("), %(")))
                .hint("a dash is logged; docs/configuration.md lists the names")
        });
        Ok((pieces, remark))
    }

    fn got(is: &Vec<Piece>) -> &[Piece] {
        is
    }
}

/// A name and a value, `NAME=VALUE`.
pub(crate) struct Assignment;

impl Value for Assignment {
    type Is = (String, String);
    type Got<'a> = &'a (String, String);
    const ARG: &'static str = "NAME=VALUE";

    fn parse(text: &str) -> Read<(String, String)> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok((
                (name.trim().to_owned(), value.trim_start().to_owned()),
                None,
            )),
            _ => Err(Fault::new("there is no name and = in it").hint("write NAME=value")),
        }
    }

    fn got(is: &(String, String)) -> &(String, String) {
        is
    }
}

/// What becomes of an environment variable, `NAME=value`; `NAME` alone removes it, as putenv(3) does for uWSGI.
pub(crate) struct Variable;

impl Value for Variable {
    type Is = (String, Option<String>);
    type Got<'a> = &'a (String, Option<String>);
    const ARG: &'static str = "NAME=VALUE";

    fn parse(text: &str) -> Read<(String, Option<String>)> {
        let name = text.trim();
        if !name.is_empty() && !name.contains(|c: char| c == '=' || c.is_whitespace()) {
            let fault = Fault::new("there is no = in it, and so the variable is removed")
                .hint(format!("write unenv = {name}, or {name}= for an empty one"));
            return Ok(((name.to_owned(), None), Some(fault)));
        }
        let ((name, value), fault) = Assignment::parse(text)?;
        Ok(((name, Some(value)), fault))
    }

    fn got(is: &(String, Option<String>)) -> &(String, Option<String>) {
        is
    }
}

/// A mount point and what serves it, `/point=what`; the point is kept without its trailing slash.
pub(crate) struct Mount;

impl Value for Mount {
    type Is = (String, String);
    type Got<'a> = &'a (String, String);
    const ARG: &'static str = "/POINT=APP";

    fn parse(text: &str) -> Read<(String, String)> {
        let Some((point, what)) = text
            .split_once('=')
            .map(|(point, what)| (point.trim(), what.trim()))
        else {
            return Err(Fault::new("there is no = in it")
                .hint("write /point=module:callable or /point=file.py"));
        };
        if what.is_empty() {
            return Err(Fault::new("nothing is mounted")
                .hint("write /point=module:callable or /point=file.py"));
        }
        if !point.is_empty() && !point.starts_with('/') {
            return Err(Fault::new(format!(
                "the mount point {point} does not begin with a slash"
            ))
            .hint(format!("write /{point}={what}")));
        }
        let point = match point.trim_end_matches('/') {
            "" => "/",
            point => point,
        };
        Ok(((point.to_owned(), what.to_owned()), None))
    }

    fn got(is: &(String, String)) -> &(String, String) {
        is
    }
}

/// Whose defaults hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compat {
    /// uWSGI's.
    Uwsgi,
}

/// How the number of workers follows the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ScalingAlgorithm {
    /// There is to be a thread to spare.
    #[default]
    Spare,
    /// Few connections are to wait.
    Backlog,
    /// The average load is to lie between two bounds.
    Busyness,
    /// Only the operator changes it.
    Manual,
}

/// A protocol spoken on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Wire {
    /// uWSGI's own protocol.
    #[default]
    Uwsgi,
    /// HTTP/1.1.
    Http,
}

/// A user or a group as it was written: a name or a number.
pub(crate) type Name = String;

/// Who shall own a socket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    /// The user, when it changes.
    pub(crate) user: Option<Name>,
    /// The group, when it changes.
    pub(crate) group: Option<Name>,
}
