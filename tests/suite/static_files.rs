//! Static files: resolution beneath the directories, conditional requests, ranges, compressed variants.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kit::*;

const APP: &str = r#"
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'app ' + environ['PATH_INFO'].encode('latin-1')]
"#;

/// The modification time of the files, and its text.
const MODIFIED: u64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

fn set_time(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(MODIFIED);
    file.set_modified(time).unwrap();
}

/// A site with files below `pub` and a secret outside.
fn site() -> Site {
    let site = Site::of(APP);
    for (name, text) in [
        ("pub/css/a.css", "body{}"),
        ("pub/index.html", "root index"),
        ("pub/dir/index.html", "dir index"),
        ("pub/empty.txt", ""),
        ("pub/nine.bin", "0123456789"),
        ("pub/plain", "no extension"),
        ("pub/run.php", "php"),
        ("secret/s.txt", "SECRET"),
        ("safe/s.txt", "safe text"),
    ] {
        site.write(name, text);
        set_time(&site.file(name));
    }
    symlink("css/a.css", site.file("pub/in.css")).unwrap();
    symlink("css", site.file("pub/in")).unwrap();
    symlink(site.file("pub/css/a.css"), site.file("pub/absolute.css")).unwrap();
    symlink("../secret", site.file("pub/out")).unwrap();
    symlink("../secret/s.txt", site.file("pub/out.txt")).unwrap();
    symlink("../safe", site.file("pub/safe")).unwrap();
    symlink("loop", site.file("pub/loop")).unwrap();
    site
}

fn is_app(answer: &Answer) -> bool {
    answer.body.starts_with(b"app ")
}

/// The names of the headers, sorted.
fn names(answer: &Answer) -> Vec<String> {
    let names = answer.headers.iter().map(|(name, _)| name.to_lowercase());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn files_are_served_in_place_of_the_application() {
    let site = site();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set(
            "static-map",
            format!("/favicon.css={}", site.at("pub/css/a.css")),
        )
        .start();
    for uri in [
        "/static/css/a.css",
        "/static/css/a.css?v=1",
        "/static/in/a.css",
        "/static/in.css",
        "/static/absolute.css",
        "/static//css///a.css",
        "/static/css/../css/./a.css",
        "/favicon.css",
    ] {
        let answer = server.get(uri).expect_text("body{}");
        assert_eq!(answer.header("Content-Type"), Some("text/css"), "{uri}");
        assert_eq!(answer.header("Content-Length"), Some("6"), "{uri}");
        assert_eq!(answer.header("Last-Modified"), Some(DATE), "{uri}");
    }
    let answer = server.get("/static/plain").expect_text("no extension");
    assert_eq!(answer.header("Content-Type"), None);
    server.get("/static/empty.txt").expect_text("");
    let head = server.send(&Request::new("HEAD", "/static/css/a.css"));
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    assert_eq!(head.header("Content-Length"), Some("6"));
    for uri in [
        "/",
        "/static",
        "/static/",
        "/static/css",
        "/static/css/",
        "/static/none.css",
        "/static/css/a.css/",
        "/static/css/a.css/x",
        "/static/loop",
        "/css/a.css",
    ] {
        assert!(is_app(&server.get(uri)), "{uri}");
    }
    assert!(is_app(&server.get("/favicon.css/")) || under_uwsgi());
    assert!(is_app(&server.send(&post("/static/css/a.css", "x"))));
}

#[test]
fn a_prefix_ends_at_a_slash() {
    if differs(
        "static-map = /static=DIR applies to /static and to paths below it; in uWSGI also to /staticx.",
    ) {
        return;
    }
    let server = site().server().set("static-map", "/static=pub").start();
    assert!(is_app(&server.get("/staticx/css/a.css")));
    assert!(is_app(&server.get("/staticcss/a.css")));
    server.get("/static/css/a.css").expect_text("body{}");
}

#[test]
fn files_are_served_over_one_http_connection() {
    let site = site();
    let server = site
        .server()
        .set("http11-socket", format!("127.0.0.1:{}", free_port()))
        .set("static-map", "/static=pub")
        .start();
    if under_uwsgi() {
        return;
    }
    let mut client = server.http();
    for _ in 0..250 {
        let answer = client.get("/static/css/a.css").expect_text("body{}");
        let expected = [
            "accept-ranges",
            "content-length",
            "content-type",
            "date",
            "etag",
            "last-modified",
        ];
        assert_eq!(names(&answer), expected);
    }
    client.get("/x").expect_text("app /x");
    client.put("HEAD /static/css/a.css HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.answer_to("HEAD");
    assert_eq!(head.header("Content-Length"), Some("6"));
    client
        .put("GET /static/css/a.css HTTP/1.1\r\nHost: h\r\n\r\nGET /y HTTP/1.1\r\nHost: h\r\n\r\n");
    client.answer().expect_text("body{}");
    client.answer().expect_text("app /y");
}

#[test]
fn directories_are_searched_in_order() {
    let site = site();
    for (name, text) in [
        ("check/x", "check"),
        ("one/x", "map"),
        ("one/y", "map"),
        ("two/m/x", "map2"),
        ("two/m/y", "map2"),
        ("two/m/z", "map2"),
        ("docroot/m/z", "docroot"),
        ("docroot/m/w", "docroot"),
        ("check/m/x", "check"),
    ] {
        site.write(name, text);
    }
    let server = site
        .server()
        .set("check-static-docroot", "true")
        .set("static-map2", "/m=two")
        .set("static-map", "/m=missing")
        .set("static-map", "/m=one")
        .set("check-static", "check")
        .start();
    let ask = |uri: &str| server.send(&get(uri).var("DOCUMENT_ROOT", site.at("docroot")));
    for (uri, text) in [
        ("/m/x", "check"),
        ("/m/y", "map"),
        ("/m/z", "map2"),
        ("/m/w", "docroot"),
        ("/x", "check"),
        ("/y", "app /y"),
    ] {
        ask(uri).expect_text(text);
    }
}

/// The file that a path below the root leads to, if it may be served: the segments are resolved as in a URL, then links
/// are followed by the file system.
fn expected_file(root: &Path, below: &str) -> Option<PathBuf> {
    let mut segments: Vec<&str> = Vec::new();
    for segment in below.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            name => segments.push(name),
        }
    }
    let ends = below.rsplit('/').next().unwrap_or_default();
    if matches!(ends, "" | "." | "..") {
        return None;
    }
    let real = fs::canonicalize(root.join(segments.join("/"))).ok()?;
    let root = fs::canonicalize(root).unwrap();
    (real.starts_with(root) && real.is_file()).then_some(real)
}

