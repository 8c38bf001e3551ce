//! The tutorial: its commands, step by step.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::kit::*;

const TEST_PY: &str = "def application(env, start_response):\n    \
    start_response('200 OK', [('Content-Type','text/html')])\n    \
    return [b\"Hello World\"]\n";

fn test_py() -> Site {
    let site = Site::empty();
    site.write("test.py", TEST_PY);
    site
}

/// Starts a server with exactly these arguments.
fn run_typed(site: &Site, words: &[&str]) -> Server {
    let mut server = site.server().only(words).start();
    if under_uwsgi() {
        // uWSGI runs without master, vacuum and die-on-term
        server.allow_any_exit();
        server.allow_socket_file();
    }
    server
}

#[test]
fn a_file_is_served_over_http() {
    let server = run_typed(
        &test_py(),
        &[
            "--http",
            &format!(":{}", free_port()),
            "--wsgi-file",
            "test.py",
        ],
    );
    server
        .http()
        .put("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .answer()
        .expect_text("Hello World");
}

#[test]
fn a_file_is_served_behind_nginx_over_a_port() {
    let site = test_py();
    let server = run_typed(
        &site,
        &[
            "--socket",
            &format!(":{}", free_port()),
            "--wsgi-file",
            "test.py",
        ],
    );
    nginx::Nginx::before(&site, server.address())
        .get("/")
        .expect_text("Hello World");
}

#[test]
fn a_browser_at_the_uwsgi_port_gets_an_explanation() {
    if under_uwsgi() {
        return; // uWSGI closes the connection
    }
    let server = run_typed(
        &test_py(),
        &[
            "--socket",
            &format!(":{}", free_port()),
            "--wsgi-file",
            "test.py",
        ],
    );
    let request = "GET / HTTP/1.1\r\nHost: localhost:8001\r\nUser-Agent: Mozilla/5.0\r\nAccept: text/html\r\n\r\n";
    let answer = server
        .connect()
        .put(request.as_bytes())
        .answer()
        .expect(400);
    assert!(
        answer.text().contains("uwsgi") && answer.text().contains("http"),
        "{}",
        answer.text()
    );
    assert!(answer.header("Content-Type").is_some());
}

#[test]
fn a_file_is_served_behind_nginx_over_a_socket() {
    for (mode, bits) in [("666", 0o666), ("664", 0o664)] {
        let site = test_py();
        let words = [
            "--socket",
            "mysite.sock",
            "--wsgi-file",
            "test.py",
            &format!("--chmod-socket={mode}"),
        ];
        let server = run_typed(&site, &words);
        let permissions = fs::metadata(site.file("mysite.sock"))
            .unwrap()
            .permissions();
        assert_eq!(permissions.mode() & 0o777, bits);
        nginx::Nginx::before(&site, server.address())
            .get("/")
            .expect_text("Hello World");
    }
}

#[test]
fn a_typical_ini_file_is_served() {
    let site = Site::empty();
    site.write("project/__init__.py", "");
    site.write("project/wsgi.py", TEST_PY);
    let venv = venv::shared("tutorial", &system_python(), &[]);
    let ini = format!(
        "# mysite_uwsgi.ini file\r\n[uwsgi]\r\n\r\n# Django-related settings\r\n# the base directory (full path)\r\n\
         chdir           = {}\r\n# Django's wsgi file\r\nmodule          = project.wsgi\r\n\
         # the virtualenv (full path)\r\nhome            = {}\r\n\r\n# process-related settings\r\n\
         # master\r\nmaster          = true\r\n# maximum number of worker processes\r\nprocesses       = 3\r\n\
         # the socket (use the full path to be safe)\r\nsocket          = %(chdir)/mysite.sock\r\n\
         ; ... with appropriate permissions - may be needed\r\nchmod-socket    = 664\r\n\
         # clear environment on exit\r\nvacuum          = true",
        site.path().display(),
        venv.display(),
    );
    site.write("mysite_uwsgi.ini", &ini);
    let mut server = site
        .server()
        .only(&["--ini", "mysite_uwsgi.ini", "--socket", "also.sock"])
        .start();
    server.wait_for_workers(3);
    let nginx = nginx::Nginx::before(&site, &Address::Unix(site.file("mysite.sock")));
    nginx.get("/").expect_text("Hello World");
    assert_eq!(
        fs::metadata(site.file("mysite.sock"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o664
    );
    if under_uwsgi() {
        server.signal(nix::sys::signal::Signal::SIGINT);
        server.wait_for_exit();
        return;
    }
    server.stop();
    assert!(!site.has("mysite.sock"));
}

#[test]
fn an_ini_file_may_stand_alone_on_the_command_line() {
    let site = test_py();
    site.write(
        "my.ini",
        "[uwsgi]\nsocket = %d%n.sock\nwsgi-file = test.py\nmaster\n",
    );
    let mut server = site
        .server()
        .only(&["my.ini", "--socket", "app.sock"])
        .start();
    server.get("/").expect_text("Hello World");
    assert!(site.has("my.sock"), "named after the file");
    if under_uwsgi() {
        server.allow_socket_file();
        server.signal(nix::sys::signal::Signal::SIGINT);
        server.wait_for_exit();
    }
}

#[test]
fn an_active_virtual_environment_is_used() {
    if differs(
        "With an active virtual environment (its bin first in PATH) its Python is used without configuration.",
    ) {
        return;
    }
    let venv = venv::shared("tutorial", &system_python(), &[]);
    let site = Site::of(
        "import sys\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [sys.prefix.encode()]\n",
    );
    let path = format!(
        "{}:{}",
        venv.join("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let launch = site
        .server()
        .only(&["--socket", "app.sock", "--module", "app"]);
    launch
        .envvar("PATH", &path)
        .start()
        .get("/")
        .expect_text(venv.to_str().unwrap());
}
