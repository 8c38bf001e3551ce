//! Encoders of the log thread: each changes an event before it reaches the sink (`log-encoder`, `log-req-encoder`).

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::sys::clock;

use super::json;

/// An encoder with the name of the loggers that use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEncoder {
    /// The name of the loggers; `None` if all loggers use the encoder.
    pub logger: Option<String>,
    /// The change that the encoder makes.
    pub encoder: Encoder,
}

/// A change to an event: one line, or the text of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoder {
    /// Inserts a text before the event.
    Prefix(String),
    /// Appends a text to the event.
    Suffix(String),
    /// Appends a line feed to the event.
    LineFeed,
    /// Fills a template with the event.
    Format(Template),
    /// Fills a template with the event, escaped as the content of a JSON string.
    Json(Template),
    /// Compresses the event to a member of a gzip file.
    Gzip,
    /// Compresses the event to a zlib stream.
    Compress,
}

/// A text with variables such as `${msg}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `${msg}`: the event without its last line feed.
    Message,
    /// `${msgnl}`: the event.
    MessageWithLineFeed,
    /// `${unix}`: seconds since 1970.
    Seconds,
    /// `${millis}`: milliseconds since 1970.
    Millis,
    /// `${micros}`: microseconds since 1970.
    Micros,
    /// `${strftime:FORMAT}`: the local time in a format of strftime(3).
    Time(String),
}

impl Template {
    /// Parses a template. The second item lists the unknown variables; each is replaced by nothing.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let (mut parts, mut unknown) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let Some(len) = rest[at..].find('}') else {
                break;
            };
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let name = &rest[at + 2..at + len];
            match (name, name.strip_prefix("strftime:")) {
                ("msg", _) => parts.push(Part::Message),
                ("msgnl", _) => parts.push(Part::MessageWithLineFeed),
                ("unix", _) => parts.push(Part::Seconds),
                ("millis", _) => parts.push(Part::Millis),
                ("micros", _) => parts.push(Part::Micros),
                (_, Some(format)) => parts.push(Part::Time(format.to_owned())),
                (name, None) => unknown.push(name.to_owned()),
            }
            rest = &rest[at + len + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        (Self(parts), unknown)
    }

    /// Returns the template filled with an event and the time `now`. `put` appends the event and the formatted time.
    /// For JSON, `put` also escapes them.
    fn fill(&self, event: &[u8], now: SystemTime, put: fn(&mut Vec<u8>, &[u8])) -> Vec<u8> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut out = Vec::with_capacity(event.len() + 128);
        for part in &self.0 {
            // writing to a vector cannot fail
            let _ = match part {
                Part::Text(text) => out.write_all(text.as_bytes()),
                Part::Message => {
                    put(&mut out, event.strip_suffix(b"\n").unwrap_or(event));
                    Ok(())
                }
                Part::MessageWithLineFeed => {
                    put(&mut out, event);
                    Ok(())
                }
                Part::Seconds => write!(out, "{}", since.as_secs()),
                Part::Millis => write!(out, "{}", since.as_millis()),
                Part::Micros => write!(out, "{}", since.as_micros()),
                Part::Time(format) => {
                    put(&mut out, clock::strftime(format, now).as_bytes());
                    Ok(())
                }
            };
        }
        out
    }
}

impl Encoder {
    /// Returns the event after the change; `now` is the time for templates.
    pub(super) fn encode(&self, mut event: Vec<u8>, now: SystemTime) -> Vec<u8> {
        match self {
            Self::Prefix(text) => [text.as_bytes(), &event].concat(),
            Self::Suffix(text) => {
                event.extend_from_slice(text.as_bytes());
                event
            }
            Self::LineFeed => {
                event.push(b'\n');
                event
            }
            Self::Format(template) => template.fill(&event, now, |out, text| out.extend(text)),
            Self::Json(template) => template.fill(&event, now, json::push_escaped),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                let _ = encoder.write_all(&event);
                encoder.finish().unwrap_or(event)
            }
            Self::Compress => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                let _ = encoder.write_all(&event);
                encoder.finish().unwrap_or(event)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;

    fn at() -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(1_795_852_781_366_144)
    }

    #[test]
    fn a_template_has_the_event_and_the_time() {
        let (template, unknown) = Template::parse(
            "<${msg}|${msgnl}|${unix}|${millis}|${micros}|${nope}|${strftime:%Y}|${",
        );
        assert_eq!(unknown, ["nope"]);
        let filled = Encoder::Format(template).encode(b"a\"b\n".to_vec(), at());
        assert_eq!(
            String::from_utf8(filled).unwrap(),
            "<a\"b|a\"b\n|1795852781|1795852781366|1795852781366144||2026|${"
        );
    }

    #[test]
    fn a_compressed_event_can_be_read_again() {
        let event = b"one\ntwo\n".to_vec();
        let mut text = Vec::new();
        let gzip = Encoder::Gzip.encode(event.clone(), at());
        flate2::read::GzDecoder::new(&gzip[..])
            .read_to_end(&mut text)
            .unwrap();
        let zlib = Encoder::Compress.encode(event.clone(), at());
        flate2::read::ZlibDecoder::new(&zlib[..])
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(text, [&event[..], &event].concat());
    }

    #[test]
    fn json_is_valid_whatever_the_bytes() {
        let (template, _) = Template::parse(r#"{"m":"${msg}","n":"${msgnl}","t":${unix}}"#);
        let encoder = Encoder::Json(template);
        crate::log::json::tests::for_random_texts(|text| {
            let encoded = encoder.encode(text.to_vec(), at());
            assert!(serde_json::from_slice::<serde_json::Value>(&encoded).is_ok());
        });
    }
}
