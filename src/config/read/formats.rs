//! Parses YAML, JSON, TOML and XML. Each section is a list of names and values, as in an ini file.

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::config::finding::Fault;

use super::file::Format;

/// The name and the value of an option, and its line in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) line: u32,
}

/// The line of a fault, and the fault.
pub(crate) type LineFault = (u32, Fault);

/// The options of a section; `None` if the file has no such section.
///
/// # Errors
/// When the file has a syntax error, or a value that is neither a scalar nor a list of scalars.
pub(crate) fn read(
    format: Format,
    text: &str,
    section: &str,
) -> Result<Option<Vec<Pair>>, LineFault> {
    match format {
        Format::Ini => Ok(None),
        Format::Yaml => yaml(text, section),
        Format::Json => json(text, section),
        Format::Toml => toml(text, section),
        Format::Xml => xml(text, section),
    }
}

fn not_valid(line: usize, kind: &str, why: &str) -> LineFault {
    let why = why.lines().next().unwrap_or_default();
    (
        number(line),
        Fault::new(format!("the file is not {kind}: {why}")),
    )
}

fn too_deep(line: u32, name: &str) -> LineFault {
    let what = format!("{name} is neither a value nor a list of values");
    (
        line,
        Fault::new(what).hint("write one value, or a list of values"),
    )
}

fn number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// Checks the JSON syntax, then reads the text with the YAML parser, which reports line numbers. JSON is a subset of
/// YAML.
fn json(text: &str, section: &str) -> Result<Option<Vec<Pair>>, LineFault> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        return Err(not_valid(error.line(), "JSON", &error.to_string()));
    }
    // YAML forbids some tabs between tokens; no value changes, because JSON strings contain no tabs
    yaml(&text.replace('\t', " "), section)
}

fn yaml(text: &str, section: &str) -> Result<Option<Vec<Pair>>, LineFault> {
    let mut events = Events(Parser::new_from_str(text));
    loop {
        match events.next()? {
            (Event::MappingStart(..), _) => break,
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (Event::StreamEnd, _) => return Ok(None),
            (_, line) => {
                return Err(not_valid(
                    line as usize,
                    "a configuration",
                    "it does not begin with a name and a colon",
                ));
            }
        }
    }
    loop {
        match events.next()? {
            (Event::Scalar(name, ..), _) if name == section => {
                let pairs = events.options()?;
                // the rest of the file must be valid YAML too
                while events.next()?.0 != Event::StreamEnd {}
                return Ok(Some(pairs));
            }
            (Event::MappingEnd | Event::StreamEnd, _) => return Ok(None),
            _ => events.skip_value()?,
        }
    }
}

