//! The lines of the request log: which requests get one, and what `log-format` puts into it.
//!
//! The configuration makes this, the master hands it to the workers, and they write the lines.

use serde::{Deserialize, Serialize};

/// Settings of the request log.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub struct RequestLines {
    /// Which requests get a line.
    pub chosen: Chosen,
    /// What is in it; without, it is uWSGI's usual line.
    pub format: Option<Vec<Piece>>,
    /// `log-micros`: the usual line counts microseconds.
    pub micros: bool,
    /// `log-x-forwarded-for`: the client is whom that header names.
    pub forwarded_for: bool,
    /// `memory-report`: the usual line begins with the worker's memory.
    pub memory: bool,
}

/// Which requests get a line: all, or those of which one of the others is true.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chosen {
    /// Every request (not `disable-logging`).
    pub all: bool,
    /// `log-4xx`: the status was 400 to 499.
    pub client_errors: bool,
    /// `log-5xx`: the status was 500 to 599.
    pub server_errors: bool,
    /// `log-slow`: it took at least so many milliseconds.
    pub slow_ms: Option<u64>,
    /// `log-big`: head and body were more bytes than this.
    pub big: Option<u64>,
    /// `log-zero`: the body was empty.
    pub zero: bool,
    /// `log-sendfile`: the kernel sent a file.
    pub sendfile: bool,
    /// `log-ioerror`: the client was gone before it had the whole answer.
    pub broken: bool,
}

/// What is known of a request when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The status sent.
    pub status: u16,
    /// How long it took, microseconds.
    pub micros: u64,
    /// Bytes of the head, the status line included.
    pub head: u64,
    /// Bytes of the body.
    pub body: u64,
    /// The kernel sent a file.
    pub sendfile: bool,
    /// The client was gone before it had the whole answer.
    pub broken: bool,
}

impl Chosen {
    /// Whether any request gets a line at all.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Whether this one does.
    pub fn picks(&self, outcome: &Outcome) -> bool {
        self.all
            || (self.client_errors && (400..500).contains(&outcome.status))
            || (self.server_errors && (500..600).contains(&outcome.status))
            || self
                .slow_ms
                .is_some_and(|slow| outcome.micros / 1000 >= slow)
            || self
                .big
                .is_some_and(|big| outcome.head + outcome.body > big)
            || (self.zero && outcome.body == 0)
            || (self.sendfile && outcome.sendfile)
            || (self.broken && outcome.broken)
    }
}

/// A part of a `log-format`.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it stands there.
    Text(String),
    /// `%(status)` and the like.
    Field(Field),
    /// `%(var.NAME)`: a variable of the request.
    Variable(String),
    /// A name that nothing stands for; a dash is written.
    Unknown,
}

macro_rules! fields {
    ($( $field:ident $name:literal, $doc:literal; )+) => {
        /// What a `log-format` can name.
        #[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Field {
            $( #[doc = $doc] $field, )+
        }

        impl Field {
            /// The field of this name.
            pub fn of(name: &str) -> Option<Self> {
                match name {
                    $( $name => Some(Self::$field), )+
                    _ => None,
                }
            }

            /// Every name, and what it stands for.
            pub const ALL: &[(&str, &str)] = &[$( ($name, $doc), )+];
        }
    };
}

fields! {
    Uri "uri", "REQUEST_URI";
    Method "method", "REQUEST_METHOD";
    User "user", "REMOTE_USER";
    Addr "addr", "REMOTE_ADDR";
    Host "host", "HTTP_HOST";
    Proto "proto", "SERVER_PROTOCOL";
    UserAgent "uagent", "HTTP_USER_AGENT";
    Referer "referer", "HTTP_REFERER";
    Status "status", "the status sent";
    BodySize "rsize", "bytes of the answer's body";
    HeadSize "hsize", "bytes of the answer's head";
    Size "size", "bytes of the answer";
    ContentLength "cl", "bytes of the request's body";
    Micros "micros", "how long it took, microseconds";
    Millis "msecs", "how long it took, milliseconds";
    Seconds "secs", "how long it took, seconds with a fraction";
    BeganMillis "tmsecs", "when it began, milliseconds since 1970";
    BeganMicros "tmicros", "when it began, microseconds since 1970";
    Began "time", "when it began, seconds since 1970";
    LocalTime "ltime", "when it began, as 21/Nov/2026:11:56:45 +0000";
    FormattedTime "ftime", "as ltime";
    CTime "ctime", "when it began, as Sat Nov 21 11:56:45 2026";
    Epoch "epoch", "now, seconds since 1970";
    Pid "pid", "the worker's process id";
    Worker "wid", "the worker's number";
    Blocks "switches", "blocks of the body";
    Variables "vars", "names and values of the request's variables, counted together";
    Core "core", "the thread's number";
    AddressSpace "vsz", "the worker's address space, bytes";
    Resident "rss", "the worker's resident memory, bytes";
    AddressSpaceMega "vszM", "the worker's address space, MiB";
    ResidentMega "rssM", "the worker's resident memory, MiB";
    PacketSize "pktsize", "bytes of the request's variables on the wire";
    Modifier1 "modifier1", "the packet's first modifier";
    Modifier2 "modifier2", "the packet's second modifier";
    Headers "headers", "headers of the answer";
    WriteErrors "werr", "1 if the client was gone before it had the whole answer";
    ReadErrors "rerr", "0: a request is read whole before it is served";
    Errors "ioerr", "the sum of both";
}

/// Takes a `log-format` apart; the second are the names that nothing stands for.
pub fn parse(text: &str) -> (Vec<Piece>, Vec<&str>) {
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
        pieces.push(match (name.strip_prefix("var."), Field::of(name)) {
            (Some(variable), _) => Piece::Variable(variable.to_owned()),
            (None, Some(field)) => Piece::Field(field),
            (None, None) => {
                unknown.push(name);
                Piece::Unknown
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
        let (pieces, unknown) = parse("[%(status)] 100% %(var.HTTP_X)%(nope) %(open");
        assert_eq!(
            pieces,
            [
                Piece::Text("[".into()),
                Piece::Field(Field::Status),
                Piece::Text("] 100% ".into()),
                Piece::Variable("HTTP_X".into()),
                Piece::Unknown,
                Piece::Text(" %(open".into()),
            ]
        );
        assert_eq!(unknown, ["nope"]);
    }

    #[test]
    fn the_page_lists_every_name() {
        let page = include_str!("../../docs/configuration.md");
        for (name, about) in Field::ALL {
            let row = format!("| `%({name})` | {about} |");
            assert!(page.contains(&row), "docs/configuration.md has no {row}");
        }
    }

    #[test]
    fn any_text_is_a_format() {
        for text in ["", "%", "%(", "%()", ")%(", "%(%(x)", "é%(é)é"] {
            parse(text);
        }
    }

    #[test]
    fn a_request_is_picked_for_any_of_the_reasons() {
        let nothing = Chosen::default();
        assert!(!nothing.any() && !nothing.picks(&Outcome::default()));
        let errors = Chosen {
            server_errors: true,
            ..nothing
        };
        let of = |status| Outcome {
            status,
            body: 1,
            ..Outcome::default()
        };
        assert!(errors.picks(&of(500)) && !errors.picks(&of(499)));
        let slow = Chosen {
            slow_ms: Some(100),
            zero: true,
            ..nothing
        };
        assert!(!slow.picks(&Outcome {
            micros: 99_999,
            ..of(200)
        }));
        assert!(slow.picks(&Outcome {
            micros: 100_000,
            ..of(200)
        }));
        assert!(slow.picks(&Outcome { body: 0, ..of(200) }));
    }
}
