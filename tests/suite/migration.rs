//! The examples of docs/migration.md: each is migrated, started unchanged, and tested with a request.

use std::path::Path;

use crate::kit::http::Http;
use crate::kit::*;

/// The application of the examples: it responds with its settings.
const BLOG: &str = "import os\n\
    def application(environ, start_response):\n    \
        start_response('200 OK', [])\n    \
        return [b'blog with ' + os.environ.get('DJANGO_SETTINGS_MODULE', 'nothing').encode()]\n";

/// The page's code blocks in this language.
fn examples(language: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.split_once('\n'));
    blocks
        .filter(|(found, _)| *found == language)
        .map(|(_, text)| text.to_owned())
        .collect()
}

/// The directories of the examples, inside a site.
struct Blog {
    site: Site,
    port: u16,
}

impl Blog {
    fn new() -> Blog {
        let site = Site::empty();
        site.write("srv/blog/blog/__init__.py", "");
        site.write("srv/blog/blog/wsgi.py", BLOG);
        let venv = venv::shared("migration", &system_python(), &[]);
        std::os::unix::fs::symlink(venv, site.file("srv/blog/venv")).unwrap();
        std::fs::create_dir(site.file("run")).unwrap();
        if is_root() {
            // www-data removes its socket there
            std::os::unix::fs::chown(site.file("run"), Some(33), Some(33)).unwrap();
        }
        Blog {
            site,
            port: free_port(),
        }
    }

    /// Replaces the page's paths by those of the site, and its port by a free one.
    fn localized(&self, text: &str) -> String {
        let user = if is_root() { "user=www-data\n" } else { "" };
        text.replace("/srv/blog", &self.site.at("srv/blog"))
            .replace("/run/blog.sock", &self.site.at("run/blog.sock"))
            .replace("127.0.0.1:8000", &format!("127.0.0.1:{}", self.port))
            .replace("user=www-data\n", user)
    }

    /// Writes the output of `ruwsgi migrate` for these arguments to a file, and starts a server with it.
    fn start_migrated(&self, from: &str, what: &str) -> Server {
        let migrated = self.site.command(&["migrate", "--from", from, what]);
        let ini = String::from_utf8(migrated.stdout).unwrap();
        assert!(migrated.status.success(), "{from}: {ini}");
        self.site.write("srv/blog/new.ini", &ini);
        let mut words = vec!["--ini", "srv/blog/new.ini"];
        if !ini.contains("\nchdir = ") {
            // started in the project's directory, like gunicorn
            words.extend(["--chdir", "srv/blog"]);
        }
        let server = self.site.server().only(&words).start();
        server.wait_for_log("ready: ");
        server
    }

    /// Requests a page over HTTP.
    #[track_caller]
    fn expect_page(&self, address: &str, part: &str) {
        let address = Address::parse(address, self.site.path());
        let mut client = Http::on(address.try_connect().unwrap());
        client.get("/").expect(200).expect_text(part);
    }
}

#[test]
fn the_uwsgi_example_runs() {
    if under_uwsgi() {
        return;
    }
    let blog = Blog::new();
    blog.site
        .write("site.ini", &blog.localized(&examples("ini")[0]));
    let server = blog.start_migrated("uwsgi", "site.ini");
    let socket = Address::parse("run/blog.sock", blog.site.path());
    let mut connection = socket.try_connect().unwrap();
    connection.put(&get("/").bytes());
    connection
        .answer()
        .expect(200)
        .expect_text("blog with nothing");
    server.stop();
}

#[test]
fn the_gunicorn_example_runs() {
    if under_uwsgi() {
        return;
    }
    let blog = Blog::new();
    let file = blog.localized(&examples("python")[0]);
    blog.site.write("gunicorn.conf.py", &file);
    let server = blog.start_migrated("gunicorn", "gunicorn.conf.py");
    blog.expect_page(
        &format!("127.0.0.1:{}", blog.port),
        "blog with blog.settings",
    );
    server.stop();
}

#[test]
fn the_gunicorn_command_line_of_the_example_runs() {
    if under_uwsgi() {
        return;
    }
    let blog = Blog::new();
    let typed = examples("console").concat();
    let words = typed
        .split('"')
        .find(|words| words.starts_with("gunicorn "));
    let server = blog.start_migrated("gunicorn", &blog.localized(words.unwrap()));
    blog.expect_page(&format!("127.0.0.1:{}", blog.port), "blog with nothing");
    server.stop();
}

