//! Loggers: `logger` and `req-logger` with their engines, routes, filters and encoders.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::kit::*;

fn site() -> Site {
    Site::with("logging")
}

/// Starts a server with these options. `SITE` in a value is the site's directory.
fn start(options: &[(&str, &str)]) -> Server {
    let site = site();
    let directory = site.path().display().to_string();
    let options = options.iter();
    let launch = options.fold(site.server(), |launch, (name, value)| {
        launch.set(name, value.replace("SITE", &directory))
    });
    launch.start()
}

/// Waits until a file of the site contains a text, and returns the file's lines.
#[track_caller]
fn lines(server: &Server, name: &str, text: &str) -> Vec<String> {
    let site = server.site.clone();
    server.eventually(&format!("{name} has {text:?}"), || {
        site.read(name).contains(text)
    });
    site.read(name).lines().map(str::to_owned).collect()
}

/// Prints a line by the application.
#[track_caller]
fn print(server: &Server, text: &str) {
    server.get(&format!("/print?{text}")).expect_text("ok\n");
}

#[test]
fn every_line_goes_to_every_logger_without_a_name() {
    let server = start(&[
        ("logger", "file:SITE/one.log"),
        ("logger", "file:logfile=SITE/two.log"),
    ]);
    print(&server, "said");
    for name in ["one.log", "two.log"] {
        let lines = lines(&server, name, "GET /print?said");
        let printed = lines.iter().position(|line| line == "said").unwrap();
        let logged = lines.iter().position(|line| line.contains("GET /print"));
        assert!(logged.is_some_and(|logged| printed < logged), "{lines:?}");
    }
    assert!(!server.log().contains("said"), "{}", server.log());
}

#[test]
fn lines_that_match_a_route_go_to_its_loggers_only() {
    let server = start(&[
        ("logger", "file:SITE/all.log"),
        ("logger", "audit file:SITE/audit.log"),
        ("logger", "idle file:SITE/idle.log"),
        ("log-route", "audit ^user (?!root)"),
    ]);
    for text in ["user%20jane", "user%20root", "other"] {
        print(&server, text);
    }
    lines(&server, "all.log", "GET /print?other");
    assert_eq!(server.site.read("audit.log"), "user jane\n");
    let all = server.site.read("all.log");
    assert!(!all.contains("\nuser jane\n"), "{all}");
    assert!(
        all.contains("\nuser root\n") && all.contains("\nother\n"),
        "{all}"
    );
    assert_eq!(server.site.read("idle.log"), "");
}

#[test]
fn lines_without_a_logger_stay_in_the_log() {
    let server = start(&[
        ("logger", "audit file:SITE/audit.log"),
        ("log-route", "audit ^audited"),
    ]);
    print(&server, "audited");
    print(&server, "other");
    server.wait_for_log("GET /print?other");
    assert_eq!(server.log_lines("other")[0], "other");
    assert_eq!(server.site.read("audit.log"), "audited\n");
}

#[test]
fn request_lines_go_to_their_loggers_only() {
    let server = start(&[
        ("req-logger", "file:SITE/requests.log"),
        ("logger", "b file:SITE/b.log"),
        ("req-logger", "c file:SITE/c.log"),
        ("log-req-route", "b GET /print.b"),
        ("log-req-route", "c GET /print.c"),
        ("log-drain", "GET"),
    ]);
    for text in ["b", "c", "a"] {
        print(&server, text);
    }
    lines(&server, "b.log", "GET /print?b");
    let requests = lines(&server, "requests.log", "GET /print?a");
    if differs("log-req-route may name a req-logger; uWSGI knows the names of loggers only.") {
        return;
    }
    lines(&server, "c.log", "GET /print?c");
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(!server.log().contains("GET /print"), "{}", server.log());
}

#[test]
fn filters_and_drains_choose_lines() {
    let server = start(&[
        ("logger", "file:SITE/all.log"),
        ("log-filter", "^keep"),
        ("log-filter", "GET (?!/print.drop)"),
        ("log-drain", "secret$"),
    ]);
    for text in ["drop", "keep", "keep-secret", "end"] {
        print(&server, text);
    }
    lines(&server, "all.log", "GET /print?end");
    let text = server.site.read("all.log");
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains("GET")).collect();
    assert_eq!(kept, ["keep"], "{text}");
    assert!(!text.contains("drop"), "{text}");
}