/// All paths of up to three of these segments: 9 + 81 + 729 of them.
fn paths() -> Vec<String> {
    const SEGMENTS: [&str; 9] = [
        "css", "a.css", "in", "in.css", "out", "..", ".", "", "s.txt",
    ];
    let mut all = Vec::new();
    for first in SEGMENTS {
        all.push(first.to_owned());
        for second in SEGMENTS {
            all.push(format!("{first}/{second}"));
            for third in SEGMENTS {
                all.push(format!("{first}/{second}/{third}"));
            }
        }
    }
    all
}

#[test]
fn no_path_leads_out_of_the_directory() {
    let site = site();
    let server = site.server().set("static-map", "/static=pub").start();
    let root = site.file("pub");
    let mut served = 0;
    for below in paths() {
        let path = format!("/static/{below}");
        let answer = server.send(&get("/").var("PATH_INFO", &path)).expect(200);
        assert!(!answer.text().contains("SECRET"), "{path}");
        // uWSGI resolves .. after symbolic links
        if under_uwsgi() && below.contains("..") {
            continue;
        }
        match expected_file(&root, &below) {
            Some(file) => {
                assert_eq!(answer.body, fs::read(file).unwrap(), "{path}");
                served += 1;
            }
            None => assert!(is_app(&answer), "{path}"),
        }
    }
    assert!(served > 15, "{served}");
}

