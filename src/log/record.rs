//! Log records that are not tracing events: blocks of several lines, and the output of other programs.

use tracing::Level;

use super::environment::environment;
use super::escape::{printable, push_printable};
use super::head::{Head, name, own_record};
use super::journal;
use super::json::{self, Object, Scope};
use super::sinks::{self, Source};

/// Logs a heading, and below it each line of `text` indented by two spaces, all in one write.
pub fn block(level: Level, heading: &str, text: &str) {
    let environment = environment();
    if level > environment.max_level {
        return;
    }
    if json::is_on() {
        let mut record = own_record(level);
        let text = text.trim_end();
        if json::contains(text.as_bytes(), b"Traceback (most recent call last):") {
            record.text("body", heading.as_bytes());
            json::exception(&mut record, text.as_bytes());
        } else {
            record.text("body", format!("{heading}\n{text}").as_bytes());
        }
        return sinks::write(Source::Server, &record.line());
    }
    if journal::is_in_use() && journal::send_event(level, &name(), &entry_text(heading, text)) {
        return;
    }
    let mut out = String::with_capacity(heading.len() + text.len() + 128);
    let head = Head::now(level, environment);
    head.push(&mut out);
    push_printable(&mut out, heading);
    out.push('\n');
    for line in text.trim_end().lines() {
        head.push_continuation(&mut out);
        push_printable(&mut out, line);
        out.push('\n');
    }
    sinks::write(Source::Server, out.as_bytes());
}

/// A heading and the lines below the heading, as the message of a journal entry.
fn entry_text(heading: &str, text: &str) -> String {
    let mut out = String::with_capacity(heading.len() + text.len() + 64);
    push_printable(&mut out, heading);
    for line in text.trim_end().lines() {
        out.push_str("\n  ");
        push_printable(&mut out, line);
    }
    out
}

/// The name that alarms and their commands have in the log.
pub const ALARM: &str = "alarm";

/// Logs the message of an alarm, at level warning. The line itself raises no alarm (`log-alarm`).
pub fn alarm(name: &str, message: &str) {
    let environment = environment();
    if Level::WARN > environment.max_level {
        return;
    }
    let text = format!("{ALARM} {name}: {message}");
    if json::is_on() {
        let mut record = own_record(Level::WARN);
        record.text("body", text.as_bytes());
        return sinks::write(Source::Alarm, &record.line());
    }
    let mut out = String::with_capacity(text.len() + 96);
    Head::now(Level::WARN, environment).push(&mut out);
    push_printable(&mut out, &text);
    out.push('\n');
    sinks::write(Source::Alarm, out.as_bytes());
}

/// Logs a line of another program's output, at level info, under that program's name and process id.
pub fn relay(name: &str, pid: i32, line: &[u8]) {
    let source = match name {
        ALARM => Source::Alarm,
        _ => Source::Server,
    };
    let environment = environment();
    if Level::INFO > environment.max_level {
        return;
    }
    if json::is_on() {
        let mut record = Object::record(Level::INFO, Scope::Output);
        record.text("body", line);
        record.number("process.pid", pid);
        record.text("process.title", name.as_bytes());
        return sinks::write(source, &record.line());
    }
    if journal::is_in_use() {
        let text = printable(&String::from_utf8_lossy(line));
        if journal::send_event(Level::INFO, name, &text) {
            return;
        }
    }
    let mut out = String::with_capacity(line.len() + 96);
    Head::now(Level::INFO, environment).push_as(&mut out, name, pid.unsigned_abs());
    push_printable(&mut out, &String::from_utf8_lossy(line));
    out.push('\n');
    sinks::write(source, out.as_bytes());
}
