//! The WSGI input and error streams: `wsgi.input` against `io.BytesIO`, `wsgi.errors`.

use crate::kit::*;

/// Bodies with short, long and empty lines, and without a line end.
fn bodies() -> Vec<Vec<u8>> {
    let lines = |count: usize, length: usize| {
        (0..count)
            .flat_map(|n| {
                [
                    vec![b'a' + (n % 26) as u8; (n * 7) % length.max(1)],
                    b"\n".to_vec(),
                ]
                .concat()
            })
            .collect()
    };
    vec![
        b"".to_vec(),
        b"\n".to_vec(),
        b"one line".to_vec(),
        b"one\ntwo\n\nfour".to_vec(),
        lines(200, 90),
        lines(3000, 40),
        vec![b'x'; 200_000],
        (0..100_000u32)
            .map(|n| (n.wrapping_mul(n) / 7) as u8)
            .collect(),
    ]
}

fn compare_reads(server: &Server, path: &str, seeds: std::ops::Range<u32>) {
    for body in bodies() {
        for seed in seeds.clone() {
            let answer = server
                .send(&post(&format!("{path}?{seed}"), body.clone()))
                .expect(200);
            assert_eq!(answer.text(), "agreed", "seed {seed}, {} bytes", body.len());
        }
    }
}

#[test]
fn random_reads_match_bytesio() {
    compare_reads(&Site::with("input").server().start(), "/", 0..30);
}

#[test]
fn random_reads_match_bytesio_with_post_buffering() {
    compare_reads(
        &Site::with("input")
            .server()
            .set("post-buffering", 1000)
            .start(),
        "/",
        30..40,
    );
}

#[test]
fn random_reads_of_all_kinds_of_sizes_match_bytesio() {
    if differs(
        "read(0), read(-1), readline(n) and readlines(n) of wsgi.input behave as those of files; uWSGI's read more or fail.",
    ) {
        return;
    }
    for launch in [
        Site::with("input").server(),
        Site::with("input").server().set("post-buffering", 1000),
    ] {
        compare_reads(&launch.start(), "/every", 0..20);
    }
}

#[test]
fn the_input_can_be_read_after_start_response() {
    let site = Site::of(
        "def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             yield environ['wsgi.input'].read(3)\n    \
             yield environ['wsgi.input'].read()\n    \
             yield environ['wsgi.input'].read()\n",
    );
    site.server()
        .start()
        .send(&post("/", "abcdef"))
        .expect_text("abcdef");
}

#[test]
fn the_input_can_be_read_in_another_thread() {
    let site = Site::of(
        "import threading\n\
         def application(environ, start_response):\n    \
             got = []\n    \
             reader = threading.Thread(target=lambda: got.append(environ['wsgi.input'].read()))\n    \
             reader.start()\n    \
             reader.join()\n    \
             start_response('200 OK', [])\n    \
             return got\n",
    );
    site.server()
        .set("enable-threads", "true")
        .start()
        .send(&post("/", "from afar"))
        .expect_text("from afar");
}

#[test]
fn an_input_kept_after_its_request_does_not_read_the_next_body() {
    if under_uwsgi() {
        return; // uWSGI reads the next request's body
    }
    let site = Site::of(
        "kept = []\n\
         def application(environ, start_response):\n    \
             kept.append(environ['wsgi.input'])\n    \
             start_response('200 OK', [])\n    \
             try:\n        \
                 return [repr(kept[0].read()).encode()]\n    \
             except (OSError, ValueError):\n        \
                 return [b'closed']\n",
    );
    let server = site.server().start();
    server.send(&post("/", "mine")).expect_text("b'mine'");
    let second = server.send(&post("/", "other")).expect(200).text();
    assert!(second == "b''" || second == "closed", "{second}");
}

