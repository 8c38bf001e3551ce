//! Imports and hooks that do not return: the log shows where.

use crate::kit::*;

/// Ends in an accept(2) that releases the interpreter lock.
const WAITS: &str = "import socket\n\
    listener = socket.create_server(('127.0.0.1', 0))\n\
    def serve():\n    \
        listener.accept()\n\
    serve()\n";

/// Ends in a C function that holds the interpreter lock.
const HOLDS: &str = "import ctypes\n\
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)\n\
    library.pthread_mutex_lock(mutex)\n\
    library.pthread_mutex_lock(mutex)\n";

/// Python code that never ends.
const SPINS: &str = "while True:\n    pass\n";

/// A hook of the worker that waits.
const HOOK: &str = "import time, uwsgi\n\
    def hook():\n    \
        time.sleep(1000)\n\
    uwsgi.post_fork_hook = hook\n\
    application = print\n";

#[test]
fn an_import_that_does_not_return_is_reported_with_its_stack() {
    if differs(
        "A start that takes more than ten seconds is reported with the Python stack of the process.",
    ) {
        return;
    }
    let started = [
        (
            WAITS,
            false,
            "zygote of generation 1",
            "app.py\", line 4 in serve",
        ),
        (WAITS, true, "worker 1", "app.py\", line 5 in <module>"),
        (
            HOLDS,
            false,
            "zygote of generation 1",
            "app.py\", line 4 in <module>",
        ),
        (HOLDS, true, "worker 1", "app.py\", line 4 in <module>"),
        (SPINS, false, "zygote of generation 1", "app.py\", line "),
        (HOOK, false, "worker 1", "app.py\", line 3 in hook"),
    ];
    let started = started.map(|(app, lazy, who, line)| {
        let launch = Site::of(app).server().set("lazy-apps", lazy);
        (launch.spawn(), app, who, line)
    });
    for (server, app, who, line) in started {
        server.wait_for_log("the load of the application has not finished after 10 s");
        server.wait_for_log(line);
        let log = server.log();
        let of_process = format!("{who} (pid ");
        let report = log.lines().find(|line| line.contains("has not finished"));
        assert!(
            report.is_some_and(|line| line.contains(&of_process)),
            "{log}"
        );
        if app == HOLDS {
            server.wait_for_log("holds the interpreter lock");
        } else {
            assert!(!log.contains("holds the interpreter lock"), "{log}");
        }
        server.stop();
    }
}

#[test]
fn a_reload_that_does_not_finish_ends_for_the_next_one() {
    if differs("A reload whose start does not finish ends when another one is requested.") {
        return;
    }
    let serving = |text: &str| {
        format!(
            "def application(environ, start_response):\n    \
                 start_response('200 OK', [])\n    \
                 return [b'{text}']\n"
        )
    };
    let started = [SPINS, HOOK].map(|stuck| {
        let server = Site::of(&serving("old")).server().start();
        server.get("/").expect_text("old");
        server.site.write("app.py", stuck);
        server.signal(nix::sys::signal::Signal::SIGHUP);
        (server, stuck)
    });
    for (mut server, stuck) in started {
        server.wait_for_log("the load of the application has not finished after 10 s");
        if stuck == SPINS {
            server.get("/").expect_text("old");
        }
        server.site.write("app.py", &serving("new"));
        server.signal(nix::sys::signal::Signal::SIGHUP);
        server.expect_log("reload failed: generation 2 has not finished its start after");
        server.wait_for_log("reloaded: generation 3");
        server.get("/").expect_text("new");
    }
}

#[test]
fn a_worker_that_has_started_and_its_children_have_no_handlers_of_the_start() {
    if under_uwsgi() {
        return; // it has no such handlers
    }
    let site = Site::of(
        "import os\n\
         def caught():\n    \
             with open('/proc/self/status') as status:\n        \
                 mask = [line for line in status if line.startswith('SigCgt')][0]\n    \
             return bytes(str(int(mask.split()[1], 16) >> 33 & 0x3ff), 'ascii')\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             reader, writer = os.pipe()\n    \
             if os.fork() == 0:\n        \
                 os.write(writer, caught())\n        \
                 os._exit(0)\n    \
             os.wait()\n    \
             return [os.read(reader, 100)]\n",
    );
    let server = site.server().start();
    server.get("/").expect_text("0");
    for _ in 0..20 {
        server.signal(nix::sys::signal::Signal::SIGHUP);
    }
    server.wait_for_log("reloaded: ");
    server.get("/").expect_text("0");
}
