//! The parts of a `log-format` value, and its parser.

use serde::{Deserialize, Serialize};

use super::access_field::AccessField;

/// A part of a `log-format` value.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// A field of the `fields!` table, such as `%(status)`.
    Field(Field),
    /// `%(var.NAME)`: a variable of the request.
    Variable(String),
    /// The value of a response header (`access-log-format`).
    Header(String),
    /// A field that only `access-log-format` has.
    Access(AccessField),
    /// The start of the request, in a format of strftime(3).
    Time(String),
    /// An unknown name, written as a dash.
    Unknown,
}

macro_rules! fields {
    ($( $field:ident $name:literal, $doc:literal; )+) => {
        /// A name that `log-format` accepts in `%(NAME)`.
        #[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Field {
            $( #[doc = $doc] $field, )+
        }

        impl Field {
            /// The field of a name; `None` if the name is unknown.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $( $name => Some(Self::$field), )+
                    _ => None,
                }
            }

            /// All names with their descriptions.
            pub const ALL: &[(&str, &str)] = &[$( ($name, $doc), )+];
        }
    };
}

fields! {
    Uri "uri", "REQUEST_URI";
    Method "method", "REQUEST_METHOD";
    User "user", "REMOTE_USER";
    Addr "addr", "REMOTE_ADDR";
    Host "host", "HTTP_HOST, without it SERVER_NAME";
    Proto "proto", "SERVER_PROTOCOL";
    UserAgent "uagent", "HTTP_USER_AGENT";
    Referer "referer", "HTTP_REFERER";
    Status "status", "response status";
    BodySize "rsize", "bytes of the response body; of a response that is cut, those that arrived";
    HeadSize "hsize", "bytes of the response head";
    Size "size", "bytes of the response";
    ContentLength "cl", "bytes of the request body";
    Micros "micros", "duration, microseconds";
    Millis "msecs", "duration, milliseconds";
    Seconds "secs", "duration, seconds with a fraction";
    BeganMillis "tmsecs", "start, milliseconds since 1970";
    BeganMicros "tmicros", "start, microseconds since 1970";
    Began "time", "start, seconds since 1970";
    LocalTime "ltime", "start, as 21/Nov/2026:11:56:45 +0000";
    FormattedTime "ftime", "same as ltime";
    CTime "ctime", "start, as Sat Nov 21 11:56:45 2026";
    Epoch "epoch", "time of the line, seconds since 1970";
    Pid "pid", "the worker's process id";
    Worker "wid", "the worker's number";
    Blocks "switches", "number of body blocks";
    Variables "vars", "number of request variables, names and values counted separately";
    Core "core", "the thread's number, from 0";
    AddressSpace "vsz", "the worker's address space, bytes";
    Resident "rss", "the worker's resident memory, bytes";
    AddressSpaceMega "vszM", "the worker's address space, MiB";
    ResidentMega "rssM", "the worker's resident memory, MiB";
    PacketSize "pktsize", "bytes of the request variables on the wire";
    Modifier1 "modifier1", "modifier1 of the uwsgi packet";
    Modifier2 "modifier2", "modifier2 of the uwsgi packet";
    Headers "headers", "number of response headers";
    WriteErrors "werr", "1 if the response did not reach the client completely";
    ReadErrors "rerr", "always 0: a request is read completely before it is served";
    Errors "ioerr", "sum of werr and rerr";
}

/// Prefix of the request variables that hold the variables of `uwsgi.set_logvar`.
const LOG_VARIABLE: &str = "ruwsgi.log.";

/// Returns the name of the request variable that holds the value of `uwsgi.set_logvar` for `name`.
pub fn log_variable(name: &[u8]) -> Vec<u8> {
    [LOG_VARIABLE.as_bytes(), name].concat()
}

/// Returns the name of the request variable in which a response header is stored for the log.
pub fn header_variable(header: &str) -> String {
    format!("ruwsgi.response.{}", header.to_ascii_lowercase())
}

/// Parses a `log-format` value. The second item lists the names that are no fields. For such a name, the log shows the
/// variable that the application has set.
pub fn parse_format(text: &str) -> (Vec<Piece>, Vec<&str>) {
    let (mut pieces, mut unknown) = (Vec::new(), Vec::new());
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("%(") {
        let Some(len) = rest[at..].find(')') else {
            break;
        };
        let name = &rest[at + 2..at + len];
        plain.push_str(&rest[..at]);
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(match (name.strip_prefix("var."), Field::named(name)) {
            (Some(variable), _) => Piece::Variable(variable.to_owned()),
            (None, Some(field)) => Piece::Field(field),
            (None, None) => {
                unknown.push(name);
                Piece::Variable(format!("{LOG_VARIABLE}{name}"))
            }
        });
        rest = &rest[at + len + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    (pieces, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_text_fields_and_variables() {
        let (pieces, unknown) = parse_format("[%(status)] 100% %(var.HTTP_X)%(nope) %(open");
        assert_eq!(
            pieces,
            [
                Piece::Text("[".into()),
                Piece::Field(Field::Status),
                Piece::Text("] 100% ".into()),
                Piece::Variable("HTTP_X".into()),
                Piece::Variable("ruwsgi.log.nope".into()),
                Piece::Text(" %(open".into()),
            ]
        );
        assert_eq!(unknown, ["nope"]);
    }

    #[test]
    fn the_page_lists_every_name() {
        let page = include_str!("../../../docs/configuration.md");
        for (name, description) in Field::ALL {
            let row = format!("| `%({name})` | {description} |");
            assert!(page.contains(&row), "docs/configuration.md has no {row}");
        }
    }

    #[test]
    fn any_text_is_a_format() {
        for text in ["", "%", "%(", "%()", ")%(", "%(%(x)", "é%(é)é"] {
            parse_format(text);
        }
    }
}
