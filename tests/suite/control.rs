//! The control socket and its verbs: status, reload, stop, kill-worker, scale.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::atomic::Ordering;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::kit::load::{load, scaled};
use crate::kit::*;

const BROKEN: &str = "import app_that_is_missing\n";

fn differs_from_uwsgi() -> bool {
    differs(
        "Every instance has a control socket for ruwsgi status, reload, stop and kill-worker, which report the outcome.",
    )
}

fn server(options: &[(&str, &str)]) -> Server {
    Site::with("processes").server().set_all(options).start()
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

#[track_caller]
fn success_output(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[track_caller]
fn failure_output(output: Output) -> String {
    assert!(!output.status.success(), "{}", text(&output));
    text(&output)
}

/// The instance's object in `status --json`.
#[track_caller]
fn status(server: &Server, name: &str) -> Value {
    let output = success_output(server.command(&["status", name, "--json"]));
    let rows: Value = serde_json::from_str(&output).unwrap_or_else(|e| panic!("{e}: {output}"));
    rows[0].clone()
}

/// The control sockets of the site's server.
fn sockets(site: &Site) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(site.file(".run")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Replaces the application's generation by one that loads or fails to load.
fn write_generation(site: &Site, number: usize, broken: bool) {
    let text = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/apps/processes/app.py"
    ));
    let text = text
        .unwrap()
        .replace("GENERATION = \"1\"", &format!("GENERATION = \"{number}\""));
    let broken = if broken { BROKEN } else { "" };
    site.write("app.py", &(text + broken));
}

/// Checks that the workers in a status are those with the process ids `expected`, and that all serve.
#[track_caller]
fn check_workers(listed: &[Value], mut expected: Vec<i32>) {
    let mut pids: Vec<i32> = listed
        .iter()
        .map(|worker| i32::try_from(worker["pid"].as_i64().unwrap()).unwrap())
        .collect();
    pids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(pids, expected);
    assert!(listed.iter().all(|worker| worker["state"] == "serving"
        && worker["memory_kib"].as_u64().is_none_or(|kib| kib > 0)));
}

/// Checks that a status has two sockets, of which the second is the HTTP socket with this address.
#[track_caller]
fn check_http_socket(listening: &[Value], address: &str) {
    assert_eq!(listening.len(), 2);
    assert_eq!(listening[1]["name"], address);
    // TCP_INFO is available on every kernel
    assert!(listening[1]["longest_queue"].as_u64().unwrap() > 0);
}

#[test]
fn status_shows_workers_their_requests_and_the_sockets() {
    if differs_from_uwsgi() {
        return;
    }
    let http = format!("127.0.0.1:{}", free_port());
    let server = server(&[("processes", "2"), ("socket", "app.sock"), ("http", &http)]);
    let workers = server.wait_for_workers(2);
    server.get("/pid").expect(200);
    let mut held = server.ask(&get("/hold?go"));
    server.eventually("the request is in the application", || {
        server.site.read("held").lines().count() == 1
    });
    let row = status(&server, "site");
    assert_eq!(
        (&row["name"], &row["state"]),
        (&"site".into(), &"ready".into())
    );
    assert_eq!(row["pid"], server.master);
    assert_eq!(row["path"], server.site.at("site.ini"));
    let generation = &row["instance"]["generations"][0];
    assert_eq!(generation["number"], 1);
    assert_eq!(generation["zygote"], server.zygotes()[0]);
    let listed = generation["workers"].as_array().unwrap();
    check_workers(listed, workers);
    let doing: Vec<&Value> = listed
        .iter()
        .flat_map(|worker| worker["doing"].as_array().unwrap())
        .collect();
    assert_eq!(doing.len(), 1, "{row}");
    assert_eq!(doing[0]["request"], "GET /hold?go");
    assert!(doing[0]["age"].as_f64().unwrap() > 0.0);
    check_http_socket(row["instance"]["sockets"].as_array().unwrap(), &http);
    let output = success_output(server.command(&["status", "site.ini"]));
    for word in [
        "site: ready",
        "generation 1: serving",
        "GET /hold?go",
        &http,
    ] {
        assert!(output.contains(word), "{output}");
    }
    server.site.write("go", "");
    held.answer().expect(200);
    let listed = success_output(server.command(&["ls"]));
    assert!(listed.contains("site  ready"), "{listed}");
    server.stop();
}

#[test]
fn reload_with_wait_reports_the_result() {
    if differs_from_uwsgi() {
        return;
    }
    let mut server = server(&[("pidfile", "the.pid")]);
    let site = server.site.clone();
    let socket = sockets(&site)[0].to_str().unwrap().to_owned();
    for (number, name) in (2..).zip(["site", "site.ini", "the.pid", "./site.ini", &socket]) {
        write_generation(&site, number, false);
        let output = success_output(server.command(&["reload", name, "--wait"]));
        assert_eq!(output, "site: ready\n", "{name}");
        server.get("/generation").expect_text(&number.to_string());
    }
    write_generation(&site, 10, true);
    let output = failure_output(server.command(&["reload", "site", "--wait"]));
    assert!(
        output.contains("serves as before") && output.contains("ModuleNotFoundError"),
        "{output}"
    );
    assert!(output.contains("Traceback"), "{output}");
    server.get("/generation").expect_text("6");
    server.expect_log("reload failed");
    // the same for an invalid configuration
    let ini = site.read("site.ini");
    site.write("site.ini", &(ini.clone() + "processes = -1\n"));
    let output = failure_output(server.command(&["reload", "site", "--wait", "--json"]));
    assert!(output.contains("processes = -1"), "{output}");
    site.write("site.ini", &ini);
    write_generation(&site, 11, false);
    success_output(server.command(&["reload", "the.pid", "--wait"]));
    server.get("/generation").expect_text("11");
    server.stop();
}

#[test]
fn stop_with_wait_returns_when_all_requests_have_finished() {
    if differs_from_uwsgi() {
        return;
    }
    let mut server = server(&[]);
    let mut held = server.ask(&get("/hold?go"));
    server.eventually("the request is in the application", || {
        server.site.read("held").lines().count() == 1
    });
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| server.command(&["stop", "site", "--wait"]));
        server.wait_for_log("by ruwsgi stop: stopping after the requests in flight");
        assert!(!stopping.is_finished());
        server.site.write("go", "");
        held.answer().expect(200);
        assert_eq!(success_output(stopping.join().unwrap()), "site: stopped\n");
    });
    assert!(sockets(&server.site).is_empty());
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn kill_worker_loses_no_request() {
    if differs_from_uwsgi() {
        return;
    }
    let server = server(&[("processes", "2")]);
    let before = server.wait_for_workers(2);
    let outcome = load(&server, 3, "/pid", |answered| {
        for number in ["1", "2"] {
            success_output(server.command(&["kill-worker", "site", number, "--wait"]));
        }
        let enough = answered.load(Ordering::Relaxed) + scaled(20, 2000);
        server.eventually("requests are answered", || {
            answered.load(Ordering::Relaxed) >= enough
        });
    });
    assert_eq!(outcome.lost, 0, "of {}", outcome.answered);
    let after = server.wait_for_workers(2);
    assert!(before.iter().all(|pid| !after.contains(pid)));
    let output = failure_output(server.command(&["kill-worker", "site", "3"]));
    assert!(output.contains("they are 1 to 2"), "{output}");
    server.stop();
}

