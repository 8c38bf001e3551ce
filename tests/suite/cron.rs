//! Cron commands: `cron`, `cron2` and `unique-cron`.
//!
//! A command that is due every minute also runs in the minute of the start, as in uWSGI, so that no test waits for
//! the clock. Unit tests of the schedule cover the due minutes.

use crate::kit::*;

#[test]
fn a_command_has_the_environment_and_directory_of_the_application() {
    let site = Site::with("hello");
    let server = site
        .server()
        .set("env", "COLOUR=green")
        .set("cron", "-1 -1 -1 -1 -1 echo $COLOUR > ran; pwd >> ran")
        .start();
    let directory = site.path().canonicalize().unwrap();
    let expected = format!("green\n{}\n", directory.display());
    server.eventually("the command has run", || site.read("ran") == expected);
    server.get("/").expect_text("hello\n");
}

#[test]
fn the_log_has_start_output_and_exit_of_a_command() {
    if differs("The log says how a cron command ended and how long it ran; uWSGI logs nothing.") {
        return;
    }
    let server = Site::with("hello")
        .server()
        .set("cron2", "name=greet echo hello from cron")
        .set("cron2", "name=break exit 3")
        .start();
    server.wait_for_log("greet (pid ");
    server.wait_for_log("): started");
    server.wait_for_log("]: hello from cron");
    assert!(server.log_lines("]: hello from cron")[0].contains("[info] greet["));
    server.wait_for_log("): succeeded after 0.");
    server.wait_for_log("): exited with status 3 after 0.");
    assert!(server.log_lines("exited with status 3")[0].contains("[warn]"));
}

#[test]
fn a_command_that_is_not_due_does_not_run() {
    let site = Site::with("hello");
    // a month that is neither the current nor the next one
    let month = (this_month() + 5) % 12 + 1;
    let server = site
        .server()
        .set("cron", format!("-1 -1 -1 {month} -1 echo wrong > wrong"))
        .set("cron", "-1 -1 -1 -1 -1 echo right > right")
        .start();
    server.eventually("the other one has run", || site.has("right"));
    assert!(!site.has("wrong"), "{}", server.log());
}

fn this_month() -> u32 {
    let output = std::process::Command::new("date")
        .arg("+%m")
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_its_children() {
    let site = Site::with("hello");
    let value = "harakiri=1 echo $$ > id; sleep 1000 & echo $! > child; wait";
    let server = site.server().set("cron2", value).start();
    server.eventually("it runs", || site.read("child").ends_with('\n'));
    let ids = [site.read("id"), site.read("child")].map(|id| id.trim().parse().unwrap());
    if under_uwsgi() {
        server.eventually("it is gone", || !proc::is_running(ids[0]));
        return;
    }
    server.wait_for_log("(harakiri = 1)");
    server.eventually("both are gone", || {
        !ids.iter().any(|id| proc::is_running(*id))
    });
    server.wait_for_log("killed by signal 9 (SIGKILL) after ");
}

#[test]
fn cron_harakiri_applies_to_commands_without_their_own_limit() {
    if under_uwsgi() {
        return;
    }
    let server = Site::with("hello")
        .server()
        .set("cron-harakiri", 1)
        .set("cron2", "name=short sleep 1000")
        .set("cron2", "name=free,harakiri=0 sleep 3; echo still there")
        .start();
    server.wait_for_log("short (pid ");
    server.wait_for_log("(harakiri = 1)");
    server.wait_for_log("still there");
    assert_eq!(server.log_lines("(harakiri = 1)").len(), 1);
}

#[test]
fn running_commands_stop_with_the_instance() {
    let site = Site::with("hello");
    let command = "trap 'echo asked > output; exit' TERM; echo > runs; while :; do sleep 0.1; done";
    let server = site
        .server()
        .set("cron", format!("-1 -1 -1 -1 -1 {command}"))
        .start();
    server.eventually("it runs", || site.has("runs"));
    if differs(
        "A cron command that is running when the instance stops gets SIGTERM, and SIGKILL after 10 s.",
    ) {
        return;
    }
    server.stop();
    assert_eq!(site.read("output"), "asked\n");
}

#[test]
fn a_reload_keeps_running_commands_and_repeats_none() {
    if differs(
        "Cron commands continue over a reload, and do not run a second time in the same minute.",
    ) {
        return;
    }
    let site = Site::with("generation");
    let server = site
        .server()
        .set("cron", "-1 -1 -1 -1 -1 echo >> runs; while ! test -e go; do sleep 0.05; done; echo done > done")
        .start();
    server.eventually("it runs", || site.has("runs"));
    let minute = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            / 60
    };
    let begun = minute();
    let before = server.get("/").text();
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_log("reloaded: generation 2 serves");
    server.eventually("the next generation answers", || {
        server.get("/").text() != before
    });
    let lines = site.read("runs").lines().count();
    assert!(lines == 1 || minute() != begun, "{}", server.log());
    site.write("go", "");
    server.eventually("the command has finished", || site.has("done"));
}

#[test]
fn a_time_that_never_occurs_is_reported_with_its_location() {
    if differs(
        "A cron schedule that never matches is reported at the start; uWSGI accepts it in silence.",
    ) {
        return;
    }
    let server = Site::with("hello")
        .server()
        .set("cron", "75 3 -1 -1 -1 true")
        .start();
    server.get("/").expect(200);
    let log = server.log();
    assert!(
        log.contains("site.ini:") && log.contains("there is no minute 75"),
        "{log}"
    );
}
