//! Log files: rotation by size, backups, owner and permissions.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::sys::signal::Signal;

use crate::kit::*;

fn site() -> Site {
    Site::with("logging")
}

/// How often each line with this beginning is in the files of the site whose names begin with `name`.
fn counted(site: &Site, name: &str, beginning: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(site.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with(name) {
            // a file may be renamed meanwhile
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            for line in text.lines().filter(|line| line.starts_with(beginning)) {
                *found.entry(line.to_owned()).or_default() += 1;
            }
        }
    }
    found
}

/// The number of files of the site whose names begin with `name`.
fn files(site: &Site, name: &str) -> usize {
    let entries = fs::read_dir(site.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .filter(|it| it.to_string_lossy().starts_with(name))
        .count()
}

#[test]
fn a_log_that_exceeds_its_size_is_moved_to_its_backup() {
    let site = site();
    let server = site
        .server()
        .set("logto", site.at("main.log"))
        .logging_to("main.log")
        .set("log-maxsize", 2000)
        .set("log-backupname", site.at("full.log"))
        .set("log-format", format!("{} %(uri)", "x".repeat(200)))
        .start();
    for n in 0..20 {
        server.get(&format!("/{n}")).expect_text("ok\n");
    }
    server.eventually("it is moved", || site.has("full.log"));
    server.get("/after").expect_text("ok\n");
    server.eventually("the new file is used", || {
        site.read("main.log").contains("x /after")
    });
    let counts = counted(&site, "", "xxx");
    assert_eq!(counts.len(), 21, "{counts:?}");
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

#[test]
fn without_a_backup_name_the_time_is_appended() {
    let site = site();
    let server = site
        .server()
        .set("logto", site.at("main.log"))
        .logging_to("main.log")
        .set("log-maxsize", 500)
        .start();
    server
        .get(&format!("/print?{}", "x".repeat(600)))
        .expect_text("ok\n");
    server.eventually("it is moved", || files(&site, "main.log.1") == 1);
}

/// Lets the workers write, and be killed, until `rotations` files are full; each line must be there once.
#[track_caller]
fn no_line_is_lost_or_doubled(launch: Launch, site: &Site, rotations: usize) {
    let mut server = launch
        .set("processes", 4)
        .set("log-format", format!("line %(uri) {}", "x".repeat(100)))
        .start();
    server.allow_any_exit();
    server.wait_for_workers(4);
    let mut sent = 0;
    while files(site, "main.log.") < rotations {
        for _ in 0..100 {
            server.get(&format!("/{sent}")).expect_text("ok\n");
            sent += 1;
        }
        drop(server.ask(&get("/die?line-of-the-dead")).rest());
    }
    let names = || counted(site, "main.log", "line /");
    server.eventually("all are logged", || {
        let numbered = |line: &&String| !line.starts_with("line /die");
        names().keys().filter(numbered).count() == sent
    });
    let counts = names();
    let twice = |(line, count): &(&String, &usize)| !line.starts_with("line /die") && **count != 1;
    assert_eq!(counts.iter().find(twice), None);
    drop(server);
}

#[test]
fn rotation_by_the_master_loses_and_doubles_no_line() {
    if differs("log-backups keeps numbered log files, as logrotate does.") {
        return;
    }
    let site = site();
    let launch = site
        .server()
        .set("logto", site.at("main.log"))
        .logging_to("main.log")
        .set("log-maxsize", 20_000)
        .set("log-backups", 20);
    no_line_is_lost_or_doubled(launch, &site, 3);
}

#[test]
fn rotation_by_the_log_thread_loses_and_doubles_no_line() {
    if differs("log-backups keeps numbered log files, as logrotate does.") {
        return;
    }
    let site = site();
    let launch = site
        .server()
        .set("logger", format!("file:{}", site.at("main.log")))
        .logging_to("main.log")
        .set("log-maxsize", 20_000)
        .set("log-backups", 200);
    no_line_is_lost_or_doubled(launch, &site, 10);
    let sizes = (1..10).map(|n| {
        fs::metadata(site.file(&format!("main.log.{n}")))
            .unwrap()
            .len()
    });
    for size in sizes {
        assert!((20_001..20_400).contains(&size), "{size}");
    }
}

#[test]
fn only_the_configured_number_of_backups_is_kept() {
    if differs("log-backups keeps numbered log files, as logrotate does.") {
        return;
    }
    let site = site();
    let server = site
        .server()
        .set("req-logger", format!("file:{}", site.at("requests.log")))
        .set("log-maxsize", 100)
        .set("log-backups", 2)
        .set("log-format", format!("%(uri) {}", "x".repeat(100)))
        .start();
    for n in 0..5 {
        server.get(&format!("/{n}")).expect_text("ok\n");
    }
    server.eventually("the last is moved", || {
        site.read("requests.log.1").starts_with("/4 ")
    });
    assert!(site.read("requests.log.2").starts_with("/3 "));
    assert_eq!(files(&site, "requests.log"), 3);
}

#[test]
fn a_touched_file_rotates_the_log() {
    let site = site();
    site.write("touch", "");
    let server = site
        .server()
        .set("logto", site.at("main.log"))
        .logging_to("main.log")
        .set("log-backupname", site.at("full.log"))
        .set("touch-logrotate", site.at("touch"))
        .start();
    server.get("/before").expect_text("ok\n");
    server.wait_for_log("GET /before");
    // uWSGI compares whole seconds
    server.eventually("it is moved", || {
        site.write("touch", "again");
        std::thread::sleep(std::time::Duration::from_millis(300));
        site.has("full.log")
    });
    server.eventually("there is a new file", || {
        server.get("/after").expect_text("ok\n");
        site.read("main.log").contains("GET /after")
    });
}

#[test]
fn a_log_gets_its_permissions_and_owner() {
    let site = site();
    let mut launch = site
        .server()
        .set("logto", site.at("main.log"))
        .logging_to("main.log")
        .set("logfile-chmod", 604);
    // the interpreter of uWSGI may be out of the user's reach
    let changes_user = is_root() && !under_uwsgi();
    if changes_user {
        fs::set_permissions(site.path(), fs::Permissions::from_mode(0o777)).unwrap();
        launch = launch
            .set("uid", 65534)
            .set("gid", 65534)
            .set("logfile-chown", "true");
    }
    let server = launch.start();
    server.get("/").expect_text("ok\n");
    let file = fs::metadata(site.file("main.log")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o604);
    if changes_user {
        assert_eq!((file.uid(), file.gid()), (65534, 65534));
    }
}

#[test]
fn a_log_is_emptied_at_the_start() {
    let site = site();
    site.write("main.log", "an earlier line\n");
    let server = site
        .server()
        .set("logto", site.at("main.log"))
        .logging_to("main.log")
        .set("log-truncate", "true")
        .start();
    server.get("/").expect_text("ok\n");
    server.wait_for_log("GET /");
    assert!(!site.read("main.log").contains("earlier"));
}

#[test]
fn an_emperors_log_is_rotated_with_the_lines_of_its_vassals() {
    if differs("log-maxsize rotates also the log of an emperor, to which its vassals write.") {
        return;
    }
    let site = emperor::site();
    site.write(
        "vassals/a.ini",
        &format!(
            "[uwsgi]\nsocket = {}\nwsgi-file = {}\n",
            site.at("a.sock"),
            site.at("app.py")
        ),
    );
    site.write(
        "app.py",
        "import sys\nprint('x' * 3000, 'said', file=sys.stderr, flush=True)\n\
         def application(e, s):\n    s('200 OK', [])\n    return [b'ok']\n",
    );
    let log = site.at("main.log");
    let words = [
        "--emperor",
        "vassals",
        "--logto",
        &log,
        "--log-maxsize",
        "2000",
        "--log-backups",
        "3",
    ];
    let mut server = site.server().only(&words).spawn();
    server.allow_any_exit();
    server.eventually("it is moved", || site.read("main.log.1").contains("x said"));
    server.signal(Signal::SIGTERM);
}

#[test]
fn a_log_file_can_belong_to_a_named_user() {
    use std::os::unix::fs::MetadataExt;
    if under_uwsgi() || !is_root() {
        return;
    }
    let site = Site::with("hello");
    let server = site
        .server()
        .set("logto", site.at("site.log"))
        .logging_to("site.log")
        .set("logfile-chown", "nobody:www-data")
        .start();
    let metadata = std::fs::metadata(site.file("site.log")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (65534, 33));
    drop(server);
}
