//! The types of option values. Each row of the option table names one type.

use std::time::Duration;

use crate::config::finding::Fault;
use crate::log::request_log::{Piece, parse_access_format, parse_format};

use super::address::Address;
use super::cache;
use super::choice::{self, Compat, Owner, ScalingAlgorithm, Wire};
use super::header;
use super::number;
use super::setting::{Parsed, Takes, Value};
use super::text;

/// Declares an option type with a `Copy` value. The getter of the option returns a copy.
macro_rules! copied {
    ($(#[$doc:meta])* $name:ident: $stored:ty, $arg:literal, $takes:expr, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Stored = $stored;
            type Ref<'a> = $stored;
            const TAKES: Takes = $takes;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Parsed<$stored> {
                ($parse)(text)
            }

            fn get(stored: &$stored) -> $stored {
                stored.clone()
            }
        }
    };
}

/// Declares an option type whose value is a text.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $arg:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Stored = String;
            type Ref<'a> = &'a str;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Parsed<String> {
                ($parse)(text)
            }

            fn get(stored: &String) -> &str {
                stored
            }
        }
    };
}

copied!(
    /// A boolean; the flag takes no value.
    Switch: bool, "BOOL", Takes::Nothing, text::switch
);
copied!(
    /// A boolean; the flag may take a value.
    OptionalSwitch: bool, "BOOL", Takes::Maybe, text::switch
);
copied!(
    /// A count of at least 1; 0 is read as 1.
    Count: u32, "COUNT", Takes::Value, number::count
);
copied!(
    /// A count of workers of at least 1, or `auto`.
    Workers: u32, "COUNT", Takes::Value, number::workers
);
copied!(
    /// A number that may be 0.
    Number: u32, "NUMBER", Takes::Value, |text| number::small(text, &[])
);
copied!(
    /// A nice value, from -20 to 19.
    Priority: i32, "NUMBER", Takes::Value, number::priority
);
copied!(
    /// An exit status; the default is 0.
    ExitStatus: u8, "STATUS", Takes::Maybe, number::exit_status
);
copied!(
    /// A percentage from 0 to 100.
    Percent: u32, "PERCENT", Takes::Value, number::percent
);
copied!(
    /// An algorithm that adapts the number of workers to the load.
    Scaling: ScalingAlgorithm, "ALGORITHM", Takes::Value, choice::scaling_algorithm
);
copied!(
    /// A time in whole seconds.
    Seconds: Duration, "SECONDS", Takes::Value, number::seconds
);
copied!(
    /// A size in bytes.
    Bytes: u64, "BYTES", Takes::Value, number::bytes
);
copied!(
    /// The number of items of a cache.
    CacheItems: u32, "ITEMS", Takes::Value, cache::items
);
copied!(
    /// A size in MiB, stored in bytes.
    Megabytes: u64, "MIB", Takes::Value, number::megabytes
);
copied!(
    /// The size of the block of request variables, from 1 to 65535 bytes.
    BlockSize: u32, "BYTES", Takes::Value, number::block_size
);
copied!(
    /// The size in bytes above which a request body goes to a temporary file.
    BufferThreshold: u64, "BYTES", Takes::Value, number::buffer_threshold
);
copied!(
    /// The timeout of an idle connection. 0 disables keep-alive. A flag without a value sets the default.
    Keepalive: Duration, "SECONDS", Takes::Maybe, number::keepalive
);
copied!(
    /// A umask in octal.
    Umask: u32, "OCTAL", Takes::Value, number::umask
);
copied!(
    /// The permissions of a Unix socket, in octal.
    SocketMode: u32, "MODE", Takes::Maybe, number::socket_mode
);
copied!(
    /// The protocol of a socket.
    Protocol: Wire, "PROTOCOL", Takes::Value, choice::protocol
);
copied!(
    /// The server whose defaults apply.
    CompatMode: Compat, "SERVER", Takes::Value, choice::compat
);
copied!(
    /// An owner: `user:group`.
    Ownership: Owner, "USER:GROUP", Takes::Value, choice::owner
);
text!(
    /// A text that must not be empty.
    Text, "TEXT", text::non_empty
);
text!(
    /// A path that must not be empty.
    Path, "PATH", text::non_empty
);
text!(
    /// Any text; it may be empty.
    AnyText, "TEXT", |text: &str| Ok((text.to_owned(), None))
);

