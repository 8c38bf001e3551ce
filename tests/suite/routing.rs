//! Internal routes. The original is often built without regular expressions, and has no routes then, so it does not
//! judge these tests.

use serde_json::Value;

use crate::kit::*;

fn start(rules: &[(&str, &str)]) -> Option<Server> {
    if under_uwsgi() {
        return None;
    }
    let mut launch = Site::with("environ").server();
    for (option, rule) in rules {
        launch = launch.set(option, rule);
    }
    Some(launch.start())
}

fn environ(server: &Server, uri: &str) -> Value {
    server.get(uri).expect(200).json()
}

#[test]
fn a_rule_answers_in_place_of_the_application() {
    let Some(server) = start(&[
        ("route", "^/break break:403 Not here"),
        ("route", "^/return return:404"),
        ("route", "^/found redirect:/new/$1"),
        (
            "route",
            "^/old/(.*) redirect-permanent:http://${HTTP_HOST}/p/$1?${QUERY_STRING}",
        ),
        ("route-user-agent", "^Evil break:403 Evil"),
        ("route-if", "equal:${PATH_INFO};/exactly break:410 Gone"),
    ]) else {
        return;
    };
    let answer = server.get("/break").expect(403);
    assert!(answer.raw.starts_with(b"HTTP/1.1 403 Not here\r\n"));
    assert_eq!(answer.text(), "");
    assert_eq!(server.get("/return").expect(404).text(), "Not Found");
    assert_eq!(
        server.get("/found").expect(302).header("Location"),
        Some("/new/")
    );
    let answer = server.get("/old/a?x=1").expect(301);
    assert_eq!(
        answer.header("Location"),
        Some("http://example.com/p/a?x=1")
    );
    server
        .send(&get("/").var("HTTP_USER_AGENT", "Evil/1"))
        .expect(403);
    server.get("/exactly").expect(410);
    server.get("/exactly/not").expect(200);
}

#[test]
fn rules_change_what_the_application_sees() {
    let Some(server) = start(&[
        ("route", r"^/rw/(\d+)/(.*)$ rewrite:/$2?id=$1"),
        ("route", "^/var addvar:FOO=bar-$0"),
        ("route", "^/sn setscriptname:/sn"),
        ("route", "^/pi setpathinfo:/other"),
        ("route", "^/address setremoteaddr:9.9.9.9"),
        ("route", "^/scheme setscheme:https"),
        ("route", "^/user setuser:joe"),
        ("route", "^/goto goto:target"),
        ("route", "^/goto addvar:FOO=skipped"),
        ("route-label", "target"),
        ("route", "^/goto addvar:BAR=reached"),
        ("route-qs", r"(^|&)q=(\w+) addvar:Q=$2"),
        ("route", "^/last last:"),
        ("route-run", "addvar:LAST=${PATH_INFO}"),
    ]) else {
        return;
    };
    let seen = environ(&server, "/rw/7/foo?z=9");
    assert_eq!(seen["PATH_INFO"], "/foo");
    assert_eq!(seen["QUERY_STRING"], "id=7&z=9");
    assert_eq!(seen["LAST"], "/foo");
    assert_eq!(environ(&server, "/var")["FOO"], "bar-/var");
    assert_eq!(environ(&server, "/sn")["SCRIPT_NAME"], "/sn");
    assert_eq!(environ(&server, "/pi")["PATH_INFO"], "/other");
    assert_eq!(environ(&server, "/address")["REMOTE_ADDR"], "9.9.9.9");
    assert_eq!(environ(&server, "/scheme")["wsgi.url_scheme"], "https");
    assert_eq!(environ(&server, "/user")["REMOTE_USER"], "joe");
    let seen = environ(&server, "/goto?q=abc");
    assert_eq!(
        (&seen["FOO"], &seen["BAR"], &seen["Q"]),
        (&Value::Null, &"reached".into(), &"abc".into())
    );
    assert_eq!(environ(&server, "/last")["LAST"], Value::Null);
}