#[test]
fn kill_worker_with_now_kills_at_once() {
    if differs_from_uwsgi() {
        return;
    }
    let mut server = server(&[]);
    let before = server.workers();
    let held = server.ask(&get("/hold?go"));
    server.eventually("the request is in the application", || {
        server.site.read("held").lines().count() == 1
    });
    success_output(server.command(&["kill-worker", "site", "1", "--now", "--wait"]));
    assert_ne!(server.wait_for_workers(1), before);
    server.expect_log("requested by an operator (kill-worker); in flight: GET /hold?go");
    drop(held);
    server.get("/pid").expect(200);
    server.stop();
}

#[test]
fn an_unknown_or_ambiguous_name_is_explained() {
    if differs_from_uwsgi() {
        return;
    }
    let server = server(&[]);
    let output = failure_output(server.command(&["reload", "blog", "--wait"]));
    assert!(
        output.contains("no instance is named blog; running: ") && output.contains("site"),
        "{output}"
    );
    let output = failure_output(server.command(&["stop"]));
    assert!(output.contains("name an instance"), "{output}");
    let output = failure_output(server.command(&["start", "site"]));
    assert!(output.contains("only an emperor starts"), "{output}");
    // another instance of the same name in the same runtime directory
    let other = Site::with("processes");
    let twin = other.server().set("socket", other.at("twin.sock"));
    let run = other.file(".run");
    std::os::unix::fs::symlink(server.site.file(".run"), &run).unwrap();
    let twin = twin.start();
    // ruwsgi refuses a runtime directory that is a symbolic link, so the other instance has no control socket
    assert_eq!(sockets(&server.site).len(), 1);
    twin.stop();
    fs::remove_file(&run).unwrap();
    let twin = other
        .server()
        .set("control-socket", server.site.at(".run/twin.sock"))
        .start();
    let output = failure_output(server.command(&["status", "site"]));
    assert!(
        output.contains("2 instances are named site; name one of them by its path: ")
            && output.contains(&format!("{} (pid {})", other.at("site.ini"), twin.master)),
        "{output}"
    );
    let output = success_output(server.command(&["status", &other.at("site.ini")]));
    assert!(
        output.contains(&format!("pid       {}", twin.master)),
        "{output}"
    );
    twin.stop();
    server.stop();
}

