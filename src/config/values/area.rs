//! Shared areas: the values of `sharedarea`.

use crate::config::finding::{Fault, shortened};

use super::keyed::{settings, unknown_key};
use super::number::bytes;
use super::setting::{Parsed, Value};
use super::text::non_empty;

/// Size of a page, bytes.
const PAGE: u64 = 4096;

/// Largest size of an area, bytes.
const MOST: u64 = 1 << 40;

/// The size of a shared area in bytes: a number of pages, or `pages=NUMBER`, or `size=BYTES`.
pub(crate) struct AreaText;

impl Value for AreaText {
    type Stored = u64;
    type Ref<'a> = u64;
    const ARG: &'static str = "PAGES";

    fn parse(text: &str) -> Parsed<u64> {
        let (text, remark) = non_empty(text)?;
        let mut size = 0;
        for (key, value) in settings(&text) {
            let number = |text: &str| bytes(text).map(|(number, _)| number);
            match (key.as_str(), value.as_deref()) {
                ("pages" | "size", Some(value)) => {
                    let unit = if key == "pages" { PAGE } else { 1 };
                    size = number(value)?.saturating_mul(unit);
                }
                ("name", Some(_)) => {}
                ("file" | "fd" | "ptr", _) => {
                    let fault = Fault::new(format!("{key} is not supported"));
                    return Err(fault.hint("map the file by the module mmap of Python"));
                }
                (pages, None) => size = number(pages)?.saturating_mul(PAGE),
                (key, _) => return Err(unknown_key(key, &["pages", "size", "name"])),
            }
        }
        match size {
            1..=MOST => Ok((size, remark)),
            _ => Err(
                Fault::new(format!("{} is no size of an area", shortened(&text)))
                    .hint("write a number of pages, or size=BYTES"),
            ),
        }
    }

    fn get(stored: &u64) -> u64 {
        *stored
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_in_pages_or_bytes() {
        for (text, size) in [("10", 40_960), ("pages=2,name=a", 8192), ("size=1k", 1024)] {
            assert_eq!(AreaText::parse(text).unwrap().0, size, "{text}");
        }
        for text in ["0", "file=/tmp/x,pages=1", "name=a", "colour=1"] {
            assert!(AreaText::parse(text).is_err(), "{text}");
        }
    }
}
