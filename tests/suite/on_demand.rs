//! Vassals on demand: the emperor waits at their sockets, the first connection starts them, idle ones stop.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::emperor::{Emperor, add_vassal, app, ini, site};
use crate::kit::server::send;
use crate::kit::wait::within;
use crate::kit::*;

/// Options of a vassal that starts on demand and stops when idle.
const COMES_AND_GOES: &str = "on-demand = true\nidle = 1\ndie-on-idle = true\n";

/// Adds a vassal on demand.
fn add_vassal_on_demand(site: &Site, name: &str, text: &str) {
    site.write(&format!("{name}.py"), &app(text));
    let text = ini(site, name) + COMES_AND_GOES;
    site.write(&format!("vassals/{name}.ini"), &text);
}

/// Waits until a vassal is in this state.
#[track_caller]
fn wait_for_state(emperor: &Emperor, name: &str, state: &str) {
    emperor
        .server
        .eventually(&format!("{name} is {state}"), || {
            emperor.state(name).0 == state
        });
}

#[test]
fn the_first_connection_starts_the_vassal_and_an_idle_vassal_stops() {
    if differs(
        "A vassal is on demand when its own file says on-demand = true; its socket is configured as usual.",
    ) {
        return;
    }
    let site = site();
    add_vassal_on_demand(&site, "a", "one");
    let emperor = Emperor::over(&site);
    wait_for_state(&emperor, "a", "on demand");
    let socket = fs::metadata(site.file("a.sock")).unwrap();
    assert_eq!(socket.mode() & 0o777, 0o666);
    assert_eq!(emperor.server.log_lines("zygote").len(), 0);
    for _ in 0..2 {
        assert_eq!(emperor.ask("a"), "one");
        wait_for_state(&emperor, "a", "on demand");
        assert!(site.has("a.sock"));
    }
    let kept = fs::metadata(site.file("a.sock")).unwrap();
    assert_eq!(
        kept.ino(),
        socket.ino(),
        "it is the same socket all the time"
    );
    emperor.server.stop();
    assert!(!site.has("a.sock"));
}

#[test]
fn an_edit_while_on_demand_is_applied_without_a_start() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal_on_demand(&site, "a", "one");
    let emperor = Emperor::over(&site);
    wait_for_state(&emperor, "a", "on demand");
    let moved = (ini(&site, "a") + COMES_AND_GOES).replace("a.sock", "b.sock");
    site.write("vassals/a.ini", &moved);
    emperor
        .server
        .eventually("it has moved", || site.has("b.sock") && !site.has("a.sock"));
    assert_eq!(emperor.server.log_lines("ready after").len(), 0);
    assert_eq!(emperor.ask("b"), "one");
    wait_for_state(&emperor, "a", "on demand");
    // a vassal that is no longer on demand starts, on the kept socket
    let always = ini(&site, "a").replace("a.sock", "b.sock");
    site.write("vassals/a.ini", &always);
    wait_for_state(&emperor, "a", "ready");
    assert_eq!(emperor.ask("b"), "one");
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    emperor
        .server
        .eventually("the socket is gone", || !site.has("b.sock"));
    emperor.server.stop();
}

#[test]
fn an_edit_while_serving_is_kept_when_the_vassal_stops() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    site.write("a.py", &app("one"));
    let text = ini(&site, "a") + "on-demand = true\n";
    site.write("vassals/a.ini", &text);
    let emperor = Emperor::over(&site);
    wait_for_state(&emperor, "a", "on demand");
    assert_eq!(emperor.ask("a"), "one");
    wait_for_state(&emperor, "a", "ready");
    let moved = (ini(&site, "a") + COMES_AND_GOES).replace("a.sock", "b.sock");
    site.write("vassals/a.ini", &moved);
    wait_for_state(&emperor, "a", "on demand");
    assert!(site.has("b.sock") && !site.has("a.sock"));
    assert_eq!(emperor.ask("b"), "one");
    wait_for_state(&emperor, "a", "on demand");
    emperor.server.stop();
    assert!(!site.has("b.sock"));
}

