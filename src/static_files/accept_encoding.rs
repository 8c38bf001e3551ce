//! Reads the Accept-Encoding header: the compressed variants that the client accepts (RFC 9110, 12.5.3).

/// A content coding of a compressed variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstandard,
    /// Gzip.
    Gzip,
}

/// All codings, in the order in which the server prefers them.
const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstandard, Coding::Gzip];

impl Coding {
    /// The value of Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The suffix that the variant's file name has.
    pub fn suffix(self) -> &'static [u8] {
        match self {
            Self::Brotli => b".br",
            Self::Zstandard => b".zst",
            Self::Gzip => b".gz",
        }
    }
}

/// Reads the header. Returns the codings that the client accepts, the preferred coding first. A coding is left out if
/// the client prefers the uncompressed file.
pub fn accepted(header: &[u8]) -> impl Iterator<Item = Coding> {
    let mut weights = [None; ALL.len()];
    let (mut any, mut identity) = (None, None);
    for item in header.split(|&byte| byte == b',') {
        let mut fields = item.split(|&byte| byte == b';');
        let name = fields.next().unwrap_or_default().trim_ascii();
        let weight = weight(fields);
        if name == b"*" {
            any.get_or_insert(weight);
        } else if name.eq_ignore_ascii_case(b"identity") {
            identity.get_or_insert(weight);
        } else if let Some(index) = ALL.iter().position(|coding| has_name(*coding, name)) {
            weights[index].get_or_insert(weight);
        }
    }
    let lowest = identity.unwrap_or(0).max(1);
    let mut ranked = [(0, None); ALL.len()];
    for ((coding, weight), entry) in ALL.into_iter().zip(weights).zip(&mut ranked) {
        let weight = weight.or(any).unwrap_or(0);
        *entry = (weight, (weight >= lowest).then_some(coding));
    }
    // the sort is stable, so codings of equal weight keep the order of the server
    ranked.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    ranked.into_iter().filter_map(|(_, coding)| coding)
}

fn has_name(coding: Coding, name: &[u8]) -> bool {
    let old_name = coding == Coding::Gzip && name.eq_ignore_ascii_case(b"x-gzip");
    old_name || name.eq_ignore_ascii_case(coding.name().as_bytes())
}

/// The weight in the parameters of a coding, in thousandths. A missing weight is 1000; an invalid weight is 0.
fn weight<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> u16 {
    for parameter in parameters {
        let parameter = parameter.trim_ascii();
        if let [b'q' | b'Q', rest @ ..] = parameter
            && let Some(value) = rest.trim_ascii_start().strip_prefix(b"=")
        {
            return thousandths(value.trim_ascii()).unwrap_or(0);
        }
    }
    1000
}

/// A number from 0 to 1 with up to three decimals (RFC 9110, 12.4.2), in thousandths.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (first, rest) = text.split_first()?;
    let decimals = match rest {
        [] => &[][..],
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    if !matches!(first, b'0' | b'1') || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut value = u16::from(first - b'0');
    for index in 0..3 {
        let digit = decimals.get(index).map_or(0, |digit| digit - b'0');
        value = value * 10 + u16::from(digit);
    }
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(header: &str) -> Vec<&'static str> {
        accepted(header.as_bytes()).map(Coding::name).collect()
    }

    #[test]
    fn codings_are_ordered_by_weight() {
        for (header, expected) in [
            ("gzip, deflate, br, zstd", &["br", "zstd", "gzip"][..]),
            ("gzip", &["gzip"]),
            ("GZip;Q=0.5, br;q=0.4", &["gzip", "br"]),
            ("gzip;q=1.0, br;q=0.999", &["gzip", "br"]),
            ("gzip;q=0", &[]),
            ("gzip;q=0.000, br;q=0.001", &["br"]),
            ("*", &["br", "zstd", "gzip"]),
            ("*;q=0.1, gzip", &["gzip", "br", "zstd"]),
            ("br;q=0, *", &["zstd", "gzip"]),
            ("x-gzip", &["gzip"]),
            ("identity", &[]),
            ("identity;q=0.5, gzip;q=0.4, br;q=0.5", &["br"]),
            ("identity;q=0, gzip;q=0.1", &["gzip"]),
            ("gzip;q=2, br;q=1.001, zstd;q=", &[]),
            ("gzip;q=0.1234, br;q=.5, zstd;q=a", &[]),
            ("gzip ; level=3 ; q = 0.3", &["gzip"]),
            ("notgzip, gzipp, brr", &[]),
            ("", &[]),
            (",;,=,q=1", &[]),
        ] {
            assert_eq!(names(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(header in "[a-z*;=, .0-9q\u{80}]{0,60}") {
            prop_assert!(accepted(header.as_bytes()).count() <= 3);
        }
    }
}
