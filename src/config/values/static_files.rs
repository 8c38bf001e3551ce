//! The values of options of static files, such as `static-map` and `static-expires`.

use crate::config::finding::Fault;
use crate::log::Pattern;

use super::number;
use super::setting::{Parsed, Value};
use super::text::{non_empty, without_comment};

/// Declares an option type whose getter returns a reference to the value.
macro_rules! borrowed {
    ($(#[$doc:meta])* $name:ident: $stored:ty, $arg:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl Value for $name {
            type Stored = $stored;
            type Ref<'a> = &'a $stored;
            const ARG: &'static str = $arg;

            fn parse(text: &str) -> Parsed<$stored> {
                ($parse)(text)
            }

            fn get(stored: &$stored) -> &$stored {
                stored
            }
        }
    };
}

borrowed!(
    /// A prefix of paths, and the directory or file that serves these paths: `/PREFIX=PATH`.
    StaticMap: (String, String), "/PREFIX=PATH", static_map
);
borrowed!(
    /// A regular expression. The value is its text.
    Expression: String, "REGEX", expression
);
borrowed!(
    /// A regular expression, and a time in seconds: `REGEX SECONDS`.
    ExpiryOfNames: (String, u32), "REGEX SECONDS", expiry_of_names
);
borrowed!(
    /// A media type, and a time in seconds: `TYPE=SECONDS`.
    ExpiryOfTypes: (String, u32), "TYPE=SECONDS", expiry_of_types
);

/// The response header that tells the web server in front to send a file.
pub(crate) struct FileServeMode;

impl Value for FileServeMode {
    type Stored = String;
    type Ref<'a> = String;
    const ARG: &'static str = "SERVER";

    fn parse(text: &str) -> Parsed<String> {
        let (value, remark) = without_comment(text);
        let header = match value {
            "x-sendfile" | "xsendfile" => "X-Sendfile",
            "x-accel-redirect" | "xaccelredirect" | "nginx" => "X-Accel-Redirect",
            _ => {
                return Err(
                    Fault::new("unknown mode").hint("write nginx, x-accel-redirect or x-sendfile")
                );
            }
        };
        Ok((header.to_owned(), remark))
    }

    fn get(stored: &String) -> String {
        stored.clone()
    }
}

fn static_map(text: &str) -> Parsed<(String, String)> {
    const HINT: &str = "write /PREFIX=PATH, such as /static=/srv/site/static";
    let (text, remark) = non_empty(text)?;
    let Some((prefix, path)) = text.split_once('=') else {
        return Err(Fault::new("the value has no =").hint(HINT));
    };
    let (prefix, path) = (prefix.trim(), path.trim());
    if path.is_empty() {
        return Err(Fault::new("the value has no path after the =").hint(HINT));
    }
    let remark = remark.or_else(|| {
        (!prefix.is_empty() && !prefix.starts_with('/')).then(|| {
            Fault::new("the prefix does not begin with a slash, so no request has it").hint(HINT)
        })
    });
    Ok(((prefix.to_owned(), path.to_owned()), remark))
}

fn expression(text: &str) -> Parsed<String> {
    let (text, remark) = non_empty(text)?;
    check(&text)?;
    Ok((text, remark))
}

fn check(expression: &str) -> Result<(), Fault> {
    match Pattern::new(expression) {
        Ok(_) => Ok(()),
        Err(reason) => Err(
            Fault::new(format!("the regular expression is not valid: {reason}"))
                .hint("write it in the syntax of PCRE"),
        ),
    }
}

fn expiry_of_names(text: &str) -> Parsed<(String, u32)> {
    let (text, remark) = non_empty(text)?;
    let Some((expression, time)) = text.split_once(' ') else {
        return Err(Fault::new("the value has no time").hint("write REGEX SECONDS"));
    };
    check(expression)?;
    let (seconds, doubt) = seconds(time)?;
    Ok(((expression.to_owned(), seconds), remark.or(doubt)))
}

fn expiry_of_types(text: &str) -> Parsed<(String, u32)> {
    let (text, remark) = non_empty(text)?;
    let Some((media_type, time)) = text.split_once('=') else {
        return Err(
            Fault::new("the value has no time").hint("write TYPE=SECONDS, such as text/css=3600")
        );
    };
    let (seconds, doubt) = seconds(time)?;
    Ok(((media_type.trim().to_owned(), seconds), remark.or(doubt)))
}

fn seconds(text: &str) -> Parsed<u32> {
    let (time, remark) = number::seconds(text.trim())?;
    Ok((u32::try_from(time.as_secs()).unwrap_or(u32::MAX), remark))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pair<T>(text: &str, value: T) -> (String, T) {
        (text.to_owned(), value)
    }

    #[test]
    fn a_map_is_split_at_the_first_equals_sign() {
        let (map, remark) = StaticMap::parse("/static=/srv/a=b").unwrap();
        assert_eq!(map, pair("/static", "/srv/a=b".to_owned()));
        assert!(remark.is_none());
        assert!(StaticMap::parse("static=/srv").unwrap().1.is_some());
        assert_eq!(
            StaticMap::parse("/static").unwrap_err().what,
            "the value has no ="
        );
        assert!(StaticMap::parse("/static=").is_err());
    }

    #[test]
    fn times_follow_an_expression_or_a_type() {
        let (rule, _) = ExpiryOfNames::parse(r"\.(css|js)$ 3600").unwrap();
        assert_eq!(rule, pair(r"\.(css|js)$", 3600));
        for text in ["x", "( 3600", ""] {
            assert!(ExpiryOfNames::parse(text).is_err(), "{text}");
        }
        let (rule, _) = ExpiryOfTypes::parse("text/css=60").unwrap();
        assert_eq!(rule, pair("text/css", 60));
        assert!(ExpiryOfTypes::parse("text/css 60").is_err());
        assert!(Expression::parse("(").is_err());
    }

    #[test]
    fn a_mode_is_named_after_the_server_or_the_header() {
        assert_eq!(FileServeMode::parse("nginx").unwrap().0, "X-Accel-Redirect");
        assert_eq!(FileServeMode::parse("xsendfile").unwrap().0, "X-Sendfile");
        assert!(FileServeMode::parse("apache").is_err());
    }
}