/// A text that may be absent: the flag without a value, and `true`, give an empty text.
pub(crate) struct OptionalText;

impl Value for OptionalText {
    type Stored = String;
    type Ref<'a> = &'a str;
    const TAKES: Takes = Takes::Maybe;
    const ARG: &'static str = "TEXT";

    fn parse(text: &str) -> Parsed<String> {
        let text = if text == "true" { "" } else { text };
        Ok((text.to_owned(), None))
    }

    fn get(stored: &String) -> &str {
        stored
    }
}

/// Capabilities by name or number, separated by commas.
pub(crate) struct Capabilities;

impl Value for Capabilities {
    type Stored = caps::Capability;
    type Ref<'a> = caps::Capability;
    const ARG: &'static str = "NAME,...";

    fn parse(text: &str) -> Parsed<caps::Capability> {
        text::capability(text)
    }

    fn split(text: &str) -> Vec<&str> {
        text::comma_separated(text)
    }

    fn get(stored: &caps::Capability) -> caps::Capability {
        *stored
    }
}

/// The address of a listening socket. Several addresses are separated by commas.
pub(crate) struct ListenAddress;

impl Value for ListenAddress {
    type Stored = Address;
    type Ref<'a> = &'a Address;
    const ARG: &'static str = "ADDRESS";

    fn parse(text: &str) -> Parsed<Address> {
        let (value, remark) = text::without_comment(text);
        let address = Address::parse(value)?;
        let number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let remark = remark.or_else(|| {
            number.then(|| {
                Fault::new("the value is a Unix socket in the current directory")
                    .hint(format!("write :{value} for a TCP port"))
            })
        });
        Ok((address, remark))
    }

    fn split(text: &str) -> Vec<&str> {
        text::comma_separated(text)
    }

    fn get(stored: &Address) -> &Address {
        stored
    }
}

/// The format of a request's log line, with uWSGI's names of the fields.
pub(crate) struct LineFormat;

impl Value for LineFormat {
    type Stored = Vec<Piece>;
    type Ref<'a> = &'a [Piece];
    const ARG: &'static str = "FORMAT";

    fn parse(text: &str) -> Parsed<Vec<Piece>> {
        let (pieces, unknown) = parse_format(text);
        let remark = (!unknown.is_empty()).then(|| {
            Fault::new(format!(
                "unknown name in the format: %({})",
                unknown.join("), %(")
            ))
            .hint("a dash is logged for it, unless the application sets it by uwsgi.set_logvar; docs/configuration.md lists the names")
        });
        Ok((pieces, remark))
    }

    fn get(stored: &Vec<Piece>) -> &[Piece] {
        stored
    }
}

/// Declares an option type whose value is a pair of texts.
macro_rules! pair {
    ($(#[$doc:meta])* $name:ident, $arg:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Stored = (String, String);
            type Ref<'a> = &'a (String, String);
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Parsed<(String, String)> {
                ($parse)(text)
            }

            fn get(stored: &(String, String)) -> &(String, String) {
                stored
            }
        }
    };
}

pair!(
    /// A response header: `NAME: VALUE`.
    HeaderLine, "NAME: VALUE", header::line
);
pair!(
    /// A response header and a request variable: `HEADER VARIABLE`.
    HeaderVariable, "HEADER VARIABLE", header::and_variable
);

/// The format of a request's log line, with gunicorn's names of the fields.
pub(crate) struct AccessFormat;

impl Value for AccessFormat {
    type Stored = Vec<Piece>;
    type Ref<'a> = &'a [Piece];
    const ARG: &'static str = "FORMAT";

