//! The parser of `access-log-format`, which has the names of gunicorn's `access_log_format`.

use super::access_field::AccessField;
use super::format::{Field, Piece};

/// Parses an `access-log-format` value. The second item lists the unknown names.
pub fn parse_access_format(text: &str) -> (Vec<Piece>, Vec<&str>) {
    let (mut pieces, mut unknown) = (Vec::new(), Vec::new());
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(name) = name_of(rest) else {
            plain.push('%');
            // `%%` stands for a percent sign
            rest = rest.strip_prefix("%%").unwrap_or(&rest[1..]);
            continue;
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(piece(name).unwrap_or_else(|| {
            unknown.push(name);
            Piece::Unknown
        }));
        // the piece is `%(NAME)s`
        rest = &rest[name.len() + 4..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    (pieces, unknown)
}

/// Returns the name of `%(NAME)s` at the start of a text; `None` if the text does not start with this form.
fn name_of(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("%(")?;
    let end = rest.find(')')?;
    rest[end + 1..].starts_with('s').then(|| &rest[..end])
}

fn piece(name: &str) -> Option<Piece> {
    if let Some(rest) = name.strip_prefix('{') {
        let (inner, kind) = rest.split_once('}')?;
        let header = || inner.to_ascii_uppercase().replace('-', "_");
        return match kind {
            "i" => Some(Piece::Variable(match &*header() {
                name @ ("CONTENT_TYPE" | "CONTENT_LENGTH") => name.to_owned(),
                name => format!("HTTP_{name}"),
            })),
            "o" => Some(Piece::Header(inner.to_owned())),
            "e" => Some(Piece::Variable(inner.to_owned())),
            _ => None,
        };
    }
    Some(match name {
        "h" => Piece::Field(Field::Addr),
        "l" => Piece::Text("-".to_owned()),
        "u" => Piece::Field(Field::User),
        "m" => Piece::Field(Field::Method),
        "H" => Piece::Field(Field::Proto),
        "s" => Piece::Field(Field::Status),
        "B" => Piece::Field(Field::BodySize),
        "f" => Piece::Field(Field::Referer),
        "a" => Piece::Field(Field::UserAgent),
        "D" => Piece::Field(Field::Micros),
        "M" => Piece::Field(Field::Millis),
        "L" => Piece::Field(Field::Seconds),
        "t" => Piece::Access(AccessField::Time),
        "r" => Piece::Access(AccessField::Line),
        "U" => Piece::Access(AccessField::Path),
        "q" => Piece::Access(AccessField::Query),
        "b" => Piece::Access(AccessField::Bytes),
        "T" => Piece::Access(AccessField::Seconds),
        "p" => Piece::Access(AccessField::Pid),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gunicorns_default_format_is_understood() {
        let format = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" 100%% %(x)s"#;
        let (pieces, unknown) = parse_access_format(format);
        assert_eq!(unknown, ["x"]);
        assert_eq!(pieces[0], Piece::Field(Field::Addr));
        assert!(pieces.contains(&Piece::Access(AccessField::Line)));
        assert!(pieces.contains(&Piece::Text("\" 100% ".to_owned())));
    }

    #[test]
    fn headers_and_variables_have_braces() {
        let (pieces, unknown) =
            parse_access_format("%({x-request-id}i)s%({content-type}o)s%({a.b}e)s%({c}x)s");
        assert_eq!(
            pieces,
            [
                Piece::Variable("HTTP_X_REQUEST_ID".into()),
                Piece::Header("content-type".into()),
                Piece::Variable("a.b".into()),
                Piece::Unknown,
            ]
        );
        assert_eq!(unknown, ["{c}x"]);
    }

    #[test]
    fn any_text_is_a_format() {
        for text in [
            "",
            "%",
            "%(",
            "%()s",
            "%(a",
            "%%%",
            "é%(é)sé",
            "%({)s",
            "%({}i)s",
        ] {
            parse_access_format(text);
        }
    }
}