#[test]
fn encoders_change_lines_in_their_order() {
    let server = start(&[
        ("logger", "file:SITE/all.log"),
        ("logger", "json file:SITE/json.log"),
        ("log-route", "json ^say"),
        (
            "log-encoder",
            r#"json:json {"m":"${msg}","n":"${msgnl}","x":"${nope}"}"#,
        ),
        ("log-encoder", "suffix:json ;"),
        ("log-encoder", "nl:json"),
        ("log-encoder", "prefix all:"),
    ]);
    print(&server, "say%20%22a%22%09%5C");
    print(&server, "end");
    lines(&server, "all.log", "all:end");
    let expected = r#"all:{"m":"say \"a\"\t\\","n":"say \"a\"\t\\\n","x":""};"#;
    assert_eq!(server.site.read("json.log"), format!("{expected}\n"));
}

#[test]
fn a_format_has_the_time() {
    let server = start(&[
        ("req-logger", "file:SITE/requests.log"),
        (
            "log-req-encoder",
            "format ${unix} ${millis} ${micros} ${strftime:%%Y-%%m-%%d %%H:%%M} <${msg}>",
        ),
        ("log-req-encoder", "nl"),
        ("log-format", "%(method) %(uri)"),
    ]);
    server.get("/x").expect_text("ok\n");
    let line = lines(&server, "requests.log", "<GET /x>").remove(0);
    let words: Vec<&str> = line.split(' ').collect();
    let numbers: Vec<u128> = words[..3].iter().map(|it| it.parse().unwrap()).collect();
    assert_eq!(numbers[1] / 1000, numbers[0], "{line}");
    assert_eq!(numbers[2] / 1_000_000, numbers[0], "{line}");
    assert!(words[3].starts_with("20") && words[4].len() == 5, "{line}");
    assert_eq!(words[5..].join(" "), "<GET /x>");
}

#[test]
fn what_one_write_has_written_is_one_event() {
    let server = start(&[("logger", "file:SITE/all.log"), ("log-encoder", "prefix >")]);
    server.get("/write?one%0Atwo%0A").expect_text("ok\n");
    server.get("/logged?x").expect_text("ok\n");
    lines(&server, "all.log", "GET /logged");
    let text = server.site.read("all.log");
    assert!(text.contains(">one\ntwo\n>"), "{text}");
    assert!(text.contains(">ERROR failed\nTraceback"), "{text}");
    assert!(text.contains("\nKeyError: 'x'\n>"), "{text}");
}

#[test]
fn a_traceback_that_is_written_line_by_line_is_one_event() {
    if differs(
        "A traceback that the interpreter writes line by line is one event for loggers; uWSGI has one event for each write.",
    ) {
        return;
    }
    let server = start(&[("logger", "file:SITE/all.log"), ("log-encoder", "prefix >")]);
    server.get("/traceback?x").expect_text("ok\n");
    lines(&server, "all.log", "after the traceback");
    let text = server.site.read("all.log");
    let from = text.find(">Traceback").unwrap();
    let to = text.find(">after the traceback").unwrap();
    let event = &text[from + 1..to];
    assert!(!event.contains("\n>"), "{text}");
    assert!(event.contains("ValueError: x\n\nThe above"), "{text}");
    assert!(event.ends_with("KeyError: 'x'\n"), "{text}");
}

#[test]
fn a_line_in_several_writes_is_one_event() {
    if differs(
        "For loggers, a line that is written in several parts is one event; uWSGI has one event for each write.",
    ) {
        return;
    }
    let server = start(&[("logger", "file:SITE/all.log"), ("log-encoder", "prefix >")]);
    server.get("/write?a").expect_text("ok\n");
    server.get("/write?b").expect_text("ok\n");
    server.get("/write?c%0A").expect_text("ok\n");
    lines(&server, "all.log", ">abc\n");
}

#[test]
fn datagrams_go_to_a_socket_with_a_prefix() {
    let site = site();
    let path = site.at("log.sock");
    let unix = UnixDatagram::bind(&path).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = udp.local_addr().unwrap().port();
    unix.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let server = site
        .server()
        .set("logger", format!("a socket:127.0.0.1:{port},udp:"))
        .set("logger", format!("b socket:{path},unix:"))
        .set("log-route", "a ^said")
        .set("log-route", "b ^said")
        .start();
    print(&server, "said");
    let mut buffer = [0; 1000];
    let size = udp.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..size], b"udp:said\n");
    let size = unix.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..size], b"unix:said\n");
}