    fn parse(text: &str) -> Parsed<Vec<Piece>> {
        let (pieces, unknown) = parse_access_format(text);
        let remark = (!unknown.is_empty()).then(|| {
            Fault::new(format!(
                "unknown name in the format: {}",
                unknown.join(", ")
            ))
            .hint("a dash is logged for it; docs/logging.md lists the names")
        });
        Ok((pieces, remark))
    }

    fn get(stored: &Vec<Piece>) -> &[Piece] {
        stored
    }
}

/// A name and a value: `NAME=VALUE`.
pub(crate) struct Assignment;

impl Value for Assignment {
    type Stored = (String, String);
    type Ref<'a> = &'a (String, String);
    const ARG: &'static str = "NAME=VALUE";

    fn parse(text: &str) -> Parsed<(String, String)> {
        text::assignment(text)
    }

    fn get(stored: &(String, String)) -> &(String, String) {
        stored
    }
}

/// An environment variable: `NAME=value`. `NAME` alone removes the variable, as uWSGI does by putenv(3).
pub(crate) struct Variable;

impl Value for Variable {
    type Stored = (String, Option<String>);
    type Ref<'a> = &'a (String, Option<String>);
    const ARG: &'static str = "NAME=VALUE";

    fn parse(text: &str) -> Parsed<(String, Option<String>)> {
        let name = text.trim();
        if !name.is_empty() && !name.contains(|c: char| c == '=' || c.is_whitespace()) {
            let fault = Fault::new("the value has no =, so the variable is removed").hint(format!(
                "write unenv = {name}, or {name}= for an empty variable"
            ));
            return Ok(((name.to_owned(), None), Some(fault)));
        }
        let ((name, value), remark) = text::assignment(text)?;
        let remark = remark.or_else(|| text::without_comment(&value).1);
        Ok(((name, Some(value)), remark))
    }

    fn get(stored: &(String, Option<String>)) -> &(String, Option<String>) {
        stored
    }
}

/// Splits a mount point that begins with a host: `HOST|/point`, or `HOST/point` if the host has a dot or is localhost.
fn host_and_point(point: &str) -> Option<(&str, &str)> {
    let (host, below) = match point.split_once('|') {
        Some(parts) => parts,
        None => {
            let end = point.find('/').unwrap_or(point.len());
            let (host, below) = point.split_at(end);
            (host.contains('.') || host == "localhost").then_some((host, below))?
        }
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    let is_valid = !host.is_empty() && host.bytes().all(is_host);
    (is_valid && (below.is_empty() || below.starts_with('/'))).then_some((host, below))
}

/// A mount point and its application: `/point=app`. The mount point is stored without its trailing slash.
pub(crate) struct Mount;

impl Value for Mount {
    type Stored = (String, String);
    type Ref<'a> = &'a (String, String);
    const ARG: &'static str = "/POINT=APP";

    fn parse(text: &str) -> Parsed<(String, String)> {
        const HINT: &str = "write /point=module:callable or /point=file.py";
        const HOST_HINT: &str = "; with vhost write HOST|/point";
        let Some((point, app)) = text
            .split_once('=')
            .map(|(point, app)| (point.trim(), app.trim()))
        else {
            return Err(Fault::new("the value has no =").hint(HINT));
        };
        if app.is_empty() {
            return Err(Fault::new("the value names no application").hint(HINT));
        }
        if let Some((host, below)) = host_and_point(point) {
            let below = below.trim_end_matches('/');
            let point = format!("{}|{below}", host.to_ascii_lowercase());
            return Ok(((point, app.to_owned()), None));
        }
        if !point.is_empty() && !point.starts_with('/') {
            return Err(Fault::new(format!(
                "the mount point {point} does not begin with a slash"
            ))
            .hint(format!("write /{point}={app}{HOST_HINT}")));
        }
        let point = match point.trim_end_matches('/') {
            "" => "/",
            point => point,
        };
        Ok(((point.to_owned(), app.to_owned()), None))
    }

    fn get(stored: &(String, String)) -> &(String, String) {
        stored
    }
}
