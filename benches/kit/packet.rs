//! Requests of the uwsgi protocol, as nginx sends them.

/// A request with the variables of nginx's `uwsgi_params` and of a browser: 21 variables, about 720 bytes.
pub fn request(method: &str, path: &str, cookie: &str, body: &[u8]) -> Vec<u8> {
    let length = if body.is_empty() {
        String::new()
    } else {
        body.len().to_string()
    };
    let content_type = if body.is_empty() {
        ""
    } else {
        "application/octet-stream"
    };
    let variables = [
        ("QUERY_STRING", ""),
        ("REQUEST_METHOD", method),
        ("CONTENT_TYPE", content_type),
        ("CONTENT_LENGTH", &length),
        ("REQUEST_URI", path),
        ("PATH_INFO", path),
        ("DOCUMENT_ROOT", "/usr/share/nginx/html"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("REMOTE_ADDR", "203.0.113.7"),
        ("REMOTE_PORT", "51234"),
        ("SERVER_PORT", "80"),
        ("SERVER_NAME", "www.example.org"),
        ("HTTP_HOST", "www.example.org"),
        (
            "HTTP_USER_AGENT",
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        ),
        (
            "HTTP_ACCEPT",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("HTTP_ACCEPT_LANGUAGE", "en-US,en;q=0.5"),
        ("HTTP_ACCEPT_ENCODING", "gzip, deflate"),
        ("HTTP_CONNECTION", "keep-alive"),
        ("HTTP_COOKIE", cookie),
        ("HTTP_UPGRADE_INSECURE_REQUESTS", "1"),
    ];
    let mut block = Vec::with_capacity(1024);
    for (name, value) in variables {
        push_string(&mut block, name);
        push_string(&mut block, value);
    }
    let mut packet = vec![0];
    packet.extend_from_slice(&size(block.len()));
    packet.push(0);
    packet.extend_from_slice(&block);
    packet.extend_from_slice(body);
    packet
}

/// A GET request for `/` with a cookie of typical length.
pub fn get() -> Vec<u8> {
    request(
        "GET",
        "/",
        "csrftoken=Zq3vT8mW1xR5nK7pL2cJ9dF4; sessionid=h6g0b8y2u4i1o3e5a7s9",
        b"",
    )
}

fn push_string(block: &mut Vec<u8>, text: &str) {
    block.extend_from_slice(&size(text.len()));
    block.extend_from_slice(text.as_bytes());
}

/// An encoded length; all lengths here are far below 64 KiB.
fn size(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes()
}
