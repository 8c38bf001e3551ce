//! `vhost`: applications by host, and applications that the web server names.

use crate::kit::*;

/// An application that responds with a word, SCRIPT_NAME and PATH_INFO.
fn named(word: &str) -> String {
    format!(
        "def application(e, s):\n s('200 OK', [])\n return [('{word} %s %s' % (e.get('SCRIPT_NAME', ''), e['PATH_INFO'])).encode()]\n"
    )
}

fn site() -> Site {
    let site = Site::of(&named("app"));
    site.write("one.py", &named("one"));
    site.write("two.py", &named("two"));
    site
}

fn by_name(host: &str, uri: &str) -> Request {
    get(uri).var("HTTP_HOST", host)
}

#[test]
fn the_host_selects_the_application() {
    let server = site()
        .server()
        .set("vhost", true)
        .set("mount", "one.test|=one.py")
        .set("mount", "two.test|=two.py")
        .set("mount", "two.test|/x=one.py")
        .set("no-default-app", true)
        .start();
    let answer = |request: Request| server.send(&request).text();
    assert_eq!(answer(by_name("one.test", "/a")), "one  /a");
    assert_eq!(answer(by_name("two.test", "/a")), "two  /a");
    let below = by_name("two.test", "/a").var("SCRIPT_NAME", "/x");
    assert_eq!(answer(below), "one /x /a");
    if differs(
        "The host of a mount is compared without its port and without regard to case, with the Host header and then with SERVER_NAME; uWSGI compares the variable that comes last, exactly.",
    ) {
        return;
    }
    assert_eq!(answer(by_name("TWO.test:8000", "/a")), "two  /a");
    let alias = by_name("www.two.test", "/a").var("SERVER_NAME", "two.test");
    assert_eq!(answer(alias), "two  /a");
    server.send(&by_name("other.test", "/")).expect(404);
}

#[test]
fn over_http_the_host_header_selects_the_application() {
    if under_uwsgi() {
        return;
    }
    let port = free_port();
    let server = site()
        .server()
        .set("http-socket", format!("127.0.0.1:{port}"))
        .set("vhost-host", true)
        .set("manage-script-name", true)
        .set("mount", "one.test/shop=one.py")
        .set("mount", "one.test/=two.py")
        .set("module", "app")
        .start();
    let mut http = server.http();
    let mut answer = |host: &str, uri: &str| {
        http.put(format!("GET {uri} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        http.answer().expect(200).text()
    };
    assert_eq!(answer("one.test", "/shop/a"), "one /shop /a");
    assert_eq!(answer("one.test:8000", "/a"), "two  /a");
    assert_eq!(answer("other.test", "/shop/a"), "app  /shop/a");
}

#[test]
fn a_web_server_can_name_an_application_of_the_configuration_and_no_other() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    site.write("evil.py", "raise SystemExit('loaded')\n");
    let mut server = site
        .server()
        .set("vhost", true)
        .set("mount", "one.test|=one")
        .set("mount", "/two=two:application")
        .set("wsgi-file", site.at("app.py"))
        .start();
    let request = |name: &str, value: &str| {
        let request = by_name("other.test", "/a").and(name, value);
        server.send(&request.and("UWSGI_CHDIR", "/srv"))
    };
    request("UWSGI_SCRIPT", "one").expect_text("one  /a");
    request("UWSGI_SCRIPT", "two:application").expect_text("two  /a");
    request("UWSGI_MODULE", "two").expect_text("two  /a");
    request("UWSGI_FILE", &site.at("app.py")).expect_text("app  /a");
    request("UWSGI_SCRIPT", "").expect_text("app  /a");
    request("UWSGI_SCRIPT", "evil").expect(404);
    request("UWSGI_SETENV", "A=b").expect(403);
    server
        .expect_log("a request names the application evil, which the configuration does not load");
    server.expect_log("UWSGI_SETENV");
}

#[test]
fn a_host_before_a_mount_point_needs_vhost() {
    if under_uwsgi() {
        return;
    }
    let refusal = site().server().set("mount", "one.test|=one.py").refused();
    let log = refusal.log;
    assert!(
        log.contains("the mount point one.test| begins with a host; set vhost = true"),
        "{log}"
    );
}