struct Events<'a>(Parser<'a, saphyr_parser::StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, u32), LineFault> {
        match self.0.next_event() {
            Some(Ok((event, span))) => Ok((event, number(span.start.line()))),
            Some(Err(error)) => Err(not_valid(error.marker().line(), "YAML", error.info())),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    /// Skips the value of the current key.
    fn skip_value(&mut self) -> Result<(), LineFault> {
        let mut depth = 0usize;
        loop {
            match self.next()?.0 {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
                Event::StreamEnd => return Ok(()),
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Reads the names and values of a section. The previous event must be the name of the section.
    fn options(&mut self) -> Result<Vec<Pair>, LineFault> {
        let mut pairs = Vec::new();
        match self.next()? {
            (Event::MappingStart(..), _) => {}
            // the section is empty
            (Event::Scalar(text, ..), _) if plain_value(&text, ScalarStyle::Plain).is_empty() => {
                return Ok(pairs);
            }
            (_, line) => return Err(too_deep(line, "the section")),
        }
        loop {
            let (name, line) = match self.next()? {
                (Event::Scalar(name, ..), line) => (name, line),
                (Event::MappingEnd | Event::StreamEnd, _) => return Ok(pairs),
                (_, line) => return Err(too_deep(line, "a name")),
            };
            match self.next()? {
                (Event::Scalar(value, style, ..), _) => {
                    pairs.push(pair(&name, plain_value(&value, style), line))
                }
                (Event::SequenceStart(..), _) => self.list(&name, &mut pairs)?,
                _ => return Err(too_deep(line, &name)),
            }
        }
    }

    fn list(&mut self, name: &str, pairs: &mut Vec<Pair>) -> Result<(), LineFault> {
        loop {
            match self.next()? {
                (Event::Scalar(value, style, ..), line) => {
                    pairs.push(pair(name, plain_value(&value, style), line))
                }
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(()),
                (_, line) => return Err(too_deep(line, name)),
            }
        }
    }
}

/// The text of a scalar. An unquoted `~` or `null` is an empty text.
fn plain_value(text: &str, style: ScalarStyle) -> &str {
    if style == ScalarStyle::Plain && matches!(text, "~" | "null") {
        ""
    } else {
        text
    }
}

fn pair(name: &str, value: &str, line: u32) -> Pair {
    Pair {
        name: name.to_owned(),
        value: value.to_owned(),
        line,
    }
}

/// The byte offsets of the line feeds of a text, to convert a byte offset to a line number.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        let feeds = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines(feeds.map(|(at, _)| at).collect())
    }

    /// The line number of a byte offset, from 1.
    fn at(&self, byte: usize) -> u32 {
        number(1 + self.0.partition_point(|feed| *feed < byte))
    }
}

fn toml(text: &str, section: &str) -> Result<Option<Vec<Pair>>, LineFault> {
    use toml::de::{DeTable, DeValue};
    let lines = Lines::of(text);
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        not_valid(lines.at(at) as usize, "TOML", error.message())
    })?;
    let Some(options) = document.get_ref().get(section) else {
        return Ok(None);
    };
    let DeValue::Table(options) = options.get_ref() else {
        return Err(too_deep(lines.at(options.span().start), "the section"));
    };
    let mut pairs = Vec::new();
    for (name, value) in options {
        let line = lines.at(name.span().start);
        let name = name.get_ref();
        match value.get_ref() {
            DeValue::Array(list) => {
                for item in list.iter() {
                    let line = lines.at(item.span().start);
                    let value = scalar(item.get_ref()).ok_or_else(|| too_deep(line, name))?;
                    pairs.push(pair(name, &value, line));
                }
            }
            value => pairs.push(pair(
                name,
                &scalar(value).ok_or_else(|| too_deep(line, name))?,
                line,
            )),
        }
    }
    pairs.sort_by_key(|pair| pair.line);
    Ok(Some(pairs))
}

