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

/// Executes its arguments with a listening socket as descriptor 0.
const WITH_SOCKET: &str = "\
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind('zero.sock')
server.listen()
os.dup2(server.fileno(), 0)
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn skip_zero_leaves_a_socket_at_descriptor_0_alone() {
    for (skips, served) in [("false", true), ("true", false)] {
        let site = Site::of(EVALUATE);
        let server = site
            .server()
            .set("skip-zero", skips)
            .set("uwsgi-socket", site.at("app.sock"))
            .under(&["python3", "-c", WITH_SOCKET])
            .start();
        assert_eq!(value(&server, "1"), "1");
        let zero = Address::parse("zero.sock", site.path());
        assert_eq!(
            server.log().contains("zero.sock"),
            served,
            "{}",
            server.log()
        );
        if served {
            let mut connection = zero.try_connect().unwrap();
            connection.put(&get("/?2").bytes());
            connection.answer().expect_text("2");
        }
    }
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

#[test]
fn a_directory_holds_environment_variables() {
    let site = Site::of(EVALUATE);
    for (name, content) in [
        ("vars/FROM_DIR", "value\n\n"),
        ("vars/WINS", "directory"),
        ("vars/GONE", ""),
        ("vars/.hidden", "x"),
        ("early/EARLY", "early"),
        ("early/LOSES", "directory"),
    ] {
        site.write(name, content);
    }
    let server = site
        .server()
        .envvar("GONE", "there")
        .set("early-envdir", "early")
        .set("envdir", "vars")
        .set("env", "WINS=env")
        .set("env", "LOSES=env")
        .set("env", "SEEN=$(EARLY)")
        .start();
    let names = [
        "FROM_DIR", "WINS", "GONE", ".hidden", "EARLY", "LOSES", "SEEN",
    ];
    let values = names.map(|name| value(&server, &format!("os.environ.get('{name}')")));
    let expected = [
        "value",
        "directory",
        "None",
        "None",
        "early",
        "env",
        "early",
    ];
    assert_eq!(values, expected);
    if under_uwsgi() {
        return;
    }
    site.write("vars/FROM_DIR", "changed");
    server.signal(Signal::SIGHUP);
    server.eventually("the reload has read the directory", || {
        value(&server, "os.environ.get('FROM_DIR')") == "changed"
    });
}

#[test]
fn a_missing_environment_directory_prevents_the_start() {
    let refusal = Site::of(EVALUATE)
        .server()
        .set("envdir", "nowhere")
        .refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
}

#[test]
fn a_lock_is_for_one_instance() {
    let site = Site::of(EVALUATE);
    site.write("lock", "");
    let server = site.server().set("flock", site.at("lock")).start();
    let refusal = site
        .server()
        .set("socket", site.at("other.sock"))
        .set("flock", site.at("lock"))
        .refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    // workers do not keep the lock
    server.stop();
    site.server().set("flock2", site.at("lock")).start();
}

#[test]
fn an_instance_waits_for_files_and_sockets() {
    if needs_root() {
        return;
    }
    let site = Site::of(EVALUATE);
    let mut server = site
        .server()
        .set("uid", "root")
        .set("wait-for-file", site.at("awaited"))
        .set("wait-for-dir", site.at("."))
        .set("wait-for-interface", "lo")
        .spawn();
    server.eventually("it waits", || !server.log_lines("ait").is_empty());
    assert!(!site.has("app.sock") && server.exited().is_none());
    site.write("awaited", "");
    server.wait_for_workers(1);
    assert_eq!(value(&server, "1"), "1");
}

#[test]
fn an_instance_does_not_wait_for_ever() {
    if under_uwsgi() {
        return;
    }
    let refusal = Site::of(EVALUATE)
        .server()
        .set("wait-for-mountpoint", "/proc")
        .set("wait-for-socket", "/nonexistent/a.sock")
        .set("wait-for-socket-timeout", 1)
        .refused();
    assert_eq!(refusal.code, Some(1));
    let reason = "wait for /nonexistent/a.sock failed: not available after 1 s";
    assert!(refusal.log.contains(reason), "{}", refusal.log);
}

#[test]
fn code_in_the_configuration_can_be_the_application() {
    let site = Site::empty();
    let code = "application = lambda e, s: (s('200 OK', []), [__name__.encode()])[1]";
    let server = site.server().set("eval", code).start();
    server.get("/").expect_text("uwsgi_eval_config");
}

#[test]
fn a_paste_deploy_file_describes_the_application() {
    let site = Site::empty();
    site.write("paste/__init__.py", "");
    site.write(
        "paste/deploy.py",
        "def loadapp(uri):\n def app(e, s):\n  s('200 OK', [])\n  return [uri.encode()]\n return app\n",
    );
    site.write(
        "site.paste.ini",
        "[uwsgi]\nenv = FROM_PASTE=1\n[app:main]\nuse = egg:site\n",
    );
    let path = site.at("site.paste.ini");
    let server = site.server().set("paste", format!("config:{path}")).start();
    server.get("/").expect_text(&format!("config:{path}"));
    drop(server);
    let server = site.server().set("ini-paste", &path).start();
    server.get("/").expect_text(&format!("config:{path}"));
    drop(server);
    if !under_uwsgi() {
        let server = site.server().set("mount", "/x=site.paste.ini").start();
        server.get("/").expect_text(&format!("config:{path}"));
    }
}

#[test]
fn paste_without_its_package_says_what_to_install() {
    let refusal = Site::empty()
        .server()
        .set("paste", "config:/x.ini")
        .refused();
    if !under_uwsgi() {
        assert_eq!(refusal.code, Some(22));
        assert!(
            refusal.log.contains("pip install PasteDeploy"),
            "{}",
            refusal.log
        );
    }
}

#[test]
fn the_handler_of_the_graceful_signal_runs_before_harakiri() {
    if differs(
        "harakiri-graceful-signal calls the handler that the Python program has set for the signal; uWSGI sends the signal, which Python handles only between two instructions of its main thread.",
    ) {
        return;
    }
    let site = Site::of(
        r#"
import os, signal, time, threading
def say(*words):
    # print writes a line in several parts
    os.write(1, (' '.join(map(str, words)) + '\n').encode())
def handler(number, frame):
    say('handler got', number, threading.current_thread() is threading.main_thread(), frame.f_code.co_name)
signal.signal(signal.SIGABRT, handler)
def application(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        try:
            for _ in range(600):
                time.sleep(0.05)
        except BaseException as error:
            say('then', type(error).__name__)
    start_response('200 OK', [])
    return [b'ok']
"#,
    );
    for threads in [1, 3] {
        let mut server = site
            .server()
            .set("harakiri", 1)
            .set("harakiri-graceful-signal", 6)
            .set("harakiri-graceful-timeout", 5)
            .set("threads", threads)
            .start();
        let mut slow: Vec<_> = (0..threads).map(|_| server.ask(&get("/slow"))).collect();
        server.expect_log("handler got 6 True");
        server.wait_for_lines("then Harakiri", threads);
        for request in &mut slow {
            request.answer().expect(504);
        }
        if threads == 1 {
            server.wait_for_log("handler got 6 True application");
        }
        server.get("/").expect_text("ok");
    }
}

#[test]
fn harakiri_can_depend_on_the_accept_queue() {
    let site = Site::of(
        "import time\ndef application(e, s):\n time.sleep(3)\n s('200 OK', [])\n return [b'late']\n",
    );
    let server = site
        .server()
        .set("harakiri", 1)
        .set("harakiri-queue-threshold", 5)
        .start();
    server.get("/").expect_text("late");
}

#[test]
fn request_lines_of_virtual_hosts_begin_with_the_host() {
    let server = Site::of(EVALUATE).server().set("vhost", true).start();
    server.send(&get("/?1").var("HTTP_HOST", "site.example"));
    server.wait_for_log("site.example [pid: ");
}

#[test]
fn options_without_a_meaning_here_are_named_and_ignored() {
    if under_uwsgi() {
        return;
    }
    let server = Site::of(EVALUATE)
        .server()
        .set("snmp", "127.0.0.1:161")
        .set("legion", "site 225.1.1.1:4242 98 bf-cbc:secret")
        .set("subscribe-to", "127.0.0.1:7000:site.example")
        .set("never-swap", true)
        .start();
    assert_eq!(value(&server, "1"), "1");
    for name in ["snmp", "legion", "subscribe-to", "never-swap"] {
        assert_eq!(
            server.log_lines(&format!("{name} has no effect")).len(),
            1,
            "{}",
            server.log()
        );
    }
}

#[test]
fn the_interpreter_can_start_without_site() {
    let server = Site::of("import sys\ndef application(e, s):\n s('200 OK', [])\n return [str(sys.flags.no_site).encode()]\n")
        .server()
        .set("no-site", true)
        .start();
    let flag = server.get("/").expect(200).text();
    assert!(flag == "1" || under_uwsgi(), "{flag}");
}

#[test]
fn a_client_of_the_tracebacker_gets_the_stacks() {
    let site = Site::of(
        "import time\ndef wait():\n time.sleep(2)\ndef application(e, s):\n print('begun', flush=True)\n wait()\n s('200 OK', [])\n return [b'late']\n",
    );
    let server = site
        .server()
        .set("py-tracebacker", site.at("stacks"))
        .set("threads", 2)
        .start();
    server.eventually("the socket is there", || site.has("stacks1"));
    let mut request = server.ask(&get("/"));
    server.wait_for_log("begun");
    let address = Address::parse(&site.at("stacks1"), site.path());
    let (text, _) = address.try_connect().unwrap().rest();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.starts_with("*** uWSGI Python tracebacker output ***\n\nthread_id = uWSGIWorker1Core"),
        "{text}"
    );
    for frame in [
        "app.py lineno = 6 function = application line = wait()\n",
        "app.py lineno = 3 function = wait line = time.sleep(2)\n\n",
    ] {
        assert!(text.contains(frame), "{text}");
    }
    request.answer().expect_text("late");
    drop(server);
    assert!(!site.has("stacks1") || under_uwsgi());
}

#[test]
fn a_crash_raises_an_alarm() {
    let site = Site::of("import os\ndef application(e, s):\n os.kill(os.getpid(), 11)\n");
    let mut server = site
        .server()
        .set("alarm", "mail cmd:cat >> alarms")
        .set("alarm", "note log:")
        .set("alarm-segfault", "mail")
        .set("alarm-segfault", "note")
        .start();
    assert_eq!(server.get("/").body, b"");
    server.eventually("the command has read the message", || {
        !site.read("alarms").is_empty()
    });
    if !under_uwsgi() {
        let alarms = site.read("alarms");
        assert!(
            alarms.starts_with("site: process ") && alarms.contains("SIGSEGV"),
            "{alarms}"
        );
        server.expect_log("alarm note: site: process ");
    }
    server.allow_any_exit();
}

#[test]
fn a_full_accept_queue_raises_an_alarm_once() {
    if under_uwsgi() {
        return;
    }
    let site = Site::of(
        "import time\ndef application(e, s):\n time.sleep(4)\n s('200 OK', [])\n return [b'ok']\n",
    );
    let server = site
        .server()
        .set("listen", 2)
        .set("alarm", "mail cmd:cat >> alarms; echo >> alarms")
        .set("alarm-backlog", "mail")
        .set("alarm-freq", 60)
        .start();
    let first = server.ask(&get("/"));
    server.wait_for_workers(1);
    let address = server.address().clone();
    // a Unix socket refuses more connections than its queue has room for
    let waiting: Vec<_> = (0..3).map_while(|_| address.try_connect().ok()).collect();
    server.eventually("the alarm is raised", || {
        site.read("alarms").contains("app.sock is full (")
    });
    drop((first, waiting));
}

#[test]
fn an_exception_can_replace_its_worker() {
    let site = Site::of(
        "import os\ndef application(e, s):\n if e['PATH_INFO'] == '/value': raise ValueError('no')\n if e['PATH_INFO'] == '/key': raise KeyError('k')\n s('200 OK', [])\n return [str(os.getpid()).encode()]\n",
    );
    let by_value = [("reload-on-exception-value", "'k'")];
    for option in by_value.into_iter().chain(by_class()) {
        replaces_its_worker(&site, option);
    }
}

fn by_class() -> Option<(&'static str, &'static str)> {
    let is_original = differs(
        "reload-on-exception-type and -repr match the class and the repr() of an exception; in uWSGI they never match with Python 3.",
    );
    (!is_original).then_some(("reload-on-exception-type", "KeyError"))
}

fn replaces_its_worker(site: &Site, (option, exception): (&str, &str)) {
    let mut server = site.server().set(option, exception).start();
    let pid = server.get("/").expect(200).text();
    server.get("/value");
    server.expect_log("ValueError: no");
    assert_eq!(server.get("/").expect(200).text(), pid);
    server.get("/key");
    server.eventually("another worker serves", || {
        server.get("/").status == 200 && server.get("/").text() != pid
    });
}
