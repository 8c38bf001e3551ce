//! The request log of ruwsgi and of uWSGI, byte for byte: both serve the same 1,000 requests, and their lines are
//! compared. `KIT_UWSGI=/path/to/uwsgi` names the original; without it these tests do nothing.

use crate::kit::*;

/// Responds as the last part of the path says: `STATUS-HEADERS-SIZE-BLOCKS`; `after` raises after the first block.
const APP: &str = r#"
def application(environ, start_response):
    status, headers, size, blocks, after = environ['HTTP_X_ANSWER'].split('-')
    names = [('X-%d' % n, 'v' * n) for n in range(int(headers))]
    start_response(status + ' Text', names)
    for block in range(int(blocks)):
        yield b'x' * int(size)
        if after == 'raise':
            raise ValueError('after the first block')
"#;

const REQUESTS: usize = 1000;

/// A small generator of numbers with a fixed seed (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }

    /// Bytes without line feeds, because uWSGI writes them into the line as they are.
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        const ODD: &[u8] = b"az09/%._~+&=;,:@!$'()*#[]{}|^`<>? \"\\\t\x01\x1b\x7f\x80\xc3\xa9\xff";
        (0..self.below(most)).map(|_| *self.of(ODD)).collect()
    }
}

/// The requests: methods, paths with odd bytes, statuses, sizes, missing variables, bodies.
fn requests() -> Vec<Request> {
    let mut numbers = Numbers(11);
    (0..REQUESTS)
        .map(|_| {
            // ruwsgi sends no body to HEAD, and with 204 and 304
            let methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"];
            let mut request = Request::new(methods[numbers.below(methods.len())], "/");
            let uri = [b"/".to_vec(), numbers.bytes(60)].concat();
            request = request.var("REQUEST_URI", &uri).var("PATH_INFO", &uri);
            let status = *numbers.of(&[200, 200, 201, 301, 400, 404, 500, 503]);
            let (headers, blocks) = (numbers.below(8), numbers.below(4));
            let size = *numbers.of(&[0, 1, 10, 1000, 70_000]);
            let end = *numbers.of(&["end", "end", "end", "end", "raise"]);
            // uWSGI sends no head for a response without data
            let (size, blocks) = (size.max(1), blocks.max(1));
            let answer = format!("{status}-{headers}-{size}-{blocks}-{end}");
            request = request.var("HTTP_X_ANSWER", answer);
            for name in [
                "HTTP_REFERER",
                "HTTP_USER_AGENT",
                "REMOTE_USER",
                "HTTP_X_ID",
            ] {
                if numbers.below(3) > 0 {
                    request = request.var(name, numbers.bytes(40));
                }
            }
            for name in [
                "REMOTE_ADDR",
                "HTTP_HOST",
                "SERVER_PROTOCOL",
                "CONTENT_LENGTH",
                "HTTP_COOKIE",
            ] {
                if numbers.below(10) == 0 {
                    request = request.without(name);
                }
            }
            if numbers.below(4) == 0 {
                let body = numbers.bytes(500);
                request = request
                    .var("CONTENT_LENGTH", body.len().to_string())
                    .body(body);
            }
            request
        })
        .collect()
}