#[test]
fn rsyslog_gets_messages_with_priority_time_and_identity() {
    let site = site();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let port = udp.local_addr().unwrap().port();
    let server = site
        .server()
        .set("logger", format!("a rsyslog:127.0.0.1:{port},site"))
        .set("log-route", "a ^said")
        .start();
    print(&server, "said");
    let mut buffer = [0; 2000];
    let size = udp.recv(&mut buffer).unwrap();
    let message = String::from_utf8_lossy(&buffer[..size]).into_owned();
    let (time, text) = message.strip_prefix("<29>").unwrap().split_at(15);
    assert_eq!(time.as_bytes()[9], b':', "{message}");
    assert_eq!(
        text.trim_end_matches(['\n', '\0']),
        " site: said",
        "{message}"
    );
}

/// The uWSGI from PyPI has no engine `pipe`.
fn without_pipe_engine() -> bool {
    under_uwsgi()
}

#[test]
fn a_command_reads_the_lines() {
    if without_pipe_engine() {
        return;
    }
    let server = start(&[("logger", "pipe:cat >> piped.log")]);
    print(&server, "said");
    let piped = lines(&server, "piped.log", "GET /print?said");
    assert!(piped.contains(&"said".to_owned()), "{piped:?}");
}

#[test]
fn a_command_that_ends_is_started_again() {
    if differs("A logger pipe whose command has ended starts it again after a second at least.") {
        return;
    }
    let server = start(&[("logger", "pipe:head -n 1 >> piped.log; sed 1q >> /dev/null")]);
    let known = || server.site.read("piped.log").lines().count();
    server.eventually("it has run twice", || {
        print(&server, "again");
        std::thread::sleep(Duration::from_millis(20));
        known() >= 2
    });
}

#[test]
fn a_descriptor_is_a_logger() {
    if differs(
        "fd:1 and fd:2 of a logger are the descriptors that the instance was started with; in uWSGI they lead back to its own log.",
    ) {
        return;
    }
    let server = start(&[("logger", "fd:2")]);
    print(&server, "said");
    server.wait_for_log("GET /print?said");
    assert!(server.log_lines("said").contains(&"said".to_owned()));
}

#[test]
fn a_log_file_is_rotated_after_the_line_that_exceeds_its_size() {
    let site = site();
    let file = format!(
        "logfile={},maxsize=400,backupname={}",
        site.at("requests.log"),
        site.at("backup.log")
    );
    let server = site
        .server()
        .set("req-logger", format!("file:{file}"))
        .set("log-format", "x".repeat(149))
        .start();
    for _ in 0..4 {
        server.get("/").expect_text("ok\n");
    }
    server.eventually("the fourth is in the new file", || {
        site.read("requests.log").len() == 150
    });
    assert_eq!(site.read("backup.log").len(), 450);
}

#[test]
fn a_killed_workers_lines_reach_the_logger() {
    // uWSGI delays the replacement of a worker that was killed by a signal
    if under_uwsgi() {
        return;
    }
    let mut server = start(&[("logger", "file:SITE/all.log")]);
    server.allow_any_exit();
    for n in 0..5 {
        server.wait_for_workers(1);
        drop(server.ask(&get(&format!("/die?last-words-{n}"))).rest());
        lines(&server, "all.log", &format!("last-words-{n}\n"));
    }
}

/// Sends requests, and returns the time that the slowest took.
fn slowest(server: &Server, count: usize) -> Duration {
    let request = get(&format!("/print?{}", "x".repeat(2000)));
    let times = (0..count).map(|_| {
        let start = Instant::now();
        server.send(&request).expect_text("ok\n");
        start.elapsed()
    });
    times.max().unwrap()
}

#[test]
fn a_stopped_reader_of_a_pipe_slows_no_request() {
    if differs(
        "A logger whose peer is stopped, full or gone drops lines and reports their number; no request waits.",
    ) {
        return;
    }
    let server = start(&[
        ("logger", "pipe:exec sleep 1000"),
        ("req-logger", "file:SITE/requests.log"),
    ]);
    // more than the pipe and the buffer hold
    let slowest = slowest(&server, 1000);
    assert!(slowest < Duration::from_millis(900), "{slowest:?}");
    lines(&server, "requests.log", "GET /print");
    let sleep = proc::children(server.master)
        .into_iter()
        .find(|it| proc::command_line(it.pid).contains("sleep"))
        .unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(sleep.pid), Signal::SIGKILL).unwrap();
}