#[test]
fn rules_change_the_headers_of_the_response() {
    let Some(server) = start(&[
        (
            "route",
            "^/changed addheader:X-Route: $0 ${REQUEST_METHOD} ${cookie[c]}",
        ),
        ("route", "^/changed delheader:Content-Type"),
        ("route", "^/expires expires:60"),
    ]) else {
        return;
    };
    let answer = server
        .send(&get("/changed").var("HTTP_COOKIE", "a=1; c=2"))
        .expect(200);
    assert_eq!(answer.header("X-Route"), Some("/changed GET 2"));
    assert_eq!(answer.header("Content-Type"), None);
    let answer = server.get("/other").expect(200);
    assert_eq!(answer.header("X-Route"), None);
    assert!(answer.header("Content-Type").is_some());
    let answer = server.get("/expires").expect(200);
    assert!(
        answer
            .header("Expires")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
}

#[test]
fn a_rule_demands_a_password() {
    let Some(server) = start(&[("route", "^/private basicauth:My Realm,foo:bar")]) else {
        return;
    };
    let answer = server.get("/private").expect(401);
    assert_eq!(
        answer.header("WWW-Authenticate"),
        Some("Basic realm=\"My Realm\"")
    );
    let with = |password| get("/private").var("HTTP_AUTHORIZATION", password);
    server.send(&with("Basic Zm9vOmJheg==")).expect(401);
    let seen = server.send(&with("Basic Zm9vOmJhcg==")).expect(200).json();
    assert_eq!(seen["REMOTE_USER"], "foo");
    server.get("/public").expect(200);
}

#[test]
fn no_other_spelling_of_a_path_leads_around_a_rule() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("environ");
    site.write("www/private/f.txt", "secret");
    site.write("www/public.txt", "public");
    let server = site
        .server()
        .set("check-static", site.at("www"))
        .set("mount", "/app=app.py")
        .set("manage-script-name", "true")
        .set("route", "^/private basicauth:Realm,foo:bar")
        .set("route", "^/admin/$ basicauth:Realm,foo:bar")
        .start();
    server.get("/public.txt").expect_text("public");
    for path in [
        "/private/f.txt",
        "/app/private/f.txt",
        "/admin/",
        "/app/admin/",
        "/admin/\n",
    ] {
        server.send(&get("/").var("PATH_INFO", path)).expect(401);
    }
    for path in ["//private/f.txt", "/./private/f.txt", "/x/../private/f.txt"] {
        let answer = server.send(&get("/").var("PATH_INFO", path));
        assert!(!answer.text().contains("secret"), "{path}");
    }
    let seen = server.get("/app/other").expect(200).json();
    assert_eq!(
        (&seen["SCRIPT_NAME"], &seen["PATH_INFO"]),
        (&"/app".into(), &"/other".into())
    );
}

#[test]
fn rules_choose_what_is_logged() {
    let Some(server) = start(&[
        ("route", "^/quiet donotlog:"),
        (
            "final-route-status",
            "^200 log:answered ${PATH_INFO} ${uwsgi[status]}",
        ),
        ("final-route", "^/silent donotlog:"),
    ]) else {
        return;
    };
    for uri in ["/quiet", "/silent", "/loud"] {
        server.get(uri).expect(200);
    }
    server.wait_for_log("GET /loud");
    server.wait_for_log("answered /silent 200");
    assert!(
        server.log_lines("GET /quiet").is_empty() && server.log_lines("GET /silent").is_empty()
    );
}

#[test]
fn rules_apply_to_http_with_keep_alive_and_threads() {
    if under_uwsgi() {
        return;
    }
    let server = Site::with("environ")
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("threads", 2)
        .set("route", "^/no break:403 No")
        .set("route", "^/yes addvar:SEEN=yes")
        .start();
    let mut client = server.http();
    for _ in 0..3 {
        client.get("/no").expect(403);
        assert_eq!(client.get("/yes").expect(200).json()["SEEN"], "yes");
        assert_eq!(client.get("/other").expect(200).json()["SEEN"], Value::Null);
    }
}

#[test]
fn a_wrong_rule_is_refused_with_its_line() {
    if under_uwsgi() {
        return;
    }
    for (option, rule, part) in [
        ("route", "^/x cgi:/tmp", "the action cgi is not supported"),
        ("route", "( break:403", "regular expression"),
        ("route-if", "equal:x break:403", "two arguments"),
        ("route", "^/ goto:nowhere", "goto:nowhere leads nowhere"),
    ] {
        let refused = Site::with("environ").server().set(option, rule).refused();
        assert!(refused.log.contains(part), "{}", refused.log);
    }
}