#[test]
fn hostile_paths_go_to_the_application() {
    let site = site();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("check-static", "pub")
        .start();
    let long = "a/".repeat(3000);
    let name = "a".repeat(300);
    for path in [
        "/static/../secret/s.txt",
        "/static/../../secret/s.txt",
        "/static/css/../../secret/s.txt",
        "/static/..",
        "/static/out/s.txt",
        "/static/out.txt",
        "/out.txt",
        "/../secret/s.txt",
        "../secret/s.txt",
        "static/../secret/s.txt",
        "",
        "..",
        "/static/css/a.css\0",
        "/static/css/a.css\0.txt",
        "\0",
        "/static/%2e%2e/secret/s.txt",
        "/static/..%2fsecret/s.txt",
        "/static/..\\secret\\s.txt",
        "/static/\u{202e}",
        "/static//proc/self/environ",
        "//etc/passwd",
        "/static/css/a.css ",
        "/static/css/a.css.",
        "/static/css\n/a.css",
        &format!("/static/{long}"),
        &format!("/static/{name}"),
    ] {
        if under_uwsgi() && path.contains('\0') {
            continue;
        }
        let answer = server.send(&get("/").var("PATH_INFO", path)).expect(200);
        assert!(is_app(&answer), "{path:?}: {}", answer.text());
    }
}

#[test]
fn names_are_bytes() {
    let site = site();
    for name in [
        &b"caf\xe9.css"[..],
        b"caf\xc3\xa9.css",
        b"a b%20c.css",
        b"new\nline.css",
        b"..css",
        b"...",
        b"-",
        b"a\\b.css",
        b"\"q'.css",
        b"?.css",
        b"#.css",
    ] {
        let path = site.file("pub").join(std::ffi::OsStr::from_bytes(name));
        fs::write(path, name).unwrap();
    }
    let server = site
        .server()
        .set("socket", "app.sock")
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("static-map", "/static=pub")
        .start();
    let ask = |name: &[u8]| {
        let path = [b"/static/", name].concat();
        server.send(&get("/").var("PATH_INFO", path)).expect(200)
    };
    for name in [
        &b"caf\xe9.css"[..],
        b"new\nline.css",
        b"..css",
        b"...",
        b"-",
    ] {
        assert_eq!(ask(name).body, name);
    }
    let mut client = server.http();
    for (uri, name) in [
        ("caf%E9.css", &b"caf\xe9.css"[..]),
        ("caf%C3%A9.css", b"caf\xc3\xa9.css"),
        ("a%20b%2520c.css", b"a b%20c.css"),
        ("new%0Aline.css", b"new\nline.css"),
        ("a%5Cb.css", b"a\\b.css"),
        ("%22q'.css", b"\"q'.css"),
        ("%3F.css?x", b"?.css"),
        ("%23.css", b"#.css"),
    ] {
        if under_uwsgi() {
            // it closes the connection after each response
            client = server.http();
        }
        assert_eq!(client.get(&format!("/static/{uri}")).body, name, "{uri}");
    }
}

#[test]
fn links_lead_only_to_safe_directories() {
    let site = site();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("static-safe", site.at("safe"))
        .start();
    server.get("/static/safe/s.txt").expect_text("safe text");
    assert!(is_app(&server.get("/static/out/s.txt")));
    assert!(is_app(&server.get("/static/safe/../../safe/s.txt")) || under_uwsgi());
    let line = match under_uwsgi() {
        true => "is not under",
        false => "which is not below",
    };
    server.wait_for_log(line);
    assert!(server.log_lines(line)[0].contains("secret/s.txt"));
}

#[test]
fn special_files_are_not_served() {
    if differs("Only regular files are served as static files; uWSGI also opens FIFOs and devices.")
    {
        return;
    }
    let site = site();
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o644);
    nix::unistd::mkfifo(&site.file("pub/fifo"), mode).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.file("pub/socket")).unwrap();
    symlink("/dev/zero", site.file("pub/zero")).unwrap();
    symlink("/proc/self/environ", site.file("pub/environ")).unwrap();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("static-safe", "/dev")
        .start();
    for name in ["fifo", "socket", "zero", "environ", "css"] {
        let answer = server.get(&format!("/static/{name}"));
        assert!(is_app(&answer), "{name}");
    }
}