#[test]
fn the_socket_is_private_to_its_user_and_replaces_a_stale_one() {
    if differs_from_uwsgi() {
        return;
    }
    let mut server = server(&[]);
    let site = server.site.clone();
    let before = sockets(&site);
    assert_eq!(before.len(), 1);
    let mode = fs::metadata(&before[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.allow_socket_file();
    server.allow_any_exit();
    server.signal(Signal::SIGKILL);
    // the workers have to end too, or they would serve on the application's socket
    server.eventually("no process is left", || {
        let mut processes = server.processes().into_iter();
        processes.all(|process| process.pid == server.master)
    });
    server.wait_for_exit();
    assert_eq!(sockets(&site), before);
    let output = failure_output(server.command(&["status", "site"]));
    assert!(output.contains("no instance is named"), "{output}");
    let again = site.server().start();
    assert_eq!(sockets(&site), before);
    assert_eq!(status(&again, "site")["pid"], again.master);
    again.stop();
    assert!(sockets(&site).is_empty());
}

#[test]
fn without_a_writable_directory_the_instance_has_no_control_socket() {
    if differs_from_uwsgi() {
        return;
    }
    let site = Site::with("processes");
    site.write(".run", "in the way\n");
    let server = site.server().start();
    server.get("/pid").expect(200);
    assert!(!server.log().contains("control"), "{}", server.log());
    server.stop();
}

#[test]
fn a_configured_control_socket_that_cannot_be_bound_is_an_error() {
    if differs_from_uwsgi() {
        return;
    }
    let site = Site::with("processes");
    let launch = site
        .server()
        .set("control-socket", site.at("missing/control"));
    let refusal = launch.refused();
    assert!(
        refusal.log.contains("control-socket = ") && refusal.log.contains("does not exist"),
        "{}",
        refusal.log
    );
}

#[test]
fn after_dropping_privileges_root_and_the_user_can_control_the_instance() {
    if needs_root() || differs_from_uwsgi() {
        return;
    }
    let site = Site::with("processes");
    let python = system_python();
    std::os::unix::fs::chown(site.path(), Some(33), Some(33)).unwrap();
    let server = site
        .server()
        .set("uid", "33")
        .set("gid", "33")
        .set("python", python.display())
        .start();
    let socket = sockets(&site)[0].clone();
    assert!(socket.ends_with("uid-33"), "{}", socket.display());
    assert_eq!(status(&server, "site")["pid"], server.master);
    let user = std::process::Command::new("setpriv")
        .args(["--reuid", "33", "--regid", "33", "--clear-groups"])
        .arg(binary())
        .args(["status", "site"])
        .env("RUWSGI_RUNTIME_DIRECTORY", site.file(".run"))
        .output()
        .unwrap();
    // that user may not be able to reach the binary
    if reachable(&binary()) {
        assert!(success_output(user).contains("site: ready"));
    }
    server.stop();
    assert_eq!(fs::read_dir(&socket).unwrap().count(), 0);
}

#[test]
fn silent_and_malformed_clients_affect_no_other_client() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    if differs_from_uwsgi() {
        return;
    }
    let server = server(&[]);
    let socket = sockets(&server.site)[0].clone();
    let before = proc::descriptors(server.master);
    let silent: Vec<UnixStream> = (0..20)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    for words in ["\n", "{}\n", "{\"verb\": \"explode\"}\n", "[[[[\n"] {
        let mut client = UnixStream::connect(&socket).unwrap();
        client.write_all(words.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("this is no request"), "{answer}");
    }
    // a client that sends an endless line is disconnected
    let mut client = UnixStream::connect(&socket).unwrap();
    let endless = client.write_all(&vec![b'x'; 1 << 20]);
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    assert!(endless.is_err() || answer.is_empty());
    assert_eq!(status(&server, "site")["state"], "ready");
    server.get("/pid").expect(200);
    drop(silent);
    server.eventually("none of their processes is left", || {
        proc::descriptors(server.master) == before
    });
    server.stop();
}

#[test]
fn the_emperor_forwards_commands_for_a_vassal() {
    if differs_from_uwsgi() {
        return;
    }
    let site = Site::with("processes");
    fs::create_dir(site.file("vassals")).unwrap();
    site.write(
        "vassals/a.ini",
        &format!(
            "[uwsgi]\nsocket = {}\nchdir = {}\nwsgi-file = app.py\nprocesses = 2\npython = {}\n",
            site.at("a.sock"),
            site.path().display(),
            system_python().display()
        ),
    );
    let control = site.at("control");
    let mut emperor = site
        .server()
        .only(&["--emperor", "vassals", "--emperor-control", &control])
        .spawn();
    emperor.allow_any_exit();
    emperor.wait_for_log("ready after");
    let ask = |words: &[&str]| {
        let mut words = words.to_vec();
        words.extend(["--control", &control]);
        site.command(&words)
    };
    let row_of_a = || -> Value {
        let output = success_output(ask(&["status", "a", "--json"]));
        let rows: Value = serde_json::from_str(&output).unwrap();
        rows[0].clone()
    };
    let pids = || -> Vec<i64> {
        let row = row_of_a();
        let workers = row["instance"]["generations"][0]["workers"].as_array();
        let workers = workers.cloned().unwrap_or_default();
        workers
            .iter()
            .filter_map(|worker| worker["pid"].as_i64())
            .collect()
    };
    assert_eq!(row_of_a()["name"], "a.ini");
    let before = pids();
    assert_eq!(before.len(), 2);
    success_output(ask(&["kill-worker", "a", "1", "--wait"]));
    let after = pids();
    assert!(!after.contains(&before[0]) && after.contains(&before[1]));
    let refusal = failure_output(ask(&["kill-worker", "a", "7"]));
    assert!(refusal.contains("they are 1 to 2"), "{refusal}");
    write_generation(&site, 2, true);
    let failure = failure_output(ask(&["reload", "a", "--wait"]));
    assert!(
        failure.contains("serves as before") && failure.contains("Traceback"),
        "{failure}"
    );
    emperor.expect_log("reload failed; the previous generation continues");
    write_generation(&site, 3, false);
    success_output(ask(&["reload", "a", "--wait"]));
    let by_path = success_output(ask(&["status", &site.at("vassals/a.ini")]));
    assert!(by_path.contains("generation 3: serving"), "{by_path}");
    emperor.stop();
}

#[test]
fn mute_sockets_delay_ls_by_one_deadline_and_are_listed() {
    use std::os::unix::net::UnixListener;
    if differs_from_uwsgi() {
        return;
    }
    let server = server(&[]);
    let run = server.site.file(".run");
    let listen = |name: &str| UnixListener::bind(run.join(name)).unwrap();
    let mute = ["aa.sock", "ab.sock", "zz.sock"].map(listen);
    let begun = std::time::Instant::now();
    let listed = success_output(server.command(&["ls"]));
    let took = begun.elapsed();
    assert!(took.as_secs() < 8, "{took:?}");
    assert!(listed.contains("site"), "{listed}");
    assert_eq!(listed.matches("not answering").count(), 3, "{listed}");
    assert_eq!(status(&server, "site")["state"], "ready");
    drop(mute);
    server.stop();
}

#[test]
fn a_server_at_a_socket_of_another_user_is_not_believed() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    if differs_from_uwsgi() || needs_root() {
        return;
    }
    let server = server(&[]);
    let path = server.site.file(".run").join("aa.sock");
    // a socket file of root, on which a process of www-data listens
    let script = "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\nos.setuid(33)\n\
        s.listen(8)\nprint('listens', flush=True)\nsys.stdin.read()\n";
    let mut listener = std::process::Command::new(system_python())
        .args(["-c", script])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(listener.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "listens\n");
    let listed = success_output(server.command(&["ls"]));
    assert!(
        listed.contains("but the socket belongs to root"),
        "{listed}"
    );
    drop(listener.stdin.take());
    listener.wait().unwrap();
    server.stop();
}