#[test]
fn a_full_disk_or_a_dead_daemon_slows_no_request() {
    if differs(
        "A logger whose peer is stopped, full or gone drops lines and reports their number; no request waits.",
    ) {
        return;
    }
    let mut server = start(&[
        ("logger", "full file:/dev/full"),
        ("logger", "gone socket:SITE/nobody"),
        ("log-route", "full ^x"),
        ("log-route", "gone ^x"),
    ]);
    let slowest = slowest(&server, 200);
    assert!(slowest < Duration::from_millis(900), "{slowest:?}");
    server.expect_log("log file /dev/full: lines of the log are dropped: No space left");
    server.wait_for_log("nobody: lines of the log are dropped: No such file");
    assert_eq!(server.log_lines("/dev/full").len(), 1, "{}", server.log());
}

#[test]
fn the_failure_of_the_only_logger_is_reported_in_the_log() {
    if differs(
        "A logger whose peer is stopped, full or gone drops lines and reports their number; no request waits.",
    ) {
        return;
    }
    let mut server = site().server().set("logger", "file:/dev/full").start();
    print(&server, "lost");
    server.expect_log("log file /dev/full: lines of the log are dropped: No space left");
}

#[test]
fn log_files_are_opened_again() {
    let site = site();
    site.write("touch", "");
    let server = site
        .server()
        .set("logger", format!("file:{}", site.at("all.log")))
        .set("touch-logreopen", site.at("touch"))
        .start();
    if differs("touch-logreopen reopens the files of loggers too.") {
        return;
    }
    print(&server, "before");
    lines(&server, "all.log", "GET /print?before");
    std::fs::rename(site.file("all.log"), site.file("old.log")).unwrap();
    site.write("touch", "again");
    server.eventually("there is a new file", || site.has("all.log"));
    print(&server, "after");
    lines(&server, "all.log", "GET /print?after");
    assert!(!site.read("old.log").contains("after"));
}

#[test]
fn there_is_a_thread_only_with_loggers() {
    if differs(
        "The master has a thread for the log only if loggers, encoders or filters are configured.",
    ) {
        return;
    }
    let threads = |pid: i32| proc::status(pid, "Threads");
    let server = site().server().start();
    assert_eq!(threads(server.master), "1");
    let before = server.descriptors().0;
    drop(server);
    let server = site().server().set("logger", "stdio").start();
    assert_eq!(threads(server.master), "2");
    assert!(server.descriptors().0 > before);
    print(&server, "said");
    server.wait_for_log("GET /print?said");
}

#[test]
fn the_log_thread_works_with_logto_and_without_privileges() {
    let site = site();
    let server = site
        .server()
        .set("logto", site.at("main.log"))
        .logging_to("main.log")
        .set("logger", "stdio")
        .set("logger", format!("errors file:{}", site.at("errors.log")))
        .set("log-route", "errors ^ERROR")
        .start();
    server.get("/logged?x").expect_text("ok\n");
    print(&server, "said");
    let main = lines(&server, "main.log", "GET /print?said");
    assert!(main.contains(&"said".to_owned()), "{main:?}");
    assert!(
        site.read("errors.log")
            .starts_with("ERROR failed\nTraceback")
    );
    assert!(!site.read("main.log").contains("ERROR failed"));
}

#[test]
fn an_unknown_engine_is_refused() {
    let refusal = site().server().set("logger", "nope:x").refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("nope"), "{}", refusal.log);
}

#[test]
fn a_logger_that_cannot_be_opened_is_refused() {
    if differs(
        "A logger whose file cannot be opened is an error of the start; uWSGI starts and loses the lines.",
    ) {
        return;
    }
    let refusal = site()
        .server()
        .set("logger", "file:/nowhere/x.log")
        .refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("/nowhere/x.log"), "{}", refusal.log);
}

#[test]
fn loggers_survive_a_reload() {
    let server = start(&[("logger", "file:SITE/all.log")]);
    server.signal(Signal::SIGHUP);
    if !under_uwsgi() {
        lines(&server, "all.log", "reloaded: generation 2");
    }
    server.eventually("it is logged", || {
        server.send(&get("/print?later"));
        server.site.read("all.log").contains("\nlater\n")
    });
}