#[test]
fn a_link_that_changes_never_leads_out() {
    let site = site();
    let server = site.server().set("static-map", "/static=pub").start();
    let (link, aside) = (site.file("pub/race"), site.file("pub/race.new"));
    symlink("css", &link).unwrap();
    let done = AtomicBool::new(false);
    let requests = load::scaled(400, 20_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in ["../secret", "css"].into_iter().cycle() {
                symlink(target, &aside).unwrap();
                fs::rename(&aside, &link).unwrap();
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..requests {
            let inside = server.get("/static/race/a.css").expect(200);
            assert!(inside.text() == "body{}" || is_app(&inside));
            assert!(is_app(&server.get("/static/race/s.txt").expect(200)));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_directory_that_appears_or_is_replaced_is_found() {
    if differs(
        "A directory of static files that is created or replaced later is found; uWSGI resolves its path once.",
    ) {
        return;
    }
    let site = site();
    let server = site.server().set("static-map", "/static=later").start();
    assert!(is_app(&server.get("/static/a")));
    site.write("later/a", "first");
    server.get("/static/a").expect_text("first");
    site.write("next/a", "second");
    site.write("next/b", "new");
    fs::rename(site.file("later"), site.file("before")).unwrap();
    fs::rename(site.file("next"), site.file("later")).unwrap();
    // a miss looks again
    server.eventually("the new file is found", || {
        server.get("/static/b").text() == "new"
    });
    server.get("/static/a").expect_text("second");
    fs::remove_dir_all(site.file("later")).unwrap();
    assert!(is_app(&server.get("/static/a")));
}

#[test]
fn an_index_is_served_for_its_directory() {
    let site = site();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("static-index", "none.html")
        .set("static-index", "index.html")
        .start();
    server.get("/static/").expect_text("root index");
    let answer = server.get("/static/dir/").expect_text("dir index");
    assert_eq!(answer.header("Content-Type"), Some("text/html"));
    server.get("/static/css/a.css").expect_text("body{}");
    assert!(is_app(&server.get("/static/css/")));
    assert!(is_app(&server.get("/static/css")));
    if differs(
        "A directory with a static-index whose path has no final slash is redirected to the path with the slash; uWSGI serves the index there, and relative links in it break.",
    ) {
        return;
    }
    for (uri, location) in [
        ("/static/dir", "/static/dir/"),
        ("/static/dir?a=b", "/static/dir/?a=b"),
        ("/static", "/static/"),
        ("//static/dir", ""),
    ] {
        let answer = server.get(uri);
        if location.is_empty() {
            assert!(is_app(&answer));
            continue;
        }
        let answer = answer.expect(301);
        assert_eq!(answer.header("Location"), Some(location), "{uri}");
        assert_eq!(answer.text(), "");
    }
}

#[test]
fn a_redirect_stays_on_the_host() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let server = site
        .server()
        .set("check-static", "pub")
        .set("static-index", "index.html")
        .start();
    let answer = server.get("//dir").expect(301);
    assert_eq!(answer.header("Location"), Some("/dir/"));
    let answer = server.get("//evil.example/../dir").expect(301);
    assert_eq!(
        answer.header("Location"),
        Some("/evil.example/../dir/"),
        "{answer:?}"
    );
}

#[test]
fn skipped_ends_go_to_the_application() {
    let site = site();
    symlink("run.php", site.file("pub/link.txt")).unwrap();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("static-skip-ext", ".php")
        .start();
    assert!(is_app(&server.get("/static/run.php")));
    assert!(is_app(&server.get("/static/link.txt")));
    server.get("/static/css/a.css").expect_text("body{}");
}

#[test]
fn a_current_copy_is_not_sent_again() {
    let site = site();
    let server = site.server().set("static-map", "/static=pub").start();
    let ask = |name: &str, value: &str| server.send(&get("/static/css/a.css").var(name, value));
    let current = ask("HTTP_IF_MODIFIED_SINCE", DATE).expect(304);
    assert_eq!(current.text(), "");
    ask("HTTP_IF_MODIFIED_SINCE", BEFORE).expect_text("body{}");
    if differs(
        "Static files have strong entity tags, and If-None-Match is obeyed; uWSGI sends no ETag.",
    ) {
        return;
    }
    let tag = server.get("/static/css/a.css");
    let tag = tag.header("ETag").unwrap();
    assert!(tag.starts_with('"'), "{tag}");
    let current = ask("HTTP_IF_NONE_MATCH", tag).expect(304);
    assert_eq!(names(&current), ["etag", "last-modified"]);
    ask("HTTP_IF_NONE_MATCH", &format!("\"x\", W/{tag}")).expect(304);
    ask("HTTP_IF_NONE_MATCH", "*").expect(304);
    ask("HTTP_IF_NONE_MATCH", "\"x\"").expect_text("body{}");
    let both = get("/static/css/a.css")
        .var("HTTP_IF_NONE_MATCH", "\"x\"")
        .var("HTTP_IF_MODIFIED_SINCE", DATE);
    server.send(&both).expect_text("body{}");
    ask("HTTP_IF_MATCH", "\"x\"").expect(412);
    ask("HTTP_IF_MATCH", tag).expect_text("body{}");
    ask("HTTP_IF_UNMODIFIED_SINCE", BEFORE).expect(412);
    // the tag changes with the content
    site.write("pub/css/a.css", "body{a}");
    ask("HTTP_IF_NONE_MATCH", tag).expect_text("body{a}");
}

#[test]
fn files_without_a_modification_time_have_no_validators() {
    if differs(
        "A static file whose modification time is 0 or 1, as in reproducible images, has no Last-Modified.",
    ) {
        return;
    }
    let site = site();
    let file = fs::File::options()
        .write(true)
        .open(site.file("pub/plain"))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1))
        .unwrap();
    let server = site.server().set("static-map", "/static=pub").start();
    let request = get("/static/plain").var("HTTP_IF_MODIFIED_SINCE", DATE);
    let answer = server.send(&request).expect_text("no extension");
    assert_eq!(names(&answer), ["accept-ranges", "content-length"]);
}

#[test]
fn parts_of_files_are_sent() {
    let site = site();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("honour-range", "true")
        .start();
    let ask = |range: &str| server.send(&get("/static/nine.bin").var("HTTP_RANGE", range));
    for (range, content, text) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=5-5", "bytes 5-5/10", "5"),
        ("bytes=8-100", "bytes 8-9/10", "89"),
    ] {
        let answer = ask(range).expect(206);
        assert_eq!(answer.text(), text, "{range}");
        assert_eq!(answer.header("Content-Range"), Some(content), "{range}");
        let length = text.len().to_string();
        assert_eq!(answer.header("Content-Length"), Some(&*length));
    }
    let answer = ask("bytes=10-").expect(416);
    assert_eq!(answer.header("Content-Range"), Some("bytes */10"));
    let condition = |value: &str| {
        let request = get("/static/nine.bin").var("HTTP_RANGE", "bytes=0-3");
        server.send(&request.var("HTTP_IF_RANGE", value)).status
    };
    assert_eq!(condition(DATE), 206);
    if differs(
        "A request for several ranges of a static file gets all of them; uWSGI sends the first.",
    ) {
        return;
    }
    assert_eq!(condition(BEFORE), 200);
    assert_eq!((condition("\"x\""), condition("W/\"x\"")), (200, 200));
    let answer = ask("bytes=0-1, -3").expect(206);
    let kind = answer.header("Content-Type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |range: &str, text: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/10\r\n\r\n{text}"
        )
    };
    let expected = part("0-1", "01") + &part("7-9", "789") + &format!("\r\n--{boundary}--\r\n");
    assert_eq!(answer.text(), expected);
    for range in ["bytes=0-9,0-9", "bytes=a", "lines=1-2", "bytes=5-4"] {
        ask(range).expect_text("0123456789");
    }
    let many = vec!["0-0"; 100].join(",");
    ask(&format!("bytes={many}")).expect_text("0123456789");
    server
        .send(&get("/static/empty.txt").var("HTTP_RANGE", "bytes=0-"))
        .expect_text("");
    let head = Request::new("HEAD", "/static/nine.bin").var("HTTP_RANGE", "bytes=0-3");
    let head = server.send(&head).expect(200);
    assert_eq!(head.header("Content-Length"), Some("10"));
}

