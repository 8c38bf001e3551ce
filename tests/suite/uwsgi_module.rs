//! The modules uwsgi and uwsgidecorators: what applications call.

use serde_json::{Value, json};

use crate::kit::*;

fn facts(server: &Server, uri: &str) -> Value {
    server.get(uri).expect(200).json()
}

#[test]
fn a_worker_knows_its_id() {
    let server = Site::with("uwsgi_module")
        .server()
        .set("processes", 2)
        .set("threads", 3)
        .start();
    let facts = facts(&server, "/");
    let worker = facts["worker_id"].as_u64().unwrap();
    assert!((1..=2).contains(&worker));
    assert_eq!(facts["masterpid"], server.master);
    assert_eq!(facts["parent"], server.master);
    assert_eq!((&facts["numproc"], &facts["cores"]), (&json!(2), &json!(3)));
    assert_eq!(
        (&facts["mule_id"], &facts["at_import"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(facts["buffer_size"], 65_535);
    assert_eq!(
        (&facts["version"], &facts["hostname"]),
        (&json!("bytes"), &json!("bytes"))
    );
    assert_eq!(
        facts["forked"],
        json!([worker]),
        "post_fork_hook was called once"
    );
}

#[test]
fn opt_has_the_configured_options() {
    let launch = Site::with("uwsgi_module")
        .server()
        .set("env", "A=1")
        .set("env", "B=2")
        .set("my-own", "thing");
    let facts = facts(&launch.set("pyargv", "%(my-own)").start(), "/");
    // uWSGI keeps the last of two values, and all of three
    assert!(
        under_uwsgi() || facts["opt"]["env"] == "[b'A=1', b'B=2']",
        "{facts}"
    );
    assert_eq!(facts["opt"]["wsgi-file"], "b'app.py'");
    assert_eq!(facts["opt"]["my-own"], "b'thing'");
}

#[test]
fn libraries_find_what_they_look_for() {
    let site = Site::of(
        "import json, os, uwsgi\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             opt = {key: repr(value) for key, value in uwsgi.opt.items()}\n    \
             env = {key: os.environ[key] for key in ('UWSGI_ORIGINAL_PROC_NAME', 'UWSGI_RELOADS')}\n    \
             own = getattr(uwsgi, 'ruwsgi_version', b'').decode()\n    \
             return [json.dumps([opt, env, uwsgi.version.decode(), uwsgi.version_info[:4], own]).encode()]\n",
    );
    let launch = site.server().set("enable-threads", "true");
    let launch = launch
        .set("skip-atexit", "true")
        .set("skip-atexit-teardown", "true");
    let server = launch.start();
    let found = facts(&server, "/");
    assert_eq!(found[0]["enable-threads"], "b'true'");
    assert_eq!(found[0]["skip-atexit"], "b'true'");
    assert_eq!(found[1]["UWSGI_RELOADS"], "0");
    assert!(
        found[1]["UWSGI_ORIGINAL_PROC_NAME"]
            .as_str()
            .unwrap()
            .contains("uwsgi")
    );
    assert_eq!(
        (&found[2], &found[3]),
        (&json!("2.0.31"), &json!([2, 0, 31, 0]))
    );
    if differs(
        "uwsgi.opt lists master, enable-threads, single-interpreter and py-call-uwsgi-fork-hooks, which are always in force; \
         uwsgi.ruwsgi_version is the version of ruwsgi.",
    ) {
        return;
    }
    for implied in [
        "master",
        "single-interpreter",
        "py-call-uwsgi-fork-hooks",
        "need-app",
    ] {
        assert_eq!(found[0][implied], "True", "{implied}");
    }
    assert_eq!(found[4], env!("CARGO_PKG_VERSION"));
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_log("reloaded: ");
    server.eventually("the application knows of the reload", || {
        facts(&server, "/")[1]["UWSGI_RELOADS"] == "1"
    });
}

#[test]
fn an_option_that_is_always_in_force_cannot_be_listed_as_false() {
    if under_uwsgi() {
        return; // it is off there
    }
    let launch = Site::with("uwsgi_module").server();
    let facts = facts(&launch.set("enable-threads", "false").start(), "/");
    assert_eq!(facts["opt"]["enable-threads"], "True");
}

#[test]
fn requests_are_counted() {
    let server = Site::with("uwsgi_module").server().start();
    let count = |facts: &Value, key: &str| facts[key].as_u64().unwrap();
    let first = facts(&server, "/");
    for _ in 0..3 {
        facts(&server, "/");
    }
    let last = facts(&server, "/");
    for key in ["total", "request"] {
        assert_eq!(count(&last, key) - count(&first, key), 4, "{key}");
    }
}

#[test]
fn log_writes_to_the_log() {
    let server = Site::with("uwsgi_module").server().start();
    facts(&server, "/log");
    server.wait_for_log("a line of the application's own");
}

#[test]
fn the_application_reloads_and_stops_its_instance() {
    if under_uwsgi() {
        return; // uWSGI loses requests for a stop during a reload
    }
    let mut server = Site::with("uwsgi_module").server().start();
    let worker = server.wait_for_workers(1)[0];
    facts(&server, "/reload");
    server.eventually("there is another generation", || {
        let workers = server.workers();
        workers.len() == 1 && workers[0] != worker
    });
    facts(&server, "/stop");
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn the_exit_hook_of_the_application_is_called() {
    if under_uwsgi() {
        return; // uWSGI may kill the worker before the hook runs
    }
    let site = Site::with("uwsgi_module");
    let server = site.server().start();
    facts(&server, "/");
    server.stop();
    assert!(
        site.read("exited").lines().any(|line| line == "1"),
        "{}",
        site.read("exited")
    );
}

#[test]
fn postfork_functions_run_in_every_worker() {
    let site = Site::of(
        "import os, uwsgidecorators\n\
         @uwsgidecorators.postfork\n\
         def one():\n    \
             open('forks', 'a').write('one %d\\n' % os.getpid())\n\
         @uwsgidecorators.postfork\n\
         def two():\n    \
             open('forks', 'a').write('two %d\\n' % os.getpid())\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [b'ok']\n",
    );
    if under_uwsgi() {
        return; // uWSGI's wheel does not contain uwsgidecorators
    }
    let server = site.server().set("processes", 2).start();
    server.get("/").expect_text("ok");
    let workers = server.wait_for_workers(2);
    server.eventually("all have run", || {
        let forks = site.read("forks");
        let ran = |what: &str, pid: &i32| forks.lines().any(|line| line == format!("{what} {pid}"));
        workers.iter().all(|pid| ran("one", pid) && ran("two", pid))
    });
}

#[test]
fn unsupported_functions_raise_a_clear_error() {
    if differs(
        "A function of the module uwsgi that is not available raises an AttributeError that names it.",
    ) {
        return;
    }
    let site = Site::of(
        "import uwsgi\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             try:\n        \
                 uwsgi.queue_get\n    \
             except AttributeError as error:\n        \
                 return [str(error).encode()]\n",
    );
    site.server()
        .start()
        .get("/")
        .expect_text("uwsgi.queue_get is not available in ruwsgi: set queue = SLOTS");
}
