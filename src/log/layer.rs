//! The tracing layer that formats events as lines: the message, then the fields as `key=value`.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::environment::environment;
use super::escape::push_printable;
use super::head::{Head, name, own_record};
use super::journal;
use super::json;

/// Formats each event as one line and passes the line to `sink`. Spans are not used.
pub(super) struct LineLayer<F> {
    sink: F,
}

impl<F: Fn(&[u8])> LineLayer<F> {
    /// Creates a layer that calls `sink` with each line, line feed included.
    pub(super) fn new(sink: F) -> Self {
        Self { sink }
    }
}

impl<S, F> Layer<S> for LineLayer<F>
where
    S: Subscriber,
    F: Fn(&[u8]) + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if json::is_on() {
            return (self.sink)(&record(event));
        }
        let level = *event.metadata().level();
        if journal::is_in_use() {
            let mut message = String::with_capacity(160);
            push_event(&mut message, event);
            if journal::send_event(level, &name(), message.trim_end_matches('\n')) {
                return;
            }
        }
        let mut line = String::with_capacity(160);
        Head::now(level, environment()).push(&mut line);
        push_event(&mut line, event);
        (self.sink)(line.as_bytes());
    }
}

/// Appends the message, then the fields, then a line feed.
fn push_event(line: &mut String, event: &Event<'_>) {
    let mut texts = Texts::default();
    event.record(&mut texts);
    push_printable(line, &texts.message);
    push_printable(line, &texts.fields);
    line.push('\n');
}

/// Returns the event as a record of the JSON log.
fn record(event: &Event<'_>) -> Vec<u8> {
    let mut texts = Texts::default();
    event.record(&mut texts);
    let mut record = own_record(*event.metadata().level());
    record.text("body", (texts.message + &texts.fields).as_bytes());
    record.line()
}

/// The message and the formatted fields of an event. Most events have no fields; they cost one allocation here.
#[derive(Default)]
struct Texts {
    message: String,
    fields: String,
}

impl Texts {
    fn add(&mut self, field: &Field, value: fmt::Arguments) {
        // writing to a string cannot fail
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

/// Whether a field's value is written without quotes.
fn is_word(value: &str) -> bool {
    !value.is_empty() && !value.contains([' ', '"', '='])
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The line of each event of `log`, without its head.
    fn lines(log: impl FnOnce()) -> Vec<String> {
        let (sender, receiver) = mpsc::channel();
        let sink = move |line: &[u8]| {
            drop(sender.send(String::from_utf8_lossy(line).into_owned()));
        };
        let layers = tracing_subscriber::registry().with(LineLayer::new(sink));
        tracing::subscriber::with_default(layers, log);
        receiver
            .iter()
            .filter_map(|line| Some(line.split_once(": ")?.1.to_owned()))
            .collect()
    }

    #[test]
    fn an_event_is_one_line_message_first() {
        let lines = lines(|| {
            tracing::info!(
                pid = 7,
                path = "/a b",
                name = "x\ny",
                "died: {}",
                "bad\nline"
            );
        });
        assert_eq!(
            lines,
            ["died: bad\\x0aline pid=7 path=\"/a b\" name=x\\x0ay\n"]
        );
    }
}