#[test]
fn ranges_can_be_switched_off() {
    let site = site();
    let launch = site.server().set("static-map", "/static=pub");
    let server = match under_uwsgi() {
        // its default
        true => launch.start(),
        false => launch.set("honour-range", "false").start(),
    };
    let answer = server.send(&get("/static/nine.bin").var("HTTP_RANGE", "bytes=0-3"));
    let answer = answer.expect_text("0123456789");
    assert_eq!(answer.header("Accept-Ranges"), None);
}

/// A server that has compressed variants of some files, and how to ask it for a path with this Accept-Encoding.
fn server_with_variants() -> (Server, impl Fn(&Server, &str, &str) -> Answer) {
    let site = site();
    for (name, text) in [
        ("pub/css/a.css.gz", "gzipped"),
        ("pub/css/a.css.br", "brotli"),
        ("pub/css/a.css.zst", "zstandard"),
        ("pub/nine.bin.gz", "nine gzipped"),
        ("secret/x.css.gz", "SECRET"),
        ("pub/x.css", "plain x"),
    ] {
        site.write(name, text);
    }
    symlink("../secret/x.css.gz", site.file("pub/x.css.gz")).unwrap();
    fs::create_dir(site.file("pub/plain.gz")).unwrap();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("static-gzip-all", "true")
        .start();
    let ask = |server: &Server, path: &str, accepted: &str| {
        server.send(&get(path).var("HTTP_ACCEPT_ENCODING", accepted))
    };
    (server, ask)
}

