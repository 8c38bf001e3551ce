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
                 uwsgi.cache_get\n    \
             except AttributeError as error:\n        \
                 return [str(error).encode()]\n",
    );
    site.server()
        .start()
        .get("/")
        .expect_text("uwsgi.cache_get is not available in ruwsgi");
}
