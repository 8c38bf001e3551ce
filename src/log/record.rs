//! Log records that are not tracing events: blocks of several lines, and the output of other programs.

use tracing::Level;

use super::environment::environment;
use super::escape::push_printable;
use super::head::{Head, own_record};
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

/// Logs a line of another program's output, at level info, under that program's name and process id.
pub fn relay(name: &str, pid: i32, line: &[u8]) {
    let environment = environment();
    if Level::INFO > environment.max_level {
        return;
    }
    if json::is_on() {
        let mut record = Object::record(Level::INFO, Scope::Output);
        record.text("body", line);
        record.number("process.pid", pid);
        record.text("process.title", name.as_bytes());
        return sinks::write(Source::Server, &record.line());
    }
    let mut out = String::with_capacity(line.len() + 96);
    Head::now(Level::INFO, environment).push_as(&mut out, name, pid.unsigned_abs());
    push_printable(&mut out, &String::from_utf8_lossy(line));
    out.push('\n');
    sinks::write(Source::Server, out.as_bytes());
}