#[test]
fn compressed_variants_are_sent_to_clients_that_accept_them() {
    let (server, ask) = server_with_variants();
    for (path, accepted, coding, text) in [
        (
            "/static/css/a.css",
            "gzip, deflate, br",
            Some("br"),
            "brotli",
        ),
        ("/static/css/a.css", "gzip", Some("gzip"), "gzipped"),
        ("/static/css/a.css", "identity", None, "body{}"),
        ("/static/css/a.css", "", None, "body{}"),
        ("/static/nine.bin", "gzip, br", Some("gzip"), "nine gzipped"),
        ("/static/in.css", "gzip", Some("gzip"), "gzipped"),
        ("/static/absolute.css", "br", Some("br"), "brotli"),
    ] {
        let answer = ask(&server, path, accepted).expect_text(text);
        assert_eq!(
            answer.header("Content-Encoding"),
            coding,
            "{path} {accepted}"
        );
        let kind = answer.header("Content-Type").unwrap();
        assert!(!kind.contains("gzip"), "{kind}");
    }
    let outside = ask(&server, "/static/x.css", "gzip");
    assert!(!outside.text().contains("SECRET") || under_uwsgi());
}

#[test]
fn weights_choose_the_compressed_variant() {
    if differs(
        "Compressed variants of static files are chosen by the weights of Accept-Encoding, also .zst, and the response has Vary; uWSGI looks for br and gzip in the header.",
    ) {
        return;
    }
    let (server, ask) = server_with_variants();
    for (accepted, text) in [
        ("gzip;q=1, br;q=0.5, zstd;q=0.7", "gzipped"),
        ("br;q=0, zstd;q=0.1", "zstandard"),
        ("br;q=0", "body{}"),
        ("*", "brotli"),
        ("xbr, gzipp", "body{}"),
        ("identity, gzip;q=0.5", "body{}"),
    ] {
        let answer = ask(&server, "/static/css/a.css", accepted).expect_text(text);
        assert_eq!(answer.header("Vary"), Some("Accept-Encoding"), "{accepted}");
    }
    ask(&server, "/static/x.css", "gzip").expect_text("plain x");
    ask(&server, "/static/plain", "gzip").expect_text("no extension");
    let tags = ["gzip", "br", "identity"].map(|accepted| {
        let answer = ask(&server, "/static/css/a.css", accepted);
        answer.header("ETag").unwrap().to_owned()
    });
    assert!(tags[0] != tags[1] && tags[1] != tags[2]);
    let request = get("/static/css/a.css")
        .var("HTTP_ACCEPT_ENCODING", "gzip")
        .var("HTTP_IF_NONE_MATCH", &tags[0]);
    let current = server.send(&request).expect(304);
    assert_eq!(current.header("Vary"), Some("Accept-Encoding"));
    server
        .send(&request.var("HTTP_ACCEPT_ENCODING", "br"))
        .expect_text("brotli");
}

#[test]
fn only_selected_files_have_compressed_variants() {
    let site = site();
    site.write("pub/css/a.css.gz", "gzipped");
    site.write("pub/dir/index.html.gz", "gzipped");
    site.write("pub/nine.bin.gz", "gzipped");
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("static-gzip-dir", site.at("pub/css"))
        .set("static-gzip-ext", ".html")
        .start();
    let ask = |path: &str| server.send(&get(path).var("HTTP_ACCEPT_ENCODING", "gzip"));
    ask("/static/css/a.css").expect_text("gzipped");
    ask("/static/dir/index.html").expect_text("gzipped");
    ask("/static/nine.bin").expect_text("0123456789");
    if under_uwsgi() {
        // only builds with PCRE have static-gzip
        return;
    }
    server.stop();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("static-gzip", r"/pub/n.*\.bin$")
        .start();
    let ask = |path: &str| server.send(&get(path).var("HTTP_ACCEPT_ENCODING", "gzip"));
    ask("/static/nine.bin").expect_text("gzipped");
    ask("/static/css/a.css").expect_text("body{}");
}

