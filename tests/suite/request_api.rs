//! The module uwsgi: functions for the current request, for waiting and for calls by name.

use crate::kit::*;

/// A site whose application runs the line `code` before it answers with the value of `found`.
fn site_with(code: &str) -> Site {
    let code = code.replace('\n', "\n    ");
    Site::of(&format!(
        "import os, select, socket, time, uwsgi\n\
         def application(environ, start_response):\n    \
             found = None\n    \
             {code}\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             return [repr(found).encode()]\n"
    ))
}

#[test]
fn an_application_gets_the_descriptor_of_its_connection() {
    let site = site_with(
        "fd = uwsgi.connection_fd()\n\
         known = socket.socket(fileno=os.dup(fd))\n\
         known.getpeername()\n\
         found = [uwsgi.is_connected(fd), uwsgi.is_connected(9999)]",
    );
    site.server().start().get("/").expect_text("[True, False]");
}

#[test]
fn a_response_ends_at_disconnect_and_the_application_goes_on() {
    let site = Site::of(
        "import os, time, uwsgi\n\
         def body():\n    \
             yield b'the answer'\n    \
             uwsgi.disconnect()\n    \
             while not os.path.exists('gate'):\n        \
                 time.sleep(0.005)\n    \
             open('ran', 'w').close()\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             return body()\n",
    );
    for http in [false, true] {
        let address = format!("127.0.0.1:{}", free_port());
        let launch = site.server().set("socket", "app.sock");
        let server = launch
            .set("http-socket", &address)
            .set("processes", 2)
            .start();
        if http {
            let mut client = Address::parse(&address, site.path()).try_connect().unwrap();
            client.put(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let (answer, _) = client.rest();
            assert!(String::from_utf8_lossy(&answer).contains("the answer"));
        } else {
            server.get("/").expect_text("the answer");
        }
        assert!(!site.has("ran"));
        site.write("gate", "");
        server.eventually("the application has gone on", || site.has("ran"));
        for name in ["gate", "ran"] {
            std::fs::remove_file(site.file(name)).unwrap();
        }
    }
}

#[test]
fn a_body_is_read_in_parts() {
    if differs(
        "uwsgi.chunked_read and chunked_read_nb return the body in parts of up to 64 KiB, also if the client has not sent \
         it in chunks; the body is complete before the application is called, so they do not wait.",
    ) {
        return;
    }
    let site = site_with(
        "parts = iter(uwsgi.chunked_read, b'')\n\
         found = [len(part) for part in parts] + [uwsgi.chunked_read_nb()]",
    );
    let server = site.server().start();
    let body = vec![b'x'; 100_000];
    server
        .send(&post("/", body))
        .expect_text("[65536, 34464, b'']");
}

#[test]
fn sendfile_sends_a_part_of_a_file() {
    let site = Site::of(
        "import uwsgi\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             assert uwsgi.sendfile('data', 0, 2, 5) is True\n    \
             return []\n",
    );
    site.write("data", "0123456789");
    site.server().start().get("/").expect_text("23456");
}

#[test]
fn an_application_sets_the_deadline_of_a_request() {
    if differs(
        "A request that exceeds the deadline of uwsgi.set_user_harakiri gets a 504 and the exception uwsgi.Harakiri.",
    ) {
        return;
    }
    let site = site_with(
        "if environ['PATH_INFO'] == '/hang':\n    \
             uwsgi.set_user_harakiri(1)\n    \
             time.sleep(1000)\n\
         if environ['PATH_INFO'] == '/long':\n    \
             uwsgi.set_user_harakiri(1)\n    \
             uwsgi.set_user_harakiri(0)\n    \
             time.sleep(2)\n    \
             found = 'long'",
    );
    for threads in [1, 2] {
        let mut server = site.server().set("threads", threads).start();
        server.expect_log("");
        server.get("/long").expect_text("'long'");
        server.get("/hang").expect(504);
        server.wait_for_log("GET /hang from 127.0.0.1: aborted after 1.");
        server.get("/").expect_text("None");
    }
}

#[test]
fn the_request_log_shows_variables_of_the_application() {
    let site = site_with(
        "uwsgi.set_logvar('colour', 'green'); uwsgi.set_logvar(b'shape', b'big')\n\
         uwsgi.set_logvar('colour', 'blue')\n\
         found = [uwsgi.get_logvar('colour'), uwsgi.get_logvar(b'none'), uwsgi.add_var('ROLE', 'admin')]",
    );
    let format = "colour=%(colour) shape=%(shape) role=%(var.ROLE)";
    let server = site.server().set("log-format", format).start();
    server.get("/").expect_text("[b'blue', None, True]");
    server.wait_for_log("colour=blue shape=big role=admin");
}

#[test]
fn a_thread_waits_for_descriptors_and_time() {
    if differs(
        "uwsgi.wait_fd_read, wait_fd_write, suspend, ready_fd and async_sleep work without async mode: suspend and ready_fd \
         block the thread until a registered descriptor is ready.",
    ) {
        return;
    }
    let site = site_with(
        "ours, theirs = socket.socketpair()\n\
         uwsgi.wait_fd_read(ours.fileno(), 1)\n\
         found = [uwsgi.suspend(), uwsgi.ready_fd()]\n\
         theirs.send(b'x')\n\
         uwsgi.wait_fd_read(ours.fileno(), 60); uwsgi.wait_fd_write(theirs.fileno())\n\
         found += [uwsgi.ready_fd() in (ours.fileno(), theirs.fileno()), uwsgi.async_sleep(0.01), uwsgi.suspend()]\n\
         found += [uwsgi.async_sleep(-1), uwsgi.async_sleep(float('nan'))]\n\
         for seconds in (1e19, 1e30, float('inf')):\n    \
             try:\n        \
                 uwsgi.async_sleep(seconds)\n    \
             except OverflowError:\n        \
                 found.append('too long')",
    );
    let server = site.server().start();
    server
        .get("/")
        .expect_text("[True, -1, True, b'', True, b'', b'', 'too long', 'too long', 'too long']");
}

#[test]
fn functions_are_called_by_their_names() {
    if differs(
        "uwsgi.register_rpc, call, rpc and rpc_list need no plugin, and call functions of the calling process only.",
    ) {
        return;
    }
    let site = site_with(
        "uwsgi.register_rpc('join', lambda *all: b'-'.join(all))\n\
         uwsgi.register_rpc('none', lambda: None)\n\
         found = [uwsgi.call('join', 'a', b'b'), uwsgi.rpc(None, b'none'), uwsgi.rpc_list()]\n\
         for call in (lambda: uwsgi.call('nope'), lambda: uwsgi.rpc('host:1', 'join')):\n    \
             try:\n        \
                 call()\n    \
             except ValueError as error:\n        \
                 found.append(str(error)[:36])",
    );
    let server = site.server().start();
    let refused = "'unable to call rpc function: nope is', 'unable to call rpc function: ruwsgi '";
    server
        .get("/")
        .expect_text(&format!("[b'a-b', b'', (b'join', b'none'), {refused}]"));
}

#[test]
fn a_hook_runs_after_each_request() {
    let site = Site::of(
        "import uwsgi\n\
         def after():\n    \
             open('after', 'a').write('x')\n\
         uwsgi.after_req_hook = after\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [b'ok']\n",
    );
    for threads in [1, 2] {
        let server = site.server().set("threads", threads).start();
        for _ in 0..3 {
            server.get("/").expect_text("ok");
        }
        server.eventually("the hook has run", || site.read("after") == "xxx");
        std::fs::remove_file(site.file("after")).unwrap();
    }
}

#[test]
fn an_application_knows_its_instance() {
    let site = site_with(
        "one = uwsgi.workers()[0]\n\
         rss, vsz = uwsgi.mem()\n\
         found = [len(uwsgi.workers()), one['id'], one['status'] in (b'idle', b'busy'), one['apps'][0]['mountpoint'],\n    \
                  vsz >= rss > 0, abs(uwsgi.micros() / 1e6 - time.time()) < 60, uwsgi.accepting(), uwsgi.ready(),\n    \
                  uwsgi.cl(), uwsgi.env is environ or uwsgi.env == environ, uwsgi.parsefile('/nowhere'), uwsgi.loop]",
    );
    let server = site.server().set("processes", 2).start();
    let expected = "[2, 1, True, b'', True, True, None, True, 0, True, None, None]";
    server.eventually("both workers are known", || {
        server.get("/").text().starts_with("[2")
    });
    server.get("/").expect_text(expected);
}

#[test]
fn a_request_is_needed() {
    if differs("A function for the current request raises a RuntimeError outside of a request.") {
        return;
    }
    let site = Site::of(
        "import threading, uwsgi\n\
         found = []\n\
         def attempt():\n    \
             try:\n        \
                 uwsgi.connection_fd()\n    \
             except RuntimeError as error:\n        \
                 found.append(str(error))\n\
         attempt()\n\
         def application(environ, start_response):\n    \
             thread = threading.Thread(target=attempt)\n    \
             thread.start()\n    \
             thread.join()\n    \
             start_response('200 OK', [])\n    \
             return ['; '.join(found).encode()]\n",
    );
    let text = "uwsgi.connection_fd works within a request only";
    site.server()
        .start()
        .get("/")
        .expect_text(&format!("{text}; {text}"));
}
