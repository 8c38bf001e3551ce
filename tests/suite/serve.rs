//! Sockets: kinds, permissions, inheritance, removal.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use nix::sys::signal::Signal;

use crate::kit::connection::Address;
use crate::kit::*;

#[test]
fn a_unix_socket_is_served_and_removed() {
    let site = Site::with("hello");
    let server = site.server().start();
    server.get("/").expect_text("hello\n");
    assert!(site.has("app.sock"));
    server.stop();
    assert!(!site.has("app.sock"));
}

#[test]
fn options_may_be_given_as_flags() {
    let launch = Site::with("hello")
        .server()
        .set("processes", 2)
        .set("threads", 2);
    let server = launch.set("disable-logging", "true").by_flags().start();
    server.wait_for_workers(2);
    server.get("/").expect_text("hello\n");
}

#[test]
fn a_relative_socket_path_is_below_the_working_directory() {
    let site = Site::with("hello");
    let server = site.server().set("socket", "relative.sock").start();
    assert!(site.has("relative.sock"));
    server.get("/").expect_text("hello\n");
}

#[test]
fn a_relative_socket_path_is_below_chdir() {
    let site = Site::empty();
    site.write("project/app.py", include_str!("../apps/hello/app.py"));
    let server = site
        .server()
        .set("chdir", site.at("project"))
        .set("socket", "relative.sock")
        .start();
    assert!(site.has("project/relative.sock"));
    server.get("/").expect_text("hello\n");
}

#[test]
fn an_abstract_socket_is_served() {
    let site = Site::with("hello");
    let name = format!("@ruwsgi-{}", site.path().display());
    // the kit's client adds the NUL byte for uWSGI
    differs("The name of an abstract socket is the text after the @; uWSGI adds a NUL byte.");
    let server = site.server().set("socket", name).start();
    server.get("/").expect_text("hello\n");
}

#[test]
fn a_tcp_socket_is_served() {
    let server = Site::with("hello")
        .server()
        .set("socket", format!("127.0.0.1:{}", free_port()))
        .start();
    server.get("/").expect_text("hello\n");
}

#[test]
fn a_tcp_socket_of_a_port_alone_is_served() {
    let server = Site::with("hello")
        .server()
        .set("socket", format!(":{}", free_port()))
        .start();
    server.get("/").expect_text("hello\n");
}

#[test]
fn a_host_name_is_resolved() {
    let port = free_port();
    let server = Site::with("hello")
        .server()
        .set("socket", format!("localhost:{port}"))
        .start();
    server.get("/").expect_text("hello\n");
}

#[test]
fn a_tcp_socket_of_version_6_is_served() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let server = Site::with("hello")
        .server()
        .set("socket", format!("[::1]:{}", free_port()))
        .start();
    server.get("/").expect_text("hello\n");
}

#[test]
fn several_sockets_are_served() {
    let site = Site::with("hello");
    let addresses = [
        site.at("one.sock"),
        format!("@{}", site.at("two")),
        format!("127.0.0.1:{}", free_port()),
    ];
    let launch = addresses.iter().fold(site.server(), |launch, address| {
        launch.set("socket", address)
    });
    let _server = launch.start();
    for address in &addresses {
        let mut connection = Address::parse(address, site.path()).try_connect().unwrap();
        connection
            .put(&get("/").bytes())
            .answer()
            .expect_text("hello\n");
    }
}

#[test]
fn uwsgi_and_http_sockets_are_served_by_the_same_workers() {
    let site = Site::with("hello");
    let server = site
        .server()
        .set("uwsgi-socket", site.at("app.sock"))
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start();
    server.get("/").expect_text("hello\n");
    server.http().get("/").expect_text("hello\n");
}

#[test]
fn an_invalid_port_is_refused() {
    if differs("A port above 65535 is refused; uWSGI wraps it to another port.") {
        return;
    }
    let refusal = Site::with("hello")
        .server()
        .set("socket", "127.0.0.1:99999")
        .refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("99999"), "{}", refusal.log);
}

#[test]
fn a_port_in_use_is_refused() {
    let port = free_port();
    let _other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let refusal = Site::with("hello")
        .server()
        .set("socket", format!("127.0.0.1:{port}"))
        .refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains(&port.to_string()), "{}", refusal.log);
}

#[test]
fn a_listen_queue_over_the_system_limit_is_clamped_with_a_warning() {
    if differs(
        "listen above net.core.somaxconn is reduced to it with a warning; uWSGI does not start.",
    ) {
        return;
    }
    let server = Site::with("hello").server().set("listen", 100_000).start();
    server.get("/").expect_text("hello\n");
    server.wait_for_log("somaxconn");
}

#[test]
fn chmod_socket_sets_the_permissions() {
    for (value, mode) in [
        ("660", 0o660),
        ("664", 0o664),
        ("666", 0o666),
        ("true", 0o666),
        ("1", 0o666),
    ] {
        if value == "true" && under_uwsgi() {
            continue; // uWSGI has the flag only without a value
        }
        let server = Site::with("hello")
            .server()
            .set("chmod-socket", value)
            .start();
        let permissions = fs::metadata(server.socket_path()).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "chmod-socket = {value}");
    }
}

#[test]
fn an_invalid_mode_is_refused() {
    let refusal = Site::with("hello")
        .server()
        .set("chmod-socket", "rw-rw----")
        .refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("rw-rw----"), "{}", refusal.log);
}