fn scalar(value: &toml::de::DeValue<'_>) -> Option<String> {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Reads the options of a `<uwsgi>` element at any depth. The section `uwsgi` is the first such element. Any other
/// section is the first such element whose attribute `id` is the name of the section.
fn xml(text: &str, section: &str) -> Result<Option<Vec<Pair>>, LineFault> {
    let document = roxmltree::Document::parse(text)
        .map_err(|error| not_valid(error.pos().row as usize, "XML", &error.to_string()))?;
    let mut sections = document
        .root()
        .descendants()
        .filter(|node| node.has_tag_name("uwsgi"));
    let element = match section {
        "uwsgi" => sections.next(),
        id => sections.find(|node| node.attribute("id") == Some(id)),
    };
    let Some(options) = element else {
        return Ok(None);
    };
    let lines = Lines::of(text);
    let pairs = options
        .children()
        .filter(|node| node.is_element())
        .map(|node| {
            let line = lines.at(node.range().start);
            let name = node.tag_name().name();
            if node.children().any(|child| child.is_element()) {
                return Err(too_deep(line, name));
            }
            let value: String = node.children().filter_map(|child| child.text()).collect();
            let bare = node.first_child().is_none();
            Ok(pair(name, if bare { "true" } else { value.trim() }, line))
        });
    pairs.collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pairs(format: Format, text: &str) -> Vec<(String, String, u32)> {
        let pairs = read(format, text, "uwsgi").unwrap().unwrap();
        pairs
            .into_iter()
            .map(|pair| (pair.name, pair.value, pair.line))
            .collect()
    }

    fn expected() -> Vec<(String, String, u32)> {
        [
            ("processes", "2", 2),
            ("env", "A=1", 3),
            ("env", "B=2", 4),
            ("master", "true", 5),
        ]
        .map(|(name, value, line)| (name.to_owned(), value.to_owned(), line))
        .to_vec()
    }

    #[test]
    fn every_format_gives_the_same_options() {
        assert_eq!(
            pairs(
                Format::Yaml,
                "uwsgi:\n  processes: 2 # two\n  env: [ A=1,\n   'B=2' ]\n  master: true\n"
            ),
            expected()
        );
        assert_eq!(
            pairs(Format::Yaml, "uwsgi:\n  processes: \"2\"\n  env: \n"),
            [
                ("processes".into(), "2".into(), 2),
                ("env".into(), String::new(), 3)
            ]
        );
        assert_eq!(
            pairs(
                Format::Json,
                "{\"a\": {}, \"uwsgi\": {\n\t\"processes\": 2,\n\t\"env\": [\"A=1\",\n\t\"B=2\"],\n\"master\": true}}"
            ),
            expected()
        );
        assert_eq!(
            pairs(
                Format::Toml,
                "[uwsgi]\nprocesses = 2\nenv = ['A=1',\n 'B=2']\nmaster = true\n[other]\na.b = 1\n"
            ),
            expected()
        );
        assert_eq!(
            pairs(
                Format::Xml,
                "<uwsgi>\n<processes> 2 </processes>\n<env>A=1</env>\n<env>B=2</env>\n<master/></uwsgi>"
            ),
            expected()
        );
    }

    #[test]
    fn another_section_is_found_and_a_missing_one_is_reported() {
        let value = |format, text: &str| {
            read(format, text, "b")
                .unwrap()
                .map(|pairs| pairs[0].value.clone())
        };
        assert_eq!(
            value(Format::Yaml, "uwsgi:\n  x: 1\nb:\n  x: 2\n"),
            Some("2".into())
        );
        assert_eq!(
            value(Format::Xml, "<r><uwsgi/><uwsgi id='b'><x>2</x></uwsgi></r>"),
            Some("2".into())
        );
        assert_eq!(value(Format::Toml, "[b]\nx = 0x10\n"), Some("16".into()));
        for format in [Format::Yaml, Format::Json, Format::Toml, Format::Xml] {
            let text = match format {
                Format::Json => "{}",
                Format::Xml => "<a/>",
                _ => "",
            };
            assert_eq!(read(format, text, "b"), Ok(None));
        }
    }

    #[test]
    fn syntax_errors_and_nested_values_are_errors_with_their_line() {
        for (format, text, line) in [
            (Format::Yaml, "uwsgi:\n  a: {b: {c: d}}\n", 2),
            (Format::Yaml, "uwsgi:\n  a: 1\nb: }\n", 3),
            (Format::Yaml, "- a\n", 1),
            (Format::Json, "{\"uwsgi\":\n{'a': 1}}", 2),
            (Format::Json, "{\"uwsgi\": {\"a\": {}}}", 1),
            (Format::Toml, "[uwsgi]\na = \n", 2),
            (Format::Toml, "[uwsgi]\na = {b = 1}\n", 2),
            (Format::Xml, "<uwsgi>\n<a></b></uwsgi>", 2),
            (Format::Xml, "<uwsgi>\n<a><b/></a></uwsgi>", 2),
            (Format::Xml, "<!DOCTYPE x [<!ENTITY a 'b'>]><uwsgi/>", 1),
        ] {
            assert_eq!(read(format, text, "uwsgi").unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        for (format, open) in [
            (Format::Yaml, "["),
            (Format::Yaml, "{a: "),
            (Format::Json, "["),
            (Format::Toml, "a = ["),
            (Format::Xml, "<a>"),
        ] {
            let _ = read(format, &open.repeat(200_000), "uwsgi");
        }
        let _ = read(Format::Yaml, &"- ".repeat(100_000), "uwsgi");
    }
}