#[test]
fn a_removed_vassal_loses_its_socket_and_a_stopped_one_does_not_listen() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    for name in ["a", "b"] {
        add_vassal_on_demand(&site, name, name);
    }
    let emperor = Emperor::over(&site);
    wait_for_state(&emperor, "a", "on demand");
    wait_for_state(&emperor, "b", "on demand");
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    emperor
        .server
        .eventually("the socket is gone", || !site.has("a.sock"));
    assert!(emperor.command(&["stop", "b", "--wait"]).status.success());
    assert_eq!(emperor.state("b").0, "stopped");
    assert!(!site.has("b.sock"));
    assert!(emperor.command(&["start", "b", "--wait"]).status.success());
    assert!(emperor.command(&["reload", "b", "--wait"]).status.success());
    emperor.expect_text("b", "b");
    emperor.server.stop();
}

#[test]
fn the_operator_starts_a_stopped_or_stopping_vassal_without_a_client() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    site.write("a.py", &app("one"));
    site.write("vassals/a.ini", &(ini(&site, "a") + "on-demand = true\n"));
    let emperor = Emperor::over(&site);
    wait_for_state(&emperor, "a", "on demand");
    assert!(emperor.command(&["stop", "a", "--wait"]).status.success());
    assert!(emperor.command(&["start", "a", "--wait"]).status.success());
    assert_eq!(emperor.state("a").0, "ready");
    assert!(emperor.command(&["stop", "a"]).status.success());
    assert!(emperor.command(&["start", "a", "--wait"]).status.success());
    assert_eq!(emperor.state("a").0, "ready");
    assert_eq!(emperor.ask("a"), "one");
    emperor.server.stop();
}

#[test]
fn clients_of_a_crashed_vassal_wait_for_the_next_start() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    site.write("a.py", &app("one"));
    site.write("vassals/a.ini", &(ini(&site, "a") + "on-demand = true\n"));
    let mut emperor = Emperor::with(&site, &["--emperor-throttle", "10"]);
    wait_for_state(&emperor, "a", "on demand");
    assert_eq!(emperor.ask("a"), "one");
    wait_for_state(&emperor, "a", "ready");
    let socket = fs::metadata(site.file("a.sock")).unwrap().ino();
    send(emperor.pid("a"), Signal::SIGKILL);
    emperor.server.expect_log("unexpectedly");
    emperor.expect_text("a", "one");
    assert_eq!(fs::metadata(site.file("a.sock")).unwrap().ino(), socket);
    emperor.server.stop();
}

#[test]
fn a_load_failure_is_reported_at_the_first_connection() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    site.write("a.py", "raise RuntimeError('my own words')\n");
    site.write("vassals/a.ini", &(ini(&site, "a") + COMES_AND_GOES));
    let mut emperor = Emperor::with(&site, &["--emperor-throttle", "600000"]);
    wait_for_state(&emperor, "a", "on demand");
    let client = Address::Unix(site.file("a.sock")).try_connect().unwrap();
    wait_for_state(&emperor, "a", "backing off");
    emperor.server.expect_log("my own words");
    drop(client);
    assert!(site.has("a.sock"));
    site.write("a.py", &app("repaired"));
    assert!(emperor.command(&["retry", "a"]).status.success());
    emperor.expect_text("a", "repaired");
    emperor.server.stop();
}

#[test]
fn a_failed_start_leaves_only_the_kept_socket() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal_on_demand(&site, "a", "one");
    let mut emperor = Emperor::with(&site, &["--emperor-throttle", "600000"]);
    wait_for_state(&emperor, "a", "on demand");
    let good = ini(&site, "a") + COMES_AND_GOES;
    let inode = |name: &str| fs::metadata(site.file(name)).unwrap().ino();
    let kept = inode("a.sock");
    let elsewhere = ini(&site, "a").replace("a.sock", "b.sock");
    let failures = [
        // no longer on demand: it binds another socket before it fails
        (elsewhere.replace("a.py", "missing.py"), "missing.py"),
        (good.replace("socket =", "#socket ="), "needs a socket"),
        (good.replace("a.sock", "missing/b.sock"), "does not exist"),
        (good.replace("[uwsgi]", "[uwsgi"), "vassal a.ini"),
    ];
    for (text, failure) in failures {
        site.write("vassals/a.ini", &text);
        wait_for_state(&emperor, "a", "backing off");
        emperor.server.expect_log(failure);
        assert_eq!(inode("a.sock"), kept, "{failure}");
        assert!(!site.has("b.sock"), "{failure}");
        // a connection made now waits until the configuration is repaired
        let mut early = Address::Unix(site.file("a.sock")).try_connect().unwrap();
        site.write("vassals/a.ini", &good);
        early.write_all(&get("/").bytes()).unwrap();
        assert_eq!(early.answer().text(), "one", "{failure}");
        wait_for_state(&emperor, "a", "on demand");
    }
    site.write("vassals/a.ini", &good.replace("[uwsgi]", "[uwsgi"));
    wait_for_state(&emperor, "a", "backing off");
    site.write("vassals/a.ini", &good.replace("a.sock", "b.sock"));
    wait_for_state(&emperor, "a", "on demand");
    emperor
        .server
        .eventually("the old socket is gone", || !site.has("a.sock"));
    assert_eq!(emperor.ask("b"), "one");
    wait_for_state(&emperor, "a", "on demand");
    site.write("vassals/a.ini", &good.replace("[uwsgi]", "[uwsgi"));
    wait_for_state(&emperor, "a", "backing off");
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    emperor
        .server
        .eventually("the socket is gone", || !site.has("b.sock"));
    emperor.server.stop();
}