/// The seconds from now until the Expires header, which must agree with Cache-Control.
fn expires_in(answer: &Answer) -> u64 {
    let expires = httpdate::parse_http_date(answer.header("Expires").unwrap()).unwrap();
    let now = std::time::SystemTime::now();
    let seconds = expires.duration_since(now).map_or(0, |left| left.as_secs());
    if !under_uwsgi() {
        let control = answer.header("Cache-Control").unwrap();
        let age: u64 = control.strip_prefix("max-age=").unwrap().parse().unwrap();
        assert!(age.abs_diff(seconds) <= 60, "{control} {seconds}");
    }
    seconds
}

#[test]
fn an_expiry_is_set_by_type() {
    let server = site()
        .server()
        .set("static-map", "/static=pub")
        .set("static-expires-type", "text/css=3600")
        .set("static-expires-type-mtime", "text/html=3600")
        .start();
    let css = expires_in(&server.get("/static/css/a.css"));
    assert!((3500..=3600).contains(&css), "{css}");
    let html = server.get("/static/dir/index.html");
    assert_eq!(
        html.header("Expires"),
        Some("Sun, 06 Nov 1994 09:49:37 GMT")
    );
    assert_eq!(expires_in(&html), 0);
    assert_eq!(server.get("/static/plain").header("Expires"), None);
}

#[test]
fn an_expiry_is_set_by_name() {
    if under_uwsgi() {
        // only builds with PCRE have these options
        return;
    }
    let server = site()
        .server()
        .set("static-map", "/static=pub")
        .set("static-expires", r"/pub/css/.*\.css$ 1000")
        .set("static-expires", ".*\\.css 2000")
        .set("static-expires-path-info", "^/static/dir/ 3000")
        .set("static-expires-uri", r"\?v=\d 4000")
        .set("static-expires-mtime", "empty 5000")
        .start();
    for (uri, seconds) in [
        ("/static/css/a.css", 1000),
        ("/static/in.css", 1000),
        ("/static/dir/index.html", 3000),
        ("/static/plain?v=1", 4000),
    ] {
        let left = expires_in(&server.get(uri));
        assert!((seconds - 100..=seconds).contains(&left), "{uri}: {left}");
    }
    let answer = server.get("/static/empty.txt");
    let date = "Sun, 06 Nov 1994 10:12:57 GMT";
    assert_eq!(answer.header("Expires"), Some(date));
    assert_eq!(server.get("/static/plain").header("Expires"), None);
}

#[test]
fn hashed_names_are_immutable_if_configured() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    site.write("pub/app.55e7cbb9ba48.css", "hashed");
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("static-immutable", "true")
        .start();
    let answer = server
        .get("/static/app.55e7cbb9ba48.css")
        .expect_text("hashed");
    let control = "public, max-age=31536000, immutable";
    assert_eq!(answer.header("Cache-Control"), Some(control));
    let answer = server.get("/static/css/a.css");
    assert_eq!(answer.header("Cache-Control"), None);
}

#[test]
fn media_types_come_from_the_configured_file() {
    let site = site();
    site.write("types", "text/x-own css own\nimage/x bin\n");
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("mimefile", site.at("types"))
        .start();
    for (path, kind) in [
        ("/static/css/a.css", "text/x-own"),
        ("/static/nine.bin", "image/x"),
    ] {
        assert_eq!(
            server.get(path).header("Content-Type"),
            Some(kind),
            "{path}"
        );
    }
    if !under_uwsgi() {
        let html = server.get("/static/index.html");
        assert_eq!(html.header("Content-Type"), Some("text/html"));
    }
}

