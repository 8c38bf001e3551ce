//! The log: one line per event, in one write to descriptor 2, which nothing logged can break or forge.
//!
//! ```text
//! 2026-11-21 06:18:00.123 [warn] master[812]: message key=value
//! <4>master: message key=value            (where the systemd journal reads descriptor 2)
//! ```
//!
//! The time is local, as in nginx's log. The journal adds time and pid itself, and reads the priority
//! from the number. `RUWSGI_LOG` (error, warn, info, debug) sets what is logged; info is the default.

pub mod request_line;
pub mod request_log;

use std::fmt::{self, Write};
use std::sync::{OnceLock, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::sys::clock::LocalTime;
use crate::sys::stdio;

/// The environment variable that holds the name of the vassal which this process belongs to.
pub const VASSAL_NAME: &str = "RUWSGI_VASSAL";

/// What the environment said when the log was started.
struct Setup {
    max: LevelFilter,
    /// Device and inode of the stream that the journal gave us.
    journal: Option<(u64, u64)>,
    /// Which vassal this process belongs to: many of them share the emperor's log.
    vassal: String,
}

static SETUP: OnceLock<Setup> = OnceLock::new();
static WHO: RwLock<String> = RwLock::new(String::new());

/// Starts the log of this process and names it; panics are logged too. Never fails; called again, it only
/// renames.
pub fn start(who: impl Into<String>) {
    rename(who);
    if tracing::subscriber::set_global_default(Lines).is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Names this process in its lines from now on: for after a fork.
pub fn rename(who: impl Into<String>) {
    *WHO.write().unwrap_or_else(PoisonError::into_inner) = who.into();
}

/// Logs text of several lines, a traceback say: a heading line, then each line of the text indented by two
/// spaces, all in one write.
pub fn block(level: Level, heading: &str, text: &str) {
    let setup = setup();
    if level > setup.max {
        return;
    }
    let mut out = String::with_capacity(heading.len() + text.len() + 128);
    let head = Head::now(level, setup);
    head.begin(&mut out);
    push_escaped(&mut out, heading);
    out.push('\n');
    for line in text.trim_end().lines() {
        head.begin_continuation(&mut out);
        push_escaped(&mut out, line);
        out.push('\n');
    }
    stdio::write_stderr(out.as_bytes());
}

/// Logs a line that another program wrote, under that program's name and id.
pub fn line_of(who: &str, pid: i32, line: &[u8]) {
    let setup = setup();
    if Level::INFO > setup.max {
        return;
    }
    let mut out = String::with_capacity(line.len() + 96);
    Head::now(Level::INFO, setup).begin_as(&mut out, who, pid.unsigned_abs());
    push_escaped(&mut out, &String::from_utf8_lossy(line));
    out.push('\n');
    stdio::write_stderr(out.as_bytes());
}

/// Bytes that came from outside, fit for a line of the log: control bytes, quotes, backslashes and all that is
/// not ASCII are shown as `\xNN`, so that nothing a client sends can end a line or a quoted field.
pub fn escape(bytes: &[u8]) -> Escaped<'_> {
    Escaped(bytes)
}

/// As [`escape`], appended to bytes.
pub fn escape_into(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        if is_plain(byte) {
            out.push(byte);
        } else {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        }
    }
}

/// Displays bytes escaped; see [`escape`].
#[derive(Clone, Copy)]
pub struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for &byte in self.0 {
            if is_plain(byte) {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Text as it is shown in the log.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text);
    out
}

/// Appends our own text: what could break or disguise a line is shown as `\xNN`, the rest stays readable.
fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        if !disturbs(c) {
            out.push(c);
            continue;
        }
        let mut utf8 = [0; 4];
        for byte in c.encode_utf8(&mut utf8).bytes() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

fn disturbs(c: char) -> bool {
    // besides controls: the line separators and what turns the direction of text
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\t') || turns
}

fn setup() -> &'static Setup {
    SETUP.get_or_init(Setup::from_environment)
}

impl Setup {
    fn from_environment() -> Self {
        let max = std::env::var("RUWSGI_LOG").map_or(LevelFilter::INFO, |name| level_named(&name));
        let journal = std::env::var("JOURNAL_STREAM").ok().and_then(|v| {
            let (device, inode) = v.split_once(':')?;
            Some((device.parse().ok()?, inode.parse().ok()?))
        });
        let vassal = std::env::var(VASSAL_NAME).map_or_else(|_| String::new(), |name| name + " ");
        Setup {
            max,
            journal,
            vassal,
        }
    }

    /// Asked for each line, since descriptor 2 may have been redirected.
    fn journal_reads(&self) -> bool {
        self.journal.is_some() && self.journal == stdio::stderr_identity()
    }
}

fn level_named(name: &str) -> LevelFilter {
    match name.trim() {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    }
}

/// The beginning of a line.
struct Head {
    level: Level,
    /// `None`: the journal reads.
    time: Option<LocalTime>,
}

impl Head {
    fn now(level: Level, setup: &Setup) -> Self {
        let time = (!setup.journal_reads()).then(LocalTime::now);
        Head { level, time }
    }

    fn begin(&self, out: &mut String) {
        let who = WHO.read().unwrap_or_else(PoisonError::into_inner);
        let who = if who.is_empty() { "ruwsgi" } else { &who };
        self.begin_as(out, who, std::process::id());
    }