/// The request lines of a server that serves the requests. Only lines with `mark` are request lines.
fn lines(
    uwsgi: Option<&str>,
    format: Option<&str>,
    mark: &str,
    requests: &[Request],
) -> Vec<Vec<u8>> {
    let site = Site::of(APP);
    let mut ini = format!(
        "[uwsgi]\nsocket = {}\nwsgi-file = app.py\nmaster = true\ndie-on-term = true\nvacuum = true\n\
         buffer-size = 65535\nlogto = {}\n",
        site.at("app.sock"),
        site.at("log"),
    );
    if let Some(format) = format {
        ini += &format!("log-format = {}\n", format.replace("%%", "%%%%"));
    }
    site.write("site.ini", &ini);
    let script = uwsgi.map(|path| format!("shift; exec {path} \"$@\""));
    let mut launch = site.server().only(&["--ini", "site.ini"]).logging_to("log");
    if let Some(script) = &script {
        launch = launch.under(&["/bin/sh", "-c", script, "sh"]);
    }
    let mut server = launch.spawn();
    server.expect_log(if uwsgi.is_some() {
        "spawned"
    } else {
        "ready: "
    });
    let address = Address::parse("app.sock", site.path());
    for request in requests {
        let mut connection = address.try_connect().unwrap();
        connection.put(&request.bytes());
        let _ = connection.rest();
    }
    let read = || {
        let log = std::fs::read(site.file("log")).unwrap();
        let lines = log
            .split(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(mark.as_bytes()));
        lines.map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    server.eventually("all are logged", || read().len() >= requests.len());
    let lines = read();
    server.stop();
    lines
}

/// A line without the process id, the date and the duration. It has no number of switches either, because uWSGI adds one for a
/// request that arrives after its connection.
fn masked(line: &[u8]) -> String {
    let mut text = escaped(line);
    for (before, after) in [
        ("[pid: ", "|app"),
        ("bytes} [", "] "),
        (" bytes in ", "secs ("),
        (" bytes (", " switches"),
    ] {
        let Some(start) = text.find(before).map(|at| at + before.len()) else {
            continue;
        };
        if let Some(length) = text[start..].find(after) {
            text.replace_range(start..start + length, "_");
        }
    }
    text
}

/// The line with the escapes that ruwsgi writes for bytes of the client; a line of ruwsgi has none of these bytes.
fn escaped(line: &[u8]) -> String {
    let mut text = String::new();
    for byte in line {
        match byte {
            b' '..=b'~' if !b"\"".contains(byte) => text.push(char::from(*byte)),
            byte => text += &format!("\\x{byte:02x}"),
        }
    }
    text
}

fn compare(format: Option<&str>, mark: &str, requests: &[Request]) {
    let Ok(uwsgi) = std::env::var("KIT_UWSGI") else {
        eprintln!("skipped: KIT_UWSGI is not set");
        return;
    };
    if under_uwsgi() {
        return;
    }
    let theirs = lines(Some(&uwsgi), format, mark, requests);
    let ours = lines(None, format, mark, requests);
    assert_eq!((ours.len(), theirs.len()), (requests.len(), requests.len()));
    let mut different = Vec::new();
    for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        // uWSGI writes a backslash of the client as it is
        let (ours, theirs) = (masked(ours).replace("\\x5c", "\\"), masked(theirs));
        if ours != theirs {
            different.push(format!("request {n}\nruwsgi {ours}\nuWSGI  {theirs}\n"));
        }
    }
    let count = different.len();
    different.truncate(8);
    assert_eq!(count, 0, "{format:?}:\n{}", different.concat());
}

#[test]
fn a_thousand_requests_have_the_lines_of_uwsgi_in_the_default_format() {
    compare(None, "[pid: ", &requests());
}

#[test]
fn a_thousand_requests_have_the_lines_of_uwsgi_in_twelve_formats() {
    let requests = requests();
    for format in [
        "%(method) %(uri) %(proto)",
        "%(addr) - %(user) %(method) %(uri) %(proto) %(status) %(size) [%(referer)] [%(uagent)]",
        "%(status) %(rsize) %(hsize) %(size)",
        "%(host)|%(var.HTTP_X_ID)|%(var.NOPE)|%(var.HTTP_COOKIE)",
        "%(cl) %(vars) %(pktsize)",
        "%(modifier1)%(modifier2) %(core) %(wid)",
        "%(headers) %(rsize) %(status)",
        "%(werr)%(rerr)%(ioerr) %(nope)",
        "100%% (%(method)) %( %x",
        "{m: %(method), u: %(uri), s: %(status)}",
        "%(uagent) %(referer) %(user)",
        "%(method)%(method) %(status) text %(uri)",
    ] {
        compare(Some(&format!("line:{format}")), "line:", &requests);
    }
}
