//! Response headers in option values.

use crate::config::finding::{Fault, shortened};
use crate::protocol::response::{header_name_is_valid, header_value_is_valid};

use super::setting::Parsed;
use super::text::non_empty;

/// Headers that frame the response. Options cannot set them, because the server sends them itself.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Parses a header line: `NAME: VALUE`.
pub(super) fn line(text: &str) -> Parsed<(String, String)> {
    let (text, remark) = non_empty(text)?;
    let Some((name, value)) = text.split_once(':') else {
        return Err(
            Fault::new("the header has no colon, so clients would reject the response")
                .hint("write NAME: VALUE"),
        );
    };
    let (name, value) = (name.trim(), value.trim());
    if !header_name_is_valid(name.as_bytes()) {
        return Err(Fault::new(format!(
            "{} is not the name of a header",
            shortened(name)
        )));
    }
    if !header_value_is_valid(value.as_bytes()) {
        return Err(Fault::new("the header has a control character"));
    }
    if FRAMING.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(Fault::new(format!(
            "{name} is set by the server, because it frames the response"
        ))
        .hint("remove this line"));
    }
    Ok(((name.to_owned(), value.to_owned()), remark))
}

/// Parses a header and a request variable: `HEADER VARIABLE`.
pub(super) fn and_variable(text: &str) -> Parsed<(String, String)> {
    let (text, remark) = non_empty(text)?;
    match text.split_once(char::is_whitespace) {
        Some((header, variable)) => {
            let pair = (header.to_owned(), variable.trim().to_owned());
            Ok((pair, remark))
        }
        None => Err(Fault::new("the value has no variable").hint("write HEADER VARIABLE")),
    }
}