    fn begin_as(&self, out: &mut String, who: &str, pid: u32) {
        let who = format!("{}{who}", setup().vassal);
        match &self.time {
            Some(time) => {
                let _ = write!(out, "{time} [{}] ", word(self.level));
                push_escaped(out, &who);
                let _ = write!(out, "[{pid}]: ");
            }
            None => {
                let _ = write!(out, "<{}>", priority(self.level));
                push_escaped(out, &who);
                out.push_str(": ");
            }
        }
    }

    fn begin_continuation(&self, out: &mut String) {
        if self.time.is_none() {
            let _ = write!(out, "<{}>", priority(self.level));
        }
        out.push_str("  ");
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The subscriber: events become lines, spans are not used.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata) -> bool {
        *metadata.level() <= setup().max
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(setup().max)
    }

    fn event(&self, event: &Event) {
        let mut out = String::with_capacity(160);
        Head::now(*event.metadata().level(), setup()).begin(&mut out);
        push_event(&mut out, |visitor| event.record(visitor));
        stdio::write_stderr(out.as_bytes());
    }

    fn new_span(&self, _: &span::Attributes) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Appends message, then fields, then the end of the line.
fn push_event(out: &mut String, record: impl FnOnce(&mut dyn Visit)) {
    let mut texts = Texts::default();
    record(&mut texts);
    push_escaped(out, &texts.message);
    push_escaped(out, &texts.fields);
    out.push('\n');
}

#[derive(Default)]
struct Texts {
    message: String,
    fields: String,
}

impl Texts {
    fn add(&mut self, field: &Field, value: fmt::Arguments) {
        let _ = match field.name() {
            "message" => self.message.write_fmt(value),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Visit for Texts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" || is_word(value) {
            self.add(field, format_args!("{value}"));
        } else {
            self.add(field, format_args!("{value:?}"));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, format_args!("{value}"));
    }
}

/// A value that needs no quotes.
fn is_word(value: &str) -> bool {
    !value.is_empty() && !value.contains([' ', '"', '='])
}

fn log_panic(panic: &std::panic::PanicHookInfo) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let what = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let what = what.unwrap_or("(no message)");
    let heading = match panic.location() {
        Some(place) => format!("panicked at {place}: {what}"),
        None => format!("panicked: {what}"),
    };
    let trace = std::backtrace::Backtrace::capture();
    let text = match trace.status() {
        std::backtrace::BacktraceStatus::Captured => trace.to_string(),
        _ => String::new(),
    };
    block(Level::ERROR, &heading, &text);
}

/// `1 request`, `7 requests`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        push_escaped(&mut out, text);
        out
    }

    #[test]
    fn what_a_client_sends_cannot_forge_a_line() {
        let sent = b"/a\r\n2026-11-21 [error] master: \"gone\" \\x0a \x1b[2J \xc3\xa9\x7f";
        let shown =
            r"/a\x0d\x0a2026-11-21 [error] master: \x22gone\x22 \x5cx0a \x1b[2J \xc3\xa9\x7f";
        assert_eq!(escape(sent).to_string(), shown);
        let mut out = Vec::new();
        escape_into(&mut out, sent);
        assert_eq!(out, shown.as_bytes());
    }

    #[test]
    fn messages_keep_their_letters_but_not_their_controls() {
        assert_eq!(escaped("café \"x\"\tC:\\y"), "café \"x\"\tC:\\y");
        assert_eq!(escaped("a\nb\x1b[0m\u{85}"), r"a\x0ab\x1b[0m\xc2\x85");
        assert_eq!(escaped("a\u{202e}b"), r"a\xe2\x80\xaeb");
    }

    #[test]
    fn a_line_names_level_and_process() {
        rename("worker 2");
        let mut out = String::new();
        let time = LocalTime {
            year: 2026,
            month: 11,
            day: 21,
            weekday: 6,
            hour: 6,
            minute: 18,
            second: 0,
            millisecond: 7,
            offset: 0,
        };
        let head = Head {
            level: Level::WARN,
            time: Some(time),
        };
        head.begin(&mut out);
        let pid = std::process::id();
        assert_eq!(
            out,
            format!("2026-11-21 06:18:00.007 [warn] worker 2[{pid}]: ")
        );
    }

    #[test]
    fn every_line_for_the_journal_begins_with_its_priority() {
        let head = Head {
            level: Level::ERROR,
            time: None,
        };
        let mut out = String::new();
        head.begin(&mut out);
        assert!(out.starts_with("<3>") && out.ends_with(": "));
        out.clear();
        head.begin_continuation(&mut out);
        assert_eq!(out, "<3>  ");
    }

    /// Keeps what an event becomes.
    struct Kept(std::sync::mpsc::Sender<String>);

    impl Subscriber for Kept {
        fn enabled(&self, _: &Metadata) -> bool {
            true
        }
        fn event(&self, event: &Event) {
            let mut out = String::new();
            push_event(&mut out, |visitor| event.record(visitor));
            let _ = self.0.send(out);
        }
        fn new_span(&self, _: &span::Attributes) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn an_event_is_one_line_message_first() {
        let (sender, lines) = std::sync::mpsc::channel();
        tracing::subscriber::with_default(Kept(sender), || {
            tracing::info!(
                pid = 7,
                path = "/a b",
                name = "x\ny",
                "died: {}",
                "bad\nline"
            );
        });
        let line = lines.recv().unwrap_or_default();
        assert_eq!(
            line,
            "died: bad\\x0aline pid=7 path=\"/a b\" name=x\\x0ay\n"
        );
    }

    #[test]
    fn an_unknown_level_means_info() {
        assert_eq!(level_named("warn"), LevelFilter::WARN);
        assert_eq!(level_named("loud"), LevelFilter::INFO);
    }
}
