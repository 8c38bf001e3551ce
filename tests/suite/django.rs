//! A Django site behind nginx: admin, sessions, static files, uploads, streams.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::kit::connection::Address;
use crate::kit::nginx::Nginx;
use crate::kit::*;

/// The virtual environment with Django; `None` if it cannot be installed (no network).
fn venv() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| venv::shared("django", &system_python(), &["django"]))
        .clone()
}

/// A new project with a database, an administrator and static files. It belongs to www-data if the tests run as root.
fn project() -> Site {
    let site = Site::with("django");
    let manage = |words: &[&str]| {
        let python = venv().join("bin/python");
        venv::run(
            Command::new(python)
                .arg("manage.py")
                .args(words)
                .env("DJANGO_SUPERUSER_PASSWORD", "secret-enough")
                .current_dir(site.path()),
        )
    };
    manage(&["migrate", "-v", "0"]);
    manage(&[
        "createsuperuser",
        "--noinput",
        "--username",
        "admin",
        "--email",
        "a@example.com",
    ]);
    manage(&["collectstatic", "--noinput", "-v", "0"]);
    if is_root() {
        venv::run(
            Command::new("chown")
                .args(["-R", "www-data:www-data"])
                .arg(site.path()),
        );
    }
    site
}

/// Serves the project with the configuration of the tutorial.
fn serve(site: &Site) -> (Server, Nginx) {
    let launch = site
        .server()
        .set("chdir", site.path().display())
        .set("module", "mysite.wsgi")
        .set("home", venv().display())
        .set("master", "true")
        .set("processes", "2")
        .set("socket", site.at("mysite.sock"))
        .set("chmod-socket", "660")
        .set("vacuum", "true");
    let launch = if is_root() {
        launch.set("uid", "www-data").set("gid", "www-data")
    } else {
        launch
    };
    let server = launch.start();
    let more = format!("location /static {{ alias {}; }}", site.at("static"));
    let nginx = Nginx::with(
        site,
        &Address::Unix(site.file("mysite.sock")),
        "www-data",
        &more,
    );
    (server, nginx)
}

/// A client with a session.
struct Browser<'a> {
    nginx: &'a Nginx,
    cookies: Vec<(String, String)>,
}

impl Browser<'_> {
    fn cookie(&self, name: &str) -> &str {
        self.cookies
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value)
    }

    fn ask(&mut self, method: &str, uri: &str, kind: &str, body: &[u8]) -> Answer {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let head = format!(
            "{method} {uri} HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            cookies.join("; "),
            body.len()
        );
        let answer = self.nginx.http().put(head).put(body).answer();
        for (_, value) in answer
            .headers
            .iter()
            .filter(|(name, _)| name == "Set-Cookie")
        {
            let (name, rest) = value.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap().to_owned();
            self.cookies.retain(|(n, _)| n != name);
            self.cookies.push((name.to_owned(), value));
        }
        answer
    }

    fn get(&mut self, uri: &str) -> Answer {
        self.ask("GET", uri, "", b"")
    }

    fn log_in(&mut self) {
        self.get("/admin/login/").expect(200);
        let form = format!(
            "csrfmiddlewaretoken={}&username=admin&password=secret-enough&next=/admin/",
            self.cookie("csrftoken")
        );
        let answer = self.ask(
            "POST",
            "/admin/login/",
            "application/x-www-form-urlencoded",
            form.as_bytes(),
        );
        assert_eq!(answer.expect(302).header("Location"), Some("/admin/"));
    }
}

#[test]
fn a_django_site_works_behind_nginx() {
    let site = project();
    let (server, nginx) = serve(&site);
    let mut browser = Browser {
        nginx: &nginx,
        cookies: Vec::new(),
    };

    nginx.get("/").expect_text("hello from Django");
    assert!(
        nginx
            .get("/static/admin/css/base.css")
            .expect(200)
            .body
            .len()
            > 1000,
        "nginx serves the static files"
    );
    assert_eq!(
        nginx.get("/admin/").expect(302).header("Location"),
        Some("/admin/login/?next=/admin/")
    );

    browser.log_in();
    let page = browser.get("/admin/").expect(200).text();
    assert!(page.contains("Site administration"), "{page}");
    assert!(
        browser
            .get("/admin/auth/user/")
            .expect(200)
            .text()
            .contains("a@example.com")
    );
    for n in 1..=5 {
        browser.get("/count/").expect_text(&n.to_string());
    }

    let upload = vec![b'u'; 20 << 20];
    let boundary = "multipart/form-data; boundary=XXX";
    let body = [
        b"--XXX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big\"\r\n\r\n"
            .as_slice(),
        &upload,
        b"\r\n--XXX--\r\n",
    ]
    .concat();
    browser
        .ask("POST", "/upload/", boundary, &body)
        .expect_text(&upload.len().to_string());

    assert_eq!(nginx.get("/stream/").expect(200).body.len(), 1000 * 1000);
    nginx.get("/nosuch/").expect(404);
    assert_eq!(nginx.errors(), "");
    server.get("/").expect_text("hello from Django");
    if is_root() {
        nginx.get("/whoami/").expect_text("33 33");
    }
}

#[test]
fn an_exception_in_a_view_shows_the_error_page_of_django() {
    let site = project();
    let (mut server, nginx) = serve(&site);
    nginx.get("/fail/").expect(500);
    server.expect_log("ZeroDivisionError");
    nginx.get("/").expect_text("hello from Django");
}

#[test]
fn a_django_site_reloads_under_load() {
    let site = project();
    let (server, nginx) = serve(&site);
    let urls = site.read("mysite/urls.py");
    site.write(
        "mysite/urls.py",
        &urls.replace("hello from", "hello again from"),
    );
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.eventually("the new page is there", || {
        let answer = nginx.get("/");
        assert_eq!(answer.status, 200);
        answer.text() == "hello again from Django"
    });
}

#[test]
fn a_django_site_works_over_http() {
    let site = project();
    let launch = site
        .server()
        .set("module", "mysite.wsgi")
        .set("http", format!("127.0.0.1:{}", free_port()));
    let server = launch.set("home", venv().display()).start();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    server
        .http()
        .put(request)
        .answer()
        .expect_text("hello from Django");
}

#[test]
fn every_user_can_reach_the_virtual_environment() {
    assert!(reachable(&venv()), "{}", venv().display());
}