/// Executes its arguments with descriptor 2 as the stream to the journal.
const JOURNAL: &str = "\
import os, sys
stat = os.fstat(2)
os.environ['JOURNAL_STREAM'] = f'{stat.st_dev}:{stat.st_ino}'
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn lines_for_the_journal_have_priorities() {
    if differs(
        "Where standard error is a stream of the systemd journal, each line begins with its priority.",
    ) {
        return;
    }
    let site = site();
    let mut server = site
        .server()
        .set("logger", "stdio")
        .under(&["python3", "-c", JOURNAL])
        .start();
    server.get("/logged?x").expect_text("ok\n");
    print(&server, "said");
    server.expect_log("GET /print?said");
    assert!(server.log_lines("said").contains(&"<6>said".to_owned()));
    assert!(server.log_lines("ready: ")[0].starts_with("<6>"));
    assert!(server.log_lines("Traceback")[0].starts_with("<3>Traceback"));
    assert!(server.log_lines("KeyError: 'x'")[0].starts_with("<3>KeyError"));
}

#[test]
fn a_stopped_command_ends_after_its_instance() {
    if without_pipe_engine() {
        return;
    }
    let site = site();
    let command = "pipe:echo $$ > command.pid; kill -STOP $$; cat > piped.log";
    let server = site.server().set("logger", command).start();
    print(&server, "said");
    let command: i32 = site.read("command.pid").trim().parse().unwrap();
    server.eventually("the command is stopped", || {
        proc::process(command).is_some_and(|it| it.state == 'T')
    });
    server.stop();
    wait::eventually("the command has ended", || !proc::is_running(command));
    assert!(site.read("piped.log").contains("said"));
}

#[test]
fn the_journal_gets_entries_with_fields() {
    if differs(
        "Where standard error is a stream of the systemd journal, events and requests become entries with fields: priority, worker, method, URI, status, duration.",
    ) {
        return;
    }
    let site = site();
    let socket = std::os::unix::net::UnixDatagram::bind(site.file("journal")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut entries: Vec<String> = Vec::new();
    let mut received = |part: &str| {
        let mut bytes = vec![0; 65536];
        while let Ok(size) = socket.recv(&mut bytes) {
            entries.push(String::from_utf8_lossy(&bytes[..size]).into_owned());
        }
        entries.iter().find(|entry| entry.contains(part)).cloned()
    };
    let server = site
        .server()
        .envvar("RUWSGI_JOURNAL_SOCKET", &site.at("journal"))
        .under(&["python3", "-c", JOURNAL])
        .start();
    server.get("/missing?a=1");
    let mut entry = String::new();
    server.eventually("the request is an entry", || {
        entry = received("RUWSGI_URI=/missing?a=1").unwrap_or_default();
        !entry.is_empty()
    });
    for field in [
        "PRIORITY=",
        "SYSLOG_IDENTIFIER=ruwsgi",
        "RUWSGI_METHOD=GET",
        "RUWSGI_WORKER=1",
        "RUWSGI_STATUS=",
        "RUWSGI_MICROSECONDS=",
        "MESSAGE=[pid: ",
    ] {
        assert!(
            entry.contains(&format!("\n{field}")) || entry.starts_with(field),
            "{field}: {entry}"
        );
    }
    let ready = received("ready: 1 worker").unwrap();
    assert!(
        ready.starts_with("PRIORITY=6\n") && ready.contains("\nRUWSGI_PROCESS=master\n"),
        "{ready}"
    );
    assert!(server.log_lines("ready: ").is_empty() && server.log_lines("GET /missing").is_empty());
    // what the application prints goes to the stream
    print(&server, "said");
    server.wait_for_log("said");
    // without the socket, the lines go to the stream
    std::fs::remove_file(site.file("journal")).unwrap();
    server.get("/later");
    server.wait_for_log("GET /later");
    assert!(received("GET /later").is_none());
}

#[test]
fn a_line_that_is_cut_ends_with_a_line_feed() {
    if differs("A line of more than 128 KiB is cut if the log has a thread.") {
        return;
    }
    let site = Site::with("logging");
    let server = site
        .server()
        .set("logger", format!("file:{}", site.at("main.log")))
        .logging_to("main.log")
        .set("log-format", "line %(uri)")
        .start();
    let uri = format!("/{}", "\u{1}".repeat(60_000));
    server
        .send(&get("/").var("REQUEST_URI", uri))
        .expect_text("ok\n");
    server.get("/after").expect_text("ok\n");
    server.wait_for_log("line /after");
    let lines = server.log_lines("line /");
    assert_eq!((lines.len(), lines[0].len()), (2, (128 << 10) - 1));
}
