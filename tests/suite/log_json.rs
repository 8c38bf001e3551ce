//! Formats of the log: `log-json`, `access-log-format`, and uWSGI's `log-format`, name by name.

use serde_json::Value;

use crate::kit::*;

/// A server whose log is JSON.
fn json_server(site: &Site) -> Server {
    site.server().set("log-json", "true").start()
}

/// The records of the log with this scope. Every line must be a JSON object.
fn records(server: &Server, scope: &str) -> Vec<Value> {
    let log = server.log();
    let lines = log.lines().filter(|line| !line.is_empty());
    let records = lines.map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    records
        .inspect(|record| assert!(record.is_object(), "{record}"))
        .filter(|record| record["scope.name"] == scope)
        .collect()
}

#[test]
fn every_line_is_a_json_object() {
    if differs("log-json writes every line as a JSON object; access-log-format is gunicorn's.") {
        return;
    }
    let site = Site::with("logging");
    let server = json_server(&site);
    let request = get("/print?said%20%22x%22")
        .var("HTTP_USER_AGENT", b"an \"agent\"\xff\x01")
        .var("REMOTE_USER", "me");
    server.send(&request).expect_text("ok\n");
    server
        .get("/write?%00%FE%1b%5C%22%09%0A")
        .expect_text("ok\n");
    server.wait_for_log("\"url.path\":\"/write\"");
    let request = &records(&server, "ruwsgi.request")[0];
    let worker = server.workers()[0];
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/print"),
        ("url.query", "said%20%22x%22"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("user.name", "me"),
        ("user_agent.original", "an \"agent\"\u{fffd}\u{1}"),
        ("severity_text", "INFO"),
    ] {
        assert_eq!(request[key], value, "{request}");
    }
    assert_eq!(request["http.response.status_code"], 200);
    assert_eq!(request["http.response.body.size"], 3);
    assert_eq!(request["process.pid"], worker);
    assert!(
        request["http.server.request.duration"].is_f64(),
        "{request}"
    );
    assert!(request["body"].as_str().unwrap().contains("GET /print"));
    let output = records(&server, "ruwsgi.output");
    assert_eq!(output[0]["body"], "said \"x\"");
    assert_eq!(output[0]["process.pid"], worker);
    assert_eq!(output[1]["body"], "\0\u{fffd}\u{1b}\\\"\t");
    let ready = records(&server, "ruwsgi.server");
    let ready = ready
        .iter()
        .find(|record| record["body"].as_str().unwrap().starts_with("ready: "));
    let ready = ready.unwrap();
    assert_eq!(ready["process.pid"], server.master);
    assert_eq!(ready["process.title"], "master");
    assert!(
        ready["timestamp"].as_str().unwrap().ends_with('Z'),
        "{ready}"
    );
}

#[test]
fn a_record_of_the_largest_request_is_a_json_object() {
    if differs("log-json writes every line as a JSON object; access-log-format is gunicorn's.") {
        return;
    }
    let site = Site::with("logging");
    let server = json_server(&site);
    for text in ["\u{1}", "\u{e9}", "\"a"] {
        let uri = format!("/{}", text.repeat(60_000 / text.len()));
        let request = get("/").var("REQUEST_URI", uri);
        server.send(&request).expect_text("ok\n");
    }
    server.get("/after").expect_text("ok\n");
    server.wait_for_log("\"url.path\":\"/after\"");
    assert_eq!(records(&server, "ruwsgi.request").len(), 4);
}

#[test]
fn a_traceback_is_one_json_record() {
    if differs("log-json writes every line as a JSON object; access-log-format is gunicorn's.") {
        return;
    }
    let site = Site::with("logging");
    let mut server = json_server(&site);
    for path in ["/traceback", "/logged"] {
        server.get(&format!("{path}?x")).expect_text("ok\n");
    }
    server.expect_log("\"url.path\":\"/logged\"");
    let output = records(&server, "ruwsgi.output");
    let failed = |record: &&Value| record["severity_text"] == "ERROR";
    let failures: Vec<_> = output.iter().filter(failed).collect();
    assert_eq!(failures.len(), 2, "{output:?}");
    for record in failures {
        assert_eq!(record["exception.type"], "KeyError", "{record}");
        assert_eq!(record["exception.message"], "'x'", "{record}");
        let trace = record["exception.stacktrace"].as_str().unwrap();
        assert!(trace.contains("ValueError: x\n\nThe above"), "{trace}");
    }
}

#[test]
fn an_exception_of_a_request_is_one_json_record() {
    if differs("log-json writes every line as a JSON object; access-log-format is gunicorn's.") {
        return;
    }
    let site =
        Site::of("def application(environ, start_response):\n    raise OSError('my words')\n");
    let mut server = json_server(&site);
    server.send(&get("/x")).expect(500);
    server.expect_log("\"url.path\":\"/x\"");
    let all = records(&server, "ruwsgi.server");
    let record = all.iter().find(|it| it["exception.type"] == "OSError");
    let record = record.unwrap_or_else(|| panic!("{all:?}"));
    assert_eq!(record["exception.message"], "my words");
    assert_eq!(record["severity_text"], "ERROR");
    let request = &records(&server, "ruwsgi.request")[0];
    assert_eq!(request["severity_text"], "ERROR");
}