#[test]
fn a_socket_with_a_removed_file_is_bound_again() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal_on_demand(&site, "a", "one");
    let mut emperor = Emperor::over(&site);
    wait_for_state(&emperor, "a", "on demand");
    fs::remove_file(site.file("a.sock")).unwrap();
    site.write("vassals/a.ini", &(ini(&site, "a") + COMES_AND_GOES));
    emperor
        .server
        .eventually("the file exists again", || site.has("a.sock"));
    emperor.server.expect_log("was removed or replaced");
    wait_for_state(&emperor, "a", "on demand");
    assert_eq!(emperor.ask("a"), "one");
    emperor.server.stop();
}

/// The configuration of a vassal without a socket.
fn without_socket(site: &Site, name: &str) -> String {
    let text = ini(site, name);
    let lines = text.lines().filter(|line| !line.starts_with("socket"));
    lines.map(|line| line.to_owned() + "\n").collect::<String>() + "idle = 1\ndie-on-idle = true\n"
}

#[test]
fn the_options_of_the_emperor_give_addresses_as_in_uwsgi() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    for name in ["a", "b"] {
        site.write(&format!("{name}.py"), &app(name));
        site.write(&format!("vassals/{name}.ini"), &without_socket(&site, name));
    }
    site.write("vassals/b.ini", &ini(&site, "b"));
    site.write("vassals/a.ini.at", &format!("{}\n", site.at("a.sock")));
    site.write_executable(
        "where",
        "#!/bin/sh\ncase $2 in a.ini) echo $1/a.sock;; esac\n",
    );
    let command = format!("{} {}", site.at("where"), site.path().display());
    for options in [
        ["--emperor-on-demand-extension", ".at"],
        ["--emperor-on-demand-exec", &command],
    ] {
        let emperor = Emperor::with(&site, &options);
        wait_for_state(&emperor, "a", "on demand");
        wait_for_state(&emperor, "b", "ready");
        let mode = fs::metadata(site.file("a.sock")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o666, "{options:?}");
        assert_eq!(emperor.ask("a"), "a", "{options:?}");
        wait_for_state(&emperor, "a", "on demand");
        emperor.server.stop();
        assert!(!site.has("a.sock"), "{options:?}");
    }
    fs::create_dir(site.file("sockets")).unwrap();
    let emperor = Emperor::with(&site, &["--emperor-on-demand-directory", "sockets"]);
    wait_for_state(&emperor, "a", "on demand");
    wait_for_state(&emperor, "b", "on demand");
    symlink(site.file("sockets/a.socket"), site.file("a.sock")).unwrap();
    assert_eq!(emperor.ask("a"), "a");
    assert!(
        Path::new(&site.at("b.sock")).exists(),
        "its own address too"
    );
    emperor.server.stop();
}

