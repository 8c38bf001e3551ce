//! Response heads: reason phrases, the validity of statuses and headers, and the server's own error pages.

use super::text;

/// The reason phrase of a status in the IANA registry of RFC 9110; `Unknown` for a status that the registry does not
/// contain.
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "Unknown",
    }
}

/// Whether an application's `status` is valid in a status line: a code from 100 to 999, one space, a phrase.
///
/// The phrase may be empty and may contain bytes above ASCII (RFC 9112 4), but no control character and no tab
/// (PEP 3333). A code alone, such as `404`, is not valid, since the space is missing; [`reason`] returns its phrase.
#[inline]
pub fn status_is_valid(status: &[u8]) -> bool {
    match status {
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9', b' ', phrase @ ..] => {
            text::before_control(phrase) == phrase.len() && !phrase.contains(&b'\t')
        }
        _ => false,
    }
}

/// Whether `name` is a valid header name: a token, without space, colon, control character or byte above ASCII.
#[inline]
pub fn header_name_is_valid(name: &[u8]) -> bool {
    text::is_token(name)
}

/// Whether `value` is a valid header value: no CR, LF, NUL or other control character except the tab.
#[inline]
pub fn header_value_is_valid(value: &[u8]) -> bool {
    text::before_control(value) == value.len()
}

/// A complete response that the server itself gives, with `sentence` as a line of plain text.
///
/// With `close` the response announces that the connection is closed. A status outside 100 to 999 becomes 500.
pub fn error_page(status: u16, sentence: &str, close: bool) -> Vec<u8> {
    let status = if (100..=999).contains(&status) {
        status
    } else {
        500
    };
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         {connection}\r\n{sentence}\n",
        phrase = reason(status),
        length = sentence.len() + 1,
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_three_digits_a_space_and_a_phrase() {
        for good in [
            "200 OK",
            "404 Not Found",
            "999 Message here",
            "200 ",
            "100 Continue",
            "200 Tr\u{e8}s bien",
            "799 x",
        ] {
            assert!(status_is_valid(good.as_bytes()), "{good:?}");
        }
        assert!(status_is_valid(b"200 \xe8\xff"));
        for wrong in [
            "",
            "2",
            "200",
            "20 OK",
            "2000 OK",
            "099 Low",
            "000 None",
            "OKAY then",
            "200OK",
            "200\tOK",
            " 200 OK",
            "+20 OK",
            "2e2 OK",
            "200 OK\r\n",
            "200 OK\r\nX: y",
            "200 O\nK",
            "200 O\0K",
            "200 O\tK",
            "200 OK\x7f",
            "200 \x1b[31m",
            "\u{662}00 OK",
        ] {
            assert!(!status_is_valid(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn a_header_name_is_a_token() {
        for good in ["X", "Content-Type", "x_y", "!#$%&'*+-.^_`|~09az"] {
            assert!(header_name_is_valid(good.as_bytes()), "{good:?}");
        }
        for wrong in [
            "", " X", "X ", "X:", "X\r\n", "X\0", "X Y", "X\u{e9}", "X\t", "(X)", "X/Y", "\"X\"",
            "X=Y", "X@",
        ] {
            assert!(!header_name_is_valid(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn a_header_value_holds_no_control_character_but_the_tab() {
        for byte in 0..=255_u8 {
            let expected = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(
                header_value_is_valid(&[b'a', byte, b'b']),
                expected,
                "{byte:#x}"
            );
        }
        assert!(header_value_is_valid(b""));
    }

    #[test]
    fn every_standard_phrase_makes_a_valid_status_line() {
        for status in 100..=999 {
            assert!(
                status_is_valid(format!("{status} {}", reason(status)).as_bytes()),
                "{status}"
            );
        }
        assert_eq!(
            (reason(404), reason(431), reason(799)),
            ("Not Found", "Request Header Fields Too Large", "Unknown")
        );
    }

    #[test]
    fn an_error_page_is_a_whole_response() {
        let page = String::from_utf8(error_page(400, "Speak uwsgi \u{2014} please.", true))
            .unwrap_or_default();
        let (head, body) = page.split_once("\r\n\r\n").unwrap_or_default();
        assert_eq!(
            head,
            format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close",
                body.len()
            )
        );
        assert_eq!(body, "Speak uwsgi \u{2014} please.\n");
        assert!(!String::from_utf8_lossy(&error_page(404, "Gone.", false)).contains("Connection"));
        assert!(error_page(7, "", true).starts_with(b"HTTP/1.1 500 "));
    }
}