#[test]
fn the_supervisor_example_runs() {
    if under_uwsgi() {
        return;
    }
    let blog = Blog::new();
    blog.site
        .write("blog.conf", &blog.localized(&examples("conf")[0]));
    let server = blog.start_migrated("supervisor", "blog.conf");
    blog.expect_page("run/blog.sock", "blog with blog.settings");
    server.stop();
}

/// Migrates an input, starts the result unchanged, and asks for a page at `address`.
#[track_caller]
fn serves(from: &str, input: &str, address: &str) {
    let blog = Blog::new();
    let log = blog.site.at("run/blog.log");
    let input = blog.localized(input).replace("/run/blog.log", &log);
    let input = input.replace("/run/blog.pid", &blog.site.at("run/blog.pid"));
    std::fs::create_dir(blog.site.file("srv/blog/tools")).unwrap();
    blog.site.write_executable(
        "srv/blog/tools/gunicorn",
        "#!/bin/sh\nexec python3 -m http.server --bind 127.0.0.1 ${2#*:}\n",
    );
    let what = match from {
        "gunicorn" if !input.contains('\n') => input,
        _ => {
            blog.site.write("input", &input);
            "input".to_owned()
        }
    };
    let migrated = blog.site.command(&["migrate", "--from", from, &what]);
    let ini = String::from_utf8(migrated.stdout).unwrap();
    assert!(migrated.status.success(), "{from} {what}: {ini}");
    // another test may have the default port
    let ini = ini.replace("127.0.0.1:8000", &format!("127.0.0.1:{}", blog.port));
    blog.site.write("srv/blog/new.ini", &ini);
    let mut words = vec!["--ini", "srv/blog/new.ini"];
    if !ini.contains("\nchdir = ") {
        words.extend(["--chdir", "srv/blog"]);
    }
    let mut server = blog.site.server().only(&words).spawn();
    if ini.contains("\ndaemonize = ") {
        assert!(server.wait_for_exit().unwrap().success());
        let pidfile = || blog.site.read("run/blog.pid");
        server.eventually("the daemon runs", || !pidfile().is_empty());
        server.adopt_daemon(pidfile().trim().parse().unwrap());
    }
    let address = Address::parse(&blog.localized(address), blog.site.path());
    server.eventually(&format!("it serves: {ini}"), || {
        address.try_connect().is_ok()
    });
    let mut client = Http::on(address.try_connect().unwrap());
    client.get("/").expect(200);
    drop(client);
    server.stop();
}

const PORT: &str = "127.0.0.1:8000";

#[test]
fn command_lines_of_gunicorn_are_served_unchanged() {
    if under_uwsgi() {
        return;
    }
    for command in [
        "gunicorn blog.wsgi",
        "gunicorn --workers=2 blog.wsgi:application",
        "gunicorn -w 4 -k gthread --threads 2 --access-logfile - blog.wsgi",
        "/srv/blog/venv/bin/gunicorn -k gevent --timeout 5 --chdir /srv/blog blog.wsgi",
    ] {
        serves("gunicorn", command, PORT);
    }
    serves(
        "gunicorn",
        "gunicorn --bind unix:/run/blog.sock blog.wsgi",
        "run/blog.sock",
    );
}

#[test]
fn configuration_files_of_gunicorn_are_served_unchanged() {
    if under_uwsgi() {
        return;
    }
    for settings in [
        "accesslog = errorlog = '/run/blog.log'\naccess_log_format = '%(h)s %(s)s %(M)sms'\n",
        "errorlog = '/run/blog.log'\naccesslog = '-'\nloglevel = 'info'\n",
    ] {
        let file = format!("wsgi_app = 'blog.wsgi'\nchdir = '/srv/blog'\n{settings}");
        serves("gunicorn", &file, PORT);
    }
    serves(
        "gunicorn",
        "wsgi_app = 'blog.wsgi'\nchdir = '/srv/blog'\ndaemon = True\npidfile = '/run/blog.pid'\n",
        PORT,
    );
    serves(
        "gunicorn",
        "wsgi_app = 'blog.wsgi'\nbind = ['unix:/run/blog.sock']\numask = 0o007\n",
        "run/blog.sock",
    );
}

#[test]
fn programs_of_supervisor_are_served_unchanged() {
    if under_uwsgi() {
        return;
    }
    let program = |command: &str| format!("[program:x]\ncommand={command}\ndirectory=/srv/blog\n");
    serves("supervisor", &program("gunicorn blog.wsgi"), PORT);
    serves(
        "supervisor",
        &program("uwsgi --http-socket 127.0.0.1:8000 --module blog.wsgi"),
        PORT,
    );
    // the stand-in of a gunicorn with uvicorn's worker
    serves(
        "supervisor",
        &program("/srv/blog/tools/gunicorn -b 127.0.0.1:8000 -k uvicorn.workers.UvicornWorker a:b"),
        PORT,
    );
    // programs that are no WSGI applications: they serve by themselves
    let other = "python3 -c \"import http.server as h; h.HTTPServer(('127.0.0.1', PORT), h.SimpleHTTPRequestHandler).serve_forever()\"";
    let port = free_port();
    let command = other.replace("PORT", &port.to_string());
    serves(
        "supervisor",
        &program(&command),
        &format!("127.0.0.1:{port}"),
    );
}