#[test]
fn the_web_server_in_front_can_send_the_file() {
    let site = site();
    for (mode, header) in [("nginx", "X-Accel-Redirect"), ("x-sendfile", "X-Sendfile")] {
        let server = site
            .server()
            .set("static-map", "/static=pub")
            .set("file-serve-mode", mode)
            .start();
        let real = fs::canonicalize(site.file("pub/css/a.css")).unwrap();
        for path in ["/static/css/a.css", "/static/in.css"] {
            let answer = server.get(path).expect_text("");
            assert_eq!(answer.header(header), real.to_str(), "{path}");
            assert_eq!(answer.header("Content-Type"), Some("text/css"));
        }
    }
}

#[test]
fn the_path_is_that_of_the_application() {
    let site = site();
    let server = site
        .server()
        .set("mount", "/shop=app.py")
        .set("manage-script-name", "true")
        .set("static-map", "/static=pub")
        .start();
    server.get("/shop/static/css/a.css").expect_text("body{}");
    server.get("/static/css/a.css").expect_text("body{}");
    server.get("/shop/x").expect_text("app /x");
}

#[test]
fn a_slow_reader_of_a_large_file_occupies_no_thread() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let large: Vec<u8> = (0..6_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(site.file("pub/large"), &large).unwrap();
    for (option, value) in [("disable-sendfile", "true"), ("offload-threads", "4")] {
        let server = site
            .server()
            .set("socket", "app.sock")
            .set("http-socket", format!("127.0.0.1:{}", free_port()))
            .set("static-map", "/static=pub")
            .set(option, value)
            .start();
        let slow: Vec<_> = (0..5).map(|_| server.ask(&get("/static/large"))).collect();
        let mut ranged = server.http();
        ranged.put("GET /static/large HTTP/1.1\r\nHost: h\r\nRange: bytes=1-8000000,9000000-9999999\r\n\r\n");
        // the only thread serves others
        server.get("/x").expect_text("app /x");
        server.get("/static/css/a.css").expect_text("body{}");
        for mut connection in slow {
            let answer = connection.answer();
            assert!(answer.orderly && answer.body == large);
        }
        let answer = ranged.answer().expect(206);
        let has = |part: &[u8]| answer.body.windows(64).any(|window| window == part);
        assert!(has(&large[1..65]) && has(&large[9_999_936..10_000_000]));
        ranged.get("/x").expect_text("app /x");
    }
}

#[test]
fn requests_for_static_files_are_logged_and_have_the_added_headers() {
    let site = site();
    let server = site
        .server()
        .set("static-map", "/static=pub")
        .set("add-header", "X-Added: yes")
        .start();
    let answer = server.get("/static/css/a.css").expect_text("body{}");
    assert_eq!(answer.header("X-Added"), Some("yes"));
    server.wait_for_log("GET /static/css/a.css => generated 6 bytes");
    let lines = server.log_lines("GET /static/css/a.css");
    assert!(lines[0].contains("via sendfile()") && lines[0].contains("app: -1"));
}

#[test]
fn a_removed_content_length_changes_the_framing() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let large = vec![b'x'; 100_000];
    fs::write(site.file("pub/large"), &large).unwrap();
    let server = site
        .server()
        .set("socket", "app.sock")
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("static-map", "/static=pub")
        .set("del-header", "Content-Length")
        .start();
    let mut client = server.http();
    client.get("/static/css/a.css").expect_text("body{}");
    assert_eq!(client.get("/static/large").body, large);
    client.put("GET /static/nine.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=0-0,2-3\r\n\r\n");
    assert!(
        client
            .answer()
            .expect(206)
            .text()
            .contains("\r\n\r\n23\r\n--")
    );
}

#[test]
fn static_files_need_no_application() {
    let site = site();
    fs::remove_file(site.file("app.py")).unwrap();
    let server = site
        .server()
        .set("need-app", "false")
        .set("static-map", "/static=pub")
        .set("module", "missing");
    let mut server = server.start();
    server.get("/static/css/a.css").expect_text("body{}");
    server.expect_log("missing");
}

#[test]
fn wrong_values_are_refused() {
    if under_uwsgi() {
        return;
    }
    for (option, value, message) in [
        ("static-map", "/static", "the value has no ="),
        (
            "static-expires",
            "( 10",
            "the regular expression is not valid",
        ),
        ("static-expires", "x", "the value has no time"),
        ("file-serve-mode", "apache", "unknown mode"),
    ] {
        let refusal = site().server().set(option, value).refused();
        assert!(refusal.log.contains(message), "{option}: {}", refusal.log);
    }
}
