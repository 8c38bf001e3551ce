//! The control socket and its verbs: status, reload, stop, kill-worker, scale.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::atomic::Ordering;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::kit::load::{load, times};
use crate::kit::*;

const BROKEN: &str = "import app_that_is_missing\n";

fn only_here() -> bool {
    differs(
        "Every instance has a control socket for ruwsgi status, reload, stop and kill-worker, which report the outcome.",
    )
}

fn server(options: &[(&str, &str)]) -> Server {
    let mut launch = Site::with("processes").server();
    for (name, value) in options {
        launch = launch.set(name, value);
    }
    launch.start()
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

#[track_caller]
fn fine(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[track_caller]
fn refused(output: Output) -> String {
    assert!(!output.status.success(), "{}", text(&output));
    text(&output)
}

/// What `status --json` tells of one.
#[track_caller]
fn status(server: &Server, name: &str) -> Value {
    let told = fine(server.operator(&["status", name, "--json"]));
    let rows: Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"));
    rows[0].clone()
}

/// The control sockets of a site's server.
fn sockets(site: &Site) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(site.file(".run")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Replaces the application's generation, and breaks or mends it.
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

#[test]
fn the_status_tells_of_workers_their_requests_and_the_sockets() {
    if only_here() {
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
    let told = generation["workers"].as_array().unwrap();
    let mut pids: Vec<i32> = told
        .iter()
        .map(|worker| i32::try_from(worker["pid"].as_i64().unwrap()).unwrap())
        .collect();
    pids.sort_unstable();
    let mut workers = workers;
    workers.sort_unstable();
    assert_eq!(pids, workers);
    assert!(told.iter().all(|worker| worker["state"] == "serving"
        && worker["memory_kib"].as_u64().is_none_or(|kib| kib > 0)));
    let doing: Vec<&Value> = told
        .iter()
        .flat_map(|worker| worker["doing"].as_array().unwrap())
        .collect();
    assert_eq!(doing.len(), 1, "{row}");
    assert_eq!(doing[0]["request"], "GET /hold?go");
    assert!(doing[0]["age"].as_f64().unwrap() > 0.0);
    let listening = row["instance"]["sockets"].as_array().unwrap();
    assert_eq!(listening.len(), 2);
    assert_eq!(listening[1]["name"], http);
    // TCP_INFO is always there
    assert!(listening[1]["longest_queue"].as_u64().unwrap() > 0);
    let told = fine(server.operator(&["status", "site.ini"]));
    for word in [
        "site: ready",
        "generation 1: serving",
        "GET /hold?go",
        &http,
    ] {
        assert!(told.contains(word), "{told}");
    }
    server.site.write("go", "");
    held.answer().expect(200);
    let listed = fine(server.operator(&["ls"]));
    assert!(listed.contains("site  ready"), "{listed}");
    server.stop();
}

#[test]
fn a_reload_that_is_waited_for_says_how_it_went() {
    if only_here() {
        return;
    }
    let mut server = server(&[("pidfile", "the.pid")]);
    let site = server.site.clone();
    let socket = sockets(&site)[0].to_str().unwrap().to_owned();
    for (number, name) in (2..).zip(["site", "site.ini", "the.pid", "./site.ini", &socket]) {
        write_generation(&site, number, false);
        let told = fine(server.operator(&["reload", name, "--wait"]));
        assert_eq!(told, "site: ready\n", "{name}");
        server.get("/generation").says(&number.to_string());
    }
    write_generation(&site, 10, true);
    let told = refused(server.operator(&["reload", "site", "--wait"]));
    assert!(
        told.contains("serves as before") && told.contains("ModuleNotFoundError"),
        "{told}"
    );
    assert!(told.contains("Traceback"), "{told}");
    server.get("/generation").says("6");
    server.expect_log("reload failed");
    // a configuration that cannot be read, too
    let ini = site.read("site.ini");
    site.write("site.ini", &(ini.clone() + "processes = many\n"));
    let told = refused(server.operator(&["reload", "site", "--wait", "--json"]));
    assert!(told.contains("processes = many"), "{told}");
    site.write("site.ini", &ini);
    write_generation(&site, 11, false);
    fine(server.operator(&["reload", "the.pid", "--wait"]));
    server.get("/generation").says("11");
    server.stop();
}

#[test]
fn a_stop_that_is_waited_for_comes_back_when_all_have_finished() {
    if only_here() {
        return;
    }
    let mut server = server(&[]);
    let mut held = server.ask(&get("/hold?go"));
    server.eventually("the request is in the application", || {
        server.site.read("held").lines().count() == 1
    });
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| server.operator(&["stop", "site", "--wait"]));
        server.wait_for_log("by ruwsgi stop: stopping after the requests in flight");
        assert!(!stopping.is_finished());
        server.site.write("go", "");
        held.answer().expect(200);
        assert_eq!(fine(stopping.join().unwrap()), "site: stopped\n");
    });
    assert!(sockets(&server.site).is_empty());
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn a_worker_is_replaced_without_losing_a_request() {
    if only_here() {
        return;
    }
    let server = server(&[("processes", "2")]);
    let before = server.wait_for_workers(2);
    let outcome = load(&server, 3, "/pid", |answered| {
        for number in ["1", "2"] {
            fine(server.operator(&["kill-worker", "site", number, "--wait"]));
        }
        let enough = answered.load(Ordering::Relaxed) + times(20, 2000);
        server.eventually("requests are answered", || {
            answered.load(Ordering::Relaxed) >= enough
        });
    });
    assert_eq!(outcome.lost, 0, "of {}", outcome.answered);
    let after = server.wait_for_workers(2);
    assert!(before.iter().all(|pid| !after.contains(pid)));
    let told = refused(server.operator(&["kill-worker", "site", "3"]));
    assert!(told.contains("they are 1 to 2"), "{told}");
    server.stop();
}

#[test]
fn a_worker_is_killed_at_once_if_that_is_asked_for() {
    if only_here() {
        return;
    }
    let mut server = server(&[]);
    let before = server.workers();
    let held = server.ask(&get("/hold?go"));
    server.eventually("the request is in the application", || {
        server.site.read("held").lines().count() == 1
    });
    fine(server.operator(&["kill-worker", "site", "1", "--now", "--wait"]));
    assert_ne!(server.wait_for_workers(1), before);
    server.expect_log("requested by an operator (kill-worker); in flight: GET /hold?go");
    drop(held);
    server.get("/pid").expect(200);
    server.stop();
}

#[test]
fn who_is_unknown_or_not_the_only_one_gets_a_sentence() {
    if only_here() {
        return;
    }
    let server = server(&[]);
    let told = refused(server.operator(&["reload", "blog", "--wait"]));
    assert!(
        told.contains("no instance is named blog; running: ") && told.contains("site"),
        "{told}"
    );
    let told = refused(server.operator(&["stop"]));
    assert!(told.contains("name an instance"), "{told}");
    let told = refused(server.operator(&["start", "site"]));
    assert!(told.contains("only an emperor starts"), "{told}");
    // another one of the same name, in the same runtime directory
    let other = Site::with("processes");
    let twin = other.server().set("socket", other.at("twin.sock"));
    let run = other.file(".run");
    std::os::unix::fs::symlink(server.site.file(".run"), &run).unwrap();
    let twin = twin.start();
    // a directory that is a link is not taken, and so the twin has no socket
    assert_eq!(sockets(&server.site).len(), 1);
    twin.stop();
    fs::remove_file(&run).unwrap();
    let twin = other
        .server()
        .set("control-socket", server.site.at(".run/twin.sock"))
        .start();
    let told = refused(server.operator(&["status", "site"]));
    assert!(told.contains("several instances are named site"), "{told}");
    let told = fine(server.operator(&["status", &other.at("site.ini")]));
    assert!(
        told.contains(&format!("pid       {}", twin.master)),
        "{told}"
    );
    twin.stop();
    server.stop();
}

#[test]
fn the_socket_is_its_users_alone_and_a_stale_one_is_replaced() {
    if only_here() {
        return;
    }
    let mut server = server(&[]);
    let site = server.site.clone();
    let before = sockets(&site);
    assert_eq!(before.len(), 1);
    let mode = fs::metadata(&before[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.leaves_its_socket();
    server.ends_otherwise();
    server.signal(Signal::SIGKILL);
    // its workers have to be gone too, or they would serve on the application's socket
    server.eventually("no process is left", || {
        let mut processes = server.processes().into_iter();
        processes.all(|process| process.pid == server.master)
    });
    server.wait_for_exit();
    assert_eq!(sockets(&site), before);
    let told = refused(server.operator(&["status", "site"]));
    assert!(told.contains("no instance is named"), "{told}");
    let again = site.server().start();
    assert_eq!(sockets(&site), before);
    assert_eq!(status(&again, "site")["pid"], again.master);
    again.stop();
    assert!(sockets(&site).is_empty());
}

#[test]
fn where_nothing_is_writable_there_is_simply_none() {
    if only_here() {
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
fn one_that_was_asked_for_and_cannot_be_is_an_error() {
    if only_here() {
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
fn an_instance_that_has_dropped_its_privileges_is_reached_by_root_and_by_its_user() {
    if needs_root() || only_here() {
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
    // the binary may stand where that user cannot go
    if reachable(&binary()) {
        assert!(fine(user).contains("site: ready"));
    }
    server.stop();
    assert_eq!(fs::read_dir(&socket).unwrap().count(), 0);
}

#[test]
fn clients_that_say_nothing_or_nonsense_disturb_nobody() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    if only_here() {
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
    // one that never ends its line is cut off
    let mut client = UnixStream::connect(&socket).unwrap();
    let endless = client.write_all(&vec![b'x'; 1 << 20]);
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    assert!(endless.is_err() || answer.is_empty());
    assert_eq!(status(&server, "site")["state"], "ready");
    server.get("/pid").expect(200);
    drop(silent);
    server.eventually("nothing of them is left", || {
        proc::descriptors(server.master) == before
    });
    server.stop();
}

#[test]
fn the_emperor_passes_on_what_only_a_vassal_knows_or_does() {
    if only_here() {
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
    emperor.ends_otherwise();
    emperor.wait_for_log("ready after");
    let ask = |words: &[&str]| {
        let mut words = words.to_vec();
        words.extend(["--control", &control]);
        site.operator(&words)
    };
    let told = || -> Value {
        let told = fine(ask(&["status", "a", "--json"]));
        let rows: Value = serde_json::from_str(&told).unwrap();
        rows[0].clone()
    };
    let pids = || -> Vec<i64> {
        let row = told();
        let workers = row["instance"]["generations"][0]["workers"].as_array();
        let workers = workers.cloned().unwrap_or_default();
        workers
            .iter()
            .filter_map(|worker| worker["pid"].as_i64())
            .collect()
    };
    assert_eq!(told()["name"], "a.ini");
    let before = pids();
    assert_eq!(before.len(), 2);
    fine(ask(&["kill-worker", "a", "1", "--wait"]));
    let after = pids();
    assert!(!after.contains(&before[0]) && after.contains(&before[1]));
    let refusal = refused(ask(&["kill-worker", "a", "7"]));
    assert!(refusal.contains("they are 1 to 2"), "{refusal}");
    write_generation(&site, 2, true);
    let failure = refused(ask(&["reload", "a", "--wait"]));
    assert!(
        failure.contains("serves as before") && failure.contains("Traceback"),
        "{failure}"
    );
    emperor.expect_log("its reload is given up");
    write_generation(&site, 3, false);
    fine(ask(&["reload", "a", "--wait"]));
    let by_path = fine(ask(&["status", &site.at("vassals/a.ini")]));
    assert!(by_path.contains("generation 3: serving"), "{by_path}");
    emperor.stop();
}

#[test]
fn a_pidfile_of_what_has_no_control_socket_is_signalled() {
    if only_here() {
        return;
    }
    let site = Site::with("processes");
    site.write(".run", "in the way\n");
    let mut server = site.server().set("pidfile", "the.pid").start();
    let told = refused(server.operator(&["status", "the.pid"]));
    assert!(told.contains("has no control socket"), "{told}");
    fine(server.operator(&["reload", "the.pid"]));
    server.wait_for_log("generation 2 serves");
    fine(server.operator(&["stop", "the.pid", "--wait"]));
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn the_number_of_workers_is_set_without_losing_a_request() {
    if only_here() {
        return;
    }
    let server = server(&[("processes", "3")]);
    server.wait_for_workers(3);
    let outcome = load(&server, 3, "/pid", |answered| {
        for (count, workers) in [("1", 1), ("+1", 2), ("3", 3), ("-2", 1)] {
            fine(server.operator(&["scale", "site", count, "--wait"]));
            server.wait_for_workers(workers);
            let enough = answered.load(Ordering::Relaxed) + 20;
            server.eventually("requests are answered", || {
                answered.load(Ordering::Relaxed) >= enough
            });
        }
        // a reload reads the number again
        fine(server.operator(&["reload", "site", "--wait"]));
        server.wait_for_workers(3);
    });
    assert_eq!(outcome.lost, 0, "of {}", outcome.answered);
    let told = refused(server.operator(&["scale", "site", "4"]));
    assert!(told.contains("at most 3 workers (processes)"), "{told}");
    let told = refused(server.operator(&["scale", "site", "-4"]));
    assert!(
        told.contains("number of workers cannot be negative"),
        "{told}"
    );
    let told = refused(server.operator(&["scale", "site", "many"]));
    assert!(told.contains("many is not a number of workers"), "{told}");
    // none, until somebody comes
    fine(server.operator(&["scale", "site", "0", "--wait"]));
    server.wait_for_workers(0);
    server.get("/pid").expect(200);
    server.stop();
}
