//! Fork safety: the warning about threads, connections and locks that an import leaves in the zygote.

use crate::kit::*;

const APPLICATION: &str = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n";

fn log_of(import: &str, options: &[(&str, &str)]) -> String {
    let site = Site::of(&format!("{import}\n{APPLICATION}"));
    let server = site.server().set_all(options).start();
    server.get("/").expect(200);
    let log = server.log();
    server.stop();
    log
}

fn differs_from_uwsgi() -> bool {
    differs(
        "A warning names threads, connections and held locks that an import leaves in the process that forks the workers.",
    )
}

#[test]
fn a_thread_and_its_held_lock_are_reported() {
    if differs_from_uwsgi() {
        return;
    }
    let log = log_of(
        "import threading\n\
         held = threading.Lock()\n\
         ready = threading.Event()\n\
         def flush_forever():\n\
         \x20   with held:\n\
         \x20       ready.set()\n\
         \x20       threading.Event().wait()\n\
         threading.Thread(target=flush_forever, name='flusher', daemon=True).start()\n\
         ready.wait()\n",
        &[],
    );
    assert_eq!(
        log.matches("after the import, the process").count(),
        1,
        "{log}"
    );
    for text in [
        "the thread flusher (flush_forever at ",
        "app.py:4",
        ".held, which is held",
        "postfork",
    ] {
        assert!(log.contains(text), "no {text:?} in:\n{log}");
    }
}

#[test]
fn a_connection_is_reported_with_its_peer() {
    if differs_from_uwsgi() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let import = format!(
        "import socket\nkept = socket.create_connection(('127.0.0.1', {}))\npair = socket.socketpair()\n",
        peer.port()
    );
    let log = log_of(&import, &[]);
    assert!(
        log.contains(&format!("has a connection to {peer}.")),
        "{log}"
    );
}

#[test]
fn an_application_without_threads_and_connections_causes_no_warning() {
    if differs_from_uwsgi() {
        return;
    }
    let import =
        "import logging, threading, socket\nlock = threading.Lock()\nlistener = socket.socket()\n";
    let log = log_of(import, &[("processes", "2")]);
    assert!(!log.contains("after the import"), "{log}");
    let thread =
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n";
    let log = log_of(thread, &[("lazy-apps", "true")]);
    assert!(!log.contains("after the import"), "{log}");
}