#[test]
fn an_edit_of_the_address_file_is_applied_like_one_of_the_vassal() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    site.write("a.py", &app("a"));
    let text = without_socket(&site, "a").replace("idle = 1", "idle = 3600");
    site.write("vassals/a.ini", &text);
    add_vassal(&site, "b", "b");
    let at = |name: &str, socket: &str| {
        site.write(
            &format!("vassals/{name}.ini.at"),
            &format!("{}\n", site.at(socket)),
        );
    };
    at("a", "one.sock");
    // the emperor notices changes through inotify, not through scans
    let options = [
        "--emperor-on-demand-extension",
        ".at",
        "--emperor-freq",
        "3600",
    ];
    let emperor = Emperor::with(&site, &options);
    let moved = |to: &str, from: &str| {
        let there = || site.has(to) && !site.has(from);
        emperor.server.eventually("the socket has moved", there);
    };
    wait_for_state(&emperor, "a", "on demand");
    at("a", "two.sock");
    moved("two.sock", "one.sock");
    wait_for_state(&emperor, "a", "on demand");
    assert_eq!(emperor.ask("two"), "a");
    wait_for_state(&emperor, "a", "ready");
    let pid = emperor.pid("a");
    at("a", "three.sock");
    moved("three.sock", "two.sock");
    assert_eq!(emperor.ask("three"), "a");
    assert_eq!(emperor.pid("a"), pid, "it was reloaded");
    // a vassal that was not on demand gets an address, and loses it
    wait_for_state(&emperor, "b", "ready");
    at("b", "four.sock");
    emperor.expect_text("four", "b");
    assert_eq!(emperor.ask("b"), "b");
    fs::remove_file(site.file("vassals/b.ini.at")).unwrap();
    emperor
        .server
        .eventually("the address is gone", || !site.has("four.sock"));
    emperor.expect_text("b", "b");
    emperor.server.stop();
}

#[test]
fn under_a_tyrant_each_owner_has_its_sockets_and_removes_no_others() {
    if needs_root() || under_uwsgi() {
        return;
    }
    const NOBODY: u32 = 65_534;
    let site = site();
    fs::create_dir(site.file("own")).unwrap();
    chown(site.file("own"), Some(NOBODY), Some(NOBODY)).unwrap();
    add_vassal_on_demand(&site, "a", "one");
    let text = ini(&site, "a").replace("a.sock", "own/a.sock") + COMES_AND_GOES;
    site.write("a.ini", &text);
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    chown(site.file("a.ini"), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::rename(site.file("a.ini"), site.file("vassals/a.ini")).unwrap();
    let emperor = Emperor::with(&site, &["--emperor-tyrant"]);
    wait_for_state(&emperor, "a", "on demand");
    let socket = fs::metadata(site.file("own/a.sock")).unwrap();
    assert_eq!((socket.uid(), socket.gid()), (NOBODY, NOBODY));
    assert_eq!(emperor.ask("own/a"), "one");
    wait_for_state(&emperor, "a", "on demand");
    // if the vassal's user may not remove the file, the emperor does not remove it either
    chown(site.file("own"), Some(0), Some(0)).unwrap();
    fs::remove_file(site.file("vassals/a.ini")).unwrap();
    emperor.server.wait_for_log("cannot be removed");
    assert!(site.has("own/a.sock"));
    emperor.server.stop();
}

#[test]
fn many_waiting_vassals_use_little_memory_and_each_is_served() {
    if under_uwsgi() {
        return;
    }
    let many: usize = match std::env::var_os("KIT_BIG") {
        Some(_) => 1000,
        None => 40,
    };
    let site = site();
    site.write("all.py", &app("here"));
    for number in 0..many {
        let text = ini(&site, "all").replace("all.sock", &format!("{number}.sock"));
        site.write(&format!("vassals/{number}.ini"), &(text + COMES_AND_GOES));
    }
    let emperor = Emperor::over(&site);
    let on_demand = || {
        let output = emperor.command(&["ls", "--json"]);
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter(|row| row["state"] == "on demand")
            .count()
    };
    let patience = Duration::from_secs(300);
    assert!(
        within(patience, || on_demand() == many),
        "{}",
        emperor.server.log()
    );
    let mut asked: Vec<usize> = (0..many).step_by(many / 20).collect();
    asked.push(many - 1);
    for number in asked {
        assert_eq!(emperor.ask(&number.to_string()), "here");
    }
    emperor.server.stop();
    assert!(!site.has("0.sock") && !site.has(&format!("{}.sock", many - 1)));
}

#[test]
fn outside_an_emperor_on_demand_has_no_effect_and_a_warning() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    add_vassal(&site, "app", "one");
    let server = site.server().set("on-demand", "true").start();
    server.wait_for_log("on-demand has no effect");
    assert_eq!(server.get("/").text(), "one");
    server.stop();
}
