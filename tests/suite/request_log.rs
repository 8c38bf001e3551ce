//! The request log: uWSGI's default line, `log-format`, and which requests are logged.

use crate::kit::*;

#[test]
fn a_request_is_logged_in_uwsgis_format() {
    let site = Site::with("environ");
    let server = site.server().start();
    let worker = server.wait_for_workers(1)[0];
    let request = get("/a?b=c").var("REMOTE_USER", "me");
    let answer = server.send(&request).expect(200);
    server.get("/second").expect(200);
    server.wait_for_log("GET /second");
    let line = server.log_lines("GET /a?b=c").remove(0);
    let head = answer.raw.len() - answer.body.len();
    let begin = format!(
        "[pid: {worker}|app: 0|req: 1/1] 127.0.0.1 (me) {{{} vars in {} bytes}} [",
        request.vars.len() * 2,
        request.block().len()
    );
    assert!(line.starts_with(&begin), "{line}\n{begin}");
    let (date, rest) = line[begin.len()..].split_once("] ").unwrap();
    assert!(is_ctime(date), "{date}");
    let middle = format!("GET /a?b=c => generated {} bytes in ", answer.body.len());
    let rest = rest
        .strip_prefix(&middle)
        .unwrap_or_else(|| panic!("{rest}"));
    let (time, rest) = rest.split_once(" msecs").unwrap();
    assert!(time.parse::<u32>().is_ok(), "{time}");
    let headers = answer.headers.len();
    let middle = format!(" (HTTP/1.1 200) {headers} headers in {head} bytes (");
    let rest = rest
        .strip_prefix(&middle)
        .unwrap_or_else(|| panic!("{rest}"));
    let switches = rest.strip_suffix(" switches on core 0)");
    assert!(
        switches.is_some_and(|count| count.parse::<u32>().is_ok()),
        "{rest}"
    );
    assert!(server.log_lines("GET /second")[0].contains("|req: 2/2]"));
}

/// Whether the text is a time such as `Fri Nov 20 11:32:16 2026`.
fn is_ctime(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    text.len() == 24 && words.len() == 5 && words[3].len() == 8 && words[4].parse::<u32>().is_ok()
}

#[test]
fn a_file_is_logged_as_sent_by_sendfile() {
    let site = Site::with("files");
    site.write("data", &"x".repeat(100_000));
    let server = site.server().start();
    server.get("/whole").expect(200);
    server.wait_for_log("via sendfile()");
    assert!(
        server.log_lines("via sendfile()")[0].contains("generated 100000 bytes"),
        "{}",
        server.log()
    );
}

#[test]
fn requests_are_not_logged_with_disable_logging() {
    let server = Site::with("hello")
        .server()
        .set("disable-logging", "true")
        .start();
    for n in 0..5 {
        server.get(&format!("/{n}")).expect_text("hello\n");
    }
    let log = server.log();
    server.stop();
    assert!(!log.contains("generated"), "{log}");
}

/// The log line in this format of a POST of `a=b` to `/environ?q=1`.
fn formatted_line(format: &str) -> String {
    let server = Site::with("environ")
        .server()
        .set("log-format", format)
        .start();
    let request = post("/environ?q=1", "a=b")
        .var("HTTP_USER_AGENT", "an \"agent\"")
        .var("HTTP_X_FORWARDED_FOR", "192.0.2.7");
    server.send(&request).expect(200);
    let line = || {
        let mut lines = server.log_lines("line:").into_iter();
        lines.find(|line| line.starts_with("line:"))
    };
    server.eventually("it is logged", || line().is_some());
    line().unwrap()
}

#[test]
fn a_request_is_logged_in_the_configured_format() {
    let line = formatted_line(
        "line: %(method) %(uri) %(proto) %(status) %(cl) %(user) %(addr) %(var.HTTP_X_FORWARDED_FOR) %(modifier1) %(core) 100%% done",
    );
    assert_eq!(
        line,
        "line: POST /environ?q=1 HTTP/1.1 200 3 - 127.0.0.1 192.0.2.7 0 0 100% done"
    );
}

#[test]
fn sizes_and_times_of_a_format_are_numbers() {
    let line = formatted_line(
        "line: %(rsize) %(hsize) %(size) %(micros) %(msecs) %(time) %(tmsecs) %(tmicros) %(epoch) %(pid) %(wid) %(vars) %(pktsize) %(headers) %(switches) %(werr) %(rerr) %(ioerr)",
    );
    let numbers: Vec<u64> = line[6..]
        .split(' ')
        .map(|number| number.parse().unwrap_or_else(|_| panic!("{line}")))
        .collect();
    assert_eq!(numbers.len(), 18, "{line}");
    assert_eq!(numbers[0] + numbers[1], numbers[2], "{line}");
    assert_eq!(numbers[3] / 1000, numbers[4], "{line}");
    assert_eq!(numbers[7] / 1000, numbers[6], "{line}");
    assert!(
        numbers[8] >= numbers[5] && numbers[5] > 1_700_000_000,
        "{line}"
    );
}

#[test]
fn text_of_a_client_is_escaped_in_a_format() {
    if differs("In log-format, quotes and control characters from the client are escaped as \\xNN.")
    {
        return;
    }
    assert_eq!(
        formatted_line("line: \"%(uagent)\" %(nope)"),
        "line: \"an \\x22agent\\x22\" -"
    );
}

#[test]
fn selected_requests_are_logged_with_disable_logging() {
    let site = Site::with("responses");
    let server = site
        .server()
        .set("disable-logging", "true")
        .set("log-4xx", "true")
        .start();
    server.get("/status?200").expect(200);
    server.get("/status?404").expect(404);
    server.get("/status?503").expect(503);
    server.get("/status?404").expect(404);
    server.eventually("both are logged", || {
        server.log_lines("=> generated").len() == 2
    });
    for line in server.log_lines("=> generated") {
        assert!(line.contains("(HTTP/1.1 404)"), "{line}");
    }
}

#[test]
fn the_default_line_may_have_memory_microseconds_and_the_forwarded_address() {
    let server = Site::with("environ")
        .server()
        .set("memory-report", "true")
        .set("log-micros", "true")
        .set("log-x-forwarded-for", "true")
        .start();
    let request = get("/a").var("HTTP_X_FORWARDED_FOR", "192.0.2.7");
    server.send(&request).expect(200);
    server.wait_for_log("GET /a");
    let line = server.log_lines("GET /a").remove(0);
    assert!(line.starts_with("{address space usage: "), "{line}");
    assert!(line.contains("MB} {rss usage: "), "{line}");
    assert!(line.contains("] 192.0.2.7 () {"), "{line}");
    assert!(line.contains(" micros (HTTP/1.1 200)"), "{line}");
}