#[test]
fn gunicorns_names_are_understood() {
    if differs("log-json writes every line as a JSON object; access-log-format is gunicorn's.") {
        return;
    }
    let format = r#"line %(h)s %(l)s %(u)s %(m)s %(U)s %(q)s %(H)s %(s)s %(B)s %(b)s "%(f)s" "%(a)s" "%(r)s" %({x-id}i)s %({content-type}o)s %({no}o)s %({QUERY_STRING}e)s 100%%%% %(nope)s"#;
    let site = Site::with("logging");
    let server = site.server().set("access-log-format", format).start();
    let request = get("/a/b?c=d")
        .var("HTTP_X_ID", "7")
        .var("HTTP_REFERER", "http://r/")
        .var("HTTP_USER_AGENT", "agent");
    server.send(&request).expect_text("ok\n");
    server.wait_for_log("line 127");
    let expected = r#"line 127.0.0.1 - - GET /a/b c=d HTTP/1.1 200 3 3 "http://r/" "agent" "GET /a/b?c=d HTTP/1.1" 7 text/plain - c=d 100% -"#;
    let lines = server.log_lines("line 127");
    assert_eq!(lines, [expected]);
}

#[test]
fn times_and_numbers_of_gunicorns_names() {
    if differs("log-json writes every line as a JSON object; access-log-format is gunicorn's.") {
        return;
    }
    let site = Site::with("logging");
    let server = site
        .server()
        .set(
            "access-log-format",
            "line %(t)s %(T)s %(M)s %(D)s %(L)s %(p)s",
        )
        .start();
    server.get("/").expect_text("ok\n");
    server.wait_for_log("line [");
    let line = server.log_lines("line [").remove(0);
    let words: Vec<&str> = line.split(' ').collect();
    let worker = server.workers()[0];
    assert_eq!((words[1].len(), words[2].len()), (21, 6), "{line}");
    assert_eq!(words[3], "0", "{line}");
    let (millis, micros): (u64, u64) = (words[4].parse().unwrap(), words[5].parse().unwrap());
    assert_eq!(micros / 1000, millis, "{line}");
    assert_eq!(
        words[6].parse::<f64>().unwrap(),
        micros as f64 / 1e6,
        "{line}"
    );
    assert_eq!(words[7], format!("<{worker}>"), "{line}");
}

/// The request line in each of these formats of one request, which has the same bytes under uWSGI.
#[track_caller]
fn lines_of(formats: &[(&str, &str)]) {
    for (format, expected) in formats {
        let site = Site::with("logging");
        let server = site
            .server()
            .set("log-format", format!("line:{format}"))
            .start();
        let request = post("/print?a=b&c", "hello")
            .var("HTTP_REFERER", "http://example.org/x")
            .var("HTTP_USER_AGENT", "agent/1.0 (x)")
            .var("HTTP_X_ID", "7")
            .var("REMOTE_USER", "me");
        let answer = server.send(&request).expect(200);
        let head = answer.raw.len() - answer.body.len();
        let line = || {
            let mut lines = server.log_lines("line:").into_iter();
            lines.find(|line| line.starts_with("line:"))
        };
        server.eventually("it is logged", || line().is_some());
        let line = line().unwrap();
        let expected = expected
            .replace("VARS", &(request.vars.len() * 2).to_string())
            .replace("BLOCK", &request.block().len().to_string())
            .replace("HEADERS", &answer.headers.len().to_string())
            .replace("HEAD", &head.to_string())
            .replace("SIZE", &answer.raw.len().to_string())
            .replace("WORKER", &server.wait_for_workers(1)[0].to_string());
        assert_eq!(line, format!("line:{expected}"));
    }
}

#[test]
fn twelve_formats_give_uwsgis_bytes() {
    lines_of(&[
        ("%(method) %(uri) %(proto)", "POST /print?a=b&c HTTP/1.1"),
        ("%(status) %(rsize)", "200 3"),
        ("%(hsize) %(size)", "HEAD SIZE"),
        ("%(addr) - %(user)", "127.0.0.1 - me"),
        (
            "[%(referer)] [%(uagent)]",
            "[http://example.org/x] [agent/1.0 (x)]",
        ),
        ("%(host)|%(var.HTTP_X_ID)|%(var.NOPE)", "example.com|7|-"),
        ("%(cl) %(vars) %(pktsize)", "5 VARS BLOCK"),
        (
            "%(modifier1)%(modifier2) %(core) %(wid) %(pid)",
            "00 0 1 WORKER",
        ),
        ("%(headers) %(switches)", "HEADERS 1"),
        ("%(werr)%(rerr)%(ioerr) %(nope)", "000 -"),
        ("100%% (%(method)) %(", "100% (POST) %("),
        (
            "{\"m\":\"%(method)\",\"u\":\"%(uri)\"}",
            "{\"m\":\"POST\",\"u\":\"/print?a=b&c\"}",
        ),
    ]);
}

#[test]
fn ftime_has_the_format_of_log_date() {
    let site = Site::with("logging");
    let server = site
        .server()
        .set("logformat-strftime", "true")
        .set("log-date", "year=%%Y")
        .set("log-format", "line:%(ftime) %(method) %%Y")
        .start();
    server.get("/").expect_text("ok\n");
    server.wait_for_log("line:year=20");
    let line = server.log_lines("line:").remove(0);
    assert!(
        line.ends_with(" GET %Y") && line.len() == "line:year=2026 GET %Y".len(),
        "{line}"
    );
}
