//! Privileges: what a server started as root drops, and when. These tests need root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use crate::kit::*;

const WWW_DATA: u32 = 33;

/// A server that responds with its user and groups, now and at import. Its socket is in a directory of www-data, so
/// that www-data can remove it.
fn launch() -> Launch {
    let site = Site::with("privileges");
    fs::create_dir(site.file("run")).unwrap();
    if is_root() {
        std::os::unix::fs::chown(site.file("run"), Some(WWW_DATA), Some(WWW_DATA)).unwrap();
    }
    let launch = site.server().set("socket", site.at("run/app.sock"));
    if under_uwsgi() {
        launch
    } else {
        launch.set("python", system_python().display())
    }
}

fn facts(launch: Launch) -> Value {
    launch.start().get("/").expect(200).json()
}

fn ids(uid: u32, gid: u32) -> Value {
    json!({"uids": [uid, uid, uid], "gids": [gid, gid, gid]})
}

#[test]
fn uid_and_gid_are_dropped_before_the_application_is_imported() {
    if needs_root() {
        return;
    }
    for (uid, gid) in [("www-data", "www-data"), ("33", "33"), ("www-data", "33")] {
        let facts = facts(launch().set("uid", uid).set("gid", gid));
        for when in ["now", "at_import"] {
            assert_eq!(
                facts[when]["uids"],
                ids(WWW_DATA, WWW_DATA)["uids"],
                "{uid}:{gid} {when}"
            );
            assert_eq!(
                facts[when]["gids"],
                ids(WWW_DATA, WWW_DATA)["gids"],
                "{uid}:{gid} {when}"
            );
            assert_eq!(
                facts[when]["groups"],
                json!([WWW_DATA]),
                "{uid}:{gid} {when}"
            );
        }
    }
}

#[test]
fn the_master_drops_privileges_too() {
    if needs_root() {
        return;
    }
    let server = launch()
        .set("uid", "www-data")
        .set("gid", "www-data")
        .start();
    for process in server.processes() {
        assert_eq!(
            proc::status(process.pid, "Uid"),
            "33 33 33 33",
            "{process:?}"
        );
        assert_eq!(
            proc::status(process.pid, "Gid"),
            "33 33 33 33",
            "{process:?}"
        );
    }
}

#[test]
fn uid_alone_sets_the_groups_of_the_user() {
    if needs_root() || differs("uid without gid sets that user's groups; uWSGI keeps group 0.") {
        return;
    }
    let facts = facts(launch().set("uid", "www-data"));
    assert_eq!(facts["now"]["gids"], json!([WWW_DATA, WWW_DATA, WWW_DATA]));
    assert_eq!(facts["now"]["groups"], json!([WWW_DATA]));
}

