//! Python programs beside or in place of the application, and modules under other names.

use crate::kit::*;

#[test]
fn a_module_or_a_file_has_an_alias() {
    let site = Site::of(
        "import settings, other\ndef application(e, s):\n s('200 OK', [])\n return [(settings.NAME + other.NAME).encode()]\n",
    );
    site.write("production.py", "NAME = 'production'\n");
    site.write("more/other_file.py", "NAME = ' other'\n");
    site.server()
        .set("pymodule-alias", "settings=production")
        .set(
            "pymodule-alias",
            format!("other={}", site.at("more/other_file.py")),
        )
        .start()
        .get("/")
        .expect_text("production other");
    if !under_uwsgi() {
        let refusal = site
            .server()
            .set("pymodule-alias", "settings=absent")
            .refused();
        assert!(
            refusal.log.contains("pymodule-alias = settings=absent"),
            "{}",
            refusal.log
        );
        assert_eq!(refusal.code, Some(22));
    }
}

/// A server of HTTP/1.0 that responds with the worker's id.
const OVERRIDE: &str = r#"
import os, socket, sys, uwsgi
print('argv', __name__, os.path.basename(__file__), flush=True)
server = socket.socket(fileno=os.dup(uwsgi.sockets[0]))
server.setblocking(True)
uwsgi.accepting()
while True:
    client, _ = server.accept()
    client.recv(4096)
    client.sendall(b'HTTP/1.0 200 OK\r\n\r\nworker %d' % uwsgi.worker_id())
    client.close()
"#;

#[test]
fn a_program_can_replace_the_workers() {
    if under_uwsgi() {
        return;
    }
    let site = Site::empty();
    site.write("program.py", OVERRIDE);
    let port = free_port();
    let mut server = site
        .server()
        .set("http-socket", format!("127.0.0.1:{port}"))
        .set("python-worker-override", "program.py")
        .set("processes", 2)
        .set("need-app", false)
        .spawn();
    let answer = || server.http().get("/").text();
    server.wait_for_lines("argv __main__ program.py", 2);
    server.eventually("both workers answer", || answer().starts_with("worker "));
    let before = server.workers();
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_log("reloaded: generation 2 serves");
    server.eventually("both workers are new", || {
        let now = server.workers();
        now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
    });
    assert!(answer().starts_with("worker "));
    let victim = server.workers()[0];
    let target = nix::unistd::Pid::from_raw(victim);
    nix::sys::signal::kill(target, nix::sys::signal::Signal::SIGKILL).unwrap();
    server.eventually("the worker is replaced", || {
        let now = server.workers();
        now.len() == 2 && !now.contains(&victim)
    });
    server.expect_log("SIGKILL");
    server.stop();
}

#[test]
fn a_program_that_raises_an_exception_is_started_again() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    site.write(
        "program.py",
        "import time\nprint('begun', flush=True)\ntime.sleep(0.2)\nraise ValueError('lost')\n",
    );
    let mut server = site
        .server()
        .set("python-worker-override", "program.py")
        .spawn();
    server.wait_for_lines("ValueError: lost", 2);
    server.expect_log("ValueError");
    server.expect_log("worker 1");
    server.allow_any_exit();
}

#[test]
fn a_shell_is_a_worker_once() {
    let site = Site::of(
        "import uwsgi\ndef application(e, s):\n s('200 OK', [])\n return [b'%d' % uwsgi.worker_id()]\n",
    );
    let server = site
        .server()
        .set(
            "pyshell-oneshot",
            "import uwsgi; print(f'shell in worker {uwsgi.worker_id()}')",
        )
        .spawn();
    server.wait_for_log("shell in worker 1");
    server.eventually("worker 1 serves", || server.address().try_connect().is_ok());
    server.get("/").expect_text("1");
    assert_eq!(server.log_lines("shell in worker").len(), 1);
}

#[test]
fn a_shell_reads_the_standard_input() {
    if under_uwsgi() {
        return;
    }
    use std::io::Write;
    let site = Site::of("VALUE = 6\ndef application(e, s): pass\n");
    let mut command = site.ruwsgi(&["--socket", "app.sock", "--module", "app", "--pyshell"]);
    command.stdin(std::process::Stdio::piped());
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"import app, os, signal\nprint('is', app.VALUE * 7)\nos.kill(os.getppid(), signal.SIGINT)\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("is 42"), "{text}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_script_runs_in_the_environment_of_the_instance() {
    let site = Site::empty();
    site.write("below/mine.py", "NAME = 'mine'\n");
    site.write(
        "below/script.py",
        "import atexit, mine, os, sys, uwsgi\natexit.register(print, 'at exit')\nprint(__name__, sys.argv, mine.NAME, os.environ['SITE'], uwsgi.worker_id(), uwsgi.masterpid(), uwsgi.opt['threads'].decode(), os.getcwd())\nsys.exit(3)\n",
    );
    site.write(
        "site.ini",
        "[uwsgi]\nchdir = below\nenv = SITE=blog\nsocket = app.sock\npidfile = pid\nthreads = 2\n",
    );
    let command = |words: &[&str]| {
        let output = site.command(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let (code, text) = command(&[
        "--ini",
        "site.ini",
        "--pyrun",
        "script.py",
        "--pyargv",
        "one two",
    ]);
    assert_eq!(code, Some(3), "{text}");
    let expected = format!(
        "__main__ ['script.py', 'one', 'two'] mine blog 1 0 2 {}",
        site.at("below")
    );
    assert!(text.contains(&expected), "{text}");
    if under_uwsgi() {
        return;
    }
    assert!(
        text.contains("at exit") && !site.has("below/pid") && !site.has("below/app.sock"),
        "{text}"
    );
    site.write(
        "below/broken.py",
        "def f():\n raise ValueError('no')\nf()\n",
    );
    let (code, text) = command(&["--ini", "site.ini", "--pyrun", "broken.py"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("ValueError: no") && !text.contains("<string>"),
        "{text}"
    );
    let (code, text) = command(&["--ini", "site.ini", "--py", "absent.py"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("absent.py") && text.contains("No such file"),
        "{text}"
    );
}