#[test]
fn the_socket_of_a_daemon_is_not_world_writable() {
    if differs("daemonize keeps the umask; uWSGI sets it to 0, so that the socket gets mode 0777.")
    {
        return;
    }
    let site = Site::with("hello");
    let mut server = site
        .server()
        .set("daemonize", site.at("daemon.log"))
        .set("pidfile", site.at("pid"))
        .logging_to("daemon.log")
        .spawn();
    server.wait_for_exit();
    server.eventually("the pidfile is there", || site.read("pid").ends_with('\n'));
    server.adopt_daemon(site.read("pid").trim().parse().unwrap());
    server.eventually("it answers", || server.address().try_connect().is_ok());
    server.get("/").expect_text("hello\n");
    let mode = fs::metadata(server.socket_path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o002, 0, "{mode:o}");
}

#[test]
fn chown_socket_sets_the_owner() {
    if needs_root() {
        return;
    }
    let server = Site::with("hello")
        .server()
        .set("chown-socket", "www-data:daemon")
        .start();
    let metadata = fs::metadata(server.socket_path()).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (33, 1));
}

#[test]
fn without_vacuum_the_socket_stays() {
    if under_uwsgi() {
        return; // the kit sets vacuum for uWSGI, which has no way to unset it
    }
    let site = Site::with("hello");
    let mut server = site.server().set("vacuum", "false").start();
    server.allow_socket_file();
    server.stop();
    assert!(site.has("app.sock"));
}

#[test]
fn the_socket_is_removed_after_a_reload_too() {
    if differs("vacuum removes the socket also after a reload; uWSGI leaves it.") {
        return;
    }
    let site = Site::with("generation");
    let server = site.server().start();
    let first = server.get("/").text();
    server.signal(Signal::SIGHUP);
    server.eventually("the new generation answers", || {
        server.get("/").text() != first
    });
    server.stop();
    assert!(!site.has("app.sock"));
}

#[test]
fn a_replaced_socket_is_not_removed() {
    let site = Site::with("hello");
    let mut server = site.server().start();
    server.allow_socket_file();
    fs::remove_file(site.file("app.sock")).unwrap();
    let _other = UnixListener::bind(site.file("app.sock")).unwrap();
    server.stop();
    assert!(site.has("app.sock"));
}

#[test]
fn a_stale_socket_is_replaced() {
    let site = Site::with("hello");
    drop(UnixListener::bind(site.file("app.sock")).unwrap());
    assert!(site.has("app.sock"));
    site.server().start().get("/").expect_text("hello\n");
}

#[test]
fn a_regular_file_at_the_path_of_the_socket_is_kept() {
    if differs(
        "A regular file at the socket's path is kept and the start is refused; uWSGI deletes the file.",
    ) {
        return;
    }
    let site = Site::with("hello");
    site.write("app.sock", "precious");
    let refusal = site.server().refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("app.sock"), "{}", refusal.log);
    assert_eq!(site.read("app.sock"), "precious");
}

#[test]
fn a_second_master_on_a_live_socket_is_refused() {
    if differs(
        "A second master on a socket in use is refused; uWSGI takes the path from the first.",
    ) {
        return;
    }
    let site = Site::with("hello");
    let server = site.server().start();
    let refusal = site.server().refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("app.sock"), "{}", refusal.log);
    server.get("/").expect_text("hello\n");
}

#[test]
fn a_socket_inherited_by_number_is_served() {
    let site = Site::with("hello");
    let server = site
        .server()
        .set("socket", "fd://3")
        .inheriting(&[&site.at("given.sock")], false);
    let mut server = server.start();
    server.allow_socket_file();
    server.get("/").expect_text("hello\n");
}

#[test]
fn sockets_of_systemd_are_served() {
    let site = Site::with("hello");
    let tcp = format!("127.0.0.1:{}", free_port());
    let mut server = site
        .server()
        .inheriting(&[&site.at("given.sock"), &tcp], true)
        .start();
    server.allow_socket_file();
    server.get("/").expect_text("hello\n");
    let mut connection = Address::Tcp(tcp).try_connect().unwrap();
    connection
        .put(&get("/").bytes())
        .answer()
        .expect_text("hello\n");
}

#[test]
fn the_application_does_not_see_systemds_variables() {
    let site = Site::of(
        "import os\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [repr([k for k in os.environ if k.startswith('LISTEN_')]).encode()]\n",
    );
    let mut server = site
        .server()
        .inheriting(&[&site.at("given.sock")], true)
        .start();
    server.allow_socket_file();
    server.get("/").expect_text("[]");
}

#[test]
fn sockets_of_systemd_survive_a_reload() {
    if differs("Sockets passed by systemd survive a reload; uWSGI loses them and exits.") {
        return;
    }
    let site = Site::with("generation");
    let mut server = site
        .server()
        .inheriting(&[&site.at("given.sock")], true)
        .start();
    server.allow_socket_file();
    let mut last = server.get("/").text();
    for _ in 0..2 {
        server.signal(Signal::SIGHUP);
        server.eventually("the new generation answers", || {
            server.get("/").text() != last
        });
        last = server.get("/").text();
    }
    let path = site.file("given.sock");
    server.stop();
    assert!(path.exists(), "the socket is systemd's, not ours to remove");
}

#[test]
fn so_keepalive_and_reuse_port_set_the_socket_options() {
    let site = Site::with("hello");
    let port = format!("127.0.0.1:{}", free_port());
    let launch = || {
        site.server()
            .set("socket", &port)
            .set("so-keepalive", "true")
            .set("reuse-port", "true")
    };
    let one = launch().start();
    let two = launch().start();
    one.get("/").expect_text("hello\n");
    two.eventually("the second instance serves a request", || {
        two.get("/").expect_text("hello\n");
        two.log().contains("GET /")
    });
}