#[test]
fn additional_groups_are_set() {
    if needs_root() {
        return;
    }
    let launch = launch()
        .set("uid", "www-data")
        .set("gid", "www-data")
        .set("add-gid", "daemon")
        .set("add-gid", "2");
    let facts = facts(launch);
    let groups: Vec<u64> = facts["now"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    assert!(
        groups.contains(&1) && groups.contains(&2) && !groups.contains(&0),
        "{groups:?}"
    );
}

#[test]
fn without_initgroups_only_the_group_stays() {
    if needs_root() {
        return;
    }
    let launch = launch()
        .set("uid", "www-data")
        .set("gid", "daemon")
        .set("no-initgroups", "true");
    let facts = facts(launch);
    assert_eq!(facts["now"]["gids"], json!([1, 1, 1]));
    let groups: Vec<u64> = facts["now"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    assert!(groups.iter().all(|&group| group == 1), "{groups:?}");
}

#[test]
fn a_capability_may_be_kept() {
    if needs_root() {
        return;
    }
    if under_uwsgi() {
        return; // the tested uWSGI is built without libcap
    }
    let server = launch()
        .set("uid", "www-data")
        .set("cap", "net_bind_service")
        .start();
    let worker = server.wait_for_workers(1)[0];
    let effective = u64::from_str_radix(&proc::status(worker, "CapEff"), 16).unwrap();
    assert_eq!(effective, 1 << 10, "{effective:x}");
    let dropped = launch().set("uid", "www-data").start();
    let worker = dropped.wait_for_workers(1)[0];
    assert_eq!(proc::status(worker, "CapEff"), "0000000000000000");
    assert_eq!(proc::status(worker, "CapPrm"), "0000000000000000");
}

#[test]
fn the_umask_is_set() {
    let facts = facts(launch().set("umask", "027"));
    assert_eq!(facts["now"]["umask"], 0o027);
}

#[test]
fn the_socket_is_chowned_before_the_drop() {
    if needs_root() {
        return;
    }
    let launch = launch().set("uid", "www-data").set("gid", "www-data");
    let server = launch
        .set("chown-socket", "daemon:www-data")
        .set("chmod-socket", "660")
        .start();
    let metadata = fs::metadata(server.socket_path()).unwrap();
    let owner = (
        metadata.uid(),
        metadata.gid(),
        metadata.permissions().mode() & 0o777,
    );
    assert_eq!(owner, (1, WWW_DATA, 0o660));
    server.get("/").expect(200);
}

#[test]
fn a_socket_that_only_root_can_bind_is_bound() {
    if needs_root() {
        return;
    }
    if differs(
        "Sockets are bound before privileges are dropped; uWSGI binds them afterwards unless chown-socket is set.",
    ) {
        return;
    }
    let site = Site::with("privileges");
    fs::create_dir(site.file("closed")).unwrap();
    fs::set_permissions(site.file("closed"), fs::Permissions::from_mode(0o755)).unwrap();
    let launch = site
        .server()
        .set("python", system_python().display())
        .set("socket", site.at("closed/app.sock"));
    let mut server = launch.set("uid", "www-data").start();
    server.get("/").expect(200);
    server.allow_socket_file();
}

#[test]
fn an_unknown_user_is_refused() {
    if needs_root() {
        return;
    }
    for (option, name) in [("uid", "nosuchuser"), ("gid", "nosuchgroup")] {
        let refusal = launch().set(option, name).refused();
        assert_eq!(refusal.code, Some(1), "{}", refusal.log);
        assert!(refusal.log.contains(name), "{}", refusal.log);
    }
}

#[test]
fn running_as_root_causes_one_warning() {
    if needs_root() {
        return;
    }
    let server = launch().start();
    server.get("/").expect(200);
    if !under_uwsgi() {
        server.wait_for_log("as root");
    }
    let warnings = server
        .log()
        .lines()
        .filter(|line| line.contains("as root"))
        .count();
    if differs("Running as root without uid logs one warning; uWSGI repeats it.") {
        return;
    }
    assert_eq!(warnings, 1, "{}", server.log());
    drop(server);
    let server = launch().set("uid", "www-data").start();
    assert!(!server.log().contains("as root"), "{}", server.log());
}

#[test]
fn the_log_and_the_pidfile_are_opened_before_the_drop() {
    if needs_root() {
        return;
    }
    let launch = launch().set("uid", "www-data").set("gid", "www-data");
    let launch = launch.set("pidfile", "pid").set("logto", "my.log");
    let server = launch.logging_to("my.log").start();
    assert_eq!(server.site.read("pid").trim(), server.master.to_string());
    server.get("/logged").expect(200);
    server.eventually("the request is in the log", || {
        server.site.read("my.log").contains("/logged")
    });
}

#[test]
fn root_follows_no_link_of_another_user() {
    if needs_root()
        || differs(
            "As root, a log, pidfile, FIFO or lock is not opened through a symbolic link of another user, and a hook does not write to, remove or change a file through one.",
        )
    {
        return;
    }
    for (option, name) in [
        ("logto", "run/file"),
        ("logto", "run/etc/passwd"),
        ("daemonize", "run/file"),
        ("pidfile", "run/file"),
        ("pidfile", "run/etc/new"),
        ("master-fifo", "run/etc/new"),
        ("flock", "run/file"),
        ("flock", "run/etc/new"),
        ("hook-as-root", "write:run/file evil"),
        ("hook-as-root", "write:run/etc/new evil"),
        ("hook-as-root", "append:run/file evil"),
        ("hook-as-root", "creat:run/file"),
        ("hook-as-root", "unlink:run/etc/passwd"),
        ("hook-as-root", "chmod:run/file 666"),
        ("hook-as-root", "chown:run/file www-data www-data"),
    ] {
        // without uid: a FIFO is created after the drop of privileges
        let site = Site::with("hello");
        fs::create_dir(site.file("run")).unwrap();
        fs::create_dir(site.file("etc")).unwrap();
        site.write("etc/passwd", "precious\n");
        for (target, link) in [("etc/passwd", "run/file"), ("etc", "run/etc")] {
            std::os::unix::fs::symlink(site.file(target), site.file(link)).unwrap();
            std::os::unix::fs::lchown(site.file(link), Some(WWW_DATA), Some(WWW_DATA)).unwrap();
        }
        let before = fs::metadata(site.file("etc/passwd")).unwrap();
        let value = match name.split_once(':') {
            Some((action, rest)) => format!("{action}:{}", site.at(rest)),
            None => site.at(name),
        };
        let refusal = site.server().set(option, value).refused();
        assert!(refusal.log.contains("link"), "{name}: {}", refusal.log);
        assert_eq!(site.read("etc/passwd"), "precious\n", "{name}");
        let after = fs::metadata(site.file("etc/passwd")).unwrap();
        assert_eq!(
            (before.mode(), before.uid()),
            (after.mode(), after.uid()),
            "{name}"
        );
        assert!(!site.has("etc/new"), "{option}");
    }
}

#[test]
fn root_signals_no_process_that_another_user_names_in_a_pidfile() {
    if needs_root()
        || differs(
            "A pidfile of another user than root names only that user's processes for --stop and --reload.",
        )
    {
        return;
    }
    let site = Site::with("hello");
    let mut server = site.server().start();
    for user in ["www-data", "every user"] {
        site.write("named", &format!("{}\n", server.master));
        if user == "www-data" {
            std::os::unix::fs::chown(site.file("named"), Some(WWW_DATA), None).unwrap();
        } else {
            fs::set_permissions(site.file("named"), fs::Permissions::from_mode(0o666)).unwrap();
        }
        for verb in ["--stop", "--reload", "stop", "reload"] {
            let output = site.command(&[verb, &site.at("named")]);
            let printed = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{verb}: {printed}");
            assert!(
                printed.contains(&format!("{user} could have written")),
                "{printed}"
            );
        }
    }
    std::os::unix::fs::symlink("named", site.file("link")).unwrap();
    std::os::unix::fs::lchown(site.file("link"), Some(WWW_DATA), None).unwrap();
    let output = site.command(&["--stop", &site.at("link")]);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        printed.contains("a symbolic link of user www-data"),
        "{printed}"
    );
    server.get("/").expect_text("hello\n");
    server.stop();

    // written after the drop, so it belongs to www-data
    let launch = launch().set("uid", "www-data");
    let launch = launch
        .set("gid", "www-data")
        .set("safe-pidfile2", "run/pid");
    server = launch.start();
    let pidfile = server.site.at("run/pid");
    server.eventually("the pidfile is there", || server.site.has("run/pid"));
    let output = server.site.command(&["--stop", &pidfile]);
    assert!(output.status.success(), "{output:?}");
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn reloads_work_after_the_drop() {
    if needs_root() {
        return;
    }
    let server = launch()
        .set("uid", "www-data")
        .set("gid", "www-data")
        .start();
    let born = server.get("/").json()["born"].clone();
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.eventually("the new generation answers", || {
        server.get("/").json()["born"] != born
    });
    assert_eq!(
        server.get("/").json()["at_import"]["uids"],
        json!([WWW_DATA, WWW_DATA, WWW_DATA])
    );
}

#[test]
fn a_user_who_is_not_root_cannot_become_another() {
    if is_root() || under_uwsgi() {
        return;
    }
    let refusal = Site::with("hello").server().set("uid", "root").refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
}