#[test]
fn an_input_of_another_kind_is_refused() {
    if under_uwsgi() {
        return;
    }
    let site = Site::empty();
    for (input, from, hint) in [
        ("[uwsgi]\nmodule = a\n", "gunicorn", "--from uwsgi input"),
        (
            "[program:a]\ncommand=gunicorn a:b\n",
            "uwsgi",
            "--from supervisor input",
        ),
        ("bind = ':80'\n", "supervisor", "--from gunicorn input"),
        (
            "[Service]\nExecStart=gunicorn a:b\n",
            "uwsgi",
            "is a unit of systemd",
        ),
    ] {
        site.write("input", input);
        let output = site.command(&["migrate", "--from", from, "input"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(hint), "{text}");
    }
}

#[test]
fn nginx_accepts_the_printed_server_blocks() {
    if under_uwsgi() {
        return;
    }
    let site = Site::empty();
    site.write(
        "uwsgi_params",
        "uwsgi_param REQUEST_METHOD $request_method;\n",
    );
    for (line, pass) in [
        ("socket = app.sock\nharakiri = 120", "uwsgi_pass unix:/"),
        ("socket = :8001", "uwsgi_pass 127.0.0.1:8001;"),
        (
            "http-socket = 127.0.0.1:8000",
            "proxy_pass http://127.0.0.1:8000;",
        ),
        ("http-socket = app.sock", "proxy_pass http://unix:/"),
    ] {
        site.write("site.ini", &format!("[uwsgi]\nmodule = a\n{line}\n"));
        let output = site.command(&["migrate", "nginx", "site.ini"]);
        let block = String::from_utf8(output.stdout).unwrap();
        assert!(block.contains(pass), "{block}");
        let at = site.at("");
        site.write(
            "nginx.conf",
            &format!("pid {at}nginx.pid;\nevents {{}}\nhttp {{\n{block}}}\n"),
        );
        let nginx = std::process::Command::new("/usr/sbin/nginx")
            .args(["-t", "-p", &at, "-e", "error.log", "-c", "nginx.conf"])
            .output()
            .unwrap();
        let text = String::from_utf8(nginx.stderr).unwrap();
        assert!(nginx.status.success(), "{text}\n{block}");
    }
    site.write("site.ini", "[uwsgi]\nmodule = a\nsocket = @name\n");
    let output = site.command(&["migrate", "nginx", "site.ini"]);
    assert!(!output.status.success());
}

#[test]
fn several_programs_of_supervisor_become_files_that_run() {
    if under_uwsgi() {
        return;
    }
    let blog = Blog::new();
    let input = "[program:blog]\ncommand=gunicorn -b 127.0.0.1:8000 blog.wsgi\ndirectory=/srv/blog\nenvironment=DJANGO_SETTINGS_MODULE=\"blog.settings\"\n[program:beat]\ncommand=sh -c 'echo beat in $PWD of $NAME; exec sleep 600'\ndirectory=/srv/blog\nenvironment=NAME=\"the, site\"\n[program:off]\ncommand=sh -c 'echo off; sleep 600'\nautostart=false\n";
    blog.site.write("site.conf", &blog.localized(input));
    let migrated = blog.site.command(&[
        "migrate",
        "--from",
        "supervisor",
        "--into",
        "srv",
        "site.conf",
    ]);
    assert_eq!(String::from_utf8_lossy(&migrated.stdout), "srv/blog.ini\n");
    let server = blog.site.server().only(&["--ini", "srv/blog.ini"]).start();
    server.wait_for_log("ready: ");
    blog.expect_page(
        &format!("127.0.0.1:{}", blog.port),
        "blog with blog.settings",
    );
    server.wait_for_log(&format!(
        "beat in {} of the, site",
        blog.site.at("srv/blog")
    ));
    assert!(!server.log().contains("off"), "{}", server.log());
    server.stop();
    let again = blog.site.command(&[
        "migrate",
        "--from",
        "supervisor",
        "--into",
        "srv",
        "site.conf",
    ]);
    let text = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        !again.status.success() && text.contains("srv/blog.ini cannot be written"),
        "{text}"
    );
}