#[test]
fn wsgi_errors_goes_to_the_log() {
    let site = Site::of(
        "def application(environ, start_response):\n    \
             errors = environ['wsgi.errors']\n    \
             errors.write('written h\\u00e9\\n')\n    \
             errors.writelines(['line one\\n', 'line two\\n'])\n    \
             print('printed', file=errors)\n    \
             errors.flush()\n    \
             start_response('200 OK', [])\n    \
             return [b'done']\n",
    );
    let server = site.server().start();
    server.get("/").expect_text("done");
    for text in ["written h\u{e9}", "line one", "line two", "printed"] {
        server.wait_for_log(text);
    }
}

#[test]
fn closing_wsgi_errors_has_no_effect() {
    if differs("Closing wsgi.errors has no effect; in uWSGI it closes the log's stream.") {
        return;
    }
    let site = Site::of(
        "def application(environ, start_response):\n    \
             errors = environ['wsgi.errors']\n    \
             errors.write('written\\n')\n    \
             with errors:\n        errors.close()\n    \
             errors.write('written after close\\n')\n    \
             start_response('200 OK', [])\n    \
             return [str(errors.closed).encode()]\n",
    );
    let server = site.server().start();
    for _ in 0..2 {
        server.get("/").expect_text("False");
    }
    server.wait_for_lines("written after close", 2);
}

#[test]
fn a_log_that_is_full_or_gone_fails_no_print() {
    if differs(
        "print() does not fail when the log's disk is full or its reader is gone; in uWSGI it raises OSError.",
    ) {
        return;
    }
    let site = Site::of(
        "import os, sys\n\
         def application(environ, start_response):\n    \
             saved = os.dup(1), os.dup(2)\n    \
             if environ['PATH_INFO'] == '/full':\n        \
                 log = os.open('/dev/full', os.O_WRONLY)\n    \
             else:\n        \
                 reader, log = os.pipe()\n        \
                 os.close(reader)\n    \
             os.dup2(log, 1), os.dup2(log, 2)\n    \
             try:\n        \
                 for stream in sys.stdout, sys.stderr, environ['wsgi.errors']:\n            \
                     print('lost' * 10000, file=stream)\n            \
                     print('lost', file=stream, flush=True)\n    \
             finally:\n        \
                 os.dup2(saved[0], 1), os.dup2(saved[1], 2)\n        \
                 for fd in saved + (log,): os.close(fd)\n    \
             print('kept ' + environ['PATH_INFO'], sys.stdout.name, sys.stdout.fileno(), flush=True)\n    \
             start_response('200 OK', [])\n    \
             return [b'done']\n",
    );
    let server = site.server().start();
    for path in ["/full", "/gone"] {
        server.get(path).expect_text("done");
        server.wait_for_log(&format!("kept {path} <stdout> 1"));
    }
    assert!(!server.log().contains("lost"));
}

#[test]
fn printed_text_goes_to_the_log_at_once() {
    let site = Site::of(
        "import sys\n\
         def application(environ, start_response):\n    \
             print('to stdout', flush=True)\n    \
             print('to stderr', file=sys.stderr)\n    \
             start_response('200 OK', [])\n    \
             return [b'done']\n",
    );
    let server = site.server().start();
    server.get("/").expect_text("done");
    server.wait_for_log("to stdout");
    server.wait_for_log("to stderr");
}

#[test]
fn the_input_has_no_descriptor() {
    if differs(
        "wsgi.input.fileno() raises io.UnsupportedOperation; uWSGI gives the descriptor of the connection, or of a file that stands at its end.",
    ) {
        return;
    }
    let site = Site::of(
        "import io\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             body = environ['wsgi.input']\n    \
             try:\n        \
                 return [b'descriptor %d' % body.fileno()]\n    \
             except io.UnsupportedOperation:\n        \
                 return [b'none, %d bytes' % len(body.read())]\n",
    );
    let server = site.server().set("post-buffering", 4096).start();
    for size in [10, 2_000_000] {
        let answer = server.send(&post("/", vec![b'x'; size])).expect(200);
        assert_eq!(answer.text(), format!("none, {size} bytes"));
    }
}