#[test]
fn a_process_without_a_control_socket_is_signalled_through_its_pidfile() {
    if differs_from_uwsgi() {
        return;
    }
    let site = Site::with("processes");
    site.write(".run", "in the way\n");
    let mut server = site.server().set("pidfile", "the.pid").start();
    let output = failure_output(server.command(&["status", "the.pid"]));
    assert!(output.contains("has no control socket"), "{output}");
    success_output(server.command(&["reload", "the.pid"]));
    server.wait_for_log("generation 2 serves");
    success_output(server.command(&["stop", "the.pid", "--wait"]));
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn scale_loses_no_request() {
    if differs_from_uwsgi() {
        return;
    }
    let server = server(&[("processes", "3")]);
    server.wait_for_workers(3);
    let outcome = load(&server, 3, "/pid", |answered| {
        for (count, workers) in [("1", 1), ("+1", 2), ("3", 3), ("-2", 1)] {
            success_output(server.command(&["scale", "site", count, "--wait"]));
            server.wait_for_workers(workers);
            let enough = answered.load(Ordering::Relaxed) + 20;
            server.eventually("requests are answered", || {
                answered.load(Ordering::Relaxed) >= enough
            });
        }
        // a reload reads the number from the configuration
        success_output(server.command(&["reload", "site", "--wait"]));
        server.wait_for_workers(3);
    });
    assert_eq!(outcome.lost, 0, "of {}", outcome.answered);
    let output = failure_output(server.command(&["scale", "site", "4"]));
    assert!(output.contains("at most 3 workers (processes)"), "{output}");
    let output = failure_output(server.command(&["scale", "site", "-4"]));
    assert!(
        output.contains("number of workers cannot be negative"),
        "{output}"
    );
    let output = failure_output(server.command(&["scale", "site", "many"]));
    assert!(
        output.contains("many is not a number of workers"),
        "{output}"
    );
    // no worker until the next request
    success_output(server.command(&["scale", "site", "0", "--wait"]));
    server.wait_for_workers(0);
    server.get("/pid").expect(200);
    server.stop();
}
