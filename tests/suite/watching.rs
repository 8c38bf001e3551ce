//! Watched files: `fs-reload`, `fs-brutal-reload`, `py-autoreload`.

use crate::kit::*;

/// An application of two files that responds with the text in the second one.
fn site() -> Site {
    let site = Site::empty();
    site.write(
        "app.py",
        "import part\ndef application(environ, start_response):\n\
         \x20   if environ['PATH_INFO'] == '/later':\n\
         \x20       import later\n\
         \x20   start_response('200 OK', [])\n\
         \x20   return [part.TEXT]\n",
    );
    site.write("later.py", "x = 1\n");
    write_part(&site, "one");
    site
}

fn write_part(site: &Site, text: &str) {
    site.write("part.py", &format!("TEXT = b'{text}'\n"));
}

/// The body of the response; empty if a brutal reload has cut it off.
fn answer(server: &Server) -> String {
    use std::io::{Read, Write};
    let mut answer = Vec::new();
    if let Ok(mut connection) = server.address().try_connect()
        && connection.write_all(&get("/").bytes()).is_ok()
    {
        let _ = connection.read_to_end(&mut answer);
    }
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
    body.unwrap_or_default().to_owned()
}

#[track_caller]
fn wait_for_answer(server: &Server, text: &str) {
    server.eventually(&format!("the response is {text}"), || {
        answer(server) == text
    });
}

#[test]
fn a_change_in_a_watched_directory_or_file_is_one_reload() {
    if differs(
        "fs-reload waits until the files stop changing, then starts the new generation beside the old one.",
    ) {
        return;
    }
    for (watched, option) in [
        (".", "fs-reload"),
        ("part.py", "fs-reload"),
        ("part.py", "fs-brutal-reload"),
    ] {
        let site = site();
        let server = site
            .server()
            .set("pythonpath", ".")
            .set(option, watched)
            .start();
        server.get("/").expect_text("one");
        write_part(&site, "two");
        wait_for_answer(&server, "two");
        write_part(&site, "three");
        wait_for_answer(&server, "three");
        server.stop();
    }
}

#[test]
fn a_directory_that_cannot_be_watched_is_reported() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let mut server = site
        .server()
        .set("pythonpath", ".")
        .set("fs-reload", "missing/dir")
        .start();
    server.expect_log("missing/dir cannot be watched (fs-reload)");
    server.stop();
}

#[test]
fn an_edit_of_a_loaded_module_is_a_reload() {
    if differs(
        "With py-autoreload the old generation serves until the new one is ready, and keeps serving when the new code cannot be loaded.",
    ) {
        return;
    }
    let site = site();
    let mut server = site
        .server()
        .set("pythonpath", ".")
        .set("py-autoreload", "1")
        .start();
    server.get("/").expect_text("one");
    write_part(&site, "two");
    wait_for_answer(&server, "two");
    // a module that a request imported later
    server.eventually("an edit of it is a reload", || {
        // a worker of the old generation may answer the first requests
        server.get("/later").expect(200);
        site.write("later.py", "x = 2\n");
        server.log().contains("later.py was changed: reloading")
    });
    // a module that fails to load, through a file that only the failed generation has imported
    site.write("new.py", "raise RuntimeError('broken on purpose')\n");
    site.write("part.py", "import new\nTEXT = b'three'\n");
    server.expect_log("broken on purpose");
    server.get("/").expect_text("two");
    site.write("new.py", "x = 1\n");
    wait_for_answer(&server, "three");
    server.stop();
}

#[test]
fn an_ignored_module_is_not_watched() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let server = site
        .server()
        .set("pythonpath", ".")
        .set("py-auto-reload", "1")
        .set("py-auto-reload-ignore", "part")
        .start();
    write_part(&site, "two");
    // the edit of the other file triggers a reload; the ignored one does not
    site.write("app.py", &(site.read("app.py") + "# edited\n"));
    wait_for_answer(&server, "two");
    server.wait_for_log("app.py was changed: reloading");
    assert!(!server.log().contains("part.py was changed"));
    server.stop();
}
