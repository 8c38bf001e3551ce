//! Options with one small effect each.

use nix::sys::signal::Signal;

use crate::kit::*;

/// Responds with the value of the expression in the query string.
const EVALUATE: &str = r#"
import os, sys, threading
from urllib.parse import unquote
def documented():
    "text"
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(eval(unquote(environ['QUERY_STRING']))).encode()]
"#;

fn value(server: &Server, expression: &str) -> String {
    server
        .get(&format!("/?{}", expression.replace(' ', "%20")))
        .expect(200)
        .text()
}

#[test]
fn show_config_prints_the_options_and_the_instance_starts() {
    let server = Site::of(EVALUATE).server().set("show-config", true).start();
    server.wait_for_log(";end of configuration");
    let log = server.log();
    for line in [
        ";uWSGI instance configuration\n[uwsgi]\n",
        "\nwsgi-file = app.py\nshow-config = true\n;end of configuration\n",
    ] {
        assert!(log.contains(line), "{log}");
    }
    assert_eq!(value(&server, "1"), "1");
}

#[test]
fn exit_on_reload_makes_a_reload_a_stop() {
    let site = Site::of(
        "import time\ndef application(e, s):\n print('begun', flush=True)\n time.sleep(1)\n s('200 OK', [])\n return [b'done']\n",
    );
    let mut server = site.server().set("exit-on-reload", true).start();
    let mut request = server.ask(&get("/"));
    server.wait_for_log("begun");
    server.signal(Signal::SIGHUP);
    request.answer().expect_text("done");
    let status = server.wait_for_exit().unwrap();
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

#[test]
fn optimize_is_the_optimization_level_of_the_interpreter_and_of_no_child() {
    let server = Site::of(EVALUATE).server().set("optimize", 2).start();
    assert_eq!(value(&server, "sys.flags.optimize"), "2");
    assert_eq!(value(&server, "documented.__doc__"), "None");
    assert_eq!(value(&server, "os.environ.get('PYTHONOPTIMIZE')"), "None");
}

#[test]
fn cpu_affinity_confines_each_worker() {
    let server = Site::of(EVALUATE)
        .server()
        .set("cpu-affinity", 1)
        .set("processes", 2)
        .start();
    let first = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let all = (0..nix::sched::CpuSet::count()).filter(|cpu| first.is_set(*cpu).unwrap());
    let all: Vec<usize> = all.collect();
    let workers = server.wait_for_workers(2);
    let mut used: Vec<usize> = workers
        .iter()
        .map(|pid| {
            let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(*pid)).unwrap();
            let cpus: Vec<usize> = all
                .iter()
                .copied()
                .filter(|cpu| set.is_set(*cpu).unwrap())
                .collect();
            assert_eq!(cpus.len(), 1, "{cpus:?}");
            cpus[0]
        })
        .collect();
    used.sort_unstable();
    let expected = if all.len() > 1 {
        all[..2].to_vec()
    } else {
        vec![all[0]; 2]
    };
    assert_eq!(used, expected);
}

#[test]
fn thread_stacksize_applies_to_the_serving_threads() {
    let server = Site::of(EVALUATE)
        .server()
        .set("thread-stacksize", 512)
        .set("threads", 4)
        .start();
    server.wait_for_workers(1);
    // the kernel's map of a thread's stack has a guard page below it
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.workers()[0])).unwrap();
    let sizes = maps.lines().filter_map(|line| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let size = |text| u64::from_str_radix(text, 16).ok();
        Some(size(to)? - size(from)?)
    });
    assert!(
        sizes.filter(|size| *size == 512 << 10).count() >= 3,
        "{maps}"
    );
    assert_eq!(value(&server, "threading.stack_size()"), "0");
}

#[test]
fn shared_import_is_done_once_also_with_lazy_apps() {
    let site = Site::of(EVALUATE);
    site.write(
        "early.py",
        "import os\npid = os.getpid()\nprint('early is imported', flush=True)\n",
    );
    let server = site
        .server()
        .set("shared-import", "early")
        .set("lazy-apps", true)
        .set("processes", 2)
        .start();
    server.wait_for_workers(2);
    if under_uwsgi() {
        // a worker that is stopped while it loads fails
        server.wait_for_lines("WSGI app 0", 2);
    }
    assert_eq!(value(&server, "'early' in sys.modules"), "True");
    assert_eq!(
        value(&server, "sys.modules['early'].pid == os.getpid()"),
        "False"
    );
    assert_eq!(server.log_lines("early is imported").len(), 1);
}

#[test]
fn a_socket_can_be_the_number_of_a_shared_one() {
    let site = Site::of(EVALUATE);
    let port = free_port();
    let server = site
        .server()
        .set("shared-socket", site.at("unused.sock"))
        .set("shared-socket", format!("127.0.0.1:{port}"))
        .set("http-socket", "=1")
        .set("socket", site.at("app.sock"))
        .start();
    assert_eq!(value(&server, "1"), "1");
    let address = Address::parse(&format!("127.0.0.1:{port}"), site.path());
    let mut client = http::Http::on(address.try_connect().unwrap());
    client.get("/?2").expect_text("2");
}

#[test]
fn a_reload_begins_in_the_forced_directory() {
    if under_uwsgi() {
        // uWSGI's own socket is closed for a moment
        return;
    }
    let site = Site::of(EVALUATE);
    site.write("next/app.py", EVALUATE);
    let server = site.server().set("force-cwd", "next").start();
    assert_eq!(
        value(&server, "os.getcwd()"),
        site.path().display().to_string()
    );
    server.signal(Signal::SIGHUP);
    server.eventually("the new generation serves in its directory", || {
        value(&server, "os.getcwd()") == site.at("next")
    });
}

#[test]
fn a_client_that_takes_nothing_is_dropped_after_so_send_timeout() {
    if under_uwsgi() {
        return;
    }
    let site = Site::of("def application(e, s):\n s('200 OK', [])\n return [b'x' * 50_000_000]\n");
    let server = site
        .server()
        .set("socket-timeout", 60)
        .set("so-send-timeout", 1)
        .start();
    let worker = server.wait_for_workers(1)[0];
    let connections = || proc::descriptors(worker);
    let before = connections();
    let client = server.ask(&get("/"));
    server.eventually("the connection is open", || connections() > before);
    server.wait_for_log("the client took nothing for 1 s (client-send-timeout)");
    server.eventually("the connection is closed", || connections() <= before);
    drop(client);
}

#[test]
fn numbers_that_uwsgi_reads_are_warnings() {
    let server = Site::of(EVALUATE)
        .server()
        .set("log-slow", "True")
        .set("disable-logging", "yes ; please")
        .set("harakiri", "30 seconds or so")
        .set("cron2", "minute=-1440,hour=-1 true")
        .start();
    assert_eq!(value(&server, "1"), "1");
    assert!(server.log_lines("GET /").is_empty());
}
