//! The standard input, a debugger on a terminal, and Ctrl-C there.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::kit::*;

/// Starts a server with these options on a terminal and debugs requests; see tests/apps/terminal/session.py.
fn session(options: &[&str]) -> Value {
    let site = Site::with("terminal");
    let port = free_port().to_string();
    let output = Command::new("python3")
        .args(["session.py", &port])
        .arg(binary())
        .args(["--http-socket", &format!("127.0.0.1:{port}")])
        .args(["--wsgi-file", "app.py", "--honour-stdin"])
        .args(options)
        .current_dir(site.path())
        .env("RUWSGI_RUNTIME_DIRECTORY", site.file(".run"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {output:?}"))
}

#[test]
fn a_request_is_debugged_on_the_terminal_and_ctrl_c_stops_the_server() {
    if differs(
        "Ctrl-C on a terminal waits two seconds for requests and threads, unless worker-reload-mercy is configured; a second one stops at once.",
    ) {
        return;
    }
    for options in [&[][..], &["--lazy-apps"], &["--threads=2"]] {
        let facts = session(options);
        assert_eq!(facts["line"], "answer typed\n", "{options:?}: {facts}");
        for number in [42, 43] {
            assert_eq!(facts[format!("prompt {number}")], true, "{facts}");
            let expected = format!("answer {number}\n");
            assert_eq!(
                facts[format!("answer {number}")],
                json!(expected),
                "{facts}"
            );
        }
        assert_eq!(facts["prompt at the end"], true, "{facts}");
        assert_eq!(facts["stopped"], true, "{facts}");
        assert_eq!(facts["echo"], true, "the terminal is as before: {facts}");
        assert!(facts["seconds"].as_f64().unwrap() < 15.0, "{facts}");
    }
}

#[test]
fn without_honour_stdin_the_standard_input_is_empty() {
    let app = "import os\n\
        def application(environ, start_response):\n    \
            start_response('200 OK', [])\n    \
            return [os.readlink('/proc/self/fd/0').encode()]\n";
    let server = Site::of(app).server().start();
    server.get("/").expect_text("/dev/null");
}

#[test]
fn a_thread_that_delays_the_exit_is_named() {
    if differs("A worker whose exit waits for a thread of the application names it in the log.") {
        return;
    }
    let site = Site::of(
        "import threading, time, uwsgi\n\
         def listen():\n    \
             while True:\n        \
                 time.sleep(0.2)\n\
         def begin():\n    \
             threading.Thread(target=listen, name='listener').start()\n\
         uwsgi.post_fork_hook = begin\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [b'ok']\n",
    );
    let mut server = site.server().set("worker-reload-mercy", 3).start();
    server.get("/").expect_text("ok");
    let begun = Instant::now();
    server.signal(Signal::SIGINT);
    server.wait_for_log("listener at ");
    server.wait_for_exit();
    assert!(begun.elapsed() < Duration::from_secs(30));
    let log = server.log();
    assert!(log.contains("app.py:4 in listen"), "{log}");
    assert!(log.contains("a thread or an atexit function"), "{log}");
}

#[test]
fn an_idle_executor_does_not_delay_the_exit() {
    let site = Site::of(
        "from concurrent.futures import ThreadPoolExecutor\n\
         pool = ThreadPoolExecutor()\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [pool.submit(lambda: b'ok').result()]\n",
    );
    let server = site.server().start();
    server.get("/").expect_text("ok");
    server.stop();
}
